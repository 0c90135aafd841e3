r"""The risk of a head trained on one long document, whose rows depend on each other (Chapter 8).

n consecutive examples of one Gaussian sequence: features repeat, and what a label adds to the
best prediction reappears in later features.  Both are in the fixed point of this module.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from hmmtheory._checks import FloatArray, warn_caller
from hmmtheory._linalg import singular_system
from hmmtheory._trials import one_blas_thread
from hmmtheory.factors import effective_ridge
from hmmtheory.moments import Moments
from hmmtheory.tasks import GaussianTask

#: Relative change at which the fixed point counts as found, and most steps towards it.
_TOLERANCE, _STEPS = 1e-12, 2000
#: Steps without progress that are borne, and what counts as found where rounding ends it.
_PATIENCE, _ROUNDED = 10, 1e-9
#: Complex steps: exact first derivatives, since no difference is taken.
_TINY = 1e-30


class _Model(NamedTuple):
    """One size: W_p through its d×d part, and the two constants of the equations.

    K⁻¹ = bI + εS + Σ_k c_k Γ_x(k) is a number times I outside the span of ``root``.
    """

    lags: FloatArray  # (n, d, d), those of the fixed point
    root: FloatArray  # U (d, r), UUᵀ = WWᵀ
    rest: int  # p - r
    variance: float  # σ_u²
    a: float
    b: float

    def is_sound(self, c: FloatArray) -> bool:
        """Whether K is positive definite, as that of the one fixed point with a meaning is."""
        return bool(np.linalg.eigvalsh(self.precision(c)[0]).min(initial=np.inf) > 0.0)

    def step(self, c: Any, epsilon: Any = 0.0) -> Any:
        """Return the next c_k (n,), the sums along the diagonals of G."""
        inner, trace = self.inverse(c, epsilon)[:2]
        diagonals = np.tensordot(self.lags, inner, axes=2)
        diagonals[0] += self.a + self.variance * trace
        return _diagonal_sums(diagonals)

    def inverse(self, c: Any, epsilon: Any = 0.0) -> tuple[Any, Any, Any]:
        """Return WKWᵀ (d, d), tr K where features have noise, and Z = Σ_k c_k E[z_tᵀz_{t+k}]."""
        inside, alpha, z = self.precision(c, epsilon)
        k = np.linalg.inv(inside)
        trace = np.trace(k) + (self.rest / alpha if self.variance else 0.0)
        return self.root @ k @ self.root.T, trace, z

    def precision(self, c: Any, epsilon: Any = 0.0) -> tuple[Any, Any, Any]:
        """Return K⁻¹ in the span of the root (r, r), the number that it is outside, and Z."""
        forward = np.tensordot(c, self.lags, axes=1)
        z = forward + forward.T - c[0] * self.lags[0]
        alpha = self.b + self.variance * (c[0] + epsilon)
        inside = self.root.T @ (z + epsilon * self.lags[0]) @ self.root
        return inside + alpha * np.eye(self.root.shape[1]), alpha, z


def _diagonal_sums(column: Any) -> Any:
    """Return Σ_t G_{t,t+k} of the inverse G of a symmetric Toeplitz matrix, from its column."""
    n = column.size
    unit = np.zeros(n)
    unit[0] = 1.0
    x = linalg.solve_toeplitz((column, column), unit)
    # Gohberg and Semencul: G is a difference of two products of triangular Toeplitz matrices,
    # in which a pair of entries occurs as often as its later index allows.
    y, times = np.concatenate([[0.0], x[:0:-1]]), np.arange(n, 0, -1)
    sums = [np.correlate(v * times, v.conj(), "full")[n - 1 :] for v in (x, y)]
    return (sums[0] - sums[1]) / x[0]


def _solve(model: _Model, c: FloatArray) -> tuple[FloatArray, FloatArray] | None:
    """Return the fixed point c and its derivative along ε; None if it isn't found.

    Plain steps converge, like powers of p/n; Newton's, with exact derivatives by complex step,
    do not slow down at p = n.
    """
    from scipy.sparse.linalg import LinearOperator, gmres

    def solved(at: FloatArray, right: FloatArray) -> FloatArray:
        def residual(x: FloatArray) -> FloatArray:
            return np.asarray(x - model.step(at + _TINY * 1j * x).imag / _TINY)

        operator = LinearOperator((c.size, c.size), matvec=residual, dtype=np.float64)
        return np.asarray(gmres(operator, right, rtol=1e-12, restart=60, maxiter=10)[0])

    ahead, least, refused, idle = model.step(c), np.inf, 0, 0
    for _ in range(_STEPS):
        gap = float(np.abs(ahead - c).max() / np.abs(ahead).max())
        least, idle = (gap, 0) if gap < least else (least, idle + 1)
        if gap < _TOLERANCE or (idle > _PATIENCE and gap < _ROUNDED):
            along = model.step(ahead + 0j, _TINY * 1j).imag / _TINY
            return ahead, solved(ahead, along)
        if idle > 2 * _PATIENCE:
            break
        if gap < 0.03 and refused < _PATIENCE:
            trial = c + solved(c, ahead - c)
            after = model.step(trial)
            better = np.abs(after - trial).max() < 0.5 * gap * np.abs(after).max()
            if better and trial[0] > 0.0 and model.is_sound(trial):
                c, ahead = trial, after
                continue
            refused += 1
        c, ahead = ahead, model.step(ahead)
    return None


def document_risk(
    task: GaussianTask, n: int, sizes: NDArray[np.int64], ridge: float, order: int | str
) -> FloatArray:
    r"""Return the risk of each output after training on n consecutive examples (k, q).

    Theorem 8.3 (R13).
    With :math:`\Gamma_x(k) = E[x_t^\top x_{t+k}]` and so on, an n×n matrix G and a p×p matrix K
    solve

    .. math:: [G^{-1}]_{ts} = \delta_{ts} + \operatorname{tr}(\Gamma_x(s-t)^\top K), \qquad
              K^{-1} = \lambda I + \varepsilon S + H_{xx}, \qquad
              H_\bullet = \sum_k c_k \Gamma_\bullet(k)

    with :math:`c_k` the sums along the diagonals of G.  The mean head is :math:`K H_{xy}`, and
    the square of the trained one enters through the derivative along :math:`\varepsilon` of
    :math:`H_{yy} - H_{xy}^\top K H_{xy}` (asymptotic; its error is O(1/n)).  Higher orders
    multiply the excess risk by what they add to independent prompts (empirical).

    Parameters
    ----------
    task : GaussianTask
        Chain, representation and label.
    n : int
        The length of the document.
    sizes : ndarray of int, shape (k,)
        Strictly increasing sizes.
    ridge : float
        The penalty, infinity included.
    order : {1, 2, "uniform"}
        Order of the formula.

    Returns
    -------
    ndarray, shape (k, q)
    """
    lags = [task.hmm.stationary_covariance]
    for _ in range(n):
        lags.append(lags[-1] @ task.hmm.transition)
    known = np.array(lags)
    # Many products of small matrices, which threads would slow down.
    with one_blas_thread():
        found = [
            _risk(task, known, int(p), ridge, moments, order)
            for p, moments in zip(sizes, task.moments(sizes), strict=True)
        ]
    return np.array(found)


def _risk(
    task: GaussianTask, lags: FloatArray, p: int, ridge: float, moments: Moments, order: int | str
) -> FloatArray:
    """Return the risk of each output (q,) at one size."""
    n, v, label = len(lags) - 1, task.label.weights, np.square(task.label.noise_std)
    sigma_y = np.einsum("ij,ik,kj->j", v, lags[0], v) + label
    if p == 0 or np.isinf(ridge):
        return np.asarray(sigma_y)
    left, lengths, _ = singular_system(task.representation.weights[:, :p])
    variance = task.representation.noise_std**2
    root = left * lengths
    rank = p if variance else root.shape[1]
    if rank == 0:
        return np.asarray(sigma_y)
    if ridge == 0.0 and abs(rank - n) <= 1:
        return np.full(sigma_y.size, np.inf)
    # Without ridge and with p > n, G and 1/K vanish like λ; the equations of G/λ and λK remain.
    a, b = (0.0, 1.0) if ridge == 0.0 and rank > n else (1.0, ridge)
    model = _Model(lags[:n], root, p - root.shape[1], variance, a, b)
    kappa = effective_ridge(moments.eigenvalues, n, ridge, moments.multiplicities)
    c = np.zeros(n)
    # What independent rows would have.
    c[0] = (ridge / kappa if ridge else n - rank) if a else 1.0 / kappa
    found = _solve(model, c)
    if found is None:
        warn_caller(f"the equations of a document have not been solved at size {p}")
        return np.full(sigma_y.size, np.nan)

    def fit(c: Any, epsilon: Any = 0.0) -> tuple[Any, Any]:
        """Return the diagonals of CᵀKH_xy and of Ψ = H_yy - H_xyᵀKH_xy (q,)."""
        inner, _, z = model.inverse(c, epsilon)
        y = np.tensordot(c, lags[1:], axes=1) + np.tensordot(c[1:], lags[:-2], axes=1).T
        shown = inner @ y @ v
        product = ((lags[1] @ v) * shown).sum(axis=0)
        psi = (v * (z @ v)).sum(axis=0) - ((y @ v) * shown).sum(axis=0) + c[0] * label
        return product, psi

    c, along = found
    product = fit(c)[0]
    psi = fit(c + 1j * _TINY * along, 1j * _TINY)[1].imag / _TINY
    risk = sigma_y - 2.0 * product + psi
    if order == 1:
        return np.asarray(risk)
    noise = np.diag(moments.residual_covariance)
    return np.asarray(noise + (risk - noise) * _more(moments, n, ridge, rank, order))


def _more(moments: Moments, n: int, ridge: float, rank: int, order: int | str) -> FloatArray:
    """Return by how much a higher order raises the excess risk of independent prompts (q,)."""
    if ridge == 0.0 and rank < n:
        return np.full(moments.n_outputs, (n - rank) / (n - rank - 1.0))
    first, second = (moments.parts(n, ridge, order)[1:].sum(axis=0) for order in (1, order))
    more = np.divide(second, first, out=np.ones_like(first), where=first > 0)
    return np.asarray(more)
