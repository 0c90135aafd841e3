"""Which frozen features: against truth by trained heads, and errors that pair."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy import stats

from hmmtheory import Population, compare, head_risk, optimal_ridge, predict_accuracy
from hmmtheory.practice.compare import Comparison

P = 30
HEAD = 0.5 / np.sqrt(np.arange(1, P + 1))


def draw(rows: int, seed: int) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.float64]]:
    """Three views of the same state: noise-free but short, noisy and whole, and pure noise."""
    rng = np.random.default_rng(seed)
    state = rng.standard_normal((rows, P))
    label = state @ HEAD + 0.5 * rng.standard_normal(rows)
    views = {
        "short": state[:, :6],
        "noisy": state + 0.5 * rng.standard_normal((rows, P)),
        "noise": rng.standard_normal((rows, 5)),
    }
    return views, label


def truth(name: str, n: int) -> float:
    total = HEAD @ HEAD + 0.25
    if name == "noise":
        return float(total * (1 + 1 / n))
    gain, size = (1.0, 6) if name == "short" else (1.0 + 0.25, P)
    cross = HEAD[:size, None]
    population = Population(gain * np.eye(size), cross, [[total]])
    ridge = optimal_ridge(population, n - 1)
    return float((1 + 1 / n) * head_risk(population, n - 1, ridge).total)


def test_the_crossing_is_seen_from_one_pilot() -> None:
    few, many = 20, 2000
    assert truth("short", few) < truth("noisy", few)
    assert truth("noisy", many) < truth("short", many)
    views, label = draw(400, 1)
    assert compare(views, label, few).best == "short"
    found = compare(views, label, many)
    assert found.best == "noisy"
    assert found.chance_best[1] > 0.9
    assert found.to_frame().index[0] == "noisy"
    for name, risk in zip(found.names, found.risk, strict=True):
        assert abs(risk / truth(name, many) - 1) < 0.25


@pytest.mark.parametrize("n", [50, 600])
def test_differences_have_errors_that_cover(n: int) -> None:
    right = truth("short", n) - truth("noisy", n)
    found = [compare(*draw(150, 100 + k), n) for k in range(60)]
    scores = np.array([(f.difference[0, 1] - right) / f.difference_error[0, 1] for f in found])
    assert (np.abs(scores) < 1.96).mean() > 0.8
    # Less than the two risks' own errors would give.
    alone = np.array([np.hypot(*f.standard_error[:2]) for f in found])
    assert np.mean([f.difference_error[0, 1] for f in found]) < alone.mean()


def test_equal_features_do_not_differ_and_units_do_not_matter() -> None:
    views, label = draw(120, 3)
    x = views["noisy"]
    twins = compare({"a": x, "b": x.copy(), "c": x[:, ::-1]}, label, 200)
    assert_allclose(twins.difference, 0.0, atol=1e-9 * twins.risk[0])
    assert_allclose(twins.difference_error, 0.0, atol=1e-6 * twins.risk[0])
    plain = compare(views, label, 200)
    units = compare({k: 1e6 * v + 3e6 for k, v in views.items()}, label * 1e-3, 200)
    assert_allclose(units.risk, 1e-6 * plain.risk, rtol=1e-6)
    assert_allclose(units.chance_best, plain.chance_best, atol=0.02)


def test_groups_widen_the_errors() -> None:
    views, label = draw(60, 4)
    four = {k: np.repeat(v, 4, axis=0) for k, v in views.items()}
    jitter = np.random.default_rng(5).standard_normal
    four = {k: v + 0.1 * v.std(axis=0) * jitter(v.shape) for k, v in four.items()}
    people = np.repeat(np.arange(60), 4)
    alone = compare(four, np.repeat(label, 4), 200)
    together = compare(four, np.repeat(label, 4), 200, groups=people)
    assert (together.standard_error > 1.3 * alone.standard_error).all()
    # A jackknife of twenty parts knows an error to a sixth.
    assert np.mean(together.standard_error / alone.standard_error) > 1.6


def test_it_prints_and_plots() -> None:
    views, label = draw(120, 6)
    found = compare(views, label, 200)
    assert isinstance(found, Comparison)
    assert "Heads of 200 labels" in str(found)
    assert found.plot().get_xlabel() == "risk over the best, 200 labels"
    assert found.chance_best.sum() == pytest.approx(1.0)
    same = compare(views, label, 200)
    assert same.chance_best.tolist() == found.chance_best.tolist()  # same bits: one call, twice
    first = stats.rankdata(found.risk)
    assert found.names[int(first.argmin())] == found.best


def test_what_cannot_be_compared_is_refused() -> None:
    views, label = draw(40, 7)
    with pytest.raises(ValueError, match="at least two names"):
        compare({"short": views["short"]}, label, 20)
    with pytest.raises(ValueError, match="same rows; got shapes a"):
        compare({"a": views["short"], "b": views["short"][:30]}, label, 20)
    with pytest.raises(ValueError, match=r"representations\['b'\]: features"):
        compare({"a": views["short"], "b": np.full((40, 2), np.nan)}, label, 20)


@pytest.mark.parametrize("n", [5, 40, 400])
def test_features_that_stand_still_cost_what_guessing_the_mean_does(n: int) -> None:
    views, label = draw(50, 4)
    found = compare({"still": np.full((50, 3), 5.0), "short": views["short"]}, label, n)
    # The mean of n labels misses a new one by its variance and a share of 1/n.
    assert found.baseline == pytest.approx(label.var(ddof=1) * (1 + 1 / n), rel=1e-12)
    assert found.risk[0] == pytest.approx(found.baseline, rel=1e-9)


def test_classes_are_compared_by_squares_of_ones_and_zeros_and_have_an_accuracy() -> None:
    views, label = draw(300, 77)
    kinds = np.array(["a", "b"])[(label > 0.2).astype(int)]
    found = compare(views, kinds, 100)
    ones = np.column_stack([kinds == "a", kinds == "b"]).astype(float)
    plain = compare(views, ones, 100)
    assert_allclose(found.risk, plain.risk, rtol=1e-12)
    assert plain.accuracy is None
    expected = [predict_accuracy(x, kinds, 100).accuracy for x in views.values()]
    assert_allclose(found.accuracy, expected, rtol=1e-12)
    assert list(found.to_frame().columns[-2:]) == ["accuracy", "accuracy_error"]
    assert "accuracy" in str(found)
    # Whole numbers are classes only where that is said; booleans always are.
    codes = (label > 0.2).astype(int)
    with pytest.warns(UserWarning, match="whole numbers of 2 different values"):
        assert compare(views, codes, 100).accuracy is None
    assert_allclose(compare(views, codes, 100, classes=True).accuracy, expected, rtol=1e-12)
    assert_allclose(compare(views, label > 0.2, 100).accuracy, expected, rtol=1e-12)
    with pytest.raises(ValueError, match="classes must be True or False"):
        compare(views, codes, 100, classes="yes")  # type: ignore[arg-type]


def test_where_no_feature_helps_the_risk_is_that_of_the_mean_without_the_row() -> None:
    rng = np.random.default_rng(78)
    y = rng.standard_normal(9)
    found = compare({k: rng.standard_normal((9, 1)) for k in "abc"}, y, 8)
    alone = np.mean([(y[k] - np.delete(y, k).mean()) ** 2 for k in range(9)])
    assert (found.risk <= alone * (1 + 1e-9)).all()
    still = compare({"a": np.zeros((9, 1)), "b": np.zeros((9, 1))}, y, 8)
    assert_allclose(still.risk, alone, rtol=1e-9)


@pytest.mark.parametrize(("rows", "n"), [(100, 100), (60, 10_000)])
def test_layers_that_tell_nothing_are_equally_good(rows: int, n: int) -> None:
    sure, far = [], []
    for seed in range(20):
        rng = np.random.default_rng([rows, seed])
        views = {name: rng.standard_normal((rows, 15)) for name in "ab"}
        found = compare(views, rng.standard_normal(rows), n)
        sure.append(found.chance_best[0])
        far.append(abs(found.difference[0, 1]) > 3 * found.difference_error[0, 1] + 1e-12)
    assert np.mean((np.array(sure) < 0.02) | (np.array(sure) > 0.98)) < 0.15
    assert np.mean(far) < 0.1
    same = compare({"a": views["a"], "b": views["a"].copy()}, rng.standard_normal(rows), n)
    assert same.chance_best.tolist() == [0.5, 0.5]


def test_the_error_of_a_difference_holds_for_many_more_labels() -> None:
    # Two layers that are equally good by symmetry: an interval that ignores how far n is fails.
    held = []
    for seed in range(40):
        rng = np.random.default_rng([3, seed])
        a, b = rng.standard_normal((2, 60, 12))
        y = (a[:, :6].sum(axis=1) + b[:, :6].sum(axis=1)) / 12**0.5 + rng.standard_normal(60)
        found = compare({"a": a, "b": b}, y, 1000)
        held.append(abs(found.difference[0, 1]) < 1.645 * found.difference_error[0, 1])
    assert np.mean(held) > 0.78  # 90 % is asked for; this is 2.5 standard errors off


def test_too_small_a_pilot_for_a_wide_layer_is_said() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 100))
    y = x @ rng.standard_normal(100) / 10
    with pytest.warns(UserWarning, match="60 rows can't judge all directions of 'wide'"):
        compare({"wide": x, "narrow": x[:, :5]}, y, 2000)
