"""What fails again and again is logged at its start, when it changes, ever more rarely, and at its end."""

import logging
import random
from itertools import pairwise

import pytest

from pipeline.observability.health import STORE_TITLES, HealthState
from pipeline.observability.outages import LONGEST_REMINDER_SECONDS, QUIET_SECONDS, REASONS_LOGGED, OutageLog


class Bench:
    """An OutageLog with a clock of its own. `lines` are the time, level and message of what was logged."""

    def __init__(self) -> None:
        self.now, self.lines = 1000.0, list[tuple[float, str, str]]()
        logger = logging.Logger("bench")
        handler = logging.Handler()
        handler.emit = lambda record: self.lines.append(  # type: ignore[method-assign]
            (self.now, record.levelname, record.getMessage())
        )
        logger.addHandler(handler)
        self.log = OutageLog(logger, clock=lambda: self.now)

    def fail(self, seconds: float, reason: str = "away", step: float = 0.5) -> None:
        """Fails for so long, two times a second."""
        end = self.now + seconds
        while self.now < end:
            self.log.note("db", reason)
            self.now += step

    def texts(self) -> list[str]:
        return [text for _, _, text in self.lines]


def test_an_outage_of_an_hour_is_a_handful_of_lines() -> None:
    bench = Bench()
    bench.fail(3600)
    bench.log.note("db", None)
    assert bench.texts() == [
        "away",
        "away (so for 1 min now, 121 failures)",
        "away (so for 3 min now, 361 failures)",
        "away (so for 7 min now, 841 failures)",
        "away (so for 15 min now, 1801 failures)",
        "away (so for 31 min now, 3721 failures)",
        "db works again after 1 h, 7200 failures",
    ]
    assert [level for _, level, _ in bench.lines] == ["WARNING"] * 6 + ["INFO"]


def test_a_long_outage_is_remembered_every_hour() -> None:
    bench = Bench()
    bench.fail(24 * 3600, step=5)
    times = [at for at, _, _ in bench.lines]
    assert max(later - earlier for earlier, later in pairwise(times)) <= LONGEST_REMINDER_SECONDS + 5
    assert len(times) < 32


def test_another_reason_is_logged_at_once_and_only_once() -> None:
    bench = Bench()
    for _ in range(20):
        bench.fail(0.5, "refused")
        bench.fail(0.5, "timed out")
    assert bench.texts() == ["refused", "timed out"]
    for number in range(100):
        bench.fail(0.1, f"port {number}", step=0.1)
    assert len(bench.lines) == REASONS_LOGGED


def test_an_end_is_logged_once_and_a_success_without_failure_not_at_all() -> None:
    bench = Bench()
    bench.log.note("db", None)
    bench.fail(0.5)
    for _ in range(3):
        bench.log.note("db", None)
    assert bench.texts() == ["away", "db works again after 0.5 s, 1 failure"]


def test_what_comes_and_goes_each_second_is_logged_with_the_reminders() -> None:
    bench = Bench()
    for _ in range(1200):
        bench.fail(0.5)
        bench.log.note("db", None)
        bench.now += 0.5
    # The start, and reminders after 1, 3, 7 and 15 minutes, each with its end.
    assert len(bench.lines) == 10
    assert [level for _, level, _ in bench.lines] == ["WARNING", "INFO"] * 5
    bench.now += QUIET_SECONDS + 1
    bench.fail(0.5)
    assert bench.texts()[-1] == "away"


@pytest.mark.parametrize("seed", range(20))
def test_a_logged_failure_has_its_end_logged(seed: int) -> None:
    chance, bench = random.Random(seed), Bench()
    for _ in range(400):
        bench.now += chance.choice([0.1, 1, 30, 90])
        bench.log.note("db", None if chance.random() < 0.4 else chance.choice(["a", "b"]))
    bench.log.note("db", None)
    levels = [level for _, level, _ in bench.lines]
    assert levels[-1] == "INFO"
    assert all((one, other) != ("INFO", "INFO") for one, other in pairwise(levels))


def test_things_are_told_apart_and_the_text_may_vary_within_a_reason() -> None:
    bench = Bench()
    for number in range(5):
        bench.log.note_failure("team", f"team was not told of spike {number}: HTTP 503", "HTTP 503")
        bench.log.note_failure("pager", "pager was not told", "HTTP 500")
    bench.log.note_success("team")
    assert bench.texts() == [
        "team was not told of spike 0: HTTP 503",
        "pager was not told",
        "team works again after 0.0 s, 5 failures",
    ]


def test_all_agents_of_a_worker_say_once_that_a_store_is_away() -> None:
    bench = Bench()
    health = HealthState(on_store=lambda store, reason: bench.log.note(STORE_TITLES[store], reason))
    for _ in range(10):
        for _agent in range(3):
            health.note_away("clickhouse", "ClickHouse at db does not answer", bench.now)
        health.note_away("kafka", "Kafka at broker does not answer", bench.now)
        bench.now += 1
    for _agent in range(3):
        health.note_back("clickhouse")
    assert bench.texts() == [
        "ClickHouse at db does not answer",
        "Kafka at broker does not answer",
        "ClickHouse works again after 10 s, 30 failures",
    ]
