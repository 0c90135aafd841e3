"""Monte Carlo: heads trained on sampled examples, judged by the exact population risk."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hmmtheory._checks import (
    FloatArray,
    as_a,
    as_count,
    as_jobs,
    as_number,
    as_option,
    as_rng,
    as_sizes,
    spawn,
)
from hmmtheory._linalg import column_lengths, covariance_spectrum, powers_of_two, thin_svd
from hmmtheory._nested import Columns, NestedFit, nested_conditional, nested_path
from hmmtheory._trials import Tally, delayed, one_blas_thread, workers
from hmmtheory.curves import RiskCurve
from hmmtheory.gaussian_hmm import GaussianHMM, symmetric_root
from hmmtheory.heads import fit_head
from hmmtheory.moments import Risk
from hmmtheory.population import Population
from hmmtheory.representations import LinearResponse, Representation
from hmmtheory.tasks import DESIGNS, GaussianTask

ESTIMATORS = ("auto", "conditional", "plain")
#: Below this feature noise, relative to the signal, features are treated as collinear.
_COLLINEAR = 1e-6
#: Noise below this share of the signal is lost in a Gram matrix.
_STEEP = 1e-3
#: Lengths of features that differ by more than this leave nothing of the short in sums of squares.
_UNLIKE = 1e5
#: Lengths of features that spread further than this are units.
_GRADED = 1e2


@dataclass(frozen=True, eq=False)
class SimulatedRisk:
    """Monte Carlo risk of trained heads at one size, with standard errors.

    Attributes
    ----------
    matrix, standard_error : ndarray, shape (q, q)
        Mean exact risk matrix of the trained heads, and its standard error.
    total, total_standard_error : float
        The trace of `matrix` and its standard error.
    parts : Risk
        Noise, and bias and variance averaged over the features alone (the average over the
        labels given the features is closed-form).
    bias_standard_error, variance_standard_error : float
        Standard errors of the traces of the two parts.
    """

    matrix: FloatArray
    standard_error: FloatArray
    total: float
    total_standard_error: float
    parts: Risk
    bias_standard_error: float
    variance_standard_error: float

    def __repr__(self) -> str:
        return f"SimulatedRisk(total={self.total:.4g} ± {self.total_standard_error:.2g})"


def simulate_head_risk(
    population: Population,
    n_samples: int,
    n_trials: int,
    ridge: float = 0.0,
    rng: Any = None,
    sampler: Callable[[int, np.random.Generator], tuple[FloatArray, FloatArray]] | None = None,
) -> SimulatedRisk:
    r"""Train heads on independent examples of a population, and measure their risk.

    Each trial draws X and Y, fits :func:`.fit_head`'s head, and evaluates its exact risk; no test
    set.  The independent check of :func:`.head_risk`.

    Parameters
    ----------
    population : Population
        Moments of features and response.
    n_samples, n_trials : int
        n >= 1, and the number of training draws, >= 2.
    ridge : float
        :math:`\lambda \ge 0`.
    rng : int, Generator, SeedSequence or None
        Passed to `numpy.random.default_rng`.
    sampler : callable, optional
        ``sampler(n, rng)`` returns features (n, p) and responses (n, q) drawn from the
        population, centred; Gaussian examples if omitted.

    Returns
    -------
    SimulatedRisk
        For rows that are not Gaussian, `parts` describes responses with the noise Ω given the
        features; the total needs no such assumption.

    Raises
    ------
    ValueError
        If a count is too small, `ridge` < 0, or `sampler` returns other shapes.
    """
    n = as_count("n_samples", n_samples)
    trials = as_count("n_trials", n_trials, minimum=2)
    lam = as_number("ridge", ridge, minimum=0.0)
    generator = as_rng(rng)
    covariance, head, omega = (
        as_a("Population", "population", population).feature_covariance,
        population.head,
        population.residual_covariance,
    )
    # Symmetric roots, unlike eigenvectors, are unique: the draws are the same on every machine.
    noise_root = symmetric_root(omega)
    own, units = powers_of_two(np.sqrt(np.diag(covariance))), np.ones(population.n_features)
    full = sampler is None and population.spectrum[0].size == population.n_features < n
    if lam == 0.0 and full:  # draws have full rank: units mean nothing, and cost digits
        feature_root = symmetric_root(covariance) / own
        covariance, head = covariance / np.outer(own, own), head * own[:, None]
    elif own.max(initial=0.0) > _GRADED * own.min(initial=np.inf):
        units = own
        values, vectors = covariance_spectrum(covariance / np.outer(own, own))
        feature_root = (vectors * np.sqrt(values)) @ vectors.T
    else:
        feature_root = symmetric_root(covariance)
    q = population.n_outputs
    matrices, biases = np.empty((2, trials, q, q))
    gains = np.empty(trials)
    with one_blas_thread():
        for trial in range(trials):
            if sampler is None:
                x = generator.standard_normal((n, population.n_features)) @ feature_root * units
                y = x @ head + generator.standard_normal((n, q)) @ noise_root
            else:
                x, y = _drawn(sampler(n, generator), (n, population.n_features), (n, q))
            trained = _training_map(x, lam)
            error, missed = head - trained @ y, head - trained @ (x @ head)
            matrices[trial] = omega + error.T @ covariance @ error
            biases[trial] = missed.T @ covariance @ missed
            gains[trial] = float(((covariance @ trained) * trained).sum())

    def error_of(draws: FloatArray) -> Any:
        return draws.std(axis=0, ddof=1) / np.sqrt(trials)

    totals = np.trace(matrices, axis1=1, axis2=2)
    return SimulatedRisk(
        matrix=matrices.mean(axis=0),
        standard_error=error_of(matrices),
        total=float(totals.mean()),
        total_standard_error=float(error_of(totals)),
        parts=Risk(omega, biases.mean(axis=0), omega * gains.mean()),
        bias_standard_error=float(error_of(np.trace(biases, axis1=1, axis2=2))),
        variance_standard_error=float(error_of(gains) * np.trace(omega)),
    )


def _drawn(
    pair: tuple[FloatArray, FloatArray], first: tuple[int, int], second: tuple[int, int]
) -> tuple[FloatArray, FloatArray]:
    """Return what a sampler drew, if it is what was asked for."""
    x, y = pair
    if x.shape != first or y.shape != second:
        raise ValueError(
            f"sampler must return shapes {first} and {second}; got {x.shape} and {y.shape}"
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("sampler must return finite numbers; got NaN or infinity")
    return x, y


def _training_map(x: FloatArray, ridge: float) -> FloatArray:
    """Return the matrix (p, n) that makes labels a trained head."""
    if x.shape[1] == 0:
        return np.empty((0, x.shape[0]))
    lengths = column_lengths(x)
    if lengths.max() > _GRADED * lengths.min():
        return fit_head(x, np.eye(x.shape[0]), ridge)
    u, s, vt = thin_svd(x)
    # S may be singular; its root is accurate to the square root of rounding only.
    keep = s > 1e-7 * s[0]
    u, s, vt = u[:, keep], s[keep], vt[keep]
    return np.asarray(vt.T @ ((s / (s**2 + ridge))[:, None] * u.T))


def simulate_risk_curve(
    hmm: GaussianHMM,
    representation: Representation,
    n_samples: int,
    sizes: Iterable[int] | ArrayLike,
    n_trials: int,
    design: str = "prompts",
    ridge: float = 0.0,
    rng: Any = None,
    n_jobs: int | None = 1,
    response: LinearResponse | None = None,
    estimator: str = "auto",
    target_relative_error: float | None = None,
    max_trials: int = 100_000,
) -> RiskCurve:
    r"""Train heads of every size on sampled sequences and measure their exact population risk.

    One draw serves every size (the models are nested), so the errors at neighbouring sizes are
    correlated.  Memory does not grow with the model size: features come in blocks of columns.
    (Without feature noise beyond collinearity, a slower path holds all features.)

    Parameters
    ----------
    hmm : GaussianHMM
        The chain.
    representation : Representation
        The largest model; size p is its first p features.
    n_samples : int
        n, the number of labelled examples.
    sizes : sequence of int
        Strictly increasing sizes within [0, P].
    n_trials : int
        Number of training draws; with a target, of the first round.
    design : {"prompts", "document"}
        n independent sequences with one example each, or n consecutive examples of one.
    ridge : float
        :math:`\lambda \ge 0`.
    rng : int, Generator, SeedSequence or None
        Passed to `numpy.random.default_rng`; each trial has a stream of its own.
    n_jobs : int or None
        Processes, as joblib counts them; None takes them from ``joblib.parallel_config``.  The
        result is the same for every value.
    response : LinearResponse, optional
        The label; the next token state if omitted.
    estimator : {"auto", "conditional", "plain"}
        ``"plain"`` averages the risk of heads trained on drawn labels.  ``"conditional"``
        averages over the labels in closed form, given the drawn features (book: Theorem 2.6),
        which leaves less Monte Carlo noise and gives bias and variance too.  It is the default
        where it is exact: for independent prompts, and features that are linearly independent.
    target_relative_error : float, optional
        Draw until the standard error of each size is at most this share of its risk.  A size
        that is there is dropped.  Where no number of draws suffices, because the mean is
        infinite (no ridge, :math:`|p - n| \le 1`), the first round is all and the standard
        error is infinite.
    max_trials : int
        Most draws of a size under a target.

    Returns
    -------
    RiskCurve
        With Monte Carlo standard errors (NaN for one trial) and per-output risks; with parts if
        the estimator is conditional, and `trials` if a target was given.

    Raises
    ------
    ValueError
        If dimensions differ, a size is outside [0, P], `design` or `estimator` is unknown, a
        count is below 1 (2 with a target), `ridge` < 0, the target is not in (0, 1), or a
        conditional estimator is asked of a document, or of features without noise or in units
        that differ by more than 1e5.

    Warns
    -----
    UserWarning
        If `max_trials` ends the draws before a target is met.

    Notes
    -----
    Stopping when the estimated error is small favours draws that look accurate; with first
    rounds of 30 or more the bias is far below the target.  Errors at :math:`|p - n| \le 3`
    without ridge are not to be trusted: the variance of a draw is infinite there.

    Examples
    --------
    >>> chain = GaussianHMM.rotation(5, persistence=0.9, rng=0)
    >>> model = Representation.gaussian(5, 40, rng=1)
    >>> simulate_risk_curve(chain, model, 20, [0, 10, 40], n_trials=8, rng=2)
    RiskCurve(3 sizes from 0 to 40, n_samples=20, ridge=0, 8 trials)
    >>> curve = simulate_risk_curve(
    ...     chain, model, 20, [0, 10, 40], 30, rng=2, target_relative_error=0.01
    ... )
    >>> curve.trials.tolist()
    [30, 154, 60]
    """
    task = GaussianTask(hmm, representation, response)
    target = _as_target(target_relative_error)
    n = as_count("n_samples", n_samples)
    trials = as_count("n_trials", n_trials, minimum=1 if target is None else 2)
    most = trials if target is None else as_count("max_trials", max_trials, minimum=trials)
    lam = as_number("ridge", ridge, minimum=0.0)
    checked = as_sizes(sizes, representation.size)
    design = as_option("design", design, DESIGNS)
    jobs = as_jobs(n_jobs)
    shape = _Shape.of(representation)
    exact = _exact_terms(task, checked) if _is_conditional(estimator, design, shape) else None
    setting = _Setting(task, n, checked, design, lam, shape, exact)
    rank = np.minimum(checked, hmm.dim) if shape.collinear else checked
    endless = (lam == 0.0) & (np.abs(rank - n) <= 1)

    outputs, totals = _run(setting, trials, most, target, endless, as_rng(rng), jobs)
    errors = totals.standard_error
    if target is not None:
        errors[[0, 2]] = np.where(endless, np.inf, errors[[0, 2]])
        late = checked[(errors[0] > target * totals.mean[0]) & ~endless]
        if late.size:
            warnings.warn(
                f"{most} trials don't bring sizes {late.tolist()} to a relative error of {target}",
                stacklevel=2,
            )
    counts = totals.count[0].astype(np.int64)
    return RiskCurve(
        sizes=checked,
        risk=totals.mean[0],
        standard_error=errors[0],
        noise=exact and exact.noise.sum(axis=1),
        bias=exact and totals.mean[1],
        variance=exact and totals.mean[2],
        bias_standard_error=exact and errors[1],
        variance_standard_error=exact and errors[2],
        per_output=outputs.mean[0],
        n_samples=n,
        ridge=lam,
        n_trials=int(counts.max()),
        trials=None if target is None else counts,
        label=f"simulation, {design}",
    )


def _run(
    setting: _Setting,
    trials: int,
    most: int,
    target: float | None,
    endless: NDArray[np.bool_],
    rng: np.random.Generator,
    jobs: int | None,
) -> tuple[Tally, Tally]:
    """Return risk, bias and variance of each size: of each output (3, k, q), and in all (3, k)."""
    k = setting.sizes.size
    outputs, totals = Tally(3, k, setting.task.signal.noise.shape[0]), Tally(3, k)
    active, batch = np.arange(k), trials
    with workers(jobs) as pool:
        while batch:
            part, at = setting.of(active), (slice(None), active)
            for draw in pool(delayed(_trial)(part, child) for child in spawn(rng, batch)):
                outputs.add(draw, at)
                totals.add(draw.sum(axis=2), at)
            if target is None:
                break
            counts, relative = totals.count[0], totals.standard_error[0] / totals.mean[0]
            active = np.flatnonzero((relative > target) & (counts < most) & ~endless)
            if not active.size:
                break
            # As far as the size that needs least, but in steps of a tenth or of a first round.
            done = int(counts[active[0]])
            least = done * np.square(min(float(relative[active].min()) / target, 1e9)) - done
            batch = int(min(max(np.ceil(least), trials, done // 10), most - done))
    return outputs, totals


def _as_target(value: float | None) -> float | None:
    if value is None:
        return None
    return as_number(
        "target_relative_error",
        value,
        minimum=0.0,
        maximum=1.0,
        open_minimum=True,
        open_maximum=True,
    )


def _is_conditional(estimator: str, design: str, shape: _Shape) -> bool:
    estimator = as_option("estimator", estimator, ESTIMATORS)
    reason = ""
    if design != "prompts":
        reason = "the document design, whose rows are dependent"
    elif shape.collinear:
        reason = "features without noise, which are collinear"
    elif shape.unlike:
        reason = f"features whose lengths differ by more than {_UNLIKE:g} times"
    if estimator == "conditional" and reason:
        raise ValueError(f"estimator must be 'plain' for {reason}; got 'conditional'")
    return estimator != "plain" and not reason


class _Exact(NamedTuple):
    """Population terms that the conditional estimator needs at each size."""

    noise: FloatArray  # diagonal of Ω (k, q)
    coefficients: FloatArray  # K_p of B* = W_pᵀ K_p (k, d, q)


class _Setting(NamedTuple):
    task: GaussianTask
    n: int
    sizes: NDArray[np.int64]
    design: str
    ridge: float
    shape: _Shape
    exact: _Exact | None  # None for drawn labels

    def of(self, picked: NDArray[np.int64]) -> _Setting:
        """Return the setting of some of the sizes."""
        exact = self.exact and _Exact(*(term[picked] for term in self.exact))
        return self._replace(sizes=self.sizes[picked], exact=exact)


def _exact_terms(task: GaussianTask, sizes: NDArray[np.int64]) -> _Exact:
    readings = list(task.signal.readings(task.representation, sizes))
    noise = [np.diag(reading.moments.residual_covariance) for reading in readings]
    return _Exact(np.array(noise), np.array([reading.coefficients for reading in readings]))


def _trial(setting: _Setting, rng: np.random.Generator) -> FloatArray:
    """Return one draw's risk, bias and variance, each (k, q); the last two 0 for a plain draw."""
    representation, n = setting.task.representation, setting.n
    with one_blas_thread():
        # Labels are drawn even where they are averaged over: both estimators then see the same
        # features.
        states, labels = setting.task.states_and_labels(n, rng, setting.design)

        def columns(start: int, stop: int) -> FloatArray:
            noise = representation.noise_std * rng.standard_normal((stop - start, n)).T
            return np.asarray(states @ representation.weights[:, start:stop] + noise)

        if setting.exact is None:
            return _plain_draw(setting, columns, labels)
        return _conditional_draw(setting, setting.exact, columns)


