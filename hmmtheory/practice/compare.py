"""Which frozen features?  Models, layers and poolings, compared by the head each will carry."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hmmtheory._checks import FloatArray, as_count, as_flag, as_rng, warn_caller
from hmmtheory._trials import one_blas_thread
from hmmtheory.moments import Moments
from hmmtheory.practice._path import ridge_path
from hmmtheory.practice.accuracy import Pilot
from hmmtheory.practice.classes import are_names, as_classes, one_hot
from hmmtheory.practice.copies import (
    Copies,
    effective,
    one_of_each,
    owners,
    parts,
    places,
    widened,
)
from hmmtheory.practice.features import Pool

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

#: Draws for the chance of being best.
_DRAWS = 20_000
#: Parts of the rows that the jackknife leaves out in turn.
_PARTS = 20


@dataclass(frozen=True, eq=False)
class Comparison:
    """Several frozen features, by the predicted risk of their best ridge heads on n labels.

    Attributes
    ----------
    names : tuple of str, length k
        What was compared.
    n_samples : int
        n, the number of labels of the heads to come.
    risk, standard_error : ndarray, shape (k,)
        Predicted risks, and their standard errors from having only N labelled rows.
    difference, difference_error : ndarray, shape (k, k)
        Risk of row less risk of column, and its standard error, which is far smaller than those
        of the two risks where both err on the same rows.
    chance_best : ndarray, shape (k,)
        How probable it is that each has the least risk, in the normal approximation.
    baseline : float
        The risk of predicting the training mean.
    accuracy, accuracy_error : ndarray, shape (k,), or None
        If the labels are classes, the predicted accuracy of each head and its standard error; the
        risk is then the squared error of ones and zeros, one for each class.
    """

    names: tuple[str, ...]
    n_samples: int
    risk: FloatArray
    standard_error: FloatArray
    difference: FloatArray
    difference_error: FloatArray
    chance_best: FloatArray
    baseline: float
    accuracy: FloatArray | None = None
    accuracy_error: FloatArray | None = None

    @property
    def best(self) -> str:
        """The name of the least predicted risk."""
        return self.names[int(np.argmin(self.risk))]

    def to_frame(self) -> pd.DataFrame:
        """Return a table, the best first: risk, its distance to the best, chance of being best."""
        import pandas as pd

        first = int(np.argmin(self.risk))
        table = pd.DataFrame(
            {
                "risk": self.risk,
                "standard_error": self.standard_error,
                "over_best": self.difference[:, first],
                "over_best_error": self.difference_error[:, first],
                "chance_best": self.chance_best,
            },
            index=pd.Index(self.names, name="features"),
        )
        if self.accuracy is not None:
            table["accuracy"], table["accuracy_error"] = self.accuracy, self.accuracy_error
        return table.sort_values("risk", kind="stable")

    def __repr__(self) -> str:
        return f"Comparison(best {self.best!r} of {len(self.names)}, n_samples={self.n_samples})"

    def __str__(self) -> str:
        table = self.to_frame().map("{:.3g}".format)
        return (
            f"Heads of {self.n_samples} labels; {self.baseline:.3g} without features.\n"
            f"{table.to_string()}"
        )

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw how far each is from the best, ±2 paired standard errors.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; the current axes if omitted.

        Returns
        -------
        matplotlib.axes.Axes
        """
        import matplotlib.pyplot as plt

        ax = plt.gca() if ax is None else ax
        table = self.to_frame()[::-1]
        ax.errorbar(
            table["over_best"], table.index.tolist(), xerr=2 * table["over_best_error"], fmt="o"
        )
        ax.axvline(0.0, color="grey", linewidth=1)
        ax.set_xlabel(f"risk over the best, {self.n_samples} labels")
        return ax


