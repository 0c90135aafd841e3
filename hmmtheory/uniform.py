"""R17: ridge factors that hold at every ridge and on both sides of p = n.

Everything is a derivative of one potential, Λ = E log det(XXᵀ + λI).  Its leading order is that of
Theorem 4.2.  What comes next is taken, exactly, from data of equal variances that resemble the
spectrum where it matters; far from the threshold two more orders of the expansion serve as well.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from hmmtheory._checks import FloatArray
from hmmtheory._wishart import surplus

#: Gaps n - df₂ between which the expansion takes over: there both agree to 1e-5.
_CLOSE, _AWAY = 30.0, 60.0
_TINY = 1e-30


class Sums(NamedTuple):
    """What the potential depends on, with s = t/(t + κ), c = 1 - s and a = λ/κ = n - df₁.

    E counts the eigenvalues that are so small that they act as a ridge.
    """

    a: Any
    sc2: Any
    s2c: Any
    sc3: Any
    E: Any


def uniform_factors(
    t: FloatArray, m: FloatArray, n: int, lam: float, kappa: float, kurtosis: float = 0.0
) -> tuple[FloatArray, float]:
    r"""Return bias weights and variance factor of R17: exact if isotropic, else empirical.

    Parameters
    ----------
    t, m : ndarray, shape (k,)
        Distinct eigenvalues, the largest of them 1, and how often each occurs.
    n : int
        The number of labelled examples.
    lam : float
        :math:`\lambda \ge 0`; where it is 0 there must be more than n eigenvalues.
    kappa : float
        :math:`\kappa` as :func:`.effective_ridge` has it.
    kurtosis : float
        Excess kurtosis of the whitened features, to the order of Theorem 16.1.

    Returns
    -------
    tuple of ndarray, shape (k,), and float
        The weight of each copy of an eigenvalue, and v.

    Examples
    --------
    >>> bias, variance = uniform_factors(np.ones(1), np.array([21.0]), 10, 0.0, 1.1)
    >>> bias.round(6).tolist(), round(variance, 6)
    ([0.52381], 1.0)
    """
    sums, _ = sums_of(t, m, lam, kappa)
    gap = float(gap_of(sums))
    share, place = _share(gap), matched(sums)[0]
    special = surplus(*place) if share > 0.0 else None
    # The mismatch is known as a power of 1/b, no guide where b is small; 4 did best of 1 to 36.
    held = gap * gap / (gap * gap + 4.0)

    def shrinkage(t: Any, lam: Any, kappa: Any) -> Any:
        """Return π_i = λ E[(XᵀX + λI)⁻¹]_ii = 1 - t_i ∂Λ/∂t_i."""
        sums, e_along_s = sums_of(t, m, lam, kappa)
        slopes = (1.0 - share) * expansion(sums)
        if special is not None:
            now, jacobian = matched(sums)
            along = special.gradient + 1j * (special.hessian @ (now - place).imag)
            like = np.append(along @ jacobian, 0.0)
            slopes = slopes + share * (like + held * _mismatch_slopes(sums))
        on_a, on_sc2, on_s2c, on_e, on_sc3 = slopes
        s, c = kept_and_cut(t, kappa)
        w = s * c
        with_s = on_sc2 * c * (1 - 3 * s) + on_s2c * s * (2 - 3 * s) + on_sc3 * c * c * (1 - 4 * s)
        with_s = with_s + on_e * e_along_s - kurtosis / n * s
        # What multiplies df₁ is kept apart: it vanishes with λ/κ, exactly.
        return c - w * (with_s - (m @ (w * with_s) + on_a * sums.a) / gap_of(sums))

    # Complex steps: exact first derivatives, since no difference is taken.
    kappa_along_t = kappa * float(m @ (t * t * kappa / np.square(t + kappa))) / gap
    along_t = shrinkage(t + 1j * _TINY * t * t, lam, kappa + 1j * _TINY * kappa_along_t)
    step = _TINY * kappa  # no step underflows however small the ridge
    along_lam = shrinkage(t, lam + 1j * step, kappa + 1j * step / gap)
    bias = t * along_t.real + along_t.imag / _TINY
    return np.asarray(bias), float(m @ (t * along_lam.imag)) / step


def kept_and_cut(t: Any, kappa: Any) -> tuple[Any, Any]:
    """Return s = t/(t + κ) and c = 1 - s of complex t and κ.

    The imaginary part, a derivative, has all its digits in the smaller of the two alone: beside
    a direction of 10²⁰ times their variance others would lose theirs.

    Examples
    --------
    >>> s, c = kept_and_cut(np.ones(1) + 0j, 3.0 + 0j)
    >>> s.real.tolist(), c.real.tolist()
    ([0.25], [0.75])
    """
    s, c = t / (t + kappa), kappa / (t + kappa)
    slope = 1j * np.where(np.abs(s) < np.abs(c), s.imag, -c.imag)
    return s.real + slope, c.real - slope


def expansion(sums: Sums) -> Any:
    """Return the slopes, along each sum, of the second and the third order of Λ.

    With b = n - df₂, Y = Σs²c and Z = Σs³c these are ½ log b and
    [1/12 - Y/(12b) - (7/6)(Y/b)² + (5/4)Z/b]/b.
    """
    b = gap_of(sums)
    y, z = sums.s2c / b, (sums.sc3 + sums.s2c - sums.sc2) / b
    on_b = 0.5 / b - (1 / 12 - y / 6 - 3.5 * y * y + 2.5 * z) / (b * b)
    on_y = (-1 / 12 - 7 / 3 * y) / (b * b)
    on_z = 1.25 / (b * b)
    return np.array([on_b, on_b - on_z, on_b + on_y + on_z, 0.0 * b, on_z])


def matched(sums: Sums) -> tuple[Any, Any]:
    """Return N - P, P and λ of data of equal variances that resemble the spectrum, and slopes.

    They have the same gap n - df₂ and the same Σs²c, and eigenvalues too small to be learned
    count as ridge.  The slopes (3, 4) are along λ/κ, Σsc², Σs²c and E.
    """
    ridge, q = sums.a + sums.E, sums.sc2 - sums.E
    w = q + sums.s2c
    r, u = w / q, w / sums.s2c
    level = u / r  # κ of the matched data, at variance 1
    place = np.array([ridge - w * u, w * r * u, ridge * level])
    zero = 0.0 * w
    along_q = np.array([-2 * u, r * u * (3 - r), ridge / sums.s2c])
    along_s2c = np.array([u * (u - 2), r * u * (3 - u), -ridge * level / sums.s2c])
    along_a = np.array([1.0 + zero, zero, level])
    return place, np.array([along_a, along_q, along_s2c, along_a - along_q]).T


def mismatch(sums: Sums) -> Any:
    """Return Σs³c less its value for the matched data, without the cancellation."""
    q = sums.sc2 - sums.E
    return sums.sc3 - sums.E - q * q / (q + sums.s2c)


def unlikeness(sums: Sums) -> float:
    """Return that difference as a share of the matched data's value."""
    q = float(sums.sc2 - sums.E)
    return float(mismatch(sums)) * (q + float(sums.s2c)) / (q * q)


