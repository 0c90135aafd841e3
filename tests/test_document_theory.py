"""One long document: the equations solved another way, their limits, and simulation."""

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from hmmtheory import (
    GaussianHMM,
    LinearResponse,
    Representation,
    risk_curve,
    simulate_risk_curve,
)
from hmmtheory import document as document_room


def lingering(rho, dim=20):
    return GaussianHMM(rho * np.eye(dim), np.sqrt(1 - rho**2))


def dense_risk(chain, model, response, n, ridge):
    """Solve for G (n, n) and K (p, p) by plain substitution, and differentiate by differences."""
    w, s2, p = model.weights, model.noise_std**2, model.size
    v, label = response.weights, response.noise_covariance

    def state(k):
        return chain.autocovariance(k) if k >= 0 else chain.autocovariance(-k).T

    lags = range(1 - n, n)
    gx = {k: w.T @ state(k) @ w + (k == 0) * s2 * np.eye(p) for k in lags}
    gxy = {k: w.T @ state(k + 1) @ v for k in lags}
    gy = {k: v.T @ state(k) @ v + (k == 0) * label for k in lags}

    def solved(epsilon):
        g: Any = np.eye(n)
        for _ in range(5_000):
            c = {k: np.trace(g, k) for k in lags}
            h = sum(c[k] * gx[k] for k in lags)
            k_matrix = np.linalg.inv(ridge * np.eye(p) + epsilon * gx[0] + h)
            traces = {k: np.trace(gx[k].T @ k_matrix) for k in lags}
            rows = [[traces[s - t] for s in range(n)] for t in range(n)]
            before, g = g, np.linalg.inv(np.eye(n) + np.array(rows))
            if np.abs(g - before).max() < 1e-14 * np.abs(g).max():
                break
        hxy, hyy = sum(c[k] * gxy[k] for k in lags), sum(c[k] * gy[k] for k in lags)
        return k_matrix @ hxy, hyy - hxy.T @ k_matrix @ hxy

    step = 1e-4
    head, slope = solved(0.0)[0], (solved(step)[1] - solved(-step)[1]) / (2 * step)
    return np.diag(gy[0] - gxy[0].T @ head - head.T @ gxy[0] + slope)


TILTED = GaussianHMM([[0.8, 0.6, 0.0], [-0.2, 0.7, 0.3], [0.0, 0.0, -0.5]], 0.6)


@pytest.mark.parametrize("ridge", [0.0, 0.3, 40.0])
@pytest.mark.parametrize("size", [2, 8, 20])
def test_the_equations_are_solved(size, ridge):
    n = 12
    model = Representation.gaussian(3, 20, 2.0, 0.7, rng=1).truncate(size)
    response = LinearResponse([[1.0, -2.0], [0.5, 0.0], [0.0, 1.0]], [0.3, 1.0])
    curve = risk_curve(TILTED, model, n, [size], ridge, 1, response, "document")
    if ridge == 0.0 and size > n:
        # Without ridge G vanishes with it: two small ones, extrapolated.
        small = [dense_risk(TILTED, model, response, n, lam) for lam in (2e-2, 1e-2)]
        assert_allclose(curve.per_output[0], 2 * small[1] - small[0], rtol=1e-4)
    else:
        known = dense_risk(TILTED, model, response, n, ridge)
        assert_allclose(curve.per_output[0], known, rtol=1e-6)
    assert_allclose(curve.risk, curve.per_output.sum(axis=1))


# d = 20, n = 60, s = σ_u = 1, λ = 0 and 20: the theory by another program, simulation of 300 draws.
TABLE = [
    (0.9, 10, None, 22.768, 21.148, 21.096),
    (0.9, 40, None, 31.409, 18.617, 18.633),
    (0.9, 90, 26.046, 26.531, 17.372, 17.370),
    (0.9, 240, 14.892, 15.001, 14.604, 14.636),
    (0.99, 10, None, 22.400, 21.312, 21.356),
    (0.99, 40, None, 23.358, 18.340, 18.329),
    (0.99, 90, 19.723, 19.814, 17.103, 17.117),
    (0.99, 240, 15.687, 15.732, 15.739, 15.750),
]


