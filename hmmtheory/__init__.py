"""The risk of a linear head on a frozen language model, modelled as a hidden Markov model.

Data flows one way: chains -> representations -> signals -> moments, population -> tasks ->
theory and simulation -> curves.  The book in this repository derives every formula and executes
every function.
"""

from hmmtheory.categorical_hmm import CategoricalHMM
from hmmtheory.closed_forms import SweetSpot, sweet_spot
from hmmtheory.curves import RiskCurve, pool_curves
from hmmtheory.factors import (
    EllipticalFactors,
    Factors,
    effective_ridge,
    elliptical_factors,
    risk_factors,
)
from hmmtheory.gaussian_hmm import GaussianHMM
from hmmtheory.heads import cross_validation_scores, fit_head
from hmmtheory.moments import Moments, Risk
from hmmtheory.population import Population
from hmmtheory.practice.diagnosis import Diagnosis, Finding, diagnose
from hmmtheory.practice.features import Recommendation, predict_risk, recommend, resample_risk_curve
from hmmtheory.representations import LinearResponse, Representation
from hmmtheory.simulation import SimulatedRisk, simulate_head_risk, simulate_risk_curve
from hmmtheory.studies.study import setting_theory, simulate_setting, study
from hmmtheory.tasks import FilteredTask, GaussianTask, TokenTask
from hmmtheory.theory import document_inflation, head_risk, optimal_ridge, risk_curve

__version__ = "0.1.0"

__all__ = [
    "CategoricalHMM",
    "Diagnosis",
    "EllipticalFactors",
    "Factors",
    "FilteredTask",
    "Finding",
    "GaussianHMM",
    "GaussianTask",
    "LinearResponse",
    "Moments",
    "Population",
    "Recommendation",
    "Representation",
    "Risk",
    "RiskCurve",
    "SimulatedRisk",
    "SweetSpot",
    "TokenTask",
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
