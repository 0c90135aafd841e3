"""Real Wishart matrices of every size: what their mean log determinant adds to two orders.

Serves :mod:`hmmtheory.uniform` alone.  N and P below are rows and columns of a matrix of
independent standard normal numbers; both become real numbers by interpolation.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from hmmtheory._checks import FloatArray

#: Gauss-Legendre nodes of a panel, and the integrals from its left end to each of them.
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)
_RUNNING = np.linalg.solve(
    np.polynomial.legendre.legvander(_NODES, 15).T,
    np.polynomial.legendre.legval(
        _NODES, np.polynomial.legendre.legint(np.eye(16), lbnd=-1, axis=0)
    ),
)
#: Values at d, d + step, … make f, f' step and f'' step²: d is never negative, and nothing is
#: smooth at 0.  A step is this share of 1 + d, over which values vary.
_STEP = 0.01
_AHEAD = (
    np.array(
        [
            [12.0, 0.0, 0.0, 0.0, 0.0],
            [-25.0, 48.0, -36.0, 16.0, -3.0],
            [35.0, -104.0, 114.0, -56.0, 11.0],
        ]
    )
    / 12.0
)
#: The largest matrix whose eigenvalues are integrated; beyond, 1/m is extrapolated from smaller.
_LARGEST = 64
#: Three orders are taken off; with so much added to a small μ (which falls off as exp(-μ/scale))
#: they are smooth where eigenvalues come near zero.
_BLUR, _SCALE = 4.0, 32.0
#: Below this μ no order needs to be taken off: what is left is small and smooth.
_SMALL = 1e-3
_TINY = 1e-30


class Growth(NamedTuple):
    """First and second derivatives of a function of three numbers."""

    gradient: FloatArray
    hessian: FloatArray


def surplus(excess: float, n_columns: float, ridge: float) -> Growth:
    r"""Return derivatives along (N - P, P, λ) of what is special to N × P data, N = P + excess.

    With X of independent standard normal numbers, Λ₀ the leading order of
    :math:`\Lambda = E \log\det(XX^\top + \lambda I)`, and C(N) what N columns of infinite
    variance add but for their logarithms, it is
    :math:`\Lambda - C(N) - (\Lambda_0 - N \log N + N)`.  Exact for integers; interpolated between
    them in m = min(N, P) at fixed d = \|N - P\| and μ = λ(N + P).

    Beside λ = 0 and P < N, both Λ and Λ₀ are what P columns of infinite variance give: the
    derivative along P vanishes with λ, and is computed without subtraction.
    """
    below, n, d = excess > 0, n_columns + excess, abs(excess)
    m, c = min(n, n_columns), n + n_columns
    gradient, hessian = _less_leading(excess, n_columns, ridge)
    first, second = cumulated(d)
    gradient[0] += -first if below else first
    hessian[0, 0] -= second
    if not below:
        (whole, bend), (part, turn) = cumulated(n_columns), cumulated(n)
        gradient[:2] += [-part, whole - part]
        hessian[:2, :2] += [[-turn, -turn], [-turn, bend - turn]]
    mu = ridge * c or 1e-26
    grown = _interpolated(m, d, mu)
    along, across = grown
    if mu > _SMALL:
        more = _taken_off(m, d, mu)
        along, across = along + more.gradient, across + more.hessian
    # From (m, d, μ) to (N - P, P, λ).
    chain = np.array([[1.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [ridge, 2 * ridge, c]])
    if below:
        chain[:2] = [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]
    gradient += chain.T @ along
    hessian += chain.T @ across @ chain
    hessian[2, :2] += along[2] * np.array([1.0, 2.0])
    hessian[:2, 2] += along[2] * np.array([1.0, 2.0])
    return Growth(gradient, hessian)


def _taken_off(m: float, d: float, mu: float) -> Growth:
    """Return derivatives along (m, d, μ) of what :func:`_grown` takes off its values."""
    # At μ, with a complex step along each of the three; and without penalty, along the first two.
    at = np.array([m, d, mu]) + 1j * _TINY * np.eye(3)
    bare = np.array([m, d, 0.0]) + 1j * _TINY * np.eye(3)
    value, slopes = _orders(*np.concatenate([at, bare]).T)
    gradient, hessian = slopes[:, 0].real, slopes[:, :3].imag.T / _TINY
    # The rest, without penalty: -(χ X + (1 - χ) T) with X = C(m + d) - C(d), T three orders.
    base, base_slopes = value[3].real, slopes[:2, 3].real
    low = slopes[:2, 3:5].imag.T / _TINY
    (whole, bend), (part, turn) = cumulated(m + d), cumulated(d)
    exact = np.array([whole, whole - part])
    curved = np.array([[bend, bend], [bend, bend - turn]])
    kept, gap, gap_slopes = _kept(mu), float(_logs(m, d)) - base, exact - base_slopes
    gradient[:2] -= base_slopes + kept[0] * gap_slopes
    hessian[:2, :2] -= low + kept[0] * (curved - low)
    gradient[2] -= kept[1] * gap
    hessian[2, 2] -= kept[2] * gap
    hessian[2, :2] -= kept[1] * gap_slopes
    hessian[:2, 2] -= kept[1] * gap_slopes
    return Growth(gradient, hessian)


def _kept(mu: float) -> FloatArray:
    """Return 1 - exp(-μ/8) and two derivatives."""
    fall = np.exp(-mu / 8.0)
    return np.array([1.0 - fall, fall / 8.0, -fall / 64.0])


def _logs(m: Any, d: Any) -> Any:
    """Return E log det W = C(m + d) - C(d) of an m × (m + d) matrix."""
    from scipy import special

    def c(x: Any) -> Any:
        far = x + _FAR
        tail = np.polyval(np.array((*_TAIL[::-1], 0.0)), 1.0 / far)
        near = special.digamma(0.5 * (np.asarray(x)[..., None] + _STEPS)).sum(axis=-1)
        return far * np.log(far) - far - 0.5 * np.log(far) + tail - near

    return c(m + d) - c(d)


def _less_leading(excess: float, p: float, lam: float) -> tuple[FloatArray, FloatArray]:
    """Return derivatives of N log N - N - Λ₀, plus (N - P) log λ for P < N."""
    n, spare = p + excess, lam - excess  # κ is the root of N κ² - (P + λ - N) κ - λ
    root = np.sqrt(spare * spare + 4 * n * lam)
    kappa = (spare + root) / (2 * n) if spare > 0 else 2 * lam / (root - spare)
    s, c = 1.0 / (1.0 + kappa), kappa / (1.0 + kappa)
    a = lam / kappa
    b = a + p * s * c
    if excess > 0:
        gradient = [np.log(a), -np.log1p(kappa), -p * s / a]
        mixed, last = p * s * s / (b * a), p * s * s * n / (b * a * a)
    else:
        gradient = [-np.log(kappa), -np.log1p(kappa), -1.0 / kappa]
        mixed, last = -1.0 / (kappa * b), 1.0 / (kappa * kappa * b)
    hessian = [[1.0 / b, c / b, mixed], [c / b, c * c / b, -s / b], [mixed, -s / b, last]]
    return np.array(gradient), np.array(hessian)


def _orders(m: Any, d: Any, mu: Any) -> tuple[Any, Any]:
    """Return three orders of Λ of m × (m + d) matrices, blurred, and slopes along (m, d, μ)."""
    p, unit = m + d, 2 * m + d
    blur = _BLUR * np.exp(-mu / _SCALE)
    lam = (mu + blur) / unit
    kappa = (d + lam + np.sqrt((d + lam) ** 2 + 4 * m * lam)) / (2 * m)
    s, c = 1.0 / (1.0 + kappa), kappa / (1.0 + kappa)
    y, z = p * s * s * c, p * s**3 * c
    b = lam / kappa + p * s * c
    third = (1 / 12 - y / (12 * b) - 7 / 6 * (y / b) ** 2 + 5 / 4 * z / b) / b - 1 / (12 * m)
    value = p * np.log1p(1 / kappa) + m * np.log(m * kappa) - p * s + 0.5 * np.log(b / m) + third
    # Along m, p and λ: s, then b, y and z.
    s_along = np.array([s * c, -s * s * c, -s * s]) / b
    one, none = 1.0 + 0.0 * b, 0.0 * b
    b_along = np.array([one, -s * s, none]) - 2 * p * s * s_along
    y_along = np.array([none, s * s * c, none]) + p * s * (2 - 3 * s) * s_along
    z_along = np.array([none, s**3 * c, none]) + p * s * s * (3 - 4 * s) * s_along
    on_b = 0.5 / b - (1 / 12 - y / (6 * b) - 3.5 * (y / b) ** 2 + 2.5 * z / b) / (b * b)
    on_y, on_z = -(1 / 12 + 7 / 3 * y / b) / (b * b), 1.25 / (b * b)
    leading = np.array(
        [np.log(m * kappa) - 0.5 / m + 1 / (12 * m * m) + none, np.log1p(1 / kappa), 1 / kappa]
    )
    along = leading + on_b * b_along + on_y * y_along + on_z * z_along
    down = along[2] * lam / unit
    slopes = [
        along[0] + along[1] - 2 * down,
        along[1] - down,
        along[2] / unit * (1 - blur / _SCALE),
    ]
    return value, np.array(slopes)


def _interpolated(m: float, d: float, mu: float) -> Growth:
    """Return derivatives along (m, d, μ) of what :func:`_grown` knows at integers m."""
    sizes, weights = _interpolation(m, d)
    step = _STEP * (1.0 + d)
    gaps: FloatArray = d + step * np.arange(_AHEAD.shape[1], dtype=np.float64)
    ahead = _AHEAD / np.array([[1.0], [step], [step * step]])
    f, along_m, along_mm = ahead @ np.tensordot(weights, _grown(sizes, gaps, mu), 1)
    # Rows are derivatives along d, columns along μ.
    gradient = [along_m[0, 0], f[1, 0], f[0, 1]]
    hessian = [
        [along_mm[0, 0], along_m[1, 0], along_m[0, 1]],
        [along_m[1, 0], f[2, 0], f[1, 1]],
        [along_m[0, 1], f[1, 1], f[0, 2]],
    ]
    return Growth(np.array(gradient), np.array(hessian))


def _interpolation(m: float, d: float) -> tuple[list[int], FloatArray]:
    """Return integer sizes and the weights that make of their values f, f' and f'' at m.

    Quartics in 1/(m + h), which is how values depend on m, through five sizes each; two of them
    blended so that f'' is continuous.
    """
    h = 0.5 + 0.25 * d
    v = 1.0 / (m + h)

    def quartic(sizes: Any) -> FloatArray:
        powers = np.linalg.inv(np.vander(1.0 / (np.array(sizes) + h) / v - 1.0, increasing=True))
        f, slope, bend = powers[0], powers[1], 2 * powers[2]
        return np.array([f, -v * slope, v * v * (bend + 2 * slope)])

    if m > _LARGEST:
        sizes = [_LARGEST // 2, 2 * _LARGEST // 3, 5 * _LARGEST // 6, _LARGEST]
        return sizes, quartic(sizes)
    low = int(m)
    first, second = max(low - 2, 0), max(low - 1, 0)
    sizes = list(range(first, second + 5))
    left, right = np.zeros((3, len(sizes))), np.zeros((3, len(sizes)))
    left[:, :5], right[:, -5:] = quartic(sizes[:5]), quartic(sizes[-5:])
    r, gap = m - low, right - left
    share, slope, bend = (
        r**3 * (10 - 15 * r + 6 * r * r),
        30 * r**2 * (1 - r) ** 2,
        60 * r * (1 - r) * (1 - 2 * r),
    )
    return sizes, left + np.array(
        [
            share * gap[0],
            share * gap[1] + slope * gap[0],
            share * gap[2] + 2 * slope * gap[1] + bend * gap[0],
        ]
    )


def _grown(sizes: list[int], gaps: FloatArray, mu: float) -> FloatArray:
    """Return E log det(I + μ/(2m + d) W⁻¹) and two μ-derivatives, W from m × (m + d): (size; d; 3).

    Where it is large, less what it is to three orders.
    """
    real = [m for m in sizes if m > 0]
    x, densities = densities_of(real, gaps, mu / (2 * real[-1] + gaps[-1]))
    known = np.zeros((len(sizes), gaps.size, 3))
    m = np.array(real, dtype=float)[:, None]
    unit, weights = (2 * m + gaps)[:, :, None], np.stack([densities[k] for k in real])
    inverse = 1.0 / (unit * x + mu)
    weighted = weights * inverse
    rows = known[len(sizes) - len(real) :]  # a size of zero comes first
    rows[:, :, 0] = (weights * np.log1p(mu / (unit * x))).sum(axis=2)
    rows[:, :, 1] = weighted.sum(axis=2)
    rows[:, :, 2] = -(weighted * inverse).sum(axis=2)
    if mu > _SMALL:
        value, slopes = _orders(m, gaps, mu + 1j * _TINY)
        base, _ = _orders(m, gaps, 0.0)
        rows -= np.stack([value.real - base, slopes[2].real, slopes[2].imag / _TINY], axis=2)
        rows += (_logs(m, gaps) - base)[:, :, None] * _kept(mu)
    return known


def densities_of(
    sizes: list[int], gaps: FloatArray, ridge: float
) -> tuple[FloatArray, dict[int, FloatArray]]:
    r"""Return nodes x and, of each m, weights (d, nodes): their sum of f(x) is :math:`E \sum f`.

    The sum runs over the m eigenvalues of a real m × (m + d) Wishart matrix, d >= 0 any real
    number: the one-point density of the Laguerre orthogonal ensemble in terms of the orthonormal
    Laguerre functions :math:`\varphi_j` of weight :math:`x^d e^{-x}` (Adler, Forrester, Nagao and
    van Moerbeke 2000).  The grid resolves functions that vary over a width of `ridge`.
    """
    from scipy import special

    y, dy = _grid(sizes[-1], float(gaps[0]), float(gaps[-1]), ridge)
    x, d = y * y, gaps[:, None]
    measure = 2.0 * y * dy
    now = np.exp(d * np.log(y) - 0.5 * x - 0.5 * special.gammaln(d + 1.0))
    wanted, apart = set(sizes), d - x
    before, after, squares = (np.zeros_like(now) for _ in range(3))
    found: dict[int, FloatArray] = {}
    j = np.arange(sizes[-1])[:, None, None]
    scales = 1.0 / np.sqrt((j + 1) * (j + 1 + d))
    sides = np.sqrt(j * (j + d)) * scales
    for m in range(1, sizes[-1] + 1):
        # Here now = φ_{m-1}, before = φ_{m-2}, squares = the sum of φ_j² up to j = m - 2.
        if m in wanted:
            found[m] = measure * _density(m, gaps, y, dy, now, before, squares)
        squares += np.square(now, out=after)
        # In place: small arrays, many times.
        np.add(apart, 2 * m - 1, out=after)
        after *= scales[m - 1]
        after *= now
        before *= sides[m - 1]
        after -= before
        before, now, after = now, after, before
    return x, found


def _density(
    m: int,
    gaps: FloatArray,
    y: FloatArray,
    dy: FloatArray,
    now: FloatArray,
    before: FloatArray,
    squares: FloatArray,
) -> FloatArray:
    """Return the density at y² for each gap."""
    u = now / y
    whole = u @ (2.0 * y * dy)
    if m == 1:
        return u / whole[:, None]
    shape = (gaps.size, -1, _NODES.size)
    half = (dy.reshape(1, -1, _NODES.size) / _WEIGHTS)[..., :1]  # half of each panel's width
    v = 2.0 * half * before.reshape(shape)
    panels = v @ _WEIGHTS
    running = (np.cumsum(panels, axis=1) - panels)[..., None] + v @ _RUNNING
    if m % 2 == 0:
        running -= 0.5 * panels.sum(axis=1)[:, None, None]
    factor = 0.5 * np.sqrt((m - 1) * (m - 1 + gaps))[:, None]
    density = squares - factor * u * running.reshape(u.shape)
    if m % 2 == 1:  # m eigenvalues in all
        density += u * ((m - density @ (2.0 * y * dy)) / whole)[:, None]
    return np.asarray(density)


def _grid(m: int, least: float, most: float, ridge: float) -> tuple[FloatArray, FloatArray]:
    """Return nodes and weights in y, the root of an eigenvalue, where the density is not zero."""
    root = np.sqrt(m)
    inner, outer = np.sqrt(m + least) - root, np.sqrt(m + most) + root
    # Twelve widths of the edges' Airy functions.
    below = inner * abs(1.0 / root - 1.0 / np.sqrt(m + least)) ** (1 / 3)
    above = outer * (1.0 / root + 1.0 / np.sqrt(m + most)) ** (1 / 3)
    low = np.sqrt(max(inner**2 - 12.0 * below, 0.0))
    high = np.sqrt(outer**2 + 12.0 * above + 60.0)
    step = 3.0 / np.sqrt(m + 0.5)  # a wave length of the fastest function
    count = int((high - low) / step) + 1
    edges = np.linspace(low, high, count + 1)
    if low == 0.0:
        smallest = 1e-8 * min(edges[1], np.sqrt(ridge))
        more = np.geomspace(smallest, edges[1], int(np.log(edges[1] / smallest) / np.log(6.0)) + 2)
        edges = np.concatenate([[0.0], more, edges[2:]])
    half = 0.5 * np.diff(edges)[:, None]
    y = edges[:-1, None] + half * (1.0 + _NODES)
    return y.ravel(), (half * _WEIGHTS).ravel()


#: Of 1/x, 1/x², … in C(x) - x log x + x + ½ log x, from its recursion.
_TAIL = (
    -1 / 12, -1 / 12, 1 / 120, 7 / 120, -1 / 252, -31 / 252, 1 / 240, 127 / 240, -1 / 132,
    -511 / 132,
)  # fmt: skip
_FAR = 12
_STEPS = np.arange(1.0, _FAR + 1.0)


def cumulated(x: float) -> tuple[float, float]:
    r"""Return two derivatives of C, with :math:`C(x) - C(x-1) = \psi(x/2) + \log 2`.

    That is the mean of :math:`\log\chi^2_x`, so that C(m + d) - C(d) is
    :math:`E \log\det W` of an m × (m + d) matrix.
    """
    from scipy import special

    far = x + _FAR
    first = np.log(far) - 0.5 / far
    second = 1.0 / far + 0.5 / far**2
    for j, g in enumerate(_TAIL, 1):
        first -= j * g / far ** (j + 1)
        second += j * (j + 1) * g / far ** (j + 2)
    half = 0.5 * (x + _STEPS)
    first -= 0.5 * special.polygamma(1, half).sum()
    second -= 0.25 * special.polygamma(2, half).sum()
    return float(first), float(second)
