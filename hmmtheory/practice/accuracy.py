"""How often the head of a classifier will be right, before its labels are bought."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, special

from hmmtheory._checks import (
    FloatArray,
    as_count,
    as_ridge,
    as_rng,
    as_table,
    check_order,
    warn_caller,
)
from hmmtheory._linalg import column_lengths
from hmmtheory.practice._path import RidgePath, ridge_path
from hmmtheory.practice.classes import as_classes, one_hot
from hmmtheory.practice.copies import jackknife, one_of_each, owners, parts, places, warn_of_copies

#: Points of the path with more degrees of freedom than this share of the rows are not trusted.
_TRUSTED = 0.3
#: Points whose risk is within about this share of the least are averaged.
_SOFT = 0.1
#: With more degrees of freedom than this share of the labels larger penalties are looked at.
_MANY = 0.5
#: Share of Silverman's bandwidth by which scores are smoothed.
_SMOOTH = 0.6
#: A forecast is held against the pilot's own hits beyond so many of their standard errors.
_CHANCE = 2.0
#: The least standard error.
_FLOOR = 0.01
#: Parts of the rows that the jackknife leaves out in turn.
_GROUPS = 10
#: Fewer groups leave no others to judge by.
_LEAST = 4
#: A class with fewer rows is warned of.
_FEW = 5


@dataclass(frozen=True)
class AccuracyForecast:
    """The accuracy to expect of a linear classifier trained on n labels.

    Attributes
    ----------
    n_samples : int
        n, the number of labels.
    accuracy, standard_error : float
        The share of fresh rows that it gets right, and the standard error of this prediction
        from having only N rows, at least one point.
    balanced_accuracy : float
        The mean over classes of the share that it gets right of each.
    baseline : float
        The share of the most frequent class: what guessing achieves.
    classes : tuple
        The names of the classes.
    """

    n_samples: int
    accuracy: float
    standard_error: float
    balanced_accuracy: float
    baseline: float
    classes: tuple[Any, ...]

    def __str__(self) -> str:
        return (
            f"With {self.n_samples} labels: accuracy {self.accuracy:.3f} ± "
            f"{self.standard_error:.2g} (standard error), balanced {self.balanced_accuracy:.3f}; "
            f"always guessing the most frequent of {len(self.classes)} classes {self.baseline:.3f}."
        )


def predict_accuracy(
    features: Any,
    classes: Any,
    n_samples: int,
    ridge: float | str = "optimal",
    rng: Any = 0,
    groups: Any = None,
) -> AccuracyForecast:
    r"""Predict the accuracy of a linear classifier that will be trained on n labels.

    The classifier is scikit-learn's ``RidgeClassifierCV``, or ``RidgeClassifier`` with a given
    ridge: least squares to a one for the right class and zeros for the others, the largest output
    wins.  One ridge path of the pilot gives the scores that each row gets from heads that have
    not seen it.  At the effective ridge :math:`\kappa` that is best at n their scatter within
    classes is rescaled from N labels to n, where the risk matrix becomes
    :math:`R_n = R_N (1 - \mathrm{df}_2/N)/(1 - \mathrm{df}_2/n)`, and the hits are counted
    (book: Chapter 13; a deterministic equivalent, empirical for real features).

    Parameters
    ----------
    features : array_like, shape (N, P)
        Frozen features of labelled rows, N >= 8, an array or a DataFrame.
    classes : array_like, shape (N,)
        Their classes: strings, categories, booleans or whole numbers, two or more different.
    n_samples : int
        n >= 2, the number of labels of the classifier to come; N does not limit it.
    ridge : float or "optimal"
        :math:`\lambda \ge 0`, scikit-learn's ``alpha``, or one chosen by cross-validation.
    rng : int, Generator, SeedSequence or None
        Groups the rows for the standard error and smooths the scores.
    groups : array_like, shape (N,), optional
        Whose row it is: the head will be judged on people it has not seen, and the rows of one
        are left out together.

    Returns
    -------
    AccuracyForecast

    Raises
    ------
    ValueError
        If an array has missing values, lengths differ, N < 8, groups are fewer than four, there is
        only one class, or `ridge` is so small that N rows say nothing of it at n labels.

    Warns
    -----
    UserWarning
        If a class has fewer than five rows, or if rows repeat: one of equal rows is drawn, and n
        labels are as many fewer rows (what labels that differ tell beyond one is left out).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> kind = rng.choice(["cat", "dog"], 200)
    >>> x = rng.standard_normal((200, 10)) + (kind == "cat")[:, None]
    >>> round(predict_accuracy(x, kind, n_samples=50).accuracy, 2)
    0.93
    """
    pilot = Pilot.of(features, classes, groups)
    n = as_count("n_samples", n_samples, minimum=2)
    if pilot.each > 1:
        rows = round(pilot.each * pilot.codes.size)
        warn_of_copies(pilot.codes.size, rows, "one of equal rows is kept")
    lam = None
    if not (isinstance(ridge, str) and ridge == "optimal"):
        lam = as_ridge(ridge)
    accuracy, error, balanced = pilot.accuracies([n], lam, rng)
    return AccuracyForecast(
        n, float(accuracy[0]), float(error[0]), float(balanced[0]), pilot.baseline, pilot.names
    )


class Pilot(NamedTuple):
    """Different rows, the codes of their classes, whose they are, and how often each occurs."""

    x: FloatArray
    codes: NDArray[Any]
    names: tuple[Any, ...]
    owner: NDArray[Any]
    each: float

    @classmethod
    def of(cls, features: Any, classes: Any, groups: Any = None, kept: Any = None) -> Pilot:
        """Check the arrays; rows wider than long are turned into their own span.

        `kept` are the rows to keep, where others have found out which are copies.
        """
        x = as_table("features", features, (None, None))
        if x.shape[0] < 8:
            raise ValueError(f"features must have at least 8 rows; got {x.shape[0]}")
        check_order("classes", classes, features)
        names, codes = as_classes("classes", classes, x.shape[0])
        if len(names) < 2:
            raise ValueError(f"classes must hold at least 2 classes; got only {names[0]!r}")
        owner, rows = owners(groups, x.shape[0]), x.shape[0]
        kept = one_of_each(places(x), rows) if kept is None else kept
        codes, owner = codes[kept], owner[kept]
        counts = np.bincount(codes, minlength=len(names))
        if counts.min() < _FEW:
            few = ", ".join(f"{names[k]!r} {counts[k]}" for k in np.flatnonzero(counts < _FEW)[:5])
            warn_caller(
                f"classes with fewer than {_FEW} rows are hardly known, and their part of the "
                f"accuracy is a guess: {few}"
            )
        x = x[kept] - x[kept].mean(axis=0)
        if x.shape[1] > x.shape[0]:
            x = linalg.qr(x.T, mode="r", check_finite=False)[0][: x.shape[0]].T
        return cls(x, codes, tuple(names), owner, rows / kept.size)

    @property
    def baseline(self) -> float:
        """The share of the most frequent class."""
        return float(np.bincount(self.codes).max() / self.codes.size)

    def accuracies(
        self, sizes: list[int], ridge: float | None, rng: Any
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return accuracy, its standard error and balanced accuracy at each n."""
        sizes = [max(2, round(n / self.each)) for n in sizes]
        generator, rows, k = as_rng(rng), self.codes.size, len(self.names)
        seed = int(generator.integers(2**32))
        left = parts(self.owner, _GROUPS, generator)
        if len(np.unique(self.owner)) < _LEAST:
            raise ValueError(
                f"groups must be at least {_LEAST}, since heads are judged on those they lack; "
                f"got {len(np.unique(self.owner))}"
            )
        some = np.array([self.without(part).hits(sizes, ridge, 6, seed) for part in left])
        whole = self.hits([*sizes, *([rows] if ridge is None else [])], ridge, 12, seed)
        shares = np.bincount(self.codes, minlength=k) / rows
        weights = np.column_stack([shares, np.full(k, 1 / k)])
        by_class = (whole[: len(sizes)] + some.mean(axis=0)) / 2
        found = by_class @ weights
        # What heads on all rows but one got right needs no model.
        moved = found
        if ridge is None:
            moved = _moved(found, whole[-1] @ weights, self.left_out() @ weights, rows)
        errors = [
            jackknife(some @ shares, _GROUPS),
            # The shares of the classes are those of so many rows.
            np.sqrt(np.maximum(by_class**2 @ shares - found[:, 0] ** 2, 0.0) / rows),
            np.abs(moved - found)[:, 0] / 2,
            np.full(len(sizes), _FLOOR),
        ]
        return moved[:, 0], np.sqrt(np.square(errors).sum(axis=0)), moved[:, 1]

    def left_out(self) -> FloatArray:
        """Return the share of each class that the best heads on the other rows get right (K,)."""
        codes, k = self.codes, len(self.names)
        path = ridge_path(self.x, one_hot(codes, k), top=1.0, owner=self._owner())
        right = np.zeros(k)
        chosen = _best_points(path, codes.size - 1)
        for point in chosen:
            said = _left_out_scores(point, codes, k).argmax(axis=1)
            right += np.bincount(codes, said == codes, minlength=k)
        return np.asarray(right / len(chosen) / np.maximum(np.bincount(codes, minlength=k), 1))

    def _owner(self) -> NDArray[Any]:
        return np.unique(self.owner, return_inverse=True)[1]

    def without(self, rows: NDArray[Any]) -> Pilot:
        """Return the pilot without some rows."""
        x, codes, owner = (np.delete(a, rows, 0) for a in (self.x, self.codes, self.owner))
        return self._replace(x=x, codes=codes, owner=owner)

    def hits(self, sizes: list[int], ridge: float | None, draws: int, seed: int) -> FloatArray:
        """Return the predicted share of hits of each class at each n (sizes, K)."""
        x, codes, k = self.x, self.codes, len(self.names)
        onehot, owner = one_hot(codes, k), self._owner()
        path = ridge_path(x, onehot, top=1.0 if ridge is None else 4.0, owner=owner)
        far = path
        if ridge is None and path.df2[-1] > _MANY * (min(sizes) - 1):  # few labels need more ridge
            far = ridge_path(x, onehot, top=4.0, owner=owner)
        found = np.empty((len(sizes), k))
        for i, n in enumerate(sizes):
            if ridge is None:
                chosen = _best_points(path if path.df2[-1] <= _MANY * (n - 1) else far, n - 1)
            else:
                chosen = [_at_ridge(x, onehot, path, n - 1, ridge, owner)]
            counts = [_count(point, codes, k, n - 1, draws, seed) for point in chosen]
            found[i] = np.mean(counts, axis=0)
        return found


