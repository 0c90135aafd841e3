"""The law of one draw's risk, against heads that are trained one by one."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from hmmtheory import (
    GaussianHMM,
    Moments,
    Population,
    Representation,
    head_risk,
    risk_curve,
    risk_distribution,
)
from hmmtheory.draws import law_of


def population(spectrum, outputs, signal=1.0, seed=0):
    """Turn a spectrum by a random rotation; outputs with several noises, mixed."""
    rng = np.random.default_rng(seed)
    t, p = np.asarray(spectrum, dtype=float), len(spectrum)
    turn = np.linalg.qr(rng.standard_normal((p, p)))[0]
    s = (turn * t) @ turn.T
    b = rng.standard_normal((p, outputs))
    b *= np.sqrt(signal * outputs / np.trace(b.T @ s @ b))
    mix = rng.standard_normal((outputs, outputs + 1))
    return Population(s, s @ b, b.T @ s @ b + mix @ mix.T)


def trained(pop, n, trials, seed):
    """Return the exact risks of heads trained on drawn rows, batch by batch."""
    rng = np.random.default_rng(seed)
    p, q = pop.n_features, pop.n_outputs
    root = np.linalg.cholesky(pop.feature_covariance).T
    noise = np.linalg.cholesky(pop.residual_covariance).T
    x = rng.standard_normal((trials, n, p)) @ root
    y = x @ pop.head + rng.standard_normal((trials, n, q)) @ noise
    # The minimum norm through the smaller of the two Gram matrices.
    flip = x.transpose(0, 2, 1)
    head = np.linalg.solve(flip @ x, flip @ y) if p <= n else flip @ np.linalg.solve(x @ flip, y)
    missed = head - pop.head
    excess = (missed * (pop.feature_covariance @ missed)).sum(axis=(1, 2))
    return np.trace(pop.residual_covariance) + excess


STEEP = {p: np.geomspace(1.0, 0.05, p) for p in (3, 20, 24, 30, 31, 59)}
EXACT = [
    (40, STEEP[31], 1),
    (60, STEEP[30], 1),
    (60, STEEP[59], 1),
    (24, STEEP[24], 1),
    (30, np.full(45, 3.0), 1),
    (40, np.full(41, 0.5), 1),
    (40, np.full(60, 1e6), 1),
    (40, STEEP[20], 3),
    (20, STEEP[3], 5),
    (24, STEEP[24], 4),
    (20, np.full(32, 2.0), 3),
    (6, np.full(8, 1.0), 4),
    (2, np.full(9, 1.0), 3),
    (12, np.full(13, 1.0), 20),
]


@pytest.mark.parametrize(("n", "spectrum", "outputs"), EXACT)
def test_the_law_is_that_of_trained_heads(n, spectrum, outputs):
    pop = population(spectrum, outputs, seed=n)
    law = risk_distribution(pop, n)
    assert law.exact
    risks = trained(pop, n, 2_000, seed=1)
    # Where quantiles are read off draws, these are a sample themselves.
    same: Any = law.cdf if outputs == 1 else law.sample(10_000, rng=5)
    assert stats.kstest(risks, same).pvalue > 1e-3
    # A test that can fail: the law of six labels more is another.
    longer: Any = risk_distribution(pop, n + 6)
    if abs(len(spectrum) - n) < 10:
        assert stats.kstest(risks, longer.cdf).pvalue < 1e-6


@pytest.mark.parametrize(("n", "spectrum", "outputs"), EXACT)
def test_moments_and_quantiles_are_those_of_the_sample(n, spectrum, outputs):
    pop = population(spectrum, outputs, seed=n)
    law = risk_distribution(pop, n)
    assert_allclose(law.mean, head_risk(pop, n).total, rtol=1e-9)
    draws = law.sample(20_000, rng=7)
    surplus = abs(len(spectrum) - n)
    if surplus > 8:
        spread = draws.std()
        assert abs(draws.mean() - law.mean) < 5 * spread / np.sqrt(draws.size)
        assert_allclose(spread, law.std, rtol=0.05)
    assert np.isfinite(law.std) == (surplus > 3)
    assert np.isfinite(law.mean) == (surplus > 1)
    levels = np.array([0.1, 0.5, 0.9])
    share = (draws[:, None] <= law.quantile(levels)).mean(axis=0)
    assert_allclose(share, levels, atol=0.02)
    assert_allclose(law.cdf(law.quantile(levels)), levels, atol=1e-3)
    assert law.median == law.quantile(0.5)


def test_one_output_has_an_f_law():
    pop = population(STEEP[20], 1)
    omega = pop.residual_covariance[0, 0]
    for n in (20, 21, 30):
        law = risk_distribution(pop, n)
        f = stats.f(20, n - 20 + 1)
        levels = np.array([0.01, 0.3, 0.99])
        expected = omega * (1 + 20 / (n - 20 + 1) * f.ppf(levels))
        assert_allclose(law.quantile(levels), expected, rtol=1e-7)
        assert_allclose(law.cdf(expected), levels, rtol=1e-7)
    assert np.isfinite(risk_distribution(pop, 20).median)
    assert np.isinf(risk_distribution(pop, 20).mean)


def test_the_ends_of_the_law_are_where_they_should_be():
    pop = population(np.ones(12), 1)
    below, past = risk_distribution(pop, 15), risk_distribution(pop, 8)
    for law in (below, past):
        assert_allclose(law.quantile([0.0, 1.0]), [law.noise, np.inf])
        assert law.cdf(law.noise - 1e-9) == 0.0
        assert law.cdf(np.inf) == 1.0
        tight = law.quantile(np.linspace(0.001, 0.999, 41))
        assert (np.diff(tight) > 0).all()
        assert tight[0] > law.noise


def test_without_noise_only_the_bias_is_left():
    b = np.zeros((10, 1))
    b[0] = 2.0
    law = risk_distribution(Population(np.eye(10), b, b.T @ b), 4)
    beta = stats.beta(3.0, 2.0)
    assert_allclose(law.quantile([0.0, 0.2, 1.0]), 4.0 * beta.ppf([0.0, 0.2, 1.0]), atol=1e-9)
    assert_allclose([law.mean, law.std], [4.0 * beta.mean(), 4.0 * beta.std()], rtol=1e-9)
    exact = risk_distribution(Population(np.eye(3), b[:3], b[:3].T @ b[:3]), 5)
    assert_allclose([exact.mean, exact.std, exact.median], [0.0, 0.0, 0.0], atol=1e-12)


def test_without_noise_two_outputs_miss_what_random_subspaces_miss():
    b = np.zeros((10, 2))
    b[0, 0], b[1, 1] = 2.0, 1.0
    law = risk_distribution(Population(np.eye(10), b, b.T @ b), 4)
    rows = np.random.default_rng(1).standard_normal((20_000, 10, 4))
    seen = np.einsum("tij,ik->tjk", np.linalg.qr(rows)[0], b)
    missed = (b**2).sum() - np.square(seen).sum(axis=(1, 2))
    assert law.mean == pytest.approx(missed.mean(), abs=4 * missed.std() / np.sqrt(missed.size))
    below = law.cdf(np.quantile(missed, [0.1, 0.5, 0.9]))
    assert_allclose(below, [0.1, 0.5, 0.9], atol=0.02)


def test_draws_without_noise_scatter_as_much_as_the_law_says():
    spectrum, b = np.geomspace(1.0, 0.01, 90), np.ones((90, 1))
    s = np.diag(spectrum)
    law = risk_distribution(Population(s, s @ b, b.T @ s @ b), 60)
    assert not law.exact
    drawn = law.sample(20_000, rng=0)
    assert drawn.mean() == pytest.approx(law.mean, abs=4 * law.std / np.sqrt(drawn.size))
    kurtosis = stats.kurtosis(drawn, fisher=False)
    assert drawn.std() == pytest.approx(
        law.std, rel=2 * float(np.sqrt((kurtosis - 1) / drawn.size))
    )


def test_no_feature_leaves_no_chance():
    empty = Population(np.empty((0, 0)), np.empty((0, 2)), 3.0 * np.eye(2))
    law = risk_distribution(empty, 5)
    assert law.exact
    assert_allclose([law.mean, law.median, float(law.quantile(0.9))], 6.0)
    assert law.std == 0.0
    assert_allclose(law.sample(3, rng=0), 6.0)


TILTED = [
    (60, np.geomspace(1, 0.01, 120), 1, 1.0),
    (60, np.geomspace(1, 0.01, 90), 1, 10.0),
    (60, np.r_[np.full(20, 20.0), np.ones(180)], 1, 10.0),
    (40, 1.0 / np.arange(1.0, 91.0), 1, 30.0),
    (40, np.geomspace(1, 0.1, 80), 4, 3.0),
    (30, np.geomspace(1, 1e-4, 100), 1, 1.0),
]


@pytest.mark.parametrize(("n", "spectrum", "outputs", "signal"), TILTED)
def test_elsewhere_the_scatter_is_right_within_a_tenth(n, spectrum, outputs, signal):
    pop = population(spectrum, outputs, signal, seed=3)
    law = risk_distribution(pop, n)
    assert not law.exact
    risks = trained(pop, n, 1_500, seed=4)
    assert_allclose(law.mean, head_risk(pop, n).total, rtol=1e-9)
    blocks = np.array([block.std(ddof=1) for block in np.split(risks, 30)])
    error = blocks.std(ddof=1) / np.sqrt(30) / blocks.mean()
    assert abs(law.std / risks.std(ddof=1) - 1.0) < 0.1 + 2 * error
    inside = ((law.quantile(0.1) < risks) & (risks < law.quantile(0.9))).mean()
    assert abs(inside - 0.8) < 0.05


@pytest.mark.parametrize("surplus", [1, 2, 4])
def test_near_the_threshold_the_quantiles_hold_where_moments_do_not(surplus):
    n = 30
    pop = population(np.geomspace(1, 0.05, n + surplus), 1, seed=5)
    law, risks = risk_distribution(pop, n), trained(pop, n, 3_000, seed=6)
    assert np.isfinite(law.mean) == (surplus > 1)
    levels = np.array([0.1, 0.5, 0.9])
    share = (risks[:, None] <= law.quantile(levels)).mean(axis=0)
    assert_allclose(share, levels, atol=0.05)


def test_the_scatter_of_an_almost_isotropic_spectrum_is_that_of_the_exact_law():
    for n, p in ((20, 50), (30, 40), (30, 34)):
        flat, bent = np.ones(p), np.ones(p) + 1e-5 * np.arange(p)
        exact = risk_distribution(population(flat, 1, seed=8), n)
        near = risk_distribution(population(bent, 1, seed=8), n)
        assert exact.exact
        assert not near.exact
        assert_allclose(near.mean, exact.mean, rtol=1e-3)
        # Their noises have one law; the bias has its beta's variance to first order only.
        assert_allclose(near.std, exact.std, rtol=0.02)
        assert_allclose(near.quantile([0.1, 0.5, 0.9]), exact.quantile([0.1, 0.5, 0.9]), rtol=0.02)


def test_the_law_knows_no_units():
    pop = population(np.geomspace(1, 0.05, 40), 2, 5.0)
    for n in (30, 60):
        law = risk_distribution(pop, n)
        scale = 1e6
        other = Population(
            scale**2 * pop.feature_covariance,
            scale * pop.cross_covariance,
            pop.response_covariance,
        )
        found = risk_distribution(other, n)
        assert_allclose([found.mean, found.std], [law.mean, law.std], rtol=1e-9)
        assert_allclose(found.quantile([0.2, 0.7]), law.quantile([0.2, 0.7]), rtol=1e-9)


def test_copies_of_an_eigenvalue_may_be_counted():
    t, b = np.array([9.0, 4.0, 0.5]), np.array([[0.3], [-0.4], [0.0]])
    short = Moments(t, b, [[1.0]], multiplicities=[1, 1, 60])
    spread = np.r_[t[:2], np.full(60, 0.5)]
    long = Moments(spread, np.r_[b[:2], np.zeros((60, 1))], [[1.0]])
    one, other = law_of(short, 20), law_of(long, 20)
    assert_allclose([one.mean, one.std, one.median], [other.mean, other.std, other.median])


def test_a_curve_carries_the_band_of_one_head():
    chain = GaussianHMM.rotation(3, 0.9, rng=0)
    model = Representation.gaussian(3, 40, rng=1)
    curve = risk_curve(chain, model, 20, [0, 10, 20, 40], band=0.8)
    for k, p in enumerate(curve.sizes):
        law = risk_distribution(Population.next_token(chain, model.truncate(int(p))), 20)
        expected = law.quantile([0.1, 0.5, 0.9])
        assert_allclose([curve.low[k], curve.median[k], curve.high[k]], expected, rtol=1e-6)
    assert np.isinf(curve.risk[2])
    assert np.isfinite(curve.median).all()
    assert {"low", "median", "high"} <= set(curve.to_frame())
    ax = curve.plot(plt.figure().add_subplot())
    assert len(ax.lines) == 2
    assert len(ax.collections) == 1
    with pytest.raises(ValueError, match="band"):
        risk_curve(chain, model, 20, [0, 10], ridge=1.0, band=0.8)
    assert risk_curve(chain, model, 20, [0, 10]).low is None


@pytest.mark.parametrize(("n", "spectrum"), [(20, STEEP[59]), (24, STEEP[31])])
def test_the_sample_scatters_as_the_law_says(n, spectrum):
    pop = population(spectrum, 3, seed=n)
    law = risk_distribution(pop, n)
    draws = law.sample(20_000, rng=3)
    assert abs(draws.mean() - law.mean) < 5 * law.std / np.sqrt(draws.size)
    assert_allclose(draws.std(), law.std, rtol=0.05)
    # The bias scatters too: without it there would be less.
    silent = Population(
        pop.feature_covariance, pop.cross_covariance, pop.head.T @ pop.cross_covariance
    )
    bias = risk_distribution(silent, n)
    assert 0 < bias.std < law.std
    assert_allclose(bias.sample(20_000, rng=4).std(), bias.std, rtol=0.05)


def test_two_outputs_with_one_noise_have_a_law_of_their_own():
    # Ω of rank one beside a bias of rank two: no closed form, and the draws must say so.
    s, b = 2.0 * np.eye(32), np.random.default_rng(2).standard_normal((32, 2))
    omega = np.outer([1.0, -2.0], [1.0, -2.0]) / 50
    law = risk_distribution(Population(s, s @ b, b.T @ s @ b + omega), 20)
    draws = law.sample(20_000, rng=8)
    levels = np.array([0.05, 0.3, 0.7, 0.95])
    assert_allclose((draws[:, None] <= law.quantile(levels)).mean(axis=0), levels, atol=0.015)
    assert_allclose(law.cdf(np.quantile(draws, levels)), levels, atol=0.015)


@pytest.mark.parametrize("rest", [0.9, 1e-6, 1e-9, 1e-12])
def test_the_upper_tail_keeps_its_digits(rest: float) -> None:
    law = risk_distribution(Population(np.eye(3), np.zeros((3, 1)), [[1.0]]), 3)
    assert_allclose(law.quantile(1.0 - rest), 1.0 + 3.0 * stats.f(3, 1).isf(1.0 - (1.0 - rest)))
