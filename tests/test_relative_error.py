"""Theory says how far it may be off, and is seldom off by more."""

import importlib.util
import json
import pickle
import warnings
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib as mpl
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
    RiskCurve,
    fit_head,
    head_risk,
    predict_risk,
    risk_curve,
)
from hmmtheory.factors import risk_factors, uniform_error
from hmmtheory.moments import Risk
from hmmtheory.studies.settings import setting_theory

mpl.use("Agg")

SOURCE = Path(__file__).resolve().parents[1] / "benchmarks" / "theory_accuracy.py"
spec = importlib.util.spec_from_file_location("theory_accuracy", SOURCE)
assert spec is not None
assert spec.loader is not None
accuracy = importlib.util.module_from_spec(spec)
spec.loader.exec_module(accuracy)

ORDERS = (1, 2, "uniform")


def fair(t: Any) -> Moments:
    """Moments of a signal and a noise of variance 1, B* without preferred direction."""
    return Moments(t, np.full((t.size, 1), 1.0 / np.sqrt(t.sum())), [[1.0]])


@cache
def judged() -> dict[Any, Any]:
    """True errors, what two standard errors leave of them, and the theory's estimates."""
    return dict(zip(ORDERS, zip(*accuracy.judge(accuracy.load()), strict=True), strict=True))


def test_the_table_covers_eight_spectra_two_n_and_both_sides_of_the_threshold() -> None:
    cases = accuracy.load()
    assert len(cases) >= 500
    assert len({case.spectrum for case in cases}) == 8
    assert {case.n for case in cases} == {20, 60}
    assert {case.ridge for case in cases} >= {0.0, 1e-4, 10.0}
    assert {(case.spectrum, case.n, case.p) for case in cases} == set(accuracy.designs())
    assert accuracy.TABLE.stat().st_size < 100_000


@pytest.mark.parametrize(("spectrum", "n", "p"), [("1/i", 20, 22), ("gap at n", 20, 16)])
def test_the_table_agrees_with_trained_heads(spectrum: str, n: int, p: int) -> None:
    (case,) = (
        c for c in accuracy.load() if (c.spectrum, c.n, c.p, c.ridge) == (spectrum, n, p, 0.1)
    )
    t, rng = case.eigenvalues, np.random.default_rng(8)
    population = Population(np.diag(t), np.diag(t) @ fair(t).head, [[2.0]])
    risks = []
    for _ in range(1500):
        x = rng.standard_normal((n, p)) * np.sqrt(t)
        y = x @ population.head + rng.standard_normal((n, 1))
        risks.append(population.risk_of(fit_head(x, y, 0.1)).item())
    error = np.hypot(np.std(risks) / np.sqrt(len(risks)), case.risk_error)
    assert abs(np.mean(risks) - (1 + case.variance + case.bias)) < 4 * error


@pytest.mark.parametrize("order", ORDERS)
def test_nineteen_of_twenty_errors_are_smaller_than_said(order: Any) -> None:
    error, beyond, said = judged()[order]
    assert (beyond <= (1 + 1e-9) * said).mean() >= 0.95
    # And not by saying much too much.
    assert np.median(said) <= 4 * np.median(np.abs(error))


def test_the_uniform_order_is_within_half_a_per_cent_where_the_second_is_not() -> None:
    within = {order: (judged()[order][1] < 0.005).mean() for order in ORDERS}
    assert within["uniform"] > 0.98 > 0.8 > within[2] > 0.7 > 0.4 > within[1]


def test_head_risk_says_how_wrong_the_orders_are() -> None:
    cases = accuracy.load()
    usual = np.array([case.spectrum != "gap at n" for case in cases])
    strong = usual & np.array([case.ridge >= 1.0 for case in cases])
    uniform, second = judged()["uniform"][1], judged()[2][1]
    assert usual.sum() == 931
    assert (uniform[usual] < 0.005).mean() > 299 / 300
    assert uniform[usual].max() < 0.012
    assert uniform.max() < 0.1
    assert 0.30 < second[usual].max() < 0.315
    assert second[strong].max() < 0.01


