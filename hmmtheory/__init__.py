"""The risk of a linear head on a frozen language model, modelled as a hidden Markov model.

Data flows one way: chains -> representations -> signals -> moments, population -> tasks ->
theory and simulation -> curves.  The book in this repository derives every formula and executes
every function.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hmmtheory.categorical_hmm import CategoricalHMM
from hmmtheory.curves import RiskCurve
from hmmtheory.draws import risk_distribution
from hmmtheory.gaussian_hmm import GaussianHMM
from hmmtheory.heads import cross_validation_scores, fit_head
from hmmtheory.moments import Moments
from hmmtheory.population import Population
from hmmtheory.representations import LinearResponse, Representation
from hmmtheory.simulation import simulate_head_risk, simulate_risk_curve
from hmmtheory.tasks import FilteredTask, GaussianTask, TokenTask
from hmmtheory.theory import head_risk, optimal_ridge, risk_curve

if TYPE_CHECKING:
    from hmmtheory.practice.accuracy import predict_accuracy
    from hmmtheory.practice.compare import compare
    from hmmtheory.practice.diagnosis import diagnose
    from hmmtheory.practice.features import predict_risk, resample_risk_curve
    from hmmtheory.practice.head import LinearHead as LinearHead
    from hmmtheory.practice.recommend import recommend
    from hmmtheory.studies.study import study

__version__ = "0.2.0"

__all__ = [
    "CategoricalHMM",
    "FilteredTask",
    "GaussianHMM",
    "GaussianTask",
    "LinearResponse",
    "Moments",
    "Population",
    "Representation",
    "RiskCurve",
    "TokenTask",
    "compare",
    "cross_validation_scores",
    "diagnose",
    "fit_head",
    "head_risk",
    "optimal_ridge",
    "predict_accuracy",
    "predict_risk",
    "recommend",
    "resample_risk_curve",
    "risk_curve",
    "risk_distribution",
    "simulate_head_risk",
    "simulate_risk_curve",
    "study",
]

#: The wings need pandas, joblib and more: each loads when one of its names is first asked for.
#: LinearHead is a class of scikit-learn's, without which ``import *`` must do: it is not listed.
_WINGS = {
    "LinearHead": "practice.head",
    "compare": "practice.compare",
    "diagnose": "practice.diagnosis",
    "predict_accuracy": "practice.accuracy",
    "predict_risk": "practice.features",
    "recommend": "practice.recommend",
    "resample_risk_curve": "practice.features",
    "study": "studies.study",
}


def __getattr__(name: str) -> Any:
    if name not in _WINGS:
        raise AttributeError(f"module 'hmmtheory' has no attribute {name!r}")
    value = getattr(import_module(f"hmmtheory.{_WINGS[name]}"), name)
    if name in __all__:
        globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
