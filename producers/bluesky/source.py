"""The source of Bluesky: from messages to items of the send loop. Its command is in producers/sources/bluesky.py."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Final, Protocol

from pipeline.dead_letters import Fuse, FusePolicy
from pipeline.errors import FuseBlown, Unavailable
from pipeline.observability.source_metrics import SourceMetrics
from producers.bluesky.frame_mapper import Counts, FrameMapper
from producers.bluesky.idle_clock import IdleClock
from producers.bluesky.jetstream.connection import StreamMessage
from producers.bluesky.jetstream.endpoints import JetstreamEndpoint
from producers.bluesky.jetstream.frames import Frame, FrameError, StreamNotice, parse_frame
from producers.bluesky.jetstream.stream_position import AHEAD_US, Position, advance_position
from producers.bluesky.record_store import RecordStore
from producers.bluesky.stream_filter import StreamFilter
from producers.source import IDLE, BadInput, Source, SourceItem

LOOP_SECONDS: Final = 0.5
"""How often the loop gets the chance to save, and metrics are set."""

UNREACHED_SECONDS: Final = 60.0
"""How long a run that ends by itself waits for a connection."""

FUSE_FRAMES: Final = 100
"""Frames between two looks at the fuse."""

log = logging.getLogger(__name__)


class MessageStream(Protocol):
    """The port to the network; `JetstreamConnection` says what each part does. `sessions`: connections so far.
    `trouble`: why nothing is connected."""

    counts: Counter[str]
    sessions: int
    is_connected: bool
    trouble: str

    def messages(
        self, position: Callable[[], Position | None], is_over: Callable[[], bool]
    ) -> Iterator[StreamMessage | None]:
        """Yields messages, and None while no message comes, until `is_over`."""

    def decode(self, value: bytes) -> bytes:
        """Returns the JSON of a message. Raises FrameError."""

    def note_progress(self) -> None:
        """Notes progress of the stream."""

    def end_session(self) -> None:
        """Ends the present connection."""


@dataclass(frozen=True)
class BlueskyPolicy:
    """`until_idle`: the run ends when nothing new came for so many seconds; None: when it is stopped. `fuse`: when the
    frames are none of Jetstream's."""

    stream_filter: StreamFilter = field(default_factory=StreamFilter)
    until_idle: float | None = None
    fuse: FusePolicy = field(default_factory=FusePolicy)