def test_where_it_is_far_off_it_says_so() -> None:
    _, beyond, said = judged()["uniform"]
    far = beyond > 0.01
    assert far.sum() >= 3
    assert (said[far] >= beyond[far]).all()
    # And the worst of all is where it says the most.
    assert said[beyond.argmax()] > np.quantile(said, 0.995)


def test_it_covers_other_spectra_and_sizes_than_it_was_fitted_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spectra = {
        "1/i²": lambda p, n: 1.0 / np.arange(1, p + 1) ** 2,
        "log-normal": lambda p, n: np.exp(1.5 * stats.norm.ppf((np.arange(p) + 0.5) / p)),
        "half of n large": lambda p, n: np.where(np.arange(p) < n // 2, 1.0, 1e-3),
        "a gap at n - 1": lambda p, n: np.where(np.arange(p) < n - 1, 1.0, 0.01),
    }
    monkeypatch.setattr(accuracy, "SPECTRA", spectra)
    monkeypatch.setattr(accuracy, "DRAWS", {12: 4000, 40: 1000})
    monkeypatch.setattr(accuracy, "RATIOS", (0.8, 1.0, 1.25, 2.0))
    monkeypatch.setattr(accuracy, "RIDGES", (0.0, 1e-2, 1.0))
    cases = [case for design in accuracy.designs() for case in accuracy.simulate(*design)]
    found = accuracy.judge(cases)
    assert ((found.beyond <= found.said).mean(axis=1) >= 0.9).all()


def test_the_summary_in_the_book_is_of_todays_theory() -> None:
    stored = json.loads(accuracy.SUMMARY.read_text(encoding="utf-8"))
    found = accuracy.summary(
        accuracy.load(),
        accuracy.Judged(*(np.array(x) for x in zip(*judged().values(), strict=True))),
    )
    for part in ("regimes", "own"):
        for row, now in zip(stored[part], found[part], strict=True):
            assert list(row) == list(now)
            for name, value in row.items():
                numbers = [np.array(str(v).split(" / "), dtype=object) for v in (value, now[name])]
                if name in ("regime", "order"):
                    assert value == now[name]
                else:  # rounding may turn the last digit that is printed
                    then, today = (n.astype(float) for n in numbers)
                    assert_allclose(then, today, rtol=0.1, atol=0.011)


# Exact formulas have no error.


@pytest.mark.parametrize("n", [12, 40])
def test_exact_formulas_have_no_error(n: int) -> None:
    below = fair(1.0 / np.arange(1, 9))
    assert below.relative_error(n) < 1e-9  # R1
    flat = fair(np.full(30, 2.0))
    assert flat.relative_error(n, 0.1, "uniform") == 0.0
    assert flat.relative_error(n, np.inf) < 1e-9
    assert fair(np.ones(n)).relative_error(n) == 0.0  # truly infinite
    assert flat.relative_error(n, 0.1, 1) > flat.relative_error(n, 0.1, 2) > 0.0


def test_a_risk_of_unknown_origin_has_no_error_to_show() -> None:
    risk = Risk(*np.ones((3, 1, 1)))
    assert np.isnan(risk.relative_error)
    assert str(risk) == repr(risk) == "Risk(total=3, noise=1, bias=1, variance=1)"


def test_printing_shows_it() -> None:
    t = 1.0 / np.arange(1, 26)
    risk = fair(t).risk(20, 1e-3)
    assert f"total={risk.total:.4g} ± {100 * risk.relative_error:.2g} %, " in str(risk)
    assert "±" not in repr(risk)
    assert str(fair(t[:8]).risk(20)).startswith("Risk(total=1.727 ± ")


def test_it_is_computed_when_first_asked_for_and_once() -> None:
    calls = []

    def own() -> float:
        calls.append(1)
        return 0.25

    noise, bias, variance = np.ones((3, 1, 1))
    risk = Risk(noise, bias, variance, own)
    assert repr(risk)
    assert calls == []
    assert risk.relative_error == risk.relative_error == 0.25
    assert calls == [1]


def test_units_multiplicities_and_outputs_do_not_matter() -> None:
    t = np.repeat([1.0, 0.05], [20, 6])
    one = fair(t).relative_error(20, 0.01)
    assert replace(fair(t), eigenvalues=1e8 * t, head=1e-4 * fair(t).head).relative_error(
        20, 1e6
    ) == pytest.approx(one, rel=1e-4)
    norms = fair(t).head[[0, -1]] * np.sqrt([[20], [6]])
    short = Moments([1.0, 0.05], norms, [[1.0]], [20, 6])
    assert short.relative_error(20, 0.01) == pytest.approx(one, rel=1e-4)
    twice = Moments(t, np.tile(fair(t).head, 2), np.eye(2))
    assert twice.relative_error(20, 0.01) == pytest.approx(one, rel=1e-4)
    assert uniform_error(7.0 * t, 20, 0.07) == pytest.approx(uniform_error(t, 20, 0.01), rel=1e-9)


def test_an_intercept_is_one_label_fewer() -> None:
    moments = fair(1.0 / np.arange(1, 26))
    assert moments.relative_error(21, 0.1, intercept=True) == pytest.approx(
        moments.relative_error(20, 0.1), rel=1e-9
    )


# What else may be wrong.


def true_risk(x: Any, t: Any, ridge: float) -> tuple[float, float]:
    """Return mean and standard error over designs (draws, n, p), exact given the features."""
    left = np.linalg.solve(
        x @ x.transpose(0, 2, 1) + ridge * np.eye(x.shape[1]), x
    )  # a head is its transpose times labels
    gap = np.eye(t.size) - x.transpose(0, 2, 1) @ left
    draws = (
        1.0
        + (np.square(left) * t).sum(axis=(1, 2))
        + (np.square(gap) * t[:, None]).sum(axis=(1, 2)) / t.sum()
    )
    return float(draws.mean()), float(draws.std() / np.sqrt(draws.size))


@pytest.mark.parametrize("n", [20, 60])
@pytest.mark.parametrize("ridge", [0.05, 1.0])
@pytest.mark.parametrize("ratio", [0.6, 1.5])
def test_kurtosis_is_allowed_for(n: int, ridge: float, ratio: float) -> None:
    p, rng = round(ratio * n), np.random.default_rng(n)
    t = 1.0 / np.arange(1, p + 1)
    t = t / t.mean()
    x = rng.laplace(size=(40_000 // n, n, p)) / np.sqrt(2) * np.sqrt(t)
    mean, error = true_risk(x, t, ridge)
    risk = replace(fair(t), kurtosis=3.0).risk(n, ridge, "uniform")
    assert abs(risk.total / mean - 1) < risk.relative_error + 4 * error / mean
    assert risk.relative_error > 1.5 * fair(t).relative_error(n, ridge, "uniform")


@pytest.mark.parametrize("n", [20, 60])
@pytest.mark.parametrize("ridge", [0.05, 1.0])
@pytest.mark.parametrize("ratio", [0.6, 1.5])
def test_unequal_rows_are_allowed_for(n: int, ridge: float, ratio: float) -> None:
    p, rng = round(ratio * n), np.random.default_rng(n)
    t = 1.0 / np.arange(1, p + 1)
    t = t / t.mean()
    # Groups of log-normal scales, mean square 1.
    groups = np.sort(np.exp(0.5 * rng.standard_normal(64_000))).reshape(64, -1)
    scales = np.sqrt(np.square(groups).mean(axis=1))
    scales = scales / np.sqrt(np.square(scales).mean())
    tau = np.exp(0.5 * rng.standard_normal((40_000 // n, n, 1)) - 0.25)
    mean, error = true_risk(tau * rng.standard_normal((*tau.shape[:2], p)) * np.sqrt(t), t, ridge)
    moments = replace(fair(t), row_scales=scales, residuals=np.ones((64, 1, 1)))
    risk = moments.risk(n, ridge, "uniform")
    assert abs(risk.total / mean - 1) < risk.relative_error + 4 * error / mean
    assert risk.relative_error > 2 * fair(t).relative_error(n, ridge, "uniform")


@pytest.mark.filterwarnings("ignore:.*labelled samples can't judge")
def test_a_small_pilot_is_allowed_for() -> None:
    rng, hits, count = np.random.default_rng(4), 0, 0
    for rows, p in ((40, 12), (40, 60), (150, 40), (150, 110), (400, 280)):
        t = 1.0 / np.arange(1, p + 1)
        t = t / t.mean()
        true = fair(t)
        for _ in range(8):
            x = rng.standard_normal((rows, p)) * np.sqrt(t)
            y = x @ true.head + rng.standard_normal((rows, 1))
            found = Moments.from_samples(x, y, rows="gaussian")
            for n in (rows // 2, 2 * rows):
                for ridge in (0.0, true.optimal_ridge(n)):
                    if ridge == 0.0 and abs(n - p) < 10:
                        continue
                    risk, target = found.risk(n, ridge), true.risk(n, ridge, "uniform").total
                    count += 1
                    hits += abs(risk.total / target - 1) < risk.relative_error
    assert hits / count > 0.9


def test_every_way_to_moments_of_samples_tells_the_pilot() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((90, 8)), rng.standard_normal((90, 1))
    exact = Moments.from_samples(x, y)
    assert exact.pilot == 90
    least = 2.2 * np.sqrt(2 / 90)
    assert exact.relative_error(30, 1.0) > least
    assert replace(exact, pilot=None).relative_error(30, 1.0) < 0.2 * least
    for correct in (True, False):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            population = Population.from_samples(x, y, correct=correct)
        assert head_risk(population.truncate(4), 30, 1.0).relative_error > least
    curve = predict_risk(x, y, 30, sizes=[0, 4, 8], ridge=1.0)
    assert curve.relative_error is not None
    assert (
        curve.relative_error >= (1 - 1e-9) * least
    ).all()  # the mean's risk, at size 0, is estimated too
    with pytest.raises(ValueError, match=r"^pilot must be an integer >= 1"):
        replace(exact, pilot=0)


# Curves.

CHAIN = GaussianHMM.rotation(5, 0.9, rng=0)
MODEL = Representation.gaussian(5, 30, rng=1)


def test_a_curve_has_the_error_of_each_size() -> None:
    curve = risk_curve(CHAIN, MODEL, 12, [0, 6, 12, 13, 14, 30], order=2)
    for p, found in zip(curve.sizes, curve.relative_error, strict=True):
        population = Population.next_token(CHAIN, MODEL.truncate(int(p)))
        expected = head_risk(population, 12, order=2).relative_error
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-9)
    assert curve.relative_error[4] > 0.01  # p = n + 2
    assert_allclose(curve.relative_error[:4], 0.0, atol=1e-9)  # R1, and infinite
    again = pickle.loads(pickle.dumps(curve))
    assert_allclose(again.relative_error, curve.relative_error)


def test_curves_of_several_models_are_joined_with_their_errors() -> None:
    setting: Any = {"n_samples": 12, "ridge": 0.1, "order": 2, "weights": "balanced"}
    curve = setting_theory(5, 0.9, sizes=[4, 16, 24], **setting)
    alone = setting_theory(5, 0.9, sizes=16, **setting)
    assert curve.relative_error.shape == (3,)
    assert (curve.relative_error > 0).all()
    assert curve.relative_error[1] == pytest.approx(alone.relative_error[0], rel=1e-4)


def test_simulations_and_other_sizes_have_none() -> None:
    curve = risk_curve(CHAIN, MODEL, 12, [6, 20])
    other = replace(
        curve, sizes=np.array([6]), risk=np.ones(1), standard_error=np.zeros(1),
        noise=None, bias=None, variance=None, per_output=None,
    )  # fmt: skip
    assert other.relative_error is None
    assert RiskCurve([3], [1.0], [0.1], n_trials=2).relative_error is None
    assert risk_curve(CHAIN, MODEL, 12, [6], 1.0, design="document").relative_error is None


def test_a_plot_has_a_band_as_wide_as_the_error() -> None:
    curve = risk_curve(CHAIN, MODEL, 12, [5, 12, 16, 20, 30], 0.01)
    _, ax = plt.subplots()
    curve.plot(ax)
    (band,) = ax.collections
    corners = np.concatenate([path.vertices for path in band.get_paths()])
    for p, risk, error in zip(curve.sizes, curve.risk, curve.relative_error, strict=True):
        heights = corners[corners[:, 0] == p, 1]
        assert heights.max() == pytest.approx(risk * (1 + error))
        assert heights.min() == pytest.approx(risk * (1 - error))
    # One band: that of a trained head goes before.
    _, other = plt.subplots()
    risk_curve(CHAIN, MODEL, 12, [5, 8, 20], band=0.8).plot(other)
    assert len(other.collections) == 1
    plt.close("all")


@pytest.mark.parametrize(("n", "ridge"), [(20, 0.3), (60, 2.0)])
def test_the_ridge_has_its_part_of_the_gap(n: int, ridge: float) -> None:
    t = np.geomspace(3.0, 0.1, 30)
    # κ by bisection of its own equation, n - df₁ = λ/κ.
    low, high = 1e-9, 1e9
    for _ in range(200):
        kappa = np.sqrt(low * high)
        if n - (t / (t + kappa)).sum() > ridge / kappa:  # either turn is right, same bits or not
            high = kappa
        else:
            low = kappa
    df1, df2 = ((t / (t + kappa)) ** k for k in (1, 2))
    part = Moments(t, np.ones((30, 1)), [[1.0]])._from_ridge(n, ridge)
    assert part == pytest.approx((n - df1.sum()) / (n - df2.sum()), rel=1e-9)


def test_a_pilot_adds_what_variances_scatter_by() -> None:
    t, n, rows, ridge = np.geomspace(3.0, 0.1, 12), 30, 50, 0.5
    exact = Moments(t, np.ones((12, 1)), [[1.0]])
    more = replace(exact, pilot=rows).relative_error(n, ridge) - exact.relative_error(n, ridge)
    excess = 1.0 - 1.0 / exact.risk(n, ridge, "uniform").total
    forgotten = exact._from_ridge(n, ridge)
    scatter = 2.2 * np.sqrt(2 / (rows - 12)) + (12 / rows) ** 2 * (1 - forgotten) * excess
    assert more == pytest.approx(scatter, rel=1e-9)
    # Without ridge, directions that fill the pilot's rows say nothing of how many there are.
    full, wide = replace(exact, pilot=13), replace(exact, pilot=14)
    for one, share in ((full, 1.0), (wide, 1.0 - exact._from_ridge(n, 0.0))):
        least = 2.2 * np.sqrt(2 / (one.pilot - min(12, one.pilot / 2)))
        excess = 1.0 - 1.0 / exact.risk(n, 0.0, "uniform").total
        found = one.relative_error(n) - exact.relative_error(n)
        assert found == pytest.approx(least + (12 / one.pilot) ** 2 * share * excess, rel=1e-9)


@pytest.mark.parametrize(
    ("n", "large", "small", "ridge"),
    [
        (5, 4, 0.1, 1e-5),
        (5, 4, 0.01, 1e-7),
        (8, 7, 0.01, 1e-7),
        (8, 8, 0.01, 1e-5),
    ],
)
def test_one_feature_more_than_labels_and_a_gap_is_not_trusted(
    n: int, large: int, small: float, ridge: float
) -> None:
    """Where the smallest eigenvalues count as a ridge, as they may not: 20 to 80 % off."""
    t = np.r_[np.ones(large), np.full(n + 1 - large, small)]
    rng = np.random.default_rng(n)
    x = rng.standard_normal((60_000, n, n + 1)) * np.sqrt(t)
    inverse = np.linalg.inv(x @ x.transpose(0, 2, 1) + ridge * np.eye(n))
    gains = np.square(inverse @ (x * np.sqrt(t))).sum(axis=(1, 2))
    error = gains.std() / np.sqrt(gains.size)
    off = abs(risk_factors(t, n, ridge).variance / gains.mean() - 1)
    assert off > 0.1 + 2 * error / gains.mean()
    assert uniform_error(t, n, ridge) > off - 4 * error / gains.mean()
