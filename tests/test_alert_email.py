"""E-mail against a real SMTP server on loopback: TLS, login, threads, pictures, refusals, hostile names."""

import asyncio
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from processors.alerts.connections import open_receivers
from processors.alerts.ports import Answer, Notice
from processors.alerts.receivers.email_message import spike_email
from processors.alerts.receivers.wording import Links
from tests.fakes_alerts import T0, config_of, spike
from tests.hostile_names import HOSTILE
from tests.mail_server import PASSWORD, USER, MailServer

PNG = b"\x89PNG\r\n\x1a\nabc"
NOTICE = Notice(spike(), "critical")
FROM, TO = "Engagement <alerts@team.example>", ["Größe <desk@team.example>", "press@team.example"]
BCC = "x\r\nBcc: all@evil.example\r\n\r\nbody"
LOGIN = {"user": USER, "password": {"clear": PASSWORD}}


def mail_settings(server: MailServer, **more: Any) -> dict[str, Any]:
    """The settings of an e-mail receiver at a mail server of the tests."""
    ca = {} if server.security == "none" else {"ca": str(server.ca)}
    return {
        "kind": "email",
        "server": server.address,
        "security": server.security,
        "from": FROM,
        "to": TO,
        **ca,
        **more,
    }


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., MailServer]]:
    servers: list[MailServer] = []

    def started(security: str = "none") -> MailServer:
        servers.append(MailServer(tmp_path, security))
        return servers[-1]

    yield started
    for server in servers:
        server.kill()


def deliver(settings: dict[str, Any], *notices: Notice) -> list[Answer]:
    async def work() -> list[Answer]:
        receiver = open_receivers(config_of({"it": settings}, page="https://e.example"))["it"]
        return [await receiver.send(notice, T0) for notice in notices]

    return asyncio.run(work())


@pytest.mark.parametrize("security", ["none", "starttls", "tls"])
def test_a_mail_comes_over_tls_with_a_login(security: str, start: Callable[..., MailServer]) -> None:
    server = start(security)
    [answer] = deliver(mail_settings(server, **LOGIN), NOTICE)
    assert answer == Answer(True)
    [mail] = server.mails
    assert (mail.is_encrypted, mail.user) == (security != "none", USER)
    assert (mail.sender, mail.to) == ("alerts@team.example", ["desk@team.example", "press@team.example"])


def test_a_mail_has_what_people_and_programs_need(start: Callable[..., MailServer]) -> None:
    server = start()
    deliver(mail_settings(server), Notice(spike(), "critical", picture=PNG))
    [mail] = server.mails
    message = mail.message
    assert message["Subject"] == "Spike of #acme"
    assert message["To"] == "Größe <desk@team.example>, press@team.example"
    assert message["Date"].datetime.timestamp() == T0
    assert message["List-Id"] == "<engagement-alerts.team.example>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Importance"] == "high"
    text, page = mail.part("text/plain"), mail.part("text/html")
    assert text.startswith("#acme spikes: 80 comments and posts a minute, 8 times the usual 10 a minute\n")
    for needed in (
        "many voices: 61",
        "https://example.org/p-1",
        "author:bluesky/ana",
        "SELECT sum(count)",
        "5f/opened",
    ):
        assert needed in text
        assert needed in page
    assert "Spike: https://e.example/spike/5f" in text
    assert "<a href='https://e.example/spike/5f'>Spike</a>" in page
    [picture] = [part for part in message.walk() if part.get_content_type() == "image/png"]
    assert picture.get_content() == PNG
    assert picture.get_content_disposition() == "inline"
    assert f"src='cid:{picture['Content-ID'].strip('<>')}'" in page
    assert re.search(r"<img [^>]*alt='[^']+'", page)
    assert [part.get_content_type() for part in message.walk()] == [
        "multipart/alternative",
        "text/plain",
        "multipart/related",
        "text/html",
        "image/png",
    ]


def test_a_spike_is_one_thread_and_a_message_that_comes_twice_has_one_id(start: Callable[..., MailServer]) -> None:
    server = start()
    life = [
        Notice(spike(state=state, minute=minute), "warning")  # type: ignore[arg-type]
        for state, minute in (("opened", 0), ("grown", 3), ("grown", 7), ("resolved", 9))
    ]
    deliver(mail_settings(server), *life, life[0])
    opened, *later, again = [mail.message for mail in server.mails]
    assert {message["In-Reply-To"] for message in later} == {opened["Message-ID"]}
    assert {message["References"] for message in later} == {opened["Message-ID"]}
    assert {message["Subject"] for message in later} == {f"Re: {opened['Subject']}"}, "programs compare subjects, too"
    assert len({message["Message-ID"] for message in (opened, *later)}) == 4
    assert again["Message-ID"] == opened["Message-ID"]
    assert opened["In-Reply-To"] is None


