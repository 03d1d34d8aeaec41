"""The wording of a spike for people, which all kinds of receivers share."""

from datetime import datetime
from typing import Final
from urllib.parse import quote

from schemas.alerts import AlertState, SpikeAlert

VERBS: Final[dict[AlertState, str]] = {
    "opened": "spikes",
    "grown": "spikes, and grows",
    "resolved": "spiked; it is over",
}


def headline(alert: SpikeAlert) -> str:
    """Returns one line: `hashtag:acme spikes: 80 a minute, 8 times the usual 10`."""
    line = f"{alert['conversation']} {VERBS[alert['state']]}: {_number(alert['observed'])} a minute"
    if alert["expected"] > 0:
        return f"{line}, {_number(alert['ratio'])} times the usual {_number(alert['expected'])}"
    return f"{line}, usually none"


def details(alert: SpikeAlert) -> dict[str, str]:
    """Returns the numbers of a spike for people: name -> text."""
    return {
        "since": clock(alert["started_at"]),
        "until": clock(alert["ended_at"]) if alert["ended_at"] is not None else "it goes on",
        "seen a minute": _number(alert["observed"]),
        "usual a minute": _number(alert["expected"]),
        "over": f"{alert['scale_minutes']} minute" + "s" * (alert["scale_minutes"] != 1),
        "voices": f"{alert['voices']} (usually {_number(alert['voices_usual'])})",
        "channels": f"{alert['channels']} (usually {_number(alert['channels_usual'])})",
        "in one post": f"{alert['concentration']:.0%}",
    }


def clock(at: datetime) -> str:
    """Returns a time to the minute, in UTC."""
    return f"{at:%Y-%m-%d %H:%M} UTC"


def link_to(template: str | None, conversation: str) -> str | None:
    """Returns the address of a conversation's page, None without a template."""
    return None if template is None else template.replace("{conversation}", quote(conversation, safe=""))


def shorten(text: str, limit: int) -> str:
    """Returns the text within `limit` characters, with an ellipsis where the end is cut off."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
