"""The risk of a trained head, in theory: R1, R2, R3 and R3′ with ridge, as matrices."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize

from hmmtheory._checks import FloatArray, as_array, as_count, as_number, as_order, as_sizes
from hmmtheory._linalg import RANK_TOLERANCE, graded_system
from hmmtheory.curves import RiskCurve
from hmmtheory.gaussian_hmm import GaussianHMM, symmetric_root
from hmmtheory.population import Population, check_dimensions
from hmmtheory.tasks import LinearResponse, Representation


@dataclass(frozen=True, eq=False)
class Risk:
    """Risk matrix of a trained head, split into three parts, each (q, q) in units of y².

    Attributes
    ----------
    noise : ndarray, shape (q, q)
        The residual covariance Ω, which no head removes.
    bias : ndarray, shape (q, q)
        What the average trained head misses.
    variance : ndarray, shape (q, q)
        What the training noise adds.
    """

    noise: FloatArray
    bias: FloatArray
    variance: FloatArray

    @property
    def matrix(self) -> FloatArray:
        """The risk R = noise + bias + variance (q, q)."""
        return self.noise + self.bias + self.variance

    @property
    def total(self) -> float:
        """The trace of R: "the" risk."""
        return float(np.trace(self.matrix))

    @property
    def excess(self) -> float:
        """The trace of R - Ω, what training on n labels costs."""
        return float(np.trace(self.bias + self.variance))

    def __repr__(self) -> str:
        noise, bias, variance = (np.trace(m) for m in (self.noise, self.bias, self.variance))
        return (
            f"Risk(total={self.total:.4g}, noise={noise:.4g}, bias={bias:.4g}, "
            f"variance={variance:.4g})"
        )


class Factors(NamedTuple):
    """How a spectrum turns a head into a risk: bias = Σ w_i b_iᵀb_i, variance = v Ω."""

    bias: FloatArray
    variance: float


class EllipticalFactors(NamedTuple):
    """The bias weights w_i, and for each row scale what its noise adds to the variance.

    bias = Σ w_i b_iᵀb_i, variance = mean over rows of v_k e_kᵀe_k.
    """

    bias: FloatArray
    variance: FloatArray


def head_risk(
    population: Population,
    n_samples: int,
    ridge: float = 0.0,
    order: int = 2,
    kurtosis: float = 0.0,
) -> Risk:
    r"""Return the risk of a head trained on n independent examples.

    Without ridge and with p <= n - 2 (p the rank of S) this is Theorem 3.2 (R1), exact for
    Gaussian rows; for p in {n - 1, n, n + 1} it is infinite (Proposition 3.3).  Elsewhere it is
    the deterministic equivalent of Theorem 4.2 (R3, ``order=1``) or its second order, Theorem
    4.4 (R3′, ``order=2``), both asymptotic; for isotropic S and no ridge the second order equals
    Theorem 4.1 (R2), exact.

    How wrong the second order is: ridgeless, within 1 % wherever p >= n + 4 and n >= 40 in the
    book's spectra (the first order misses up to 26 %).  It fails by tens of per cent where the
    number of large eigenvalues is close to n and the rest are far smaller, and by up to 16 %
    for a ridge of a hundredth of the mean eigenvalue or less at p = n = 20; from a ridge of one
    mean eigenvalue up it is within 1 %.

    Parameters
    ----------
    population : Population
        Moments of features and response.
    n_samples : int
        n, the number of labelled examples.
    ridge : float
        :math:`\lambda \ge 0`, multiplying the squared norm of the head against the *sum* of
        squared errors (scikit-learn's ``alpha``).  0 is the minimum-norm head; infinity the
        zero head.
    order : {1, 2}
        Order of the asymptotic formula.
    kurtosis : float
        As :func:`risk_factors`.

    Returns
    -------
    Risk

    Raises
    ------
    ValueError
        If `n_samples` < 1, `ridge` < 0, `order` is not 1 or 2, or `kurtosis` < -2.

    Examples
    --------
    >>> population = Population([[1.0]], [[0.6]], [[1.0]])
    >>> head_risk(population, n_samples=10)
    Risk(total=0.72, noise=0.64, bias=0, variance=0.08)
    """
    n = as_count("n_samples", n_samples)
    lam = as_number("ridge", ridge, minimum=0.0, allow_infinite=True)
    values, vectors = population.spectrum
    b = vectors.T @ population.head
    omega = population.residual_covariance
    factors = risk_factors(values, n, lam, order=order, kurtosis=kurtosis)
    return Risk(omega, (b.T * factors.bias) @ b, _scaled(omega, factors.variance))


def risk_factors(
    eigenvalues: ArrayLike,
    n_samples: int,
    ridge: float = 0.0,
    multiplicities: ArrayLike | None = None,
    order: int = 2,
    kurtosis: float = 0.0,
) -> Factors:
    r"""Return the bias weights :math:`w_i` and the variance factor v of a spectrum.

    With :math:`b_i` the rows of B* in the eigenbasis of S, the risk of :func:`head_risk` is
    :math:`\Omega + \sum_i w_i b_i^\top b_i + v\,\Omega`.

    Parameters
    ----------
    eigenvalues : array_like, shape (k,)
        Distinct or repeated positive eigenvalues of S.
    n_samples : int
        The number n of labelled examples.
    ridge : float
        :math:`\lambda \ge 0`; infinity is the zero head.
    multiplicities : array_like, shape (k,), optional
        How often each eigenvalue occurs; once if omitted.
    order : {1, 2}
        1 for Theorem 4.2 (R3), 2 for Theorem 4.4 (R3′).
    kurtosis : float
        The excess kurtosis :math:`\nu \ge -2` of the whitened features, where these are
        independent and symmetric; 0 for Gaussian ones.  The first order does not see it; the
        second does (Theorem 13.1, asymptotic), with an error that falls as 1/n².

    Returns
    -------
    Factors
        ``.bias`` (k,), one weight for each copy of the eigenvalue, and ``.variance``, a number.

    Raises
    ------
    ValueError
        If an eigenvalue or multiplicity is not positive and finite, or as :func:`head_risk`.

    Examples
    --------
    >>> risk_factors([2.0], n_samples=10, multiplicities=[21])
    Factors(bias=array([1.04761905]), variance=1.0)
    """
    t, m = _checked_spectrum(eigenvalues, multiplicities)
    n = as_count("n_samples", n_samples)
    lam = as_number("ridge", ridge, minimum=0.0, allow_infinite=True)
    order = as_order(order)
    nu = as_number("kurtosis", kurtosis, minimum=-2.0) if order == 2 else 0.0
    rank = round(float(m.sum()))
    if rank == 0:
        return Factors(np.zeros_like(t), 0.0)
    if np.isinf(lam):
        return Factors(t, 0.0)
    if lam == 0.0 and rank <= n + 1:
        # The bias is finite at the threshold too, and is zero for rank <= n.
        bias = np.zeros_like(t) if rank <= n else _asymptotic(t, m, n, lam, order, nu).bias
        if rank > n - 2:
            return Factors(bias, np.inf)
        if nu == 0.0:
            return Factors(bias, rank / (n - rank - 1))
        return Factors(bias, rank / (n - rank) * _geometric(1.0 / (n - rank) + nu / n))
    return _asymptotic(t, m, n, lam, order, nu)


def elliptical_factors(
    eigenvalues: ArrayLike,
    n_samples: int,
    row_scales: ArrayLike,
    ridge: float = 0.0,
    order: int = 2,
) -> EllipticalFactors:
    r"""Return bias weights and variance factors where rows differ in scale.

    Rows are :math:`x = \tau g` with g Gaussian of covariance S and a random scale of mean square
    1.  Training gives a row the weight :math:`\varphi(\tau) = \tau^2 / (\lambda/\kappa + \tau^2
    \mathrm{df}_1)`, with :math:`\kappa` such that the n weights sum to 1, and

    .. math:: v(\tau) = \frac{n\,\mathrm{df}_2\,\varphi(\tau)^2/\tau^2}
              {1 - n\,\mathrm{df}_2\,E[\varphi^2]}, \qquad
              w_i = \frac{t_i\,\kappa^2/(t_i+\kappa)^2}{1 - n\,\mathrm{df}_2\,E[\varphi^2]}

    (book: Theorem 11.2; asymptotic).  Equal scales give Theorem 4.2 (R3); no ridge and p > n
    give R12, where :math:`\varphi = 1/n`.  The second order multiplies by what it adds to
    Gaussian rows (empirical).

    Parameters
    ----------
    eigenvalues : array_like, shape (k,)
        Positive eigenvalues of S.
    n_samples : int
        The number n of labelled examples.
    row_scales : array_like, shape (N,)
        A sample of :math:`\tau \ge 0`; normalised here to mean square 1.
    ridge : float
        :math:`\lambda \ge 0`; infinity is the zero head.
    order : {1, 2}
        Order of the formula.

    Returns
    -------
    EllipticalFactors
        ``.bias`` (k,) and ``.variance`` (N,), one factor for each row scale.

    Raises
    ------
    ValueError
        If the scales are not a vector of non-negative numbers, some positive, or as
        :func:`risk_factors`.

    Examples
    --------
    >>> found = elliptical_factors([1.0, 0.5], 20, row_scales=[0.5, 1.5], order=1)
    >>> found.variance.round(4).tolist()
    [0.0323, 0.2062]
    """
    t, m = _checked_spectrum(eigenvalues, None)
    n = as_count("n_samples", n_samples)
    lam = as_number("ridge", ridge, minimum=0.0, allow_infinite=True)
    order = as_order(order)
    tau = as_array("row_scales", row_scales)
    if tau.ndim != 1 or (tau < 0).any() or not tau.any():
        raise ValueError(
            "row_scales must be a vector of non-negative numbers, some of them positive; "
            f"got shape {tau.shape}"
        )
    square = np.square(tau) / np.square(tau).mean()
    present = square > 0
    gaussian = risk_factors(t, n, lam, order=order)
    if t.size == 0 or np.isinf(lam) or np.isinf(gaussian.variance):
        return EllipticalFactors(gaussian.bias, np.where(present, gaussian.variance, 0.0))

    def weights(level: float, df1: float) -> FloatArray:
        whole = level + square * df1
        return np.asarray(np.divide(square, whole, out=np.zeros_like(tau), where=present))

    def solve(equation: Callable[[float], float], start: float) -> float:
        """Return the root of an increasing function of log κ (or of -log c)."""
        left = right = np.log(start)
        while equation(left) > 0:
            left -= 2.0
        while equation(right) < 0:
            right += 2.0
        return float(np.exp(optimize.brentq(equation, left - 1e-9, right + 1e-9, xtol=1e-14)))

    if lam == 0.0 and t.size < n:
        df1 = df2 = float(t.size)
        level = 1.0 / solve(
            lambda x: n * float(weights(float(np.exp(-x)), df1).mean()) - 1.0, 1.0 / (n - df1)
        )
        shrunk, first = np.zeros_like(t), gaussian._replace(variance=df2 / (n - df2))
    else:
        kappa = effective_ridge(t, n, lam)
        if lam > 0.0:

            def equation(log_kappa: float) -> float:
                k = float(np.exp(log_kappa))
                return n * float(weights(lam / k, float((t / (t + k)).sum())).mean()) - 1.0

            kappa = solve(equation, kappa)
        df1, df2 = float((t / (t + kappa)).sum()), float(np.square(t / (t + kappa)).sum())
        level = lam / kappa
        shrunk, first = t * np.square(kappa / (t + kappa)), risk_factors(t, n, lam, order=1)
    phi = weights(level, df1)
    crowding = n * df2 * float(np.square(phi).mean())
    share = np.divide(np.square(phi), square, out=np.zeros_like(phi), where=present)
    bias, variance = shrunk / (1.0 - crowding), n * df2 * share / (1.0 - crowding)
    if order == 1:
        return EllipticalFactors(bias, variance)
    more = np.divide(gaussian.bias, first.bias, out=np.ones_like(bias), where=first.bias > 0)
    return EllipticalFactors(bias * more, variance * (gaussian.variance / first.variance))


def effective_ridge(
    eigenvalues: ArrayLike,
    n_samples: int,
    ridge: float = 0.0,
    multiplicities: ArrayLike | None = None,
) -> float:
    r"""Return :math:`\kappa`, the ridge that n samples impose by themselves.

    It solves :math:`\sum_i t_i/(t_i+\kappa) + \lambda/\kappa = n` (book: Theorem 4.2).

    Parameters
    ----------
    eigenvalues : array_like, shape (k,)
        Positive eigenvalues of S.
    n_samples : int
        The number n of labelled examples.
    ridge : float
        :math:`\lambda \ge 0`, finite.
    multiplicities : array_like, shape (k,), optional
        How often each eigenvalue occurs; once if omitted.

    Returns
    -------
    float
        :math:`\kappa`; 0 where there is no ridge and p <= n.

    Raises
    ------
    ValueError
        If an eigenvalue or multiplicity is not positive and finite, `n_samples` < 1 or
        `ridge` < 0.

    Examples
    --------
    >>> round(effective_ridge([1.0], n_samples=10, multiplicities=[30]), 12)
    2.0
    """
    t, m = _checked_spectrum(eigenvalues, multiplicities)
    n = as_count("n_samples", n_samples)
    lam = as_number("ridge", ridge, minimum=0.0)
    if lam == 0.0 and m.sum() <= n:
        return 0.0
    # Both bounds follow from t/(t + kappa) being monotone in t and at most t/kappa.
    excess = float(m.sum()) - n
    low = max(lam / n, float(t.min()) * excess / n if excess > 0 else 0.0)
    high = max((float(m @ t) + lam) / n, low)

    def equation(log_kappa: float) -> float:
        kappa = np.exp(log_kappa)
        return float(m @ (t / (t + kappa)) + lam / kappa - n)

    left, right = np.log(low) - 1e-9, np.log(high) + 1e-9
    return float(np.exp(optimize.brentq(equation, left, right, xtol=1e-15, rtol=1e-15)))


def optimal_ridge(population: Population, n_samples: int, order: int = 2) -> float:
    r"""Return the penalty :math:`\lambda^*` that minimises the total :func:`head_risk`.

    For isotropic S the first order gives :math:`\lambda^* = p \operatorname{tr}\Omega / \|B^*\|^2`
    (R7); in general the minimum is found numerically, over 0 and 24 decades around it.

    Parameters
    ----------
    population : Population
        Moments of features and response.
    n_samples : int
        The number n of labelled examples.
    order : {1, 2}
        Order of the asymptotic formula.

    Returns
    -------
    float
        :math:`\lambda^*`; infinity where no head beats the zero head.

    Raises
    ------
    ValueError
        As :func:`head_risk`.

    Examples
    --------
    >>> population = Population([[1.0]], [[0.6]], [[1.0]])
    >>> round(optimal_ridge(population, n_samples=10, order=1), 3)
    1.778
    """
    n = as_count("n_samples", n_samples)
    order = as_order(order)
    values, vectors = population.spectrum
    if values.size == 0 or not population.cross_covariance.any():
        return float("inf")
    b_squared = np.square(vectors.T @ population.head).sum(axis=1)
    noise = float(np.trace(population.residual_covariance))

    def excess(lam: float) -> float:
        factors = risk_factors(values, n, lam, order=order)
        variance = noise * factors.variance if noise > 0 else 0.0
        return float(factors.bias @ b_squared) + variance

    return minimise_over_ridge(excess, float(values.mean()) * n)


def minimise_over_ridge(excess: Callable[[float], float], scale: float) -> float:
    """Return the penalty of least excess risk among 0, infinity and 24 decades around `scale`."""
    grid = np.log(scale) + np.log(10.0) * np.linspace(-12, 12, 97)
    heights = [excess(float(np.exp(x))) for x in grid]
    best = int(np.argmin(heights))
    if best in (0, grid.size - 1):
        return 0.0 if best == 0 else float("inf")
    left, right = grid[best - 1], grid[best + 1]
    found = optimize.minimize_scalar(
        lambda x: excess(float(np.exp(x))),
        bounds=(left, right),
        method="bounded",
        options={"xatol": 1e-9},
    )
    candidates = [float(np.exp(found.x)), 0.0, float("inf")]
    return min(candidates, key=excess)


def risk_curve(
    hmm: GaussianHMM,
    representation: Representation,
    n_samples: int,
    sizes: Iterable[int] | ArrayLike,
    ridge: float = 0.0,
    order: int = 2,
    response: LinearResponse | None = None,
) -> RiskCurve:
    r"""Return the theoretical risk of nested models, :func:`head_risk` at every size.

    The cost per size does not grow with p: all eigenvalues of S but the d of
    :math:`\Sigma_z^{1/2} W_p W_p^\top \Sigma_z^{1/2}` equal :math:`\sigma_u^2`.

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
    ridge, order
        As :func:`head_risk`.
    response : LinearResponse, optional
        The label; the next token state if omitted.

    Returns
    -------
    RiskCurve
        With parts and per-output risks, and standard errors of zero.

    Raises
    ------
    ValueError
        If dimensions differ, a size is outside [0, P], or as :func:`head_risk`.

    Examples
    --------
    >>> chain = GaussianHMM.rotation(20, persistence=0.9, rng=0)
    >>> model = Representation.balanced(20, 10, rng=1)
    >>> risk_curve(chain, model, n_samples=60, sizes=[0, 10]).risk.round(3).tolist()
    [20.0, 19.205]
    """
    label = LinearResponse(np.eye(hmm.dim)) if response is None else response
    check_dimensions(hmm, representation, label)
    n = as_count("n_samples", n_samples)
    lam = as_number("ridge", ridge, minimum=0.0, allow_infinite=True)
    order = as_order(order)
    checked = as_sizes(sizes, representation.size)

    d, noise_variance = hmm.dim, representation.noise_std**2
    root = symmetric_root(hmm.stationary_covariance)
    predictable = root @ hmm.transition @ label.weights
    innovation = hmm.noise_std**2 * np.square(label.weights).sum(axis=0) + label.noise_std**2
    gram = np.zeros((d, d))
    lengths = np.sqrt(np.square(representation.weights).sum(axis=0))
    spread = np.maximum.accumulate(lengths) > 1e2 * np.minimum.accumulate(lengths)
    graded = np.append(False, spread)
    parts = np.empty((3, checked.size, label.weights.shape[1]))
    previous = 0
    for k, p in enumerate(checked):
        block = representation.weights[:, previous:p]
        gram += block @ block.T
        previous = int(p)
        # Direction i of the state is seen with signal h_i against the noise.
        units = lengths[:p] if graded[p] else None
        h, vectors = _seen_directions(root, gram, representation.weights[:, :p], units)
        directions = vectors.T @ predictable
        unseen = predictable - vectors @ directions
        seen = h / (h + noise_variance)
        omega = innovation + (1.0 - seen) @ np.square(directions) + np.square(unseen).sum(axis=0)
        head_squared = (seen**2 / h)[:, None] * np.square(directions)
        rest = int(p) - h.size if noise_variance > 0 else 0
        spectrum = np.append(h + noise_variance, [noise_variance] * (rest > 0))
        counts = np.append(np.ones(h.size), [rest] * (rest > 0))
        factors = risk_factors(spectrum, n, lam, counts, order)
        parts[0, k] = omega
        parts[1, k] = factors.bias[: h.size] @ head_squared
        parts[2, k] = _scaled(omega, factors.variance)
    noise, bias, variance = parts.sum(axis=2)
    return RiskCurve(
        sizes=checked,
        risk=noise + bias + variance,
        standard_error=np.zeros(checked.size),
        noise=noise,
        bias=bias,
        variance=variance,
        per_output=parts.sum(axis=0),
        n_samples=n,
        ridge=lam,
        label=f"theory, order {order}",
    )


def _seen_directions(
    root: FloatArray, gram: FloatArray, weights: FloatArray, units: FloatArray | None
) -> tuple[FloatArray, FloatArray]:
    """Return the nonzero eigenvalues of root WWᵀ root (r,) and their eigenvectors (d, r)."""
    p = weights.shape[1]
    if units is not None:
        # Features of very different units: through W itself, which knows each to its last digit.
        lengths, right = graded_system(root @ weights, units)
        return np.square(lengths), (root @ weights @ right) / lengths
    values, vectors = np.linalg.eigh(root @ gram @ root)
    values, vectors = values[::-1][:p], vectors[:, ::-1][:, :p]
    keep = values > RANK_TOLERANCE * values.max(initial=0.0)
    return values[keep], vectors[:, keep]


def document_inflation(hmm: GaussianHMM, representation: Representation, n_samples: int) -> float:
    r"""Return how much one document inflates the variance (book: Proposition 8.2; asymptotic).

    With n consecutive examples of one sequence in place of n independent ones, the excess risk
    to first order in p/n is :math:`(p/n) \operatorname{tr}\Omega` times this factor, the
    long-run covariance of :math:`x_t^\top e_t` over its variance.  n over it is an effective
    sample size.  It holds for p and the chain's mixing time far below n, and for nothing else.

    Parameters
    ----------
    hmm : GaussianHMM
        The chain.
    representation : Representation
        The model; the head predicts the next state.
    n_samples : int
        n, the length of the document.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If dimensions differ, `n_samples` < 1, or the representation has no feature.

    Examples
    --------
    >>> chain = GaussianHMM([[0.9]], noise_std=0.19**0.5)
    >>> round(document_inflation(chain, Representation([[1.0]]), n_samples=1000), 2)
    5.24
    """
    check_dimensions(hmm, representation, LinearResponse(np.eye(hmm.dim)))
    n = as_count("n_samples", n_samples)
    if representation.size == 0:
        raise ValueError("representation must have at least one feature; got size 0")
    population = Population.next_token(hmm, representation)
    values, vectors = population.spectrum
    reader = representation.weights @ vectors / np.sqrt(values)
    frame, product = reader @ reader.T, representation.weights @ population.head
    omega = float(np.trace(population.residual_covariance))
    total = 0.0
    before, now = hmm.stationary_covariance, hmm.autocovariance(1)
    for lag in range(1, n):
        after = now @ hmm.transition
        # Autocovariances at this lag of e, then of x and e across it in both orders.
        residual = now - before @ product - product.T @ after + product.T @ now @ product
        ahead, behind = after - now @ product, before.T - now.T @ product
        pairs = np.trace(residual) * np.trace(frame @ now) + np.trace(ahead.T @ frame @ behind)
        total += (1.0 - lag / n) * float(pairs)
        before, now = now, after
    return 1.0 + 2.0 * total / (values.size * omega)


def _checked_spectrum(
    eigenvalues: ArrayLike, multiplicities: ArrayLike | None
) -> tuple[FloatArray, FloatArray]:
    t = as_array("eigenvalues", eigenvalues)
    if t.ndim != 1 or (t <= 0).any():
        raise ValueError(
            f"eigenvalues must be a vector of positive finite numbers; got {eigenvalues!r}"
        )
    m = np.ones_like(t) if multiplicities is None else as_array("multiplicities", multiplicities)
    if m.shape != t.shape or (m <= 0).any():
        raise ValueError(
            f"multiplicities must be {t.size} positive finite numbers; got {multiplicities!r}"
        )
    return t, m


def _scaled(omega: FloatArray, factor: float) -> FloatArray:
    """Return factor · Ω, where an infinite factor leaves an exact zero at zero."""
    scaled = np.zeros_like(omega)
    np.multiply(omega, factor, out=scaled, where=omega != 0.0)
    return scaled


def _asymptotic(t: FloatArray, m: FloatArray, n: int, lam: float, order: int, nu: float) -> Factors:
    """R3 or R3′.  Scaling S and λ together scales the bias and leaves the variance."""
    scale = float(t.max())
    t, lam = t / scale, lam / scale
    kappa = effective_ridge(t, n, lam, m)
    df2 = float(m @ np.square(t / (t + kappa)))
    first = df2 / (n - df2)
    if order == 1:
        return Factors(scale * t * np.square(kappa / (t + kappa)) / (1.0 - df2 / n), first)

    slope = m @ (t / np.square(t + kappa)) + lam / kappa**2
    kappa_t = kappa / np.square(t + kappa) / slope
    kappa_lam = 1.0 / (kappa * slope)
    # Complex step: exact first derivatives, since no difference is taken.
    step = 1e-40j
    along_t = _shrinkage(t + step * t**2, m, n, lam, kappa + step * float(m @ (t**2 * kappa_t)), nu)
    along_lam = _shrinkage(t, m, n, lam + step, kappa + step * kappa_lam, nu)
    scaled_derivative = along_t.imag / step.imag
    bias = scale * (t * along_t.real + scaled_derivative)
    second = float(m @ (t * along_lam.imag)) / step.imag - first
    variance = first * _geometric(second / first) if lam == 0.0 else first + second
    return Factors(bias, variance)


def _geometric(ratio: float) -> float:
    """Return 1/(1 - r), which makes R1 and R2 exact; beyond r = 1/2 (p = n + 2) its tangent."""
    return 1.0 / (1.0 - ratio) if ratio <= 0.5 else 4.0 * ratio


def _shrinkage(t: Any, m: FloatArray, n: int, lam: Any, kappa: Any, nu: float) -> Any:
    """Return π_i = λ E[(XᵀX + λI)⁻¹]_ii to second order (book: equation of Theorem 4.4)."""
    slope = m @ (t / (t + kappa) ** 2) + lam / kappa**2
    kappa_t = kappa / (t + kappa) ** 2 / slope
    q = m @ (t / (t + kappa)) ** 2 / n
    q_t = (2.0 / n) * (t * kappa / (t + kappa) ** 3 - kappa_t * (m @ (t**2 / (t + kappa) ** 3)))
    return kappa / (t + kappa) + t * q_t / 2.0 * (1.0 / (1.0 - q) + nu)
