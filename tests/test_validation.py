"""Bad input is refused, by a message that names the argument."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from calls import (
    CALLS,
    CHAIN,
    EYE,
    MODEL,
    MOMENTS,
    OTHER_CHAIN,
    POPULATION,
    other_sizes,
    theory_only,
)

from hmmtheory import (
    CategoricalHMM,
    LinearResponse,
    Population,
    Representation,
    RiskCurve,
    head_risk,
    risk_curve,
    simulate_risk_curve,
)

NAN, INF = float("nan"), float("inf")
ASYMMETRIC = np.array([[1.0, 0.5], [0.0, 1.0]])
INDEFINITE = np.array([[1.0, 2.0], [2.0, 1.0]])
RAGGED: list[list[float]] = [[1.0], [1.0, 2.0]]

COUNT = [0, -1, 1.5, True, None, "3", NAN]
SIZE = [-1, 1.5, True, None, "3"]
POSITIVE = [0.0, -1.0, NAN, INF, None, "1", True, [1.0, 2.0], 1j]
NON_NEGATIVE = [-1e-9, NAN, INF, None, "1", True, [1.0, 2.0]]
PENALTY = [-1e-9, NAN, -INF, None, "1", True, [1.0, 2.0]]
RNG = ["seed", -1, 1.5, object()]
ORDER = [0, 3, 1.5, None, "2", True, "even", ["uniform"]]
SIZES: list[Any] = [
    [], [-1, 2], [0, 7], [2, 2], [3, 1], [0.0, 1.0], [True, False], [[0, 1]], 5, None, "12",
    ["a"], [[1], [1, 2]], [NAN],
]  # fmt: skip
UNLABELLED: list[Any] = [np.ones((3, 5)), np.ones(2), NAN * np.ones((3, 2)), "a"]
TOKEN: list[Any] = [
    [0, 1], [[]], [[0.0, 1.0]], [[0, 2]], [[-1, 0]], [["a"]], None, [[0], [0, 1]], [[[0]]],
]  # fmt: skip
VECTOR: list[Any] = [[1.0], [[1.0], [2.0]], [1.0, 2.0, 3.0], "ab", 1.0, ["a", "b"]]

#: (entry point, argument, bad values)
TABLE: list[tuple[str, str, list[Any]]] = [
    (
        "GaussianHMM",
        "transition",
        [EYE, 1.01 * EYE, np.ones((2, 3)), [0.5], NAN * EYE, np.empty((0, 0)), 0.5, "a", None,
         RAGGED, 0.5j * EYE, [[0.0, 1.0], [-1.0, 0.0]]],
    ),
    ("GaussianHMM", "noise_std", POSITIVE),
    ("Moments", "eigenvalues", [[0.0, 1.0], [-1.0, 1.0], [NAN, 1.0], EYE, None, "a"]),
    ("Moments", "head", [np.ones((3, 2)), np.ones((2, 3)), NAN * EYE, None, "a"]),
    ("Moments", "residual_covariance", [ASYMMETRIC, INDEFINITE, -EYE, NAN * EYE, 1.0, "a"]),
    ("Moments", "multiplicities", [[1.0], [0.0, 1.0], [0.4, 0.4], [-1.0, 3.0], [NAN, 1.0], "a"]),
    ("Moments", "kurtosis", [-2.1, NAN, INF, None, "1"]),
    ("Moments", "pilot", [0, -1, 1.5, "9"]),
    ("Moments.of_unequal_rows", "eigenvalues", [[0.0, 1.0]]),
    ("Moments.of_unequal_rows", "head", [np.ones((3, 2))]),
    ("Moments.of_unequal_rows", "residual_covariance", [-EYE]),
    ("Moments.of_unequal_rows", "row_scales", [[0.0, 0.0], [-1.0, 1.0], EYE, [NAN, 1.0], None]),
    (
        "Moments.of_unequal_rows",
        "residuals",
        [np.array([EYE]), np.array([EYE, -EYE]), np.array([EYE, ASYMMETRIC]), None],
    ),
    ("GaussianHMM.rotation", "dim", COUNT),
    ("GaussianHMM.rotation", "persistence", [1.0, -0.1, 1.5, NAN, None, "1", True]),
    ("GaussianHMM.rotation", "rng", RNG),
    ("GaussianHMM.autocovariance", "lag", [-1, 1.5, None, True]),
    ("GaussianHMM.sample", "n_sequences", COUNT),
    ("GaussianHMM.sample", "length", COUNT),
    ("GaussianHMM.sample", "rng", RNG),
    (
        "CategoricalHMM",
        "initial",
        [[0.5, 0.4], [1.5, -0.5], [NAN, 1.0], [], ["a", "b"], None, [[0.5, 0.5]], RAGGED],
    ),
    (
        "CategoricalHMM",
        "transition",
        [0.5 * EYE, [[1.5, -0.5], [0.0, 1.0]], NAN * EYE, np.eye(3), [0.5, 0.5], None, RAGGED],
    ),
    (
        "CategoricalHMM",
        "emission",
        [0.5 * EYE, [[1.5, -0.5], [0.0, 1.0]], NAN * EYE, np.eye(3), np.empty((2, 0)), None],
    ),
    ("GaussianHMM.filter_covariance", "observation_noise_std", POSITIVE),
    ("GaussianHMM.filter_covariance", "length", [0, -1, 1.5, True, "3"]),
    (
        "GaussianHMM.filter",
        "observations",
        [np.ones((3, 2)), np.ones((1, 3, 3)), np.ones((1, 0, 2)), NAN * np.ones((1, 3, 2)), None,
         "a", RAGGED, 1j * np.ones((1, 3, 2))],
    ),
    ("GaussianHMM.filter", "observation_noise_std", POSITIVE),
    ("CategoricalHMM.sample", "n_sequences", COUNT),
    ("CategoricalHMM.sample", "length", COUNT),
    ("CategoricalHMM.sample", "rng", RNG),
    ("CategoricalHMM.filter", "tokens", TOKEN),
    ("CategoricalHMM.predict_next", "tokens", TOKEN),
    ("CategoricalHMM.log_likelihood", "tokens", TOKEN),
    (
        "Representation",
        "weights",
        [[1.0], np.empty((0, 3)), NAN * EYE, INF * np.ones((2, 2)), "a", None, RAGGED, 1j * EYE],
    ),
    ("Representation", "noise_std", NON_NEGATIVE),
    *[
        (f"Representation.{name}", argument, bad)
        for name in ("gaussian", "balanced")
        for argument, bad in (
            ("dim", COUNT),
            ("size", SIZE),
            ("signal", NON_NEGATIVE),
            ("noise_std", NON_NEGATIVE),
            ("rng", RNG),
        )
    ],
    ("Representation.truncate", "size", [*SIZE, 7]),
    ("Representation.features", "states", [[1.0, 2.0], np.ones((3, 3)), NAN * EYE, None, "a"]),
    ("Representation.features", "rng", RNG),
    ("LinearResponse", "weights", [[1.0], np.empty((2, 0)), np.empty((0, 2)), NAN * EYE, None]),
    ("LinearResponse", "noise_std", [-1.0, NAN, INF, [1.0, 1.0, 1.0], None, [1.0, -1.0], "a",
                                     1j, [[1.0, 1.0]]]),
    ("LinearResponse.sample", "next_states", [np.ones((3, 5)), np.ones(2), NAN * EYE]),
    ("LinearResponse.sample", "rng", RNG),
    (
        "Population",
        "feature_covariance",
        [ASYMMETRIC, INDEFINITE, NAN * EYE, np.ones((2, 3)), [1.0], None, RAGGED, -EYE],
    ),
    (
        "Population",
        "cross_covariance",
        [np.ones((3, 2)), np.ones((2, 3)), [1.0, 2.0], NAN * EYE, None, 5 * EYE],
    ),
    (
        "Population",
        "response_covariance",
        [ASYMMETRIC, INDEFINITE, NAN * EYE, np.ones((2, 3)), [1.0], None, np.empty((0, 0))],
    ),
    ("GaussianTask", "representation", [Representation.gaussian(3, 4)]),
    ("GaussianTask", "response", [LinearResponse(np.eye(3))]),
    ("GaussianTask.draw", "n_samples", COUNT),
    ("GaussianTask.draw", "rng", RNG),
    ("GaussianTask.draw", "design", ["other", None, 1]),
    ("FilteredTask", "representation", [Representation.gaussian(3, 4)]),
    ("FilteredTask", "observation_noise_std", [0.0, -1.0, NAN, "a"]),
    ("FilteredTask", "length", COUNT),
    ("TokenTask", "embedding", [np.ones((3, 2)), [1.0, 2.0], NAN * EYE, None]),
    ("TokenTask", "noise_std", NON_NEGATIVE),
    ("Population.risk_of", "head", [np.zeros((1, 2)), None, "a"]),
    ("Population.next_token", "representation", [Representation.gaussian(3, 4)]),
    ("Population.downstream", "representation", [Representation.gaussian(3, 4)]),
    ("Population.downstream", "response", [LinearResponse(np.eye(3))]),
    ("Population.filtered", "representation", [Representation.gaussian(3, 4)]),
    ("Population.filtered", "observation_noise_std", POSITIVE),
    ("Population.filtered", "length", [0, -1, 1.5, True, "3"]),
    (
        "Population.from_samples",
        "features",
        [np.ones(30), NAN * np.ones((30, 2)), None, RAGGED, np.ones((30, 2, 1))],
    ),
    (
        "Population.from_samples",
        "responses",
        [NAN * np.ones((30, 1)), np.ones((29, 1)), None, np.ones((30, 1, 1)), np.ones((30, 0))],
    ),
    ("Population.from_samples", "unlabelled", UNLABELLED),
    ("Population.from_samples", "correct", [None, "yes", 1]),
    ("Population.tokens", "embedding", [np.ones((3, 2)), [1.0, 2.0], NAN * EYE, None]),
    ("Population.tokens", "noise_std", NON_NEGATIVE),
    ("elliptical_factors", "eigenvalues", [[0.0], [-1.0], [NAN], EYE, None, 1.0]),
    ("elliptical_factors", "n_samples", COUNT),
    ("elliptical_factors", "row_scales", [[], [-1.0, 1.0], [0.0, 0.0], [NAN], EYE, None, 1.0]),
    ("elliptical_factors", "ridge", PENALTY),
    ("elliptical_factors", "order", ORDER),
    *[
        (name, argument, bad)
        for name in ("predict_risk", "resample_risk_curve", "recommend", "diagnose", "report_html")
        for argument, bad in (
            ("features", [np.ones(30), NAN * np.ones((30, 2)), None, RAGGED, np.ones((1, 2))]),
            ("responses", [NAN * np.ones(30), np.ones(29), None, np.ones((30, 1, 1))]),
            ("n_samples", [0, 1, -1, 1.5, True, "3", NAN]),
            ("sizes", [bad for bad in SIZES if bad is not None]),
            ("order", ["size", 1, None]),
            ("rows", ["round", 1, None]),
            ("unlabelled", UNLABELLED),
            ("rng", RNG),
        )
        if argument in CALLS[name][1]
    ],
    ("compare", "representations",
     [None, {}, {"a": np.ones((30, 2))}, [np.ones((30, 2))] * 2,
      {"a": np.ones((30, 2)), "b": np.ones((29, 2))}]),
    ("compare", "labels", [NAN * np.ones(30), np.ones(29), None, ["a"] * 30]),
    ("compare", "n_samples", [0, 1, -1, 1.5, True, "3", NAN]),
    *[
        (name, "groups", [[0] * 29, [None] * 30, np.ones((30, 2)), 1.0, [0.5] * 30, [7] * 30])
        for name in ("predict_risk", "predict_accuracy", "resample_risk_curve", "recommend",
                     "diagnose", "compare", "report_html")
    ],
    ("compare", "rng", RNG),
    ("compare", "classes", [None, "yes", 1]),
    ("report_html", "classes", [None, "yes", 1]),
    ("LinearHead", "size", [-1, 1.5, True, "3", NAN, 3]),
    ("LinearHead", "ridge", [*PENALTY, "gcv"]),
    ("report_html", "call", [None, 1, b"x"]),
    ("predict_accuracy", "features",
     [np.ones(30), NAN * np.ones((30, 2)), None, RAGGED, np.ones((1, 2))]),
    ("predict_accuracy", "classes",
     [[0] * 30, [0, 1] * 10, [0.5, 1.0, 2.0] * 10, [None, 1, 2] * 10, np.ones((30, 2)), None, 1.0]),
    ("predict_accuracy", "n_samples", [0, 1, -1, 1.5, True, "3", NAN]),
    ("predict_accuracy", "ridge", [*PENALTY, "best"]),
    ("predict_accuracy", "rng", RNG),
    ("predict_risk", "ridge", [*PENALTY, "best"]),
    ("predict_risk", "intercept", [None, "yes", 1]),
    ("resample_risk_curve", "n_samples", [30, 31]),
    ("resample_risk_curve", "n_trials", COUNT),
    ("resample_risk_curve", "ridge", [-1.0, NAN, "1", [1.0, 2.0, 3.0], [1.0, -1.0], None]),
    ("resample_risk_curve", "intercept", [None, "yes", 1]),
    ("resample_risk_curve", "n_jobs", [0, 1.5, "2", True]),
    ("recommend", "target", [0.0, -1.0, NAN, INF, "1", True]),
    ("recommend", "target_r2", [0.0, 1.0, -1.0, NAN, "1", True, 0.5]),
    ("recommend", "target_accuracy", [0.0, 1.0, NAN, "1", 0.5]),
    ("Population.truncate", "size", [*SIZE, 3]),
    ("head_risk", "n_samples", COUNT),
    ("head_risk", "ridge", PENALTY),
    ("head_risk", "order", ORDER),
    *[
        (name, argument, bad)
        for name in ("risk_factors", "effective_ridge", "uniform_error")
        for argument, bad in (
            ("eigenvalues", [[0.0, 1.0], [-1.0, 1.0], [NAN, 1.0], [INF, 1.0], EYE, 2.0, None,
                             ["a", "b"], RAGGED]),
            ("multiplicities", [[0, 1], [-1, 1], [NAN, 1.0], [INF, 1.0], [1], EYE, 2.0,
                                ["a", "b"], RAGGED]),
            ("n_samples", COUNT),
            ("ridge", PENALTY),
        )
    ],
    ("risk_factors", "order", ORDER),
    ("effective_ridge", "ridge", [INF]),
    ("optimal_ridge", "n_samples", COUNT),
    ("optimal_ridge", "order", ORDER),
    ("risk_curve", "representation", [Representation.gaussian(3, 6)]),
    ("risk_curve", "n_samples", COUNT),
    ("risk_curve", "sizes", SIZES),
    ("risk_curve", "ridge", PENALTY),
    ("risk_curve", "order", ORDER),
    ("risk_curve", "response", [LinearResponse(np.eye(3))]),
    ("risk_curve", "design", ["Prompts", "", None, 1, ["prompts"]]),
    ("risk_curve", "band", [0.0, 1.0, -0.1, NAN, "ab", True]),
    ("risk_distribution", "n_samples", COUNT),
    ("RiskDistribution.quantile", "q", [-0.1, 1.1, NAN, "ab", None, [0.5, 2.0]]),
    ("RiskDistribution.cdf", "x", [NAN, "ab", None, [1.0, NAN]]),
    ("RiskDistribution.sample", "size", COUNT),
    ("RiskDistribution.sample", "rng", RNG),
    ("simulate_risk_curve", "representation", [Representation.gaussian(3, 6)]),
    ("simulate_risk_curve", "n_samples", COUNT),
    ("simulate_risk_curve", "sizes", SIZES),
    ("simulate_risk_curve", "n_trials", COUNT),
    ("simulate_risk_curve", "design", ["Prompts", "", None, 1, ["prompts"]]),
    ("simulate_risk_curve", "ridge", [*PENALTY, INF]),
    ("simulate_risk_curve", "rng", RNG),
    ("simulate_risk_curve", "n_jobs", [0, 1.5, "2", True]),
    ("simulate_risk_curve", "estimator", ["Plain", "", None, 1, ["plain"]]),
    ("simulate_risk_curve", "target_relative_error", [0.0, 1.0, -0.1, NAN, "ab"]),
    ("simulate_risk_curve", "max_trials", [1, *COUNT]),
    ("simulate_risk_curve", "response", [LinearResponse(np.eye(3))]),
    ("study", "grid", [[], {"rng": 1}, {"kind": []}, {"kind": object()}, {"kind": NAN},
                       {1: 2}, {"kind": ["a", "a"]}, [{"kind": "a"}, {"kind": ["b", "a"]}],
                       {"z": 1}, {"kind": {"a": 1}}]),
    ("study", "n_trials", COUNT),
    ("study", "simulate", [theory_only]),
    ("study", "theory", [other_sizes]),
    ("study", "target_relative_error", [0.0, -1.0, NAN, "ab"]),
    ("study", "max_trials", [1, *COUNT]),
    ("study", "chunk_trials", COUNT),
    ("study", "rng", [-1, 1.5, None, "ab", np.random.default_rng(0)]),
    ("study", "folder", [5, __file__]),
    ("study", "n_jobs", [0, 1.5, "2", True]),
    ("study", "progress", [1, None, "yes"]),
    *[
        (call, argument, values)
        for call in ("simulate_setting", "setting_theory")
        for argument, values in (
            ("dim", COUNT),
            ("persistence", [1.0, -0.1, NAN, None]),
            ("n_samples", COUNT),
            ("sizes", [bad for bad in SIZES if bad not in ([0, 7], 5)]),
            ("signal", [-1.0, NAN, None]),
            ("noise_std", [-1.0, NAN, None]),
            ("ridge", PENALTY),
            ("chain", ["Rotation", None, 1]),
            ("weights", ["Gaussian", None, 1]),
            ("instance", [-1, 1.5, None, True]),
        )
    ],
    ("simulate_setting", "n_trials", COUNT),
    ("simulate_setting", "rng", RNG),
    ("simulate_setting", "design", ["Prompts", None]),
    ("simulate_setting", "estimator", ["Plain", None]),
    ("setting_theory", "order", ORDER),
    ("RiskCurve.pool", "curves", [[], [RiskCurve([0], [1.0], [0.0])]]),
    ("head_risk", "kurtosis", [-2.1, NAN, None]),
    ("risk_factors", "kurtosis", [-2.1, NAN, None]),
    ("simulate_head_risk", "n_samples", COUNT),
    ("simulate_head_risk", "n_trials", [1, *COUNT]),
    ("simulate_head_risk", "ridge", [*PENALTY, INF]),
    ("simulate_head_risk", "rng", RNG),
    (
        "document_inflation",
        "representation",
        [Representation.gaussian(3, 6), Representation.gaussian(2, 0)],
    ),
    ("document_inflation", "n_samples", COUNT),
    ("price_of_features", "moments", [[], [MOMENTS], 3.0, [1.0, 2.0]]),
    ("price_of_features", "n_samples", COUNT),
    ("price_of_features", "ridge", PENALTY),
    ("price_of_features", "order", ORDER),
    (
        "cross_validation_scores",
        "features",
        [np.ones(3), NAN * np.ones((3, 2)), np.empty((0, 2)), np.empty((3, 0)), None, RAGGED],
    ),
    (
        "cross_validation_scores",
        "responses",
        [np.ones(3), np.ones((2, 1)), NAN * np.ones((3, 1)), None, RAGGED],
    ),
    ("cross_validation_scores", "ridges", [[-1.0], [NAN], [[1.0]], [], ["a"], RAGGED, None]),
    ("cross_validation_scores", "kind", ["LOO", "", None, 1]),
    *[
        (name, argument, bad)
        for name in ("limit_risk", "sweet_spot", "global_optimum")
        for argument, bad in (
            ("dim", COUNT),
            ("n_samples", COUNT),
            ("persistence", [1.0, -0.1, NAN, None]),
            ("signal", POSITIVE),
            ("noise_std", POSITIVE),
        )
    ],
    (
        "fit_head",
        "features",
        [np.ones(3), NAN * np.ones((3, 2)), np.empty((0, 2)), None, "a", RAGGED,
         np.ones((3, 2, 1))],
    ),
    (
        "fit_head",
        "responses",
        [np.ones(2), np.ones((2, 1)), NAN * np.ones((3, 1)), None, 1.0, np.ones((3, 1, 1)),
         RAGGED],
    ),
    ("fit_head", "ridge", PENALTY),
    ("balanced_risk", "dim", COUNT),
    ("balanced_risk", "n_samples", COUNT),
    ("balanced_risk", "sizes", [bad for bad in SIZES if bad != [0, 7]]),
    ("balanced_risk", "persistence", [1.0, -0.1, NAN, None]),
    ("balanced_risk", "signal", POSITIVE),
    ("balanced_risk", "noise_std", POSITIVE),
    ("balanced_risk", "ridge", [*PENALTY, INF]),
    ("RiskCurve", "sizes", [[1, 0], [-1, 0], [0, 0], [0.0, 1.0], [], 5, None, [[0, 1]]]),
    *[
        ("RiskCurve", name, VECTOR)
        for name in (
            "risk", "standard_error", "noise", "bias", "variance", "bias_standard_error",
            "variance_standard_error", "low", "median", "high",
        )
    ],
    ("RiskCurve", "ridges", [[1.0], 1.0, "ab"]),
    ("RiskCurve", "trials", [[1.0], 1.0, "ab"]),
    ("RiskCurve", "per_output", [[1.0, 2.0], [[1.0]], 1.0, "ab"]),
    ("RiskCurve", "n_samples", COUNT),
    ("RiskCurve", "n_trials", [-1, 1.5, None, True]),
    ("RiskCurve", "ridge", PENALTY),
    ("RiskCurve", "label", [None, 3]),
    ("plot_theory_and_simulation", "parts", [["total"], ["risk", "x"]]),
    ("plot_theory_and_simulation", "theory", [RiskCurve([0], [1.0], [0.0])]),
]  # fmt: skip

CASES = [
    pytest.param(call, argument, value, id=f"{call}-{argument}-{k}")
    for call, argument, values in TABLE
    for k, value in enumerate(values)
]


@pytest.mark.parametrize(("call", "argument", "value"), CASES)
@pytest.mark.filterwarnings("error")
def test_a_bad_argument_is_named(call: str, argument: str, value: Any) -> None:
    function, right = CALLS[call]
    changes: dict[str, Any] = {argument: value}
    if call == "plot_theory_and_simulation" and argument == "theory":
        changes["parts"] = ["bias"]
    with pytest.raises(ValueError, match=rf"^{argument}\b"):
        function(**{**right, **changes})


@pytest.mark.parametrize("call", CALLS)
def test_the_unspoilt_call_is_accepted(call: str) -> None:
    function, right = CALLS[call]
    function(**right)


def test_every_argument_of_every_entry_point_is_in_the_table() -> None:
    spoilt = {(call, argument) for call, argument, _ in TABLE}
    # An object of the wrong class, or a flag, has no bad value to be named by.
    objects = {"hmm", "population"}
    expected = {
        (call, argument)
        for call, (_, right) in CALLS.items()
        for argument in right
        if argument not in objects
    }
    assert expected - spoilt - {("Population.next_token", "hmm")} == set()
    results = {
        "AccuracyForecast",
        "Comparison",
        "Diagnosis",
        "EllipticalFactors",
        "Factors",
        "Finding",
        "Recommendation",
        "Prices",
        "Risk",
        "RiskDistribution",
        "SimulatedRisk",
        "SweetSpot",
    }
    page = (Path(__file__).parents[1] / "chapters" / "api.md").read_text(encoding="utf-8")
    public = set(re.findall(r"auto(?:class|function):: hmmtheory[\w.]*\.(\w+)", page))
    assert public - results <= {call.split(".")[0] for call in CALLS}


def test_legal_extremes_are_not_refused() -> None:
    n, top = 5, MODEL.size
    five: Any = np.int64(5)
    assert np.isinf(risk_curve(CHAIN, MODEL, n, [0, n, top]).risk[1])
    assert np.isfinite(simulate_risk_curve(CHAIN, MODEL, n, [0, n, top], 2, rng=0).risk).all()
    assert np.isfinite(head_risk(POPULATION, 9, ridge=INF).total)
    assert risk_curve(CHAIN, MODEL, five, np.array([0, 6], dtype=np.int32)).risk.size == 2
    assert risk_curve(CHAIN, MODEL, 5, range(3)).risk.size == 3
    assert risk_curve(CHAIN, MODEL, 5, (size for size in (0, 2))).risk.size == 2


def test_chain_and_representation_of_other_dimensions_are_refused() -> None:
    for call in ("risk_curve", "simulate_risk_curve", "Population.next_token"):
        function, right = CALLS[call]
        with pytest.raises(ValueError, match=r"representation.*3.*2"):
            function(**{**right, "hmm": OTHER_CHAIN})


def test_one_sample_has_no_moments() -> None:
    with pytest.raises(ValueError, match=r"^features"):
        Population.from_samples([[1.0]], [[1.0]])


def test_tokens_that_the_model_cannot_emit_are_refused() -> None:
    model = CategoricalHMM([1.0, 0.0], EYE, EYE)
    with pytest.raises(ValueError, match=r"tokens.*position 1"):
        model.filter([[0, 1]])


def test_a_feature_without_variance_that_covaries_is_refused() -> None:
    with pytest.raises(ValueError, match="cross_covariance"):
        Population(np.diag([1.0, 0.0]), [[0.1], [0.1]], [[1.0]])


@pytest.mark.parametrize(
    ("change", "argument"),
    [
        ({"design": "document"}, "estimator.*document"),
        ({"representation": Representation(np.ones((2, 3)), 0.0)}, "estimator.*collinear"),
    ],
)
def test_averaging_over_labels_is_refused_where_it_has_no_closed_form(
    change: dict[str, Any], argument: str
) -> None:
    right = CALLS["simulate_risk_curve"][1]
    call = {**right, "sizes": [0, 2], "estimator": "conditional", **change}
    with pytest.raises(ValueError, match=argument):
        simulate_risk_curve(**call)
