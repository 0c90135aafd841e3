"""Which head to train, and how many labels it needs: the decision that a pilot can carry."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hmmtheory._bulk import Bulk
from hmmtheory._checks import (
    FloatArray,
    as_column,
    as_count,
    as_given,
    as_option,
    as_rng,
    check_order,
)
from hmmtheory.curves import RiskCurve
from hmmtheory.moments import ROWS, Moments
from hmmtheory.practice._estimator import fresh_head, require_sklearn
from hmmtheory.practice._labels import (
    PARTS,
    Goal,
    best_ridge,
    error_of,
    labels_for_accuracy,
    labels_for_risk,
)
from hmmtheory.practice.accuracy import Pilot
from hmmtheory.practice.apart import Apart
from hmmtheory.practice.classes import as_classes, one_hot
from hmmtheory.practice.copies import one_of_each, parts
from hmmtheory.practice.features import Pool, pool_sizes
from hmmtheory.theory import curve_of

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

#: Sizes that are tried if none are given.
_SIZES = 9
#: Heads with so many times the pilot's labels choose their ridge again.
_FAR = 3
#: Columns are unlike if one is so many times as long as another; other units are worth a word if
#: they save this share of the risk.
_UNLIKE, _WORTH = 100.0, 0.05
#: The jackknife needs so many different rows.
_LEAST = 4


@dataclass(frozen=True, eq=False)
class Recommendation:
    """The linear head to train, and what to expect of it.

    Attributes
    ----------
    n_samples : int
        n, the number of labels planned for.
    size : int
        The number of features to use: all, unless fewer are better by more than chance.
    ridge : float
        The predicted best penalty λ, scikit-learn's ``alpha``; infinite if the mean response is
        the best guess.
    risk, standard_error : float
        Predicted risk, and its standard error from having only N labelled rows: a jackknife
        over 20 groups of them that repeats the choice of the ridge.  A head from one draw of n
        labels scatters around the risk besides.
    baseline : float
        The risk of predicting the training mean.
    floor : float
        The risk of the best head of this size, with unlimited labels.
    label_variance : float
        The variance of the labels, summed over outputs.
    target : float or None
        The risk or accuracy asked for.
    labels_needed : int or None
        The fewest labels that reach the target; None if no number does.
    labels_interval : tuple of int or None
        A 90 % interval for it: where the band of the risk's own error meets the target.
    curve : RiskCurve
        Predicted risk of every size at its best penalty.
    estimator : sklearn.pipeline.Pipeline
        The head, fitted to the rows given: a ``RidgeCV``, or for classes a
        ``RidgeClassifierCV``, which ``estimator.fit`` refits to others.  It chooses its penalty
        around `ridge` by leave-one-out; it keeps `ridge` if the rows given are twice n, and so
        know more than n labels will, or if rows have copies, which mislead leave-one-out.
    notes : tuple of str
        What else should be known before labels are bought.
    """

    n_samples: int
    size: int
    ridge: float
    risk: float
    standard_error: float
    baseline: float
    floor: float
    label_variance: float
    target: float | None
    labels_needed: int | None
    labels_interval: tuple[int | None, int | None]
    curve: RiskCurve
    estimator: Pipeline
    notes: tuple[str, ...] = ()

    @property
    def r2(self) -> float:
        """The share of the labels' variance that the head explains."""
        return 1 - self.risk / self.label_variance

    def __repr__(self) -> str:
        return (
            f"Recommendation(n_samples={self.n_samples}, size={self.size}, "
            f"ridge={self.ridge:.3g}, risk={self.risk:.3g} ± {self.standard_error:.1g})"
        )

    def __str__(self) -> str:
        lines = [
            f"With {self.n_samples} labels: {self.size} features, ridge {self.ridge:.3g}.",
            f"Predicted risk {self.risk:.3g} ± {self.standard_error:.1g} (standard error); "
            f"{self.baseline:.3g} without features, {self.floor:.3g} with unlimited labels.",
        ]
        return "\n".join([*lines, *self.notes])


