"""A cache of Kafka's loaded and linked classes for the JVM, with which a broker starts on 2.4 s of CPU instead of 4.9.

`make setup` makes the file once (`python -m pipeline.embedded.java_cache`) by a broker that writes the file as it ends.
Without a file of the same Java and the same jars the JVM starts without a cache.
"""

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pipeline.embedded import processes
from pipeline.embedded.jars import ensure_jars
from pipeline.embedded.kafka import broker_serves, java_cache, start_broker
from pipeline.embedded.plan import ANY_PORTS, plan_state
from pipeline.errors import StackError

WARM_START_SECONDS: Final = 120.0
"""How long the broker may take to serve."""

WRITE_SECONDS: Final = 120.0
"""How long the broker may take to write the file and end."""


def make_java_cache(jars: Sequence[Path], file: Path) -> None:
    """Writes the file unless it exists; blocks for some 15 s. Raises StackError when the broker does not serve."""
    if file.exists():
        return
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=".warming-") as scratch:
        folder, written = Path(scratch), Path(scratch) / file.name
        state = plan_state(None, 1, ANY_PORTS)
        broker = start_broker(folder, state, 1, jars, folder / "log", (f"-XX:AOTCacheOutput={written}",))
        try:
            deadline = time.monotonic() + WARM_START_SECONDS
            while not broker_serves(state, 1):
                if time.monotonic() > deadline or not processes.is_alive(broker):
                    raise StackError("a broker that was started to warm the JVM's cache does not serve")
                time.sleep(0.1)
        finally:
            processes.stop(broker, grace=WRITE_SECONDS)
        if written.exists():
            written.replace(file)


def _main() -> int:
    """Makes the cache and fetches missing jars; prints an error and returns 0, because a cache is optional."""
    try:
        jars = ensure_jars(lambda line: print(line, file=sys.stderr))
        make_java_cache(jars, java_cache())
    except (StackError, OSError) as error:
        print(f"Kafka will start more slowly: {error}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(_main())
