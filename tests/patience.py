"""How long tests wait for what must come: patience costs nothing where all is well, and a busy machine needs it."""

import os
from typing import Final

SCALE: Final = float(os.environ.get("ENGAGEMENT_TEST_PATIENCE", "3"))
"""All patience is multiplied by it."""

SOON: Final = 10.0 * SCALE
"""Seconds within which a step ends that waits for nothing; what it must not wait for takes longer, or never comes."""
