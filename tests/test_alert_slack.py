"""Slack: the blocks, and the bot against a stand-in for the Web API that refuses what Slack's documentation forbids."""

import asyncio
import json
import re
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from processors.alerts.connections import open_receivers
from processors.alerts.ports import Answer, Notice, Receiver
from processors.alerts.receivers.slack_blocks import slack_content, slack_digest, slack_reply
from processors.alerts.receivers.wording import Links
from tests.fakes_alerts import T0, config_of, spike
from tests.slack_server import CHANNEL, TOKEN, SlackServer, flaw_of

PNG = b"\x89PNG\r\n\x1a\nabc"
NOTICE = Notice(spike(), "critical")
LINKS = Links("https://g.example/{conversation}?from={from}&to={to}", "https://e.example")
OPENED, GROWN = "5f/opened", "5f/grown/2026-03-01T12:05Z"
RESOLVED = "5f/resolved"


def bot_settings(server: SlackServer, **more: Any) -> dict[str, Any]:
    """The settings of a bot at a stand-in."""
    return {"kind": "slack", "token": {"clear": TOKEN}, "channel": CHANNEL, "api": server.url, **more}


@pytest.fixture
def slack() -> Iterator[SlackServer]:
    server = SlackServer()
    yield server
    server.kill()
    assert not server.flaws


def deliver(slack: SlackServer, work: Callable[[Receiver], Coroutine[Any, Any, Any]], **more: Any) -> Any:
    """Runs `work` with a bot."""

    async def all_of_it() -> Any:
        bot = open_receivers(config_of({"it": bot_settings(slack, **more)}, page="https://e.example"))["it"]
        try:
            return await work(bot)
        finally:
            await bot.close()

    return asyncio.run(all_of_it())


async def live(bot: Receiver, picture: bytes | None = None) -> list[Answer]:
    """Tells the life of a spike."""
    answers, reference = [], ""
    for state, minute in (("opened", 0), ("grown", 5), ("resolved", 9)):
        alert = spike(state=state, minute=minute)  # type: ignore[arg-type]
        answers.append(await bot.send(Notice(alert, "critical", reference, picture=picture), T0))
        reference = answers[-1].reference
    return answers


# ---------------------------------------------------------------- the blocks


def test_slack_gets_what_people_need() -> None:
    message = slack_content(NOTICE, LINKS)
    assert message["text"].startswith("#acme spikes: 80 comments and posts a minute")
    said = json.dumps(message["blocks"], ensure_ascii=False)
    for needed in ("many voices: 61", "p-1", "author:bluesky/ana", "SELECT sum(count)", "critical", "5f/opened"):
        assert needed in said
    assert "<https://e.example/spike/5f|Spike>" in said
    assert f"<https://g.example/hashtag%3Aacme?from={round(T0 - 3660) * 1000}&amp;to=now|Dashboard>" in said
    assert "<https://example.org/p-1|p-1> (<https://e.example/post/p-1|spread>)" in said
    assert flaw_of(message) == ""


@pytest.mark.parametrize("make", [slack_content, slack_reply, lambda notice, links: slack_digest([notice] * 2, links)])
def test_slack_takes_no_word_of_a_stranger_for_a_command(make: Callable[[Notice, Links], Any]) -> None:
    mean = spike(
        conversation="hashtag:<!channel> @channel <!here|x>",
        reasons=["<http://evil.example|click>", "<!subteam^S1> @everyone"],
        top_posts=["<@U1>", "<!here>"],
        top_authors=["author:x/<!everyone>"],
        evidence="SELECT '```<!channel>'",
    )
    mean["top_urls"] = ["javascript:alert(1)", "https://example.org/>|<!here>"]
    message = make(Notice(mean, "x"), LINKS)
    said = json.dumps(message, ensure_ascii=False)
    commands = re.findall(r"<([^|>]*)", said)
    assert all(
        command.startswith(("https://e.example/", "https://g.example/", "https://example.org/")) for command in commands
    )
    assert (message["parse"], message["link_names"]) == ("none", False), "@channel in a text stays a text"
    texts = [part for block in message["blocks"] for part in [block.get("text"), *block.get("fields", [])] if part]
    assert all(part.get("verbatim") for part in texts if part["type"] == "mrkdwn")
    assert flaw_of(message) == ""


