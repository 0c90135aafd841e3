"""Token features: exact moments by enumeration, and heads trained on tokens by simulation."""

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from hmmtheory import CategoricalHMM, Population, fit_head, head_risk, simulate_head_risk

Sampler = Callable[[int, np.random.Generator], tuple[np.ndarray, np.ndarray]]


def a_chain(n_states: int, n_tokens: int, seed: int) -> CategoricalHMM:
    rng = np.random.default_rng(seed)
    return CategoricalHMM(
        rng.dirichlet(np.ones(n_states)),
        rng.dirichlet(np.full(n_states, 0.5), n_states),
        rng.dirichlet(np.full(n_tokens, 0.5), n_states),
    )


def stationary_law(chain: CategoricalHMM) -> np.ndarray:
    """Return where the chain ends up, by running it; not by the package's solver."""
    return np.linalg.matrix_power(chain.transition, 4000)[0]


def all_pairs(chain: CategoricalHMM) -> list[tuple[float, int, int]]:
    """Return P(o_t = a, o_{t+1} = b), a and b for every pair, summed over the hidden states."""
    pi, k = stationary_law(chain), range(chain.n_states)
    pairs = []
    for a, b in product(range(chain.n_tokens), repeat=2):
        probability = sum(
            pi[i] * chain.emission[i, a] * chain.transition[i, j] * chain.emission[j, b]
            for i, j in product(k, k)
        )
        pairs.append((float(probability), a, b))
    return pairs


