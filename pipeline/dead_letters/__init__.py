"""Records that could not be taken: kept with their place and the reason, looked at, and given another try (law 9)."""

from pipeline.dead_letters.fuse import Fuse, FusePolicy
from pipeline.dead_letters.letter import DeadLetter
from pipeline.dead_letters.sink import DeadLetterSink

__all__ = ["DeadLetter", "DeadLetterSink", "Fuse", "FusePolicy"]
