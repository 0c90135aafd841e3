"""How a spectrum turns a head into a risk: R1, R2, R3, R3′, R17 with ridge, and unequal rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from hmmtheory._checks import (
    LARGEST,
    FloatArray,
    as_array,
    as_count,
    as_number,
    as_order,
    shown,
)
from hmmtheory.uniform import gap_of, mismatch, sums_of, uniform_factors, unlikeness

#: With order="uniform", a ridge below this share of the largest eigenvalue counts as none.
_NO_RIDGE = 1e-80

#: Of uniform_error, from benchmarks/theory_accuracy.py.
_EVERYWHERE, _UNLIKE, _BESIDE = 0.02, 4.0, 20.0


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


def risk_factors(
    eigenvalues: ArrayLike,
    n_samples: int,
    ridge: float = 0.0,
    multiplicities: ArrayLike | None = None,
    order: int | str = "uniform",
    kurtosis: float = 0.0,
) -> Factors:
    r"""Return the bias weights :math:`w_i` and the variance factor v of a spectrum.

    With :math:`b_i` the rows of B* in the eigenbasis of S, the risk of :func:`.head_risk` is
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
    order : {1, 2, "uniform"}
        1 for Theorem 4.2 (R3), 2 for Theorem 14.1 (R3′), and "uniform" for R17, which is as
        accurate at p = n and for a small ridge as elsewhere: exact where all eigenvalues are
        equal, empirical where not, continuous in the ridge, 0.5 to 5 ms a call.  Factors that
        no data of equal variances can tell (n < 10, or a wide gap after about n eigenvalues)
        are those of the second order.
    kurtosis : float
        The excess kurtosis :math:`\nu \ge -2` of the whitened features, where these are
        independent and symmetric; 0 for Gaussian ones.  The first order does not see it; the
        others do (Theorem 16.1, asymptotic), with an error that falls as 1/n².

    Returns
    -------
    Factors
        ``.bias`` (k,), one weight for each copy of the eigenvalue, and ``.variance``, a number.

    Raises
    ------
    ValueError
        If an eigenvalue or multiplicity is not positive and finite, or as :func:`.head_risk`.

    Examples
    --------
    >>> bias, variance = risk_factors([2.0], n_samples=10, multiplicities=[21])
    >>> bias.round(6).tolist(), round(variance, 6)
    ([1.047619], 1.0)
    """
    t, m = _checked_spectrum(eigenvalues, multiplicities)
    n = as_count("n_samples", n_samples)
    lam = _as_ridge(ridge, t)
    order = as_order(order)
    nu = as_number("kurtosis", kurtosis, minimum=-2.0) if order != 1 else 0.0
    rank = round(float(m.sum()))
    if rank == 0:
        return Factors(np.zeros_like(t), 0.0)
    if np.isinf(lam):
        return Factors(t, 0.0)
    if order == "uniform" and lam < _NO_RIDGE * t.max():
        lam = 0.0
    if lam > 0.0 or rank > n + 1:
        return _asymptotic(t, m, n, lam, order, nu)
    # The bias is finite at the threshold too, and is zero for rank <= n.
    bias = np.zeros_like(t) if rank <= n else _asymptotic(t, m, n, lam, order, nu).bias
    if rank > n - 2:
        return Factors(bias, np.inf)
    if nu == 0.0:
        return Factors(bias, rank / (n - rank - 1))
    if order == "uniform":  # where a vanishing ridge leads
        return Factors(bias, rank / (n - rank - 1) + rank / (n - rank) * nu / n)
    return Factors(bias, rank / (n - rank) * _geometric(1.0 / (n - rank) + nu / n))


def uniform_error(
    eigenvalues: ArrayLike,
    n_samples: int,
    ridge: float = 0.0,
    multiplicities: ArrayLike | None = None,
) -> float:
    r"""Return how far R17 may be off, relative to the excess risk, for Gaussian rows.

    Where data of equal variances resemble a spectrum least, and the gap n - df₂ is small, the
    error is largest; elsewhere it falls as 1/n.  The constants were fitted to simulations so that
    19 of 20 errors are smaller (``benchmarks/theory_accuracy.py``; empirical).  Beside the
    threshold it says more, so that no error of a per cent in those simulations goes unsaid.  It is
    0 where R17 is exact.  With one feature more than labels there is none to spare, and what small
    eigenvalues count as a ridge is added, as a multiple of the ridge.

    Parameters
    ----------
    eigenvalues, n_samples, ridge, multiplicities
        As :func:`.risk_factors`.

    Returns
    -------
    float
        At most 1, which it is where R17 is not used since no data of equal variances resemble
        the spectrum at all.

    Raises
    ------
    ValueError
        As :func:`.risk_factors`.

    Examples
    --------
    >>> uniform_error([1.0], 20, multiplicities=[30])
    0.0
    >>> round(uniform_error([1.0, 0.01], 20, multiplicities=[20, 5]), 3)
    0.061
    """
    t, m = _checked_spectrum(eigenvalues, multiplicities)
    n = as_count("n_samples", n_samples)
    lam = _as_ridge(ridge, t)
    scale = float(t.max(initial=0.0))
    exact = lam <= _NO_RIDGE * scale and m.sum() <= n
    if exact or np.isinf(lam) or scale - t.min(initial=scale) <= 1e-9 * scale:
        return 0.0
    t, lam = t / scale, lam / scale
    kappa = _kappa(t, m, n, lam)
    low, poor = _implausible(*uniform_factors(t, m, n, lam, kappa), _first(t, m, n, lam, kappa))
    if poor:
        return 1.0
    sums, _ = sums_of(t, m, lam, kappa)
    gap = float(gap_of(sums))
    unlike = abs(float(mismatch(sums))) / (gap * gap * (1.0 + gap))
    error = _EVERYWHERE / n * (1 + 10 / n) + _UNLIKE * unlike
    # Beside the threshold the few directions that are left decide, and how the rest differ shows.
    error += _BESIDE / n * min(abs(unlikeness(sums)), 0.1) / (1.0 + gap) ** 2
    # One feature more than labels: there is none to spare, and yet small ones count as ridge.
    if abs(float(m.sum()) - n - 1) < 0.5 and 0.0 < sums.a < 0.1 * gap:
        error += float(sums.E) / sums.a
    return float(min(error, 1.0))


def elliptical_factors(
    eigenvalues: ArrayLike,
    n_samples: int,
    row_scales: ArrayLike,
    ridge: float = 0.0,
    order: int | str = "uniform",
) -> EllipticalFactors:
    r"""Return bias weights and variance factors where rows differ in scale.

    Rows are :math:`x = \tau g` with g Gaussian of covariance S and a random scale of mean square
    1.  Training gives a row the weight :math:`\varphi(\tau) = \tau^2 / (\lambda/\kappa + \tau^2
    \mathrm{df}_1)`, with :math:`\kappa` such that the n weights sum to 1, and

    .. math:: v(\tau) = \frac{n\,\mathrm{df}_2\,\varphi(\tau)^2/\tau^2}
              {1 - n\,\mathrm{df}_2\,E[\varphi^2]}, \qquad
              w_i = \frac{t_i\,\kappa^2/(t_i+\kappa)^2}{1 - n\,\mathrm{df}_2\,E[\varphi^2]}

    (book: Theorem 15.2; asymptotic).  Equal scales give Theorem 4.2 (R3); no ridge and p > n
    give R12, where :math:`\varphi = 1/n`.  The other orders multiply by what they add to
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
    order : {1, 2, "uniform"}
        Order of the formula.

    Returns
    -------
    EllipticalFactors
        ``.bias`` (k,) and ``.variance`` (N,), one factor for each row scale.

    Raises
    ------
    ValueError
        If the scales are not a vector of non-negative numbers, some positive, or as
        :func:`.risk_factors`.

    Examples
    --------
    >>> found = elliptical_factors([1.0, 0.5], 20, row_scales=[0.5, 1.5], order=1)
    >>> found.variance.round(4).tolist()
    [0.0323, 0.2062]
    """
    t, m = _checked_spectrum(eigenvalues, None)
    n = as_count("n_samples", n_samples)
    lam = _as_ridge(ridge, t)
    order = as_order(order)
    tau = as_array("row_scales", row_scales)
    if tau.ndim != 1 or (tau < 0).any() or not tau.any():
        raise ValueError(
            "row_scales must be a vector of non-negative numbers, some of them positive; "
            f"got shape {tau.shape}"
        )
    tau = tau / tau.max()
    square = np.square(tau) / np.square(tau).mean()
    gaussian = risk_factors(t, n, lam, order=order)
    if t.size == 0 or np.isinf(lam) or np.isinf(gaussian.variance):
        return EllipticalFactors(gaussian.bias, np.where(square > 0, gaussian.variance, 0.0))
    if lam == 0.0 and t.size < n:
        df1 = df2 = float(t.size)
        level = 1.0 / _increasing_root(
            lambda x: n * float(_row_weights(square, 1.0 / x, df1).mean()) - 1.0, 1.0 / (n - df1)
        )
        shrunk, first = np.zeros_like(t), gaussian._replace(variance=df2 / (n - df2))
    else:
        kappa = effective_ridge(t, n, lam)
        if lam > 0.0:
            kappa = _increasing_root(
                lambda k: (
                    n * float(_row_weights(square, lam / k, float((t / (t + k)).sum())).mean())
                    - 1.0
                ),
                kappa,
            )
        df1, df2 = float((t / (t + kappa)).sum()), float(np.square(t / (t + kappa)).sum())
        level = lam / kappa
        shrunk, first = t * np.square(kappa / (t + kappa)), risk_factors(t, n, lam, order=1)
    phi = _row_weights(square, level, df1)
    crowding = n * df2 * float(np.square(phi).mean())
    share = np.divide(np.square(phi), square, out=np.zeros_like(phi), where=square > 0)
    bias, variance = shrunk / (1.0 - crowding), n * df2 * share / (1.0 - crowding)
    if order == 1:
        return EllipticalFactors(bias, variance)
    more = np.divide(gaussian.bias, first.bias, out=np.ones_like(bias), where=first.bias > 0)
    grown = gaussian.variance / first.variance if first.variance > 0 else 1.0
    return EllipticalFactors(bias * more, variance * grown)


def _row_weights(square: FloatArray, level: float, df1: float) -> FloatArray:
    """Return φ(τ) of squared scales τ², zero for an empty row."""
    whole = level + square * df1
    return np.asarray(np.divide(square, whole, out=np.zeros_like(square), where=square > 0))


def _increasing_root(equation: Callable[[float], float], start: float) -> float:
    """Return the positive root of an increasing function, searched on a logarithmic axis."""
    from scipy import optimize

    def on_log(x: float) -> float:
        return equation(float(np.exp(x)))

    left = right = np.log(start)
    while on_log(left) > 0:
        left -= 2.0
    while on_log(right) < 0:
        right += 2.0
    return float(np.exp(optimize.brentq(on_log, left - 1e-9, right + 1e-9, xtol=1e-14)))


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
    scale = float(t.max(initial=0.0)) or 1.0
    return scale * _kappa(t / scale, m, n, lam / scale)


def _kappa(t: FloatArray, m: FloatArray, n: int, lam: float) -> float:
    """Return κ of a spectrum whose largest eigenvalue is 1."""
    from scipy import optimize

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


def minimise_over_ridge(excess: Callable[[float], float], scale: float) -> float:
    """Return the penalty of least excess risk among 0, infinity and 24 decades around `scale`."""
    from scipy import optimize

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


def nearby_ridge(excess: Callable[[float], float], start: float) -> float:
    """Return the penalty of least excess risk next to `start`, by Newton steps in its logarithm.

    Slopes are taken over a tenth of the penalty, so that rounding does not move the answer.
    """
    if not 0.0 < start < np.inf:
        return start
    at, step, largest = np.log(start), 0.1, 1.0
    for _ in range(60):
        heights = [excess(float(np.exp(at + k * step))) for k in range(-2, 3)]
        slope = np.array([1.0, -8.0, 0.0, 8.0, -1.0]) @ heights / (12 * step)
        bend = np.array([-1.0, 16.0, -30.0, 16.0, -1.0]) @ heights / (12 * step**2)
        move = -slope / bend if bend > 0 else -np.sign(slope) * largest
        at += float(np.clip(move, -largest, largest))
        if abs(move) < 3e-4:
            break
        largest *= 0.8  # no endless turning about a kink
    return float(np.exp(at))


def _checked_spectrum(
    eigenvalues: ArrayLike, multiplicities: ArrayLike | None
) -> tuple[FloatArray, FloatArray]:
    t = as_array("eigenvalues", eigenvalues)
    least, most = LARGEST**-2, LARGEST**2
    if t.ndim != 1 or (t < least).any() or (t > most).any():
        raise ValueError(
            f"eigenvalues must be a vector of positive numbers between {least:g} and {most:g}; "
            f"got {shown(eigenvalues)}"
        )
    m = np.ones_like(t) if multiplicities is None else as_array("multiplicities", multiplicities)
    if m.shape != t.shape or (m < 1e-9).any() or (m > 2.0**53).any():
        raise ValueError(
            f"multiplicities must be {t.size} numbers between 1e-9 and 2**53; "
            f"got {shown(multiplicities)}"
        )
    return t, m


def _as_ridge(value: Any, t: FloatArray) -> float:
    """Return a penalty; beside the eigenvalues one may be so small that it is none, or infinite."""
    lam = as_number("ridge", value, minimum=0.0, allow_infinite=True)
    scale = float(t.max(initial=0.0))
    if lam > 1e290 * scale > 0:
        return float("inf")
    return lam if lam > 1e-290 * scale else 0.0


def _asymptotic(
    t: FloatArray, m: FloatArray, n: int, lam: float, order: int | str, nu: float
) -> Factors:
    """R3, R3′ or R17.  Scaling S and λ together scales the bias and leaves the variance."""
    scale = float(t.max())
    t, lam = t / scale, lam / scale
    kappa = _kappa(t, m, n, lam)
    first = _first(t, m, n, lam, kappa)
    if order == 1:
        bias, variance = first
    elif order == 2:
        bias, variance = _second(t, m, n, lam, kappa, nu, first)
    else:
        bias, variance = uniform_factors(t, m, n, lam, kappa, nu)
        low, poor = _implausible(bias, variance, first)
        low |= first.bias < 1e-12 * t  # all that is left is rounding
        if low.any() or poor:
            second = _second(t, m, n, lam, kappa, nu, first)
            bias = np.where(low, second.bias, bias)
            variance = second.variance if poor else variance
    return Factors(scale * bias, variance)


def _first(t: FloatArray, m: FloatArray, n: int, lam: float, kappa: float) -> Factors:
    """R3, where the largest eigenvalue is 1."""
    s, c = t / (t + kappa), kappa / (t + kappa)
    left = lam / kappa + float(m @ (s * c))  # n - df₂, without its cancellation
    return Factors(t * np.square(c) * (n / left), float(m @ np.square(s)) / left)


def _implausible(bias: FloatArray, variance: float, first: Factors) -> tuple[Any, bool]:
    """Return which of R17's factors are not to be believed: those below half of the first order.

    They occur where no data of equal variances resemble the spectrum.  Exact ones of equal
    variances start at 0.6 of it, for n = 1.
    """
    return ~(bias >= 0.5 * first.bias), not variance >= 0.5 * first.variance


def _second(
    t: FloatArray, m: FloatArray, n: int, lam: float, kappa: float, nu: float, first: Factors
) -> Factors:
    """R3′, where the largest eigenvalue is 1."""
    c = kappa / (t + kappa)
    left = lam / kappa + float(m @ (t / (t + kappa) * c))
    # Complex steps, small beside κ: exact first derivatives, since no difference is taken.
    step = 1e-30
    kappa_along_t = float(m @ np.square(t * c)) / left
    along_t = _shrinkage(t + 1j * step * t**2, m, n, lam, kappa + 1j * step * kappa_along_t, nu)
    # In units of κ, so that no step underflows however small the ridge.
    along_lam = _shrinkage(t / kappa, m, n, lam / kappa + 1j * step, 1.0 + 1j * step / left, nu)
    more = float(m @ (t / kappa * along_lam.imag)) / step - first.variance
    grown = (
        first.variance * _geometric(more / first.variance) if lam == 0.0 else first.variance + more
    )
    return Factors(t * along_t.real + along_t.imag / step, grown)


def _geometric(ratio: float) -> float:
    """Return 1/(1 - r), which makes R1 and R2 exact; beyond r = 1/2 (p = n + 2) its tangent."""
    return 1.0 / (1.0 - ratio) if ratio <= 0.5 else 4.0 * ratio


def _shrinkage(t: Any, m: FloatArray, n: int, lam: Any, kappa: Any, nu: float) -> Any:
    """Return π_i = λ E[(XᵀX + λI)⁻¹]_ii to second order (book: equation of Theorem 14.1)."""
    s, c = t / (t + kappa), kappa / (t + kappa)
    left = lam / kappa + m @ (s * c)
    return c + s * c * (s - (m @ (s * s * c)) / left) * (1.0 / left + nu / n)