def compare(
    representations: Mapping[str, Any],
    labels: Any,
    n_samples: int,
    groups: Any = None,
    rng: Any = 0,
    *,
    classes: bool = False,
) -> Comparison:
    r"""Compare frozen features of the same rows by the head that each will carry on n labels.

    The risk of a ridge head on N labels is its leave-one-out error at the best penalty; the
    theory takes it to n labels (Theorem 14.1).  A jackknife leaves the same rows out of all, so
    that a difference has an error of its own (empirical for real features).

    Parameters
    ----------
    representations : mapping of str to array_like, each of shape (N, p)
        Features by name: models, layers, poolings; the p may differ.
    labels : array_like, shape (N, q) or (N,)
        Labels of the rows: numbers, or strings, categories or booleans, which are classes.
    n_samples : int
        n >= 2, the number of labels of the heads to come; N does not limit it.
    groups : array_like, shape (N,), optional
        Whose row it is: the head will be judged on people it has not seen, and the rows of one
        are left out together.
    rng : int, Generator, SeedSequence or None
        Draws for the chance of being best.
    classes : bool
        Whether whole numbers are classes, too.

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError
        If fewer than two representations are given, their rows differ, N < 8, or as
        :func:`.predict_risk`.

    Warns
    -----
    UserWarning
        If rows repeat in all representations: the labels of equal rows are averaged, and n labels
        are as many fewer rows.  If n exceeds the rows, and a representation is wider than half of
        them.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((200, 10))
    >>> y = x.sum(axis=1) / 3 + rng.standard_normal(200)
    >>> found = compare({"all": x, "half": x[:, :5]}, y, n_samples=100)
    >>> found.best, bool(found.chance_best[0] > 0.99)
    ('all', True)
    """
    given: Any = representations
    if not isinstance(given, Mapping) or len(given) < 2:
        raise ValueError(
            "representations must be a mapping of at least two names to feature arrays; "
            f"got {type(given).__name__}"
        )
    n = as_count("n_samples", n_samples, minimum=2)
    counts = _row_counts(given)
    named = as_flag("classes", classes) or are_names(labels)
    pools = _pools(given, _numbers(labels, counts.pop()[0]) if named else labels)
    count = next(iter(pools.values())).x.shape[0]
    if count < 8:
        raise ValueError(f"representations must have at least 8 rows; got {count}")
    # A row that one representation repeats may be another text: new texts repeat it, too.
    place = places(np.hstack([pool.x for pool in pools.values()]))
    copies = Copies.of(place, next(iter(pools.values())).y)
    whose = np.unique(owners(groups, count)[copies.rows], return_inverse=True)[1]
    m = copies.distinct(n)
    pools = {name: pool.of_rows(copies) for name, pool in pools.items()}
    _warn_of_width(pools, m)
    left = parts(whose, _PARTS, np.random.default_rng(0))
    with one_blas_thread():
        judged = [_risks(pool, m, whose, left) for pool in pools.values()]
    risk = np.array([one for one, _ in judged]) + copies.extra
    # All of it again without each part of the rows, the same for all, so that errors are paired.
    away = np.array([others - others.mean() for _, others in judged])
    covariance = away @ away.T * (len(left) - 1) / len(left)
    covariance *= widened(1.0, min(len(left), effective(whose)), _PARTS) ** 2
    variance = np.diag(covariance)
    spread = np.clip(variance[:, None] + variance - 2 * covariance, 0.0, None)
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.clip(values, 0.0, None))
    draws = risk + as_rng(rng).standard_normal((_DRAWS, risk.size)) @ root.T
    # What is the same to rounding shares the chance.
    equal = draws <= draws.min(axis=1, keepdims=True) + 1e-9 * np.abs(risk).max()
    winners = (equal / equal.sum(axis=1, keepdims=True)).sum(axis=0)
    y = next(iter(pools.values())).y
    heads = np.empty((2, 0))
    if named:
        kept = one_of_each(place, count)
        pilots = (Pilot.of(one, labels, groups, kept) for one in given.values())
        heads = np.array([pilot.accuracies([n], None, 0)[:2] for pilot in pilots])[..., 0].T
    return Comparison(
        names=tuple(pools),
        n_samples=n,
        risk=risk,
        standard_error=np.sqrt(variance),
        difference=risk[:, None] - risk,
        difference_error=np.sqrt(spread),
        chance_best=winners / _DRAWS,
        baseline=float(y.var(axis=0, ddof=1).sum()) * (1 + 1 / m) + copies.extra,
        accuracy=heads[0] if named else None,
        accuracy_error=heads[1] if named else None,
    )


