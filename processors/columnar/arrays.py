"""Names of array types, in one place.

numpy's types say what an element is, not how many axes there are: a docstring gives the shape where it matters.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
"""An array of any element type and shape."""

Columns = Mapping[str, Any]
"""Rows of a table, column by column: arrays or sequences of one length."""
