"""`engagement recount` says what workers have not read yet, waits for them, and does not pass a check of nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipeline.cli import engagement as command
from pipeline.errors import CheckFailed, Unavailable
from pipeline.kafka.client import open_admin
from pipeline.settings import Settings
from tests.end_to_end.checks import engagement, environment_of
from tests.end_to_end.workers import Workers


def recount(environment: dict[str, str], *options: str) -> Result:
    return CliRunner().invoke(command, ["recount", *options], env=environment)


def send(environment: dict[str, str], seed: int) -> int:
    """How many events were sent."""
    words = ["simulate", "--events", "300", "--posts", "20", "--seed", str(seed), "--json"]
    return int(json.loads(engagement(environment, *words))["total"])


def test_from_nothing_to_all_is_read(settings: Settings, tmp_path: Path) -> None:
    environment = environment_of(settings, os.environ)
    engagement(environment, "init")

    empty = recount(environment, "--check")
    assert isinstance(empty.exception, CheckFailed)
    assert "the log is empty" in str(empty.exception)
    assert "nothing in the log, and nothing in Kafka" in empty.stdout

    sent = send(environment, 1)
    unread = recount(environment, "--check")
    assert isinstance(unread.exception, CheckFailed)
    assert "--wait" in str(unread.exception)
    assert f"{sent:,} records of Kafka are not in the log yet" in unread.stdout
    said = json.loads(recount(environment, "--check", "--json").stdout)
    assert said["unread"] == {"events": sent, "cells": 0}

    in_vain = recount(environment, "--check", "--wait", "1")
    assert isinstance(in_vain.exception, CheckFailed)
    assert f"{sent:,} records are not read after 1 s: is a worker running" in str(in_vain.exception)

    with Workers(tmp_path, environment) as workers:
        words = [sys.executable, "-c", "from pipeline.cli import main; main()", "recount", "--check", "--wait", "120"]
        waiting = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        worker = workers.start()
        try:
            said, errors = waiting.communicate(timeout=200)
        finally:
            waiting.kill()
        assert waiting.returncode == 0, (errors, worker.tail)
        assert said.endswith(f"20 posts, {sent:,} events: 0 differences\n")
        assert worker.end() == 0

    more = send(environment, 2)
    behind = recount(environment, "--check")
    assert behind.exit_code == 0, behind.exception
    checked, left = behind.stdout.splitlines()[-2:]
    assert checked == f"20 posts, {sent:,} events: 0 differences"
    assert left.startswith(f"{more:,} records of Kafka are not in the log yet and were not looked at: --wait ")
    assert json.loads(recount(environment, "--check", "--json").stdout)["unread"]["events"] == more


def test_without_kafka_the_rows_are_compared_all_the_same(settings: Settings) -> None:
    environment = environment_of(settings, os.environ)
    engagement(environment, "init")
    away = environment | {"ENGAGEMENT_KAFKA": "127.0.0.1:1"}
    done = recount(away, "--check")
    assert isinstance(done.exception, CheckFailed)
    assert "there is nothing in the log\n" in done.stdout
    assert "what workers have not read yet is not known" in done.stderr
    assert recount(away).exit_code == 0
    assert isinstance(recount(away, "--wait", "3").exception, Unavailable)


@pytest.mark.stack
def test_offsets_of_what_is_not_there(settings: Settings) -> None:
    with open_admin(settings) as admin:
        assert admin.committed("nobody-has-heard-of-it") == {}
        for look in (admin.ends, admin.beginnings):
            with pytest.raises(Unavailable, match="engagement init"):
                look(["no-such-topic"])
