"""Your own frozen features: predict, check and choose a linear head before buying labels."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import ArrayLike, NDArray

from hmmtheory._bulk import Bulk, as_bulk, joined, take, turned
from hmmtheory._checks import (
    FloatArray,
    as_array,
    as_count,
    as_flag,
    as_jobs,
    as_option,
    as_ridge,
    as_rng,
    as_rows,
    as_sizes,
    spawn,
)
from hmmtheory._linalg import centre, predict, principal_directions
from hmmtheory._trials import one_blas_thread
from hmmtheory.curves import RiskCurve
from hmmtheory.moments import ROWS, Moments
from hmmtheory.practice.apart import Apart
from hmmtheory.practice.copies import Copies, owners, places
from hmmtheory.theory import curve_of

ORDERS = ("given", "variance", "random")


def predict_risk(
    features: Any,
    responses: Any,
    n_samples: int,
    sizes: Iterable[int] | ArrayLike | None = None,
    ridge: float | str = 0.0,
    order: str = "given",
    rows: str = "elliptical",
    intercept: bool = True,
    unlabelled: Any = None,
    rng: Any = None,
    groups: Any = None,
) -> RiskCurve:
    r"""Predict the risk of a linear head that will be trained on n labels (book: Chapter 15).

    The moments of the samples (:meth:`.Population.from_samples`) go into :func:`.head_risk`'s
    theory; nothing is trained.  An intercept (centring by the training means) leaves n - 1
    labels for the slopes and multiplies the risk by 1 + 1/n (Proposition 13.1, exact for
    Gaussian rows).  Empirical for real features: :func:`.resample_risk_curve` measures how wrong
    it is, :func:`.diagnose` says why.

    Parameters
    ----------
    features : array_like, shape (N, P)
        Frozen features of labelled rows, an array or a DataFrame.
    responses : array_like, shape (N, q) or (N,)
        Their labels.
    n_samples : int
        n, the number of labels of the head to come; N does not limit it.
    sizes : sequence of int, optional
        Strictly increasing numbers of features within [0, P]; some 25 if omitted.  Components
        there are only as many as the rows span directions, fewer than P if rows are few:
        a larger size is an error with ``order="variance"``.
    ridge : float or "optimal"
        :math:`\lambda \ge 0`, scikit-learn's ``alpha``, or the best for each size.
    order : {"given", "variance", "random"}
        Which features a head of size p sees: the first p, the first p principal components of
        all rows, or the first p after a shuffle.  Components vary most on the very rows that judge
        them: with few rows, and none unlabelled, sizes next to n look better than they are.
    rows : {"elliptical", "gaussian"}
        Whether unequal row scales are taken into account (:func:`.elliptical_factors`).
    intercept : bool
        False if both means are known, so that all n labels train the slopes.
    unlabelled : array_like, shape (M, P), optional
        Feature rows without labels, which make the moments of the features more accurate.  Also
        what is larger than memory: a memory map, a Dask array, the path of a .npy or .parquet
        file, an iterator of tables; read in one pass.
    rng : int, Generator, SeedSequence or None
        Shuffles the features if ``order="random"``.
    groups : array_like, shape (N,), optional
        Whose row it is: the head will be judged on people it has not seen, and what one person's
        rows have in common beyond the features counts as noise.  The n labels count as rows of
        different people (or, with n = N, of these): from few people they are worth fewer, as
        :func:`.resample_risk_curve` shows.

    Returns
    -------
    RiskCurve
        With parts and per-output risks, in units of y²; `ridges` if they are optimal.

    Raises
    ------
    ValueError
        If an array is not finite, lengths differ, a size is outside [0, P] or beyond the
        components, n < 1 (2 with an intercept), `ridge` < 0, or an option is unknown.

    Warns
    -----
    UserWarning
        If there are fewer than two labelled rows a feature (:meth:`.Population.from_samples`),
        or if rows repeat: the labels of equal rows are averaged, n labels are as many fewer rows.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((2000, 40))
    >>> y = x @ rng.standard_normal((40, 1)) / 40**0.5 + rng.standard_normal((2000, 1))
    >>> predict_risk(x, y, n_samples=100, sizes=[0, 20, 40]).risk.round(1).tolist()
    [2.0, 2.1, 1.7]
    """
    pool = Pool.of(features, responses, unlabelled, order, rng)
    n = as_count("n_samples", n_samples, minimum=2 if as_flag("intercept", intercept) else 1)
    if not (isinstance(ridge, str) and ridge == "optimal"):
        ridge = as_ridge(ridge)
    checked, rows = pool_sizes(sizes, pool), as_option("rows", rows, ROWS)
    pool, copies, owner = pool.different(groups)
    apart, count = Apart.of(pool.x, pool.y, owner, plain=ridge == 0.0), pool.x.shape[0]
    moments = (apart.moments(pool.moments(int(p), rows), count) for p in checked)
    penalty = ridge if isinstance(ridge, str) else ridge / copies.each
    m = copies.distinct(n)
    curve = curve_of(moments, checked, m, penalty, intercept=intercept, label="predicted")
    return copies.added_to(curve, n)


def resample_risk_curve(
    features: Any,
    responses: Any,
    n_samples: int,
    sizes: Iterable[int] | ArrayLike | None = None,
    n_trials: int = 100,
    ridge: float | ArrayLike = 0.0,
    order: str = "given",
    intercept: bool = True,
    rng: Any = None,
    n_jobs: int | None = 1,
    groups: Any = None,
) -> RiskCurve:
    r"""Measure what :func:`.predict_risk` predicts, by training heads on subsets of the rows.

    Each trial draws n of the N rows without replacement, trains the head of every size, and
    takes its mean squared error on the rows left out.  Where rows repeat, or have groups, the
    draw takes one after the other with all its rows, the last as far as n goes, and no head is
    judged on rows of those it has seen.

    Parameters
    ----------
    features, responses, sizes, order, intercept
        As :func:`.predict_risk`.  Without an intercept both sides are centred by the means of
        all rows.
    n_samples : int
        n < N, the number of labels of each head.
    n_trials : int
        Number of draws.
    ridge : float or array_like, shape (k,)
        :math:`\lambda \ge 0`, for all sizes or for each.
    rng : int, Generator, SeedSequence or None
        Draws the rows; shuffles the features first if ``order="random"``, in the same way as
        :func:`.predict_risk` given the same seed.
    n_jobs : int or None
        Processes, as joblib counts them; None takes them from ``joblib.parallel_config``.  The
        result is the same for every value.
    groups : array_like, shape (N,), optional
        Whose row it is; without groups, copies of one row make one.

    Returns
    -------
    RiskCurve
        Means over trials with standard errors; a single draw scatters by the standard error
        times the square root of `n_trials`.

    Raises
    ------
    ValueError
        As :func:`.predict_risk`, or if n labels leave no row to judge by.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((500, 10))
    >>> y = x[:, :1] + rng.standard_normal((500, 1))
    >>> resample_risk_curve(x, y, 30, [0, 5, 10], n_trials=5, rng=1)
    RiskCurve(3 sizes from 0 to 10, n_samples=30, ridge=0, 5 trials)
    """
    generator = as_rng(rng)
    pool = Pool.of(features, responses, None, order, generator)
    low = 2 if as_flag("intercept", intercept) else 1
    owner = pool.place if groups is None else owners(groups, pool.x.shape[0])
    largest = 1 if owner is None else int(np.bincount(owner).max())
    n = as_count("n_samples", n_samples, minimum=low, maximum=pool.x.shape[0] - largest)
    trials = as_count("n_trials", n_trials)
    jobs = as_jobs(n_jobs)
    checked = pool_sizes(sizes, pool)
    penalties = as_array("ridge", ridge, finite=False)
    if penalties.shape not in ((), checked.shape) or not (penalties >= 0).all():
        raise ValueError(
            f"ridge must be one number >= 0 or one for each of {checked.size} sizes; got {ridge!r}"
        )
    penalties = np.broadcast_to(penalties, checked.shape)
    x, y = (pool.x, pool.y) if intercept else (centre(pool.x), centre(pool.y))
    work = _Resampling(x, y, n, checked, penalties, intercept, owner)
    draws = np.array(
        Parallel(n_jobs=jobs)(delayed(_resample)(work, child) for child in spawn(generator, trials))
    )
    totals = draws.sum(axis=2)
    missing = np.full(checked.size, np.nan)
    error = totals.std(axis=0, ddof=1) / np.sqrt(trials) if trials > 1 else missing
    return RiskCurve(
        sizes=checked,
        risk=totals.mean(axis=0),
        standard_error=error,
        per_output=draws.mean(axis=0),
        n_samples=n,
        ridge=float(penalties[0]) if np.ndim(ridge) == 0 else 0.0,
        ridges=None if np.ndim(ridge) == 0 else penalties,
        n_trials=trials,
        label="measured",
    )


class Pool(NamedTuple):
    """Labelled rows and unlabelled features, in the order that nests them."""

    x: FloatArray
    y: FloatArray
    unlabelled: FloatArray | Bulk
    transform: Any  # columns (int array), or the mean and directions of the components
    place: NDArray[Any] | None  # of each row among the different ones, where there are copies

    @classmethod
    def of(cls, features: Any, responses: Any, unlabelled: Any, order: Any, rng: Any) -> Pool:
        """Check the arrays and put the features in order."""
        x, y = as_rows(features, responses)
        extra = as_bulk(unlabelled, features)
        order = as_option("order", order, ORDERS)
        place = places(x)
        if order == "variance":
            mean, centred, count = joined(x, extra)
            directions = principal_directions(centred, count)[1]
            rows = turned(extra, mean, directions)
            return cls((x - mean) @ directions, y, rows, (mean, directions), place)
        columns = np.arange(x.shape[1])
        if order == "random":
            columns = as_rng(rng).permutation(columns)
        return cls(x[:, columns], y, take(extra, columns), columns, place)

    @property
    def n_features(self) -> int:
        """The number of features given, of which there may be fewer components."""
        transform = self.transform
        return int((transform[0] if isinstance(transform, tuple) else transform).size)

    def of_rows(self, copies: Copies) -> Pool:
        """Return the pool of the different rows alone."""
        return self._replace(x=self.x[copies.rows], y=copies.y, place=None)

    def different(self, groups: Any = None) -> tuple[Pool, Copies, NDArray[Any]]:
        """Return the pool without copies, what they were, and whose each row is."""
        copies = Copies.of(self.place, self.y)
        return self.of_rows(copies), copies, owners(groups, self.x.shape[0])[copies.rows]

    def without(self, group: NDArray[Any]) -> Pool:
        """Return the pool without the labels of a group of rows, or their features."""
        return self._replace(x=np.delete(self.x, group, 0), y=np.delete(self.y, group, 0))

    def moments(self, size: int, rows: str) -> Moments:
        """Return the moments of the first `size` features."""
        more = take(self.unlabelled, slice(size))
        return Moments.from_samples(self.x[:, :size], self.y, more, rows)


def pool_sizes(sizes: Any, pool: Pool, count: int = 25) -> NDArray[np.int64]:
    """Return sizes, or about `count` of them, of which none is beyond the pool's features."""
    largest = pool.x.shape[1]
    if sizes is None:
        steps = np.geomspace(1, max(largest, 1), count).round().astype(int)
        sizes = np.unique(np.append(steps, 0).clip(max=largest))
    checked = as_sizes(sizes, max(largest, pool.n_features))
    if checked[-1] > largest:
        raise ValueError(
            f"sizes must be at most {largest} with order='variance', since features span only "
            f"{largest} directions; got {checked[-1]}"
        )
    return checked


