"""The dashboards as JSON for the provisioning of Grafana."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from deploy.grafana.board import Board
from deploy.grafana.boards.conversation import conversation_board
from deploy.grafana.boards.conversations import conversations_board
from deploy.grafana.boards.engagement import engagement_board
from deploy.grafana.boards.health import health_board
from deploy.grafana.boards.overview import overview_board
from deploy.grafana.boards.post import post_board
from deploy.grafana.boards.spikes import spikes_board
from deploy.grafana.boards.virality import virality_board

DASHBOARDS_FOLDER: Final = Path(__file__).parent / "dashboards"

BOARDS: Final[Mapping[str, Callable[[], Board]]] = {
    "overview": overview_board,
    "engagement": engagement_board,
    "virality": virality_board,
    "conversations": conversations_board,
    "conversation": conversation_board,
    "post": post_board,
    "spikes": spikes_board,
    "health": health_board,
}
"""Name of the file of a dashboard -> what makes the dashboard."""


def generated_dashboards() -> dict[str, str]:
    """Returns the JSON of each dashboard by the name of the file."""
    return {name: make().to_json() for name, make in BOARDS.items()}
