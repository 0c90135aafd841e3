"""The simulation against plain loops over other solvers, on the very same draws."""

import tracemalloc
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.linear_model import Ridge

from hmmtheory import (
    GaussianHMM,
    LinearResponse,
    Population,
    Representation,
    RiskCurve,
    head_risk,
    risk_curve,
    simulate_head_risk,
    simulate_risk_curve,
)

N = 15
SIZES = [0, 1, 6, 13, 14, 15, 16, 17, 19, 22, 24, 26, 40, 45]


def a_chain() -> GaussianHMM:
    draw = np.random.default_rng(0).standard_normal((4, 4))
    return GaussianHMM(0.85 * draw / np.abs(np.linalg.eigvals(draw)).max(), noise_std=0.5)


def a_model(noise_std: float = 0.8, size: int = 45) -> Representation:
    return Representation.gaussian(4, size, signal=2.0, noise_std=noise_std, rng=1)


def a_response() -> LinearResponse:
    return LinearResponse(np.random.default_rng(2).standard_normal((4, 2)), [0.2, 0.9])


def one_draw(
    design: str, model: Representation, response: LinearResponse | None, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return X (n, P) and Y in the order that the trial of that seed draws them."""
    chain, rng = a_chain(), np.random.default_rng(seed).spawn(1)[0]
    if design == "prompts":
        pairs = chain.sample(N, 2, rng)
        states, following = pairs[:, 0], pairs[:, 1]
    else:
        path = chain.sample(1, N + 1, rng)[0]
        states, following = path[:-1], path[1:]
    y = following if response is None else response.sample(following, rng)
    # Noise comes feature by feature.
    x = states @ model.weights + model.noise_std * rng.standard_normal((model.size, N)).T
    return x, y


def population_of(model: Representation, response: LinearResponse | None) -> Population:
    label = LinearResponse(np.eye(4)) if response is None else response
    return Population.downstream(a_chain(), model, label)


def exact_risk(head: np.ndarray, model: Representation, response: LinearResponse | None) -> Any:
    """Return the diagonal of E[(y - xB̂)ᵀ(y - xB̂)] over a fresh (x, y)."""
    population, p = population_of(model, response), len(head)
    s, c = population.feature_covariance[:p, :p], population.cross_covariance[:p]
    y = population.response_covariance
    return np.diag(y - c.T @ head - head.T @ c + head.T @ s @ head)


@pytest.mark.parametrize("design", ["prompts", "document"])
@pytest.mark.parametrize("label", ["next token", "downstream"])
@pytest.mark.parametrize("noise_std", [0.8, 0.0])
def test_every_trained_head_is_the_one_of_numpy_lstsq(
    design: str, label: str, noise_std: float
) -> None:
    model, response = a_model(noise_std), a_response() if label == "downstream" else None
    for seed in (3, 4):
        curve = simulate_risk_curve(
            a_chain(), model, N, SIZES, 1, design, rng=seed, response=response, estimator="plain"
        )
        x, y = one_draw(design, model, response, seed)
        for k, p in enumerate(SIZES):
            head = np.linalg.lstsq(x[:, :p], y, rcond=None)[0]
            expected = exact_risk(head, model, response)
            assert_allclose(curve.per_output[k], expected, rtol=1e-8)
            assert_allclose(curve.risk[k], expected.sum(), rtol=1e-8)
        assert np.isnan(curve.standard_error).all()


@pytest.mark.parametrize("design", ["prompts", "document"])
@pytest.mark.parametrize("noise_std", [0.8, 0.0])
@pytest.mark.parametrize("ridge", [0.01, 3.0])
def test_every_ridge_head_is_the_one_of_scikit_learn(
    design: str, noise_std: float, ridge: float
) -> None:
    model = a_model(noise_std)
    curve = simulate_risk_curve(
        a_chain(), model, N, SIZES, 1, design, ridge=ridge, rng=5, estimator="plain"
    )
    x, y = one_draw(design, model, None, 5)
    for k, p in enumerate(SIZES):
        head = np.zeros((0, 4))
        if p:
            peer = Ridge(alpha=ridge, fit_intercept=False, solver="svd").fit(x[:, :p], y)
            head = peer.coef_.T
        assert_allclose(curve.risk[k], exact_risk(head, model, None).sum(), rtol=1e-8)


@pytest.mark.parametrize("ridge", [0.0, 0.05, 4.0])
@pytest.mark.parametrize("label", ["next token", "downstream"])
def test_bias_and_variance_are_those_given_the_features(ridge: float, label: str) -> None:
    model, response = a_model(), a_response() if label == "downstream" else None
    curve = simulate_risk_curve(
        a_chain(), model, N, SIZES, 1, ridge=ridge, rng=6, response=response
    )
    x, _ = one_draw("prompts", model, response, 6)
    whole = population_of(model, response)
    for k, p in enumerate(SIZES):
        population = whole.truncate(p)
        s, xp = population.feature_covariance, x[:, :p]
        back = np.linalg.pinv(np.vstack([xp, np.sqrt(ridge) * np.eye(p)]))[:, :N]
        missed = (np.eye(p) - back @ xp) @ np.linalg.pinv(s) @ population.cross_covariance
        omega = np.trace(population.residual_covariance)
        bias = np.trace(missed.T @ s @ missed)
        assert_allclose(curve.noise[k], omega, rtol=1e-9)
        assert_allclose(curve.bias[k], bias, rtol=1e-7, atol=1e-10)
        assert_allclose(curve.variance[k], omega * np.trace(back.T @ s @ back), rtol=1e-7)
        parts = curve.noise[k] + curve.bias[k] + curve.variance[k]
        assert_allclose([curve.risk[k], curve.per_output[k].sum()], parts, rtol=1e-12)


@pytest.mark.parametrize(
    ("design", "noise_std"), [("prompts", 0.8), ("prompts", 0.0), ("document", 0.8)]
)
def test_labels_are_averaged_over_exactly_where_that_is_exact(
    design: str, noise_std: float
) -> None:
    def curve(estimator: str) -> RiskCurve:
        return simulate_risk_curve(
            a_chain(), a_model(noise_std), N, SIZES, 3, design, rng=7, estimator=estimator
        )

    plain, default = curve("plain"), curve("auto")
    assert plain.bias is None
    if design == "prompts" and noise_std:
        assert np.array_equal(
            default.risk, curve("conditional").risk
        )  # same bits: the same estimator and draws
        assert default.bias is not None
    else:
        assert np.array_equal(default.risk, plain.risk)  # same bits: the same estimator and draws


def test_mean_and_standard_error_are_those_of_the_single_trials() -> None:
    chain, model, trials = a_chain(), a_model(), 5
    together = simulate_risk_curve(chain, model, N, SIZES, trials, rng=8)
    draws = []
    for child in np.random.default_rng(8).spawn(trials):
        # A trial alone spawns its stream from its parent; give it one that spawns this child.
        parent = _Spawns(child)
        draws.append(simulate_risk_curve(chain, model, N, SIZES, 1, rng=parent).risk)
    assert_allclose(together.risk, np.mean(draws, axis=0), rtol=1e-12)
    expected = np.std(draws, axis=0, ddof=1) / np.sqrt(trials)
    assert_allclose(together.standard_error, expected, rtol=1e-9, atol=1e-14)


class _Spawns(np.random.Generator):
    """A generator whose only child is the given one."""

    def __init__(self, child: np.random.Generator) -> None:
        super().__init__(np.random.PCG64(0))
        self.child = child

    def spawn(self, n_children: int) -> list[np.random.Generator]:
        assert n_children == 1
        return [self.child]


def test_the_number_of_processes_changes_no_bit() -> None:
    one, two = (
        simulate_risk_curve(a_chain(), a_model(), N, SIZES, 6, rng=9, n_jobs=jobs)
        for jobs in (1, 2)
    )
    for name in ("risk", "standard_error", "per_output", "bias", "variance_standard_error"):
        assert np.array_equal(getattr(one, name), getattr(two, name)), (
            name
        )  # same bits: the same draws, one BLAS thread each


@pytest.mark.parametrize("noise_std", [0.8, 0.0])
def test_the_risk_of_a_size_does_not_depend_on_which_others_are_asked(noise_std: float) -> None:
    model = a_model(noise_std)
    every = simulate_risk_curve(a_chain(), model, N, range(46), 3, rng=10).risk
    for some in ([45], [3, 20, 44], [14, 18, 30], [0]):
        risk = simulate_risk_curve(a_chain(), model, N, some, 3, rng=10).risk
        assert_allclose(risk, every[some], rtol=1e-8)
    truncated = simulate_risk_curve(a_chain(), model.truncate(20), N, [20], 3, rng=10).risk
    assert_allclose(truncated, every[20], rtol=1e-8)


def test_the_same_rng_gives_the_same_curve_however_it_is_given() -> None:
    reference = simulate_risk_curve(a_chain(), a_model(), N, [5, 30], 3, rng=11).risk
    for rng in (np.random.SeedSequence(11), np.random.default_rng(11)):
        assert np.array_equal(
            simulate_risk_curve(a_chain(), a_model(), N, [5, 30], 3, rng=rng).risk, reference
        )
    other = simulate_risk_curve(a_chain(), a_model(), N, [5, 30], 3, rng=12).risk
    assert not np.allclose(other, reference)


def test_trials_do_not_repeat_each_other() -> None:
    curve = simulate_risk_curve(a_chain(), a_model(), N, [5, 30], 4, rng=13)
    assert (curve.standard_error > 1e-6).all()


@pytest.mark.parametrize("sizes", ["many", "few"])
def test_memory_does_not_grow_with_the_model_beyond_its_weights(sizes: str) -> None:
    chain = GaussianHMM.rotation(3, 0.9, rng=0)

    def peak(size: int) -> int:
        model = Representation.gaussian(3, size, rng=1)
        asked = [0, 10, size] if sizes == "few" else range(0, size + 1, 100)
        simulate_risk_curve(chain, model, 20, [0, 10], 1, rng=2)
        tracemalloc.start()
        try:
            simulate_risk_curve(chain, model, 20, asked, 1, rng=2)
            return tracemalloc.get_traced_memory()[1] - model.weights.nbytes
        finally:
            tracemalloc.stop()

    # All features at once would take 36,000 columns of 20 numbers more.
    assert peak(40_000) - peak(4_000) < 0.05 * 36_000 * 20 * 8


@pytest.mark.parametrize("label", ["next token", "downstream"])
@pytest.mark.parametrize("ridge", [0.0, 2.0])
def test_theory_and_simulation_of_a_curve_agree(label: str, ridge: float) -> None:
    response = a_response() if label == "downstream" else None
    n, sizes = 40, [0, 1, 5, 15, 30, 55, 80, 150]
    model = a_model(size=150)
    theory = risk_curve(a_chain(), model, n, sizes, ridge, response=response)
    simulated = simulate_risk_curve(
        a_chain(), model, n, sizes, 400, ridge=ridge, rng=14, response=response
    )
    assert_allclose(simulated.noise, theory.noise, rtol=1e-9)
    assert_allclose(simulated.risk[0], theory.risk[0], rtol=1e-12)
    for part, error in (
        ("risk", "standard_error"),
        ("bias", "bias_standard_error"),
        ("variance", "variance_standard_error"),
    ):
        gap = np.abs(getattr(simulated, part) - getattr(theory, part))
        # 1e-3: the third order, which theory leaves out.
        allowed = 5 * getattr(simulated, error) + 1e-3 * theory.risk + 1e-12
        assert (gap[1:] < allowed[1:]).all(), part
    assert (simulated.standard_error[1:] < 0.03 * theory.risk[1:]).all()


@pytest.mark.parametrize("ridge", [0.0, 1.0])
def test_averaging_over_the_labels_leaves_less_noise_around_the_same_mean(ridge: float) -> None:
    plain, averaged = (
        simulate_risk_curve(
            a_chain(), a_model(), 30, [5, 15, 45], 300, ridge=ridge, rng=15, estimator=estimator
        )
        for estimator in ("plain", "conditional")
    )
    assert (averaged.standard_error < 0.7 * plain.standard_error).all()
    assert (np.abs(averaged.risk - plain.risk) < 5 * plain.standard_error).all()


# Drawing until it is accurate.


def accurate(target: float, sizes: Any = (0, 5, 9, 24, 40), **options: Any) -> RiskCurve:
    call = {"n_trials": 30, "rng": 25, "target_relative_error": target, **options}
    return simulate_risk_curve(a_chain(), a_model(), N, sizes, **call)


@pytest.mark.parametrize("design", ["prompts", "document"])
def test_every_size_is_drawn_until_it_is_accurate_and_no_longer(design: str) -> None:
    target = 0.01
    curve = accurate(target, design=design)
    assert curve.trials is not None
    assert (curve.standard_error <= target * curve.risk).all()
    assert curve.n_trials == curve.trials.max() > 5 * curve.trials.min()
    for k, p in enumerate(curve.sizes):
        # The same draws as a run of as many trials; a round before, they were not enough.
        again = simulate_risk_curve(
            a_chain(), a_model(), N, [int(p)], int(curve.trials[k]), design, rng=25
        )
        assert_allclose(again.risk, curve.risk[k : k + 1], rtol=1e-8)
        assert_allclose(again.standard_error, curve.standard_error[k : k + 1], rtol=1e-6, atol=1e-9)
        fewer = int(0.8 * curve.trials[k])
        if curve.trials[k] > 60:
            before = simulate_risk_curve(a_chain(), a_model(), N, [int(p)], fewer, design, rng=25)
            assert before.standard_error[0] > 0.9 * target * before.risk[0]


def test_the_accuracy_asked_for_is_the_accuracy_got() -> None:
    truth = risk_curve(a_chain(), a_model(), 20, [8, 12]).risk  # R1, exact
    errors = [
        simulate_risk_curve(
            a_chain(), a_model(), 20, [8, 12], 30, rng=seed, target_relative_error=0.01
        ).risk
        / truth
        - 1
        for seed in range(60)
    ]
    assert_allclose(np.std(errors, axis=0), 0.01, rtol=0.35)
    assert (np.abs(np.mean(errors, axis=0)) < 4 * 0.01 / np.sqrt(60)).all()


def test_the_number_of_processes_changes_no_bit_of_an_accurate_curve() -> None:
    one, two = (accurate(0.03, n_jobs=jobs) for jobs in (1, 2))
    for name in ("risk", "standard_error", "trials", "variance"):
        assert np.array_equal(getattr(one, name), getattr(two, name)), (
            name
        )  # same bits: the same draws, one BLAS thread each


def test_no_draw_is_wasted_where_the_mean_is_infinite() -> None:
    curve = accurate(0.05, [5, 14, 15, 16, 40])
    assert curve.trials is not None
    assert curve.trials[1:4].tolist() == [30] * 3
    assert np.isinf(curve.standard_error[1:4]).all()
    assert np.isfinite(curve.standard_error[[0, 4]]).all()


def test_a_target_out_of_reach_is_said_to_be() -> None:
    with pytest.warns(UserWarning, match=r"40 trials.*\[5, 40\].*0\.001"):
        curve = accurate(0.001, [0, 5, 40], max_trials=40)
    assert curve.trials is not None
    assert curve.trials.tolist() == [30, 40, 40]


def test_one_long_document_of_a_rotation_resembles_independent_prompts() -> None:
    chain = GaussianHMM.rotation(5, 0.9, rng=0)
    model = Representation.gaussian(5, 80, rng=1)
    prompts, document = (
        simulate_risk_curve(chain, model, 30, [3, 80], 300, design, rng=16)
        for design in ("prompts", "document")
    )
    assert_allclose(document.risk, prompts.risk, rtol=0.05)
    # Slow mixing is where the two part.
    slow = GaussianHMM(0.98 * np.eye(5), np.sqrt(1 - 0.98**2))
    prompts, document = (
        simulate_risk_curve(slow, model, 30, [3, 80], 300, design, rng=17)
        for design in ("prompts", "document")
    )
    z = (document.risk - prompts.risk) / np.hypot(document.standard_error, prompts.standard_error)
    assert np.abs(z).max() > 5


# One population at a time.


def a_population(p: int, seed: int = 18) -> Population:
    rng = np.random.default_rng(seed)
    s = np.diag(np.linspace(0.3, 2.0, p))
    head = rng.standard_normal((p, 2)) / np.sqrt(p)
    return Population(s, s @ head, head.T @ s @ head + [[1.0, 0.3], [0.3, 0.5]])


@pytest.mark.parametrize(("p", "ridge"), [(5, 0.0), (30, 0.0), (10, 3.0), (30, 3.0)])
def test_one_population_at_a_time_agrees_with_plain_monte_carlo(p: int, ridge: float) -> None:
    population, n, trials = a_population(p), 12, 800
    simulated = simulate_head_risk(population, n, trials, ridge, rng=19)
    rng = np.random.default_rng(20)
    root = np.linalg.cholesky(population.residual_covariance)
    scale = np.sqrt(np.diag(population.feature_covariance))
    draws = np.empty((trials, 2, 2))
    for trial in range(trials):
        x = rng.standard_normal((n, p)) * scale
        y = x @ population.head + rng.standard_normal((n, 2)) @ root.T
        tall = np.vstack([x, np.sqrt(ridge) * np.eye(p)])
        head = np.linalg.lstsq(tall, np.vstack([y, np.zeros((p, 2))]), rcond=None)[0]
        error = head - population.head
        draws[trial] = (
            population.residual_covariance + error.T @ population.feature_covariance @ error
        )
    spread = draws.std(axis=0) / np.sqrt(trials)
    z = (simulated.matrix - draws.mean(axis=0)) / np.hypot(spread, simulated.standard_error)
    assert np.abs(z).max() < 5
    if ridge:  # without, the draws are heavy-tailed and so are their standard errors
        assert_allclose(simulated.standard_error, spread, rtol=0.25)


def test_the_parts_of_a_simulated_risk_add_up_to_it() -> None:
    simulated = simulate_head_risk(a_population(30), 12, 500, rng=21)
    gap = abs(simulated.parts.total - simulated.total)
    assert gap < 5 * simulated.total_standard_error
    assert simulated.total == pytest.approx(np.trace(simulated.matrix))
    assert_allclose(simulated.parts.noise, [[1.0, 0.3], [0.3, 0.5]], atol=1e-12)
    assert "±" in repr(simulated)


def test_one_population_without_features_has_only_noise() -> None:
    population = a_population(3).truncate(0)
    simulated = simulate_head_risk(population, 4, 3, rng=22)
    assert_allclose(simulated.matrix, head_risk(population, 4).matrix, rtol=1e-14)
    assert simulated.total_standard_error == pytest.approx(0.0, abs=1e-12)


def test_one_population_with_collinear_features_counts_its_rank() -> None:
    base = a_population(3)
    mix = np.random.default_rng(23).standard_normal((3, 8))
    population = Population(
        mix.T @ base.feature_covariance @ mix,
        mix.T @ base.cross_covariance,
        base.response_covariance,
    )
    simulated = simulate_head_risk(population, 12, 1500, rng=24)
    expected = 1.5 * 11 / 8  # R1 with p = 3
    assert abs(simulated.total - expected) < 4 * simulated.total_standard_error
    assert head_risk(population, 12).total == pytest.approx(expected)


def test_a_head_of_minimum_norm_is_that_of_the_features_as_they_are() -> None:
    # Columns that a draw can't tell apart: in other units another head would be the shortest.
    units = np.array([1.0, 64.0])
    s, head = np.diag(units**2), np.array([[1.0], [0.5]])
    population = Population(s, s @ head, head.T @ s @ head + 1.0)

    def sampler(count: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        x = generator.standard_normal((count, 1)) * units
        return x, x @ head + generator.standard_normal((count, 1))

    found = simulate_head_risk(population, 9, 20, rng=3, sampler=sampler)
    risks, generator = [], np.random.default_rng(3)
    for _ in range(20):
        x, y = sampler(9, generator)
        missed = np.linalg.pinv(x) @ y - head
        risks.append((missed.T @ s @ missed).item() + 1.0)
    assert found.total == pytest.approx(np.mean(risks), rel=1e-6)


@pytest.mark.parametrize("noise_std", [2e-6, 1e-4])
@pytest.mark.parametrize("estimator", ["conditional", "plain"])
def test_little_feature_noise_costs_no_digits_beyond_n(noise_std: float, estimator: str) -> None:
    # The noise only scales: its own draws do not change, and the risk hardly.
    chain, sizes = GaussianHMM.rotation(4, 0.9, rng=0), [30, 31, 32, 34, 60, 61, 62]
    many, few = (
        simulate_risk_curve(
            chain,
            Representation.gaussian(4, 70, noise_std=noise_std, rng=1),
            20, asked, 40, rng=2, estimator=estimator,
        )
        for asked in (sizes, sizes[1::3])
    )  # fmt: skip
    assert_allclose(many.risk[1::3], few.risk, rtol=1e-3 if noise_std < 1e-5 else 1e-6)
    theory = risk_curve(
        chain, Representation.gaussian(4, 70, noise_std=noise_std, rng=1), 20, sizes
    )
    assert (np.abs(many.risk - theory.risk) < 4 * many.standard_error + 0.01 * theory.risk).all()


@pytest.mark.parametrize("ridge", [0.0, 1e-14, 1e-10, 1e-3])
def test_features_without_noise_beyond_the_state_add_nothing(ridge: float) -> None:
    chain = GaussianHMM(0.9 * np.eye(3)[[1, 2, 0]], 0.5)
    model = Representation.gaussian(3, 40, signal=100.0, noise_std=0.0, rng=1)
    risk = simulate_risk_curve(chain, model, 20, [10, 30, 31, 40], 5, ridge=ridge, rng=1).risk
    assert_allclose(risk, risk[0], rtol=1e-6)


@pytest.mark.parametrize(("columns", "ridge"), [(1, 0.0), (1, 0.5), (2, 0.0), (4, 0.0)])
def test_columns_in_another_unit_are_still_noisy_features(columns: int, ridge: float) -> None:
    chain = GaussianHMM.rotation(3, 0.9, rng=0)
    weights = Representation.gaussian(3, 40, rng=1).weights.copy()
    weights[:, 3 : 3 + columns] *= 1e8
    model = Representation(weights, 1.0)
    found = simulate_risk_curve(chain, model, 20, [5, 10, 40], 400, ridge=ridge, rng=2)
    theory = risk_curve(chain, model, 20, [5, 10, 40], ridge).risk
    assert (np.abs(found.risk - theory) < 4 * found.standard_error + 0.02 * theory).all()
    reason = "without noise" if columns > 3 else "lengths differ by more than"
    with pytest.raises(ValueError, match=reason):
        simulate_risk_curve(chain, model, 20, [5], 2, rng=0, estimator="conditional")


def test_the_threshold_is_seen_beside_a_column_in_another_unit() -> None:
    chain = GaussianHMM.rotation(3, 0.9, rng=0)
    weights = Representation.gaussian(3, 40, rng=1).weights.copy()
    weights[:, 1] *= 1e8
    curve = simulate_risk_curve(
        chain, Representation(weights, 1.0), 20, [20, 40], 30, rng=2, target_relative_error=0.1
    )
    assert curve.trials is not None
    assert curve.trials[0] == 30
    assert np.isinf(curve.standard_error[0])


@pytest.mark.parametrize(
    ("n", "ridge", "sampled"),
    [(30, 0.0, True), (30, 1.0, False), (30, 20.0, False), (3, 0.0, False)],
)
def test_a_column_in_another_unit_is_a_feature(n: int, ridge: float, sampled: bool) -> None:
    units = np.diag([3e8, 1.4, 1.4, 1.4, 3e-6])
    covariance = units @ units
    head = np.linalg.inv(units) @ np.ones((5, 1))
    population = Population(covariance, covariance @ head, head.T @ covariance @ head + 1)

    def sampler(n: int, rng: np.random.Generator) -> tuple[Any, Any]:
        z = rng.standard_normal((n, 5))
        return z @ units, z @ np.ones((5, 1)) + rng.standard_normal((n, 1))

    found = simulate_head_risk(
        population, n, 400, ridge=ridge, rng=1, sampler=sampler if sampled else None
    )
    theory = head_risk(population, n, ridge).total
    assert abs(found.total - theory) < 4 * found.total_standard_error + 0.02 * theory
