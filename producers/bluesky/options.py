"""Options of `engagement bluesky`: lists with commas, checked before anything is opened."""

import click

from producers.bluesky.at_uri import EVENT_COLLECTIONS
from producers.bluesky.jetstream.endpoints import MOST_ACTORS, JetstreamEndpoint, parse_endpoint
from producers.bluesky.jetstream.frames import DID


def split_words(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Splits values at commas; each word once."""
    words = (word.strip() for value in values for word in value.split(","))
    return tuple(dict.fromkeys(word for word in words if word))


def parse_dids(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Splits DIDs at commas. Raises click.BadParameter for anything else, and for too many."""
    dids = split_words(context, parameter, values)
    for did in dids:
        if not DID.fullmatch(did):
            raise click.BadParameter(f"{did} is no DID such as did:plc:z72i7hdynmk6r22z27h6tvur, which handles are not")
    if len(dids) > MOST_ACTORS:
        raise click.BadParameter(f"{len(dids)} are more than the {MOST_ACTORS} that a host takes")
    return dids


def parse_collections(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the NSIDs of collections; all for none. Raises click.BadParameter for an unknown one."""
    found = []
    for word in split_words(context, parameter, values):
        collection = EVENT_COLLECTIONS.get(word, word)
        if collection not in EVENT_COLLECTIONS.values():
            raise click.BadParameter(f"{word} is none of {', '.join(EVENT_COLLECTIONS)}, nor the NSID of one")
        found.append(collection)
    return tuple(dict.fromkeys(found)) or tuple(EVENT_COLLECTIONS.values())


def parse_endpoints(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> tuple[JetstreamEndpoint, ...]:
    """Parses the URLs of hosts. Raises SettingsError."""
    return tuple(map(parse_endpoint, dict.fromkeys(values)))