class _Resampling(NamedTuple):
    x: FloatArray
    y: FloatArray
    n: int
    sizes: NDArray[np.int64]
    ridges: FloatArray
    intercept: bool
    owner: NDArray[Any] | None


def _resample(work: _Resampling, rng: np.random.Generator) -> FloatArray:
    """Return one draw's mean squared error on the rows left out (k, q)."""
    rows = work.x.shape[0]
    if work.owner is None:
        picked = rng.choice(rows, work.n, replace=False)
        others = np.ones(rows, dtype=bool)
        others[picked] = False
    else:
        turn = rng.permutation(int(work.owner.max()) + 1)[work.owner]
        picked = np.argsort(turn, kind="stable")[: work.n]
        others = turn > turn[picked[-1]]
    x, y, new_x, new_y = work.x[picked], work.y[picked], work.x[others], work.y[others]
    found = np.empty((work.sizes.size, y.shape[1]))
    with one_blas_thread():
        for k, (p, lam) in enumerate(zip(work.sizes.tolist(), work.ridges.tolist(), strict=True)):
            said = predict(x[:, :p], y, new_x[:, :p], lam, work.intercept)
            # Judged by residuals: sums of squares and products would cancel.
            found[k] = np.square(new_y - said).mean(axis=0)
    return found
