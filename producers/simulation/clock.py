"""The times of simulated events: the delay of a reaction after its cause, and how busy each hour of the day is.

Delays follow the generation interval of docs/metrics.md, a mixture of seven exponentials that fits Twitter's reaction
times (Zhao et al. 2015, "SEISMIC"). They pass in activity time, which runs fast when people are awake, as in that
paper's circadian correction.
"""

from typing import Any, Final

import numpy as np

Reals = np.ndarray[Any, np.dtype[np.float64]]

DELAY_WEIGHTS: Final = (0.223975, 0.274147, 0.138422, 0.115348, 0.077360, 0.016906, 0.153842)
DELAY_SCALES: Final = (287.2, 1374.9, 6581.6, 31506.0, 150817.9, 721960.4, 3456000.0)
"""Seconds."""

SWING: Final = 0.6
PEAK_HOUR: Final = 20
"""UTC. Activity at the peak is (1 + SWING) / (1 - SWING) = 4 times that of the trough."""

DAY_SECONDS: Final = 86_400.0


class Clock:
    """The activity time of a simulation, in seconds from the start. `length`: the end of activity time; `duration`: the
    seconds until then."""

    def __init__(self, start: float, seconds: float) -> None:
        self._grid = np.linspace(0.0, seconds, max(2, int(seconds // 60) + 1))
        phase = (start + self._grid) / DAY_SECONDS - PEAK_HOUR / 24
        # Integral of 1 + SWING cos(2 pi phase).
        activity = self._grid + SWING * DAY_SECONDS / (2 * np.pi) * np.sin(2 * np.pi * phase)
        self._activity: Reals = activity - activity[0]
        self._delays = np.concatenate([[0.0], np.geomspace(1.0, 4e7, 4096)])
        lasting = np.array(DELAY_WEIGHTS) * np.exp(-self._delays[:, None] / np.array(DELAY_SCALES))
        self._reached: Reals = 1 - lasting.sum(axis=1)
        self.length, self.duration = float(self._activity[-1]), seconds

    def seconds(self, activity: Reals) -> Reals:
        """Returns seconds since the start for activity times."""
        seconds: Reals = np.interp(activity, self._activity, self._grid)
        return seconds

    def activity(self, seconds: Reals) -> Reals:
        """Returns activity times for seconds since the start."""
        activity: Reals = np.interp(seconds, self._grid, self._activity)
        return activity

    def react(self, causes: Reals, draws: Reals) -> Reals:
        """Returns activity times of reactions to causes at `causes`, all before the end, where the kernel is cut.
        `draws`: uniform in [0, 1)."""
        most = self.reach(causes)
        times: Reals = np.minimum(causes + np.interp(draws * most, self._reached, self._delays), self.length)
        return times

    def reach(self, causes: Reals) -> Reals:
        """Returns the share of reactions before the end, for causes at `causes`."""
        reached: Reals = np.interp(self.length - causes, self._delays, self._reached)
        return reached
