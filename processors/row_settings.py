"""The settings that stored rows follow from, each as a short text that can be stored, compared and printed.

Workers of one database that differ in one of them would mix rows of two shapes without a word, and `recount --check`
would blame the rows. So the values are stored beside the rows (`processors/row_settings_store.py`). A file stands for
what it says, not for its bytes: another order or a comment changes nothing. No value is a secret: a digest of a file is
all that is shown of it.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pipeline.brands import load_brands
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
    }
)
"""Settings that rows of the past follow from: `recount` computes those rows anew. The others decide what becomes of
events that are still to come: which are taken, when a minute closes, what is watched."""

CURE: Final = "use the same values, or run `engagement recount --adopt` with the new ones"


@dataclass(frozen=True)
class Adopted:
    """A stored value: who brought it, when (UTC), and the version of its row."""

    value: str
    by: str
    at: str
    version: int


@dataclass(frozen=True)
class Mismatch:
    """A setting whose value here is not the stored one."""

    setting: str
    here: str
    stored: Adopted

    def __str__(self) -> str:
        stored = self.stored
        return f"{self.setting} is {self.here} here, but {stored.value} since {stored.at} ({stored.by})"


def row_settings(settings: Settings) -> dict[str, str]:
    """Setting -> value, in the order in which they are told. Blocks on reading files. Raises SettingsError for a file
    that makes no sense."""
    return {
        CODE_SETTING: f"fold version {metrics.FOLD_VERSION}, sha256 {_digest(_code())}",
        "ENGAGEMENT_BRANDS": _brands(settings),
        "ENGAGEMENT_BUSINESS_HOURS": settings.business_hours,
        "ENGAGEMENT_BUSINESS_DAYS": settings.business_days,
        "ENGAGEMENT_BUSINESS_ZONE": settings.business_zone,
        "ENGAGEMENT_FORECAST": _forecast(settings),
        "ENGAGEMENT_FUTURE_LIMIT_SECONDS": f"{settings.future_limit_seconds:g}",
        "ENGAGEMENT_LATENESS_SECONDS": f"{settings.lateness_seconds:g}",
        "ENGAGEMENT_IDLE_SECONDS": f"{settings.idle_seconds:g}",
        "ENGAGEMENT_SPIKE_KEYS": ",".join(sorted(settings.spike_kinds)) or NO_VALUE,
    }


def mismatches(here: Mapping[str, str], stored: Mapping[str, Adopted]) -> list[Mismatch]:
    """The settings of both sides that differ."""
    return [
        Mismatch(setting, value, stored[setting])
        for setting, value in here.items()
        if setting in stored and stored[setting].value != value
    ]


def is_newer(mismatch: Mismatch) -> bool:
    """Whether this program makes rows of a higher fold version than the stored ones: its rows win over them."""
    return mismatch.setting == CODE_SETTING and fold_version(mismatch.here) > fold_version(mismatch.stored.value)


def is_older(mismatch: Mismatch) -> bool:
    """Whether this program makes rows of a lower fold version than the stored ones: its rows lose against them."""
    return mismatch.setting == CODE_SETTING and fold_version(mismatch.here) < fold_version(mismatch.stored.value)


def fold_version(code: str) -> int:
    """The number in a value of `code`.

    >>> fold_version("fold version 12, sha256 0123456789ab")
    12
    """
    return int(code.removeprefix("fold version ").partition(",")[0])


def refusal(found: Sequence[Mismatch]) -> SettingsError:
    """The error that names each setting, both values and the cure."""
    named = "; ".join(map(str, found))
    code = next((mismatch for mismatch in found if mismatch.setting == CODE_SETTING), None)
    if code is not None and is_older(code):
        return SettingsError(f"{named}: install the newer version, for no row of this one would be shown any more")
    if code is not None and not is_newer(code):
        return SettingsError(f"{named}: install the same version everywhere; one that changes rows raises FOLD_VERSION")
    return SettingsError(f"stored rows follow from other settings: {named}; {CURE}")


def _code() -> list[Any]:
    """What code says about rows beside the fold itself: windows, weights, limits, the shipped forecast."""
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
        dump_parameters(load_parameters()),
    ]


def _brands(settings: Settings) -> str:
    entries = load_brands(settings.brands).entries
    if not entries:
        return NO_VALUE
    said = {name: {field: _sorted(value) for field, value in brand} for name, brand in entries.items()}
    return f"{len(entries)} brand{'s' if len(entries) > 1 else ''}, sha256 {_digest(said)}"


def _sorted(value: str | list[str]) -> str | list[str]:
    return sorted(value) if isinstance(value, list) else value


def _forecast(settings: Settings) -> str:
    parameters = load_parameters(settings.forecast)
    said = dump_parameters(parameters)
    if said == dump_parameters(load_parameters()):
        return SHIPPED_FORECAST
    return f"of {parameters.date}, sha256 {_digest(said)}"


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]
