"""Settings: a chain and a representation given by a few numbers, as points of a study."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hmmtheory._checks import FloatArray, as_count, as_number, as_option, as_rng, as_sizes
from hmmtheory.curves import COLUMNS, RiskCurve
from hmmtheory.gaussian_hmm import GaussianHMM
from hmmtheory.representations import Representation
from hmmtheory.simulation import simulate_risk_curve
from hmmtheory.theory import risk_curve

CHAINS = ("rotation", "scalar")
WEIGHTS = ("gaussian", "balanced")


def simulate_setting(
    dim: int,
    persistence: float,
    n_samples: int,
    sizes: int | Iterable[int],
    n_trials: int,
    rng: Any = None,
    signal: float = 1.0,
    noise_std: float = 1.0,
    ridge: float = 0.0,
    design: str = "prompts",
    chain: str = "rotation",
    weights: str = "gaussian",
    instance: int = 0,
    estimator: str = "auto",
) -> RiskCurve:
    r"""Simulate the risk curve of a chain and a representation given by a few numbers.

    Parameters
    ----------
    dim, persistence : int, float
        d and :math:`\rho`.
    n_samples : int
        n, the number of labelled examples.
    sizes : int or sequence of int
        One size, or strictly increasing sizes.
    n_trials, rng, ridge, design, estimator
        As :func:`.simulate_risk_curve`.
    signal, noise_std : float
        s and :math:`\sigma_u`.
    chain : {"rotation", "scalar"}
        :math:`A = \rho Q` or :math:`A = \rho I`, both with stationary covariance I.
    weights : {"gaussian", "balanced"}
        One nested model with random W, or a balanced W for each size.
    instance : int
        The seed of Q and W.

    Returns
    -------
    RiskCurve

    Raises
    ------
    ValueError
        If `chain` or `weights` is unknown, or as :func:`.simulate_risk_curve` and the
        constructors.

    Examples
    --------
    >>> simulate_setting(5, 0.9, n_samples=20, sizes=[0, 40], n_trials=8, rng=0)
    RiskCurve(2 sizes from 0 to 40, n_samples=20, ridge=0, 8 trials)
    """
    hmm, models = _setting(dim, persistence, sizes, signal, noise_std, chain, weights, instance)
    generator = as_rng(rng)
    return _joined(
        simulate_risk_curve(
            hmm, model, n_samples, some, n_trials, design, ridge, generator, estimator=estimator
        )
        for model, some in models
    )


def setting_theory(
    dim: int,
    persistence: float,
    n_samples: int,
    sizes: int | Iterable[int],
    signal: float = 1.0,
    noise_std: float = 1.0,
    ridge: float = 0.0,
    design: str = "prompts",
    chain: str = "rotation",
    weights: str = "gaussian",
    instance: int = 0,
    estimator: str = "auto",
    order: int | str = "uniform",
) -> RiskCurve:
    """Return :func:`.risk_curve` for the settings of :func:`.simulate_setting`.

    Parameters
    ----------
    dim, persistence, n_samples, sizes, signal, noise_std, ridge, chain, weights, instance
        As :func:`.simulate_setting`.
    design, estimator : str
        Ignored: the theory is that of independent prompts, whatever is simulated.
    order : {1, 2, "uniform"}
        As :func:`.risk_curve`.

    Returns
    -------
    RiskCurve

    Raises
    ------
    ValueError
        As :func:`.simulate_setting` and :func:`.risk_curve`.

    Examples
    --------
    >>> setting_theory(20, 0.9, n_samples=60, sizes=10, weights="balanced").risk.round(3).tolist()
    [19.205]
    """
    hmm, models = _setting(dim, persistence, sizes, signal, noise_std, chain, weights, instance)
    return _joined(risk_curve(hmm, model, n_samples, some, ridge, order) for model, some in models)


def _setting(
    dim: int,
    persistence: float,
    sizes: int | Iterable[int],
    signal: float,
    noise_std: float,
    chain: str,
    weights: str,
    instance: int,
) -> tuple[GaussianHMM, list[tuple[Representation, NDArray[np.int64]]]]:
    chain = as_option("chain", chain, CHAINS)
    weights = as_option("weights", weights, WEIGHTS)
    one = isinstance(sizes, (int, np.integer))
    checked = as_sizes([sizes] if one else sizes, maximum=np.iinfo(np.int64).max)
    seeds = np.random.SeedSequence(as_count("instance", instance, minimum=0)).spawn(2)
    if chain == "rotation":
        hmm = GaussianHMM.rotation(dim, persistence, rng=seeds[0])
    else:
        rho = as_number("persistence", persistence, minimum=0.0, maximum=1.0, open_maximum=True)
        hmm = GaussianHMM(rho * np.eye(as_count("dim", dim)), np.sqrt(1.0 - rho**2))
    if weights == "gaussian":
        model = Representation.gaussian(dim, int(checked[-1]), signal, noise_std, rng=seeds[1])
        return hmm, [(model, checked)]
    return hmm, [
        (Representation.balanced(dim, int(p), signal, noise_std, rng=child), np.array([p]))
        for p, child in zip(checked, seeds[1].spawn(checked.size), strict=True)
    ]


def _joined(curves: Iterable[RiskCurve]) -> RiskCurve:
    """Return one curve of the sizes of all."""
    found = list(curves)
    if len(found) == 1:
        return found[0]

    def column(name: str) -> Any:
        columns = [getattr(curve, name) for curve in found]
        return None if columns[0] is None else np.concatenate(columns)

    columns = {name: column(name) for name in ("sizes", *COLUMNS, "per_output")}
    return replace(found[0], **columns, own_error=partial(_own_errors, found))


def _own_errors(curves: list[RiskCurve]) -> FloatArray:
    found = [curve.relative_error for curve in curves]
    return np.concatenate([errors for errors in found if errors is not None])
