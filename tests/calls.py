"""A call that is right, for each public function: other tests spoil its arguments."""

from collections.abc import Callable
from typing import Any

import numpy as np

from hmmtheory import (
    CategoricalHMM,
    FilteredTask,
    GaussianHMM,
    GaussianTask,
    LinearResponse,
    Moments,
    Population,
    Representation,
    RiskCurve,
    TokenTask,
    compare,
    cross_validation_scores,
    diagnose,
    fit_head,
    head_risk,
    optimal_ridge,
    predict_accuracy,
    predict_risk,
    recommend,
    resample_risk_curve,
    risk_curve,
    risk_distribution,
    simulate_head_risk,
    simulate_risk_curve,
    study,
)
from hmmtheory.closed_forms import balanced_risk, global_optimum, limit_risk, sweet_spot
from hmmtheory.factors import effective_ridge, elliptical_factors, risk_factors, uniform_error
from hmmtheory.plotting import plot_theory_and_simulation
from hmmtheory.practice.head import LinearHead
from hmmtheory.practice.report import report_html
from hmmtheory.studies.settings import setting_theory, simulate_setting
from hmmtheory.theory import document_inflation, price_of_features

EYE = np.eye(2)

CHAIN = GaussianHMM.rotation(2, 0.9, rng=0)
OTHER_CHAIN = GaussianHMM.rotation(3, 0.9, rng=0)
MODEL = Representation.gaussian(2, 6, rng=1)
TOKENS = CategoricalHMM([0.5, 0.5], [[0.9, 0.1], [0.1, 0.9]], EYE)
POPULATION = Population(EYE, 0.5 * EYE, EYE)
MOMENTS = Moments(np.array([1.0, 2.0]), EYE, EYE)


def a_curve(sizes: list[int], risk: list[float], error: list[float], **more: Any) -> RiskCurve:
    return RiskCurve(np.array(sizes), np.array(risk), np.array(error), **more)


CURVE = a_curve([0, 1], [2.0, 1.0], [0.0, 0.0])
LAW = risk_distribution(POPULATION, 9)

ROWS = {
    "features": np.random.default_rng(0).standard_normal((30, 2)),
    "responses": np.random.default_rng(1).standard_normal((30, 1)),
}

SETTING: dict[str, Any] = {
    "dim": 2, "persistence": 0.5, "n_samples": 9, "sizes": [0, 6], "signal": 1.0,
    "noise_std": 1.0, "ridge": 0.1, "chain": "scalar", "weights": "gaussian", "instance": 0,
}  # fmt: skip


def a_simulation(kind: str, n_trials: int, rng: Any) -> RiskCurve:
    return a_curve([3], [1.0], [0.1], n_trials=n_trials)


def a_trained_head(size: int | None, ridge: float | str) -> LinearHead:
    return LinearHead(size, ridge).fit(ROWS["features"], ROWS["responses"][:, 0])


def theory_only(kind: str, n_trials: int, rng: Any) -> RiskCurve:
    return a_curve([3], [1.0], [0.0])


def other_sizes(kind: str) -> RiskCurve:
    return a_curve([4], [1.0], [0.0])


