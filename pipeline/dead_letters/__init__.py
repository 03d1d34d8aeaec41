"""Dead letters: records that could not be processed, kept with position and reason, listed, and sent again (law 9)."""

from pipeline.dead_letters.fuse import Fuse, FusePolicy
from pipeline.dead_letters.letter import DeadLetter
from pipeline.dead_letters.sink import DeadLetterSink

__all__ = ["DeadLetter", "DeadLetterSink", "Fuse", "FusePolicy"]
