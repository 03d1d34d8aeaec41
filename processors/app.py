"""The worker for Faust's own command line, which looks for the name `app` in a module:

    faust -A processors.app worker

`engagement work` is the same worker; it has `--until-caught-up` and `--from` besides, and says errors in one line.
"""

from functools import cache
from typing import Any

from pipeline.settings import load_settings
from processors.worker import EngagementApp, build_worker


def __getattr__(name: str) -> Any:
    """`app`, made when it is asked for: nothing happens at import."""
    if name == "app":
        return _app()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@cache
def _app() -> EngagementApp:
    return build_worker(load_settings())
