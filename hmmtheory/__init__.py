"""The risk of a linear head on a frozen language model, modelled as a hidden Markov model.

Data flows one way: chains -> representations -> population -> risk (theory) and simulation
-> curves.  The book in this repository derives every formula and executes every function.
"""

from hmmtheory.categorical_hmm import CategoricalHMM
from hmmtheory.closed_forms import SweetSpot, sweet_spot
from hmmtheory.curves import RiskCurve, pool_curves
from hmmtheory.gaussian_hmm import GaussianHMM
from hmmtheory.heads import cross_validation_scores, fit_head
from hmmtheory.population import Population
from hmmtheory.practice.diagnosis import Diagnosis, Finding, diagnose
from hmmtheory.practice.features import Recommendation, predict_risk, recommend, resample_risk_curve
from hmmtheory.simulation import SimulatedRisk, simulate_head_risk, simulate_risk_curve
from hmmtheory.studies.study import setting_theory, simulate_setting, study
from hmmtheory.tasks import LinearResponse, Representation
from hmmtheory.theory import (
    EllipticalFactors,
    Factors,
    Risk,
    document_inflation,
    effective_ridge,
    elliptical_factors,
    head_risk,
    optimal_ridge,
    risk_curve,
    risk_factors,
)

__version__ = "0.1.0"

__all__ = [
    "CategoricalHMM",
    "Diagnosis",
    "EllipticalFactors",
    "Factors",
    "Finding",
    "GaussianHMM",
    "LinearResponse",
    "Population",
    "Recommendation",
    "Representation",
    "Risk",
    "RiskCurve",
    "SimulatedRisk",
    "SweetSpot",
    "cross_validation_scores",
    "diagnose",
    "document_inflation",
    "effective_ridge",
    "elliptical_factors",
    "fit_head",
    "head_risk",
    "optimal_ridge",
    "pool_curves",
    "predict_risk",
    "recommend",
    "resample_risk_curve",
    "risk_curve",
    "risk_factors",
    "setting_theory",
    "simulate_head_risk",
    "simulate_risk_curve",
    "simulate_setting",
    "study",
    "sweet_spot",
]
