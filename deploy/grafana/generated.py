"""The dashboards that are written in Python, as the JSON that Grafana is provisioned with."""

from pathlib import Path
from typing import Final

from deploy.grafana.boards.health import health_board
from deploy.grafana.boards.spikes import spikes_board

FOLDER: Final = Path(__file__).parent / "dashboards"


def generated_dashboards() -> dict[str, str]:
    """Returns the JSON of each dashboard by the name of its file."""
    return {"health": health_board().to_json(), "spikes": spikes_board().to_json()}
