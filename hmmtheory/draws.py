r"""The law of the risk of one trained head: what a single experiment will see (Chapters 3 to 5).

The mean over training sets is :func:`.head_risk`; one experimenter draws one training set, and
near p = n the mean is carried by draws that hardly anyone meets.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import scipy  # scipy.special loads when it is first used
from numpy.typing import ArrayLike

from hmmtheory._checks import FloatArray, as_a, as_array, as_count, as_rng, shown
from hmmtheory._linalg import thin_svd
from hmmtheory._trials import one_blas_thread
from hmmtheory.factors import effective_ridge
from hmmtheory.moments import Moments
from hmmtheory.population import Population

#: Eigenvalues of S that differ by less than this fraction count as equal.
_EQUAL = 1e-9
#: Draws behind the quantiles of several outputs, fewer where a draw is dear.
_DRAWS, _FEWEST, _WORK = 10_000, 1_000, 4e7
#: Numbers held at once while drawing.
_HELD = 2_000_000


class _Noise(NamedTuple):
    """The law of a tr(Ω Gᵀ W⁻¹ G): G Gaussian with m rows, W Wishart of m + c degrees."""

    variances: FloatArray  # positive eigenvalues of Ω, one or more
    gain: float  # a
    rows: float  # m, at least 1
    surplus: float  # c

    @property
    def width(self) -> int:
        return self.variances.size

    @property
    def mean(self) -> float:
        if self.surplus <= 1:
            return float("inf")
        return float(self.gain * self.variances.sum() * self.rows / (self.surplus - 1.0))

    @property
    def variance(self) -> float:
        m, c, omega = self.rows, self.surplus, self.variances
        if c <= 3:
            return float("inf")
        square = m * (m + c - 1.0) / (c * (c - 1.0) * (c - 3.0))  # E tr W⁻²
        spread = 2.0 * square * (np.square(omega).sum() + omega.sum() ** 2 / (c - 1.0))
        return float(self.gain**2 * spread)

    def quantile(self, levels: FloatArray) -> FloatArray:
        """Return quantiles for one output: a ratio of two independent chi-squares."""
        a, b = self.rows / 2.0, (self.surplus + 1.0) / 2.0
        share = scipy.special.betaincinv(a, b, levels)
        rest = scipy.special.betaincinv(b, a, 1.0 - levels)  # its digits, where the share is near 1
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(levels > 0.5, (1.0 - rest) / rest, share / (1.0 - share))
        return np.asarray(self.gain * self.variances[0] * ratio)

    def cdf(self, x: FloatArray) -> FloatArray:
        """Return the distribution function for one output."""
        ratio = np.maximum(x, 0.0) / (self.gain * self.variances[0])
        share = np.where(np.isinf(ratio), 1.0, ratio / (1.0 + np.where(np.isinf(ratio), 0, ratio)))
        return np.asarray(
            scipy.special.betainc(self.rows / 2.0, (self.surplus + 1.0) / 2.0, share),
            dtype=np.float64,
        )

    def sample(self, size: int, rng: np.random.Generator) -> FloatArray:
        omega, m, q = self.variances, self.rows, self.variances.size
        if q <= m:
            # Gᵀ W⁻¹ G = Rᵀ V⁻¹ R with G = HR: V is Wishart again, and smaller.
            right = _bartlett(m, q, size, rng)
            root = _bartlett(self.surplus + q, q, size, rng)
        else:
            right = rng.standard_normal((size, int(m), q))
            root = _bartlett(m + self.surplus, int(m), size, rng)
        solved = np.linalg.solve(root.transpose(0, 2, 1), right * np.sqrt(omega))
        return np.asarray(self.gain * np.square(solved).sum(axis=(1, 2)))


class _Bias(NamedTuple):
    """The law of tr(D² M), M matrix-beta: what a random subspace of n in r dimensions misses."""

    squares: FloatArray  # D², positive, one or more
    missed: int  # r - n, at least 1
    seen: int  # n

    @property
    def mean(self) -> float:
        return float(self.squares.sum() * self.missed / (self.missed + self.seen))

    @property
    def variance(self) -> float:
        r = self.missed + self.seen
        left = np.square(self.squares).sum() - self.squares.sum() ** 2 / r
        return float(2.0 * self.missed * self.seen / (r * (r - 1.0) * (r + 2.0)) * left)

    @property
    def width(self) -> int:
        return self.squares.size

    def quantile(self, levels: FloatArray) -> FloatArray:
        found = scipy.special.betaincinv(self.missed / 2.0, self.seen / 2.0, levels)
        return np.asarray(self.squares[0] * found)

    def cdf(self, x: FloatArray) -> FloatArray:
        share = np.clip(x / self.squares[0], 0.0, 1.0)
        return np.asarray(scipy.special.betainc(self.missed / 2.0, self.seen / 2.0, share))

    def sample(self, size: int, rng: np.random.Generator) -> FloatArray:
        k = self.squares.size
        if k == 1:
            return np.asarray(self.squares[0] * rng.beta(self.missed / 2, self.seen / 2, size))
        top, rest = _bartlett(self.missed, k, size, rng), _bartlett(self.seen, k, size, rng)
        whole = top.transpose(0, 2, 1) @ top + rest.transpose(0, 2, 1) @ rest
        part = np.linalg.solve(np.linalg.cholesky(whole), top.transpose(0, 2, 1))
        return np.asarray(np.square(part * np.sqrt(self.squares)[:, None]).sum(axis=(1, 2)))


class _Gamma(NamedTuple):
    """A gamma law of given mean and variance; of no variance, its mean."""

    mean: float
    variance: float
    width: int = 1

    @property
    def _shape(self) -> float:
        return self.mean**2 / self.variance

    def quantile(self, levels: FloatArray) -> FloatArray:
        if self.variance == 0.0:
            return np.full_like(levels, self.mean)
        found = scipy.special.gammaincinv(self._shape, levels)
        return np.asarray(found * (self.variance / self.mean))

    def cdf(self, x: FloatArray) -> FloatArray:
        if self.variance == 0.0:
            return np.asarray(x >= self.mean, dtype=np.float64)
        scaled = np.maximum(x, 0.0) * (self.mean / self.variance)
        return np.asarray(scipy.special.gammainc(self._shape, scaled))

    def sample(self, size: int, rng: np.random.Generator) -> FloatArray:
        if self.variance == 0.0:
            return np.full(size, self.mean)
        return np.asarray(rng.gamma(self._shape, self.variance / self.mean, size))


def _bartlett(degrees: float, k: int, size: int, rng: np.random.Generator) -> FloatArray:
    """Draw R, upper trapezoidal, with RᵀR Wishart of k dimensions: the QR of a Gaussian matrix."""
    rows = k if degrees > k - 1 else int(degrees)
    found = np.triu(rng.standard_normal((size, rows, k)))
    i = np.arange(rows)
    found[:, i, i] = np.sqrt(rng.chisquare(degrees - i, (size, rows)))
    return found


@dataclass(frozen=True, eq=False)
class RiskDistribution:
    """The law of the total risk of one trained head, over its training set.

    Attributes
    ----------
    noise : float
        The trace of Ω, below which no head gets.
    exact : bool
        Whether the law is exact for Gaussian rows; else it has the mean and the standard
        deviation of the theory, and a shape that is exact in neighbouring cases.
    """

    noise: float
    exact: bool
    _variance: _Noise | _Gamma = field(repr=False)
    _bias: _Bias | _Gamma = field(repr=False)

    @property
    def mean(self) -> float:
        """The mean risk; infinite near p = n, where the median is not."""
        return self.noise + self._variance.mean + self._bias.mean

    @property
    def std(self) -> float:
        """The standard deviation from draw to draw; infinite within 3 of p = n."""
        return float(np.sqrt(self._variance.variance + self._bias.variance))

    @property
    def median(self) -> float:
        """The risk that one draw in two exceeds."""
        return float(self.quantile(0.5))

    def quantile(self, q: ArrayLike) -> FloatArray:
        """Return the risk that a share q of all draws stays below.

        For one output it is computed; for several it is read off draws of the law with a fixed
        seed, 10,000 of them up to 15 outputs: between 0.1 and 0.9 within about 0.02 standard
        deviations, 0.05 for more outputs.

        Parameters
        ----------
        q : float or array_like
            Probabilities in [0, 1].

        Returns
        -------
        ndarray
            Of the shape of `q`.

        Raises
        ------
        ValueError
            If `q` is not within [0, 1].
        """
        levels = as_array("q", q)
        if ((levels < 0) | (levels > 1)).any():
            raise ValueError(f"q must be within [0, 1]; got {shown(q)}")
        if not self._is_scalar and levels.size:
            return np.asarray(self.noise + np.quantile(self._draws, levels))
        found = [self._quantile(float(level)) for level in levels.ravel()]
        return np.asarray(self.noise + np.reshape(found, levels.shape))

    def cdf(self, x: ArrayLike) -> FloatArray:
        """Return the share of draws with a risk of at most x, by the means of :meth:`quantile`.

        Parameters
        ----------
        x : float or array_like
            Total risks.

        Returns
        -------
        ndarray
            Of the shape of `x`.

        Raises
        ------
        ValueError
            If `x` holds what is no number.
        """
        excess = as_array("x", x, finite=False) - self.noise
        if np.isnan(excess).any():
            raise ValueError("x must hold numbers; got NaN")
        if not self._is_scalar:
            return np.asarray(np.searchsorted(self._draws, excess, side="right") / len(self._draws))
        return np.reshape(self._cdf(excess.ravel()), excess.shape)

    def sample(self, size: int, rng: Any = None) -> FloatArray:
        """Draw risks of independent training sets, at a cost that does not grow with n.

        Parameters
        ----------
        size : int
            How many.
        rng : int, Generator, SeedSequence or None
            Passed to `numpy.random.default_rng`.

        Returns
        -------
        ndarray, shape (size,)

        Raises
        ------
        ValueError
            If `size` < 1.
        """
        count, generator = as_count("size", size), as_rng(rng)
        return self.noise + self._excess(count, generator)

    def _excess(self, count: int, rng: np.random.Generator) -> FloatArray:
        step = max(1, _HELD // self._variance.width**2)
        found = np.empty(count)
        with one_blas_thread():
            for start in range(0, count, step):
                size = min(step, count - start)
                found[start : start + size] = self._variance.sample(size, rng)
                found[start : start + size] += self._bias.sample(size, rng)
        return found

    @property
    def _is_scalar(self) -> bool:
        return self._variance.width == self._bias.width == 1

    @cached_property
    def _draws(self) -> FloatArray:
        count = int(np.clip(_WORK / self._variance.width**3, _FEWEST, _DRAWS))
        return np.sort(self._excess(count, np.random.default_rng(0)))

    def _cdf(self, excess: FloatArray) -> FloatArray:
        """Average the wide law's distribution function over the narrow law's quantiles."""
        narrow, wide = self._variance, self._bias
        if narrow.variance > wide.variance:
            narrow, wide = wide, narrow  # type: ignore[assignment]
        nodes, weights = np.polynomial.legendre.leggauss(64)
        below = wide.cdf(excess[:, None] - narrow.quantile(0.5 * (nodes + 1.0)))
        return np.asarray(below @ (0.5 * weights))

    def _quantile(self, level: float) -> float:
        from scipy import optimize

        def of(probability: float) -> FloatArray:
            levels = np.array([probability])
            return np.array([part.quantile(levels)[0] for part in (self._variance, self._bias)])

        if 0.0 in (self._variance.variance, self._bias.variance):  # one of the parts is a number
            return float(of(level).sum())
        # The sum is above either part, and above both parts' higher quantiles only rarely.
        low, high = float(of(level).max()), float(of(0.5 * (1.0 + level)).sum())
        if level in (0.0, 1.0):
            return float(of(level).sum())
        while self._cdf(np.array([high]))[0] < level:
            high *= 2.0
        if self._cdf(np.array([low]))[0] >= level:
            return low
        gap = optimize.brentq(lambda x: float(self._cdf(np.array([x]))[0]) - level, low, high)
        return float(gap)


def risk_distribution(population: Population, n_samples: int) -> RiskDistribution:
    r"""Return the law of the risk of one min-norm head trained on n independent examples.

    Theorem 5.1 (R14), and beyond it an asymptotic law.

    With r the rank of S, :math:`\Omega` has eigenvalues :math:`\omega_j` and W is Wishart:

    - for :math:`r \le n` the excess risk is :math:`\sum_j \omega_j\, g_j^\top W^{-1} g_j` with
      Gaussian :math:`g_j`, for one output :math:`\Omega \chi^2_r / \chi^2_{n-r+1}`: exact for
      Gaussian rows and any S;
    - for :math:`r > n` and isotropic S the same with r and n exchanged, plus the share of
      :math:`B^*` outside a random subspace of n dimensions, for one output
      :math:`v \|B^*\|^2\, \mathrm{Beta}((r-n)/2, n/2)`: exact for Gaussian rows;
    - elsewhere a law of that shape with the mean of :func:`.head_risk` and an asymptotic standard
      deviation: the fluctuations of :math:`\log\det(XX^\top + \lambda I)` at two penalties and
      two spectra have covariance :math:`-2 \log(1 - \theta)`, and the labels' noise adds its own.

    Parameters
    ----------
    population : Population
        Moments of features and response.
    n_samples : int
        n, the number of labelled examples.

    Returns
    -------
    RiskDistribution

    Raises
    ------
    ValueError
        If `n_samples` < 1.

    Examples
    --------
    At p = n the mean is infinite, and one draw in two is below 20 times the noise.

    >>> law = risk_distribution(Population(np.eye(9), np.zeros((9, 1)), [[1.0]]), 9)
    >>> law.exact, law.mean, round(law.median, 2)
    (True, inf, 19.23)
    """
    moments = as_a("Population", "population", population).moments
    return law_of(moments, as_count("n_samples", n_samples))


def law_of(moments: Moments, n: int) -> RiskDistribution:
    """Return the law that :func:`risk_distribution` describes, from moments of Gaussian rows."""
    t, b = moments.eigenvalues, moments.head
    m = np.ones_like(t) if moments.multiplicities is None else moments.multiplicities
    omega = np.linalg.eigvalsh(moments.residual_covariance)
    noise, largest = float(np.trace(moments.residual_covariance)), omega.max(initial=0.0)
    omega = omega[omega > 1e-14 * largest]
    rank = round(float(m.sum()))
    flat = not t.size or np.ptp(t) <= _EQUAL * t.max()
    nothing = _Gamma(0.0, 0.0)
    variance: _Noise | _Gamma = nothing
    if rank <= n or flat:
        if omega.size and rank:
            variance = _Noise(omega, 1.0, float(min(rank, n)), float(abs(rank - n)))
        scaled = b * np.sqrt(t)[:, None]
        squares = thin_svd(scaled)[1] ** 2 if rank > n else np.empty(0)
        squares = squares[squares > 1e-14 * squares.max(initial=0.0)]
        missed = _Bias(squares, rank - n, n) if squares.size else nothing
        return RiskDistribution(noise, True, variance, missed)
    risk = moments.risk(n)
    scale = float(t.max())
    found = _scatter(t / scale, m, b * np.sqrt(scale), moments.residual_covariance, n)
    if omega.size:
        variance = _matched(found, omega, float(np.trace(risk.variance)))
    total = float(omega.sum())
    spread = found.bias + 2.0 * total * found.covariance
    bias = float(np.trace(risk.bias))
    return RiskDistribution(noise, False, variance, _Gamma(bias, max(spread, 0.0) if bias else 0.0))


class _Scatter(NamedTuple):
    """First-order moments over training sets; noise e makes the excess bias + eᵀKe + a cross term.

    K is the derivative of Q⁻¹ along ε, Q = X(I + εS)⁻¹Xᵀ.
    """

    trace: float  # E tr K
    square: float  # E tr K²
    trace_variance: float  # Var tr K
    bias: float  # the variance of the bias and of the cross term
    covariance: float  # of tr K and the bias


def _scatter(t: FloatArray, m: FloatArray, b: FloatArray, omega: FloatArray, n: int) -> _Scatter:
    """Differentiate -2 log(1 - θ) along S and B*B*ᵀ, added to the penalty, and along λ (R15)."""
    kappa = effective_ridge(t, n, 0.0, m)
    s, c, w = t / (t + kappa), kappa / (t + kappa), t / np.square(t + kappa)
    zero, none = np.zeros_like(t), np.zeros((t.size, t.size))
    outer = b @ b.T
    total = float(m @ w)

    # A direction x changes κM, M = I the shape of the penalty, by N_x: a diagonal and, on one
    # copy of each eigenvalue, a matrix.  κ keeps tr A + λ/κ = n.
    def bent(diagonal: FloatArray, dense: FloatArray, more: float = 0.0) -> tuple[float, Any]:
        change = (more - m @ (w * diagonal) - w @ np.diag(dense)) / total
        return float(change), (change + diagonal, dense)

    def both(plain: Any, other: Any) -> Any:
        """Return N₁P⁻¹N₂ + N₂P⁻¹N₁, N₁ diagonal, between P⁻¹ and roots of S."""
        d, (diagonal, dense) = plain[0] / (t + kappa), other
        return 2.0 * d * diagonal, d[:, None] * dense + dense * d

    k_s, along_s = bent(kappa * t, none)
    k_b, along_b = bent(zero, kappa * outer)
    k_l, along_l = bent(zero, none, 1.0 / kappa)
    root = np.sqrt(w)

    def change(direction: Any) -> Any:
        return -w * direction[0], -root[:, None] * direction[1] * root

    def second(other: Any, diagonal: FloatArray, dense: FloatArray, more: float) -> Any:
        twice = both(along_s, other)
        own = float(m @ (w * twice[0]) + w @ np.diag(twice[1]))
        _, direct = bent(diagonal, dense, more + own)
        return change((direct[0] - twice[0], direct[1] - twice[1]))

    a, a_s, a_b, a_l = (s, none), change(along_s), change(along_b), change(along_l)
    a_sb = second(along_b, k_b * t, k_s * outer, 0.0)
    a_sl = second(along_l, k_l * t, none, -k_s / kappa**2)

    def inner(x: Any, y: Any) -> float:
        shared = x[0] @ np.diag(y[1]) + y[0] @ np.diag(x[1]) + np.sum(x[1] * y[1])
        return float(m @ (x[0] * y[0]) + shared) / n

    one, two = (a, a_s, a_b, a_sb), (a, a_s, a_l, a_sl)
    fluctuation = {
        key: _fourth(np.array([[inner(x, y) for y in right] for x in left]))
        for key, left, right in (("bb", one, one), ("bl", one, two), ("ll", two, two))
    }
    u, along, twice = 1.0 - inner(a, a), inner(a_s, a), inner(a_s, a_s)
    g, v = 1.0 / kappa, -k_s / kappa**2
    crossed = twice / u**2 + 2.0 * along**2 / u**3
    square = (g * g * crossed + 2.0 * g * v * along / u**2 + v * v / u) / n

    # The cross term, by a derivative with respect to λ that only the middle resolvent sees.
    step = 1e-30
    moved = kappa * (1.0 + 1j * step)
    s2, kept = t / (t + moved), t * moved / (t + moved)
    theta = m @ (s * s2) / n
    third = (moved * theta**2 - m @ (s * s * kept) / n) / (1.0 - theta) ** 2 / u
    profile = np.square(c) * (t * kept / (1.0 - theta) ** 2 - third * t)
    profile = profile.imag / (step * kappa) * k_l
    cross = 4.0 * float(profile @ np.einsum("ij,jk,ik->i", b, omega, b))
    bias = fluctuation["bb"] + cross
    return _Scatter(v, square, fluctuation["ll"], bias, -fluctuation["bl"])


def _fourth(theta: FloatArray) -> float:
    """Return the mixed derivative of -2 log(1 - θ) in two directions of each of two spectra.

    ``theta[i, j]`` are derivatives of θ, i and j subsets of the directions as binary numbers.
    """
    nilpotent, u = theta.copy(), 1.0 - theta[0, 0]
    nilpotent[0, 0] = 0.0
    power, total = nilpotent, 0.0
    for k in range(1, 5):
        total += 2.0 / (k * u**k) * power[3, 3]
        after = np.zeros((4, 4))
        for i, j in np.ndindex(4, 4):
            for x, y in np.ndindex(4, 4):
                if not (i & x or j & y):
                    after[i | x, j | y] += power[i, j] * nilpotent[x, y]
        power = after
    return float(total)


def _matched(found: _Scatter, omega: FloatArray, mean: float) -> _Noise:
    """Return isotropic rows of as many examples and features as have the same three moments.

    The first orders of these are matched, the exact finite law of such rows is used.
    """
    c = 2.0 * found.square / found.trace_variance
    m = 1.0 / (found.square / found.trace**2 - 1.0 / c)
    # Where the mean is finite the law's is too, however steep the spectrum.
    c = max(c, 1.05) if np.isfinite(mean) else min(c, 1.0)
    if m < omega.size:
        m = float(max(1, round(m)))
    unit = _Noise(omega, 1.0, m, c)
    return unit._replace(gain=mean / unit.mean if np.isfinite(mean) else found.trace * c / m)
