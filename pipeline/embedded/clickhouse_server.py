"""ClickHouse as a process of its own. The only file that knows the private name of the wheel `chdb-core`.

    python clickhouse_server.py <data folder>

The server inside the wheel reads `config.xml` of the folder that it is started in and listens for as long as a query runs; the
query here reads a named pipe, and SIGTERM writes a line into it. So it ends as a server should: connections closed, parts whole.
"""

import os
import signal
import sys
import threading
from importlib import import_module
from typing import Final

VERSION: Final = "26.9"
PIPE: Final = "stop"
END_SIGNALS: Final = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
SERVE: Final = (
    f"SYSTEM START LISTEN TCP; SYSTEM START LISTEN HTTP; SELECT * FROM file('{PIPE}', LineAsString) FORMAT Null"
)


def serve(data: str) -> None:
    """Block until a signal ends it. Listens where config.xml of the current folder says."""
    # Before the library starts its threads: they inherit the mask, so the signals wait for the one thread that asks.
    signal.pthread_sigmask(signal.SIG_BLOCK, END_SIGNALS)
    try:
        library = import_module("chdb._chdb")
        query = library.query
    except (ImportError, AttributeError) as error:
        sys.exit(
            f"The installed chdb-core has no chdb._chdb.query ({error}): install the version that this project knows, "
            f"{VERSION}, with pip install 'engagement-pipeline[embedded]'"
        )
    if os.path.lexists(PIPE):
        os.unlink(PIPE)
    os.mkfifo(PIPE, 0o600)
    threading.Thread(target=_end_on_signal, daemon=True).start()
    # The format becomes the default of the HTTP interface, and tools expect that one.
    query(SERVE, "TabSeparated", path=data)
    os.unlink(PIPE)


def _end_on_signal() -> None:
    signal.sigwait(END_SIGNALS)
    with open(PIPE, "w") as pipe:
        pipe.write("stop\n")


if __name__ == "__main__":
    serve(sys.argv[1])