def _moved(found: FloatArray, said: FloatArray, seen: FloatArray, rows: int) -> FloatArray:
    """Return what was found, moved in logits as what was seen of heads on all rows asks for.

    Little where it may be chance, and wholly where it is many standard errors.
    """
    least = 1 / (2 * rows)
    said, seen, logits = (np.clip(a, least, 1 - least) for a in (said, seen, found))
    chance = seen * (1 - seen) / rows
    sure = np.maximum(0.0, 1 - _CHANCE**2 * chance / np.maximum(np.square(seen - said), 1e-300))
    return np.asarray(
        special.expit(special.logit(logits) + sure * (special.logit(seen) - special.logit(said)))
    )


def _best_points(path: RidgePath, n1: int) -> list[RidgePath]:
    """Return the points of the path that are about the best at n, by their share of it."""
    rows = path.residuals.shape[1]
    loss = np.square(path.residuals).sum(axis=2).mean(axis=1)
    known = path.df2 < min(_TRUSTED * (rows - 2), 0.98 * n1)
    growth = (1 - path.df2 / (rows - 2)) / (1 - np.where(known, path.df2, 0) / n1)
    risk = np.where(known, loss * growth, np.inf)
    weights = np.cumsum(np.exp(-(risk / risk.min() - 1) / _SOFT))
    marks = np.searchsorted(weights / weights[-1], [0.1, 0.3, 0.5, 0.7, 0.9])
    return [path.take(np.array([j])) for j in sorted(set(marks.tolist()))]


