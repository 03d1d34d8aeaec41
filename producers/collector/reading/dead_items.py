"""Dead letters of the collector: rejected items go into the topic `dead-letters`, with the reason and the source.

A letter has the headers of `pipeline.dead_letters`: `topic` names the endpoint, `offset` is the index of the item in
its request, `partition` is -1; `source` tells who sent it.
"""

from pipeline.dead_letters.letter import DeadLetter
from pipeline.privacy.pseudonyms import WITHHELD_HEADER
from producers.collector.outgoing import OutgoingRecord
from producers.collector.refusals import Rejection


def dead_record(
    topic: str,
    place: str,
    source: str,
    raw: bytes,
    rejection: Rejection,
    *,
    received_ms: int,
    limit: int,
    is_withheld: bool = False,
) -> OutgoingRecord:
    """Returns the record of a rejected item; beyond `limit` bytes it is cut, and header `cut-from` has its size. With
    `is_withheld` all bytes are left out, and a header has their number."""
    letter = DeadLetter(
        topic=place,
        partition=-1,
        offset=rejection.index,
        key=None,
        value=b"" if is_withheld else raw[:limit],
        received_at_ms=received_ms,
        reason=rejection.reason,
        field=rejection.field,
    )
    headers = [*letter.headers, ("source", source.encode("utf-8", "replace"))]
    if is_withheld:
        headers.append((WITHHELD_HEADER, str(len(raw)).encode()))
    elif len(raw) > limit:
        headers.append(("cut-from", str(len(raw)).encode()))
    return OutgoingRecord(topic, None, letter.value or b"", headers)
