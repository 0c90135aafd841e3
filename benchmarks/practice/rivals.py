"""What people do instead: curves through a learning curve, a rule for sample sizes, logistic heads.

The families of curves are those of Viering and Loog's survey (2023) that have few parameters; the
rule is that of Riley and others (2019, Part I), which the package pmsampsize computes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import optimize
from sklearn.linear_model import LogisticRegressionCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.practice.sets import Array, FeatureSet
from benchmarks.practice.truth import JUDGED, split


def _power(t: Array, a: float, b: float, c: float) -> Any:
    return a + b * t**-c


def _line(t: Array, b: float, c: float) -> Any:
    return b * t**-c


def _exponential(t: Array, a: float, b: float, c: float) -> Any:
    return a + b * np.exp(-c * t)


def _logarithm(t: Array, a: float, b: float) -> Any:
    return np.maximum(a - b * np.log(t), 0)


def _growth(t: Array, a: float, b: float, c: float, d: float) -> Any:
    return (a + c * t**d) / (b + t**d)  # Morgan, Mercer and Flodin


#: Error over the largest against t = n over the smallest size; where a fit starts; its bounds.
FAMILIES: tuple[tuple[Callable[..., Any], Any, Any], ...] = (
    (_power, (0.5, 0.5, 0.5), ((0, 10), (0, 10), (0.05, 3))),
    (_line, (1.0, 0.2), ((0, 10), (0, 3))),
    (_exponential, (0.5, 0.8, 0.5), ((0, 10), (0, 50), (1e-3, 10))),
    (_logarithm, (1.0, 0.1), ((0, 10), (0, 10))),
    (_growth, (1.0, 1.0, 0.5, 1.0), ((0, 50), (0, 50), (0, 10), (0.05, 5))),
)


def extrapolated(family: int, sizes: Array, errors: Array, n: float) -> float:
    """Return the error at n that a family says, fitted in squares to a learning curve."""
    curve, start, bounds = FAMILIES[family]
    top, t = float(errors.max()), sizes / sizes[0]

    def misfit(theta: Array) -> Any:
        return curve(t, *theta) - errors / top

    low, high = np.transpose(bounds)
    fit = optimize.least_squares(misfit, start, bounds=(low, high))
    return top * float(curve(n / sizes[0], *fit.x))


def power_law(sizes: Array, errors: Array, n: float) -> float:
    """Return a + b n^-c, fitted to a learning curve."""
    return extrapolated(0, sizes, errors, n)


def best_curve(sizes: Array, errors: Array, n: float) -> float:
    """Return what the family says that best foretells the last size from the others."""
    last = float(sizes[-1])
    missed = [
        abs(extrapolated(k, sizes[:-1], errors[:-1], last) - errors[-1])
        for k in range(len(FAMILIES))
    ]
    return extrapolated(int(np.argmin(missed)), sizes, errors, n)


def pmsampsize(parameters: int, r2: float, shrinkage: float = 0.9) -> tuple[int, int, int]:
    """Return the rows that each criterion asks for, for a continuous label with R² in (0, 1).

    The first wants coefficients that need be shrunk by a tenth at most, the second an R² on the
    rows themselves at most 0.05 too high, the third a standard deviation of residuals within a
    tenth.  The fourth, about the mean, depends on the label's origin and is left out.
    """

    def shrunk(n: int) -> float:
        apparent = (r2 * (n - parameters - 1) + parameters) / (n - 1)
        return 1 + (parameters - 2) / (n * math.log(1 - apparent))

    first = parameters + 2
    while shrunk(first) < shrinkage:
        first += 1
    return first, math.ceil(1 + parameters * (1 - r2) / 0.05), 234 + parameters


def logistic(x: Array, labels: Any) -> tuple[Any, float]:
    """Return a logistic head, its penalty chosen by cross-validation, and that one's accuracy."""
    folds = int(min(3, np.unique(labels, return_counts=True)[1].min()))
    if folds < 2:
        return None, float("nan")
    head = LogisticRegressionCV(
        Cs=np.logspace(-5, 1, 7), cv=folds, scoring="accuracy", l1_ratios=(0,),
        use_legacy_attributes=False,
    )  # fmt: skip
    pipe = make_pipeline(StandardScaler(), head).fit(x, labels)
    return pipe, float(np.mean(head.scores_, axis=0).max())


def logistic_accuracy(data: FeatureSet, n: int, draws: int = 3, seed: int = 0) -> float:
    """Return the mean accuracy of logistic heads of n labels."""
    hits = []
    for child in np.random.default_rng([seed, n]).spawn(draws):
        train, rest = split(data, n, child)
        rest = rest[:JUDGED]
        head, _ = logistic(data.features[train], data.labels[train])
        if head is not None:
            hits.append(np.mean(head.predict(data.features[rest]) == data.labels[rest]))
    return float(np.mean(hits)) if hits else float("nan")
