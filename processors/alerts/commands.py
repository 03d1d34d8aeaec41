"""The command `alerts check`: validates the alerts file, shows the receivers of a conversation, sends a test."""

import asyncio
import json
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import click

from pipeline.command_group import CommandGroup
from pipeline.errors import CheckFailed, SettingsError
from pipeline.settings import load_settings
from processors.alerts.config import ALERTS_SETTING, AlertsConfig, known_conversations, load_alerts
from processors.alerts.connections import open_receivers
from processors.alerts.fields import host_of
from processors.alerts.pictures.chart import Chart, draw, is_drawable
from processors.alerts.ports import Answer, Notice
from processors.alerts.routing import Routing
from processors.alerts.values.patterns import KnownConversations, check_pattern, names_brand, normalise
from schemas.alert_words import counted_in, minutes_in_words
from schemas.alerts import AlertState, SpikeAlert

TEST_CONVERSATION: Final = "test:engagement"


@click.group(cls=CommandGroup, epilog="Example: engagement alerts check alerts.yaml --conversation hashtag:acme")
def alerts() -> None:
    """Receivers of sudden spikes: one YAML file, named by ENGAGEMENT_ALERTS."""


@alerts.command("check", epilog="Example: engagement alerts check alerts.yaml --conversation hashtag:acme")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--conversation", help="Show who is told of the spikes of this conversation, as of now.")
@click.option("--send-test", "receiver", help="Send this receiver an opened and a resolved spike that never was.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check_alerts(file: Path | None, conversation: str | None, receiver: str | None, as_json: bool) -> None:
    """Check the alerts file and its secrets, and show which receiver gets which conversations.

    FILE is by default the file of ENGAGEMENT_ALERTS. Exits with 1 when the file has an error, or a receiver refuses the
    test.
    """
    settings = load_settings()
    path, known = file or settings.alerts, known_conversations(settings)
    if path is None:
        raise click.UsageError(f"name a file, or set {ALERTS_SETTING}")
    try:
        config = load_alerts(path, os.environ, known)
        open_receivers(config)
    except SettingsError as error:
        raise CheckFailed(str(error)) from None
    if conversation is not None:
        _check_conversation(conversation, known)
    answers = _send_test(config, receiver) if receiver is not None else []
    report = _Report(config, conversation, answers, known)
    click.echo(json.dumps(report.document(), ensure_ascii=False) if as_json else "\n".join(report.lines()))
    if failed := [answer for _, answer in answers if not answer.is_delivered]:
        raise CheckFailed(f"{receiver} did not take the test: {failed[0].reason}")


@dataclass(frozen=True)
class _Report:
    """The report on an alerts file. `answers`: (state, answer) of a test. `known`: conversations that can spike."""

    config: AlertsConfig
    conversation: str | None
    answers: list[tuple[AlertState, Answer]]
    known: KnownConversations

    @property
    def notes(self) -> list[str]:
        """Returns remarks on parts of the file that are accepted and deserve a look."""
        notes = [
            f"receivers.{name}: {note}" for name, receiver in self.config.receivers.items() for note in receiver.notes
        ]
        matches = [part.match for part in self.config.routes] + [part.match for part in self.config.silences]
        patterns = [pattern for match in matches for pattern in match]
        brands = [pattern for pattern in dict.fromkeys(map(normalise, patterns)) if names_brand(pattern)]
        if brands and self.known.brands is None:
            notes.append(
                f"{', '.join(brands)}: not compared with the brands, because ENGAGEMENT_BRANDS is not set here"
            )
        now = datetime.now(UTC)
        notes += [
            f"silences.{number}: is over since {silence.until.isoformat()}"
            for number, silence in enumerate(self.config.silences)
            if silence.until <= now
        ]
        return notes

    def document(self) -> dict[str, Any]:
        """Returns the report as one JSON object."""
        document: dict[str, Any] = {
            "receivers": {
                name: {"kind": receiver.kind, "to": ", ".join(map(host_of, receiver.addresses))}
                | {
                    when: content.model_dump()
                    for when, content in (("quiet", receiver.quiet), ("digest", receiver.digest))
                    if content is not None
                }
                for name, receiver in self.config.receivers.items()
            },
            "routes": [
                {
                    "match": route.match,
                    "to": route.to,
                    "severity": route.severity,
                    "min_severity": route.min_severity,
                    "continue": route.continues,
                }
                for route in self.config.routes
            ],
            "silences": [
                {"match": silence.match, "until": silence.until.isoformat(), "comment": silence.comment}
                for silence in self.config.silences
            ],
        }
        if self.conversation is not None:
            routing = Routing(self.config)
            key = normalise(self.conversation)
            silence = routing.silence(key, datetime.now(UTC))
            document["conversation"] = {
                "key": self.conversation,
                "legs": [route._asdict() for route in routing.matched_routes(key)],
                "silence": silence and silence.comment,
            }
        if notes := self.notes:
            document["notes"] = notes
        if self.answers:
            document["test"] = {state: answer.reason for state, answer in self.answers}
        return document

    def lines(self) -> list[str]:
        """Returns the report as lines for people."""
        document = self.document()
        lines = [
            f"receiver {name}: {receiver['kind']} at {receiver['to']}{_schedule_in_words(receiver)}"
            for name, receiver in document["receivers"].items()
        ]
        lines += [
            f"{' or '.join(route['match'])} -> {', '.join(route['to'])} ({_severity_in_words(route)})"
            + (", and the next routes" if route["continue"] else "")
            for route in document["routes"]
        ]
        lines += [f"{' or '.join(s['match'])} silent until {s['until']}: {s['comment']}" for s in document["silences"]]
        lines += [f"note: {note}" for note in document.get("notes", [])]
        if "conversation" in document:
            conversation = document["conversation"]
            routes = ", ".join(f"{route['receiver']} ({_severity_in_words(route)})" for route in conversation["legs"])
            silence = f"; silent now: {conversation['silence']}" if conversation["silence"] else ""
            lines.append(f"{conversation['key']}: {routes or 'nobody: no route fits'}{silence}")
        lines += [f"test {state}: {answer}" for state, answer in document.get("test", {}).items()]
        return lines


def _check_conversation(conversation: str, known: KnownConversations) -> None:
    if "*" in conversation or "?" in conversation:
        raise click.UsageError("--conversation: name one conversation, without * and ?: hashtag:acme")
    try:
        check_pattern(conversation, KnownConversations(known.kinds))
    except ValueError as error:
        raise click.UsageError(f"--conversation: {error}") from None


def _schedule_in_words(receiver: dict[str, Any]) -> str:
    words = ""
    if quiet := receiver.get("quiet"):
        words += f", quiet {' and '.join([*quiet['hours'], *quiet['days']])} {quiet['zone']} ({_through(quiet)})"
    if digest := receiver.get("digest"):
        every = minutes_in_words(round(digest["every"] / 60))
        words += f", a digest each {every} in {digest['zone']} ({_through(digest)})"
    return words


def _through(schedule: dict[str, Any]) -> str:
    through = schedule["through"]
    return "for every severity" if through == "never" else f"but for {through} spikes"


def _severity_in_words(route: dict[str, Any]) -> str:
    given = "" if route["severity"] is None else f", as {route['severity']}"
    return f"from {route['min_severity']} on{given}"


def _send_test(config: AlertsConfig, name: str) -> list[tuple[AlertState, Answer]]:
    """Sends an opening and then its resolution; ends at the first failure."""
    if name not in config.receivers:
        raise CheckFailed(f"--send-test: {name!r} is no receiver; there are {', '.join(config.receivers)}")

    picture = _test_picture() if config.receivers[name].takes_picture and is_drawable() else None

    async def send() -> list[tuple[AlertState, Answer]]:
        receivers = open_receivers(config)
        answers: list[tuple[AlertState, Answer]] = []
        reference = ""
        try:
            for state in ("opened", "resolved"):
                now = time.time()
                notice = Notice(_test_spike(state, now), "info", reference, picture=picture)
                answer = await receivers[name].send(notice, now)
                answers.append((state, answer))
                reference = answer.reference
                if not answer.is_delivered:
                    break
        finally:
            for receiver in receivers.values():
                await receiver.close()
        return answers

    return asyncio.run(send())


def _test_picture() -> bytes:
    """Draws an hour of a spike that never was."""
    last = int(time.time()) // 60
    counts = {last - back: 8 if back < 3 else back % 3 for back in range(60)}
    return draw(Chart(counts, last - 59, last, last - 2, last, 1.0, counted_in(TEST_CONVERSATION)))


def _test_spike(state: AlertState, now: float) -> SpikeAlert:
    minute = datetime.fromtimestamp(now, UTC).replace(second=0, microsecond=0)
    spike_id = f"test-{minute:%Y%m%dT%H%M}"
    return SpikeAlert(
        spike_id=spike_id,
        conversation=TEST_CONVERSATION,
        state=state,
        started_at=minute - timedelta(minutes=1),
        ended_at=minute if state == "resolved" else None,
        as_of=minute,
        severity="info",
        score=0.0,
        observed=8.0,
        expected=1.0,
        ratio=8.0,
        scale_minutes=1,
        counted_until=minute,
        seen_before=None,
        seen_days=None,
        voices=8,
        voices_usual=1.0,
        channels=1,
        channels_usual=1.0,
        concentration=1.0,
        top_posts=[],
        top_counts=[],
        top_urls=[],
        top_authors=[],
        reasons=["a test by `engagement alerts check --send-test`: nothing happened"],
        evidence="SELECT 1",
        detector="test",
        group_id=spike_id,
        conversations=[TEST_CONVERSATION],
    )
