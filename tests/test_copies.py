"""Rows that repeat, and rows of one person, are no news of heads that have not seen them."""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.linear_model import LinearRegression, Ridge, RidgeClassifierCV, RidgeCV

from hmmtheory import (
    Moments,
    compare,
    diagnose,
    predict_accuracy,
    predict_risk,
    recommend,
    resample_risk_curve,
)
from hmmtheory.practice._path import ridge_path
from hmmtheory.practice.apart import Apart
from hmmtheory.practice.command import main
from hmmtheory.practice.copies import one_of_each, parts, places

RNG = np.random.default_rng(11)
ROWS, P, TIMES = 60, 12, 3
X = RNG.standard_normal((ROWS, P))
Y = X @ RNG.standard_normal(P) / 2 + RNG.standard_normal(ROWS)
KIND = np.where(Y > 0, "yes", "no")
SHUFFLED = RNG.permutation(TIMES * ROWS)
WHOSE = np.repeat(np.arange(ROWS), TIMES)[SHUFFLED]


def many(values: Any) -> Any:
    """Return rows three times over, in any order."""
    return values[WHOSE]


@pytest.mark.parametrize("order", ["given", "variance"])
@pytest.mark.parametrize("ridge", [0.0, 3.0, "optimal"])
def test_three_copies_of_each_row_are_a_third_of_the_labels(order: Any, ridge: Any) -> None:
    n, more = 40, {"order": order, "intercept": True}
    plain = predict_risk(X, Y, n, [2, 9], ridge, **more)
    with pytest.warns(UserWarning, match="60 different rows among 180"):
        found = predict_risk(
            many(X), many(Y), TIMES * n, [2, 9],
            ridge if isinstance(ridge, str) else TIMES * ridge, **more,
        )  # fmt: skip
    # A head on three equal labels of each row, and three times the ridge, is the head on one.
    assert_allclose(found.risk, plain.risk, rtol=1e-7)
    assert found.n_samples == TIMES * n
    if ridge == "optimal":
        assert plain.ridges is not None
        assert found.ridges is not None
        assert_allclose(found.ridges, TIMES * plain.ridges, rtol=1e-5)
    else:
        assert found.ridge == pytest.approx(TIMES * ridge)


def test_raters_of_one_row_scatter_about_its_mean() -> None:
    noise = RNG.standard_normal((ROWS, TIMES))
    noise -= noise.mean(axis=1, keepdims=True)
    y = (Y[:, None] + noise).ravel()[SHUFFLED]
    with pytest.warns(UserWarning, match="labels of equal rows are averaged"):
        found = predict_risk(many(X), y, TIMES * 40, [9], "optimal").risk[0]
    # Fresh single labels differ from the means by this much of their variance.
    extra = noise.var(axis=1, ddof=1).mean() * (1 - 1 / TIMES)
    assert found == pytest.approx(predict_risk(X, Y, 40, [9], "optimal").risk[0] + extra)


def test_classes_of_copies_are_those_of_different_rows() -> None:
    plain = predict_accuracy(X, KIND, 40)
    with pytest.warns(UserWarning, match="one of equal rows is kept"):
        found = predict_accuracy(X[np.sort(WHOSE)], KIND[np.sort(WHOSE)], TIMES * 40)
    assert found.accuracy == pytest.approx(plain.accuracy, abs=1e-12)
    assert found.baseline == plain.baseline
    # What leave-one-out without this would say: rows whose copies stay in are known.
    seen = RidgeClassifierCV(np.logspace(-3, 3, 9)).fit(many(X), many(KIND))
    assert seen.score(many(X), many(KIND)) > plain.accuracy + 0.05
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        needed = recommend(many(X), many(KIND), 120, rng=0, target_accuracy=0.75)
    assert needed.labels_needed is not None
    alone = recommend(X, KIND, 40, rng=0, target_accuracy=0.75).labels_needed
    assert alone is not None
    assert 0.8 < needed.labels_needed / (TIMES * alone) < 1.25


