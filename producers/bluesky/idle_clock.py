"""The clock of `--until-idle`: how long a stream has been quiet. Pure: the time is an argument, in seconds."""

from typing import Final

LONGEST_STEP: Final = 1.0
"""The most that one wait in vain adds, in seconds: the clock of a process that was held up has run on."""

FUTILE_SESSIONS: Final = 3
"""After so many connections that brought nothing new, the time between them is quiet too: such a host ends each stream
when it has no more."""


class IdleClock:
    """Counts the quiet time while connected (`seconds`), and the time without a connection (`apart`). Time in which
    messages come counts as neither, nor does time in which they wait because Kafka blocks the reader.

    >>> clock = IdleClock()
    >>> clock.look(0.0)
    >>> for now in (0.5, 1.0):
    ...     clock.wait(now, is_connected=True, sessions=1)
    >>> clock.wait(9.0, is_connected=False, sessions=1)
    >>> clock.seconds, clock.apart
    (1.0, 1.0)
    """

    def __init__(self) -> None:
        self.seconds = self.apart = 0.0
        self._looked = 0.0
        self._sessions = 0

    def look(self, now: float) -> None:
        """Notes a message, new or not."""
        self._looked = now

    def wait(self, now: float, is_connected: bool, sessions: int) -> None:
        """Counts the time since the last look, in which no message came. `sessions`: the connections so far."""
        step, self._looked = min(now - self._looked, LONGEST_STEP), now
        if is_connected:
            self.apart = 0.0
        else:
            self.apart += step
        if is_connected or sessions - self._sessions >= FUTILE_SESSIONS:
            self.seconds += step

    def reset(self, sessions: int) -> None:
        """Notes progress of the stream."""
        self.seconds = self.apart = 0.0
        self._sessions = sessions