def recommend(
    features: Any,
    responses: Any,
    n_samples: int | None = None,
    target: float | None = None,
    sizes: Iterable[int] | ArrayLike | None = None,
    order: str = "given",
    rows: str = "elliptical",
    unlabelled: Any = None,
    rng: Any = 0,
    *,
    target_r2: float | None = None,
    target_accuracy: float | None = None,
    groups: Any = None,
) -> Recommendation:
    r"""Say which head to train on n labels, what it will cost, and how many labels reach a target.

    All features with the ridge of least predicted risk, unless a smaller size, chosen by one
    half of the rows, is better on the other half by more than the standard error of the
    difference (book: Chapter 13).

    Parameters
    ----------
    features, sizes, order, rows, unlabelled
        As :func:`.predict_risk`.
    responses : array_like, shape (N, q) or (N,)
        Their labels: numbers, or with `target_accuracy` classes.
    n_samples : int, optional
        n >= 2, the number of labels planned for; N if omitted.
    target, target_r2, target_accuracy : float, optional
        What to reach, one of: a risk, a share of the labels' variance in (0, 1), an accuracy in
        (0, 1), which makes the labels classes.
    rng : int, Generator, SeedSequence or None
        Groups the rows, and shuffles the features if ``order="random"``.
    groups : array_like, shape (N,), optional
        Whose row it is: the head will be judged on people it has not seen, and the rows of one
        are left out together.  The n labels count as rows of different people.

    Returns
    -------
    Recommendation

    Raises
    ------
    ImportError
        If scikit-learn 1.6 or later is not installed.
    ValueError
        As :func:`.predict_risk`, if all labels are the same, or if more than one target is given or
        it is out of range.

    Warns
    -----
    UserWarning
        As :func:`.predict_risk`, or if rows are copies of others: their labels are averaged.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((300, 10))
    >>> y = x.sum(axis=1) / 3 + rng.standard_normal(300)
    >>> head = recommend(x, y, n_samples=50, target_r2=0.4)
    >>> head.size, 20 < head.labels_needed < 80
    (10, True)
    """
    require_sklearn()
    goal, generator = Goal.of(target, target_r2, target_accuracy), as_rng(rng)
    classes = goal.kind == "accuracy"
    numbers = _as_numbers(features, responses) if classes else responses
    whole = pool = Pool.of(features, numbers, unlabelled, order, generator)
    n = pool.x.shape[0] if n_samples is None else as_count("n_samples", n_samples, minimum=2)
    checked, rows = pool_sizes(sizes, pool, _SIZES), as_option("rows", rows, ROWS)
    pool, copies, owner = pool.different(groups)
    _check_labels(pool)
    left = parts(owner, PARTS, generator)
    pilot = _Judge(pool, rows, copies.distinct(n), Apart.of(pool.x, pool.y, owner))
    curve = pilot.curve(checked)
    size = _choose(pilot, curve, left)
    pool.moments(size, rows)  # says once what is wrong with so small a pilot
    found, empty = pilot.moments(size), pilot.moments(0)
    ridge, risk = best_ridge(found, pilot.n)
    replicates = [pilot.without(part).moments(size) for part in left]
    risks = [best_ridge(one, pilot.n, ridge)[1] for one in replicates]
    if classes and goal.value is not None:
        kept = one_of_each(whole.place, whole.x.shape[0])
        seen = Pilot.of(whole.x[:, : size or None], responses, groups, kept)
        needed, interval, notes = labels_for_accuracy(goal.value, seen, n, generator)
    else:
        needed, interval, notes = labels_for_risk(goal, found, replicates, empty, ridge, copies)
    notes += _refit(pool.x.shape[0], pilot.n)
    notes += () if order == "variance" else _in_own_units(pilot, owner, size, risk)
    # Leave-one-out knows less than a pilot of more rows, and where rows have copies, or are one
    # person's, is misled: those that stay in know the label of the one left out.
    misled = copies.each > 1 or pilot.apart.harder > 1
    own, keep = copies.each * ridge, misled or 2 * n <= owner.size
    estimator = fresh_head(pool, order, size, own, features, classes, keep)
    return Recommendation(
        n_samples=n,
        size=size,
        ridge=own,
        risk=risk + copies.extra,
        standard_error=error_of(risks),
        baseline=float(empty.parts(pilot.n, intercept=True).sum()) + copies.extra,
        floor=float(np.trace(found.residual_covariance)) + copies.extra,
        label_variance=float(np.trace(empty.residual_covariance)) + copies.extra,
        target=goal.value,
        labels_needed=needed,
        labels_interval=interval,
        curve=copies.added_to(curve, n),
        estimator=_fitted(estimator, features, responses, not classes),
        notes=notes,
    )


def _check_labels(pool: Pool) -> None:
    if pool.x.shape[0] < _LEAST:
        raise ValueError(f"features must have at least {_LEAST} rows; got {pool.x.shape[0]}")
    if not np.ptp(pool.y, axis=0).any():
        raise ValueError("responses must vary; got the same values in every row")


def _refit(rows: int, n: int) -> tuple[str, ...]:
    if n < _FAR * rows:
        return ()
    return (f"Refit when the labels are in: {rows} rows know this ridge only roughly.",)