def _plain_draw(setting: _Setting, columns: Columns, labels: FloatArray) -> FloatArray:
    weights, signal = setting.task.representation.weights, setting.task.signal
    variance = np.diag(signal.noise) + np.square(signal.predictable).sum(axis=0)
    cross = signal.root.T @ signal.predictable
    fits = (
        _collinear_path(columns, weights, labels, setting.sizes, setting.ridge)
        if setting.shape.collinear
        else nested_path(
            columns, weights, labels, setting.sizes, setting.ridge, setting.shape.steep
        )
    )
    sigma = setting.task.hmm.stationary_covariance
    draw = np.zeros((3, setting.sizes.size, labels.shape[1]))
    for k, fit in enumerate(fits):
        fitted = (fit.readout * (sigma @ fit.readout - 2.0 * cross)).sum(axis=0)
        norm = setting.task.representation.noise_std**2 * fit.squared_norm
        draw[0, k] = variance + fitted + norm
    return draw


def _conditional_draw(setting: _Setting, exact: _Exact, columns: Columns) -> FloatArray:
    task = setting.task
    sigma, weights = task.hmm.stationary_covariance, task.representation.weights
    noise_variance = task.representation.noise_std**2
    draw = np.empty((3, *exact.noise.shape))
    fits = nested_conditional(
        columns, weights, setting.n, setting.sizes, setting.ridge, setting.shape.steep
    )
    for k, fit in enumerate(fits):
        coefficients = exact.coefficients[k]
        missed = fit.missed @ coefficients
        inner = missed - setting.ridge * (fit.spread @ coefficients) if setting.ridge else missed
        norm = noise_variance * (coefficients * inner)
        draw[1, k] = (missed * (sigma @ missed) + norm).sum(axis=0)
        factor = float((sigma * fit.spread).sum()) + noise_variance * fit.trace
        draw[2, k] = exact.noise[k] * factor
    draw[0] = exact.noise + draw[1] + draw[2]
    return draw


