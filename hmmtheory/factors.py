"""How a spectrum turns a head into a risk: R1, R2, R3, R3′, R17 with ridge, and unequal rows."""

from __future__ import annotations

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
    as_ridge,
    shown,
)
from hmmtheory._search import bracket, increasing_root
from hmmtheory.uniform import gap_of, kept_and_cut, mismatch, sums_of, uniform_factors, unlikeness

#: With order="uniform", a ridge below this share of the largest eigenvalue counts as none.
_NO_RIDGE = 1e-80

#: Of uniform_error, from benchmarks/theory_accuracy.py.
_EVERYWHERE, _UNLIKE, _BESIDE = 0.02, 4.0, 20.0
#: No eigenvalue within this factor of κ is a gap; at the threshold errors of 17 to 53 % were seen.
_GAP, _APART = 8.0, 0.5


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
    t, m = as_spectrum(eigenvalues, multiplicities)
    n = as_count("n_samples", n_samples)
    lam = np.array([as_ridge(ridge)])
    order = as_order(order)
    nu = as_number("kurtosis", kurtosis, minimum=-2.0) if order != 1 else 0.0
    bias, variance = factors_of(t, m, n, lam, order, nu)
    return Factors(bias[0], float(variance[0]))


def factors_of(
    t: FloatArray, m: FloatArray, n: int, ridges: FloatArray, order: int | str, kurtosis: float
) -> tuple[FloatArray, FloatArray]:
    """Return bias weights (k, p) and variance factors (k,) for k penalties; all is checked.

    Examples
    --------
    >>> found = factors_of(np.ones(1), np.array([21.0]), 10, np.array([0.0, np.inf]), 1, 0.0)
    >>> [factor.round(6).tolist() for factor in found]
    [[[0.52381], [1.0]], [0.909091, 0.0]]
    """
    lam = _beside(ridges, t)
    bias, variance = np.zeros((lam.size, t.size)), np.zeros(lam.size)
    rank = round(float(m.sum()))
    if rank == 0:
        return bias, variance
    bias[np.isinf(lam)] = t
    if order == "uniform":
        lam = np.where(lam < _NO_RIDGE * t.max(), 0.0, lam)
    few = (lam == 0.0) & (rank <= n + 1)
    rest = np.isfinite(lam) & ~few
    if rest.any():
        bias[rest], variance[rest] = _asymptotic(t, m, n, lam[rest], order, kurtosis)
    if few.any():
        variance[few] = _without_ridge(rank, n, order, kurtosis)
        if rank > n:  # the bias is finite at the threshold too, and is zero for rank <= n
            bias[few] = _asymptotic(t, m, n, np.zeros(1), order, kurtosis)[0]
    return bias, variance


def _without_ridge(rank: int, n: int, order: int | str, nu: float) -> float:
    """Return R1's variance factor, and what kurtosis adds to it."""
    if rank > n - 2:
        return float("inf")
    if nu == 0.0:
        return rank / (n - rank - 1)
    if order == "uniform":  # where a vanishing ridge leads
        return rank / (n - rank - 1) + rank / (n - rank) * nu / n
    return rank / (n - rank) * float(_geometric(1.0 / (n - rank) + nu / n))


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
    threshold it says more, so that no error of a per cent in those simulations goes unsaid, and a
    half where as many eigenvalues as labels, or one less, lie far above the others.  It is
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
    t, m = as_spectrum(eigenvalues, multiplicities)
    n = as_count("n_samples", n_samples)
    lam = _beside(np.array([as_ridge(ridge)]), t)
    scale = float(t.max(initial=0.0))
    exact = lam[0] <= _NO_RIDGE * scale and m.sum() <= n
    if exact or np.isinf(lam[0]) or scale - t.min(initial=scale) <= 1e-9 * scale:
        return 0.0
    t, lam = t / scale, lam / scale
    kappa = _kappa(t, m, n, lam)
    one = (t, m, n, float(lam[0]), float(kappa[0]))
    if _implausible(*uniform_factors(*one), *_first(t, m, n, lam, kappa))[1].any():
        return 1.0
    sums, _ = sums_of(t, m, float(lam[0]), float(kappa[0]))
    gap = float(gap_of(sums))
    unlike = abs(float(mismatch(sums))) / (gap * gap * (1.0 + gap))
    error = _EVERYWHERE / n * (1 + 10 / n) + _UNLIKE * unlike
    # Beside the threshold the few directions that are left decide, and how the rest differ shows.
    error += _BESIDE / n * min(abs(unlikeness(sums)), 0.1) / (1.0 + gap) ** 2
    # One feature more than labels: there is none to spare, and yet small ones count as ridge.
    if abs(float(m.sum()) - n - 1) < 0.5 and 0.0 < sums.a < 0.1 * gap:
        error += float(sums.E) / sums.a
    # As many large eigenvalues as labels, or one less, and a wide gap: no matched data are like it.
    large = t > kappa[0]
    above = kappa[0] / t[large].min(initial=np.inf)
    near = max(above, t[~large].max(initial=0.0) / kappa[0])
    if abs(float(m[large].sum()) - n + 0.5) < 1.0 and near < 1.0 / _GAP:
        error = max(error, _APART)
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
    t, _ = as_spectrum(eigenvalues, None)
    n = as_count("n_samples", n_samples)
    lam = np.array([as_ridge(ridge)])
    order = as_order(order)
    bias, variance = elliptical_factors_of(t, n, as_row_scales(row_scales), lam, order)
    return EllipticalFactors(bias[0], variance[0])


