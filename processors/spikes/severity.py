"""The severity of a spike: info, notice, warning or critical, from its size, its novelty and its voices. Pure.

    points   = log10(people) + log2(score) / 2, the second part within 0 and 1
    people   = the lesser of the count beyond the usual and the voices beyond the usual
    severity = notice from 1.5 points, warning from 1.95, critical from 3; at most notice below 1.5 times the usual

`score` is the detector's: the count by the least count that stands out from all that the conversation has had. So 90
people are a warning, 1,000 critical; where a count is twice as high as anything known, a third of these suffices. A few
loud accounts are few people, however much they write. Where voices are not known, each count is taken for a person.
`benchmarks/alerts.py` prints what the thresholds deliver of a simulated fortnight and of labelled series.
"""

from math import log2, log10
from typing import Final

from schemas.alerts import Severity

NOTICE_POINTS: Final = 1.5
WARNING_POINTS: Final = 1.95
CRITICAL_POINTS: Final = 3.0
NOVELTY_WEIGHT: Final = 0.5
MOST_NOVELTY: Final = 1.0
LEAST_RATIO: Final = 1.5
"""A rise by less than half of the usual is a notice at most, however many people make it."""


def severity_of(
    observed: float, expected: float, score: float, voices: int | None, voices_usual: float | None
) -> Severity:
    """Returns the severity; `observed` and `expected` are counts over the spike's scale, as are the voices.

    >>> severity_of(131, 10, 1.4, 120, 8), severity_of(131, 10, 1.4, 3, 1), severity_of(5200, 4000, 1.1, None, None)
    ('warning', 'info', 'notice')
    """
    people = observed - expected
    if voices is not None:
        people = min(people, voices - min(voices_usual or 0.0, voices))
    if people <= 1:
        return "info"
    points = log10(people) + min(max(NOVELTY_WEIGHT * log2(max(score, 1.0)), 0.0), MOST_NOVELTY)
    if points < NOTICE_POINTS:
        return "info"
    if points < WARNING_POINTS or observed < LEAST_RATIO * expected:
        return "notice"
    return "warning" if points < CRITICAL_POINTS else "critical"
