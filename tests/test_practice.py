"""Predict, measure and recommend: on samples of a known population, against that population."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.linear_model import LinearRegression, Ridge, RidgeCV
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.pipeline import Pipeline

from hmmtheory import (
    Population,
    compare,
    diagnose,
    head_risk,
    optimal_ridge,
    predict_risk,
    recommend,
    resample_risk_curve,
)

P, Q = 24, 2
T = 1.0 / np.sqrt(np.arange(1, P + 1))
HEAD = np.random.default_rng(0).standard_normal((P, Q)) / np.sqrt(P)
NOISE = np.array([0.5, 1.0])
TRUTH = Population(np.diag(T), T[:, None] * HEAD, HEAD.T @ (T[:, None] * HEAD) + np.diag(NOISE**2))


def draw(n: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, P)) * np.sqrt(T)
    return x + 3.0, x @ HEAD + NOISE * rng.standard_normal((n, Q)) - 2.0


POOL = draw(20_000, seed=1)


@pytest.mark.parametrize("ridge", [0.0, 2.0])
def test_prediction_without_intercept_is_the_theory_of_the_population(ridge: float) -> None:
    sizes = [0, 6, 12, 24]
    found = predict_risk(*POOL, 40, sizes, ridge, intercept=False)
    expected = [head_risk(TRUTH.truncate(p), 40, ridge).total for p in sizes]
    assert_allclose(found.risk, expected, rtol=0.02)
    assert found.per_output is not None
    assert found.noise is not None
    assert found.bias is not None
    assert found.variance is not None
    assert_allclose(found.per_output.sum(axis=1), found.risk)
    assert_allclose(found.noise + found.bias + found.variance, found.risk)


@pytest.mark.parametrize("ridge", [0.0, 2.0])
@pytest.mark.parametrize("n", [15, 40])
def test_an_intercept_costs_one_label_and_one_nth(n: int, ridge: float) -> None:
    with_one = predict_risk(*POOL, n, [0, 6, 12, 24], ridge)
    without = predict_risk(*POOL, n - 1, [0, 6, 12, 24], ridge, intercept=False)
    assert_allclose(with_one.risk, (1 + 1 / n) * without.risk, rtol=1e-12)


@pytest.mark.parametrize(("n", "p", "ridge"), [(40, 6, 0.0), (12, 24, 0.0), (12, 24, 2.0)])
def test_scikit_learn_heads_have_the_predicted_risk(n: int, p: int, ridge: float) -> None:
    trials, found = 800, np.empty(800)
    rng = np.random.default_rng(2)
    mean_x, mean_y = np.full(P, 3.0), np.full(Q, -2.0)
    for trial in range(trials):
        x, y = draw(n, seed=int(rng.integers(2**32)))
        model = Ridge(alpha=ridge) if ridge else LinearRegression()
        model.fit(x[:, :p], y)
        head = np.zeros((P, Q))
        head[:p] = model.coef_.T
        gap = head - HEAD
        offset = mean_y - mean_x[:p] @ model.coef_.T - model.intercept_
        found[trial] = (
            (NOISE**2).sum() + np.trace(gap.T @ (T[:, None] * gap)) + np.square(offset).sum()
        )
    expected = (1 + 1 / n) * head_risk(TRUTH.truncate(p), n - 1, ridge).total
    error = found.std(ddof=1) / np.sqrt(trials)
    assert abs(found.mean() - expected) < 4 * error + 0.01 * expected
    assert_allclose(predict_risk(*POOL, n, [p], ridge).risk[0], expected, rtol=0.03)


def test_measured_risk_is_that_of_refits_by_hand() -> None:
    x, y = draw(60, seed=3)
    sizes = [0, 5, 24]
    for ridge in (0.0, 0.5):
        found = resample_risk_curve(x, y, 12, sizes, n_trials=4, ridge=ridge, rng=4)
        expected = np.empty((4, 3))
        for trial, child in enumerate(np.random.default_rng(4).spawn(4)):
            picked = child.choice(60, 12, replace=False)
            left = np.setdiff1d(np.arange(60), picked)
            for k, p in enumerate(sizes):
                if p == 0:
                    guess = np.tile(y[picked].mean(axis=0), (left.size, 1))
                else:
                    model = Ridge(alpha=ridge, solver="svd") if ridge else LinearRegression()
                    guess = model.fit(x[picked, :p], y[picked]).predict(x[left, :p])
                expected[trial, k] = np.square(y[left] - guess).sum(axis=1).mean()
        assert_allclose(found.risk, expected.mean(axis=0), rtol=1e-8)
        assert_allclose(found.standard_error, expected.std(axis=0, ddof=1) / 2, rtol=1e-8)


def test_measured_risk_agrees_with_and_without_the_moments_of_the_pool() -> None:
    # More features than rows: the other way of judging a head.
    x, y = draw(20, seed=5)
    found = resample_risk_curve(x, y, 10, [0, 5, 24], n_trials=3, rng=6)
    padded = np.hstack([x, np.zeros((20, 1))])[:, :24]
    tall = resample_risk_curve(padded[:, :18], y, 10, [0, 5], n_trials=3, rng=6)
    assert_allclose(found.risk[:2], tall.risk, rtol=1e-9)


@pytest.mark.parametrize("order", ["given", "variance", "random"])
def test_prediction_meets_measurement(order: str) -> None:
    x, y = (array[:3000] for array in POOL)
    sizes = [0, 4, 12, 24]
    for n in (8, 60):
        measured = resample_risk_curve(x, y, n, sizes, n_trials=400, order=order, rng=7)
        predicted = predict_risk(x, y, n, sizes, order=order, rng=7)
        gap = np.abs(predicted.risk - measured.risk)
        assert (gap < 4 * measured.standard_error + 0.03 * measured.risk)[[0, 1, 3]].all()


def test_the_result_does_not_depend_on_the_number_of_workers() -> None:
    x, y = (array[:200] for array in POOL)
    one, two = (
        resample_risk_curve(x, y, 20, [0, 24], n_trials=5, rng=8, n_jobs=jobs) for jobs in (1, 2)
    )
    assert_array_equal(one.risk, two.risk)  # same bits: the same draws, one BLAS thread each


def test_the_optimal_ridge_is_the_populations() -> None:
    curve = predict_risk(*POOL, 30, [12, 24], "optimal", intercept=False, rows="gaussian")
    assert curve.ridges is not None
    for p, found, risk in zip([12, 24], curve.ridges, curve.risk, strict=True):
        expected = optimal_ridge(TRUTH.truncate(p), 30)
        assert_allclose(found, expected, rtol=0.15)
        assert_allclose(risk, head_risk(TRUTH.truncate(p), 30, expected).total, rtol=0.02)


def test_a_small_pilot_predicts_many_labels_with_unlabelled_rows() -> None:
    pilots = []
    for seed in range(30):
        x, y = draw(80, seed=100 + seed)
        extra = draw(3000, seed=200 + seed)[0]
        pilots.append(predict_risk(x, y, 400, [24], 1.0, unlabelled=extra).risk[0])
    expected = (1 + 1 / 400) * head_risk(TRUTH, 399, 1.0).total
    error = np.std(pilots) / np.sqrt(30)
    assert abs(np.mean(pilots) - expected) < 4 * error + 0.02 * expected


def test_recommendation_is_as_good_as_the_best_of_the_grid() -> None:
    x, y = draw(400, seed=9)
    found = recommend(x, y, n_samples=40, sizes=[0, 6, 12, 24], order="given", rng=0)
    truth = TRUTH.truncate(found.size)
    achieved = head_risk(truth, 39, found.ridge).total
    best = min(
        head_risk(TRUTH.truncate(p), 39, optimal_ridge(TRUTH.truncate(p), 39)).total
        for p in (6, 12, 24)
    )
    assert achieved < 1.03 * best
    assert abs(found.risk - (1 + 1 / 40) * achieved) < 4 * found.standard_error
    assert found.floor < found.risk < found.baseline


def test_standard_error_is_the_scatter_over_pilots() -> None:
    risks, errors = np.transpose(
        [
            (r.risk, r.standard_error)
            for r in (
                recommend(*draw(150, seed=300 + k), n_samples=40, sizes=[24], order="given", rng=k)
                for k in range(40)
            )
        ]
    )
    assert 0.6 < errors.mean() / risks.std(ddof=1) < 1.7


@pytest.mark.filterwarnings("error")
def test_a_pilot_that_is_just_large_enough_is_not_warned_of() -> None:
    # The jackknife's smaller pilots are not the user's.
    recommend(*draw(50, seed=21), n_samples=40, sizes=[24], order="given", rng=0)


def test_labels_needed_reach_the_target_and_one_fewer_does_not() -> None:
    x, y = (array[:4000] for array in POOL)
    found = recommend(x, y, 40, target=1.6, sizes=[6, 24], order="given", rng=0)
    assert found.labels_needed is not None
    low, high = found.labels_interval
    assert low is not None
    assert high is not None
    assert low <= found.labels_needed <= high
    at = [
        min(predict_risk(x, y, found.labels_needed + step, [6, 24], "optimal").risk)
        for step in (-1, 0)
    ]
    assert at[1] <= 1.6 * 1.001
    assert at[0] > 1.6 * 0.999


def test_the_interval_ends_where_the_band_of_the_risk_meets_the_target() -> None:
    x, y = draw(1500, seed=31)
    found = recommend(x, y, 100, target=1.6, sizes=[24], rng=0)
    assert found.labels_needed is not None
    there = recommend(x, y, found.labels_needed, sizes=[24], rng=0)
    low, high = (predict_risk(x, y, n, [24], "optimal").risk[0] for n in found.labels_interval)
    assert low - 1.6 == pytest.approx(1.645 * there.standard_error, rel=0.1)
    assert 1.6 - high == pytest.approx(1.645 * there.standard_error, rel=0.1)


def test_a_pilot_that_knows_the_variance_of_its_labels_roughly_says_so() -> None:
    x, y = draw(60, seed=32)
    total = float(y.var(axis=0, ddof=1).sum())
    near, far = (recommend(x, y, 40, target=c * total, sizes=[24]) for c in (1.01, 3.0))
    assert near.labels_interval[0] == far.labels_interval[0] == 2
    assert near.labels_interval[1] is None or near.labels_interval[1] > 2
    assert far.labels_interval == (2, 2)


def test_an_impossible_target_is_said_to_be_so() -> None:
    x, y = (array[:500] for array in POOL)
    found = recommend(x, y, 40, target=0.5, sizes=[24], order="given", rng=0)
    assert found.labels_needed is None
    assert "beyond what more labels can reach" in str(found)
    # The floor is known only roughly: a target just below it may be reached after all.
    near = recommend(x, y, 40, target=0.999 * found.floor, sizes=[24], order="given", rng=0)
    assert near.labels_needed is None
    low, high = near.labels_interval
    assert high is None
    assert low is not None
    assert predict_risk(x, y, low, [24], "optimal").risk[0] > near.floor
    poor = recommend(x, y, 40, target=1.01 * float(y.var(axis=0, ddof=1).sum()), rng=0)
    assert "no better than guessing" in str(poor)
    assert poor.labels_needed == 2


def test_a_share_of_the_variance_is_a_risk_in_other_words() -> None:
    x, y = (array[:2000] for array in POOL)
    total = float(y.var(axis=0, ddof=1).sum())
    share = recommend(x, y, 40, target_r2=0.3, sizes=[24])
    assert share.labels_needed == recommend(x, y, 40, target=0.7 * total, sizes=[24]).labels_needed
    again = recommend(x * 1e6, y * 1e-3, 40, target_r2=0.3, sizes=[24])
    assert share.labels_needed == again.labels_needed
    assert share.r2 == pytest.approx(1 - share.risk / total)


def test_the_number_of_labels_is_near_the_true_one_and_its_interval_holds_it() -> None:
    level = 1.02 * head_risk(TRUTH, 119, optimal_ridge(TRUTH, 119)).total
    true = next(
        n
        for n in range(20, 400)
        if (1 + 1 / n) * head_risk(TRUTH, n - 1, optimal_ridge(TRUTH, n - 1)).total <= level
    )
    found = [
        recommend(*draw(200, seed=700 + k), n_samples=100, target=level, sizes=[24], rng=k)
        for k in range(16)
    ]
    counts = np.array([f.labels_needed or np.inf for f in found])
    assert 0.75 < np.median(counts) / true < 1.33
    held = [(f.labels_interval[0] or 0) <= true <= (f.labels_interval[1] or np.inf) for f in found]
    assert np.mean(held) > 0.67  # 0.9 by design, less three standard errors of 16


def test_fewer_features_are_taken_only_where_they_are_better_by_more_than_chance() -> None:
    rng = np.random.default_rng(23)
    x = rng.standard_normal((300, 40))
    few = 2 * x[:, 0] + rng.standard_normal(300)
    assert recommend(x, few, 45).size <= 2
    spread = x.sum(axis=1) / 4 + rng.standard_normal(300)
    assert recommend(x, spread, 45).size == 40
    noise = [
        recommend(rng.standard_normal((80, 10)), rng.standard_normal(80), 40) for _ in range(12)
    ]
    # All sizes are the same there: seldom is one of them better by more than its error.
    assert sum(f.size < 10 for f in noise) <= 6


def test_classes_and_accuracy() -> None:
    rng = np.random.default_rng(24)
    kind = rng.choice(["cat", "dog"], 300)
    x = rng.standard_normal((300, 8)) + 0.8 * (kind == "cat")[:, None]
    found = recommend(x, kind, 60, target_accuracy=0.8)
    assert found.labels_needed is not None
    assert set(found.estimator.predict(x)) == {"cat", "dog"}
    # By trained heads: few labels reach 0.8, and one in three of them does not.
    reached = []
    for labels in (max(found.labels_needed // 3, 8), 3 * found.labels_needed):
        rights = []
        for _ in range(40):
            picked = rng.permutation(300)[: min(labels, 200)]
            if len(set(kind[picked])) < 2:
                continue
            rest = np.setdiff1d(np.arange(300), picked)
            head = clone(found.estimator).fit(x[picked], kind[picked])
            rights.append(head.score(x[rest], kind[rest]))
        reached.append(np.mean(rights))
    assert reached[0] < 0.81
    assert reached[1] > 0.79
    guess = recommend(x, kind, 60, target_accuracy=0.4)
    assert "no better than guessing" in str(guess)
    with pytest.raises(ValueError, match="target_r2 must be None"):
        recommend(x, kind == "cat", 60, target=0.1, target_r2=0.5)


@pytest.mark.filterwarnings("error")
def test_one_column_of_whole_numbers_has_no_copies() -> None:
    rng = np.random.default_rng(33)
    ages = rng.integers(20, 60, (400, 1)).astype(float)
    y = 0.05 * ages[:, 0] + rng.standard_normal(400)
    found = recommend(ages, y, 100, sizes=[1])
    assert found.risk == pytest.approx(y.var() - 0.05**2 * ages.var(), rel=0.1)


def test_several_labels_of_one_row_are_one_row() -> None:
    # Three people rate each row; the truth by trained heads on rows that the pilot lacks.
    rng = np.random.default_rng(25)
    texts = rng.standard_normal((3000, 12))
    means = texts @ rng.standard_normal(12) / 4 + 0.5 * rng.standard_normal(3000)
    x = np.repeat(texts, 3, axis=0)
    y = np.repeat(means, 3) + 0.8 * rng.standard_normal(9000)
    with pytest.warns(UserWarning, match="300 different rows among 900: the labels of equal rows"):
        found = recommend(x[:900], y[:900], 90, sizes=[12], target=1.3)
    errors = []
    for _ in range(200):
        picked = rng.choice(np.arange(300, 3000), 30, replace=False)
        rows = (3 * picked[:, None] + np.arange(3)).ravel()
        head = Ridge(found.ridge).fit(x[rows], y[rows])
        errors.append(np.square(y[:900] - head.predict(x[:900])).mean())
    assert abs(found.risk / np.mean(errors) - 1) < 0.1
    assert_allclose(found.baseline, y[:900].var() * (1 + 1 / 30), rtol=0.05)
    assert found.labels_needed is not None
    assert found.labels_needed % 3 == 0
    assert 0.02 < found.standard_error / found.risk < 0.12
    assert found.curve.risk[-1] == pytest.approx(found.risk)


@pytest.mark.filterwarnings("error")
def test_equal_rows_of_few_values_are_no_copies() -> None:
    rng = np.random.default_rng(28)
    x = rng.integers(0, 2, (400, 5)).astype(float)
    y = x @ [1.0, -1.0, 0.5, 0.0, 0.0] + rng.standard_normal(400)
    found = recommend(x, y, 50, sizes=[5])
    expected = predict_risk(x, y, 50, [5], "optimal").risk[0]
    assert found.risk == pytest.approx(expected)


def test_groups_are_left_out_together() -> None:
    x, y = draw(60, seed=25)
    people = np.repeat(np.arange(60), 4)
    rng = np.random.default_rng(0)
    x, y = np.repeat(x, 4, axis=0), np.repeat(y, 4, axis=0)
    x = x + 0.1 * x.std(axis=0) * rng.standard_normal(x.shape)  # no copies, but much alike
    together = recommend(x, y, 40, sizes=[24], groups=people).standard_error
    apart = recommend(x, y, 40, sizes=[24]).standard_error
    assert apart < 0.7 * together


def test_a_head_for_many_more_labels_is_to_be_refitted() -> None:
    x, y = draw(60, seed=26)
    assert "Refit when the labels are in" in str(recommend(x, y, 1000, sizes=[24]))
    assert "Refit" not in str(recommend(x, y, 100, sizes=[24]))


@pytest.mark.parametrize("order", ["given", "variance", "random"])
def test_the_estimator_is_the_head_that_was_recommended(order: str) -> None:
    x, y = draw(300, seed=11)
    found = recommend(x, y, 50, sizes=[10], order=order, rng=3)
    assert isinstance(found.estimator, Pipeline)
    columns = np.random.default_rng(3).permutation(P)[:10] if order == "random" else np.arange(10)
    seen = x[:, columns]
    if order == "variance":
        centred = x - x.mean(axis=0)
        seen = centred @ np.linalg.svd(centred, full_matrices=False)[2][:10].T
    chosen = found.estimator[-1].alpha_
    grid = found.ridge * np.logspace(-4, 4, 33)
    # Leave-one-out by refits: no other penalty of the grid is better.
    scores = [
        float(np.square(y - cross_val_predict(Ridge(lam), seen, y, cv=LeaveOneOut())).sum())
        for lam in grid[::4]
    ]
    ours = np.square(y - cross_val_predict(Ridge(chosen), seen, y, cv=LeaveOneOut())).sum()
    assert ours <= min(scores) * (1 + 1e-9)
    expected = Ridge(alpha=chosen).fit(seen, y).predict(seen)
    assert_allclose(found.estimator.predict(x), expected, rtol=1e-8, atol=1e-10)
    more_x, more_y = draw(80, seed=12)
    refit = found.estimator.fit(more_x, more_y)
    again = (
        (more_x - x.mean(axis=0)) @ np.linalg.svd(centred, full_matrices=False)[2][:10].T
        if (order == "variance")
        else more_x[:, columns]
    )
    assert_allclose(
        refit.predict(more_x),
        Ridge(alpha=refit[-1].alpha_).fit(again, more_y).predict(again),
        rtol=1e-8,
        atol=1e-10,
    )


@pytest.mark.filterwarnings("error")
def test_frames_go_in_and_predictions_come_out() -> None:
    x, y = draw(200, seed=13)
    frame = pd.DataFrame(x, columns=[f"f{k}" for k in range(P)])
    labels = pd.DataFrame(y, columns=["a", "b"])
    found = recommend(frame, labels, 50, rng=0)
    assert found.estimator.predict(frame).shape == (200, 2)
    assert predict_risk(frame, labels["a"], 50).per_output is not None
    assert "200 rows" in str(diagnose(frame, labels))


def test_pure_noise_gets_the_mean_as_its_head() -> None:
    rng = np.random.default_rng(14)
    x, y = rng.standard_normal((500, 5)), rng.standard_normal(500)
    found = recommend(x, y, 20, rng=0)
    assert found.risk <= found.baseline * (1 + 1e-9)
    assert found.estimator.predict(x).std() < 0.1 * y.std()


def test_the_baseline_is_the_risk_without_features() -> None:
    x, y = draw(90, seed=18)
    found = recommend(x, y, 30, sizes=[0, 5], order="given", rng=0)
    assert_allclose(found.baseline, y.var(axis=0, ddof=1).sum() * (1 + 1 / 30), rtol=1e-12)
    assert_allclose(found.baseline, found.curve.risk[0], rtol=1e-12)


@pytest.mark.parametrize("function", [predict_risk, recommend, resample_risk_curve])
def test_more_components_than_directions_are_refused(function: Callable[..., object]) -> None:
    x, y = draw(20, seed=19)
    with pytest.raises(ValueError, match=r"at most 19 .* features span only 19 directions; got 24"):
        function(x, y, 10, sizes=[0, 24], order="variance", rng=0)
    with pytest.raises(ValueError, match=r"between 0 and .* 24; got 0 to 25"):
        function(x, y, 10, sizes=[0, 25], order="variance", rng=0)


def test_of_sizes_with_equal_risk_all_features_are_recommended() -> None:
    # 20 labelled rows judge 9 components: no more of them change the prediction.
    x, y = draw(20, seed=20)
    with pytest.warns(UserWarning, match="9 directions"):
        found = recommend(x, y, 10, sizes=[9, 12, 15], order="variance", rng=0)
    assert_allclose(found.curve.risk, found.curve.risk[0], rtol=0.2)
    assert found.size == 15


def test_a_measured_curve_says_which_ridge_it_was_measured_with() -> None:
    x = np.random.default_rng(0).standard_normal((40, 3))
    one = resample_risk_curve(x, x[:, 0], 20, [1, 3], 2, ridge=0.5, rng=0)
    assert (one.ridge, one.ridges) == (0.5, None)
    many = resample_risk_curve(x, x[:, 0], 20, [1, 3], 2, ridge=[0.5, 2.0], rng=0)
    assert many.ridges is not None
    assert (many.ridge, many.ridges.tolist()) == (0.0, [0.5, 2.0])
    assert many.risk[0] == one.risk[0]  # same bits: the same computation


def test_components_carry_their_variances() -> None:
    rng = np.random.default_rng(1)
    x, more = rng.standard_normal((60, 3)) * [3.0, 2.0, 1.0], rng.standard_normal((200, 3))
    head = recommend(x, x[:, 0], 40, sizes=[3], order="variance", unlabelled=more).estimator
    components = head[0].estimator
    scores = (np.vstack([x, more]) - components.mean_) @ components.components_.T
    assert_allclose(components.explained_variance_, scores.var(axis=0, ddof=1), rtol=1e-9)


def test_the_head_keeps_the_predicted_ridge_where_leave_one_out_knows_less() -> None:
    rng = np.random.default_rng(40)
    x = rng.standard_normal((120, 40)) / np.arange(1, 41)
    y = x @ rng.standard_normal(40) + rng.standard_normal(120)
    few, many = recommend(x, y, n_samples=60), recommend(x, y, n_samples=61)
    assert few.estimator[-1].alpha_ == pytest.approx(few.ridge)
    assert len(many.estimator[-1].alphas) > 1
    # Three labels of each row: leave-one-out takes the copies for proof that no ridge is needed.
    wide = rng.standard_normal((150, 100))
    label = wide[:, 0] + rng.standard_normal(150)
    threefold = np.repeat(wide, 3, axis=0)
    noisy = np.repeat(label, 3) + 0.1 * rng.standard_normal(450)
    with pytest.warns(UserWarning, match="different rows"):
        kept = recommend(threefold, noisy, n_samples=450)
    new = rng.standard_normal((4000, 100))
    misled = RidgeCV(alphas=np.logspace(-4, 6, 41)).fit(threefold, noisy)
    missed = [np.square(new[:, 0] - head.predict(new)).mean() for head in (kept.estimator, misled)]
    assert missed[0] < 0.7 * missed[1]


@pytest.mark.parametrize("n", [150, 600])
def test_the_estimator_reaches_the_prediction_in_any_units(n: int) -> None:
    rng = np.random.default_rng(8)
    units = 10.0 ** rng.integers(-4, 5, 20)
    weights = rng.standard_normal(20) / 3

    def draw(count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        x = rng.standard_normal((count, 20))
        return x * units, x @ weights + rng.standard_normal(count)

    advice = recommend(*draw(n), rng=0)
    assert advice.size == 20
    x, y = draw(5000)
    heads = [clone(advice.estimator).fit(*draw(n)) for _ in range(20)]
    truth = np.mean([np.square(y - head.predict(x)).mean() for head in heads])
    assert truth == pytest.approx(advice.risk, abs=3 * advice.standard_error)
    # Least squares knows no units; and scikit-learn's, in plain ones, is no better.
    plain = []
    for _ in range(20):
        seen, told = draw(n)
        plain.append(LinearRegression().fit(seen / units, told).predict(x / units))
    least = np.mean([np.square(y - said).mean() for said in plain])
    assert truth == pytest.approx(least, rel=0.05)


def test_columns_of_unlike_length_are_spoken_of_where_a_ridge_suffers_from_them() -> None:
    rng = np.random.default_rng(3)
    x, weights = rng.standard_normal((90, 30)), rng.standard_normal(30) / 4
    y = x @ weights + rng.standard_normal(90)
    far = x * np.where(np.arange(30) < 15, 1e-3, 1e3)
    said = " ".join(recommend(far, y, rng=0).notes)
    own = predict_risk(x / x.std(axis=0), y, 90, [30], "optimal").risk[0]
    assert f"they would give {own:.3g}." in said
    assert not recommend(x, y, rng=0).notes
    # A column that says nothing may be as long as it likes.
    assert not recommend(np.column_stack([1e6 * rng.permutation(90), x]), y, rng=0).notes


def test_labels_that_do_not_vary_and_rows_that_are_too_few_are_refused() -> None:
    x = np.random.default_rng(0).standard_normal((60, 4))
    for function in (recommend, diagnose):
        with pytest.raises(ValueError, match="responses must vary; got the same"):
            function(x, np.ones(60))
    with pytest.raises(ValueError, match="features must have at least 4 rows; got 3"):
        recommend(x[:3], x[:3, 0])


def test_a_low_target_needs_few_labels_however_many_rows_the_pilot_has() -> None:
    rng = np.random.default_rng(0)
    kind = np.arange(500) % 2
    x = rng.standard_normal((500, 10)) + kind[:, None]
    found = recommend(x, kind, 100, target_accuracy=0.8)
    # Trained on four fresh rows a classifier has 0.82 of them right.
    assert found.labels_needed is not None
    assert found.labels_needed < 10
    assert f"needs {found.labels_needed} labels" in str(found)


def test_what_rows_are_too_few_to_promise_is_not_denied() -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((60, 100))
    y = x @ rng.standard_normal(100) / 10 + 0.5 * rng.standard_normal(60)
    with pytest.warns(UserWarning, match="can't judge"):
        found = recommend(x, y, 1000, target_r2=0.75, sizes=[100])
    assert found.labels_needed is None
    assert "beyond what these rows can promise" in str(found)


def test_the_share_explained_is_that_of_single_labels_with_copies() -> None:
    rng = np.random.default_rng(1)
    x = np.repeat(rng.standard_normal((100, 5)), 5, axis=0)
    y = x[:, 0] + rng.standard_normal(500)
    with pytest.warns(UserWarning, match="100 different rows"):
        found = recommend(x, y, 50)
    assert found.r2 == pytest.approx(1 - found.risk / y.var(ddof=1), abs=0.02)


@pytest.mark.parametrize("seed", [0, 1, 2, 4])
def test_an_accuracy_is_that_of_the_recommended_head(seed: int) -> None:
    # One feature of twenty says all: all twenty would need about 400 labels, it alone 30.
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((200, 20))
    kind = np.where(x[:, 0] + rng.standard_normal(200) > 0, "a", "b")
    head = recommend(x, kind, 100, target_accuracy=0.7, rng=0)
    assert head.size <= 2
    assert head.labels_needed is not None
    assert head.labels_needed < 60


def test_units_change_no_comparison() -> None:
    rng = np.random.default_rng(4)
    x = rng.standard_normal((300, 12))
    y = x.sum(axis=1) / 4 + rng.standard_normal(300)
    found = compare({"raw": x * 10.0 ** np.linspace(-3, 4.5, 12), "scaled": x}, y, 300).to_frame()
    assert found["risk"]["raw"] == pytest.approx(found["risk"]["scaled"], rel=0.05)
    assert found["chance_best"].max() < 0.9