class BlueskySource(Source):
    """The events of Bluesky, until `stop` or until the stream is idle."""

    verb = "received"
    is_live: ClassVar[bool] = True
    is_resumable = True

    def __init__(
        self,
        stream: MessageStream,
        open_store: Callable[[], RecordStore],
        policy: BlueskyPolicy | None = None,
        metrics: SourceMetrics | None = None,
    ) -> None:
        """`open_store` is called when the first item is asked for."""
        self._stream, self._open_store, self._policy = stream, open_store, policy or BlueskyPolicy()
        self._metrics = metrics or SourceMetrics()
        self._counts: Counts = Counter()
        self._store: RecordStore | None = None
        self._position: Position | None = None
        self._is_stopped = self._was_ahead = False
        self._newest_us: int | None = None
        self._quiet = IdleClock()
        self._fuse, self._in_fuse = Fuse(self._policy.fuse), (0, 0)

    def items(self) -> Iterator[SourceItem]:
        """Yields events, and bad inputs for frames without a meaning. Raises Refused, Unavailable and FuseBlown."""
        ticked = time.monotonic()
        self._quiet.look(ticked)
        self._store = self._store or self._open_store()
        self._position = self._store.position()
        mapper = FrameMapper(self._store, self._policy.stream_filter, self._counts)
        for message in self._stream.messages(lambda: self._position, self._is_over):
            if (now := time.monotonic()) - ticked > LOOP_SECONDS:
                ticked = now
                self._tell()
                yield IDLE
            if message is None:
                self._quiet.wait(now, self._stream.is_connected, self._stream.sessions)
            else:
                self._quiet.look(now)
                yield from self._items_of(message, mapper)
        self._tell()

    def save_position(self) -> None:
        if self._store is not None:
            self._store.save(self._position)

    def close(self) -> None:
        """Closes the store without saving."""
        if self._store is not None:
            self._store.close()

    @property
    def notes(self) -> Mapping[str, int]:
        totals = {"_".join(key): count for key, count in self._counts.items() if key[0] != "events"}
        return totals | self._stream.counts

    def stop(self) -> None:
        """Ends the run soon, behind the frame under way. May be called from a signal handler."""
        self._is_stopped = True

    @property
    def trouble(self) -> str:
        """Why nothing comes; empty while a host is connected."""
        return "" if self._stream.is_connected else f"not connected: {self._stream.trouble}"

    def _items_of(self, message: StreamMessage, mapper: FrameMapper) -> Iterator[SourceItem]:
        """Yields the items of a message. The position moves before the last one, so that a position that is saved
        behind it is behind the whole frame."""
        self._counts["frames",] += 1
        held: SourceItem | None = None
        frame: Frame | None = None
        try:
            parsed = parse_frame(message.endpoint.version, self._stream.decode(message.value))
            if isinstance(parsed, StreamNotice):
                self._hear(message.endpoint, parsed)
            else:
                frame = parsed
                for record in mapper.map(frame):
                    if held is not None:
                        yield held
                    held = record
        except FrameError as error:
            held = self._dead(message, frame, error)
        self._note_frame(isinstance(held, BadInput))
        if frame is not None:
            self._advance(message.endpoint, frame)
        if held is not None:
            yield held

    def _advance(self, endpoint: JetstreamEndpoint, frame: Frame) -> None:
        now_us = time.time_ns() // 1000
        position = advance_position(self._position, endpoint, frame, now_us)
        self._newest_us = frame.time_us
        if frame.time_us > now_us + AHEAD_US and not self._was_ahead:
            self._was_ahead = True
            ahead = (frame.time_us - now_us) / 1_000_000
            log.warning(
                "%s: a frame is %.0f s ahead of this machine's clock; set the clock, or the stream begins "
                "anew with each run",
                endpoint.url,
                ahead,
            )
        if position is not self._position:
            self._position = position
            self._quiet.reset(self._stream.sessions)
            self._stream.note_progress()

    def _hear(self, endpoint: JetstreamEndpoint, notice: StreamNotice) -> None:
        """Takes in a word of the host about the stream."""
        log.warning("%s: %s %s", endpoint.url, notice.name, notice.message)
        if notice.is_error:
            self._stream.end_session()
        elif notice.name == "OutdatedCursor":
            self._stream.counts["cursor_gaps"] += 1

    def _dead(self, message: StreamMessage, frame: Frame | None, error: FrameError) -> BadInput:
        self._counts["dead_frames",] += 1
        place = message.endpoint.url if frame is None else f"{message.endpoint.url} {frame.cursor}"
        return BadInput(place, str(error), message.value, error.field)

    def _note_frame(self, is_dead: bool) -> None:
        frames, dead = self._in_fuse
        self._in_fuse = frames + 1, dead + is_dead
        if frames + 1 == FUSE_FRAMES:
            try:
                self._fuse.note(*self._in_fuse)
            except FuseBlown:
                raise FuseBlown(
                    "nearly none of the latest frames could be mapped: is --host a Jetstream host of the version that "
                    "its path says? The frames and what is wrong with each are in the topic of dead letters"
                ) from None
            self._in_fuse = (0, 0)

    def _is_over(self) -> bool:
        """Returns whether the run is to end. Raises Unavailable where no host was reached in time."""
        if self._is_stopped or (limit := self._policy.until_idle) is None:
            return self._is_stopped
        if self._quiet.apart > max(limit, UNREACHED_SECONDS):
            raise Unavailable(f"no host of Bluesky was reached for {self._quiet.apart:.0f} s: {self._stream.trouble}")
        return self._quiet.seconds > limit

    def _tell(self) -> None:
        """Sets the metrics."""
        lag = None if self._newest_us is None else time.time() - self._newest_us / 1_000_000
        self._metrics.set_stream(self._stream.is_connected, lag)
        self._metrics.set_totals(self._counts + Counter({(name,): n for name, n in self._stream.counts.items()}))
