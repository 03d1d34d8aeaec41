"""The commands `collect` and `collect-keys`."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click
from pydantic import SecretStr

from pipeline.errors import Refused, SettingsError
from pipeline.observability.logs import configure_logs
from pipeline.privacy.pseudonyms import load_pseudonyms
from pipeline.serving.listening import bind_listener, is_loopback, listener_url
from pipeline.settings import Settings, load_settings
from producers.collector.access.grants import Access, AccessPolicy
from producers.collector.access.keys_file import KeysDocument, SecretPlace, new_key, new_secret, read_keys, write_keys
from producers.collector.access.origins import OriginPolicy
from producers.collector.access.senders import SenderLimits
from producers.collector.app import build_app
from producers.collector.batch_sender import BatchPolicy, BatchSender
from producers.collector.inlets import make_inlets
from producers.collector.intake import IntakePorts
from producers.collector.item_intake import IntakePolicy
from producers.collector.mappers.hooks import HOOKS
from producers.collector.mappers.mapped_hook import mapped_hook
from producers.collector.metrics import CollectorMetrics
from producers.collector.reading.body import BodyBudget, BodyPolicy
from producers.collector.reading.idempotency import IdempotencyPolicy, IdempotencyStore
from producers.collector.server import ListenPolicy, run_server

_MEBIBYTE: Final = 1024 * 1024


@click.command("collect")
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Where it listens; others than loopback need keys."
)
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option(
    "--cors-origin", "origins", multiple=True, help="Pages of this origin, https://shop.example, may send; repeatable."
)
@click.option(
    "--hook", "maps", multiple=True, metavar="NAME=MAP", help="POST /hooks/NAME, mapped by a YAML file or shipped map."
)
@click.option("--json", "as_json", is_flag=True, help='Print {"url": ...} as soon as it listens.')
def collect_events(host: str, port: int, origins: tuple[str, ...], maps: tuple[str, ...], as_json: bool) -> None:
    """Take events over HTTP: JSON, CloudEvents, ActivityStreams, webhooks. GET /docs lists the endpoints.

    A request is answered by 202 once Kafka has acked its events. SIGTERM ends the collector without losing any.

    \b
    Example: engagement collect --port 8080 --hook shop=shop.yaml
    """
    settings = load_settings()
    configure_logs(settings)
    check_exposure(settings, host)
    for origin in origins:
        if not origin.startswith(("http://", "https://")) or origin.count("/") != 2:
            raise click.BadParameter(f"{origin!r} is no origin like https://shop.example", param_hint="--cors-origin")
    policy = ListenPolicy(
        host,
        port,
        settings.collect_certificate,
        settings.collect_private_key,
        settings.collect_connections,
        settings.collect_ack_seconds,
    )
    ports = open_ports(settings, OriginPolicy(frozenset(origins), loopback_only=settings.collect_keys is None))
    inlets = make_inlets(settings, {**HOOKS, **dict(map(mapped_hook, maps))})
    listener = bind_listener(host, port)
    if as_json:
        url = listener_url("https" if policy.certificate else "http", host, listener)
        click.echo(json.dumps({"url": url}))
    run_server(build_app(inlets, ports, intake_policy(settings)), policy, listener)


def check_exposure(settings: Settings, host: str) -> None:
    """Raises SettingsError for an address beyond loopback without keys, and for half of TLS."""
    if settings.collect_keys is None and not is_loopback(host):
        raise SettingsError(
            f"--host {host} is open to others, who could send anything: make a key by `engagement collect-keys add "
            "--file keys.yaml --source NAME` and set ENGAGEMENT_COLLECT_KEYS=keys.yaml, or listen on 127.0.0.1"
        )
    if (settings.collect_certificate is None) != (settings.collect_private_key is None):
        raise SettingsError("ENGAGEMENT_COLLECT_CERTIFICATE and ENGAGEMENT_COLLECT_PRIVATE_KEY: set both, or none")


def open_ports(settings: Settings, origins: OriginPolicy) -> IntakePorts:
    """Puts the parts of a collector together; nothing connects yet. Raises SettingsError for a keys file with flaws."""
    limits = SenderLimits(settings.collect_body_limit, 0.0, settings.collect_concurrency)
    memory = settings.producer_memory_mb * _MEBIBYTE
    compression = None if settings.producer_compression == "none" else settings.producer_compression
    return IntakePorts(
        BatchSender(settings, BatchPolicy(memory, settings.collect_ack_seconds, compression=compression)),
        Access(AccessPolicy(settings.collect_keys, limits, token_in_query=bool(origins.allowed))),
        IdempotencyStore(IdempotencyPolicy(settings.collect_idempotency_keys)),
        BodyBudget(BodyPolicy(settings.collect_body_seconds, max(memory, 2 * settings.collect_body_limit))),
        origins,
        CollectorMetrics(),
    )


def intake_policy(settings: Settings) -> IntakePolicy:
    """Returns the limits of events by the settings. Raises SettingsError for a file of brands that cannot be used."""
    return IntakePolicy(
        settings.topics,
        settings.future_limit_seconds,
        settings.record_limit,
        settings.collect_body_limit,
        load_pseudonyms(settings),
    )


FILE_OPTION: Final = click.option(
    "--file", "path", type=click.Path(path_type=Path), help="The keys file; ENGAGEMENT_COLLECT_KEYS where not given."
)


@click.group("collect-keys")
def collect_keys() -> None:
    """Add, list and revoke the keys by which programs send to `engagement collect`.

    \b
    Example: engagement collect-keys add --file keys.yaml --source shop --channel shop
    """


@collect_keys.command("add")
@FILE_OPTION
@click.option("--source", required=True, help="Who sends: a name for metrics, logs and dead letters.")
@click.option("--channel", "channels", multiple=True, help="A channel that the key may send; repeatable; without: all.")
@click.option("--rate", type=float, help="Requests a second at most.")
@click.option("--concurrency", type=int, help="Requests at a time at most.")
@click.option("--body-limit", type=int, help="Largest body after decompression, bytes.")
@click.option("--secret", is_flag=True, help="Make a secret too, by which requests and webhooks are signed.")
@click.option("--json", "as_json", is_flag=True, help="The key as JSON.")
def add_key(
    path: Path | None, source: str, channels: tuple[str, ...], secret: bool, as_json: bool, **limits: Any
) -> None:
    """Make a key and print it once; the file keeps only its hash.

    \b
    Example: engagement collect-keys add --file keys.yaml --source shop --channel shop --rate 100
    """
    file = _file(path)
    document = read_keys(file) if file.exists() else KeysDocument()
    made = new_secret() if secret else None
    place = SecretPlace(clear=SecretStr(made)) if made else None
    document, entry, token = new_key(document, source=source, channels=list(channels) or None, secret=place, **limits)
    write_keys(file, document)
    if as_json:
        click.echo(json.dumps({"id": entry.id, "key": token, **({"secret": made} if made else {})}))
        return
    click.echo(f"id      {entry.id}\nkey     {token}")
    if made:
        click.echo(f"secret  {made}")
    click.echo("Keep the key now: it is shown this once, and the file has only its hash.", err=True)


@collect_keys.command("list")
@FILE_OPTION
@click.option("--json", "as_json", is_flag=True, help="The keys as JSON, without hashes and secrets.")
def list_keys(path: Path | None, as_json: bool) -> None:
    """List the keys of the file, without hashes and secrets.

    \b
    Example: engagement collect-keys list --file keys.yaml
    """
    entries = [
        entry.model_dump(mode="json", exclude_none=True, exclude={"sha256", "secret"})
        for entry in read_keys(_file(path)).keys
    ]
    if as_json:
        click.echo(json.dumps(entries))
        return
    for entry in entries:
        channels = ",".join(entry.get("channels", ["all channels"]))
        click.echo(f"{entry['id']}  {entry['source']}  {channels}  {'revoked' if 'revoked' in entry else 'valid'}")


@collect_keys.command("revoke")
@FILE_OPTION
@click.argument("key_id")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def revoke_key(path: Path | None, key_id: str, as_json: bool) -> None:
    """Revoke a key by id; a running collector refuses it within two seconds.

    \b
    Example: engagement collect-keys revoke k7f3a91c2 --file keys.yaml
    """
    file = _file(path)
    document = read_keys(file)
    if key_id not in [entry.id for entry in document.keys]:
        raise Refused(f"{file} has no key {key_id}; `engagement collect-keys list` shows them")
    now = datetime.now(UTC).replace(microsecond=0)
    keys = [
        entry.model_copy(update={"revoked": entry.revoked or now}) if entry.id == key_id else entry
        for entry in document.keys
    ]
    write_keys(file, KeysDocument(keys=keys))
    click.echo(json.dumps({"revoked": key_id}) if as_json else f"revoked {key_id}")


def _file(path: Path | None) -> Path:
    found = path or load_settings().collect_keys
    if found is None:
        raise click.UsageError("name the keys file by --file, or set ENGAGEMENT_COLLECT_KEYS")
    return found
