"""Predicted accuracy, against classifiers that scikit-learn trains on rows never seen."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.datasets import load_digits
from sklearn.linear_model import RidgeClassifier, RidgeClassifierCV

from hmmtheory import predict_accuracy
from hmmtheory.practice._path import ridge_path

FloatArray = NDArray[np.float64]
P = 12
GRID = np.logspace(-2, 4, 13)


def draw(
    n: int, k: int, rng: np.random.Generator, shares: Any = None, gap: float = 2.0
) -> tuple[FloatArray, NDArray[np.int64]]:
    """Gaussian classes of equal covariance, their means `gap` away from each other or so."""
    means = np.random.default_rng(k).standard_normal((k, P)) * gap / np.sqrt(2 * P)
    codes = rng.choice(k, n, p=shares)
    return means[codes] + rng.standard_normal((n, P)), codes


def trained(
    n: int, k: int, shares: Any = None, ridge: float | None = None, gap: float = 2.0
) -> tuple[float, float]:
    """Return mean accuracy and balanced accuracy of classifiers on n fresh rows."""
    rng, found = np.random.default_rng(99), []
    new_x, new_y = draw(2000, k, rng, shares, gap)
    for _ in range(40):
        x, y = draw(n, k, rng, shares, gap)
        model = RidgeClassifierCV(GRID) if ridge is None else RidgeClassifier(alpha=ridge)
        right = model.fit(x, y).predict(new_x) == new_y
        found.append((right.mean(), np.mean([right[new_y == j].mean() for j in range(k)])))
    return tuple(np.mean(found, axis=0))


@pytest.mark.parametrize("k", [2, 4])
@pytest.mark.parametrize("n", [30, 150, 1500])
def test_accuracy_is_that_of_classifiers_trained_on_fresh_rows(k: int, n: int) -> None:
    rng = np.random.default_rng(0)
    found = [predict_accuracy(*draw(200, k, rng), n, rng=seed) for seed in range(10)]
    truth, balanced = trained(n, k)
    assert abs(np.mean([f.accuracy for f in found]) - truth) < (0.035 if n == 30 else 0.025)
    assert abs(np.mean([f.balanced_accuracy for f in found]) - balanced) < 0.03
    within = [abs(f.accuracy - truth) < 1.96 * f.standard_error for f in found]
    assert np.mean(within) > 0.75


def test_many_labels_reach_the_best_linear_rule_of_two_gaussian_classes() -> None:
    rng = np.random.default_rng(1)
    found = [predict_accuracy(*draw(600, 2, rng, gap=3.0), 10**6).accuracy for _ in range(8)]
    means = np.random.default_rng(2).standard_normal((2, P)) * 3.0 / np.sqrt(2 * P)
    bayes = norm.cdf(np.linalg.norm(means[0] - means[1]) / 2)
    assert_allclose(np.mean(found), bayes, atol=0.015)


@pytest.mark.parametrize("ridge", [0.5, 300.0])
@pytest.mark.parametrize("n", [40, 600])
def test_a_given_ridge_is_that_of_the_classifier_on_n_labels(n: int, ridge: float) -> None:
    rng = np.random.default_rng(2)
    found = [predict_accuracy(*draw(200, 3, rng), n, ridge).accuracy for _ in range(10)]
    assert_allclose(np.mean(found), trained(n, 3, ridge=ridge)[0], atol=0.025)


def test_rare_classes_are_seen_in_balanced_accuracy() -> None:
    rng, shares = np.random.default_rng(3), [0.92, 0.08]
    found = [predict_accuracy(*draw(250, 2, rng, shares), 250) for _ in range(10)]
    truth, balanced = trained(250, 2, shares)
    assert_allclose(np.mean([f.accuracy for f in found]), truth, atol=0.02)
    assert_allclose(np.mean([f.balanced_accuracy for f in found]), balanced, atol=0.06)
    assert np.mean([f.baseline for f in found]) > 0.85


def test_digits_are_predicted_from_150_of_them() -> None:
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(4).permutation(len(y))
    pilot, rest = order[:150], order[150:]
    for n in (60, 800):
        truth = []
        for seed in range(10):
            p = np.random.default_rng(seed).permutation(rest)
            model = RidgeClassifierCV(GRID * 100).fit(x[p[:n]], y[p[:n]])
            truth.append((model.predict(x[p[n:]]) == y[p[n:]]).mean())
        found = predict_accuracy(x[pilot], y[pilot], n)
        assert abs(found.accuracy - np.mean(truth)) < 0.05


def test_names_and_types_of_classes_do_not_matter() -> None:
    x, codes = draw(90, 3, np.random.default_rng(5))
    names = np.array(["a", "b", "c"])[codes]
    expected = predict_accuracy(x, names, 50)
    assert expected.classes == ("a", "b", "c")
    for same in (names.tolist(), pd.Series(names, dtype="category"), codes, codes.astype(float)):
        assert predict_accuracy(pd.DataFrame(x), same, 50).accuracy == expected.accuracy
    two = predict_accuracy(x, codes > 0, 50)
    assert two.classes == (False, True)
    assert "of 2 classes" in str(two)


def test_features_that_say_nothing_are_guesses() -> None:
    rng = np.random.default_rng(6)
    x, y = rng.standard_normal((300, P)), rng.choice(2, 300, p=[0.7, 0.3])
    found = predict_accuracy(x, y, 300)
    assert abs(found.accuracy - found.baseline) < 3 * found.standard_error
    still = predict_accuracy(np.ones((300, 2)), y, 300)
    assert still.accuracy == pytest.approx(still.baseline)


def test_more_features_than_rows_are_their_span() -> None:
    rng = np.random.default_rng(7)
    x, y = draw(50, 2, rng)
    turn = np.linalg.qr(rng.standard_normal((400, 400)))[0][:P]
    narrow, wide = predict_accuracy(x, y, 100), predict_accuracy(x @ turn, y, 100)
    assert_allclose(wide.accuracy, narrow.accuracy, atol=0.01)


def test_too_few_rows_of_a_class_are_said_to_be_so() -> None:
    x, y = draw(60, 2, np.random.default_rng(8))
    y[:3], y[3:] = 2, y[3:] % 2
    with pytest.warns(UserWarning, match=r"fewer than 5 rows .*: 2 3$"):
        assert 0 < predict_accuracy(x, y, 50).accuracy < 1


@pytest.mark.parametrize(
    ("classes", "reason"),
    [
        (["only"] * 40, "at least 2 classes; got only 'only'"),
        (["a", "b"] * 10, "must have 40 labels"),
        ([0.5, 1.0] * 20, "whole numbers; got 0.5 in row 0"),
        (["a", None] * 20, "no missing label; got one in row 1"),
        ([np.nan, 1.0] * 20, "no missing label; got one in row 0"),
        (np.eye(2)[[0, 1] * 20], "one label a row, not one-hot"),
    ],
)
def test_classes_that_are_none_are_refused(classes: Any, reason: str) -> None:
    x = np.random.default_rng(9).standard_normal((40, 3))
    with pytest.raises(ValueError, match=f"classes .*{reason}"):
        predict_accuracy(x, classes, 20)


def test_a_ridge_of_which_the_pilot_says_nothing_is_refused() -> None:
    rng = np.random.default_rng(10)
    x, y = rng.standard_normal((60, 200)), rng.choice(2, 60)
    with pytest.raises(ValueError, match="ridge must be at least"):
        predict_accuracy(x, y, 400, ridge=0.0)


def test_eight_rows_are_enough_to_ask() -> None:
    x = np.random.default_rng(0).standard_normal((8, 2))
    with pytest.warns(UserWarning, match="fewer than"):
        assert 0 < predict_accuracy(x, [0, 1] * 4, 6).accuracy <= 1
    with pytest.raises(ValueError, match="features must have at least 8 rows"):
        predict_accuracy(x[:7], [0, 1] * 3 + [0], 6)


def test_the_path_counts_directions_by_the_derivative_of_the_effective_ridge() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((40, 25)) * np.geomspace(3, 0.1, 25), rng.standard_normal((40, 1))
    lam, step = 2.0, 1e-5
    low, middle, high = (ridge_path(x, y, np.array([lam * f])) for f in (1 - step, 1, 1 + step))
    slope = (high.df1 - low.df1) / (high.kappas - low.kappas)
    assert_allclose(middle.df2, middle.df1 + middle.kappas * slope, rtol=1e-6)
    # Of eigenvalues t of S, df₂ is Σ t²/(t + κ)² where n is large: here near it.
    assert 0 < middle.df2[0] < middle.df1[0]


def test_a_row_that_is_fitted_whatever_its_label_is_not_judged() -> None:
    rng = np.random.default_rng(2)
    x = rng.standard_normal((30, 4))
    x[:, 0] = 0.0
    x[7, 0] = 5.0  # alone in its direction
    path = ridge_path(x, rng.standard_normal((30, 1)), np.array([1e-9, 1e-7, 1.0]))
    assert path.ridges.tolist() == [1.0]
    assert np.isfinite(path.residuals).all()


def test_the_best_ridge_is_that_of_n_labels_not_of_the_pilot() -> None:
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 2, 400)
    x = rng.standard_normal((400, 60))
    x[:, :10] += 2.0 * classes[:, None] / np.sqrt(10)
    # The best that the pilot can tell for 20 labels; its own best, for 400, is 2 points worse.
    single = predict_accuracy(x, classes, 20, ridge=100.0).accuracy
    assert abs(predict_accuracy(x, classes, 20).accuracy - single) < 0.015


@pytest.mark.parametrize("k", [8, 20, 40])
def test_many_classes_without_signal_are_guesses(k: int) -> None:
    found = []
    for seed in range(4):
        x = np.random.default_rng([k, seed]).standard_normal((400, 20))
        said = predict_accuracy(x, np.arange(400) % k, 400)
        found.append((said.accuracy, said.standard_error))
    accuracy, error = np.mean(found, axis=0)
    assert abs(accuracy - 1 / k) < 2 * error / np.sqrt(len(found)) + 0.01
    assert accuracy < 1 / k + 0.04


def test_classes_of_few_rows_each_are_known_by_heads_on_the_other_rows() -> None:
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((60, 20))

    def draw(count: int) -> tuple[Any, Any]:
        kind = rng.integers(60, size=count)
        return centres[kind] + rng.standard_normal((count, 20)), kind

    with pytest.warns(UserWarning, match="fewer than 5 rows"):
        said = predict_accuracy(*draw(240), 240)
    fresh = draw(4000)
    heads = [RidgeClassifierCV(np.logspace(-1, 4, 10)).fit(*draw(240)) for _ in range(4)]
    truth = np.mean([head.score(*fresh) for head in heads])
    assert abs(said.accuracy - truth) < 2 * said.standard_error
    assert said.standard_error < 0.15


def test_the_standard_error_knows_that_the_shares_of_classes_are_drawn() -> None:
    z = []
    for seed in range(30):
        rng = np.random.default_rng([9, seed])
        kind = np.where(rng.random(100) < 0.2, "rare", "common")
        said = predict_accuracy(rng.standard_normal((100, 8)), kind, 400)
        z.append((said.accuracy - 0.8) / said.standard_error)
    assert np.mean(np.abs(z) < 1.96) >= 0.8  # 95 % is asked for; this is 3.8 standard errors off


def test_groups_must_leave_others_to_judge_by() -> None:
    rng = np.random.default_rng(2)
    x = rng.standard_normal((80, 4))
    for few in (2, 3):
        with (
            pytest.warns(UserWarning, match="too few to tell"),
            pytest.raises(ValueError, match=f"groups must be at least 4, .* got {few}"),
        ):
            predict_accuracy(x, x[:, 0] > 0, 40, groups=np.arange(80) % few)


@pytest.mark.parametrize("n", [4, 6, 12])
def test_a_few_labels_are_few(n: int) -> None:
    rng = np.random.default_rng(24)

    def draw(count: int) -> tuple[Any, Any]:
        kind = rng.choice(["cat", "dog"], count)
        return rng.standard_normal((count, 8)) + 0.8 * (kind == "cat")[:, None], kind

    said = predict_accuracy(*draw(300), n)
    fresh = draw(3000)
    right: list[float] = []
    while len(right) < 150:
        x, kind = draw(n)
        if len(set(kind)) == 2:
            right.append(RidgeClassifierCV(np.logspace(-2, 5, 15)).fit(x, kind).score(*fresh))
    assert said.accuracy == pytest.approx(np.mean(right), abs=0.08)