@pytest.mark.parametrize("name", [*HOSTILE, BCC, "</title><script>alert(1)</script>"])
def test_no_name_becomes_a_header_or_markup(name: str) -> None:
    alert = spike(
        "s\r\nBcc: x@evil.example",
        conversation=f"hashtag:{name}",
        conversations=[f"hashtag:{name}"],
        reasons=[name],
        top_posts=[name],
        top_urls=["javascript:alert(1)"],
        top_authors=[name],
        evidence=f"SELECT '{name}'",
    )
    for state in ("opened", "resolved"):
        notice = Notice({**alert, "state": state}, "critical", picture=PNG)  # type: ignore[typeddict-item]
        message = spike_email(notice, T0, FROM, TO, Links(None, "https://e.example"))
        head = message.as_bytes().partition(b"\r\n\r\n")[0]
        names = {line.partition(b":")[0].lower() for line in head.split(b"\r\n") if not line.startswith((b" ", b"\t"))}
        assert names <= {
            *(b"from", b"to", b"subject", b"date", b"list-id", b"auto-submitted", b"x-auto-response-suppress"),
            *(b"message-id", b"in-reply-to", b"references", b"importance", b"mime-version", b"content-type"),
        }
        page = message.get_body(("html",))
        assert page is not None
        tags = set(re.findall(r"<\s*/?\s*([a-z0-9!]+)", page.get_content(), re.IGNORECASE))
        known = {*("!doctype", "html", "head", "meta", "title", "body", "div", "h1", "h2", "p", "img", "ul", "li")}
        known |= {"table", "tr", "td", "a", "pre"}
        assert tags <= known
        assert "javascript:" not in page.get_content()


@pytest.mark.parametrize(("code", "wait"), [("451 4.3.0 try later", 0.0), ("554 5.7.1 no", 300.0)])
def test_a_refusal_is_tried_again_a_permanent_one_much_later(
    code: str, wait: float, start: Callable[..., MailServer]
) -> None:
    server = start()
    server.refusal = code
    [answer] = deliver(mail_settings(server), NOTICE)
    assert not answer.is_delivered
    assert answer.reason == f"{server.address} answers {code}"
    assert answer.wait == wait


def test_one_mailbox_that_is_refused_keeps_nothing_from_the_others(
    start: Callable[..., MailServer], caplog: pytest.LogCaptureFixture
) -> None:
    server = start()
    server.refused = {"press@team.example": "550 no such user"}
    [answer] = deliver(mail_settings(server), NOTICE)
    assert answer.is_delivered
    assert "no e-mail to press@team.example" in caplog.text
    server.refused |= {"desk@team.example": "450 mailbox busy"}
    [answer] = deliver(mail_settings(server), NOTICE)
    assert "answers 450 desk@team.example: mailbox busy" in answer.reason


def test_a_wrong_password_is_told_and_not_shown(start: Callable[..., MailServer]) -> None:
    server = start("starttls")
    [answer] = deliver(mail_settings(server, user=USER, password={"clear": "wrong-" + PASSWORD}), NOTICE)
    assert "answers 535" in answer.reason
    assert PASSWORD not in answer.reason
    assert not server.mails


def test_a_server_without_tls_or_with_a_strange_certificate_gets_no_password(start: Callable[..., MailServer]) -> None:
    plain, strange = start(), start("tls")
    [answer] = deliver(mail_settings(plain, **LOGIN) | {"security": "starttls"}, NOTICE)
    assert "cannot do what security asks for" in answer.reason
    settings = mail_settings(strange, **LOGIN)
    del settings["ca"]
    [answer] = deliver(settings, NOTICE)
    assert "its certificate is not trusted; name the certificates to trust as ca" in answer.reason
    [answer] = deliver(mail_settings(plain, timeout="2s") | {"security": "tls"}, NOTICE)
    assert not answer.is_delivered
    assert not plain.mails
    assert not strange.mails
