"""Monte Carlo: heads trained on sampled examples, judged by the exact population risk."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import ArrayLike, NDArray
from scipy import linalg

from hmmtheory._threads import one_blas_thread
from hmmtheory._validation import FloatArray, as_count, as_flag, as_number, as_rng, as_sizes, spawn
from hmmtheory.curves import RiskCurve
from hmmtheory.gaussian_hmm import GaussianHMM, symmetric_root
from hmmtheory.heads import NestedFit, fit_head, nested_path
from hmmtheory.population import Population, check_dimensions
from hmmtheory.representations import LinearResponse, Representation
from hmmtheory.risk import Risk

DESIGNS = ("prompts", "document")
#: Below this feature noise, relative to the signal, features are treated as collinear.
_COLLINEAR = 1e-6


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

    Each trial draws X and Y, fits :func:`fit_head`'s head, and evaluates its exact risk; no test
    set.  The independent check of :func:`head_risk`.

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
        population.feature_covariance,
        population.head,
        population.residual_covariance,
    )
    # Symmetric roots, unlike eigenvectors, are unique: the draws are the same on every machine.
    feature_root, noise_root = symmetric_root(covariance), symmetric_root(omega)
    q = population.n_outputs
    matrices, biases = np.empty((2, trials, q, q))
    gains = np.empty(trials)
    with one_blas_thread():
        for trial in range(trials):
            if sampler is None:
                x = generator.standard_normal((n, population.n_features)) @ feature_root
                y = x @ head + generator.standard_normal((n, q)) @ noise_root
            else:
                x, y = sampler(n, generator)
                if x.shape != (n, population.n_features) or y.shape != (n, q):
                    raise ValueError(
                        f"sampler must return shapes {(n, population.n_features)} and {(n, q)}; "
                        f"got {x.shape} and {y.shape}"
                    )
            u, s, vt = _thin_svd(x)
            weight = s / (s**2 + lam)
            error = head - vt.T @ (weight[:, None] * (u.T @ y))
            missed = head - vt.T @ ((s * weight)[:, None] * (vt @ head))
            matrices[trial] = omega + error.T @ covariance @ error
            biases[trial] = missed.T @ covariance @ missed
            gains[trial] = weight**2 @ ((vt @ covariance) * vt).sum(axis=1)

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


def _thin_svd(x: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the singular value decomposition of x without its null space."""
    if x.shape[1] == 0:
        return np.empty((x.shape[0], 0)), np.empty(0), np.empty((0, 0))
    u, s, vt = linalg.svd(x, full_matrices=False)
    # S may be singular; its root is accurate to the square root of rounding only.
    keep = s > 1e-7 * s[0]
    return u[:, keep], s[keep], vt[keep]