def elliptical_factors_of(
    t: FloatArray, n: int, tau: FloatArray, ridges: FloatArray, order: int | str
) -> tuple[FloatArray, FloatArray]:
    """Return bias weights (k, p) and variance factors (k, N) for k penalties; all is checked.

    Examples
    --------
    >>> tau = np.array([0.5, 1.5])
    >>> bias, variance = elliptical_factors_of(np.ones(2), 20, tau, np.array([0.0, np.inf]), 1)
    >>> variance.round(4).tolist()
    [[0.0323, 0.2062], [0.0, 0.0]]
    """
    tau = tau / tau.max()
    square = np.square(tau) / np.square(tau).mean()
    lam, one = _beside(ridges, t), np.ones_like(t)
    # Empty rows are no rows: what is left is fewer rows of a larger covariance.
    left = float(np.mean(square > 0))
    m, own = max(1, round(n * left)), t / left
    bias, gain = factors_of(own, one, m, lam, order, 0.0)
    bias, variance = left * bias, np.where(square > 0, gain[:, None], 0.0)
    usual = np.isfinite(lam) & np.isfinite(gain) & (t.size > 0)
    plain = usual & (lam == 0.0) & (t.size < m)
    if plain.any():
        more = gain[plain] / (t.size / (m - t.size)) if order != 1 else np.ones(1)
        variance[plain] = more[0] * _unequal(t, n, m, square, np.zeros(1))[1]
    if (rest := usual & ~plain).any():
        shrunk, rows = _unequal(t, n, m, square, lam[rest])
        if order != 1:
            first, grown = _asymptotic(own, one, m, lam[rest], 1, 0.0)
            first = left * first
            shrunk *= np.divide(bias[rest], first, out=np.ones_like(first), where=first > 0)
            rows *= np.divide(gain[rest], grown, out=np.ones_like(grown), where=grown > 0)[:, None]
        bias[rest], variance[rest] = shrunk, rows
    return bias, variance


