"""The row settings, from which stored rows follow, each as a short text that can be stored, compared and printed.

Workers of one database with different row settings would mix rows of two shapes in silence, and `recount --check` would
report the rows. So the values are stored beside the rows (`processors/row_settings_store.py`). The value of a file
follows from its content, not from its bytes: another order or a comment changes nothing. No value is a secret: of a
file only a digest is shown.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pipeline.brands import load_brands
from pipeline.canonical_url import SUFFIXES_VERSION
from pipeline.errors import SettingsError
from pipeline.settings import Settings
from processors.virality.parameters import dump_parameters, load_parameters
from schemas import metrics

CODE_SETTING: Final = "code"
NO_VALUE: Final = "none"
SHIPPED_FORECAST: Final = "shipped"

RECOUNTED: Final = frozenset(
    {
        CODE_SETTING,
        "ENGAGEMENT_BRANDS",
        "ENGAGEMENT_BUSINESS_HOURS",
        "ENGAGEMENT_BUSINESS_DAYS",
        "ENGAGEMENT_BUSINESS_ZONE",
        "ENGAGEMENT_FORECAST",
        "ENGAGEMENT_LABEL_KEYS",
    }
)
"""Settings from which past rows follow, so that `recount` computes these rows anew. The other settings apply to later
events alone: which events are taken, when a minute closes, which conversations are watched."""

CURE: Final = "use the same values, or run `engagement recount --adopt` with the new ones"


@dataclass(frozen=True)
class Adopted:
    """A stored value: who stored it, when (UTC), and the version of its row."""

    value: str
    by: str
    at: str
    version: int


@dataclass(frozen=True)
class Mismatch:
    """A setting whose value in this process differs from the stored one."""

    setting: str
    here: str
    stored: Adopted

    def __str__(self) -> str:
        stored = self.stored
        return f"{self.setting} is {self.here} here, but {stored.value} since {stored.at} ({stored.by})"


def row_settings(settings: Settings) -> dict[str, str]:
    """Returns the value of each row setting, in the order in which differences are printed. Blocks on reading files.
    Raises SettingsError for a file that cannot be used."""
    return {
        CODE_SETTING: f"fold version {metrics.FOLD_VERSION}, sha256 {_digest(_code())}",
        "ENGAGEMENT_BRANDS": _brands(settings),
        "ENGAGEMENT_BUSINESS_HOURS": settings.business_hours,
        "ENGAGEMENT_BUSINESS_DAYS": settings.business_days,
        "ENGAGEMENT_BUSINESS_ZONE": settings.business_zone,
        "ENGAGEMENT_FORECAST": _forecast(settings),
        "ENGAGEMENT_LABEL_KEYS": ",".join(sorted(settings.label_conversations)) or NO_VALUE,
        "ENGAGEMENT_STORE_TEXT": str(settings.store_text),
        "ENGAGEMENT_FUTURE_LIMIT_SECONDS": f"{settings.future_limit_seconds:g}",
        "ENGAGEMENT_LATENESS_SECONDS": f"{settings.lateness_seconds:g}",
        "ENGAGEMENT_IDLE_SECONDS": f"{settings.idle_seconds:g}",
        "ENGAGEMENT_SPIKE_KEYS": ",".join(sorted(settings.spike_kinds)) or NO_VALUE,
    }


def mismatches(here: Mapping[str, str], stored: Mapping[str, Adopted]) -> list[Mismatch]:
    """Returns the settings of both sides that differ."""
    return [
        Mismatch(setting, value, stored[setting])
        for setting, value in here.items()
        if setting in stored and stored[setting].value != value
    ]


def is_newer(mismatch: Mismatch) -> bool:
    """Returns whether this program makes rows of a higher fold version than the stored ones. Its rows win over them."""
    return mismatch.setting == CODE_SETTING and fold_version(mismatch.here) > fold_version(mismatch.stored.value)


def is_older(mismatch: Mismatch) -> bool:
    """Returns whether this program makes rows of a lower fold version than the stored ones. Its rows lose against
    them."""
    return mismatch.setting == CODE_SETTING and fold_version(mismatch.here) < fold_version(mismatch.stored.value)


def fold_version(code: str) -> int:
    """Returns the fold version in a value of the setting `code`.

    >>> fold_version("fold version 12, sha256 0123456789ab")
    12
    """
    return int(code.removeprefix("fold version ").partition(",")[0])


def refusal(differing: Sequence[Mismatch]) -> SettingsError:
    """Makes the error that names each setting, both values and the cure."""
    named = "; ".join(map(str, differing))
    code = next((mismatch for mismatch in differing if mismatch.setting == CODE_SETTING), None)
    if code is not None and is_older(code):
        return SettingsError(f"{named}: install the newer version, for no row of this one would be shown any more")
    if code is not None and not is_newer(code):
        return SettingsError(f"{named}: install the same version everywhere; one that changes rows raises FOLD_VERSION")
    return SettingsError(f"stored rows follow from other settings: {named}; {CURE}")


def _code() -> list[Any]:
    """Returns the constants of the code that shape rows: windows, weights, limits, the shipped forecast."""
    return [
        list(metrics.WINDOWS.items()),
        metrics.MEASURES,
        [(name, weights.weights) for name, weights in metrics.WEIGHT_SETS.items()],
        metrics.HOT_HALF_LIFE,
        metrics.CHANNELS_SHOWN_FROM,
        metrics.TREES,
        metrics.TREE_EVENTS,
        metrics.LEVELS_SHOWN,
        metrics.VOICES,
        SUFFIXES_VERSION,
        dump_parameters(load_parameters()),
    ]


def _brands(settings: Settings) -> str:
    entries = load_brands(settings.brands).entries
    if not entries:
        return NO_VALUE
    content = {name: {field: _sorted(value) for field, value in brand} for name, brand in entries.items()}
    return f"{len(entries)} brand{'s' if len(entries) > 1 else ''}, sha256 {_digest(content)}"


def _sorted(value: str | list[str]) -> str | list[str]:
    return sorted(value) if isinstance(value, list) else value


def _forecast(settings: Settings) -> str:
    parameters = load_parameters(settings.forecast)
    content = dump_parameters(parameters)
    if content == dump_parameters(load_parameters()):
        return SHIPPED_FORECAST
    return f"of {parameters.date}, sha256 {_digest(content)}"


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]
