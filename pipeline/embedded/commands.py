"""`engagement stack`: the embedded Kafka and ClickHouse. Only `export` lines are printed to stdout."""

import json
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

import click

from pipeline.command_group import CommandGroup
from pipeline.embedded.endpoints import StackEndpoints
from pipeline.embedded.plan import PortsPolicy
from pipeline.embedded.stack import DEFAULT_DIRECTORY, Stack
from pipeline.errors import StackError

PARTS_WATCH_SECONDS: Final = 1.0
"""Interval between two looks at the parts with --foreground."""

PORT: Final = click.IntRange(1024, 65535)


@click.group(cls=CommandGroup)
def stack() -> None:
    """Run a real Kafka and a real ClickHouse on this machine, without Docker.

    \b
    Example: eval "$(engagement stack up)"
             engagement stack status
             engagement stack down
    """


directory_option = click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_DIRECTORY,
    show_default=True,
    help="Folder for data, logs and state.",
)


@stack.command()
@directory_option
@click.option(
    "--brokers", type=click.IntRange(1, 9), help="Nodes of Kafka; fixed once the folder is made.  [default: 1]"
)
@click.option(
    "--kafka-port", type=PORT, help="Port of the first broker; others follow.  [default: a free one, then kept]"
)
@click.option(
    "--clickhouse-port", type=PORT, help="Port of ClickHouse's native protocol.  [default: a free one, then kept]"
)
@click.option("--http-port", type=PORT, help="Port of ClickHouse's HTTP interface.  [default: a free one, then kept]")
@click.option("--foreground", is_flag=True, help="Stay, and end all parts on Ctrl-C, on SIGTERM or when a part ends.")
@click.option("--json", "as_json", is_flag=True, help="Print the settings as one JSON object instead of exports.")
def up(
    directory: Path,
    brokers: int | None,
    kafka_port: int | None,
    clickhouse_port: int | None,
    http_port: int | None,
    foreground: bool,
    as_json: bool,
) -> None:
    """Start the stack, or its dead parts; returns when all parts serve.

    \b
    Example: eval "$(engagement stack up)"
             engagement stack up --dir /tmp/three --brokers 3 --foreground
    """
    ports = PortsPolicy(kafka_port, clickhouse_port, http_port)
    the_stack = Stack(directory, brokers=brokers, ports=ports, say=_say)
    with _signals_as_interrupts():
        before = the_stack.status()
        if before.running and foreground:
            raise StackError(f"the stack in {before.directory} runs already: end it with `engagement stack down` first")
        try:
            addresses = the_stack.up()
            if before.running:
                _say(f"the stack in {before.directory} runs already")
            else:
                shown = addresses.without_password
                _say(f"Kafka at {shown.kafka}, ClickHouse at {shown.clickhouse}, {shown.clickhouse_http}")
            _print_settings(addresses, as_json)
            if foreground:
                _watch(the_stack)
        finally:
            if foreground:
                _ignore_signals()
                the_stack.down()


@stack.command()
@directory_option
@click.option("--json", "as_json", is_flag=True, help="Print the ended parts as JSON.")
def down(directory: Path, as_json: bool) -> None:
    """End the stack; the data stay for the next `up`.

    \b
    Example: engagement stack down
    """
    ended = Stack(directory).down()
    if as_json:
        click.echo(json.dumps({"ended": ended}))
        return
    _say(f"ended {', '.join(ended)}" if ended else f"nothing runs in {directory}")


@stack.command()
@directory_option
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def status(directory: Path, as_json: bool) -> None:
    """Show state, addresses and log of each part; exits with 0 when all parts serve, else 1.

    \b
    Example: engagement stack status --json
    """
    report = Stack(directory).status()
    if as_json:
        shown = replace(report, addresses=report.addresses and report.addresses.without_password)
        click.echo(json.dumps(asdict(shown), indent=2))
    elif not report.parts:
        click.echo(f"no stack in {report.directory}: `engagement stack up` makes one")
    else:
        click.echo(f"{report.directory}: {'running' if report.running else 'not running'}")
        for part in report.parts:
            click.echo(f"  {part.name:<11} {part.state:<9} {part.address:<34} pid {part.pid or '-':<8} {part.log}")
    sys.exit(0 if report.running else 1)


def _say(line: str) -> None:
    click.echo(line, err=True)


def _print_settings(addresses: StackEndpoints, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(addresses.environment()))
    else:
        for name, value in addresses.environment().items():
            click.echo(f"export {name}={shlex.quote(value)}")
    # A reader of the pipe needs the lines now, also with --foreground.
    sys.stdout.flush()


def _watch(the_stack: Stack) -> None:
    """Blocks until a signal (KeyboardInterrupt) or the end of a part (StackError)."""
    _say("Ctrl-C ends it")
    while True:
        time.sleep(PARTS_WATCH_SECONDS)
        if dead := the_stack.dead_parts():
            raise StackError(f"{', '.join(dead)} ended: see {the_stack.log(dead[0])}")


def _ignore_signals() -> None:
    """Ignores further signals: ending takes a bounded time, and a second Ctrl-C must not interrupt it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def _signals_as_interrupts() -> Iterator[None]:
    """Turns SIGTERM, and SIGHUP of a closed terminal, into KeyboardInterrupt, so that commands end in order."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    earlier = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
