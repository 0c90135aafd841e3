"""The risk of a linear head on a frozen language model, modelled as a hidden Markov model.

Data flows one way: chains -> representations -> population -> risk (theory) and simulation
-> curves.  The book in this repository derives every formula and executes every function.
"""

from hmmtheory.categorical_hmm import CategoricalHMM
from hmmtheory.closed_forms import SweetSpot, sweet_spot
from hmmtheory.curves import RiskCurve
from hmmtheory.gaussian_hmm import GaussianHMM
from hmmtheory.heads import cross_validation_scores, fit_head
from hmmtheory.population import Population
from hmmtheory.representations import LinearResponse, Representation
from hmmtheory.risk import (
    Factors,
    Risk,
    document_inflation,
    effective_ridge,
    head_risk,
    optimal_ridge,
    risk_curve,
    risk_factors,
)
from hmmtheory.simulation import SimulatedRisk, simulate_head_risk, simulate_risk_curve

__version__ = "0.1.0"

__all__ = [
    "CategoricalHMM",
    "Factors",
    "GaussianHMM",
    "LinearResponse",
    "Population",
    "Representation",
    "Risk",
    "RiskCurve",
    "SimulatedRisk",
    "SweetSpot",
    "cross_validation_scores",
    "document_inflation",
    "effective_ridge",
    "fit_head",
    "head_risk",
    "optimal_ridge",
    "risk_curve",
    "risk_factors",
    "simulate_head_risk",
    "simulate_risk_curve",
    "sweet_spot",
]