def by_enumeration(
    chain: CategoricalHMM, embedding: np.ndarray, noise_std: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return S, C and Σ_y as averages over all pairs of tokens; u by its covariance."""
    pairs, basis = all_pairs(chain), np.eye(chain.n_tokens)
    mean_x = sum(w * embedding[a] for w, a, _ in pairs)
    mean_y = sum(w * basis[b] for w, _, b in pairs)
    s = noise_std**2 * np.eye(embedding.shape[1])
    c = np.zeros((embedding.shape[1], chain.n_tokens))
    y = np.zeros((chain.n_tokens, chain.n_tokens))
    for w, a, b in pairs:
        x, response = embedding[a] - mean_x, basis[b] - mean_y
        s = s + w * np.outer(x, x)
        c += w * np.outer(x, response)
        y += w * np.outer(response, response)
    return s, c, y


def token_sampler(chain: CategoricalHMM, embedding: np.ndarray, noise_std: float) -> Sampler:
    """Return draws of (x, y) from independent stationary sequences, centred by the true means."""
    pi = stationary_law(chain)
    started = CategoricalHMM(pi, chain.transition, chain.emission)
    law, basis = pi @ chain.emission, np.eye(chain.n_tokens)

    def draw(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        tokens = started.sample(n, 2, rng)[1]
        noise = noise_std * rng.standard_normal((n, embedding.shape[1]))
        return (basis[tokens[:, 0]] - law) @ embedding + noise, basis[tokens[:, 1]] - law

    return draw


# --- Population.tokens


@pytest.mark.parametrize(
    ("n_states", "n_tokens", "size", "noise_std"),
    [(1, 2, 1, 0.0), (2, 3, 2, 0.0), (3, 4, 6, 0.5), (4, 3, 0, 1.0), (2, 5, 5, 1e-3)],
)
def test_the_moments_are_averages_over_all_pairs_of_tokens(
    n_states: int, n_tokens: int, size: int, noise_std: float
) -> None:
    chain = a_chain(n_states, n_tokens, seed=n_tokens)
    embedding = np.random.default_rng(1).standard_normal((n_tokens, size))
    population = Population.tokens(chain, embedding, noise_std)
    s, c, y = by_enumeration(chain, embedding, noise_std)
    assert_allclose(population.feature_covariance, s, atol=1e-13)
    assert_allclose(population.cross_covariance, c, atol=1e-13)
    assert_allclose(population.response_covariance, y, atol=1e-13)


def test_the_moments_are_those_of_a_long_simulation() -> None:
    chain, n = a_chain(3, 4, seed=2), 100_000
    embedding = np.random.default_rng(3).standard_normal((4, 5))
    population = Population.tokens(chain, embedding, 0.7)
    x, y = token_sampler(chain, embedding, 0.7)(n, np.random.default_rng(4))
    for left, right, exact in (
        (x, x, population.feature_covariance),
        (x, y, population.cross_covariance),
        (y, y, population.response_covariance),
    ):
        products = left[:, :, None] * right[:, None, :]
        error = products.std(axis=0) / np.sqrt(n)
        assert error.max() < 0.02
        assert (np.abs(products.mean(axis=0) - exact) < 5 * error).all()


def test_one_long_sequence_has_the_same_moments() -> None:
    chain, length = a_chain(3, 4, seed=5), 60
    embedding = np.random.default_rng(6).standard_normal((4, 3))
    population = Population.tokens(chain, embedding)
    started = CategoricalHMM(stationary_law(chain), chain.transition, chain.emission)
    tokens = started.sample(4000, length + 1, rng=7)[1]
    law = stationary_law(chain) @ chain.emission
    features = (np.eye(4) - law) @ embedding
    x, y = features[tokens[:, :-1]], (np.eye(4) - law)[tokens[:, 1:]]
    products = np.einsum("ntp,ntq->npq", x, y) / length  # one average for each sequence
    error = products.std(axis=0) / np.sqrt(len(products))
    assert (np.abs(products.mean(axis=0) - population.cross_covariance) < 5 * error).all()


def test_the_best_head_on_the_tokens_themselves_is_the_conditional_law() -> None:
    chain = a_chain(3, 5, seed=8)
    population = Population.tokens(chain, np.eye(5))
    joint = np.zeros((5, 5))
    for weight, a, b in all_pairs(chain):
        joint[a, b] = weight
    law = joint.sum(axis=1)
    conditional = joint / law[:, None]
    # One-hot features sum to one, so the head is known up to a constant row.
    predicted = (np.eye(5) - law) @ population.head + law
    assert_allclose(predicted, conditional, atol=1e-12)
    spread = sum(
        w * (np.diag(row) - np.outer(row, row)) for w, row in zip(law, conditional, strict=True)
    )
    assert_allclose(population.residual_covariance, spread, atol=1e-12)


def test_a_common_shift_of_all_embeddings_changes_nothing() -> None:
    chain = a_chain(2, 4, seed=9)
    embedding = np.random.default_rng(10).standard_normal((4, 3))
    here = Population.tokens(chain, embedding, 0.1)
    there = Population.tokens(chain, embedding + np.array([3.0, -7.0, 0.5]), 0.1)
    assert_allclose(there.feature_covariance, here.feature_covariance, atol=1e-12)
    assert_allclose(there.cross_covariance, here.cross_covariance, atol=1e-12)


def test_the_first_columns_of_the_embedding_are_the_truncated_population() -> None:
    chain = a_chain(2, 4, seed=11)
    embedding = np.random.default_rng(12).standard_normal((4, 6))
    wide = Population.tokens(chain, embedding, 0.3).truncate(2)
    narrow = Population.tokens(chain, embedding[:, :2], 0.3)
    assert_allclose(wide.feature_covariance, narrow.feature_covariance, atol=1e-14)
    assert_allclose(wide.cross_covariance, narrow.cross_covariance, atol=1e-14)


def test_the_first_state_of_the_chain_does_not_matter() -> None:
    chain = a_chain(3, 4, seed=13)
    other = CategoricalHMM([1.0, 0.0, 0.0], chain.transition, chain.emission)
    embedding = np.random.default_rng(14).standard_normal((4, 2))
    assert_allclose(
        Population.tokens(other, embedding).cross_covariance,
        Population.tokens(chain, embedding).cross_covariance,
        atol=1e-14,
    )


@pytest.mark.parametrize("noise_std", [0.0, 0.2])
def test_noiseless_features_have_rank_one_below_the_number_of_tokens(noise_std: float) -> None:
    chain = a_chain(3, 5, seed=15)
    embedding = np.random.default_rng(16).standard_normal((5, 9))
    rank = Population.tokens(chain, embedding, noise_std).spectrum[0].size
    assert rank == (4 if noise_std == 0.0 else 9)


@pytest.mark.parametrize(
    ("embedding", "noise_std", "name"),
    [
        (np.zeros((3, 2)), 0.0, "embedding"),
        (np.zeros(4), 0.0, "embedding"),
        (np.full((4, 2), np.nan), 0.0, "embedding"),
        (np.zeros((4, 2)), -0.1, "noise_std"),
        (np.zeros((4, 2)), np.nan, "noise_std"),
    ],
)
def test_bad_token_features_are_named(embedding: np.ndarray, noise_std: float, name: str) -> None:
    with pytest.raises(ValueError, match=name):
        Population.tokens(a_chain(2, 4, seed=17), embedding, noise_std)


# --- simulate_head_risk(..., sampler=)


def test_a_gaussian_sampler_repeats_the_default_draw_by_draw() -> None:
    head = np.random.default_rng(18).standard_normal((4, 2))
    population = Population(np.eye(4), head, head.T @ head + np.eye(2))

    def draw(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        x = rng.standard_normal((n, 4))
        return x, x @ head + rng.standard_normal((n, 2))

    default = simulate_head_risk(population, 9, 20, ridge=0.5, rng=19)
    given = simulate_head_risk(population, 9, 20, ridge=0.5, rng=19, sampler=draw)
    assert_allclose(given.matrix, default.matrix, rtol=1e-9)
    assert_allclose(given.standard_error, default.standard_error, rtol=1e-9)


@pytest.mark.parametrize(("size", "ridge"), [(3, 0.0), (3, 2.0), (30, 0.0), (30, 2.0)])
def test_the_risk_of_token_heads_is_their_mean_error_over_all_pairs(
    size: int, ridge: float
) -> None:
    chain, noise_std, n, trials = a_chain(3, 6, seed=20), 0.4, 12, 5
    embedding = np.random.default_rng(21).standard_normal((6, size))
    population = Population.tokens(chain, embedding, noise_std)
    draw, drawn = token_sampler(chain, embedding, noise_std), []

    def recorded(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        assert count == n
        drawn.append(draw(count, rng))
        return drawn[-1]

    found = simulate_head_risk(population, n, trials, ridge=ridge, rng=22, sampler=recorded)
    law = stationary_law(chain) @ chain.emission
    risks = []
    for x, y in drawn:
        head, risk = fit_head(x, y, ridge), np.zeros((6, 6))
        for weight, a, b in all_pairs(chain):
            error = (np.eye(6)[b] - law) - (embedding[a] - law @ embedding) @ head
            risk += weight * np.outer(error, error)
        risks.append(risk + noise_std**2 * head.T @ head)
    assert len(drawn) == trials
    assert_allclose(found.matrix, np.mean(risks, axis=0), rtol=1e-8, atol=1e-10)
    totals = np.trace(risks, axis1=1, axis2=2)
    assert found.total == pytest.approx(totals.mean(), rel=1e-9)
    assert found.total_standard_error == pytest.approx(
        totals.std(ddof=1) / np.sqrt(trials), rel=1e-8
    )


def test_the_same_rng_gives_the_same_token_heads() -> None:
    chain = a_chain(2, 4, seed=23)
    embedding = np.random.default_rng(24).standard_normal((4, 3))
    population = Population.tokens(chain, embedding, 0.5)
    draw = token_sampler(chain, embedding, 0.5)
    one, same, other = (
        simulate_head_risk(population, 10, 5, rng=seed, sampler=draw).total for seed in (1, 1, 2)
    )
    assert one == same  # same bits: one seed
    assert one != other


def test_a_head_on_one_hot_tokens_is_a_table_with_a_risk_in_closed_form() -> None:
    """Seen tokens get their mean label, unseen ones zero, whatever n is to V."""
    chain, n_tokens = a_chain(3, 6, seed=25), 6
    joint = np.zeros((n_tokens, n_tokens))
    for weight, a, b in all_pairs(chain):
        joint[a, b] = weight
    law = joint.sum(axis=1)
    conditional = joint / law[:, None]
    # Second moments about zero: x is not centred here, and need not be.
    population = Population(
        np.diag(law), joint - np.outer(law, law), np.diag(law) - np.outer(law, law)
    )
    centred = token_sampler(chain, np.eye(n_tokens), 0.0)

    def draw(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        x, y = centred(n, rng)
        return x + law, y

    spread = 1.0 - np.square(conditional).sum(axis=1)
    missed = np.square(conditional - law).sum(axis=1)
    for n in (3, n_tokens, 20):
        count = np.arange(1, n + 1)
        inverse = np.array([(stats.binom.pmf(count, n, p) / count).sum() for p in law])
        exact = law @ (spread * (1.0 + inverse) + (1.0 - law) ** n * missed)
        found = simulate_head_risk(population, n, 1500, rng=n, sampler=draw)
        assert found.total_standard_error < 0.02
        assert abs(found.total - exact) < 4 * found.total_standard_error


def test_noisy_token_features_obey_the_gaussian_theory() -> None:
    """R1 and R3′ within 3 % and simulation error; without the noise they are far off."""
    chain, n = a_chain(3, 20, seed=26), 40
    embedding = np.random.default_rng(27).standard_normal((20, 100))
    for size in (15, 100):
        part = embedding[:, :size]
        ratio, error = {}, {}
        for noise_std in (1.0, 0.03):
            population = Population.tokens(chain, part, noise_std)
            theory = head_risk(population, n).total
            found = simulate_head_risk(
                population, n, 300, rng=28, sampler=token_sampler(chain, part, noise_std)
            )
            ratio[noise_std] = found.total / theory
            error[noise_std] = found.total_standard_error / theory
        assert abs(ratio[1.0] - 1.0) < 0.03 + 4 * error[1.0]
        assert ratio[0.03] > 1.2 + 4 * error[0.03]


@pytest.mark.parametrize("shapes", [((9, 3), (10, 2)), ((10, 4), (10, 2)), ((10, 3), (10, 1))])
def test_a_sampler_of_other_shapes_is_named(
    shapes: tuple[tuple[int, int], tuple[int, int]],
) -> None:
    population = Population(np.eye(3), np.zeros((3, 2)), np.eye(2))
    with pytest.raises(ValueError, match="sampler"):
        simulate_head_risk(
            population, 10, 2, sampler=lambda n, rng: (np.ones(shapes[0]), np.ones(shapes[1]))
        )


@pytest.mark.parametrize(
    ("rows", "last", "said"), [(8, 0.0, "shapes"), (9, np.nan, "finite"), (9, np.inf, "finite")]
)
def test_a_sampler_that_draws_something_else_is_refused(rows: int, last: float, said: str) -> None:
    def draw(n: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        x = generator.standard_normal((rows, 3))
        x[-1, -1] += last
        return x, x[:, :1]

    with pytest.raises(ValueError, match=f"^sampler must return {said}"):
        simulate_head_risk(Population(np.eye(3), np.ones((3, 1)), [[4.0]]), 9, 2, sampler=draw)
