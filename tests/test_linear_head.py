"""The head as a scikit-learn estimator: its checks, its leave-one-out, weights and groups."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import SkipTestWarning
from sklearn.linear_model import LinearRegression, Ridge, RidgeCV
from sklearn.model_selection import GridSearchCV, LeaveOneGroupOut
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import hmmtheory
from hmmtheory import fit_head, simulate_head_risk
from hmmtheory.practice.head import LinearHead, left_out


def rows(n: int = 40, p: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, p)) * np.arange(1, p + 1) + 3.0
    return x, x @ np.arange(1, p + 1) ** -1.0 + 8 * rng.standard_normal(n)


@pytest.mark.parametrize("ridge", ["loo", 0.0, 1.0])
def test_it_passes_the_checks_of_scikit_learn(ridge: float | str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkipTestWarning)
        found = check_estimator(LinearHead(ridge=ridge), on_skip=None)
    assert {line["status"] for line in found} <= {"passed", "skipped"}
    assert len(found) > 40


def test_the_package_hands_it_out_and_a_star_import_does_without() -> None:
    assert hmmtheory.LinearHead is LinearHead
    assert "LinearHead" not in hmmtheory.__all__


@pytest.mark.parametrize("p", [5, 12, 24, 60])
def test_it_takes_the_ridge_that_ridgecv_takes(p: int) -> None:
    x, y = rows(p=p)
    top = np.linalg.svd(x - x.mean(axis=0), compute_uv=False)[0] ** 2
    peer = RidgeCV(alphas=top * np.logspace(-10, 2, 49)).fit(x, y)
    found = LinearHead().fit(x, y)
    assert found.ridge_ == pytest.approx(peer.alpha_, rel=1e-9)
    assert found.predict(x) == pytest.approx(peer.predict(x), rel=1e-7)
    assert found.score(x, y) == pytest.approx(peer.score(x, y), rel=1e-9)


@pytest.mark.parametrize("p", [5, 60])
def test_without_ridge_it_is_the_head_of_minimum_norm_on_centred_columns(p: int) -> None:
    x, y = rows(p=p)
    head = fit_head(x - x.mean(axis=0), y - y.mean())
    found = LinearHead(ridge=0.0).fit(x, y)
    assert found.coef_ == pytest.approx(head, rel=1e-8)
    assert found.intercept_ == pytest.approx(y.mean() - x.mean(axis=0) @ head, rel=1e-7)
    if p < 40:
        least = LinearRegression().fit(x, y)
        assert found.predict(x) == pytest.approx(least.predict(x), rel=1e-9)
        units = 10.0 ** np.resize([7, -7, 0], p)
        assert LinearHead(ridge=0.0).fit(x * units, y).predict(x * units) == pytest.approx(
            least.predict(x), rel=1e-8
        )


def refits(
    x: np.ndarray, y: np.ndarray, weights: np.ndarray, groups: np.ndarray, ridge: float
) -> float:
    """Return the weighted error of heads that are fitted again without each group."""
    errors = np.empty(len(x))
    for train, rest in LeaveOneGroupOut().split(x, y, groups):
        if np.isinf(ridge):
            guess = np.full(rest.size, np.average(y[train], weights=weights[train]))
        else:
            peer = Ridge(ridge).fit(x[train], y[train], sample_weight=weights[train])
            guess = peer.predict(x[rest])
        errors[rest] = (y[rest] - guess) ** 2
    return float(np.average(errors, weights=weights))


@pytest.mark.parametrize("p", [4, 50])
def test_its_ridge_is_best_among_real_refits_with_weights_and_groups(p: int) -> None:
    x, y = rows(30, p, seed=1)
    rng = np.random.default_rng(2)
    groups, weights = np.repeat(np.arange(10), 3), rng.uniform(0.2, 3.0, 30)
    found = LinearHead().fit(x, y, sample_weight=weights, groups=groups)
    mean = np.average(x, axis=0, weights=weights)
    top = np.linalg.svd((x - mean) * np.sqrt(weights)[:, None], compute_uv=False)[0] ** 2
    tried = top * np.append(np.logspace(-10, 2, 49), np.inf)
    errors = [refits(x, y, weights, groups, ridge) for ridge in tried]
    assert found.ridge_ == pytest.approx(tried[int(np.argmin(errors))], rel=1e-9)
    plain = LinearHead().fit(x, y, sample_weight=weights)
    alone = [refits(x, y, weights, np.arange(30), ridge) for ridge in tried]
    assert plain.ridge_ == pytest.approx(tried[int(np.argmin(alone))], rel=1e-9)


def test_a_weight_of_two_is_the_row_twice_and_a_weight_of_zero_no_row() -> None:
    x, y = rows(25, 30, seed=3)
    weights = np.random.default_rng(4).integers(0, 4, 25)
    weighted = LinearHead().fit(x, y, sample_weight=weights)
    repeated = LinearHead().fit(np.repeat(x, weights, axis=0), np.repeat(y, weights))
    assert weighted.ridge_ == pytest.approx(repeated.ridge_, rel=1e-9)
    assert weighted.predict(x) == pytest.approx(repeated.predict(x), rel=1e-8)


def test_copies_do_not_mislead_it_as_they_mislead_ridgecv() -> None:
    x, y = rows(30, 60, seed=5)
    twice, labels = np.repeat(x, 2, axis=0), np.repeat(y, 2)
    fresh, truth = rows(2000, 60, seed=6)
    alphas = np.linalg.svd(twice - twice.mean(axis=0), compute_uv=False)[0] ** 2
    peer = RidgeCV(alphas=alphas * np.logspace(-10, 2, 49)).fit(twice, labels)
    ours = LinearHead().fit(twice, labels)
    assert ours.ridge_ > 100 * peer.alpha_
    assert ours.score(fresh, truth) > peer.score(fresh, truth)
    # What was copied is seen in all columns, however few the head reads.
    short = LinearHead(size=1).fit(twice, labels)
    assert short.ridge_ == pytest.approx(2 * LinearHead(size=1).fit(x, y).ridge_, rel=1e-9)


@pytest.mark.parametrize(("columns", "values"), [(1, 2), (1, 20), (2, 2), (2, 3), (3, 2), (2, 30)])
def test_rows_of_few_values_are_equal_by_chance_and_left_out_one_by_one(
    columns: int, values: int
) -> None:
    rng = np.random.default_rng(7)
    coins = rng.integers(0, values, (200, columns)).astype(float)
    heads = 0.2 * coins.sum(axis=1) / values + rng.standard_normal(200)
    top = np.linalg.svd(coins - coins.mean(axis=0), compute_uv=False)[0] ** 2
    grid = top * np.logspace(-10, 2, 49)
    chosen = RidgeCV(alphas=grid).fit(coins, heads).alpha_
    found = LinearHead().fit(coins, heads).ridge_
    assert found == pytest.approx(chosen, rel=1e-9) or (np.isinf(found) and chosen == grid[-1])


def test_its_size_is_searched_like_any_parameter_and_it_is_pickled() -> None:
    rng = np.random.default_rng(9)
    x = rng.standard_normal((60, 50))
    y = x[:, 0] + rng.standard_normal(60)
    search = GridSearchCV(LinearHead(ridge=0.0), {"size": [0, 1, 47]}, cv=5).fit(x, y)
    assert search.best_params_ == {"size": 1}
    mean = LinearHead(size=0).fit(x, y)
    assert mean.predict(x) == pytest.approx(np.full(60, y.mean()), rel=1e-12)
    pipe = make_pipeline(StandardScaler(), LinearHead(10))
    assert pickle.loads(pickle.dumps(pipe.fit(x, y))).predict(x) == pytest.approx(pipe.predict(x))


def test_its_risk_is_that_of_the_simulated_head() -> None:
    rng = np.random.default_rng(10)
    s = np.diag(np.linspace(0.2, 2.0, 30))
    b = rng.standard_normal((30, 1)) / 5
    population = hmmtheory.Population(s, s @ b, b.T @ s @ b + 1.0)
    x = rng.standard_normal((20_000, 30)) @ np.sqrt(s)
    y = x @ b + rng.standard_normal((20_000, 1))
    risks = []
    for k in range(300):
        few = np.random.default_rng([11, k]).integers(0, 20_000, 15)
        head = LinearHead(ridge=2.0).fit(x[few], y[few])
        risks.append(np.square(head.predict(x) - y).mean())
    simulated = simulate_head_risk(population, 14, ridge=2.0, n_trials=3000, rng=12)
    # Centring takes one of the rows, and the mean label adds its own variance, 1/n.
    total, error = np.mean(risks), np.std(risks) / 300**0.5
    expected = simulated.total * (1 + 1 / 15)
    assert total == pytest.approx(expected, abs=4 * np.hypot(error, simulated.total_standard_error))


def test_names_of_columns_several_labels_and_columns_far_from_zero() -> None:
    x, y = rows(50, 6, seed=13)
    frame = pd.DataFrame(x, columns=[f"h{k}" for k in range(6)])
    both = np.column_stack([y, -2 * y])
    found = LinearHead(ridge=1.0).fit(frame, both)
    assert list(found.feature_names_in_) == list(frame.columns)
    assert found.predict(frame) == pytest.approx(
        np.column_stack([LinearHead(ridge=1.0).fit(x, z).predict(x) for z in both.T]), rel=1e-9
    )
    with pytest.raises(ValueError, match="feature names"):
        found.predict(frame[frame.columns[::-1]])
    far = LinearHead(ridge=1.0).fit(x + 1e6 * x.std(axis=0), y)
    assert far.predict(x + 1e6 * x.std(axis=0)) == pytest.approx(
        found.predict(frame)[:, 0], rel=1e-6
    )
    still = np.column_stack([x, np.full(50, 0.1)])
    weights = np.random.default_rng(14).uniform(0.1, 1.0, 50)
    heads = [LinearHead(ridge=0.0).fit(a, y, sample_weight=weights) for a in (x, still)]
    assert heads[1].coef_[-1] == 0.0
    assert heads[1].predict(still) == pytest.approx(heads[0].predict(x), rel=1e-9)


@pytest.mark.parametrize(
    ("given", "extra", "said"),
    [
        ({"ridge": -1.0}, {}, "ridge"),
        ({"ridge": "gcv"}, {}, "ridge must be 'loo' or a number >= 0; got 'gcv'"),
        ({"size": 13}, {}, "size must be at most 12, the columns of X; got 13"),
        ({"size": 2.5}, {}, "size"),
        ({}, {"sample_weight": np.r_[-1.0, np.ones(39)]}, "sample_weight must be >= 0"),
        ({}, {"sample_weight": np.r_[1.0, np.zeros(39)]}, "must count two rows"),
        ({}, {"groups": np.arange(39)}, "groups must have 40 labels"),
    ],
)
def test_bad_input_is_refused(given: dict, extra: dict, said: str) -> None:
    x, y = rows()
    with pytest.raises(ValueError, match=said):
        LinearHead(**given).fit(x, y, **extra)


def test_where_nothing_varies_or_one_group_owns_all_the_mean_is_the_answer() -> None:
    x, y = rows()
    assert np.isinf(LinearHead().fit(np.ones_like(x), y).ridge_)
    owned = LinearHead().fit(x, y, groups=np.zeros(40, int))
    assert np.isinf(owned.ridge_)
    assert owned.predict(x) == pytest.approx(np.full(40, y.mean()))


def test_a_group_that_alone_knows_a_direction_says_nothing_without_ridge() -> None:
    rng = np.random.default_rng(15)
    x = np.column_stack([rng.standard_normal(12), np.r_[1.0, -1.0, np.zeros(10)]])
    x -= x.mean(axis=0)
    u, s, _ = np.linalg.svd(x, full_matrices=False)
    y, one = rng.standard_normal((12, 1)), np.ones((12, 1))
    owner = np.repeat(np.arange(6), 2)
    assert np.isinf(left_out(u, s, y - y.mean(), one, owner, 0.0))
    assert np.isfinite(left_out(u, s, y - y.mean(), one, owner, 0.1))
