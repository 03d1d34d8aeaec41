"""Runs ClickHouse as a process. No other file uses private names of the wheel `chdb-core`.

    python clickhouse_server.py <data folder>

The server inside the wheel reads `config.xml` of the current folder and listens for as long as a query runs. The query
here reads a named pipe, into which SIGTERM writes a line, so the server closes its connections and ends with whole
parts.
"""

import contextlib
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable
from importlib.machinery import ExtensionFileLoader
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, Final

KNOWN_CHDB_VERSION: Final = "26.9"
PIPE: Final = "stop"
END_SIGNALS: Final = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
RTLD_DEEPBIND: Final = 8
SERVE: Final = (
    f"SYSTEM START LISTEN TCP; SYSTEM START LISTEN HTTP; SELECT * FROM file('{PIPE}', LineAsString) FORMAT Null"
)


def serve(data: str) -> None:
    """Serves until a signal comes, at the addresses of config.xml in the current folder. Blocks."""
    # The library's threads inherit this mask, so signals wait for the one thread that calls sigwait.
    signal.pthread_sigmask(signal.SIG_BLOCK, END_SIGNALS)
    try:
        query = _load_query()
    except (ImportError, OSError, AttributeError) as error:
        sys.exit(
            f"the installed chdb-core is not one that this project knows, {KNOWN_CHDB_VERSION} ({error}): "
            "pip install 'engagement-pipeline[embedded]'"
        )
    if os.path.lexists(PIPE):
        os.unlink(PIPE)
    os.mkfifo(PIPE, 0o600)
    threading.Thread(target=_end_on_signal, daemon=True).start()
    # The format becomes the default of the HTTP interface, where tools expect TabSeparated.
    query(SERVE, "TabSeparated", path=data)
    os.unlink(PIPE)


def _load_query() -> Callable[..., Any]:
    """Returns `chdb._chdb.query` without `import chdb`, which would open a database first and close the log."""
    package = find_spec("chdb")
    if package is None or not package.submodule_search_locations:
        raise ImportError("no package chdb")
    library = Path(package.submodule_search_locations[0]) / "_chdb.abi3.so"
    # The package itself loads its allocator first, too, and finds the libraries beside it from its folder.
    with contextlib.chdir(library.parent):
        ctypes.CDLL(str(library), mode=sys.getdlopenflags() | RTLD_DEEPBIND)
        loader = ExtensionFileLoader("_chdb", str(library))
        spec = spec_from_file_location("_chdb", library, loader=loader)
        if spec is None:
            raise ImportError(f"{library} cannot be loaded")
        module = module_from_spec(spec)
        loader.exec_module(module)
    query: Callable[..., Any] = module.query
    return query


def _end_on_signal() -> None:
    signal.sigwait(END_SIGNALS)
    with open(PIPE, "w") as pipe:
        pipe.write("stop\n")


if __name__ == "__main__":
    serve(sys.argv[1])
