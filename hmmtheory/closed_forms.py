"""Closed forms for the balanced representation (R4), in SymPy and, from them, in NumPy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import ArrayLike

from hmmtheory._checks import FloatArray, as_count, as_number, as_scale, as_sizes

#: The symbols of every expression here; the book's names.
SYMBOLS: dict[str, sp.Symbol] = {
    "d": sp.Symbol("d", positive=True),
    "n": sp.Symbol("n", positive=True),
    "p": sp.Symbol("p", positive=True),
    "rho": sp.Symbol("rho", nonnegative=True),
    "s": sp.Symbol("s", positive=True),
    "sigma_u": sp.Symbol("sigma_u", positive=True),
    "lam": sp.Symbol("lambda", nonnegative=True),
    "kappa": sp.Symbol("kappa", positive=True),
}


@dataclass(frozen=True)
class BalancedForms:
    r"""SymPy expressions of the balanced representation on one side of p = d (book: Theorem 4.3).

    Attributes
    ----------
    gain : sympy.Expr
        g, the signal's eigenvalue: s for p <= d, sp/d beyond.
    multiplicity : sympy.Expr
        m = min(p, d), how many feature directions carry it.
    residual_trace : sympy.Expr
        :math:`\operatorname{tr}\Omega`.
    head_squared_norm : sympy.Expr
        :math:`\|B^*\|^2`, all of it in the top eigenspace.
    kappa_equation : sympy.Expr
        A polynomial in :math:`\kappa` whose one positive root is the effective ridge; cubic in
        general, of lower degree without ridge or for p <= d.
    kappa : sympy.Expr
        That root without ridge, for p > n.
    bias_over : sympy.Expr
        Trace of the bias in terms of :math:`\kappa` (R3).
    variance_over : sympy.Expr
        Trace of the variance in terms of :math:`\kappa` (R3).
    risk_under : sympy.Expr
        Total risk for p <= n - 2 without ridge (R1).
    """

    gain: sp.Expr
    multiplicity: sp.Expr
    residual_trace: sp.Expr
    head_squared_norm: sp.Expr
    kappa_equation: sp.Expr
    kappa: sp.Expr
    bias_over: sp.Expr
    variance_over: sp.Expr
    risk_under: sp.Expr

    @property
    def risk_over(self) -> sp.Expr:
        r"""Total risk in terms of :math:`\kappa`: noise, bias and variance of R3."""
        return self.residual_trace + self.bias_over + self.variance_over


@lru_cache(maxsize=2)
def balanced_forms(wide: bool) -> BalancedForms:
    """Return the expressions for p >= d if `wide`, else for p <= d.

    Parameters
    ----------
    wide : bool
        The side of p = d.

    Returns
    -------
    BalancedForms

    Examples
    --------
    >>> balanced_forms(wide=False).residual_trace
    d - p*rho**2*s/(s + sigma_u**2)
    """
    d, n, p, rho, s, sigma_u, lam, kappa = SYMBOLS.values()
    v = sigma_u**2
    gain, m = (s * p / d, d) if wide else (s, p)
    top = gain + v
    residual = d - rho**2 * m * gain / top
    head = rho**2 * m * gain / top**2

    balance = m * top / (top + kappa) + lam / kappa - n
    if wide:
        balance += (p - d) * v / (v + kappa)
    equation = sp.numer(sp.together(balance))
    # Without ridge one factor κ divides out.
    ridgeless = sp.factor(equation.subs(lam, 0) / kappa)
    polynomial = sp.Poly(ridgeless, kappa)
    if polynomial.degree() == 1:
        low, high = polynomial.nth(0), polynomial.nth(1)
        root = sp.simplify(-low / high)
    else:
        # The product of the roots is negative for p > n, so the larger one is the positive one.
        a, b, c = (polynomial.nth(k) for k in (2, 1, 0))
        a, b, c = (sp.factor(x / sp.LC(polynomial.as_expr(), kappa)) for x in (a, b, c))
        root = (-b + sp.sqrt(sp.factor(b**2 - 4 * a * c))) / (2 * a)
    df2 = m * (top / (top + kappa)) ** 2
    if wide:
        df2 += (p - d) * (v / (v + kappa)) ** 2
    return BalancedForms(
        gain=gain,
        multiplicity=m,
        residual_trace=residual,
        head_squared_norm=head,
        kappa_equation=equation,
        kappa=root,
        bias_over=head * kappa**2 * top / (top + kappa) ** 2 / (1 - df2 / n),
        variance_over=residual * df2 / (n - df2),
        risk_under=residual * (n - 1) / (n - p - 1),
    )


@lru_cache(maxsize=16)
def _compiled(wide: bool, name: str) -> Any:
    """Return a NumPy function of d, n, p, rho, s, sigma_u, lambda, kappa."""
    expression = getattr(balanced_forms(wide), name)
    if name == "kappa_equation":
        expression = sp.Poly(expression, SYMBOLS["kappa"]).all_coeffs()
    return sp.lambdify(list(SYMBOLS.values()), expression, "numpy", cse=True)


def balanced_risk(
    dim: int,
    n_samples: int,
    sizes: Iterable[int] | ArrayLike,
    persistence: float,
    signal: float = 1.0,
    noise_std: float = 1.0,
    ridge: float = 0.0,
) -> FloatArray:
    r"""Return the total risk at every size in closed form (book: Theorem 4.3; R4 with R1 and R3).

    Balanced representation of each size, standard chain, next-token head, prompts design.  Exact
    for p <= n - 2 without ridge; infinite for p in {n - 1, n, n + 1}; the first-order asymptotic
    formula elsewhere.

    Parameters
    ----------
    dim, n_samples : int
        d and n.
    sizes : sequence of int
        Strictly increasing p >= 0.
    persistence : float
        :math:`\rho \in [0, 1)`.
    signal, noise_std : float
        s > 0 and :math:`\sigma_u > 0`.
    ridge : float
        :math:`\lambda \ge 0`.

    Returns
    -------
    ndarray, shape (k,)

    Raises
    ------
    ValueError
        If an argument is outside its range.

    Examples
    --------
    >>> balanced_risk(20, 60, [0, 10, 40], persistence=0.9).round(3).tolist()
    [20.0, 19.205, 28.568]
    """
    d, n, rho, s, sigma_u = _checked(dim, n_samples, persistence, signal, noise_std)
    lam = as_number("ridge", ridge, minimum=0.0)
    checked = as_sizes(sizes, maximum=np.iinfo(np.int64).max)
    risk = np.empty(checked.size)
    risk[checked == 0] = d
    for wide in (False, True):
        side = (checked > d) if wide else (checked > 0) & (checked <= d)
        under = side & (checked <= n + 1) & (lam == 0.0)
        over = side & ~under
        p = checked[under].astype(np.float64)
        with np.errstate(divide="ignore"):
            exact = _compiled(wide, "risk_under")(d, n, p, rho, s, sigma_u, lam, 0.0)
        risk[under] = np.where(p <= n - 2, exact, np.inf)
        p = checked[over].astype(np.float64)
        if lam == 0.0:  # one root is zero
            kappa = _larger_root(
                *_compiled(wide, "kappa_equation")(d, n, p, rho, s, sigma_u, lam, 0.0)[:-1]
            )
        else:
            kappa = np.array([_positive_root(wide, (d, n, x, rho, s, sigma_u, lam)) for x in p])
        risk[over] = _compiled(wide, "risk_over")(d, n, p, rho, s, sigma_u, lam, kappa)
    return risk


def _larger_root(*coefficients: ArrayLike) -> FloatArray:
    """Return the positive root of a quadratic a, b, c with ac < 0, or of b, c, digits kept."""
    *first, b, c = (np.asarray(x, dtype=np.float64) for x in coefficients)
    if not first:
        return np.asarray(-c / b)
    sign = np.sign(first[0])
    a, b, c = sign * first[0], sign * b, sign * c
    far = np.abs(b) + np.sqrt(b * b - 4.0 * a * c)
    return np.asarray(np.where(b > 0, -2.0 * c / far, far / (2.0 * a)))


def _positive_root(wide: bool, known: tuple[float, ...]) -> float:
    roots = np.roots(_compiled(wide, "kappa_equation")(*known, 0.0))
    real = np.abs(roots.imag) <= 1e-9 * np.abs(roots.real)
    return float(roots.real[real].max())


@dataclass(frozen=True)
class LimitForms:
    r"""SymPy expressions of the limit p → ∞ at fixed d, n, s (book: Theorem 6.3; R6).

    Attributes
    ----------
    slope_equation : sympy.Expr
        A quadratic in k whose positive root is :math:`\lim \kappa / p`.
    slope : sympy.Expr
        That root.
    risk : sympy.Expr
        :math:`R_\infty` in terms of k (the symbol ``k``).
    """

    slope_equation: sp.Expr
    slope: sp.Expr
    risk: sp.Expr


@lru_cache(maxsize=1)
def limit_forms() -> LimitForms:
    """Return the expressions for p → ∞, taken as limits of those of :func:`.balanced_forms`."""
    d, n, p, _, s, sigma_u, lam, kappa = SYMBOLS.values()
    k = sp.Symbol("k", positive=True)
    wide = balanced_forms(wide=True)
    at_slope = sp.Poly(sp.expand(wide.kappa_equation.subs(lam, 0).subs(kappa, k * p)), p)
    equation = sp.factor(-at_slope.LC() / (d * k))
    a, b, c = (sp.Poly(equation, k).nth(power) for power in (2, 1, 0))
    slope = (-b + sp.sqrt(b**2 - 4 * a * c)) / (2 * a)
    risk = sp.limit(sp.simplify(wide.risk_over.subs(kappa, k * p)), p, sp.oo)
    return LimitForms(slope_equation=equation, slope=sp.simplify(slope), risk=sp.factor(risk))


def limit_risk(
    dim: int, n_samples: int, persistence: float, signal: float = 1.0, noise_std: float = 1.0
) -> float:
    r"""Return :math:`R_\infty`, the total risk as p → ∞ (book: Theorem 6.3; R6).

    First-order asymptotic in n, closed form in p.  Arguments and errors as :func:`.balanced_risk`.

    Returns
    -------
    float

    Examples
    --------
    >>> round(limit_risk(20, 60, persistence=0.9), 4)
    6.3071
    """
    d, n, rho, s, sigma_u = _checked(dim, n_samples, persistence, signal, noise_std)
    coefficients, risk = _compiled_limit()
    k = _larger_root(*coefficients(d, n, rho, s, sigma_u, 0.0))
    return float(risk(d, n, rho, s, sigma_u, k))


@lru_cache(maxsize=1)
def _compiled_limit() -> tuple[Any, Any]:
    forms = limit_forms()
    symbols = [SYMBOLS[name] for name in ("d", "n", "rho", "s", "sigma_u")]
    k = sp.Symbol("k", positive=True)
    equation = sp.Poly(forms.slope_equation, k).all_coeffs()
    symbols.append(k)
    return sp.lambdify(symbols, equation, "numpy"), sp.lambdify(symbols, forms.risk, "numpy")


@dataclass(frozen=True)
class SweetSpot:
    """The best model size below the interpolation threshold (book: Theorem 6.1).

    Attributes
    ----------
    size : int
        The classical optimum, the p <= n - 2 of least total risk; the smallest, if several.
    risk : float
        The total risk there.
    degenerate : bool
        Whether that size is zero: the first descent is missing.
    predictable_fraction : float
        c = ρ² s/(s + σ_u²).
    critical_samples : float
        1 + d/c, the number of labels beyond which the first descent exists.
    """

    size: int
    risk: float
    degenerate: bool
    predictable_fraction: float
    critical_samples: float


def sweet_spot(
    dim: int, n_samples: int, persistence: float, signal: float, noise_std: float = 1.0
) -> SweetSpot:
    r"""Return the classical optimum and whether it is degenerate (book: Theorem 6.1; R5, exact).

    Balanced representation of each size, standard chain, next-token head, prompts design.  With
    :math:`c = \rho^2 s/(s+\sigma_u^2)` the best size below the threshold is zero if and only if
    :math:`d \ge c(n-1)`; otherwise it is at least d.

    Parameters
    ----------
    dim, n_samples : int
        d and n.
    persistence : float
        :math:`\rho \in [0, 1)`.
    signal, noise_std : float
        s > 0 and :math:`\sigma_u > 0`.

    Returns
    -------
    SweetSpot

    Raises
    ------
    ValueError
        If an argument is outside its range.

    Examples
    --------
    >>> sweet_spot(100, 60, persistence=0.95, signal=4.0).degenerate
    True
    >>> sweet_spot(20, 600, persistence=0.9, signal=1.0).size
    140
    """
    d, n, rho, s, sigma_u = _checked(dim, n_samples, persistence, signal, noise_std)
    c = rho**2 * s / (s + sigma_u**2)
    critical = 1.0 + d / c if c > 0 else np.inf
    # At equality every p <= d ties; rounding must not decide.
    if n <= critical * (1 + 1e-12):
        return SweetSpot(0, float(d), True, c, critical)
    # Below d the risk is monotone (Theorem 6.1), so only p >= d is left to search.
    sizes = np.arange(d, n - 1)
    risk = balanced_risk(d, n, sizes, rho, s, sigma_u)
    best = int(np.argmin(risk))
    return SweetSpot(int(sizes[best]), float(risk[best]), False, c, critical)


@dataclass(frozen=True)
class GlobalOptimum:
    """The best model size of all (book: Definition 6.4).

    Attributes
    ----------
    phase : {"zero", "interior", "infinite"}
        Where the least total risk is.
    size : float
        The best size; infinity in the infinite phase.
    risk : float
        The least total risk.
    """

    phase: str
    size: float
    risk: float


def global_optimum(
    dim: int, n_samples: int, persistence: float, signal: float, noise_std: float = 1.0
) -> GlobalOptimum:
    """Return the best size among zero, every size below n, a fine grid beyond n, and infinity.

    Exact below the threshold, first-order asymptotic beyond.  Arguments and errors as
    :func:`.sweet_spot`.

    Returns
    -------
    GlobalOptimum

    Examples
    --------
    >>> global_optimum(20, 60, persistence=0.9, signal=1.0).phase
    'infinite'
    """
    d, n, rho, s, sigma_u = _checked(dim, n_samples, persistence, signal, noise_std)
    classical = sweet_spot(d, n, rho, s, sigma_u)
    beyond = np.unique((n + np.geomspace(2, 1e6 * (n + d), 400)).astype(np.int64))
    risk = balanced_risk(d, n, beyond, rho, s, sigma_u)
    best = int(np.argmin(risk))
    candidates = [
        GlobalOptimum("zero", 0.0, float(d)),
        GlobalOptimum("interior", float(classical.size), classical.risk),
        GlobalOptimum("infinite", np.inf, limit_risk(d, n, rho, s, sigma_u)),
        GlobalOptimum("interior", float(beyond[best]), float(risk[best])),
    ]
    # Rounding must not make a far-away size on the grid beat the limit it tends to.
    return min(candidates, key=lambda o: o.risk * (1 + 1e-9 * (o.phase == "interior")))


def _checked(
    dim: int, n_samples: int, persistence: float, signal: float, noise_std: float
) -> tuple[int, int, float, float, float]:
    return (
        as_count("dim", dim),
        as_count("n_samples", n_samples),
        as_number("persistence", persistence, minimum=0.0, maximum=1.0, open_maximum=True),
        as_scale("signal", signal, positive=True),
        as_scale("noise_std", noise_std, positive=True),
    )
