"""Slack's Web API: one message a spike, updated as the spike grows, with its life and its pictures in the thread.

Each message carries the idempotency key of its notice as metadata. A notice that may have been posted before (by a
worker that was killed, or by an attempt whose answer was lost) is looked for first, so it is posted once.
"""

import asyncio
import json
import logging
from collections.abc import Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode, urlsplit

from pydantic import SecretStr

from pipeline.observability.outages import OutageLog
from processors.alerts.fields import host_of
from processors.alerts.ports import Answer, Notice
from processors.alerts.receivers.http import HttpClient, compact_json
from processors.alerts.receivers.slack_blocks import Content, slack_content, slack_digest, slack_reply
from processors.alerts.receivers.wording import Links, digest_key, headline, shorten

EVENT_TYPE: Final = "engagement_spike"
ANSWER_BYTES: Final = 4 << 20
LOOKED_THROUGH: Final = 200
"""Messages of a channel or thread that are looked through for one that was posted before."""

SAME_MINUTE_SECONDS: Final = 120.0
"""A state that was judged so long before the first attempt, or later, may have been posted by another worker."""

KEPT_KEYS: Final = 10_000
ALT_LIMIT: Final = 1_000
CURES: Final = {
    "not_in_channel": "invite the app to the channel: /invite @name",
    "channel_not_found": "name the id of a channel, and invite the app to a private one",
    "is_archived": "name another channel, or unarchive this one",
    "invalid_auth": "name the Bot User OAuth Token of the app",
    "token_revoked": "install the app again, and name its new token",
    "token_expired": "name a token that does not expire, or a new one",
    "account_inactive": "install the app again, and name its new token",
}


class SlackReply(NamedTuple):
    """A reply of the API: its meaning for a delivery, its content, and the code of Slack's error."""

    answer: Answer
    content: dict[str, Any]
    error: str = ""


class SlackPolicy(NamedTuple):
    """What a bot does in its channel. `timeout`: of a whole delivery, seconds."""

    channel: str
    update: bool
    threads: bool
    timeout: float


class SlackApi:
    """Calls of Slack's Web API. `uploads` sends files: to addresses that Slack names, so it has no token."""

    def __init__(self, client: HttpClient, uploads: HttpClient, base: SecretStr) -> None:
        self._client, self._uploads, self._base = client, uploads, base.get_secret_value().rstrip("/")
        self._host = host_of(base)

    async def call(self, method: str, arguments: dict[str, Any], is_form: bool = False) -> SlackReply:
        """Calls a method. Never raises but when cancelled."""
        body = urlencode(arguments).encode() if is_form else compact_json(arguments)
        kind = "application/x-www-form-urlencoded" if is_form else "application/json; charset=utf-8"
        url = SecretStr(f"{self._base}/{method}")
        reply = await self._client.post(url, body, {"Content-Type": kind}, ANSWER_BYTES)
        if not reply.answer.is_delivered:
            return SlackReply(reply.answer, {})
        try:
            content = json.loads(reply.body)
        except ValueError:
            content = None
        if not isinstance(content, dict):
            return SlackReply(Answer(False, f"{self._host} answers {method} with no JSON object"), {})
        if content.get("ok") is True:
            return SlackReply(Answer(True), content)
        error = self._client.shown(str(content.get("error", "no reason")))
        scope = f"give the app the scope {content.get('needed')}" if error == "missing_scope" else ""
        cure = CURES.get(error, self._client.shown(scope))
        told = f"{self._host} answers {method} with {error}" + (f"; {cure}" if cure else "")
        return SlackReply(Answer(False, told), content, error)

    async def upload(self, address: str, content: bytes) -> Answer:
        """Sends a file to the address that Slack has named for it, which has to be one of Slack's own hosts."""
        host = urlsplit(address).hostname or ""
        own = urlsplit(self._base).hostname or ""
        if host != own and not host.endswith(f".{own}"):
            return Answer(False, f"{self._host} names an address of another host for an upload")
        headers = {"Content-Type": "application/octet-stream"}
        return (await self._uploads.post(SecretStr(address), content, headers)).answer

    async def close(self) -> None:
        await self._client.close()
        await self._uploads.close()


