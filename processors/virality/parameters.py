"""The fitted parameters of the forecast: a JSON file with its date and sample, checked when it is read.

`engagement forecast fit` writes such files. The shipped one is forecast.json beside this module, and
ENGAGEMENT_FORECAST names another. The parameters have a row per age in `ages`; between ages they are interpolated in
the logarithm of the age, and outside they stay as at the ends.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from pipeline.errors import SettingsError
from pipeline.files.documents import read_json
from processors.columnar.arrays import Array
from schemas.spread import PARAMETER_WIDTHS

SHIPPED_PATH: Final = Path(__file__).with_name("forecast.json")

FEATURES: Final = ("log_shares", "log_rest", "log_reproduction", "mean_lag", "mean_log_lag")
"""Inputs of the correction; see forecast.features."""

CIRCUMSTANCES: Final = ("sine_of_hour", "cosine_of_hour", "habit")
"""... and those that hold only for the network of the sample; see forecast.circumstances."""

PRODUCTS: Final = len(FEATURES) * (len(FEATURES) + 1) // 2


@dataclass(frozen=True)
class ForecastParameters:
    """The parameters, one row per age in each list.

    `centre`, `scale`: of the features. `correction`: of ln a, a quadratic in the scaled features and linear in the
    circumstances, held within `bounds`. `low`, `high`: the ends of the 90 % interval as logarithms of (shares to come +
    1) against the forecast of them. `double`: the part of the shares to come that has come at double the age, with
    interval ends of its own. `habits`: of authors by their id, as habits.py defines them; other authors have 0.
    `kinds`: of a prior, a table of all these numbers for each kind of network that the prior tells apart
    (fit/kinds.py), a row per age; features have the same centre and scale in all of them.
    """

    date: str
    sample: dict[str, Any]
    ages: Array  # minutes, rising
    centre: Array
    scale: Array
    correction: Array
    bounds: Array
    low: Array
    high: Array
    double: Array
    double_low: Array
    double_high: Array
    habits: dict[str, float]
    kinds: dict[str, Array] = field(default_factory=dict)

    def with_habits(self, habits: dict[str, float]) -> "ForecastParameters":
        """Returns the parameters with these habits."""
        return replace(self, habits=habits)

    @property
    def table(self) -> Array:
        """All numbers, one row per age."""
        return np.hstack([getattr(self, name) for name in PARAMETER_WIDTHS])

    def with_table(self, table: Array) -> "ForecastParameters":
        """Returns the parameters with the numbers of a `table`."""
        numbers: dict[str, Any] = _columns(table)
        return replace(self, **numbers)

    def at(self, age: Array) -> dict[str, Array]:
        """Returns the numbers at these ages in minutes, by name, a row per age."""
        return _columns(self._between(self.table, age))

    def kinds_at(self, age: Array) -> dict[str, Array]:
        """Returns the tables of the kinds with rows at these ages in minutes."""
        return {name: self._between(table, age) for name, table in self.kinds.items()}

    def _between(self, table: Array, age: Array) -> Array:
        """Interpolates the rows of a table."""
        logs = np.log(self.ages)
        position = np.clip(np.log(np.maximum(age, self.ages[0])), logs[0], logs[-1])
        before = np.clip(np.searchsorted(logs, position, side="right") - 1, 0, max(len(logs) - 2, 0))
        after = np.minimum(before + 1, len(logs) - 1)
        gap = logs[after] - logs[before]
        part = np.where(gap > 0, (position - logs[before]) / np.where(gap > 0, gap, 1.0), 0.0)[:, None]
        numbers: Array = table[before] * (1 - part) + table[after] * part
        return numbers


def resampled(parameters: ForecastParameters, ages: Sequence[float]) -> ForecastParameters:
    """Returns the parameters with rows at these ages in minutes, interpolated."""
    wanted = np.array(ages)
    numbers: dict[str, Any] = parameters.at(wanted)
    return replace(parameters, ages=wanted, kinds=parameters.kinds_at(wanted), **numbers)


def load_parameters(path: Path | None = None) -> ForecastParameters:
    """Reads the shipped parameters, or those of a file. Raises SettingsError that names file, field and cure."""
    path = path or SHIPPED_PATH
    try:
        document = read_json(path)
        if not isinstance(document, dict):
            raise ValueError("not a JSON object")
        return _read(document)
    except OSError as error:
        raise SettingsError(
            f"{path}: {error.strerror}; name a file that `engagement forecast fit --out` wrote"
        ) from None
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{path}: {error}; write it anew with `engagement forecast fit --out`") from None


def dump_parameters(parameters: ForecastParameters) -> str:
    """Returns the parameters as JSON text, a line per row of numbers, rounded to four digits after the point."""
    document = {
        name: np.round(value, 4).tolist() if isinstance(value, np.ndarray) else value
        for name, value in asdict(parameters).items()
    }
    document["habits"] = {author: round(habit, 4) for author, habit in sorted(parameters.habits.items())}
    del document["kinds"]
    lines = [_line_of(name, value) for name, value in document.items()]
    if parameters.kinds:
        kinds = [_line_of(name, np.round(table, 4).tolist()) for name, table in parameters.kinds.items()]
        lines.append('  "kinds": {\n' + ",\n".join(kinds) + "\n  }")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _line_of(name: str, value: Any) -> str:
    """Returns a field as JSON text; of a table, a line per row."""
    if isinstance(value, list) and value and isinstance(value[0], list):
        rows = ",\n".join(f"    {json.dumps(row)}" for row in value)
        return f"  {json.dumps(name)}: [\n{rows}\n  ]"
    return f"  {json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}"


def _columns(table: Array) -> dict[str, Array]:
    """Returns the numbers of a table by name, a row per age."""
    ends = np.cumsum(list(PARAMETER_WIDTHS.values()))[:-1]
    return dict(zip(PARAMETER_WIDTHS, np.split(table, ends, axis=1), strict=True))


def _read(document: dict[str, Any]) -> ForecastParameters:
    """Checks a JSON object. Raises ValueError that begins with the field."""
    if not isinstance(document.get("date"), str) or not isinstance(document.get("sample"), dict):
        raise ValueError("date and sample: must name the date and the sample of the fit")
    ages = _numbers(document, "ages")
    if ages.ndim != 1 or not len(ages) or ages[0] <= 0 or (np.diff(ages) <= 0).any():
        raise ValueError("ages: must be minutes, above 0 and rising")
    numbers = {name: _numbers(document, name) for name in PARAMETER_WIDTHS}
    for name, width in PARAMETER_WIDTHS.items():
        if numbers[name].shape != (len(ages), width):
            raise ValueError(f"{name}: must be a row of {width} numbers for each of the {len(ages)} ages")
    _check(numbers)
    kinds = _kinds(document, len(ages))
    return ForecastParameters(
        date=document["date"], sample=document["sample"], ages=ages, habits=_habits(document), kinds=kinds, **numbers
    )


def _check(numbers: dict[str, Array], where: str = "") -> None:
    """Checks the numbers of all ages. Raises ValueError that begins with `where` and the field."""
    if (numbers["scale"] <= 0).any():
        raise ValueError(f"{where}scale: must be above 0")
    if ((numbers["double"] < 0) | (numbers["double"] > 1)).any():
        raise ValueError(f"{where}double: must be within 0 and 1")
    if (numbers["bounds"][:, 0] > numbers["bounds"][:, 1]).any():
        raise ValueError(f"{where}bounds: the first must not be above the second")
    for low, high in (("low", "high"), ("double_low", "double_high")):
        if (numbers[low][:, 0] > numbers[high][:, 0]).any():
            raise ValueError(f"{where}{low}: must not be above {high}")


def _kinds(document: dict[str, Any], ages: int) -> dict[str, Array]:
    kinds = document.get("kinds", {})
    if not isinstance(kinds, dict):
        raise ValueError("kinds: must be an object of name: table")
    tables, width = {}, sum(PARAMETER_WIDTHS.values())
    for name in kinds:
        tables[name] = _numbers(kinds, name)
        if tables[name].shape != (ages, width):
            raise ValueError(f"kinds.{name}: must be a row of {width} numbers for each of the {ages} ages")
        _check(_columns(tables[name]), f"kinds.{name}.")
    return tables


def _habits(document: dict[str, Any]) -> dict[str, float]:
    habits = document.get("habits")
    if not isinstance(habits, dict) or not all(type(habit) in (int, float) for habit in habits.values()):
        raise ValueError("habits: must be an object of author_id: number")
    if not np.isfinite(list(habits.values())).all():
        raise ValueError("habits: must be finite numbers")
    return habits


def _numbers(document: dict[str, Any], name: str) -> Array:
    if name not in document:
        raise ValueError(f"{name}: missing")
    try:
        numbers = np.array(document[name], np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name}: must be numbers, in rows of one length") from None
    if not np.isfinite(numbers).all():
        raise ValueError(f"{name}: must be finite numbers")
    return numbers