def test_rows_that_repeat_in_all_representations_are_copies() -> None:
    views = {"all": X, "half": X[:, :6]}
    plain = compare(views, Y, 40)
    with pytest.warns(UserWarning, match="features hold 60 different rows among 180"):
        found = compare({k: many(v) for k, v in views.items()}, many(Y), TIMES * 40)
    assert_allclose(found.risk, plain.risk, rtol=1e-9)
    # The rows stand in another order, and other parts of them are left out in turn.
    assert_allclose(found.standard_error, plain.standard_error, rtol=0.4)
    assert found.baseline == pytest.approx(plain.baseline)
    # Two raters a text, and a first layer that tells but 20 texts apart: those are no copies.
    coarse = np.repeat(X[:20], 3, axis=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compare({"all": X, "coarse": coarse}, Y, 40)
        kinds = compare({"all": X, "coarse": coarse}, KIND, 40)
    assert kinds.accuracy is not None
    assert kinds.accuracy[0] == predict_accuracy(X, KIND, 40).accuracy  # same bits: one call


def test_heads_are_judged_on_rows_whose_like_they_have_not_seen() -> None:
    n = 60
    measured = resample_risk_curve(many(X), many(Y), n, [9], n_trials=400, rng=0)
    # By hand: 20 rows, three times each, against the 40 others.
    rng, risks = np.random.default_rng(1), []
    for _ in range(400):
        rows = rng.permutation(ROWS)
        head = LinearRegression().fit(X[rows[:20], :9], Y[rows[:20]])
        risks.append(np.square(Y[rows[20:]] - head.predict(X[rows[20:], :9])).mean())
    error = np.hypot(measured.standard_error[0], np.std(risks) / 20)
    assert abs(measured.risk[0] - np.mean(risks)) < 4 * error
    seen = resample_risk_curve(
        many(X), many(Y), n, [9], n_trials=400, rng=0, groups=np.arange(TIMES * ROWS)
    )
    assert seen.risk[0] < measured.risk[0] - 5 * error
    with pytest.raises(ValueError, match=r"n_samples must be .* 177"):
        resample_risk_curve(many(X), many(Y), 178, [9])


def test_groups_are_drawn_as_a_whole() -> None:
    person = np.repeat(np.arange(20), 3)
    mood = np.random.default_rng(3).standard_normal(20)[person]
    x = np.column_stack([X[:, 0], np.eye(20)[person]])
    y = X[:, 0] + 3 * mood
    apart = resample_risk_curve(x, y, 30, [21], 300, 1.0, rng=0, groups=person).risk[0]
    mixed = resample_risk_curve(x, y, 30, [21], 300, 1.0, rng=0).risk[0]
    # Who knows the person's other labels knows the mood.
    assert apart > 1.5 * mixed
    assert apart > 0.8 * (9 * mood.var())
    alone = resample_risk_curve(x, y, 30, [1], 50, rng=0, groups=np.arange(60))
    assert alone.risk[0] == pytest.approx(
        resample_risk_curve(x, y, 30, [1], 50, rng=5).risk[0], rel=0.2
    )


def people(rng: np.random.Generator, count: int, alike: float, mood: float) -> Any:
    """Return six rows of each person, alike so far, with a mood that no feature shows."""
    who = np.repeat(np.arange(count), 6)
    own, row = rng.standard_normal((count, 8))[who], rng.standard_normal((6 * count, 8))
    x = np.sqrt(alike) * own + np.sqrt(1 - alike) * row
    noise = mood * rng.standard_normal(count)[who] + 0.5 * rng.standard_normal(6 * count)
    return x, x[:, 0] - x[:, 1] + noise, who


@pytest.mark.parametrize(("alike", "mood"), [(0.0, 0.0), (0.5, 1.0), (0.9, 1.0)])
def test_heads_meet_people_they_have_not_seen(alike: float, mood: float) -> None:
    n = 120
    said: dict[str, list[float]] = {
        "predict": [],
        "recommend": [],
        "accuracy": [],
        "compare": [],
        "rows": [],
    }
    truth, right, errors, verdict = [], [], [], None
    for seed in range(10):
        rng = np.random.default_rng(seed)
        x, y, who = people(rng, 30, alike, mood)
        said["predict"].append(predict_risk(x, y, n, [8], "optimal", groups=who).risk[0])
        if seed < 4:
            advice = recommend(x, y, n, sizes=[8], groups=who, rng=0)
            said["recommend"].append(advice.risk)
            errors.append(advice.standard_error)
            verdict = diagnose(x, y, n, rng=0, groups=who) if seed == 3 else verdict
        said["compare"].append(compare({"x": x, "few": x[:, :1]}, y, n, groups=who).risk[0])
        said["rows"].append(predict_risk(x, y, n, [8], "optimal").risk[0])
        said["accuracy"].append(predict_accuracy(x, y > 0, n, groups=who).accuracy)
        fresh, told, _ = people(rng, 600, alike, mood)
        for _ in range(4):
            a, b, _ = people(rng, n // 6, alike, mood)
            truth.append(
                np.square(told - RidgeCV(np.logspace(0, 3, 7)).fit(a, b).predict(fresh)).mean()
            )
            kinds = RidgeClassifierCV(np.logspace(0, 3, 7)).fit(a, b > 0)
            right.append(kinds.score(fresh, told > 0))
    assert said["predict"][:4] == pytest.approx(said["recommend"])
    spread = np.std(said["predict"]) / 10**0.5
    for way in ("predict", "compare"):
        assert abs(np.mean(said[way]) - np.mean(truth)) < 3 * spread + 0.1 * np.mean(truth)
    assert abs(np.mean(said["accuracy"]) - np.mean(right)) < 0.04
    assert verdict is not None
    assert (verdict.ridge_risk, verdict.ridge_error) == pytest.approx(
        (advice.risk, advice.standard_error), rel=0.6
    )
    assert verdict.ridge_risk == pytest.approx(advice.risk)
    assert 0.5 < np.mean(errors) / np.std(said["predict"]) < 2.5
    # What the rows say of themselves is far from it where people's rows are alike.
    if mood:
        assert np.mean(said["rows"]) < 0.9 * np.mean(truth)
    else:
        assert said["rows"] == pytest.approx(said["predict"], rel=0.1)


def test_rows_left_out_by_group_are_those_of_real_refits() -> None:
    x, y, who = people(np.random.default_rng(1), 12, 0.5, 1.0)
    shuffled = np.random.default_rng(2).permutation(72)
    x, y, who = x[shuffled], y[shuffled, None], who[shuffled]
    path = ridge_path(x, y, np.array([0.3, 20.0]), owner=who)
    for penalty, residuals in zip(path.ridges, path.residuals, strict=True):
        for person in range(12):
            mine = who == person
            # One mean of all rows: centred as the path is, with the intercept refitted.
            head = Ridge(penalty).fit(x[~mine], y[~mine])
            expected = y[mine] - head.predict(x[mine]).reshape(-1, 1)
            assert_allclose(residuals[mine], expected, rtol=1e-9, atol=1e-10)


def test_units_mean_nothing_to_strangers_without_ridge() -> None:
    x, y, who = people(np.random.default_rng(5), 20, 0.6, 1.0)
    plain = predict_risk(x, y, 60, [8], groups=who).risk
    assert plain[0] > 1.05 * predict_risk(x, y, 60, [8]).risk[0]
    mixing = np.random.default_rng(6).standard_normal((8, 8))
    for other in (x * np.where(np.arange(8) == 2, 1e7, 1.0), x @ mixing, x + 1e4):
        assert_allclose(predict_risk(other, y, 60, [8], groups=who).risk, plain, rtol=1e-6)


@pytest.mark.parametrize("ridge", [0.0, 1e-9, "optimal"])
def test_people_who_have_a_column_each(ridge: Any) -> None:
    x, y, who = people(np.random.default_rng(8), 12, 0.2, 1.0)
    known = np.column_stack([x, np.eye(12)[who]])
    # Left out, a person's own column says nothing: no fit without ridge knows it.
    path = ridge_path(known, y[:, None], np.array([0.0, 5.0]), owner=who)
    assert path.ridges.tolist() == [5.0]  # as given
    assert predict_risk(known, y, 50, [20], ridge, groups=who).risk[0] > 0
    assert 0.3 < predict_accuracy(known, y > 0, 50, ridge, groups=who).accuracy < 1


def test_what_is_noise_to_strangers_leaves_the_labels_variance() -> None:
    x, y, who = people(np.random.default_rng(3), 30, 0.8, 1.0)
    found = Moments.from_samples(x, y[:, None], None, "elliptical")
    apart = Apart.of(x, y[:, None], who)
    other = apart.moments(found, 180)
    total = [m.parts(50, np.inf, intercept=True).sum() for m in (found, other)]
    assert total[0] == pytest.approx(total[1])
    best = [m.parts(180, m.optimal_ridge(180, intercept=True), intercept=True).sum()
            for m in (found, other)]  # fmt: skip
    assert best[1] / best[0] == pytest.approx(apart.factor(), rel=0.1)
    assert apart.factor() > 1.2
    assert Apart.of(x, y[:, None], np.zeros(180)).moments(found, 180) is found
    assert Apart.of(x, y[:, None], np.arange(180)).moments(found, 180) is found


def test_features_that_tell_nothing_tell_nothing_of_people() -> None:
    who = np.repeat(np.arange(20), 3)
    for flat in (np.ones((ROWS, 2)), np.column_stack([np.ones(ROWS), np.zeros(ROWS)])):
        assert Apart.of(flat, Y[:, None], who).harder == 1.0
        found = predict_risk(flat, Y, 40, [2], "optimal", groups=who).risk[0]
        assert found == pytest.approx(Y.var(ddof=1) * (1 + 1 / 40))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            head = recommend(flat, Y, 40, groups=who, rng=0)
        assert head.risk == pytest.approx(found)
        assert_allclose(head.estimator.predict(flat), Y.mean())


def test_people_s_rows_err_together() -> None:
    rng = np.random.default_rng(7)
    ratios = []
    for _ in range(12):
        person = np.repeat(np.arange(20), 9)
        kind = rng.random(20) < 0.5
        x = rng.standard_normal((20, 4))[person] + 0.1 * rng.standard_normal((180, 4))
        labels = np.where(kind[person], "a", "b")
        alone = predict_accuracy(x, labels, 100).standard_error
        ratios.append(predict_accuracy(x, labels, 100, groups=person).standard_error / alone)
    assert np.median(ratios) > 1.3
    with pytest.raises(ValueError, match="groups must be two at least"):
        predict_accuracy(X, KIND, 40, groups=np.zeros(ROWS))


def test_each_group_is_left_out_once() -> None:
    owner = RNG.integers(0, 7, 50)
    for count in (2, 3, 20):
        left = parts(owner, count, np.random.default_rng(0))
        assert sorted(np.concatenate(left).tolist()) == list(range(50))
        assert all(np.isin(owner, owner[rows]).sum() == rows.size < 50 for rows in left)
    assert parts(np.zeros(5), 4, np.random.default_rng(0)) == []


def test_the_copy_that_is_kept_is_drawn() -> None:
    place = np.repeat(np.arange(300), 2)
    kept = one_of_each(place, 600)
    assert (place[kept] == np.arange(300)).all()
    assert 100 < (kept % 2).sum() < 200
    assert places(X) is None
    found = places(many(X))
    assert found is not None
    assert np.unique(found).size == ROWS
    # 5 copies among 60 rows are left as they are; minus zero is zero.
    assert places(np.vstack([X, X[:5]])) is None
    zeros = np.vstack([X, X])
    zeros[0, 0], zeros[ROWS, 0] = 0.0, -0.0
    found = places(zeros)
    assert found is not None
    assert found[0] == found[ROWS]


@pytest.mark.parametrize("jitter", [1e-9, 1e-4, 1e-2])
def test_rows_that_are_nearly_equal_are_copies(jitter: float) -> None:
    near = many(X) + jitter * np.random.default_rng(2).standard_normal((TIMES * ROWS, P))
    with pytest.warns(UserWarning, match="60 different rows among 180"):
        found = recommend(near, many(Y), TIMES * 40, rng=0)
    assert found.risk == pytest.approx(recommend(X, Y, 40, rng=0).risk, rel=10 * jitter + 1e-6)
    assert diagnose(near, many(Y), 120, rng=0).repeated_rows == 1.0
    # In other units, shifted, with columns that do not vary.
    other = np.column_stack([near * np.logspace(-9, 9, P) + 5.0 * np.logspace(-9, 9, P), X[:1, 0]
                             * np.ones(TIMES * ROWS)])  # fmt: skip
    assert jitter < 1e-6 or (np.bincount(places(other)) == TIMES).all()


@pytest.mark.parametrize("jitter", [1e-8, 1e-5, 1e-3])
@pytest.mark.parametrize(("texts", "times"), [(4, 100), (5, 12), (10, 40), (20, 20), (36, 11)])
def test_near_copies_may_be_many(texts: int, times: int, jitter: float) -> None:
    rng = np.random.default_rng([texts, times])
    which = rng.permutation(np.repeat(np.arange(texts), times))
    x = rng.standard_normal((texts, 30))[which]
    found = places(x + jitter * rng.standard_normal(x.shape))
    assert found is not None
    assert len(set(zip(which.tolist(), found.tolist(), strict=True))) == texts == found.max() + 1


def test_twenty_near_copies_of_each_are_twenty_times_fewer_rows() -> None:
    rng = np.random.default_rng(0)
    which = np.repeat(np.arange(40), 20)
    x, own = rng.standard_normal((40, 6)), rng.standard_normal(40)
    y = x @ np.ones(6) + own
    near = x[which] + 1e-3 * rng.standard_normal((800, 6))
    with pytest.warns(UserWarning, match="40 different rows among 800"):
        found = recommend(near, y[which], 800, rng=0)
    assert found.risk == pytest.approx(recommend(x, y, 40, rng=0).risk, rel=0.02)
    kind = np.where(y > 0, "yes", "no")
    with pytest.warns(UserWarning, match="40 different rows among 800"):
        said = predict_accuracy(near, kind[which], 800).accuracy
    assert said == pytest.approx(predict_accuracy(x, kind, 40).accuracy, abs=0.02)


def test_rows_that_come_again_are_no_copies() -> None:
    # The last tokens of sentences: few are frequent, and fresh sentences end in them, too.
    rng = np.random.default_rng(4)
    tokens, chances = rng.standard_normal((3000, 6)), 1.0 / np.arange(1, 3001)
    signal = tokens @ rng.standard_normal(6)

    def draw(count: int) -> tuple[Any, Any]:
        which = rng.choice(3000, count, p=chances / chances.sum())
        return tokens[which], signal[which] + 2 * rng.standard_normal(count)

    x, y = draw(400)
    assert np.unique(x, axis=0).shape[0] < 300
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        said = predict_risk(x, y, 60, [6]).risk[0]
    fresh, told = draw(20_000)
    heads = (LinearRegression().fit(*draw(60)) for _ in range(300))
    truth = np.mean([np.square(told - head.predict(fresh)).mean() for head in heads])
    assert said == pytest.approx(truth, rel=0.2)
    # Between one and three raters of each text are copies all the same.
    times = rng.integers(1, 4, ROWS)
    assert places(np.repeat(X, times, axis=0)) is not None


@pytest.mark.parametrize("p", [1, 2, 3, 10, 300])
@pytest.mark.parametrize("rows", [24, 60, 400, 1500])
def test_rows_that_are_near_by_chance_are_none(rows: int, p: int) -> None:
    rng = np.random.default_rng([rows, p])
    x = rng.standard_normal((rows, p))
    scales = rng.exponential(size=(rows, 1))
    clusters = np.repeat(rng.standard_normal((rows // 6, p)), 6, axis=0)
    for some in (
        x,
        scales * x,
        rng.standard_t(2, (rows, p)),
        np.cumsum(x, axis=0),
        rng.integers(0, 1000, (rows, p)).astype(float),
        rng.integers(0, 2, (rows, p)).astype(float),
        np.exp(3 * x),
        clusters + 0.2 * rng.standard_normal(clusters.shape) if p > 3 else x,
    ):
        assert places(some) is None


def test_groups_from_the_shell(tmp_path: Path, capsys: Any) -> None:
    person = np.repeat(np.arange(20), 3)
    names = np.array([f"p{k:02}" for k in person])
    np.save(tmp_path / "x.npy", X)
    pd.DataFrame({"y": Y, "who": names}).to_csv(tmp_path / "y.csv", index=False)
    pd.DataFrame({"kind": KIND, "who": names}).to_csv(tmp_path / "k.csv", index=False)
    table = pd.DataFrame(X, columns=[f"f{k}" for k in range(P)]).assign(kind=KIND, who=person)
    table.to_csv(tmp_path / "t.csv", index=False)

    def said(*words: Any) -> Any:
        status = main([str(word) for word in words] + ["--labels", "40", "--json"])
        out = capsys.readouterr()
        assert status in (0, 1), out.err
        return json.loads(out.out)["result"]

    files = [tmp_path / "x.npy", tmp_path / "y.csv", "--groups", "who"]
    expected = recommend(X, Y, 40, rng=0, groups=person)
    assert said("recommend", *files)["standard_error"] == pytest.approx(expected.standard_error)
    assert expected.standard_error != recommend(X, Y, 40, rng=0).standard_error
    kinds = predict_accuracy(X, KIND, 40, groups=person)
    ways: list[Any] = [
        [tmp_path / "x.npy", tmp_path / "k.csv", "--groups", "who"],
        [tmp_path / "t.csv", "--label", "kind", "--groups", "who"],
    ]
    for words in ways:
        found = said("predict", *words)
        assert found["standard_error"] == pytest.approx(kinds.standard_error, rel=1e-6)
    np.save(tmp_path / "few.npy", X[:, :3])
    views: list[Any] = [f"all={tmp_path / 'x.npy'}", f"few={tmp_path / 'few.npy'}", *files[1:]]
    trusted = diagnose(X, Y, 40, rng=0, groups=person).verdict
    assert said("diagnose", *files)["verdict"] == trusted
    paired = compare({"all": X, "few": X[:, :3]}, Y, 40, groups=person)
    assert_allclose(said("compare", *views)["standard_error"], paired.standard_error, rtol=1e-9)
    said("report", *files, "--html", tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert f"± {expected.standard_error:.2g}" in page
    curve = predict_risk(X, Y, 40, [0, P], "optimal", groups=person)
    assert_allclose(said("predict", *files, "--sizes", 0, P)["risk"], curve.risk, rtol=1e-9)
