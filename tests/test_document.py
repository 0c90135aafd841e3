"""One document in place of independent prompts: the first-order inflation of the variance."""

import numpy as np
import pytest

from hmmtheory import GaussianHMM, Representation, risk_curve, simulate_risk_curve
from hmmtheory.theory import document_inflation


@pytest.mark.parametrize(("rho", "s", "sigma_u"), [(0.5, 1.0, 1.0), (0.9, 3.0, 0.5)])
def test_one_dimension_has_a_closed_form(rho, s, sigma_u):
    chain = GaussianHMM([[rho]], np.sqrt(1 - rho**2))
    model = Representation([[np.sqrt(s)]], sigma_u)
    contrast = (s - sigma_u**2) / (s + sigma_u**2)
    # Summed by hand over all lags; at n = 4,000 the finite document differs by O(1/n).
    expected = (1 - rho**2 * contrast**2) / (1 - rho**2)
    assert document_inflation(chain, model, 4_000) == pytest.approx(expected, rel=4e-3)


def test_the_inflation_is_the_long_run_variance_of_the_scores():
    chain = GaussianHMM([[0.8, 0.1], [-0.3, 0.6]], 0.7)
    model = Representation.gaussian(2, 3, 2.0, 0.8, rng=1)
    n, sequences = 60, 40_000
    rng = np.random.default_rng(2)
    states = chain.sample(sequences, n + 1, rng)
    x = states[:, :-1] @ model.weights
    x += model.noise_std * rng.standard_normal(x.shape)
    flat, targets = x.reshape(-1, 3), states[:, 1:].reshape(-1, 2)
    covariance = flat.T @ flat / len(flat)
    head = np.linalg.solve(covariance, flat.T @ targets / len(flat))
    residual = states[:, 1:] - x @ head
    scores = np.einsum("sta,stj->saj", x, residual) / n
    spread = np.einsum("saj,ab,sbj->s", scores, np.linalg.inv(covariance), scores)
    single = 3 * np.square(residual).sum(axis=2).mean() / n
    measured = spread.mean() / single
    error = spread.std() / np.sqrt(sequences) / single
    assert abs(measured - document_inflation(chain, model, n)) < 5 * error


def test_independent_rows_are_not_inflated():
    chain = GaussianHMM(np.zeros((3, 3)), 1.0)
    model = Representation.gaussian(3, 4, rng=0)
    assert document_inflation(chain, model, 50) == pytest.approx(1.0, abs=1e-12)


def test_the_inflated_variance_predicts_a_long_document():
    chain = GaussianHMM(0.8 * np.eye(4), 0.6)
    model = Representation.gaussian(4, 3, rng=3)
    theory = risk_curve(chain, model, 400, [3])
    document = simulate_risk_curve(chain, model, 400, [3], 1_000, design="document", rng=4)
    excess = document.risk[0] - theory.noise[0]
    predicted = theory.variance[0] * document_inflation(chain, model, 400)
    assert abs(excess - predicted) < 5 * document.standard_error[0] + 0.03 * predicted
    # Without the inflation it would be far off.
    assert abs(excess - theory.variance[0]) > 10 * document.standard_error[0]


@pytest.mark.parametrize(
    ("model", "n", "name"),
    [
        (Representation.gaussian(2, 3, rng=0), 10, "representation"),
        (Representation.gaussian(4, 0, rng=0), 10, "representation"),
        (Representation.gaussian(4, 3, rng=0), 0, "n_samples"),
    ],
)
def test_bad_arguments_are_named(model, n, name):
    with pytest.raises(ValueError, match=name):
        document_inflation(GaussianHMM(0.5 * np.eye(4), 1.0), model, n)