def test_slacks_limits_hold_whatever_a_spike_says() -> None:
    long = "&" * 5_000
    huge = Notice(
        spike(
            conversation="hashtag:" + long,
            reasons=[long] * 30,
            top_posts=[long] * 50,
            top_urls=["https://example.org/" + long] * 50,
            top_authors=[long] * 50,
            evidence=long + "```",
        ),
        "x",
    )
    for message in (slack_content(huge, LINKS), slack_reply(huge, LINKS), slack_digest([huge] * 100, LINKS)):
        assert flaw_of(message) == ""
    blocks = slack_content(huge, LINKS)["blocks"]
    fenced = [block["text"]["text"] for block in blocks if "```" in json.dumps(block)]
    assert [(text[:3], text[-3:], text.count("```")) for text in fenced] == [("```", "```", 2)]


def test_a_digest_names_the_most_severe_first_and_counts_the_others() -> None:
    notices = [Notice(spike(f"s{n}", conversation=f"hashtag:t{n}", severity="info"), None) for n in range(30)]
    loud = Notice(spike("s30", "resolved", 1, conversation="hashtag:loud", severity="critical"), None)
    message = slack_digest([*notices, loud], LINKS)
    texts = [block["text"]["text"] for block in message["blocks"] if "text" in block]
    assert texts[0] == "31 spikes, 30 of them still open"
    assert texts[1].startswith("#loud no longer spikes")
    assert message["blocks"][-1]["elements"][0]["text"] == "and 11 more, none of them more severe"


# ---------------------------------------------------------------- the bot


def test_a_spike_is_one_message_with_its_life_and_pictures_in_the_thread(slack: SlackServer) -> None:
    answers = deliver(slack, lambda bot: live(bot, PNG))
    assert all(answer.is_delivered for answer in answers)
    [root] = slack.roots
    assert {answer.reference for answer in answers} == {f"{CHANNEL}:{root['ts']}"}
    assert root["text"].startswith("#acme no longer spikes"), "the message tells the newest state"
    told = slack.replies(root)
    assert [message["posted_as"] for message in told if "posted_as" in message] == [GROWN, RESOLVED]
    pictures = [file["name"] for message in told for file in message.get("files", [])]
    assert pictures == ["5f-opened-20260301T1200.png", "5f-grown-20260301T1205.png", "5f-resolved-20260301T1209.png"]
    assert {file["content"] for file in slack.files.values()} == {PNG}


@pytest.mark.parametrize(
    ("update", "threads", "roots", "replies", "last"),
    [
        (True, False, [OPENED], 0, "#acme no longer spikes"),
        (False, True, [OPENED], 2, "#acme spikes"),
        (False, False, [OPENED, GROWN, RESOLVED], 0, "#acme no longer spikes"),
    ],
)
def test_updates_and_threads_are_settings(
    slack: SlackServer, update: bool, threads: bool, roots: list[str], replies: int, last: str
) -> None:
    assert all(answer.is_delivered for answer in deliver(slack, live, update=update, threads=threads))
    assert [root["posted_as"] for root in slack.roots] == roots
    assert len(slack.replies(slack.roots[0])) == replies
    assert slack.roots[-1]["text"].startswith(last)


def test_what_was_posted_before_a_crash_is_found_and_not_posted_again(slack: SlackServer) -> None:
    """The worker was killed before it could store the reference; another one takes over at each step."""
    first = deliver(slack, lambda bot: bot.send(NOTICE, T0))
    again = deliver(slack, lambda bot: bot.send(NOTICE, T0 + 5))
    assert first == again == Answer(True, reference=f"{CHANNEL}:{slack.roots[0]['ts']}")
    grown = Notice(spike(state="grown", minute=1), "critical", first.reference, picture=PNG)
    for _ in range(3):
        assert deliver(slack, lambda bot: bot.send(grown, T0 + 70)).is_delivered
    assert len(slack.roots) == 1
    assert len(slack.replies(slack.roots[0])) == 2, "the growth and its picture, once"