def _at_ridge(
    x: FloatArray,
    onehot: FloatArray,
    path: RidgePath,
    n1: int,
    ridge: float,
    owner: NDArray[Any],
) -> RidgePath:
    """Return the pilot's fit that is like a head with this ridge at n."""
    rows = x.shape[0]
    if ridge == 0.0 and x.shape[1] < min(0.999 * n1, 2 * _TRUSTED * rows):
        # Without ridge units mean nothing: each column in its own.
        lengths = column_lengths(x)
        plain = ridge_path(
            x / np.where(lengths > 0, lengths, 1.0), onehot, np.zeros(1), owner=owner
        )
        if plain.ridges.size:
            return plain
    return ridge_path(x, onehot, np.array([_pilots_ridge(path, rows, n1, ridge)]), owner=owner)


def _pilots_ridge(path: RidgePath, rows: int, n1: int, ridge: float) -> float:
    """Return the penalty that has at N the effective ridge that `ridge` has at n."""
    known = path.df1 < min(0.999 * n1, 2 * _TRUSTED * rows)
    at_n = path.kappas[known] * (n1 - path.df1[known])
    if ridge < at_n[0] and path.df1[known][0] < 0.9 * path.basis.shape[1]:
        raise ValueError(
            f"ridge must be at least {at_n[0]:.3g}, since {rows} rows say nothing of heads with "
            f"{n1 + 1} labels and less; got {ridge:g}"
        )
    clipped = np.clip(ridge, at_n[0], at_n[-1])
    return float(np.exp(np.interp(np.log(clipped), np.log(at_n), np.log(path.ridges[known]))))