@pytest.mark.parametrize(("rho", "size", "plain", "seen", "ridged", "seen_ridged"), TABLE)
def test_lingering_balanced_documents(rho, size, plain, seen, ridged, seen_ridged):
    chain, model = lingering(rho), Representation.balanced(20, size, rng=0)
    for ridge, known, simulated in ((0.0, plain, seen), (20.0, ridged, seen_ridged)):
        one, two = (
            risk_curve(chain, model, 60, [size], ridge, order, design="document").risk[0]
            for order in (1, 2)
        )
        if known is not None:
            assert_allclose(one, known, atol=6e-4)
        assert_allclose([one, two], simulated, rtol=0.03)


@pytest.mark.parametrize("ridge", [0.0, 1e-6, 3.0])
def test_states_without_memory_are_prompts(ridge):
    chain = GaussianHMM(np.zeros((4, 4)), 1.3)
    model = Representation.gaussian(4, 60, 2.0, 0.5, rng=2)
    sizes = [0, 1, 3, 10, 22, 40, 60]
    document = risk_curve(chain, model, 20, sizes, ridge, 1, design="document").risk
    prompts = risk_curve(chain, model, 20, sizes, ridge, 1)
    expected = prompts.risk
    if ridge == 0.0:
        # R3 where prompts are exact (R1): p/(n - p).
        few = np.array(sizes) < 20
        p = np.array(sizes)[few]
        expected = np.where(few, 0.0, expected)
        expected[few] = prompts.noise[few] * 20 / (20 - p)
    assert_allclose(document, expected, rtol=1e-8)
    second = risk_curve(chain, model, 20, sizes, ridge, 2, design="document").risk
    assert_allclose(second, risk_curve(chain, model, 20, sizes, ridge, 2).risk, rtol=1e-8)


def test_labels_with_noise_of_their_own_feed_nothing_back():
    # One state that never repeats and a label that is noise: Ω/(1 - p/n) again.
    chain = GaussianHMM(np.zeros((2, 2)), 1.0)
    model = Representation.gaussian(2, 5, rng=0)
    response = LinearResponse([[0.0], [0.0]], 2.0)
    found = risk_curve(chain, model, 30, [5], 0.0, 1, response, "document").risk
    assert_allclose(found, 4.0 * 30 / 25)


def test_no_ridge_is_the_limit_of_a_small_one():
    model = Representation.gaussian(5, 60, rng=4)
    sizes = [3, 10, 25, 50]
    none, small, smaller = (
        risk_curve(lingering(0.8, 5), model, 20, sizes, ridge, 1, design="document").risk
        for ridge in (0.0, 1e-5, 1e-9)
    )
    assert_allclose(none, smaller, rtol=1e-7)
    assert_allclose(none, small, rtol=1e-3)


def test_the_ends_of_the_curve():
    chain, model = lingering(0.8, 5), Representation.gaussian(5, 40, rng=4)
    curve = risk_curve(chain, model, 20, [0, 18, 19, 20, 21, 22], design="document")
    assert_allclose(curve.risk[0], 5.0)
    assert np.isinf(curve.risk[2:5]).all()
    assert np.isfinite(curve.risk[[1, 5]]).all()
    assert curve.bias is None
    assert curve.variance is None
    assert_allclose(risk_curve(chain, model, 20, [40], np.inf, design="document").risk, 5.0)
    assert_allclose(risk_curve(chain, model, 20, [40], 1e9, design="document").risk, 5.0, rtol=1e-5)
    near = risk_curve(chain, model, 20, [19, 20, 21], 1e-6, 1, design="document").risk
    assert ((near > 20) & np.isfinite(near)).all()
    assert np.isfinite(risk_curve(chain, model, 1, [3, 40], design="document").risk).all()


def test_features_without_noise_have_the_rank_of_the_state():
    chain = lingering(0.8, 3)
    weights = Representation.gaussian(3, 40, rng=4).weights
    sizes = [2, 3, 40]
    none = risk_curve(chain, Representation(weights, 0.0), 15, sizes, 0.0, 1, design="document")
    # More than three noiseless features say no more than three.
    assert_allclose(none.risk[1], none.risk[2], rtol=1e-9)
    tiny = risk_curve(chain, Representation(weights, 1e-6), 15, [2, 3], 0.0, 1, design="document")
    assert_allclose(none.risk[:2], tiny.risk, rtol=1e-5)
    wide = risk_curve(lingering(0.8, 6), Representation(np.eye(6), 0.0), 4, [6], design="document")
    assert np.isfinite(wide.risk).all()


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_units_of_features_and_labels_are_free(unit):
    model = Representation.gaussian(3, 40, 2.0, 0.7, rng=1)
    other = Representation(unit * model.weights, unit * model.noise_std)
    sizes = [2, 8, 40]
    for ridge in (0.0, 2.0):
        one = risk_curve(TILTED, model, 12, sizes, ridge, design="document").risk
        scaled = risk_curve(TILTED, other, 12, sizes, unit**2 * ridge, design="document").risk
        assert_allclose(scaled, one, rtol=1e-8)
    labels = LinearResponse(1e5 * np.eye(3))
    large = risk_curve(TILTED, model, 12, sizes, response=labels, design="document").risk
    small = risk_curve(TILTED, model, 12, sizes, design="document").risk
    assert_allclose(large, 1e10 * small, rtol=1e-8)


