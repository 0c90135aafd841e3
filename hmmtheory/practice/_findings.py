"""One finding of a diagnosis, and what it was seen to cost.  Serves chapter 13."""

from __future__ import annotations

from typing import NamedTuple

#: Findings: the median error in per cent of predictions with ridge where one fired and where not,
#: on the pilots of benchmarks/practice (python -m benchmarks.practice.findings).
COST = {
    "row scale spread": (36, 12),
    "heavy tails": (16, 13),
    "heavy-tailed labels": (30, 12),
    "outlying rows": (39, 14),
}


class Finding(NamedTuple):
    """One property: its value, a verdict, and what it does to the prediction.

    The verdict is ``"caution"``, ``"without ridge"`` if it harms only heads without one, or
    ``"fine"``.  ``cost``, where a benchmark of real pilots knows it, is the median error in per
    cent of predictions with ridge where the finding fired, and where not.
    """

    name: str
    value: float
    verdict: str
    meaning: str

    @property
    def cost(self) -> tuple[float, float] | None:
        """Median errors in per cent, with this finding and without; None if not seen."""
        return COST.get(self.name)


def verdict_of(fires: bool, word: str = "caution") -> str:
    """Return the verdict of a finding that fires or not."""
    return word if fires else "fine"


def seen_of(finding: Finding) -> str:
    """Return what a finding was seen to cost, in words."""
    if finding.cost is None:
        return ""
    return " Seen on real pilots: predictions off by {} per cent, {} elsewhere.".format(
        *finding.cost
    )