def simulate_risk_curve(
    hmm: GaussianHMM,
    representation: Representation,
    n_samples: int,
    sizes: Iterable[int] | ArrayLike,
    n_trials: int,
    design: str = "prompts",
    ridge: float = 0.0,
    rng: Any = None,
    n_jobs: int = 1,
    response: LinearResponse | None = None,
    split: bool = False,
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
        Number of training draws.
    design : {"prompts", "document"}
        n independent sequences with one example each, or n consecutive examples of one.
    ridge : float
        :math:`\lambda \ge 0`.
    rng : int, Generator, SeedSequence or None
        Passed to `numpy.random.default_rng`; each trial has a stream of its own.
    n_jobs : int
        Processes, as joblib counts them.  The result is the same for every value.
    response : LinearResponse, optional
        The label; the next token state if omitted.
    split : bool
        Whether to measure bias and variance too (prompts design), averaged over the labels given
        the features in closed form.

    Returns
    -------
    RiskCurve
        With Monte Carlo standard errors (NaN for one trial) and per-output risks.

    Raises
    ------
    ValueError
        If dimensions differ, a size is outside [0, P], `design` is unknown, a count is below
        1, `ridge` < 0, or `split` is asked of a document.

    Examples
    --------
    >>> chain = GaussianHMM.rotation(5, persistence=0.9, rng=0)
    >>> model = Representation.gaussian(5, 40, rng=1)
    >>> simulate_risk_curve(chain, model, 20, [0, 10, 40], n_trials=8, rng=2)
    RiskCurve(3 sizes from 0 to 40, n_samples=20, ridge=0, 8 trials)
    """
    label = LinearResponse(np.eye(hmm.dim)) if response is None else response
    check_dimensions(hmm, representation, label)
    n, trials = as_count("n_samples", n_samples), as_count("n_trials", n_trials)
    lam = as_number("ridge", ridge, minimum=0.0)
    checked = as_sizes(sizes, representation.size)
    if str(design) not in DESIGNS:
        raise ValueError(f"design must be one of {DESIGNS}; got {design!r}")
    split = as_flag("split", split)
    if split and design != "prompts":
        raise ValueError("split must be False for the document design, whose rows are dependent")
    if split and _is_collinear(representation):
        raise ValueError("split must be False for features without noise, which are collinear")
    jobs = as_count("n_jobs", n_jobs, minimum=-(2**31))
    if jobs == 0:
        raise ValueError("n_jobs must be a nonzero integer; got 0")

    setting = _Setting(
        hmm,
        representation,
        response,
        n,
        checked,
        design,
        lam,
        split,
        _exact_terms(hmm, representation, label, checked if split else checked[:0]),
    )
    workers = Parallel(n_jobs=jobs, return_as="generator")
    draws = workers(delayed(_trial)(setting, child) for child in spawn(rng, trials))
    # Welford's update, in trial order, so that the sums don't depend on the workers.
    mean = np.zeros((3, checked.size, label.weights.shape[1]))
    totals, scatter = np.zeros((2, 3, checked.size))
    for count, draw in enumerate(draws, start=1):
        mean += (draw - mean) / count
        step = draw.sum(axis=2) - totals
        totals += step / count
        scatter += step * (draw.sum(axis=2) - totals)
    errors = np.sqrt(scatter / (trials * (trials - 1))) if trials > 1 else scatter * np.nan
    noise = setting.exact.noise
    return RiskCurve(
        sizes=checked,
        risk=totals[0],
        standard_error=errors[0],
        noise=noise.sum(axis=1) if split else None,
        bias=totals[1] if split else None,
        variance=totals[2] if split else None,
        bias_standard_error=errors[1] if split else None,
        variance_standard_error=errors[2] if split else None,
        per_output=mean[0],
        n_samples=n,
        ridge=lam,
        n_trials=trials,
        label=f"simulation, {design}",
    )


class _Exact(NamedTuple):
    """Population terms that no trial changes; the last two for the split alone."""

    response_variance: FloatArray  # (q,)
    cross: FloatArray  # Σ_z A V (d, q)
    noise: FloatArray  # diagonal of Ω at each size (k, q)
    coefficients: FloatArray  # K_p of B* = W_pᵀ K_p at each size (k, d, q)


class _Setting(NamedTuple):
    hmm: GaussianHMM
    representation: Representation
    response: LinearResponse | None
    n: int
    sizes: NDArray[np.int64]
    design: str
    ridge: float
    split: bool
    exact: _Exact


def _exact_terms(
    hmm: GaussianHMM,
    representation: Representation,
    label: LinearResponse,
    split_sizes: NDArray[np.int64],
) -> _Exact:
    sigma, v = hmm.stationary_covariance, label.weights
    cross = hmm.autocovariance(1) @ v
    variance = np.diag(v.T @ sigma @ v) + label.noise_std**2
    root = symmetric_root(sigma)
    inverse_root = linalg.inv(root)
    shape = (split_sizes.size, *cross.shape)
    noise, coefficients = np.empty((shape[0], shape[2])), np.empty(shape)
    frame, start = np.zeros((hmm.dim, hmm.dim)), 0
    for k, p in enumerate(map(int, split_sizes)):
        block = representation.weights[:, start:p]
        frame += block @ block.T
        start = p
        # Push-through: S⁻¹Wᵀ = Wᵀ Σ^{1/2} (Σ^{1/2}WWᵀΣ^{1/2} + σ²I)⁻¹ Σ^{-1/2}, d x d only.
        middle = root @ frame @ root + representation.noise_std**2 * np.eye(hmm.dim)
        coefficients[k] = root @ linalg.solve(middle, inverse_root @ cross, assume_a="pos")
        noise[k] = variance - (cross * (frame @ coefficients[k])).sum(axis=0)
    return _Exact(variance, cross, noise, coefficients)


def _trial(setting: _Setting, rng: np.random.Generator) -> FloatArray:
    """Return one draw's risk, bias and variance, each (k, q); the last two 0 unless split."""
    hmm, representation, exact = setting.hmm, setting.representation, setting.exact
    n, noise_std = setting.n, representation.noise_std
    sigma = hmm.stationary_covariance
    with one_blas_thread():
        if setting.design == "prompts":
            pairs = hmm.sample(n, 2, rng)
            states, following = pairs[:, 0], pairs[:, 1]
        else:
            path = hmm.sample(1, n + 1, rng)[0]
            states, following = path[:-1], path[1:]
        response = setting.response
        labels = following if response is None else response.sample(following, rng)

        def columns(start: int, stop: int) -> FloatArray:
            noise = rng.standard_normal((stop - start, n)).T
            return np.asarray(states @ representation.weights[:, start:stop] + noise_std * noise)

        fits = (
            _collinear_path(columns, representation, labels, setting)
            if _is_collinear(representation) and setting.ridge == 0.0
            else nested_path(
                columns,
                representation.weights,
                labels,
                setting.sizes,
                setting.ridge,
                setting.split,
            )
        )
        draw = np.zeros((3, setting.sizes.size, labels.shape[1]))
        for k, fit in enumerate(fits):
            fitted = (fit.readout * (sigma @ fit.readout - 2.0 * exact.cross)).sum(axis=0)
            draw[0, k] = exact.response_variance + fitted + noise_std**2 * fit.squared_norm
            if fit.shrink is not None and fit.noise_gain is not None:
                missed, norm = fit.shrink(exact.coefficients[k])
                gain, trace = fit.noise_gain
                factor = float((sigma * gain).sum()) + noise_std**2 * trace
                draw[1, k] = (missed * (sigma @ missed)).sum(axis=0) + noise_std**2 * norm
                draw[2, k] = exact.noise[k] * factor
    return draw


def _is_collinear(representation: Representation) -> bool:
    weights = representation.weights
    scale = max(float(weights.max(initial=0.0)), -float(weights.min(initial=0.0)))
    return representation.noise_std <= _COLLINEAR * scale


def _collinear_path(
    columns: Any, representation: Representation, labels: FloatArray, setting: _Setting
) -> Iterable[NestedFit]:
    """One SVD a size, for features whose Gram matrix is singular.  No split."""
    x = columns(0, int(setting.sizes[-1]))
    for p in map(int, setting.sizes):
        head = fit_head(x[:, :p], labels)
        yield NestedFit(
            representation.weights[:, :p] @ head, np.square(head).sum(axis=0), None, None
        )
