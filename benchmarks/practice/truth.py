"""What heads really do: trained on n rows of a feature set, judged on the others."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.practice.sets import Array, FeatureSet
from hmmtheory._linalg import thin_svd

#: Penalties over the total variance of the features.
PENALTIES = np.logspace(-6, 6, 61)
JUDGED = 2000


class Truth(NamedTuple):
    """Mean squared error and accuracy at each penalty, and of the penalty that RidgeCV takes."""

    ridges: Array
    risk: Array
    accuracy: Array
    risk_cv: float
    accuracy_cv: float


def targets(labels: NDArray[Any], kind: str) -> tuple[Array, NDArray[np.int64] | None]:
    """Return the outputs of a head (N, q), and the codes if labels are classes."""
    if kind != "classes":
        return np.asarray(labels, float)[:, None], None
    names, codes = np.unique(labels, return_inverse=True)
    return np.eye(names.size)[codes], codes


def split(data: FeatureSet, n: int, rng: np.random.Generator) -> tuple[Any, Any]:
    """Return n rows to train on and others to judge by; a group stays together."""
    rows = len(data.labels)
    if data.groups is None:
        order = rng.permutation(rows)
        return order[:n], order[n:]
    place = np.argsort(rng.permutation(data.groups.max() + 1))[data.groups]
    order = np.argsort(place, kind="stable")
    last = place[order[n - 1]]
    return order[:n], order[place[order] > last]


def heads(x: Array, y: Array, ridges: Array) -> tuple[Any, Any, Array]:
    """Return left-out squared errors (L,) of each penalty, and what predicts with it."""
    mean_x, mean_y = x.mean(axis=0), y.mean(axis=0)
    u, s, vt = thin_svd(x - mean_x)
    c, t = u.T @ (y - mean_y), s**2
    left = np.empty(ridges.size)
    for k, lam in enumerate(ridges):
        d = t / (t + lam)
        kept = np.maximum(1 - u**2 @ d - 1 / len(x), 1e-12)
        left[k] = np.square((y - mean_y - u @ (d[:, None] * c)) / kept[:, None]).sum() / len(x)

    def predict(new: Array, lams: Array) -> Any:
        seen = (new - mean_x) @ vt.T
        return (mean_y + seen @ ((s / (t + lam))[:, None] * c) for lam in lams)

    return predict, left, s


def measure(data: FeatureSet, n: int, draws: int, seed: int = 0) -> Truth:
    """Return the mean over draws of n rows."""
    y, codes = targets(data.labels, data.kind)
    ridges = PENALTIES * data.features.var(axis=0).sum()
    found = []
    for child in np.random.default_rng([seed, n]).spawn(draws):
        train, rest = split(data, n, child)
        rest = rest[:JUDGED]
        predict, left, _ = heads(data.features[train], y[train], ridges)
        best = int(np.argmin(left))
        risk, hits = np.empty((2, ridges.size))
        for k, guess in enumerate(predict(data.features[rest], ridges)):
            risk[k] = np.square(y[rest] - guess).sum(axis=1).mean()
            hits[k] = np.nan if codes is None else (guess.argmax(axis=1) == codes[rest]).mean()
        found.append((risk, hits, risk[best], hits[best]))
    means = [np.mean([f[k] for f in found], axis=0) for k in range(4)]
    return Truth(ridges, means[0], means[1], float(means[2]), float(means[3]))