@pytest.mark.parametrize("lost", ["chat.postMessage", "files.completeUploadExternal", "chat.update"])
def test_an_answer_that_is_lost_makes_no_second_message(slack: SlackServer, lost: str) -> None:
    async def work(bot: Receiver) -> list[Answer]:
        answers = []
        for minute, state in ((60, "opened"), (65, "grown")):
            notice = Notice(
                spike(state=state, minute=minute), "x", answers[-1].reference if answers else "", picture=PNG
            )
            slack.lost = {lost}
            await bot.send(notice, T0)
            slack.lost = set()
            answers.append(await bot.send(notice, T0))
        return answers

    assert all(answer.is_delivered for answer in deliver(slack, work))
    [root] = slack.roots
    replies = slack.replies(root)
    assert [message["posted_as"] for message in replies if "posted_as" in message] == [GROWN.replace("12:05", "13:05")]
    assert len([message for message in replies if "files" in message]) == 2


def test_a_repetition_updates_in_silence_and_a_deleted_message_stays_deleted(slack: SlackServer) -> None:
    async def work(bot: Receiver) -> Answer:
        opened = await bot.send(NOTICE, T0)
        joined = spike(conversations=["hashtag:acme", "brand:acme"])
        again = Notice(joined, "critical", opened.reference, is_repetition=True, picture=PNG)
        assert (await bot.send(again, T0)).is_delivered
        assert slack.roots[0]["text"].startswith("#acme and the brand acme spike")
        assert len(slack.messages) == 1
        slack.messages.clear()
        assert (await bot.send(again, T0)).is_delivered
        assert not slack.messages
        return await bot.send(Notice(spike(state="grown", minute=5), "critical", opened.reference), T0)

    grown = deliver(slack, work)
    assert [root["posted_as"] for root in slack.roots] == [GROWN], "news come as a new message"
    assert grown.reference == f"{CHANNEL}:{slack.roots[0]['ts']}"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ({"error": "not_in_channel"}, "invite the app to the channel"),
        ({"error": "invalid_auth"}, "name the Bot User OAuth Token"),
        ({"error": "missing_scope", "needed": "chat:write"}, "give the app the scope chat:write"),
    ],
)
def test_what_slack_refuses_is_told_with_its_cure(slack: SlackServer, error: dict[str, str], said: str) -> None:
    slack.errors = {"chat.postMessage": error}
    answer = deliver(slack, lambda bot: bot.send(NOTICE, T0))
    assert not answer.is_delivered
    assert f"answers chat.postMessage with {error['error']}; {said}" in answer.reason


def test_an_app_that_may_only_write_is_enough(slack: SlackServer) -> None:
    refused = {"error": "missing_scope", "needed": "channels:history"}
    slack.errors = dict.fromkeys(
        ("conversations.history", "conversations.replies", "files.getUploadURLExternal"), refused
    )
    assert all(answer.is_delivered for answer in deliver(slack, lambda bot: live(bot, PNG)))
    assert len(slack.roots) == 1


def test_too_many_requests_wait_as_long_as_slack_asks(slack: SlackServer) -> None:
    slack.status, slack.answer_headers = 429, {"Retry-After": "30"}
    answer = deliver(slack, lambda bot: bot.send(NOTICE, T0))
    assert (answer.is_delivered, answer.wait) == (False, 30)


def test_the_token_is_shown_nowhere_and_goes_to_the_api_alone(slack: SlackServer) -> None:
    slack.errors = {"chat.postMessage": {"error": f"no such token {TOKEN}"}}
    answer = deliver(slack, lambda bot: bot.send(NOTICE, T0))
    assert TOKEN not in answer.reason
    slack.errors = {}
    deliver(slack, lambda bot: bot.send(Notice(spike(), "x", picture=PNG), T0))
    without = [headers for headers in slack.headers if "authorization" not in headers]
    assert len(without) == slack.calls["F000000000"] == 1


def test_an_upload_to_another_host_is_refused(slack: SlackServer) -> None:
    slack._upload_url = lambda content: {  # type: ignore[method-assign]
        "ok": True,
        "file_id": "F1",
        "upload_url": "http://169.254.169.254/upload",
    }
    assert deliver(slack, lambda bot: bot.send(Notice(spike(), "x", picture=PNG), T0)).is_delivered
    assert slack.calls["files.completeUploadExternal"] == 0
