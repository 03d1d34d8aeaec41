"""Slack: an incoming webhook, or an app with a bot token, which updates its messages and tells a spike's life in a
thread."""

import re
from collections.abc import Sequence
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, SecretStr, model_validator

from processors.alerts.fields import FlawAt, ReceiverUrl, Secret, SecretUrl, Switch, Words
from processors.alerts.pictures.chart import NO_PICTURES, is_drawable
from processors.alerts.ports import Notice, Receiver
from processors.alerts.receivers.http import HttpClient, Message, compact_json
from processors.alerts.receivers.settings import HttpSettings, Sender
from processors.alerts.receivers.slack_api import SlackApi, SlackBot, SlackPolicy
from processors.alerts.receivers.slack_blocks import Content, slack_content, slack_digest
from processors.alerts.receivers.wording import Links

SLACK_API: Final = "https://slack.com/api"
BOT_FIELDS: Final = ("channel", "api", "update", "threads", "picture")
"""Fields that need a bot token: an incoming webhook can only post."""


def _check_channel(text: str) -> str:
    if not re.fullmatch(r"[CGD][A-Z0-9]{6,20}", text):
        raise ValueError('must be the id of a channel, at the end of "Copy link" in Slack: C0123456789')
    return text


def _check_token(secret: SecretStr) -> SecretStr:
    if not re.fullmatch(r"xox[a-z]-[A-Za-z0-9-]{5,250}", secret.get_secret_value()):
        raise ValueError('must be the "Bot User OAuth Token" of a Slack app, which begins with xoxb-')
    return secret


class SlackSettings(HttpSettings):
    """A Slack channel. `url`: an incoming webhook, or any service with the same format; knowledge of the address is
    the permission to post. Or `token` of a bot and its `channel`.

    `update`: one message tells the newest state. `threads`: states are told in the message's thread. `picture`: shown
    in the thread. `api`: address of Slack's Web API.
    """

    kind: Literal["slack"]
    url: SecretUrl | None = None
    token: Annotated[Secret, AfterValidator(_check_token)] | None = None
    channel: Annotated[Words, AfterValidator(_check_channel)] | None = None
    update: Switch = True
    threads: Switch = True
    picture: Switch = True
    api: ReceiverUrl = SecretStr(SLACK_API)

    @model_validator(mode="after")
    def _has_one_way(self) -> "SlackSettings":
        if (self.url is None) == (self.token is None):
            given = "is there beside token" if self.url is not None else "is missing"
            raise FlawAt(
                ("url",), f"{given}; name either the url of an incoming webhook, or token and channel of a bot"
            )
        if self.token is not None and self.channel is None:
            raise FlawAt(("channel",), "is missing; name the channel to which the bot posts: C0123456789")
        if self.url is not None and (named := [name for name in BOT_FIELDS if name in self.model_fields_set]):
            raise FlawAt((named[0],), "needs a bot: an incoming webhook can only post; name a token instead of the url")
        return self

    @property
    def addresses(self) -> list[SecretStr]:
        return [self.api if self.url is None else self.url]

    @property
    def notes(self) -> list[str]:
        return [NO_PICTURES] if self.takes_picture and not is_drawable() else []

    @property
    def takes_picture(self) -> bool:
        return self.token is not None and self.picture

    @property
    def is_updated(self) -> bool:
        return self.token is not None and self.update

    def open(self, name: str, sender: Sender) -> Receiver:
        if self.token is None or self.channel is None:
            return self.open_http(name, _Webhook(sender.links).message, _Webhook(sender.links).digest)
        headers = {**self.headers, "Authorization": SecretStr(f"Bearer {self.token.get_secret_value()}")}
        tls = self.open_tls(name)
        client = HttpClient(self.timeout, headers, tls, [self.token])
        uploads = HttpClient(self.timeout, {}, tls, [])
        policy = SlackPolicy(self.channel, self.update, self.threads, self.timeout)
        return SlackBot(SlackApi(client, uploads, self.api), policy, sender.links)


class _Webhook:
    """The messages of an incoming webhook."""

    def __init__(self, links: Links) -> None:
        self._links = links

    def message(self, notice: Notice, now: float) -> Message:
        return _posted(slack_content(notice, self._links))

    def digest(self, notices: Sequence[Notice], now: float) -> Message:
        return _posted(slack_digest(notices, self._links))


def _posted(content: Content) -> Message:
    return Message(compact_json(content), {"Content-Type": "application/json"})