def _in_own_units(pilot: _Judge, owner: NDArray[Any], size: int, risk: float) -> tuple[str, ...]:
    """Say what a head would cost on columns of one length, where theirs are far apart."""
    pool, lengths = pilot.pool, pilot.pool.x.std(axis=0)
    lengths = np.where(lengths > 0, lengths, lengths.max(initial=0.0))
    if isinstance(pool.unlabelled, Bulk) or lengths.max(initial=0.0) <= _UNLIKE * lengths.min(
        initial=np.inf
    ):
        return ()
    scaled = pool._replace(x=pool.x / lengths, unlabelled=pool.unlabelled / lengths)
    judge = pilot._replace(pool=scaled, apart=Apart.of(scaled.x, scaled.y, owner))
    found = best_ridge(judge.moments(size), judge.n)[1]
    if found > (1 - _WORTH) * risk:
        return ()
    ratio = f"{lengths.max() / lengths.min():.1g}"
    return (
        f"Columns are up to {ratio} times as long as others, and a ridge hardly sees the short "
        f"ones: divided by their standard deviations they would give {found:.3g}.",
    )


def _fitted(estimator: Any, features: Any, responses: Any, numeric: bool) -> Any:
    answers = as_given("responses", responses) if numeric else as_column("responses", responses)
    answers = answers if numeric or answers.ndim == 1 else answers.ravel()
    return estimator.fit(as_given("features", features), answers)


def forecast(
    features: Any, responses: Any, n_samples: int, rng: Any = 0, groups: Any = None
) -> tuple[float, float]:
    """Return the predicted risk of a head on all features with its best ridge, and its error.

    Parameters
    ----------
    features, responses, n_samples, rng, groups
        As :func:`.recommend`.

    Returns
    -------
    tuple of float
        As :class:`.Recommendation`'s ``risk`` and ``standard_error``.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((300, 10))
    >>> risk, error = forecast(x, x.sum(axis=1) / 3 + rng.standard_normal(300), 50)
    >>> 1.0 < risk < 1.6, 0.02 < error / risk < 0.2
    (True, True)
    """
    pool = Pool.of(features, responses, None, "given", rng)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # diagnose says it in its own words
        pool, copies, owner = pool.different(groups)
    apart = Apart.of(pool.x, pool.y, owner)
    judge = _Judge(pool, "elliptical", copies.distinct(n_samples), apart)
    size = pool.x.shape[1]
    ridge, risk = best_ridge(judge.moments(size), judge.n)
    left = parts(owner, PARTS, as_rng(rng))
    others = (judge.without(part).moments(size) for part in left)
    return risk + copies.extra, error_of(best_ridge(one, judge.n, ridge)[1] for one in others)


class _Judge(NamedTuple):
    """A pool, judged for n labels."""

    pool: Pool
    rows: str
    n: int
    apart: Apart
    left: NDArray[Any] | tuple[()] = ()

    def moments(self, size: int) -> Moments:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # said once, of the whole pilot
            found = self.pool.moments(size, self.rows)
        return self.apart.moments(found, self.pool.x.shape[0], self.left)

    def without(self, part: NDArray[Any]) -> _Judge:
        return self._replace(pool=self.pool.without(part), left=part)

    def curve(self, sizes: NDArray[np.int64], order: int | str = "uniform") -> RiskCurve:
        found = (self.moments(int(p)) for p in sizes)
        return curve_of(found, sizes, self.n, "optimal", order, intercept=True, label="predicted")


def _as_numbers(features: Any, classes: Any) -> FloatArray:
    """Return classes as a column each."""
    check_order("responses", classes, features)
    names, codes = as_classes("responses", classes)
    if len(names) < 2:
        raise ValueError(f"responses must hold at least 2 classes; got only {names[0]!r}")
    return one_hot(codes, len(names))


def _choose(pilot: _Judge, curve: RiskCurve, left: list[NDArray[Any]]) -> int:
    """Return the largest size, or a smaller one that rows which did not choose it prefer."""
    sizes, largest = curve.sizes, int(curve.sizes[-1])
    best = int(sizes[np.argmin(curve.risk)])
    if best == largest or len(left) < 4:
        return largest
    halves = [np.concatenate(left[k::2]) for k in (0, 1)]
    if min(pilot.pool.x.shape[0] - half.size for half in halves) < 8:
        return largest

    assert curve.ridges is not None
    known = dict(zip(sizes.tolist(), curve.ridges.tolist(), strict=True))

    def gain(judge: _Judge, size: int) -> float:
        risks = [best_ridge(judge.moments(p), pilot.n, known[p])[1] for p in (largest, size)]
        return risks[0] - risks[1]

    judges = [pilot.without(half) for half in halves]
    favourites = [int(sizes[np.argmin(judge.curve(sizes, 2).risk)]) for judge in judges]
    crossed = [gain(judge, size) for judge, size in zip(judges, favourites[::-1], strict=True)]
    error = error_of(gain(pilot.without(part), best) for part in left)
    wins = min(crossed) > 0 and np.mean(crossed) > error and gain(pilot, best) > error
    return best if wins else largest
