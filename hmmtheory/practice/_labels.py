"""How many labels reach a target, with the interval that a pilot leaves.  Serves chapter 13."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from hmmtheory._checks import FloatArray, as_number
from hmmtheory.moments import Moments
from hmmtheory.practice.accuracy import Pilot
from hmmtheory.practice.copies import Copies, jackknife

#: Parts of the rows that the jackknife leaves out in turn.
PARTS = 20
#: A target that so many labels do not reach is out of reach.
_MOST_LABELS = 10**9
#: Quantile of the 90 % interval.
_Z90 = 1.645


class Goal(NamedTuple):
    """The target: a ``"risk"``, an ``"r2"`` or an ``"accuracy"``."""

    kind: str
    value: float | None

    @classmethod
    def of(cls, target: Any, r2: Any, accuracy: Any) -> Goal:
        given = {
            "target": ("risk", target),
            "target_r2": ("r2", r2),
            "target_accuracy": ("accuracy", accuracy),
        }
        chosen = [name for name, (_, value) in given.items() if value is not None]
        if len(chosen) > 1:
            raise ValueError(f"{chosen[1]} must be None if {chosen[0]} is given; got both")
        if not chosen:
            return cls("risk", None)
        kind, value = given[chosen[0]]
        most = np.inf if kind == "risk" else 1.0
        checked = as_number(
            chosen[0], value, minimum=0.0, maximum=most, open_minimum=True, open_maximum=True
        )
        return cls(kind, checked)


def best_ridge(moments: Moments, n: int, near: float | None = None) -> tuple[float, float]:
    """Return the best penalty at n labels, within three decades of `near`, and its risk."""
    if near is None or not 0 < near < np.inf:
        ridge = moments.optimal_ridge(n, intercept=True)
    else:
        # The second order is ten times as fast, and the risk is flat where it is least.
        ridge = moments.optimal_ridge(n, 2, intercept=True, near=near)
    return ridge, float(moments.parts(n, ridge, intercept=True).sum())


def error_of(values: Iterable[float]) -> float:
    """Return the standard error of a number from what it is without each part; NaN if unknown."""
    found = np.array(list(values))
    known = found.size > 1 and bool(np.isfinite(found).all())
    return float(jackknife(found, PARTS)) if known else float("nan")


Interval = tuple[int | None, int | None]


def labels_for_risk(
    goal: Goal,
    found: Moments,
    replicates: list[Moments],
    empty: Moments,
    ridge: float,
    copies: Copies,
) -> tuple[int | None, Interval, tuple[str, ...]]:
    """Return the labels that reach the goal, a 90 % interval, and what to say of them."""
    total = float(np.trace(empty.residual_covariance))
    if goal.value is None:
        return None, (None, None), ()
    level = goal.value if goal.kind == "risk" else (1 - goal.value) * (total + copies.extra)
    shown = f"A risk of {level:.3g}" if goal.kind == "risk" else f"R² = {goal.value:.3g}"
    guess = total + copies.extra
    level -= copies.extra
    # A pilot knows the variance of its labels only roughly.
    spread = np.array([m.parts(_MOST_LABELS, np.inf, intercept=True).sum() for m in replicates])
    if level >= total:
        below = level - _Z90 * np.nan_to_num(error_of(spread))
        most = 2 if below >= total else copies.labels(_labels(found, below, ridge))
        return 2, (2, most), (f"{shown} is no better than guessing the mean, {guess:.3g}.",)
    needed = _labels(found, level, ridge)
    floor = float(np.trace(found.residual_covariance)) + copies.extra
    if needed is None:
        least = [float(np.trace(m.residual_covariance)) for m in replicates]
        low = _labels(found, level + _Z90 * np.nan_to_num(error_of(least)), ridge)
        best = f"{floor:.3g}" if goal.kind == "risk" else f"R² {1.0 - floor / guess:.3g}"
        said = f"{shown} is beyond what more labels can reach: the best head has {best}."
        if found.pilot is not None and found.eigenvalues.size > (found.pilot - 1) // 2:
            said = (
                f"{shown} is beyond what these rows can promise: the best head that they judge "
                f"has {best}, but they are few for its {found.eigenvalues.size} directions."
            )
        return None, (copies.labels(low), None), (said,)
    # What the risk of so many labels may be off by: the curve is flatter the more there are.
    at = best_ridge(found, needed, ridge)[0]
    risks = np.array([best_ridge(one, needed, at)[1] for one in replicates])
    error = error_of(risks if goal.kind == "risk" else total * risks / spread)
    # Too few parts to know an error leave any number.
    error = np.inf if np.isnan(error) else error
    ends = [_labels(found, level + side * _Z90 * error, at) for side in (1, -1)]
    needed = copies.labels(needed)
    interval: Interval = (copies.labels(ends[0]), copies.labels(ends[1]))
    said = f"{shown} needs {needed} labels ({_ninety(interval, 'any number')})."
    return needed, interval, (said,)


def _labels(moments: Moments, level: float, ridge: float) -> int | None:
    """Return the fewest labels whose risk, at their best penalty, is at most `level`."""
    count = None
    for _ in range(2):  # the best penalty hardly depends on n (Theorem 7.1)
        at = ridge

        def reached(labels: int, lam: float = at) -> bool:
            return bool(moments.parts(labels, lam, intercept=True).sum() <= level)

        count = _fewest(reached)
        if count is None:
            return None
        ridge = best_ridge(moments, count, ridge)[0]
    return count


def labels_for_accuracy(
    target: float, pilot: Pilot, n: int, rng: np.random.Generator
) -> tuple[int | None, Interval, tuple[str, ...]]:
    """Return the same for an accuracy, from forecasts at sizes between 4 and 50 times the rows."""
    rows = pilot.codes.size
    grid = np.geomspace(4, 50 * rows, 36) * pilot.each
    grid = np.unique(grid.round().astype(int))
    accuracy, error, _ = pilot.accuracies([*grid.tolist(), n], None, rng)
    planned = f"Accuracy with {n} labels {accuracy[-1]:.3f} ± {error[-1]:.2g}."
    accuracy, error = accuracy[:-1], error[:-1]
    if target <= pilot.baseline:
        said = f"Accuracy {target:.3g} is no better than guessing, {pilot.baseline:.3g}."
        return 2, (2, 2), (planned, said)

    def first(values: FloatArray) -> int | None:
        best = np.maximum.accumulate(values)
        reached = np.flatnonzero(best >= target)
        if not reached.size:
            return None
        k = int(reached[0])
        if k == 0:
            return int(grid[0])
        logs = np.interp(target, best[k - 1 : k + 1], np.log(grid[k - 1 : k + 1]))
        return int(np.ceil(np.exp(logs)))

    needed = first(accuracy)
    interval = (first(accuracy + _Z90 * error), first(accuracy - _Z90 * error))
    if needed is not None and needed <= grid[0]:
        said = f"Accuracy {target:.3g} needs {needed} labels at most."
        return needed, interval, (planned, said)
    if needed is None:
        said = (
            f"Accuracy {target:.3g} is beyond what {grid[-1]} labels reach: "
            f"{accuracy[-1]:.3g} ± {error[-1]:.2g}."
        )
        return None, interval, (planned, said)
    said = f"Accuracy {target:.3g} needs {needed} labels ({_ninety(interval, str(grid[-1]))})."
    return needed, interval, (planned, said)


def _ninety(interval: Interval, most: str) -> str:
    """Return the interval in words, its ends to three digits."""
    low, high = (None if end is None else int(float(f"{end:.3g}")) for end in interval)
    return f"90 % interval {low} to {f'more than {most}' if high is None else high}"


def _fewest(reached: Callable[[int], bool]) -> int | None:
    """Return the least n >= 2 with ``reached(n)``, which stays true once it is; None if never."""
    low, high = 1, 2
    while not reached(high):
        if high >= _MOST_LABELS:
            return None
        low, high = high, high * 4
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high
