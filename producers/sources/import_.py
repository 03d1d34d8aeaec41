"""Import: foreign files and topics, mapped to events by a YAML file."""

import json
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final

import click

from pipeline.command_group import FiniteRange
from pipeline.errors import Refused, SettingsError
from pipeline.files.flaws import Flaw
from pipeline.files.opening import STDIN, check_inputs
from pipeline.files.options import ENCODING_OPTION, STRICT_OPTION, reading
from pipeline.settings import Settings, load_settings
from pipeline.topic_reader import follow_topic
from producers.bookmark import Bookmark
from producers.command import JSON_OPTION, RATE_OPTION, print_summary, send_to_kafka, stop_on_signal
from producers.mapping.decoders import DECODINGS, JSON, DecodingRule, open_decoder
from producers.mapping.file_import import FileImport, items_of_row, raw_row
from producers.mapping.mapper import EventMap, load_map
from producers.mapping.rows import format_of, read_rows
from producers.mapping.shipped import find_map
from producers.mapping.topic_import import OffsetFile, TopicImport
from producers.pacing import PacePolicy
from producers.sending import SendPolicy
from producers.source import BadInput, SourceRecord
from producers.state_files import default_state_file

DRY_ROWS: Final = 10


@click.command("import")
@click.argument("names", metavar="FILES...", nargs=-1)
@click.option("--map", "map_name", required=True, help="YAML file of the map, or the name of a shipped one.")
@click.option("--topic", help="Read this topic instead of files.")
@click.option("--from-kafka", metavar="SERVERS", help="Kafka of that topic; by default the one that events go to.")
@click.option("--decode", type=click.Choice(DECODINGS), default=JSON, show_default=True, help="Format of its values.")
@click.option("--registry", metavar="URL", help="Schema Registry, for Avro and Protobuf.")
@click.option("--descriptors", type=click.Path(path_type=Path), help="Protobuf: file of protoc --descriptor_set_out.")
@click.option("--message", help="Protobuf: full name of the message.")
@click.option("--until-idle", type=FiniteRange(min=0, min_open=True), help="End after so many quiet seconds.")
@click.option("--dry-run", is_flag=True, help="Show the first rows beside their events, and send nothing.")
@click.option("--resume", is_flag=True, help="Files: go on where the last --resume stopped. A topic always does.")
@click.option("--state", type=click.Path(path_type=Path), help="File of the position; a default below ~/.local/state.")
@ENCODING_OPTION
@STRICT_OPTION
@RATE_OPTION
@JSON_OPTION
def import_rows(
    names: tuple[str, ...],
    map_name: str,
    topic: str | None,
    from_kafka: str | None,
    decode: str,
    registry: str | None,
    descriptors: Path | None,
    message: str | None,
    until_idle: float | None,
    dry_run: bool,
    resume: bool,
    state: Path | None,
    encoding: str | None,
    strict: bool,
    rate: float | None,
    as_json: bool,
) -> None:
    """Send rows of FILES (CSV, NDJSON, Parquet; gzipped or not), or of a topic, as events.

    The map says which field of a row becomes which field of an event, and is checked before the first row. Rows that
    cannot be mapped are named, counted, and kept as dead letters. Exits with 1 where no row is an event.

    \b
    Example: engagement import --map gharchive 2015-01-01-15.json.gz --dry-run
    """
    if bool(names) == (topic is not None):
        raise click.UsageError("name files, or one --topic")
    event_map = load_map(find_map(map_name))
    settings = load_settings()
    policy = SendPolicy(strict, PacePolicy(rate))
    if topic is not None:
        decoder = open_decoder(DecodingRule(decode, registry, descriptors, message), topic)
        foreign = settings if from_kafka is None else _other_kafka(settings, from_kafka)
        identity = (foreign.kafka, topic, settings.kafka, settings.topic_prefix, str(find_map(map_name)))
        offsets = OffsetFile(state or default_state_file(settings, "import", ".json", *identity), identity)
        source = TopicImport(partial(follow_topic, foreign, topic), decoder, event_map, offsets, until_idle)
        with stop_on_signal(source.stop):
            print_summary(send_to_kafka(source, settings, policy), as_json)
        return
    for name in names:
        format_of(name, event_map.input)
    check_inputs(names)
    if dry_run:
        for name in names:
            _show(name, event_map, encoding)
        return
    if resume and STDIN in names:
        raise click.UsageError("--resume needs files: standard input cannot be read again")
    bookmark = None
    if resume:
        paths = [str(Path(name).resolve()) for name in names]
        bookmark = Bookmark(state or default_state_file(settings, "import", ".json", *paths), names)
    files_source = FileImport(names, event_map, bookmark, reading(encoding))
    print_summary(send_to_kafka(files_source, settings, policy), as_json)
    if not files_source.has_events:
        raise Refused("no row was an event; see --dry-run, and the conditions `when` of the map")


def _other_kafka(settings: Settings, servers: str) -> Settings:
    """Returns settings that lead to other servers, with the same user and security. Raises SettingsError."""
    try:
        return Settings.model_validate({**settings.model_dump(), "kafka": servers})
    except ValueError:
        raise SettingsError(f"--from-kafka {servers!r} must be host:port, or several with commas between") from None


def _show(name: str, event_map: EventMap, encoding: str | None) -> None:
    """Prints the first rows of a file, each with its events or flaws below."""
    for number, row in islice(read_rows(name, event_map.input, event_map.columns, reading(encoding)), DRY_ROWS):
        place = f"{name}:{number}"
        shown = row.reason if isinstance(row, Flaw) else raw_row(row).decode()
        click.echo(f"{place}  {shown[:500]}")
        items = items_of_row(row, event_map, place)
        for item in items:
            if isinstance(item, SourceRecord):
                click.echo(f"    -> {json.dumps(json.loads(item.value or b'{}'), ensure_ascii=False)}")
            elif isinstance(item, BadInput):
                click.echo(f"    !! {item.reason}")
        if not items:
            click.echo("    -- no rule of the map applies")
