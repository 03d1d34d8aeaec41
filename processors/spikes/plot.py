"""Plots series with their alerts. Needs matplotlib, which comes with the extra `plot`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from pipeline.errors import SettingsError
from processors.spikes.detection.bank import Verdicts
from processors.spikes.detection.series import Labels, Series

SUFFIXES: Final = (".png", ".svg")
INCHES: Final = (14.0, 2.4)
"""The width, and the height of each series."""


def check_plot_path(path: Path) -> None:
    """Raises SettingsError where `draw_plot` could not work, before time is spent on the verdicts."""
    if path.suffix.lower() not in SUFFIXES:
        raise SettingsError(f"--picture: {path.name} is neither PNG nor SVG; end the name with {' or '.join(SUFFIXES)}")
    _figure()


def draw_plot(
    path: Path, series: Sequence[Series], verdicts: Sequence[Verdicts], labels: Sequence[Labels] | None
) -> None:
    """Draws counts on a logarithmic scale, alerts as marks and labelled windows as bands."""
    figure = _figure()(figsize=(INCHES[0], INCHES[1] * len(series)), layout="constrained")
    all_axes = figure.subplots(len(series), 1, squeeze=False)[:, 0]
    for number, (axes, one_series, verdict) in enumerate(zip(all_axes, series, verdicts, strict=True)):
        times = one_series.times.astype("datetime64[s]")
        axes.plot(times, np.maximum(one_series.counts, 0.5), linewidth=0.4, color="tab:blue")
        rows = np.flatnonzero(verdict.fires)
        axes.plot(times[rows], np.maximum(one_series.counts[rows], 0.5), "v", color="tab:red", markersize=6)
        for first, last in labels[number].windows if labels else ():
            axes.axvspan(times[first], times[last], color="tab:orange", alpha=0.25, linewidth=0)
        axes.set_yscale("log")
        axes.margins(x=0)
        axes.set_title(f"{one_series.name}: {len(rows)} alerts", loc="left", fontsize="medium")
        axes.set_ylabel(f"in {one_series.width} s")
    try:
        figure.savefig(path, dpi=110)
    except OSError as error:
        raise SettingsError(f"--picture: {path}: {error.strerror}; name a file that can be written") from None


def _figure() -> Any:
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise SettingsError("--picture: matplotlib is not installed: pip install 'engagement-pipeline[plot]'") from None
    return Figure
