"""The default places of what sources remember between two runs."""

import hashlib
import json
import os
from pathlib import Path

from pipeline.settings import Settings


def default_state_file(settings: Settings, source: str, ending: str, *inputs: str) -> Path:
    """Returns a file below ~/.local/state/engagement: one for each source, cluster, topic prefix and list of inputs."""
    base = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    named = json.dumps([settings.kafka, settings.topic_prefix, *inputs])
    return base / "engagement" / f"{source}-{hashlib.sha256(named.encode()).hexdigest()[:16]}{ending}"
