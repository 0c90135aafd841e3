"""Chains far from normal: powers grow by many orders before they die out."""

import mpmath as mp
import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from hmmtheory import GaussianHMM, LinearResponse, Population, Representation, risk_curve
from hmmtheory.theory import document_inflation


def shifted(dim: int) -> NDArray[np.float64]:
    return 0.5 * np.eye(dim) + 5.0 * np.eye(dim, k=1)


def residual(a: NDArray[np.float64], w: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ω = AᵀPA + I in 60 digits, P the covariance of the state given the features."""
    with mp.workdps(60):
        moves, weights = mp.matrix(a.tolist()), mp.matrix(w.tolist())
        covariance, power = mp.eye(len(a)), moves.copy()
        for _ in range(12):
            covariance, power = covariance + power.T * covariance * power, power * power
        unknown = (covariance**-1 + weights * weights.T) ** -1
        return np.array((moves.T * unknown * moves + mp.eye(len(a))).tolist(), dtype=float)


@pytest.mark.parametrize("dim", [4, 8, 12])
@pytest.mark.parametrize("share", [0.5, 1, 2])
@pytest.mark.filterwarnings("error")
def test_what_the_features_leave_open_keeps_its_digits(dim: int, share: float) -> None:
    model = Representation.gaussian(dim, int(share * dim), rng=dim)
    chain = GaussianHMM(shifted(dim), 1.0)
    expected = residual(chain.transition, model.weights)
    found = Population.next_token(chain, model)
    # Entries of very different sizes: each against its own rows and columns.
    scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    assert np.abs((found.residual_covariance - expected) / scale).max() < 1e-9
    curve = risk_curve(chain, model, 3 * dim, [model.size])
    assert curve.noise is not None
    assert_allclose(curve.noise[0], np.trace(expected), rtol=1e-9)
    label = risk_curve(chain, model, 3 * dim, [model.size], response=LinearResponse(np.eye(dim)))
    assert_allclose(label.risk, curve.risk, rtol=1e-9)


def test_where_even_that_fails_it_is_said() -> None:
    chain = GaussianHMM(shifted(20), 1.0)
    with pytest.warns(RuntimeWarning, match="so far from normal"):
        Population.next_token(chain, Representation.gaussian(20, 20, rng=0))
    assert np.isfinite(chain.sample(2, 3, rng=0)).all()


def test_the_root_and_the_covariance_solve_the_lyapunov_equation() -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        a = rng.standard_normal((6, 6))
        a *= rng.uniform(0.1, 0.999) / np.abs(np.linalg.eigvals(a)).max()
        chain = GaussianHMM(a, 0.7)
        sigma = chain.stationary_covariance
        assert_allclose(sigma, a.T @ sigma @ a + 0.49 * np.eye(6), rtol=1e-10, atol=1e-12)
        assert_allclose(chain.stationary_root.T @ chain.stationary_root, sigma, rtol=1e-12)


def test_a_document_of_any_length_has_an_inflation() -> None:
    chain = GaussianHMM.rotation(3, 0.9, rng=0)
    model = Representation.gaussian(3, 6, rng=1)
    assert_allclose(
        document_inflation(chain, model, 10**9), document_inflation(chain, model, 10**7), rtol=1e-5
    )
    slow = GaussianHMM([[1 - 1e-7]], noise_std=1e-3)
    with pytest.raises(ValueError, match="n_samples must be at most 1000000"):
        document_inflation(slow, Representation([[1.0]]), 10**9)
