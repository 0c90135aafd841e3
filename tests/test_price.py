"""Worth and price of a feature (Proposition 6.6) against closed forms and simulation."""

from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_allclose

from hmmtheory import (
    GaussianHMM,
    GaussianTask,
    LinearResponse,
    Moments,
    Representation,
    risk_curve,
    simulate_risk_curve,
)
from hmmtheory.theory import price_of_features

CHAIN = GaussianHMM.rotation(6, 0.9, rng=0)
MODEL = Representation.gaussian(6, 60, rng=1)
TASK = GaussianTask(CHAIN, MODEL)


def test_below_the_threshold_the_price_is_one_over_n_minus_p_minus_one() -> None:
    sizes = np.arange(0, 18)
    found = price_of_features(TASK.moments(sizes), 20)
    assert_allclose(found.price, 1 / (20 - sizes[:-1] - 1), rtol=1e-10)
    # The worth is what the residual variance loses.
    noise = risk_curve(CHAIN, MODEL, 20, sizes).noise
    assert_allclose(found.worth, 1 - noise[1:] / noise[:-1], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("ridge", [0.3, 4.0, 200.0])
def test_to_first_order_the_price_is_the_growth_of_df2(ridge: float) -> None:
    rng, n = np.random.default_rng(2), 15
    t, b = rng.uniform(0.1, 3.0, 40), rng.standard_normal((40, 2))

    def df2(p: int) -> float:
        # By bisection, as the package does not.
        low, high = ridge / n, (t[:p].sum() + ridge) / n
        for _ in range(200):
            kappa = np.sqrt(low * high)
            more = (t[:p] / (t[:p] + kappa)).sum() + ridge / kappa > n
            low, high = (kappa, high) if more else (low, kappa)
        return float(np.square(t[:p] / (t[:p] + kappa)).sum())

    sizes = (3, 10, 15, 16, 25, 40)
    found = price_of_features(
        [Moments(t[:p], b[:p], np.eye(2) / p) for p in sizes], n, ridge, order=1
    )
    known = np.array([df2(p) for p in sizes])
    assert_allclose(found.price, np.diff(known) / (n - known[:-1]), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("order", [1, 2, "uniform"])
@pytest.mark.parametrize("ridge", [0.0, 0.5, 20.0, np.inf])
def test_the_risk_falls_exactly_where_the_worth_exceeds_the_price(
    ridge: float, order: int | str
) -> None:
    sizes = [0, 1, 5, 9, 15, 18, 19, 20, 21, 22, 25, 30, 45, 60]
    found = price_of_features(TASK.moments(sizes), 20, ridge, order)
    risk = risk_curve(CHAIN, MODEL, 20, sizes, ridge, order).risk
    assert not np.isnan([found.worth, found.price]).any()
    for k, (before, after) in enumerate(pairwise(risk)):
        if np.isinf(after):
            assert found.price[k] == 1.0 > found.worth[k]
        elif abs(after / before - 1) > 1e-9:
            assert (found.worth[k] > found.price[k]) == (after < before)


def test_past_the_threshold_features_are_paid_for_joining() -> None:
    found = price_of_features(TASK.moments([22, 25, 30, 40, 60]), 20)
    assert (found.price < 0).all()
    jump = price_of_features(TASK.moments([20, 22]), 20)
    assert jump.price[0] == -np.inf


def test_simulated_heads_agree() -> None:
    """A feature that pays without ridge and one that does not, seen by 4 standard errors."""
    label = LinearResponse(np.eye(6)[:, :1], noise_std=0.5)
    sizes = [2, 6, 12, 40, 60]
    task = GaussianTask(CHAIN, MODEL, label)
    found = price_of_features(task.moments(sizes), 20)
    seen = simulate_risk_curve(CHAIN, MODEL, 20, sizes, 3000, rng=3, response=label)
    gaps = np.diff(seen.risk)
    error = np.hypot(seen.standard_error[1:], seen.standard_error[:-1])
    clear = abs(gaps) > 4 * error
    assert clear.sum() >= 3
    assert ((gaps < 0) == (found.worth > found.price))[clear].all()


def test_units_do_not_matter() -> None:
    models = list(TASK.moments([3, 30]))
    other = [Moments(1e8 * m.eigenvalues, 1e-4 * m.head, m.residual_covariance, m.multiplicities)
             for m in models]  # fmt: skip
    for ridge in (0.0, 2.0):
        one, two = (price_of_features(m, 20, lam) for m, lam in
                    ((models, ridge), (other, 1e8 * ridge)))  # fmt: skip
        assert_allclose(one, two, rtol=1e-7)


def test_models_of_other_labels_are_refused() -> None:
    one = Moments([1.0], [[0.6]], [[0.64]])
    with pytest.raises(ValueError, match="moments must be two or more models of one label"):
        price_of_features([one], 10)
    with pytest.raises(ValueError, match="outputs"):
        price_of_features([one, Moments([1.0], [[0.6, 0.1]], np.eye(2))], 10)
    with pytest.raises(ValueError, match="moments must be a Moments"):
        price_of_features([one, 3.0], 10)  # type: ignore[list-item]


@pytest.mark.filterwarnings("error")
def test_where_nothing_is_left_a_feature_is_worth_nothing() -> None:
    none = np.zeros((1, 1))
    heads = (np.ones((1, 1)), np.array([[1.0], [0.0]]), np.array([[1.0], [0.0], [0.0]]))
    moments = [Moments(np.ones(len(head)), head, none) for head in heads]
    found = price_of_features(moments, 10)
    assert_allclose(found.worth, 0.0)
    assert np.isfinite(found.price).all()
