"""A file from which the JVM takes Kafka's classes as they are once loaded and linked: a broker starts on half the CPU
(2.4 s, not 4.9).

`make setup` makes it once (`python -m pipeline.embedded.java_cache`), by starting a broker that writes it as it ends.
Where there is none, or it is of another Java or of other jars, the JVM starts without.
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
WRITE_SECONDS: Final = 120.0


def make_java_cache(jars: Sequence[Path], file: Path) -> None:
    """Writes the file unless it is there; blocks for some 15 s. Raises StackError when the broker does not serve."""
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
    """Fetches jars that are missing. Nothing depends on the file: what went wrong is said, and that is all."""
    try:
        jars = ensure_jars(lambda line: print(line, file=sys.stderr))
        make_java_cache(jars, java_cache())
    except (StackError, OSError) as error:
        print(f"Kafka will start more slowly: {error}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(_main())