#: A call that is right, for each entry point; the table below spoils one argument at a time.
CALLS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "GaussianHMM": (GaussianHMM, {"transition": 0.5 * EYE, "noise_std": 1.0}),
    "GaussianHMM.rotation": (GaussianHMM.rotation, {"dim": 2, "persistence": 0.5, "rng": 0}),
    "GaussianHMM.autocovariance": (CHAIN.autocovariance, {"lag": 1}),
    "GaussianHMM.sample": (CHAIN.sample, {"n_sequences": 2, "length": 2, "rng": 0}),
    "GaussianHMM.filter_covariance": (
        CHAIN.filter_covariance,
        {"observation_noise_std": 0.5, "length": 2},
    ),
    "GaussianHMM.filter": (
        CHAIN.filter,
        {"observations": np.ones((1, 3, 2)), "observation_noise_std": 0.5},
    ),
    "CategoricalHMM": (
        CategoricalHMM,
        {"initial": [0.5, 0.5], "transition": EYE, "emission": EYE},
    ),
    "CategoricalHMM.sample": (TOKENS.sample, {"n_sequences": 2, "length": 2, "rng": 0}),
    "CategoricalHMM.filter": (TOKENS.filter, {"tokens": [[0, 1]]}),
    "CategoricalHMM.predict_next": (TOKENS.predict_next, {"tokens": [[0, 1]]}),
    "CategoricalHMM.log_likelihood": (TOKENS.log_likelihood, {"tokens": [[0, 1]]}),
    "Representation": (Representation, {"weights": np.ones((2, 3)), "noise_std": 1.0}),
    "Representation.gaussian": (
        Representation.gaussian,
        {"dim": 2, "size": 3, "signal": 1.0, "noise_std": 1.0, "rng": 0},
    ),
    "Representation.balanced": (
        Representation.balanced,
        {"dim": 2, "size": 3, "signal": 1.0, "noise_std": 1.0, "rng": 0},
    ),
    "Representation.truncate": (MODEL.truncate, {"size": 2}),
    "Representation.features": (MODEL.features, {"states": np.ones((3, 2)), "rng": 0}),
    "LinearResponse": (LinearResponse, {"weights": EYE, "noise_std": 0.5}),
    "LinearResponse.sample": (
        LinearResponse(EYE, 0.5).sample,
        {"next_states": np.ones((3, 2)), "rng": 0},
    ),
    "GaussianTask": (
        GaussianTask,
        {"hmm": CHAIN, "representation": MODEL, "response": LinearResponse(EYE)},
    ),
    "GaussianTask.draw": (
        GaussianTask(CHAIN, MODEL).draw,
        {"n_samples": 3, "rng": 0, "design": "document"},
    ),
    "FilteredTask": (
        FilteredTask,
        {"hmm": CHAIN, "representation": MODEL, "observation_noise_std": 0.5, "length": 2},
    ),
    "TokenTask": (TokenTask, {"hmm": TOKENS, "embedding": np.ones((2, 3)), "noise_std": 0.5}),
    "Population.risk_of": (POPULATION.risk_of, {"head": np.zeros((POPULATION.n_features, 2))}),
    "Population": (
        Population,
        {"feature_covariance": EYE, "cross_covariance": 0.5 * EYE, "response_covariance": EYE},
    ),
    "Population.next_token": (
        Population.next_token,
        {"hmm": CHAIN, "representation": MODEL},
    ),
    "Population.downstream": (
        Population.downstream,
        {"hmm": CHAIN, "representation": MODEL, "response": LinearResponse(EYE)},
    ),
    "Population.filtered": (
        Population.filtered,
        {"hmm": CHAIN, "representation": MODEL, "observation_noise_std": 0.5, "length": 2},
    ),
    "Population.from_samples": (
        Population.from_samples,
        {
            "features": np.arange(60.0).reshape(30, 2) % 7,
            "responses": np.arange(30.0).reshape(30, 1) % 5,
            "unlabelled": None,
            "correct": True,
        },
    ),
    "Population.tokens": (
        Population.tokens,
        {"hmm": TOKENS, "embedding": EYE, "noise_std": 0.1},
    ),
    "Population.truncate": (POPULATION.truncate, {"size": 1}),
    "head_risk": (
        head_risk,
        {"population": POPULATION, "n_samples": 9, "ridge": 0.1, "order": 2, "kurtosis": 1.0},
    ),
    "risk_factors": (
        risk_factors,
        {"eigenvalues": [1.0, 2.0], "n_samples": 9, "ridge": 0.1, "multiplicities": [1, 2],
         "order": 2, "kurtosis": 1.0},
    ),
    "uniform_error": (
        uniform_error,
        {"eigenvalues": [1.0, 2.0], "n_samples": 9, "ridge": 0.1, "multiplicities": [1, 2]},
    ),
    "effective_ridge": (
        effective_ridge,
        {"eigenvalues": [1.0, 2.0], "n_samples": 9, "ridge": 0.1, "multiplicities": [1, 2]},
    ),
    "optimal_ridge": (optimal_ridge, {"population": POPULATION, "n_samples": 9, "order": 2}),
    "risk_curve": (
        risk_curve,
        {"hmm": CHAIN, "representation": MODEL, "n_samples": 9, "sizes": [0, 6], "ridge": 0.0,
         "order": 2, "response": LinearResponse(EYE), "design": "prompts", "band": 0.8},
    ),
    "risk_distribution": (risk_distribution, {"population": POPULATION, "n_samples": 9}),
    "RiskDistribution.quantile": (LAW.quantile, {"q": 0.5}),
    "RiskDistribution.cdf": (LAW.cdf, {"x": 1.0}),
    "RiskDistribution.sample": (LAW.sample, {"size": 2, "rng": 0}),
    "simulate_risk_curve": (
        simulate_risk_curve,
        {"hmm": CHAIN, "representation": MODEL, "n_samples": 9, "sizes": [0, 6], "n_trials": 2,
         "design": "prompts", "ridge": 0.0, "rng": 0, "n_jobs": 1,
         "response": LinearResponse(EYE), "estimator": "auto",
         "target_relative_error": 0.9, "max_trials": 9},
    ),
    "study": (
        study,
        {"grid": {"kind": "a"}, "n_trials": 2, "simulate": a_simulation, "theory": None,
         "target_relative_error": 0.9, "max_trials": 4, "chunk_trials": 2, "rng": 0,
         "folder": None, "n_jobs": 1, "progress": False},
    ),
    "simulate_setting": (
        simulate_setting,
        {**SETTING, "n_trials": 2, "rng": 0, "design": "prompts", "estimator": "auto"},
    ),
    "setting_theory": (setting_theory, {**SETTING, "order": 2}),
    "RiskCurve.pool": (RiskCurve.pool, {"curves": [a_curve([0], [1.0], [0.0], n_trials=2)]}),
    "simulate_head_risk": (
        simulate_head_risk,
        {"population": POPULATION, "n_samples": 9, "n_trials": 2, "ridge": 0.1, "rng": 0},
    ),
    "elliptical_factors": (
        elliptical_factors,
        {"eigenvalues": [1.0, 2.0], "n_samples": 9, "row_scales": [0.5, 1.5], "ridge": 0.1,
         "order": 2},
    ),
    "predict_risk": (
        predict_risk,
        {**ROWS, "n_samples": 9, "sizes": [0, 2], "ridge": 0.1, "order": "random",
         "rows": "elliptical", "intercept": True, "unlabelled": None, "rng": 0, "groups": None},
    ),
    "predict_accuracy": (
        predict_accuracy,
        {"features": ROWS["features"], "classes": [0, 1, 1] * 10, "n_samples": 9,
         "ridge": "optimal", "rng": 0, "groups": None},
    ),
    "resample_risk_curve": (
        resample_risk_curve,
        {**ROWS, "n_samples": 9, "sizes": [0, 2], "n_trials": 2, "ridge": 0.1, "order": "given",
         "intercept": True, "rng": 0, "n_jobs": 1, "groups": None},
    ),
    "recommend": (
        recommend,
        {**ROWS, "n_samples": 9, "target": 2.0, "sizes": [0, 2], "order": "given",
         "rows": "elliptical", "unlabelled": None, "rng": 0, "target_r2": None,
         "target_accuracy": None, "groups": None},
    ),
    "diagnose": (diagnose, {**ROWS, "n_samples": 9, "rng": 0, "unlabelled": None, "groups": None}),
    "compare": (
        compare,
        {"representations": {"a": ROWS["features"], "b": ROWS["features"][:, :1]},
         "labels": ROWS["responses"], "n_samples": 9, "groups": None, "rng": 0, "classes": False},
    ),
    "LinearHead": (a_trained_head, {"size": 1, "ridge": 0.5}),
    "report_html": (report_html, {**ROWS, "n_samples": 9, "call": "", "classes": False,
                                  "groups": None}),
    "document_inflation": (
        document_inflation,
        {"hmm": CHAIN, "representation": MODEL, "n_samples": 9},
    ),
    "price_of_features": (
        price_of_features,
        {"moments": [MOMENTS, MOMENTS], "n_samples": 9, "ridge": 0.1, "order": 2},
    ),
    "Moments": (
        Moments,
        {"eigenvalues": [2.0, 1.0], "head": EYE, "residual_covariance": EYE,
         "multiplicities": [1.0, 2.0], "kurtosis": 0.0, "pilot": 9},
    ),
    "Moments.of_unequal_rows": (
        Moments,
        {"eigenvalues": [2.0, 1.0], "head": EYE, "residual_covariance": EYE,
         "row_scales": [1.0, 2.0], "residuals": np.array([EYE, EYE])},
    ),
    "cross_validation_scores": (
        cross_validation_scores,
        {"features": np.eye(3, 2), "responses": np.ones((3, 1)), "ridges": [0.1, 1.0],
         "kind": "loo"},
    ),
    **{
        function.__name__: (
            function,
            {"dim": 2, "n_samples": 9, "persistence": 0.5, "signal": 1.0, "noise_std": 1.0},
        )
        for function in (limit_risk, sweet_spot, global_optimum)
    },
    "fit_head": (
        fit_head,
        {"features": np.ones((3, 2)), "responses": np.ones((3, 1)), "ridge": 0.1},
    ),
    "balanced_risk": (
        balanced_risk,
        {"dim": 2, "n_samples": 9, "sizes": [0, 20], "persistence": 0.5, "signal": 1.0,
         "noise_std": 1.0, "ridge": 0.1},
    ),
    "RiskCurve": (
        RiskCurve,
        {"sizes": [0, 1], "risk": [2.0, 1.0], "standard_error": [0.0, 0.0], "noise": [1.0, 1.0],
         "bias": [1.0, 1.0], "variance": [1.0, 1.0], "ridges": [0.0, 0.0], "trials": [2, 2],
         "bias_standard_error": [1.0, 1.0], "variance_standard_error": [1.0, 1.0],
         "low": [1.0, 1.0], "median": [1.0, 1.0], "high": [1.0, 1.0],
         "per_output": [[1.0], [1.0]], "n_samples": 9, "ridge": 0.0, "n_trials": 2, "label": ""},
    ),
    "plot_theory_and_simulation": (
        plot_theory_and_simulation,
        {"theory": CURVE, "parts": ["risk"]},
    ),
}  # fmt: skip