def _count(
    point: RidgePath, codes: NDArray[Any], k: int, n1: int, draws: int, seed: int
) -> FloatArray:
    """Rescale the scatter of left-out scores within classes from N labels to n, smooth, count."""
    rows, c, onehot = codes.size, k - 1, one_hot(codes, k)
    contrasts = np.asarray(linalg.helmert(k)).T
    missed, df2 = point.residuals[0], float(point.df2[0])
    scores = _left_out_scores(point, codes, k) @ contrasts
    size = np.bincount(codes, minlength=k)
    missed = missed @ contrasts
    middle = scores.mean(axis=0)
    averages = (onehot.T @ scores) / np.maximum(size, 1)[:, None]
    scatter = scores - averages[codes]
    # Cov(scores, one-hot) = B*ᵀS(S+κ)⁻¹SB* is positive semidefinite.
    joint = (scores - middle).T @ onehot @ contrasts / rows
    values, turns = np.linalg.eigh((joint + joint.T) / 2)
    joint = (turns * np.maximum(values, 0)) @ turns.T
    means = middle + (joint @ contrasts.T / np.maximum(size, 1) * rows).T
    within = scatter.T @ scatter / max(rows - int((size > 0).sum()), 1)
    risk = missed.T @ missed / rows
    old = df2 / (rows - 2) * risk
    new = (df2 + 1) / n1 * risk * (1 - df2 / (rows - 2)) / (1 - df2 / n1)
    width = min(0.95, _SMOOTH * (4 / ((c + 2) * rows / k)) ** (1 / (c + 4)))
    kept = np.sqrt(1 - width**2)
    more = float(np.trace(new) / max(float(np.trace(old)), 1e-300))
    if more > 1:  # fewer labels: noise is added, row by row as the jackknife says it is
        fit = (point.basis * point.shares[0]) @ point.basis.T
        np.fill_diagonal(fit, 0)
        weights = np.square(fit / (1 - point.leverages[0])[:, None])
        noise = (weights @ np.einsum("ja,jb->jab", missed, missed).reshape(rows, -1)).reshape(
            rows, c, c
        )
        noise *= np.trace(old) / max(float(np.trace(noise.mean(axis=0))), 1e-300)
        base = means[codes] + kept * scatter
        spread = _roots(noise * (more - 1) + width**2 * within)
    else:  # more labels: noise is taken away along the directions in which it is largest
        values, turns = np.linalg.eigh(within)
        root = np.sqrt(np.maximum(values, 1e-9 * values[-1] + 1e-300))
        inverse, root = (turns / root) @ turns.T, (turns * root) @ turns.T
        share, axes = np.linalg.eigh(inverse @ (within + new - old) @ inverse)
        shrunk = (axes * np.sqrt(np.clip(share, 0.02, 1))) @ axes.T @ root
        base = means[codes] + kept * scatter @ inverse @ shrunk
        spread = np.broadcast_to(width * shrunk.T, (rows, c, c))
    hits = np.zeros(k)
    for z in np.random.default_rng(seed).standard_normal((draws, rows, c)):
        drawn = base + np.einsum("iab,ib->ia", spread, z)
        hits += np.bincount(codes, (drawn @ contrasts.T).argmax(axis=1) == codes, minlength=k)
    return np.asarray(hits / np.maximum(size, 1) / draws)


def _left_out_scores(point: RidgePath, codes: NDArray[Any], k: int) -> FloatArray:
    """Return each row's scores from heads on the others (N, K)."""
    onehot = one_hot(codes, k)
    # The mean of all rows in place of the other rows', which is correlated with the label.
    moved = (onehot - onehot.mean(axis=0)) / (codes.size - 1)
    return np.asarray(onehot - point.residuals[0] + moved)


def _roots(matrices: FloatArray) -> FloatArray:
    values, vectors = np.linalg.eigh((matrices + matrices.swapaxes(-1, -2)) / 2)
    scaled = vectors * np.sqrt(np.maximum(values, 0))[..., None, :]
    return np.asarray(scaled @ vectors.swapaxes(-1, -2))
