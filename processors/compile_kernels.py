"""Compiles all kernels ahead of the first worker: python -m processors.compile_kernels.

`make setup` runs the module, and the build of the image. With a full cache it takes some seconds.
"""

import os
import sys

from processors.conversation.fold import load_conversation_kernels
from processors.engagement.warmup import load_engagement_kernels
from processors.runtime.kernel_cache import VARIABLE
from processors.runtime.kernel_progress import KernelProgress, count_kernels
from processors.spikes.detection.bank import load_spike_kernels


def load_all_kernels() -> None:
    """Loads the kernels of all agents from the cache. Compiles those that are not there, a minute for all of them."""
    load_engagement_kernels()
    load_conversation_kernels()
    load_spike_kernels()


def _main() -> int:
    """Compiles with progress on stderr. Returns 1, with the cure, where the kernels cannot be kept."""

    def say(text: str) -> None:
        print(f"kernels: {text}", file=sys.stderr, flush=True)

    kept = os.environ.get(VARIABLE)
    if kept is None:
        say(f"no folder can be written to keep them: set {VARIABLE} to one")
        return 1
    with KernelProgress(lambda text: None, say).watch():
        load_all_kernels()
    say(f"{count_kernels()[0]} are compiled, in {kept}")
    return 0


if __name__ == "__main__":
    sys.exit(_main())