def _mismatch_slopes(sums: Sums) -> Any:
    """Return the slopes of what the third order knows of unequal variances.

    That is (5/4)(Z - Z*)/b², Z = Σs³c.
    """
    b, q = gap_of(sums), sums.sc2 - sums.E
    share, left = q / (q + sums.s2c), mismatch(sums)
    on_b, on_q = -2.0 * left / b, share * (share - 2.0)
    slopes = [on_b, on_b + on_q, on_b + share * share, -1.0 - on_q, 1.0 + 0.0 * b]
    return 1.25 * np.array(slopes) / (b * b)


def sums_of(t: Any, m: FloatArray, lam: Any, kappa: Any) -> tuple[Sums, Any]:
    """Return the sums, and how E changes with each s.

    An eigenvalue t counts by ((T - t)/(T + t))², where T is where those lie that are neither
    learned nor forgotten.
    """
    s, c, x = t / (t + kappa), kappa / (t + kappa), t / kappa
    w = s * c
    up, down = m @ (s**5 * c**2), m @ (s**4 * c**3)
    middle = up / down
    rho = (middle - x) / (middle + x)
    rho = np.where(abs(rho) < 1e-9, 0.0, rho)  # no rounding error where variances are equal
    far = 4.0 * s * c**2 * rho / np.square(middle + x)
    along_middle = m @ (far * c * c * x) / down
    direct = c**3 * rho * rho * (1 - 5 * s) - far * middle
    shift = s**4 * c * (5 - 7 * s) - middle * s**3 * c * c * (4 - 7 * s)
    sums = Sums(
        lam / kappa, m @ (w * c), m @ (w * s), m @ (w * c * c), m @ (s * (c * c * rho) ** 2)
    )
    return sums, direct + along_middle * shift


def gap_of(sums: Sums) -> Any:
    """Return n - df₂, without its cancellation."""
    return sums.a + sums.sc2 + sums.s2c


def _share(gap: float) -> float:
    """Return how much is taken from matched data, the rest from the expansion."""
    left = min(max((_AWAY - gap) / (_AWAY - _CLOSE), 0.0), 1.0)
    return left * left * (3.0 - 2.0 * left)
