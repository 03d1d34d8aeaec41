"""Ends that compute. `kernel_cache` chooses where numba keeps them compiled, before any kernel is imported."""

import os
from pathlib import Path

from processors.runtime.kernel_cache import use_kernel_cache

use_kernel_cache(Path(__file__).parent, os.environ)
