"""Every block of code in the documentation that can run is run: SQL on a real ClickHouse, Python, JSON, YAML, and the
options of every command line. tests/test_readme.py follows README and the tutorial with a worker and events."""

import base64
import hashlib
import hmac
import json
import re
import shlex
import time
from pathlib import Path

import click
import pytest
import yaml

from pipeline.cli import engagement
from pipeline.clickhouse.client import ClickHouse
from pipeline.clickhouse.migrations import migrate
from pipeline.settings import Settings
from processors.alerts.values.quiet_hours import Digest, Quiet
from tests.fakes_alerts import config_of

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)

ELSEWHERE = ("BACKUP", "RESTORE")
"""Statements that tests of their own run, with the disk that they need."""


def blocks(language: str) -> list[tuple[str, str]]:
    """Page and text of each block in a language."""
    return [
        (page.name, re.sub(f"^{indent}", "", text, flags=re.MULTILINE))
        for page in PAGES
        for indent, kind, text in BLOCK.findall(page.read_text())
        if kind == language
    ]


def command_lines() -> list[tuple[str, str]]:
    """Page and text of each line that begins with `engagement`, comments and pipes left out."""
    lines = []
    for page in PAGES:
        for line in re.findall(r"^(?: {4}|\t)?(?:eval \"\$\()?(engagement [a-z].*)$", page.read_text(), re.MULTILINE):
            parts = shlex.shlex(line.replace(')"', ""), posix=True, punctuation_chars="|<>&;")
            parts.whitespace_split, parts.commenters = True, "#"
            words = []
            for part in parts:
                if set(part) <= set("|<>&;"):
                    break
                words.append(part)
            lines.append((page.name, shlex.join(words)))
    return list(dict.fromkeys(lines))


@pytest.mark.parametrize(("page", "line"), command_lines())
def test_every_command_line_has_arguments_and_options_that_exist(page: str, line: str) -> None:
    words = shlex.split(line)[1:]
    command: click.Command = engagement
    context = click.Context(engagement, info_name="engagement", resilient_parsing=True)
    while isinstance(command, click.Group):
        found = command.get_command(context, words[0])
        assert found is not None, f"{page}: {line}"
        command, words = found, words[1:]
        context = click.Context(command, info_name=command.name, parent=context, resilient_parsing=True)
    if any(word in ("...", "NAME", "FILE") or word.startswith("[") for word in words):
        return
    try:
        command.parse_args(context, list(words))
    except click.UsageError as error:
        pytest.fail(f"{page}: {line}: {error.format_message()}")


@pytest.mark.stack
def test_every_query_runs(settings: Settings) -> None:
    queries = [(page, sql) for page, sql in blocks("sql") if not sql.strip().startswith(ELSEWHERE)]
    assert len({page for page, _ in queries}) >= 4
    migrate(settings)
    with ClickHouse(settings) as client:
        for page, sql in queries:
            for statement in filter(str.strip, sql.split(";\n")):
                here = re.sub(r"\bengagement\.", "", statement).strip().rstrip(";")
                is_query = here.split(maxsplit=1)[0].upper() in ("SELECT", "WITH") or here.startswith("--")
                try:
                    (client.select if is_query else client.execute)(here)
                except Exception as error:
                    pytest.fail(f"{page}: {error}\n{statement}")


@pytest.mark.parametrize(("page", "text"), blocks("json"))
def test_every_json_is_json(page: str, text: str) -> None:
    """A block may have several documents, one after the other."""
    decoder, rest = json.JSONDecoder(), text.strip()
    while rest:
        _, end = decoder.raw_decode(rest)
        rest = rest[end:].lstrip()


@pytest.mark.parametrize(("page", "text"), blocks("yaml"))
def test_every_yaml_is_yaml(page: str, text: str) -> None:
    assert yaml.safe_load(text) is not None


def test_the_schedules_of_alerts_are_accepted() -> None:
    [text] = [text for page, text in blocks("yaml") if page == "alerts.md"]
    schedule = yaml.safe_load(text)
    receiver = config_of({"hook": schedule}).receivers["hook"]
    assert isinstance(receiver.quiet, Quiet)
    assert isinstance(receiver.digest, Digest)


def test_a_webhook_is_verified_as_the_documentation_says() -> None:
    [text] = [text for page, text in blocks("python") if page == "alerts.md"]
    secret, body = b"0123456789abcdef01234567", b'{"a":1}'
    headers = {"Webhook-Id": "5f/opened", "Webhook-Timestamp": str(int(time.time()))}
    signed = f"{headers['Webhook-Id']}.{headers['Webhook-Timestamp']}.".encode() + body
    signature = "v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
    names = {"base64": base64, "hmac": hmac, "hashlib": hashlib, "time": time, "secret": secret}
    exec(text, {**names, "headers": headers | {"Webhook-Signature": signature}, "body": body})
    with pytest.raises(AssertionError):
        exec(text, {**names, "headers": headers | {"Webhook-Signature": signature}, "body": body + b" "})
