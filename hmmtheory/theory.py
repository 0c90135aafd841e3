"""The risk of a trained head, in theory, and as a curve over model sizes (Chapters 3 to 8)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hmmtheory._checks import (
    FloatArray,
    as_a,
    as_count,
    as_items,
    as_number,
    as_option,
    as_order,
    as_ridge,
    as_sizes,
)
from hmmtheory.curves import RiskCurve
from hmmtheory.document import document_risk
from hmmtheory.draws import law_of
from hmmtheory.factors import effective_ridge
from hmmtheory.gaussian_hmm import GaussianHMM
from hmmtheory.moments import Moments, Risk
from hmmtheory.population import Population, check_dimensions
from hmmtheory.representations import LinearResponse, Representation
from hmmtheory.tasks import DESIGNS, GaussianTask

#: A lag whose covariance is below this share of the first adds nothing.
_FORGOTTEN = 1e-20
_MOST_LAGS = 10**6


def head_risk(
    population: Population,
    n_samples: int,
    ridge: float = 0.0,
    order: int | str = "uniform",
    kurtosis: float = 0.0,
    intercept: bool = False,
) -> Risk:
    r"""Return the risk of a head trained on n independent examples.

    Without ridge and with p <= n - 2 (p the rank of S) this is Theorem 3.2 (R1), exact for
    Gaussian rows; for p in {n - 1, n, n + 1} it is infinite (Proposition 3.3).  Elsewhere it is
    the deterministic equivalent of Theorem 4.2 (R3, ``order=1``) or its second order, Theorem
    14.1 (R3′, ``order=2``), both asymptotic; for isotropic S and no ridge the second order equals
    Theorem 4.1 (R2), exact.  ``order="uniform"``, the default (R17, empirical), is exact for
    isotropic S with any ridge, and as accurate where p is close to n or the ridge small as
    elsewhere.

    How wrong they are: two standard errors aside, the uniform order was within 0.5 % of
    simulation in 299 of 300 cases of seven spectra, n = 20 and 60, p from n/2 to 3n, and never
    more than 1.2 % off.  Where the number of large eigenvalues is close to n and the rest are
    far smaller it misses up to 10 %, and for n < 10 more.  In those 931 cases the second
    order misses up to 31 % for a small ridge at p close to n; from a ridge of one mean eigenvalue
    up it is within 1 %.  The result's ``relative_error`` says how far the order asked for may be
    off here, by :meth:`.Moments.relative_error`.

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
    order : {1, 2, "uniform"}
        Order of the asymptotic formula.
    kurtosis : float
        As :func:`.risk_factors`.
    intercept : bool
        As :meth:`.Moments.risk`.

    Returns
    -------
    Risk

    Raises
    ------
    ValueError
        If `n_samples` < 1, `ridge` < 0, `order` is not 1, 2 or "uniform", or `kurtosis` < -2,
        or n < 2 with an intercept.

    Examples
    --------
    >>> population = Population([[1.0]], [[0.6]], [[1.0]])
    >>> head_risk(population, n_samples=10)
    Risk(total=0.72, noise=0.64, bias=0, variance=0.08)
    """
    moments: Moments = as_a("Population", "population", population).moments
    moments = replace(moments, kurtosis=kurtosis)
    return moments.risk(n_samples, ridge, order, intercept)


def optimal_ridge(
    population: Population, n_samples: int, order: int | str = "uniform", intercept: bool = False
) -> float:
    r"""Return the penalty :math:`\lambda^*` that minimises the total :func:`.head_risk`.

    For isotropic S the first order gives :math:`\lambda^* = p \operatorname{tr}\Omega / \|B^*\|^2`
    (R7); in general the minimum is found numerically, over 0 and 24 decades around it.

    Parameters
    ----------
    population : Population
        Moments of features and response.
    n_samples : int
        The number n of labelled examples.
    order : {1, 2, "uniform"}
        Order of the asymptotic formula.
    intercept : bool
        Whether the head has an intercept.

    Returns
    -------
    float
        :math:`\lambda^*`; infinity where no head beats the zero head.

    Raises
    ------
    ValueError
        As :func:`.head_risk`.

    Examples
    --------
    >>> population = Population([[1.0]], [[0.6]], [[1.0]])
    >>> round(optimal_ridge(population, n_samples=10, order=1), 3)
    1.778
    """
    moments: Moments = as_a("Population", "population", population).moments
    return moments.optimal_ridge(n_samples, order, intercept)


def risk_curve(
    hmm: GaussianHMM,
    representation: Representation,
    n_samples: int,
    sizes: Iterable[int] | ArrayLike,
    ridge: float = 0.0,
    order: int | str = "uniform",
    response: LinearResponse | None = None,
    design: str = "prompts",
    band: float | None = None,
) -> RiskCurve:
    r"""Return the theoretical risk of nested models, :func:`.head_risk` at every size.

    The cost per size does not grow with p: all eigenvalues of S but the d of
    :math:`\Sigma_z^{1/2} W_p W_p^\top \Sigma_z^{1/2}` equal :math:`\sigma_u^2`.

    One document in place of independent prompts (Theorem 8.3 (R13), asymptotic) counts how its
    rows repeat each other, and that a label's noise reappears in later features.  With a ridge
    the first order was within 1 % of simulation, for three dimensions within 2 %; without one
    within 3 % where :math:`|p - n| \ge n/2`, and nearer to n too low by up to 25 %.  The others
    multiply the excess risk by what they add to prompts (empirical): without ridge this was
    within 3 % for chains that mix within the document, near n too, and up to 6 % too high for
    slower ones.  A state that rotates almost undamped repeats few random numbers: there all are
    up to 20 % off.

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
        As :func:`.head_risk`.
    response : LinearResponse, optional
        The label; the next token state if omitted.
    design : {"prompts", "document"}
        n independent sequences with one example each, or n consecutive examples of one.
    band : float, optional
        The share of trained heads, 0.8 say, whose risk lies between the curve's ``low`` and
        ``high``, by :func:`.risk_distribution`; for prompts without ridge only.

    Returns
    -------
    RiskCurve
        With per-output risks and standard errors of zero; for prompts with parts, for a document
        with the noise; with a band also ``low``, ``median`` and ``high``.

    Raises
    ------
    ValueError
        If dimensions differ, a size is outside [0, P], `design` is unknown, `band` is not in
        (0, 1) or comes with a ridge or a document, or as :func:`.head_risk`.

    Warns
    -----
    UserWarning
        If the equations of a document have not been solved at a size, whose risk is then NaN.

    Examples
    --------
    >>> chain = GaussianHMM.rotation(20, persistence=0.9, rng=0)
    >>> model = Representation.balanced(20, 10, rng=1)
    >>> risk_curve(chain, model, n_samples=60, sizes=[0, 10]).risk.round(3).tolist()
    [20.0, 19.205]
    """
    task = GaussianTask(hmm, representation, response)
    checked, order = as_sizes(sizes, representation.size), as_order(order)
    n_samples, design = as_count("n_samples", n_samples), as_option("design", design, DESIGNS)
    moments = list(task.moments(checked))
    curve = curve_of(moments, checked, n_samples, ridge, order)
    if band is not None:
        band = as_number(
            "band", band, minimum=0.0, maximum=1.0, open_minimum=True, open_maximum=True
        )
        if ridge != 0.0 or design != "prompts":
            raise ValueError(f"band must be None but for prompts without ridge; got {band:g}")
    if design == "document":
        outputs = document_risk(task, n_samples, checked, curve.ridge, order)
        return replace(
            curve,
            risk=outputs.sum(axis=1),
            per_output=outputs,
            bias=None,
            variance=None,
            own_error=None,  # it was calibrated for prompts
            label="theory, document" + ("" if order == "uniform" else f", order {order}"),
        )
    if band is None:
        return curve
    tail = 0.5 - 0.5 * band
    levels = [tail, 0.5, 1.0 - tail]
    low, median, high = np.transpose([law_of(m, n_samples).quantile(levels) for m in moments])
    return replace(curve, low=low, median=median, high=high)


def curve_of(
    moments: Iterable[Moments],
    sizes: NDArray[np.int64],
    n_samples: int,
    ridge: float | str = 0.0,
    order: int | str = "uniform",
    intercept: bool = False,
    label: str = "",
) -> RiskCurve:
    """Return the risk of heads whose moments are given size by size.

    Parameters
    ----------
    moments : iterable of Moments
        One for each size.
    sizes : ndarray of int, shape (k,)
        Strictly increasing sizes.
    n_samples, order, intercept
        As :meth:`.Moments.risk`.
    ridge : float or "optimal"
        The penalty, or the best of each size.
    label : str
        What the curve is; by default the theory's order.

    Returns
    -------
    RiskCurve

    Raises
    ------
    ValueError
        As :meth:`.Moments.risk`.
    """
    best = isinstance(ridge, str) and ridge == "optimal"
    given = 0.0 if best else as_ridge(ridge)
    penalties, parts, kept = [], [], []
    for found in moments:
        kept.append(found.slim())
        lam = found.optimal_ridge(n_samples, order, intercept) if best else given
        penalties.append(lam)
        parts.append(found.parts(n_samples, lam, order, intercept))
    noise, bias, variance = np.array(parts).sum(axis=2).T
    return RiskCurve(
        sizes=sizes,
        risk=noise + bias + variance,
        standard_error=np.zeros(sizes.size),
        noise=noise,
        bias=bias,
        variance=variance,
        per_output=np.array(parts).sum(axis=1),
        n_samples=n_samples,
        ridge=given,
        ridges=np.array(penalties) if best else None,
        own_error=partial(_own_errors, kept, n_samples, penalties, order, intercept),
        label=label or ("theory" if order == "uniform" else f"theory, order {order}"),
    )


def _own_errors(
    moments: list[Moments],
    n_samples: int,
    penalties: list[float],
    order: int | str,
    intercept: bool,
) -> FloatArray:
    """Return :meth:`.Moments.relative_error` of each size."""
    pairs = zip(moments, penalties, strict=True)
    return np.array([m.relative_error(n_samples, lam, order, intercept) for m, lam in pairs])


class Prices(NamedTuple):
    """What each step to a larger model is worth, and what it costs: arrays (k - 1,)."""

    worth: FloatArray
    price: FloatArray


def price_of_features(
    moments: Iterable[Moments], n_samples: int, ridge: float = 0.0, order: int | str = "uniform"
) -> Prices:
    r"""Return worth and price of added features, at any size, spectrum and ridge.

    A head's risk is what it leaves undetermined, :math:`\mathcal L = \operatorname{tr}\Omega +
    \sum_i \kappa^2 t_i\|b_i\|^2/(t_i+\kappa)^2`, times what labels amplify it by,
    :math:`\alpha`.  Features are worth the share of :math:`\mathcal L` that they remove, and
    their price is :math:`1 - \alpha/\alpha'`.  The risk falls exactly if the worth exceeds the
    price (Proposition 6.6).  To first order the price is :math:`\Delta\mathrm{df}_2/(n -
    \mathrm{df}_2)`; without ridge it is :math:`1/(n-p-1)` for one feature below the threshold
    (exact), and negative beyond.

    Parameters
    ----------
    moments : iterable of Moments
        Of k nested models, of one label.
    n_samples, ridge, order
        As :func:`.head_risk`.

    Returns
    -------
    Prices
        Without unit.  The price is 1 where the larger model's risk is infinite, and minus
        infinity where the smaller one's alone is.

    Raises
    ------
    ValueError
        If there are fewer than two models, the labels of some have another number of outputs,
        or as :func:`.head_risk`.

    Examples
    --------
    >>> one, two = Moments([1.0], [[0.6]], [[0.64]]), Moments([1.0] * 2, [[0.6], [0.3]], [[0.55]])
    >>> [x.round(3).tolist() for x in price_of_features([one, two], n_samples=10)]
    [[0.141], [0.125]]
    """
    given = as_items("moments", moments, "Moments")
    models: list[Moments] = [as_a("Moments", "moments", each) for each in given]
    outputs = {each.head.shape[1] for each in models}
    if len(models) < 2 or len(outputs) > 1:
        raise ValueError(
            "moments must be two or more models of one label; "
            f"got {len(models)} of {sorted(outputs)} outputs"
        )
    risks = np.array([float(each.parts(n_samples, ridge, order).sum()) for each in models])
    lam = as_ridge(ridge)
    left = np.array([_undetermined(each, n_samples, lam) for each in models])
    # A factor of zero risk is none.
    factor = np.divide(risks, left, out=np.ones_like(risks), where=left > 0.0)
    after, infinite = factor[1:], np.isinf(factor[1:])
    share = np.divide(factor[:-1], after, out=np.zeros_like(after), where=~infinite)
    gone = np.divide(left[1:], left[:-1], out=np.ones_like(after), where=left[:-1] > 0.0)
    return Prices(1.0 - gone, 1.0 - share)


def _undetermined(moments: Moments, n: int, ridge: float) -> float:
    """Return the trace of what the mean head leaves: residuals and what κ keeps from learning."""
    t, m = moments.eigenvalues, moments.multiplicities
    signal = t * np.square(moments.head).sum(axis=1)
    kappa = np.inf if np.isinf(ridge) else effective_ridge(t, n, ridge, m) if t.size else 0.0
    forgotten = np.ones_like(t) if np.isinf(kappa) else np.square(kappa / (t + kappa))
    return float(np.trace(moments.residual_covariance) + forgotten @ signal)


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
        If dimensions differ, `n_samples` < 1, the representation has no feature, or the chain
        remembers a million steps.

    Examples
    --------
    >>> chain = GaussianHMM([[0.9]], noise_std=0.19**0.5)
    >>> round(document_inflation(chain, Representation([[1.0]]), n_samples=1000), 2)
    5.24
    """
    check_dimensions(as_a("GaussianHMM", "hmm", hmm).dim, representation)
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
    size, radius = np.linalg.norm(before), np.abs(np.linalg.eigvals(hmm.transition)).max()
    if n > _MOST_LAGS and radius**_MOST_LAGS > _FORGOTTEN:
        raise ValueError(
            f"n_samples must be at most {_MOST_LAGS} where the chain forgets so slowly; got {n}"
        )
    for lag in range(1, n):
        if np.linalg.norm(now) <= _FORGOTTEN * size:
            break
        after = now @ hmm.transition
        # Autocovariances at this lag of e, then of x and e across it in both orders.
        residual = now - before @ product - product.T @ after + product.T @ now @ product
        ahead, behind = after - now @ product, before.T - now.T @ product
        pairs = np.trace(residual) * np.trace(frame @ now) + np.trace(ahead.T @ frame @ behind)
        total += (1.0 - lag / n) * float(pairs)
        before, now = now, after
    return 1.0 + 2.0 * total / (values.size * omega)