def _row_counts(given: Mapping[str, Any]) -> set[Any]:
    counts = {np.shape(features)[:1] for features in given.values()}
    if len(counts) > 1:
        shapes = ", ".join(f"{name} {np.shape(features)}" for name, features in given.items())
        raise ValueError(f"representations must have the same rows; got shapes {shapes}")
    return counts


def _numbers(labels: Any, rows: int) -> FloatArray:
    """Return the labels of classes as ones and zeros."""
    kinds, codes = as_classes("labels", labels, rows)
    if len(kinds) < 2:
        raise ValueError(f"labels must be of two classes at least; got {kinds} alone")
    return one_hot(codes, len(kinds))


def _pools(given: Mapping[str, Any], labels: Any) -> dict[str, Pool]:
    """Return the rows of each representation; what is wrong with them is said by its name."""
    pools = {}
    for name, features in given.items():
        try:
            pools[str(name)] = Pool.of(features, labels, None, "given", None)
        except ValueError as error:
            said = str(error)
            if said.startswith("responses"):
                raise ValueError(f"labels{said.removeprefix('responses')}") from error
            raise ValueError(f"representations[{name!r}]: {said}") from error
    return pools


def _risks(
    pool: Pool, n: int, owner: NDArray[Any], left: list[NDArray[Any]]
) -> tuple[float, FloatArray]:
    """Return the risk of heads on n labels, and what it is without each part of the rows."""
    x, y = pool.x - pool.x.mean(axis=0), pool.y
    spread = np.abs(x).max(axis=0, initial=0.0)
    path = ridge_path(x[:, spread > 0], y, owner=owner)
    squares = np.square(path.residuals).sum(axis=2)
    alone = np.square(y - y.mean(axis=0)).sum(axis=1) * (len(y) / (len(y) - 1)) ** 2
    squares = np.vstack([squares, alone])

    sizes = n, max(len(y) - 1, 2)
    known: list[float] = []

    def risk(kept: NDArray[Any]) -> float:
        means = squares[:, kept].mean(axis=1)
        best = int(np.argmin(means))
        if best == len(squares) - 1:  # the mean alone: no theory is needed
            return float(means[best] * (1 + 1 / n) / (1 + 1 / (len(y) - 1)))
        moments = Moments.from_samples(pool.x[kept], y[kept])
        if len(known) < len(sizes):
            known[:] = [moments.optimal_ridge(m, intercept=True) for m in sizes]
        # Where the risk is least a little more or less ridge does not move it.
        order = "uniform" if kept.size == len(y) or 0.0 in known else 2
        there, here = (
            float(moments.parts(m, ridge, order, intercept=True).sum())
            for m, ridge in zip(sizes, known, strict=True)
        )
        return float(means[best]) * (there / here if here > 0 else 1.0)

    every = np.arange(len(y))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # said once, of all
        return risk(every), np.array([risk(np.delete(every, part)) for part in left])


def _warn_of_width(pools: Mapping[str, Pool], n: int) -> None:
    """Say where a pilot of fewer rows than n can't tell what a wide representation will gain."""
    rows = next(iter(pools.values())).x.shape[0]
    wide = [name for name, pool in pools.items() if pool.x.shape[1] > (rows - 1) // 2]
    if n > rows and wide:
        warn_caller(
            f"{rows} rows can't judge all directions of {', '.join(map(repr, wide))}: signal in "
            f"the rest counts as noise, and what {n} labels would gain from it is not seen"
        )