class _Shape(NamedTuple):
    """What features without much noise, or in unlike units, ask of the algebra."""

    collinear: bool  # features without noise depend on each other
    steep: bool  # their noise is lost in a Gram matrix
    unlike: bool  # what the squares of some hide in those of others

    @classmethod
    def of(cls, representation: Representation) -> _Shape:
        weights, noise = representation.weights, representation.noise_std
        longest = np.maximum(weights.max(axis=0, initial=0.0), -weights.min(axis=0, initial=0.0))
        without = noise <= _COLLINEAR * longest
        exact = weights[:, without] / np.maximum(longest[without], np.finfo(float).tiny)
        dependent = exact.shape[1] > exact.shape[0] or (
            exact.shape[1] > 1 and np.linalg.cond(exact) > 1 / _COLLINEAR
        )
        lengths = np.hypot(longest, noise)
        unlike = lengths.max(initial=0.0) > _UNLIKE * lengths.min(initial=np.inf)
        return cls(
            dependent or not longest[without].all(),
            bool(noise <= _STEEP * longest.max(initial=0.0)),
            bool(unlike),
        )


def _collinear_path(
    columns: Columns,
    weights: FloatArray,
    labels: FloatArray,
    sizes: NDArray[np.int64],
    ridge: float,
) -> Iterable[NestedFit]:
    """One head a size, for features whose Gram matrix is singular."""
    x = columns(0, int(sizes[-1]))
    for p in map(int, sizes):
        head = fit_head(x[:, :p], labels, ridge)
        yield NestedFit(weights[:, :p] @ head, np.square(head).sum(axis=0))
