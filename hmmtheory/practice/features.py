"""Your own frozen features: predict, check and choose a linear head before buying labels."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import ArrayLike, NDArray

from hmmtheory._checks import (
    FloatArray,
    as_array,
    as_count,
    as_flag,
    as_jobs,
    as_number,
    as_option,
    as_rng,
    as_rows,
    as_sizes,
    as_unlabelled,
    spawn,
)
from hmmtheory._linalg import centre, predict, principal_directions
from hmmtheory._trials import one_blas_thread
from hmmtheory.curves import RiskCurve
from hmmtheory.moments import ROWS, Moments
from hmmtheory.theory import curve_of

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

ORDERS = ("given", "variance", "random")
#: Groups of rows that the jackknife leaves out in turn.
_JACKKNIFE_GROUPS = 20
#: A risk that so many labels do not reach is out of reach.
_MOST_LABELS = 10**9


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
) -> RiskCurve:
    r"""Predict the risk of a linear head that will be trained on n labels (book: Chapter 11).

    The moments of the samples (:meth:`.Population.from_samples`) go into :func:`.head_risk`'s
    theory; nothing is trained.  An intercept (centring by the training means) leaves n - 1
    labels for the slopes and multiplies the risk by 1 + 1/n (Proposition 12.1, exact for
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
        all rows, or the first p after a shuffle.
    rows : {"elliptical", "gaussian"}
        Whether unequal row scales are taken into account (:func:`.elliptical_factors`).
    intercept : bool
        False if both means are known, so that all n labels train the slopes.
    unlabelled : array_like, shape (M, P), optional
        Feature rows without labels, which make the moments of the features more accurate.
    rng : int, Generator, SeedSequence or None
        Shuffles the features if ``order="random"``.

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
        If there are fewer than two labelled rows a feature (:meth:`.Population.from_samples`).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((2000, 40))
    >>> y = x @ rng.standard_normal((40, 1)) / 40**0.5 + rng.standard_normal((2000, 1))
    >>> predict_risk(x, y, n_samples=100, sizes=[0, 20, 40]).risk.round(1).tolist()
    [2.0, 2.1, 1.7]
    """
    pool = _Pool.of(features, responses, unlabelled, order, rng)
    n = as_count("n_samples", n_samples, minimum=2 if as_flag("intercept", intercept) else 1)
    if not (isinstance(ridge, str) and ridge == "optimal"):
        ridge = as_number("ridge", ridge, minimum=0.0, allow_infinite=True)
    checked, rows = _as_pool_sizes(sizes, pool), as_option("rows", rows, ROWS)
    moments = (pool.moments(int(p), rows) for p in checked)
    return curve_of(moments, checked, n, ridge, intercept=intercept, label="predicted")


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
) -> RiskCurve:
    r"""Measure what :func:`.predict_risk` predicts, by training heads on subsets of the rows.

    Each trial draws n of the N rows without replacement, trains the head of every size, and
    takes its mean squared error on the N - n rows left out.

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

    Returns
    -------
    RiskCurve
        Means over trials with standard errors; a single draw scatters by the standard error
        times the square root of `n_trials`.

    Raises
    ------
    ValueError
        As :func:`.predict_risk`, or if n >= N.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((500, 10))
    >>> y = x[:, :1] + rng.standard_normal((500, 1))
    >>> resample_risk_curve(x, y, 30, [0, 5, 10], n_trials=5, rng=1)
    RiskCurve(3 sizes from 0 to 10, n_samples=30, ridge=0, 5 trials)
    """
    generator = as_rng(rng)
    pool = _Pool.of(features, responses, None, order, generator)
    low = 2 if as_flag("intercept", intercept) else 1
    n = as_count("n_samples", n_samples, minimum=low, maximum=pool.x.shape[0] - 1)
    trials = as_count("n_trials", n_trials)
    jobs = as_jobs(n_jobs)
    checked = _as_pool_sizes(sizes, pool)
    penalties = as_array("ridge", ridge, finite=False)
    if penalties.shape not in ((), checked.shape) or not (penalties >= 0).all():
        raise ValueError(
            f"ridge must be one number >= 0 or one for each of {checked.size} sizes; got {ridge!r}"
        )
    penalties = np.broadcast_to(penalties, checked.shape)
    x, y = (pool.x, pool.y) if intercept else (centre(pool.x), centre(pool.y))
    work = _Resampling(x, y, n, checked, penalties, intercept)
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


@dataclass(frozen=True, eq=False)
class Recommendation:
    """The linear head of least predicted risk, and what to expect of it.

    Attributes
    ----------
    n_samples : int
        n, the number of labels planned for.
    size : int
        The number of features to use.
    ridge : float
        The penalty λ, scikit-learn's ``alpha``; infinite if the mean response is the best guess.
    risk, standard_error : float
        Predicted risk, and its standard error from having only N labelled rows: a jackknife
        over 20 groups of them.  It is cautious, 1.05 to 1.25 times the scatter between
        synthetic pilots, more where N is small beside the number of features (empirical); more
        groups make it steadier, not smaller.  A head from one draw of n labels scatters
        around the risk besides.
    baseline : float
        The risk of predicting the training mean.
    floor : float
        The risk of the best head of any size tried, with unlimited labels.
    target : float or None
        The risk asked for.
    labels_needed : int or None
        The fewest labels whose predicted risk reaches the target; None if no number does.
    labels_interval : tuple of int or None
        The same for a predicted risk lower and higher by 1.96 standard errors.
    curve : RiskCurve
        Predicted risk of every size at its best penalty.
    estimator : sklearn.pipeline.Pipeline
        The recommended head, fitted to the rows given.  ``estimator.fit`` refits it to others;
        which features it reads stays.
    """

    n_samples: int
    size: int
    ridge: float
    risk: float
    standard_error: float
    baseline: float
    floor: float
    target: float | None
    labels_needed: int | None
    labels_interval: tuple[int | None, int | None]
    curve: RiskCurve
    estimator: Pipeline

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
        if self.target is not None and self.labels_needed is None:
            lines.append(f"No number of labels brings the risk to {self.target:.3g}.")
        elif self.target is not None:
            low, high = (
                "more than any number" if count is None else str(count)
                for count in self.labels_interval
            )
            lines.append(
                f"A risk of {self.target:.3g} needs {self.labels_needed} labels "
                f"(95 % interval {low} to {high})."
            )
        return "\n".join(lines)


def recommend(
    features: Any,
    responses: Any,
    n_samples: int | None = None,
    target: float | None = None,
    sizes: Iterable[int] | ArrayLike | None = None,
    order: str = "variance",
    rows: str = "elliptical",
    unlabelled: Any = None,
    rng: Any = None,
) -> Recommendation:
    r"""Choose the size and ridge of least predicted risk for n labels (book: Chapter 12).

    Of sizes with the same predicted risk the smallest is taken.  With ``order="variance"`` ties
    are common and harmless: N rows judge no more than N/2 components, so that more of them add
    nothing to the prediction.

    Parameters
    ----------
    features, responses, sizes, order, rows, unlabelled
        As :func:`.predict_risk`.
    n_samples : int, optional
        n >= 2, the number of labels planned for; N if omitted.
    target : float, optional
        A risk to reach: how many labels does it need?
    rng : int, Generator, SeedSequence or None
        Shuffles the features if ``order="random"``, and groups the rows for the jackknife.

    Returns
    -------
    Recommendation

    Raises
    ------
    ImportError
        If scikit-learn 1.6 or later is not installed.
    ValueError
        As :func:`.predict_risk`, or if `target` is not positive.

    Warns
    -----
    UserWarning
        As :func:`.predict_risk`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((500, 10))
    >>> y = x[:, 0] + rng.standard_normal(500)
    >>> head = recommend(x, y, n_samples=50, order="given", rng=1)
    >>> head.size, head.estimator.predict(x).shape
    (1, (500,))
    """
    _import_sklearn()
    generator = as_rng(rng)
    pool = _Pool.of(features, responses, unlabelled, order, generator)
    n = pool.x.shape[0] if n_samples is None else as_count("n_samples", n_samples, minimum=2)
    if target is not None:
        target = as_number("target", target, minimum=0.0, open_minimum=True)
    checked, rows = _as_pool_sizes(sizes, pool), as_option("rows", rows, ROWS)
    moments = [pool.moments(int(p), rows) for p in checked]
    curve = curve_of(moments, checked, n, "optimal", intercept=True, label="predicted")
    best = int(np.argmin(curve.risk))
    assert curve.ridges is not None
    size, ridge, risk = int(checked[best]), float(curve.ridges[best]), float(curve.risk[best])

    groups = np.array_split(
        generator.permutation(pool.x.shape[0]), min(_JACKKNIFE_GROUPS, pool.x.shape[0] // 2)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # smaller pilots than the user's
        replicates = [
            pool.without(group).moments(size, rows).parts(n, ridge, intercept=True).sum()
            for group in groups
        ]
    count = len(groups)
    error = float(np.sqrt((count - 1) * np.var(replicates))) if count > 1 else float("nan")

    needed: int | None = None
    interval: tuple[int | None, int | None] = (None, None)
    if target is not None:
        # The best penalty hardly depends on n (Theorem 7.1): one for each size will do.
        penalties = curve.ridges

        def reached(labels: int, factor: float) -> bool:
            risks = [
                found.parts(labels, float(lam), intercept=True).sum()
                for found, lam in zip(moments, penalties, strict=True)
            ]
            return bool(factor * min(risks) <= target)

        relative = 1.96 * error / risk if np.isfinite(error) and risk > 0 else 0.0
        needed = _fewest(lambda labels: reached(labels, 1.0))
        interval = (
            _fewest(lambda labels: reached(labels, max(1.0 - relative, 0.0))),
            _fewest(lambda labels: reached(labels, 1.0 + relative)),
        )
    return Recommendation(
        n_samples=n,
        size=size,
        ridge=ridge,
        risk=risk,
        standard_error=error,
        baseline=float(pool.moments(0, rows).parts(n, intercept=True).sum()),
        floor=min(float(np.trace(found.residual_covariance)) for found in moments),
        target=target,
        labels_needed=needed,
        labels_interval=interval,
        curve=curve,
        estimator=_estimator(pool, order, size, ridge, features).fit(features, responses),
    )


class _Pool(NamedTuple):
    """Labelled rows and unlabelled features, in the order that nests them."""

    x: FloatArray
    y: FloatArray
    unlabelled: FloatArray
    transform: Any  # columns (int array), or the mean and directions of the components

    @classmethod
    def of(cls, features: Any, responses: Any, unlabelled: Any, order: Any, rng: Any) -> _Pool:
        x, y = as_rows(features, responses)
        extra = as_unlabelled(unlabelled, features)
        order = as_option("order", order, ORDERS)
        if order == "variance":
            rows = np.vstack([x, extra])
            mean = rows.mean(axis=0)
            directions = principal_directions(rows - mean)[1]
            return cls((x - mean) @ directions, y, (extra - mean) @ directions, (mean, directions))
        columns = np.arange(x.shape[1])
        if order == "random":
            columns = as_rng(rng).permutation(columns)
        return cls(x[:, columns], y, extra[:, columns], columns)

    @property
    def n_features(self) -> int:
        """The number of features given, of which there may be fewer components."""
        transform = self.transform
        return int((transform[0] if isinstance(transform, tuple) else transform).size)

    def without(self, group: NDArray[np.int64]) -> _Pool:
        """Return the pool without the labels of a group of rows, or their features."""
        return self._replace(x=np.delete(self.x, group, 0), y=np.delete(self.y, group, 0))

    def moments(self, size: int, rows: str) -> Moments:
        """Return the moments of the first `size` features."""
        return Moments.from_samples(
            self.x[:, :size],
            self.y,
            self.unlabelled[:, :size] if len(self.unlabelled) else None,
            rows,
        )


def _as_pool_sizes(sizes: Any, pool: _Pool) -> NDArray[np.int64]:
    largest = pool.x.shape[1]
    if sizes is None:
        steps = np.geomspace(1, max(largest, 1), 25).round().astype(int)
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


def _resample(work: _Resampling, rng: np.random.Generator) -> FloatArray:
    """Return one draw's mean squared error on the rows left out (k, q)."""
    rows = work.x.shape[0]
    picked = rng.choice(rows, work.n, replace=False)
    others = np.ones(rows, dtype=bool)
    others[picked] = False
    x, y, new_x, new_y = work.x[picked], work.y[picked], work.x[others], work.y[others]
    found = np.empty((work.sizes.size, y.shape[1]))
    with one_blas_thread():
        for k, (p, lam) in enumerate(zip(work.sizes.tolist(), work.ridges.tolist(), strict=True)):
            said = predict(x[:, :p], y, new_x[:, :p], lam, work.intercept)
            # Judged by residuals: sums of squares and products would cancel.
            found[k] = np.square(new_y - said).mean(axis=0)
    return found


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


def _import_sklearn() -> None:
    try:
        import sklearn.frozen  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "recommend needs scikit-learn 1.6 or later: pip install 'hmmtheory[practice]'"
        ) from error


def _estimator(pool: _Pool, order: str, size: int, ridge: float, features: Any) -> Any:
    """Return the unfitted head; its choice of features does not depend on the rows it fits."""
    from sklearn.compose import ColumnTransformer
    from sklearn.decomposition import PCA
    from sklearn.dummy import DummyRegressor
    from sklearn.frozen import FrozenEstimator
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline

    if size == 0 or np.isinf(ridge):
        return make_pipeline(DummyRegressor(strategy="mean"))
    if order == "variance":
        mean, directions = pool.transform
        components = PCA(n_components=size)
        components.mean_, components.components_ = mean, directions[:, :size].T
        components.n_components_, components.n_features_in_ = size, mean.size
        names = list(getattr(features, "columns", []))
        if names and all(isinstance(name, str) for name in names):
            components.feature_names_in_ = np.array(names, dtype=object)
        rows = np.vstack([pool.x, pool.unlabelled])[:, :size]
        components.explained_variance_ = rows.var(axis=0, ddof=1)
        select: Any = FrozenEstimator(components)
    else:
        select = ColumnTransformer([("first", "passthrough", pool.transform[:size].tolist())])
    return make_pipeline(select, Ridge(alpha=ridge))
