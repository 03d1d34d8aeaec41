"""The worker for Faust's own command line, which looks for the name `app` in a module:

    faust -A processors.app worker

`engagement work` runs the same worker, has the options `--until-caught-up` and `--from`, and prints errors in one line.
"""

from functools import cache
from typing import Any

from pipeline.settings import load_settings
from processors.worker import EngagementApp, build_worker


def __getattr__(name: str) -> Any:
    """Makes `app` when it is asked for, because nothing happens at import."""
    if name == "app":
        return _app()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@cache
def _app() -> EngagementApp:
    return build_worker(load_settings())