def _unequal(
    t: FloatArray, n: int, m: int, square: FloatArray, lam: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return the first order's factors for squared row scales of mean 1, m of n rows not empty."""

    def crowded(log_kappa: FloatArray) -> tuple[FloatArray, FloatArray]:
        kappa = np.exp(log_kappa)[:, None]
        s = t / (t + kappa)
        level, fall = lam[:, None] / kappa, s * (kappa / (t + kappa))
        phi, share = _row_weights(square, level, s.sum(axis=1, keepdims=True))
        slope = share * (level + square * fall.sum(axis=1, keepdims=True))
        return n * phi.mean(axis=1) - 1.0, n * slope.mean(axis=1)

    def rising(log: FloatArray) -> tuple[FloatArray, FloatArray]:
        level = np.exp(-log)[:, None]
        phi, share = _row_weights(square, level, df1)
        return n * phi.mean(axis=1) - 1.0, n * (share * level).mean(axis=1)

    if t.size < m and not lam.any():  # κ is 0, and λ/κ a positive number
        df1 = df2 = np.full(1, float(t.size))
        level = np.exp(-increasing_root(rising, *bracket(rising, -np.log(m - df1))))
        shrunk = np.zeros((1, t.size))
    else:
        scale = float(t.max())
        kappa = scale * _kappa(t / scale, np.ones_like(t), m, lam / scale)
        if lam.any() or not square.all():  # else φ is 1/n, and κ that of equal rows
            kappa = np.exp(increasing_root(crowded, *bracket(crowded, np.log(kappa))))
        s, c = t / (t + kappa[:, None]), kappa[:, None] / (t + kappa[:, None])
        level, df1, df2 = lam / kappa, s.sum(axis=1), np.square(s).sum(axis=1)
        shrunk = t * np.square(c)
    phi, share = _row_weights(square, level[:, None], df1[:, None])
    left = 1.0 - n * df2 * np.square(phi).mean(axis=1)
    return shrunk / left[:, None], share * (n * df2 / left)[:, None]


def _row_weights(
    square: FloatArray, level: FloatArray, df1: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return φ(τ) and φ²/τ² of squared scales τ² (k, N), zero for an empty row."""
    whole = level + square * df1
    some = np.broadcast_to(square > 0, whole.shape)
    phi = np.divide(square, whole, out=np.zeros_like(whole), where=some)
    return phi, np.divide(phi, whole, out=np.zeros_like(whole), where=some)


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
    t, m = as_spectrum(eigenvalues, multiplicities)
    n = as_count("n_samples", n_samples)
    lam = as_number("ridge", ridge, minimum=0.0)
    scale = float(t.max(initial=0.0)) or 1.0
    return scale * float(_kappa(t / scale, m, n, np.array([lam / scale]))[0])


def _kappa(t: FloatArray, m: FloatArray, n: int, lam: FloatArray) -> FloatArray:
    """Return κ (k,) of a spectrum whose largest eigenvalue is 1."""
    excess, kappa = float(m.sum()) - n, np.zeros_like(lam)
    some = (lam > 0) | (excess > 0)
    if not some.any():
        return kappa
    lam = lam[some]
    # Both bounds follow from t/(t + kappa) being monotone in t and at most t/kappa.
    low = np.maximum(lam / n, float(t.min(initial=np.inf)) * excess / n if excess > 0 else 0.0)
    high = np.maximum((float(m @ t) + lam) / n, low)

    def spare(log_kappa: FloatArray) -> tuple[FloatArray, FloatArray]:
        at = np.exp(log_kappa)
        s, level = t / (t + at[:, None]), lam / at
        return n - s @ m - level, (s * (at[:, None] / (t + at[:, None]))) @ m + level

    kappa[some] = np.exp(increasing_root(spare, np.log(low) - 1e-9, np.log(high) + 1e-9))
    return kappa


def as_spectrum(
    eigenvalues: ArrayLike, multiplicities: ArrayLike | None
) -> tuple[FloatArray, FloatArray]:
    """Return eigenvalues and how often each occurs."""
    t = as_array("eigenvalues", eigenvalues)
    least, most = LARGEST**-2, LARGEST**2
    if t.ndim != 1 or (t < least).any() or (t > most).any():
        raise ValueError(
            f"eigenvalues must be a vector of positive numbers between {least:g} and {most:g}; "
            f"got {shown(eigenvalues)}"
        )
    m = np.ones_like(t) if multiplicities is None else as_array("multiplicities", multiplicities)
    if m.shape != t.shape or (m < 1e-9).any() or (m > 2.0**53).any() or (m.size and m.sum() < 1.0):
        raise ValueError(
            f"multiplicities must be {t.size} numbers between 1e-9 and 2**53 that add up to one "
            f"or more; got {shown(multiplicities)}"
        )
    return t, m


def as_row_scales(value: Any) -> FloatArray:
    """Return scales of rows as a vector."""
    tau = as_array("row_scales", value)
    if tau.ndim != 1 or (tau < 0).any() or not tau.any():
        raise ValueError(
            "row_scales must be a vector of non-negative numbers, some of them positive; "
            f"got shape {tau.shape}"
        )
    return tau


def _beside(lam: FloatArray, t: FloatArray) -> FloatArray:
    """Return penalties; beside the eigenvalues one may be so small that it is none, or infinite."""
    scale = float(t.max(initial=0.0))
    if scale == 0.0:
        return lam
    with np.errstate(over="ignore"):
        return np.where(lam > 1e290 * scale, np.inf, np.where(lam > 1e-290 * scale, lam, 0.0))


def _asymptotic(
    t: FloatArray, m: FloatArray, n: int, lam: FloatArray, order: int | str, nu: float
) -> tuple[FloatArray, FloatArray]:
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
        found = [
            uniform_factors(t, m, n, *one, nu)
            for one in zip(lam.tolist(), kappa.tolist(), strict=True)
        ]
        bias, variance = np.array([w for w, _ in found]), np.array([v for _, v in found])
        low, poor = _implausible(bias, variance, *first)
        low |= first[0] < 1e-12 * t  # all that is left is rounding
        if low.any() or poor.any():
            second = _second(t, m, n, lam, kappa, nu, first)
            bias, variance = np.where(low, second[0], bias), np.where(poor, second[1], variance)
    return scale * bias, variance


def _first(
    t: FloatArray, m: FloatArray, n: int, lam: FloatArray, kappa: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """R3, where the largest eigenvalue is 1."""
    s, c = t / (t + kappa[:, None]), kappa[:, None] / (t + kappa[:, None])
    left = lam / kappa + (s * c) @ m  # n - df₂, without its cancellation
    return t * np.square(c) * (n / left)[:, None], np.square(s) @ m / left


def _implausible(
    bias: FloatArray, variance: Any, first_bias: FloatArray, first_variance: FloatArray
) -> tuple[Any, Any]:
    """Return which of R17's factors are not to be believed: those below half of the first order.

    They occur where no data of equal variances resemble the spectrum.  Exact ones of equal
    variances start at 0.6 of it, for n = 1.
    """
    return ~(bias >= 0.5 * first_bias), ~(variance >= 0.5 * first_variance)


def _second(
    t: FloatArray,
    m: FloatArray,
    n: int,
    lam: FloatArray,
    kappa: FloatArray,
    nu: float,
    first: tuple[FloatArray, FloatArray],
) -> tuple[FloatArray, FloatArray]:
    """R3′, where the largest eigenvalue is 1."""
    lam, kappa = lam[:, None], kappa[:, None]
    c = kappa / (t + kappa)
    left = lam / kappa + (t / (t + kappa) * c) @ m[:, None]
    # Complex steps, small beside κ: exact first derivatives, since no difference is taken.
    step = 1e-30
    kappa_along_t = np.square(t * c) @ m[:, None] / left
    along_t = _shrinkage(t + 1j * step * t**2, m, n, lam, kappa + 1j * step * kappa_along_t, nu)
    # In units of κ, so that no step underflows however small the ridge.
    along_lam = _shrinkage(t / kappa, m, n, lam / kappa + 1j * step, 1.0 + 1j * step / left, nu)
    more = (t / kappa * along_lam.imag) @ m / step - first[1]
    ratio = np.divide(more, first[1], out=np.zeros_like(more), where=first[1] > 0)
    grown = np.where(lam[:, 0] == 0.0, first[1] * _geometric(ratio), first[1] + more)
    return t * along_t.real + along_t.imag / step, grown


def _geometric(ratio: Any) -> Any:
    """Return 1/(1 - r), which makes R1 and R2 exact; beyond r = 1/2 (p = n + 2) its tangent."""
    return np.where(ratio <= 0.5, 1.0 / (1.0 - np.minimum(ratio, 0.5)), 4.0 * ratio)


def _shrinkage(t: Any, m: FloatArray, n: int, lam: Any, kappa: Any, nu: float) -> Any:
    """Return π_i = λ E[(XᵀX + λI)⁻¹]_ii to second order (book: equation of Theorem 14.1)."""
    s, c = kept_and_cut(t, kappa)
    left = lam / kappa + (s * c) @ m[:, None]
    return c + s * c * (s - ((s * s * c) @ m[:, None]) / left) * (1.0 / left + nu / n)
