"""The bounds of the conversation job."""

from dataclasses import dataclass, field

from processors.runtime.retry import WaitPolicy


@dataclass(frozen=True)
class ConversationPolicy:
    """Bounds of the conversation job. Beyond `open_cells` cells or `memory_bytes`, closed minutes leave memory, then
    the latest open ones, until `keep_share` of the bound is left. A batch rolls days up by some `rolled_at_once`
    minutes: about a second."""

    open_cells: int = 2_000_000
    memory_bytes: int = 384 << 20
    keep_share: float = 0.5
    rolled_at_once: int = 300_000
    waits: WaitPolicy = field(default_factory=WaitPolicy)