class SlackBot:
    """A Receiver that posts as a bot. The reference of a message is its `channel:ts`."""

    def __init__(self, api: SlackApi, policy: SlackPolicy, links: Links) -> None:
        self._api, self._policy, self._links = api, policy, links
        self._first_attempt: float | None = None
        self._tried: set[str] = set()
        self._outages = OutageLog(logging.getLogger(__name__))

    async def send(self, notice: Notice, now: float) -> Answer:
        delivery = _Delivery(notice, notice.reference, self._may_be_there(notice.key, [notice], now))
        return await self._within_time(self._deliver(delivery), delivery)

    async def send_digest(self, notices: Sequence[Notice], now: float) -> Answer:
        key = digest_key(notices)
        delivery = _Delivery(notices[0], "", self._may_be_there(key, notices, now))
        return await self._within_time(self._post(delivery, slack_digest(notices, self._links), key), None)

    async def close(self) -> None:
        await self._api.close()

    async def _within_time(self, work: Any, delivery: "_Delivery | None") -> Answer:
        try:
            async with asyncio.timeout(self._policy.timeout):
                answer: Answer = await work
        except TimeoutError:
            answer = Answer(False, f"Slack has not answered within {self._policy.timeout:g} s")
        reference = delivery.reference if delivery is not None else ""
        return Answer(answer.is_delivered, answer.reason, answer.wait, reference)

    def _may_be_there(self, key: str, notices: Sequence[Notice], now: float) -> bool:
        """Tells whether a message with this key may have been posted before."""
        self._first_attempt = now if self._first_attempt is None else self._first_attempt
        oldest = min(notice.alert["as_of"].timestamp() for notice in notices)
        was_tried = key in self._tried
        if len(self._tried) >= KEPT_KEYS:
            self._tried.clear()
        self._tried.add(key)
        return was_tried or oldest <= self._first_attempt + SAME_MINUTE_SECONDS

    async def _deliver(self, delivery: "_Delivery") -> Answer:
        notice = delivery.notice
        content = slack_content(notice, self._links)
        if delivery.reference and (self._policy.update or self._policy.threads):
            answer = await self._update(delivery, content) if self._policy.update else Answer(True)
            if notice.is_repetition or not answer.is_delivered:
                return answer
            if delivery.reference:
                return await self._reply(delivery) if self._policy.threads else answer
        if notice.is_repetition:
            return Answer(True)  # the message is gone: somebody has deleted it
        answer = await self._post(delivery, content, notice.key)
        if answer.is_delivered:
            await self._show_picture(delivery, await self._thread(delivery))
        return answer

    async def _post(self, delivery: "_Delivery", content: Content, key: str, thread: str | None = None) -> Answer:
        """Posts a message, or finds it, and keeps its reference."""
        if thread is None and delivery.may_be_there:
            oldest = f"{delivery.notice.alert['started_at'].timestamp():.6f}"
            found, failure = await self._look_up("conversations.history", {"oldest": oldest}, key)
            if failure is not None:
                return failure
            if found is not None:
                delivery.reference = f"{self._policy.channel}:{found['ts']}"
                return Answer(True)
        metadata = {"event_type": EVENT_TYPE, "event_payload": {"key": key}}
        arguments = {"channel": self._policy.channel, **content, "metadata": metadata}
        reply = await self._api.call("chat.postMessage", arguments | ({"thread_ts": thread} if thread else {}))
        if reply.answer.is_delivered and thread is None:
            channel = reply.content.get("channel", self._policy.channel)
            delivery.reference = f"{channel}:{reply.content.get('ts', '')}"
        return reply.answer

    async def _update(self, delivery: "_Delivery", content: Content) -> Answer:
        """Replaces the content of the message; the reference of a message that is gone is forgotten."""
        channel, _, ts = delivery.reference.partition(":")
        metadata = {"event_type": EVENT_TYPE, "event_payload": {"key": delivery.root_key}}
        changed = {name: content[name] for name in ("text", "blocks", "parse", "link_names")}
        reply = await self._api.call("chat.update", {"channel": channel, "ts": ts, **changed, "metadata": metadata})
        if reply.error in ("message_not_found", "cant_update_message"):
            delivery.reference = ""
            return Answer(True)
        return reply.answer

    async def _reply(self, delivery: "_Delivery") -> Answer:
        """Tells a state in the thread, once, with the picture of the state."""
        messages, ts = await self._thread(delivery), delivery.reference.partition(":")[2]
        if all(_key_of(message) != delivery.notice.key for message in messages):
            answer = await self._post(delivery, slack_reply(delivery.notice, self._links), delivery.notice.key, ts)
            if not answer.is_delivered:
                return answer
        await self._show_picture(delivery, messages)
        return Answer(True)

    async def _thread(self, delivery: "_Delivery") -> list[dict[str, Any]]:
        """Returns the messages of the thread as far as this notice may be among them."""
        if not delivery.may_be_there:
            return []
        channel, _, ts = delivery.reference.partition(":")
        arguments = {"channel": channel, "ts": ts, "limit": LOOKED_THROUGH, "include_all_metadata": "true"}
        reply = await self._api.call("conversations.replies", arguments, is_form=True)
        self._note("looking for earlier messages", reply.answer)
        return _messages(reply)

    async def _look_up(
        self, method: str, more: dict[str, Any], key: str
    ) -> tuple[dict[str, Any] | None, Answer | None]:
        """Returns the message with a key, or the reason to try again later. What the app may not read is not found."""
        arguments = {"channel": self._policy.channel, "limit": LOOKED_THROUGH, "include_all_metadata": "true", **more}
        reply = await self._api.call(method, arguments, is_form=True)
        if not reply.answer.is_delivered and not reply.error:
            return None, reply.answer
        self._note("looking for earlier messages", reply.answer)
        return next((message for message in _messages(reply) if _key_of(message) == key), None), None

    async def _show_picture(self, delivery: "_Delivery", thread: list[dict[str, Any]]) -> None:
        """Uploads the picture into the thread. A picture that fails keeps no alert back: the log says so once."""
        picture, alert = delivery.notice.picture, delivery.notice.alert
        channel, _, ts = delivery.reference.partition(":")
        name = f"{alert['spike_id']}-{alert['state']}-{alert['as_of']:%Y%m%dT%H%M}.png"
        shown = {file.get("name") for message in thread for file in message.get("files", [])}
        if picture is None or not ts or name in shown:
            return
        title = shorten(headline(alert), ALT_LIMIT)
        place = {"filename": name, "length": len(picture), "alt_txt": title}
        reply = await self._api.call("files.getUploadURLExternal", place, is_form=True)
        answer = reply.answer
        if answer.is_delivered:
            answer = await self._api.upload(str(reply.content.get("upload_url", "")), picture)
        if answer.is_delivered:
            files = [{"id": str(reply.content.get("file_id", "")), "title": shorten(title, 250)}]
            done = {"files": files, "channel_id": channel, "thread_ts": ts}
            answer = (await self._api.call("files.completeUploadExternal", done)).answer
        self._note("uploading a picture", answer)

    def _note(self, action: str, answer: Answer) -> None:
        if answer.is_delivered:
            self._outages.note_success(action)
        else:
            self._outages.note_failure(
                action, f"{action} failed, and alerts go without: {answer.reason}", answer.reason
            )


class _Delivery:
    """A delivery on its way. `reference`: the message as far as it is known."""

    def __init__(self, notice: Notice, reference: str, may_be_there: bool) -> None:
        self.notice, self.reference, self.may_be_there = notice, reference, may_be_there

    @property
    def root_key(self) -> str:
        """The key by which the message is found that all states update."""
        return f"{self.notice.alert['spike_id']}/opened"


def _messages(reply: SlackReply) -> list[dict[str, Any]]:
    messages = reply.content.get("messages", [])
    return [message for message in messages if isinstance(message, dict)] if isinstance(messages, list) else []


def _key_of(message: dict[str, Any]) -> str:
    payload = message.get("metadata", {}).get("event_payload", {})
    return str(payload.get("key", "")) if isinstance(payload, dict) else ""