@pytest.mark.parametrize("ridge", [0.0, 1.0])
def test_a_huge_weight_hides_no_small_one(ridge):
    weights = Representation.gaussian(3, 20, rng=1).weights
    for sizes in ([3], [20]):
        large, huge = (
            risk_curve(
                TILTED, Representation(weights * np.r_[unit, np.ones(19)]), 12, sizes, ridge,
                design="document",
            ).risk
            for unit in (1e4, 1e8)
        )  # fmt: skip
        assert_allclose(huge, large, rtol=1e-5)


SLOW = GaussianHMM([[0.95, 0.3, 0.0], [0.0, 0.9, 0.2], [0.0, 0.0, 0.8]], 0.5)
SIMULATED = [
    (lingering(0.9), Representation.gaussian(20, 240, rng=2), 60, 0.0),
    (lingering(0.999, 4), Representation.gaussian(4, 240, rng=2), 60, 5.0),
    (GaussianHMM.rotation(20, 0.9, rng=1), Representation.gaussian(20, 240, rng=2), 60, 0.0),
    (SLOW, Representation.gaussian(3, 240, 2.0, 0.7, rng=3), 50, 0.0),
]


@pytest.mark.parametrize(("chain", "model", "n", "ridge"), SIMULATED)
def test_trained_heads_have_that_risk(chain, model, n, ridge):
    sizes = [5, 20, 40, 70, 100, 240]
    theory = risk_curve(chain, model, n, sizes, ridge, design="document").risk
    seen = simulate_risk_curve(chain, model, n, sizes, 200, "document", ridge, rng=5)
    assert (np.abs(seen.risk - theory) < 0.025 * theory + 4 * seen.standard_error).all()
    # What independent prompts would have is far off, but for a state that rotates.
    if chain is not SIMULATED[2][0]:
        prompts = risk_curve(chain, model, n, sizes, ridge).risk
        assert (np.abs(seen.risk / prompts - 1.0) > 0.05 + 4 * seen.standard_error / prompts).any()


def test_a_long_document_takes_no_time():
    model = Representation.gaussian(20, 800, rng=0)
    sizes = np.unique(np.linspace(1, 800, 40).astype(int))
    curve = risk_curve(lingering(0.99), model, 400, sizes, design="document")
    assert np.isfinite(curve.risk[np.abs(sizes - 400) > 1]).all()


def test_a_band_is_of_prompts():
    model = Representation.gaussian(3, 40, rng=0)
    with pytest.raises(ValueError, match="band"):
        risk_curve(TILTED, model, 10, [3], design="document", band=0.8)


def test_what_has_not_been_solved_is_said_and_not_a_number(monkeypatch):
    # Strongly non-normal chains end here; two steps are too few for any.
    monkeypatch.setattr(document_room, "_STEPS", 2)
    model = Representation.gaussian(3, 20, rng=3)
    with pytest.warns(UserWarning, match="not been solved at size 9"):
        curve = risk_curve(TILTED, model, 15, [0, 9], design="document")
    assert np.isfinite(curve.risk[0])
    assert np.isnan(curve.risk[1])


@pytest.mark.parametrize("unit", [1e-7, 1e5, 1e8])
def test_without_noise_and_ridge_a_document_does_not_know_units(unit: float) -> None:
    chain = GaussianHMM.rotation(3, 0.9, rng=0)
    weights = Representation.gaussian(3, 40, rng=1).weights.copy()
    plain = risk_curve(chain, Representation(weights, 0.0), 30, [2, 3, 40], design="document")
    weights[:, 0] *= unit
    other = risk_curve(chain, Representation(weights, 0.0), 30, [2, 3, 40], design="document")
    assert_allclose(other.risk, plain.risk, rtol=1e-6)
