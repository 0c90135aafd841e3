"""Diagnosis: each finding speaks up for data made for it, and is silent on Gaussian rows."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy import stats

from hmmtheory import Population, diagnose, head_risk, optimal_ridge
from hmmtheory.practice.diagnosis import Diagnosis

FloatArray = NDArray[np.float64]
N, P = 600, 40


def gaussian(seed: int) -> FloatArray:
    return np.random.default_rng(seed).standard_normal((N, P))


def examine(features: FloatArray, n: int = 60, seed: int = 0) -> Diagnosis:
    rng = np.random.default_rng([1, seed])
    return diagnose(features, features[:, :1] + rng.standard_normal((len(features), 1)), n, rng)


def cautions(found: Diagnosis) -> set[str]:
    """Whatever fires: for every head, or for those without ridge."""
    return {f.name for f in found.findings if f.verdict != "fine"}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n", [10, 35, 39, 41, 60, 150])
def test_gaussian_rows_raise_no_caution(n: int, seed: int) -> None:
    assert cautions(examine(gaussian(seed), n, seed)) == set()


@pytest.mark.parametrize("seed", range(3))
def test_gaussian_rows_of_a_falling_spectrum_raise_no_caution(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((900, 120)) / np.arange(1, 121) ** 0.25
    for n in (20, 60, 200):
        assert cautions(examine(x, n, seed)) == set()


@pytest.mark.parametrize("seed", range(3))
def test_each_finding_names_what_was_done_to_the_rows(seed: int) -> None:
    rng, x = np.random.default_rng([2, seed]), gaussian(seed)
    assert "row scale spread" in cautions(examine(rng.lognormal(0, 0.6, (N, 1)) * x))
    doubled = np.tile(x[:300], (2, 1))
    assert {"repeated rows", "near-duplicate pairs in a draw"} <= cautions(examine(doubled))
    assert cautions(examine(np.sign(x))) == {"tied values"}
    assert "heavy tails" in cautions(examine(rng.laplace(size=(N, P)) * 1.3 ** np.arange(P)))
    many = rng.standard_normal((N, 400))
    assert cautions(examine(many)) == {"labelled rows per direction"}
    assert "effective rank" in cautions(examine(x * np.array([100.0] + [0.1] * 39)))


@pytest.mark.parametrize(("size", "count"), [(2, 10), (2, 60), (4, 150)])
def test_rows_that_nearly_determine_each_other_are_found(size: int, count: int) -> None:
    rng = np.random.default_rng(size)
    one, two, three, four = rng.standard_normal((4, count, 100))
    # Twins, or parallelograms as word vectors make them.
    corners = [(a + b) / np.sqrt(2) for a in (one, two) for b in (three, four)]
    sets = [one, one] if size == 2 else corners
    rest = rng.standard_normal((N - size * count, 100))
    x = np.concatenate([*sets, rest])
    exact = examine(x, 40)
    x += 1e-3 * rng.standard_normal((N, 100))
    n, taken = 40, np.arange(size)
    expected = 1 - np.exp(-count * float(np.prod((n - taken) / (N - taken))))
    found = examine(x, n)
    assert_allclose(found.dependent_rows, expected, rtol=0.4)
    assert "near-dependent rows in a draw" in cautions(found)
    assert ("near-duplicate pairs in a draw" in cautions(found)) == (count == 60)
    # What is exactly dependent lowers the rank instead.
    assert exact.dependent_rows == 0.0
    # Labels that outnumber the features leave no room for it.
    assert examine(x, 150).dependent_rows == 0.0


def test_directions_that_most_draws_do_not_show_are_found() -> None:
    x, rng = gaussian(0), np.random.default_rng(3)
    # Silent but for a trace on most rows: a draw without a loud row has only the trace.
    loud = rng.random(N) < 0.03
    x[:, -1] *= np.where(loud, 1.0, 1e-3)
    found = examine(x, n=60)
    # The share of draws without a loud row, without replacement.
    assert_allclose(found.dependent_rows, 0.97**60, rtol=0.6)
    assert "near-dependent rows in a draw" in cautions(found)


def test_a_column_that_few_rows_decide_is_named() -> None:
    x, rng = gaussian(0), np.random.default_rng(4)
    x[:, 7] = rng.random(N) < 0.005
    found = examine(x, n=100)
    share = x[:, 7].mean()
    assert_allclose(found.column_kurtosis, 1 / (share * (1 - share)) - 6, rtol=1e-9)
    assert "rarely active column" in cautions(found)
    x[:, 7] = rng.random(N) < 0.2
    assert cautions(examine(x, n=100)) == set()


def test_a_report_is_no_wider_than_a_page() -> None:
    report = str(examine(np.sign(gaussian(0)) * np.linspace(0.1, 5, N)[:, None]))
    assert max(map(len, report.splitlines())) <= 100
    assert report.count("CAUTION") >= 2


def test_diagnosis_is_one_set_of_numbers() -> None:
    found = examine(gaussian(0))
    assert isinstance(found.rank, int)
    values = {f.name: f.value for f in found.findings}
    assert values["labelled rows per direction"] == N / P
    assert values["heavy tails"] == found.tail_weight  # same bits: one number, told twice


def test_diagnosis_draws_one_figure_of_three_panels() -> None:
    import matplotlib.pyplot as plt

    rng = np.random.default_rng(16)
    figure = diagnose(rng.standard_normal((3000, 5)), rng.standard_normal(3000), 60, rng=0).plot()
    assert len(figure.axes) == 3
    plt.close(figure)


def test_near_duplicates_are_counted_as_pairs_in_a_draw() -> None:
    rng = np.random.default_rng(17)
    x = rng.standard_normal((400, 30))
    x[200:] = x[:200] + 1e-3 * rng.standard_normal((200, 30))
    found = diagnose(x, rng.standard_normal(400), n_samples=50)
    # 200 near pairs among 400·399/2, of which a draw of 50 holds 50·49/2.
    assert_allclose(found.near_duplicates, 200 / (400 * 399 / 2) * (50 * 49 / 2), rtol=1e-9)


def test_the_verdict_names_a_share_that_holds_four_times_in_five() -> None:
    rng = np.random.default_rng(31)
    head = rng.standard_normal(20) / 5
    truth = Population(np.eye(20), head[:, None], [[float(head @ head) + 1.0]])
    right = (1 + 1 / 60) * head_risk(truth, 59, optimal_ridge(truth, 59)).total
    held = []
    for _ in range(40):
        x = rng.standard_normal((120, 20))
        found = diagnose(x, x @ head + rng.standard_normal(120), n_samples=60, rng=0)
        assert found.trusted
        assert "Trust the prediction" in found.verdict
        held.append(abs(found.ridge_risk - right) <= found.error_share * found.ridge_risk)
    assert np.mean(held) > 0.6  # 0.8 by design, less three standard errors of 40


def test_heavy_tailed_labels_and_outlying_rows_are_not_trusted() -> None:
    rng = np.random.default_rng(32)
    x = rng.standard_normal((300, 10))
    y = x[:, 0] + rng.standard_normal(300)
    assert diagnose(x, y, rng=0).trusted
    wild = diagnose(x, y + 3 * rng.standard_t(1.5, 300), rng=0)
    assert "because of heavy-tailed labels" in wild.verdict
    sink = x.copy()
    sink[7] *= 400.0
    assert "because of outlying rows" in diagnose(sink, y, rng=0).verdict
    # In any units and from any origin of the columns.
    units = 10.0 ** rng.uniform(-6, 6, 10)
    scaled = diagnose((x + 3.0) * units, y, rng=0)
    assert scaled.outlying_rows == pytest.approx(diagnose(x, y, rng=0).outlying_rows)
    # A class of one row in fifty is no heavy tail.
    assert diagnose(x, (np.arange(300) % 50 == 0).astype(float), rng=0).label_tails == 0.0


def test_the_findings_have_values_of_their_own() -> None:
    rng = np.random.default_rng(33)
    x, y = rng.standard_normal((200, 5)), rng.standard_normal(200) ** 3
    found = diagnose(x, y, rng=0)
    assert found.label_tails == pytest.approx(stats.kurtosis(y))
    z = (x - np.median(x, axis=0)) / stats.median_abs_deviation(x)
    squares = (z**2).sum(axis=1)
    assert found.outlying_rows == pytest.approx(squares.max() / np.median(squares))


@pytest.mark.parametrize("rows", [40, 100, 400])
def test_a_row_far_out_is_seen_however_few_or_many_they_are(rows: int) -> None:
    """In standard deviations no row is farther out than the root of the number of rows."""
    rng = np.random.default_rng(rows)
    x = rng.standard_normal((rows, 30))
    y = x[:, 0] + rng.standard_normal(rows)
    ordinary = diagnose(x, y, n_samples=20, rng=0)
    assert ordinary.outlying_rows < 10
    x[3] = 100 * rng.standard_normal(30)
    one = diagnose(x, y, n_samples=20, rng=0)
    x[5], x[6] = 100 * rng.standard_normal((2, 30))
    for found in (one, diagnose(x, y, n_samples=20, rng=0)):
        assert 2_000 < found.outlying_rows < 50_000
        assert "outlying rows" in found.verdict


def test_one_column_that_is_rarely_active_makes_no_row_lie_far_out() -> None:
    rng = np.random.default_rng(34)
    x = rng.standard_normal((300, 50))
    x[:, 3] = 1e-6 * rng.standard_normal(300)
    x[5, 3] = 1.0
    found = diagnose(x, x[:, 0] + rng.standard_normal(300), rng=0)
    assert found.column_kurtosis > 100
    assert found.outlying_rows < 200
    assert found.trusted


def test_where_most_rows_are_one_the_others_do_not_lie_far_out() -> None:
    """Layer 0 of a language model: most sentences end with a full stop."""
    rng = np.random.default_rng(36)
    x = rng.standard_normal((9, 40))[np.minimum(rng.geometric(0.6, 200), 9) - 1]
    assert np.unique(x, axis=0, return_counts=True)[1].max() > 100
    found = diagnose(x, x[:, 0] + rng.standard_normal(200), rng=0)
    assert 0 < found.outlying_rows < 500
    on = (rng.random((200, 40)) < 0.1).astype(float)
    assert diagnose(on, on[:, 0] + rng.standard_normal(200), rng=0).outlying_rows < 10


def test_the_first_token_of_a_real_model_is_seen_in_a_pilot_of_any_size() -> None:
    from book.smollm2 import rated_sentences

    everything = rated_sentences()
    states, y = everything.features("last", 20), everything.ratings.mean(axis=1)
    alone = np.flatnonzero(everything.token_counts == 1)
    others = np.random.default_rng(35).permutation(np.flatnonzero(everything.token_counts > 1))
    for rows in (40, 120, 300):
        without, with_one = others[:rows], np.append(others[: rows - 1], alone[0])
        assert diagnose(states[without], y[without], 30, rng=0).outlying_rows < 20
        assert "outlying rows" in diagnose(states[with_one], y[with_one], 30, rng=0).verdict


def test_one_feature_is_enough_to_look_at() -> None:
    rng = np.random.default_rng(3)
    x = rng.standard_normal((80, 1))
    assert diagnose(x, x[:, 0] + rng.standard_normal(80), 20, rng=0).rank == 1


def test_columns_of_few_values_are_counted() -> None:
    rng = np.random.default_rng(4)
    x = rng.standard_normal((90, 4))
    x[:, 1] = rng.choice([-1.0, 0.0, 1.0], 90)
    assert diagnose(x, x[:, 0] + rng.standard_normal(90), 20, rng=0).tied_values == 1 / 4


def fired(features: FloatArray, labels: FloatArray) -> set[str]:
    found = diagnose(features, labels, 60, rng=0)
    return {f.name for f in found.findings if f.verdict == "caution"}


@pytest.mark.parametrize("seed", range(4))
def test_labels_and_residuals_are_looked_at(seed: int) -> None:
    rng = np.random.default_rng([7, seed])
    x = rng.standard_normal((300, 8))
    y = x[:, 0] + rng.standard_normal(300)
    assert fired(x, y) == set()
    assert fired(x, y + np.linspace(0, 3, 300)) == {"drift with row order"}
    assert fired(x, np.stack([y, y + 4 * (np.arange(300) > 200)], axis=1)) == {
        "drift with row order"
    }
    assert "curved residuals" in fired(x, y + x[:, 0] ** 2)
    assert "one label dominates" in fired(x, np.where(rng.random(300) < 0.7, 0.0, y))
    # Two classes as numbers have a dominant value, no tail, and a curve of their own.
    classes = (y > 0.5).astype(float)
    assert fired(x, classes) == set()
    # Rows sorted by their labels do not drift.
    for label in (y, classes):
        order = np.argsort(label)
        assert fired(x[order], label[order]) == set()
        assert fired(x[order[::-1]], label[order[::-1]]) == set()


def test_drift_is_the_correlation_with_the_order() -> None:
    rng = np.random.default_rng(8)
    x = rng.standard_normal((400, 1))
    y = x[:, 0] + np.linspace(-2, 2, 400) + 0.1 * rng.standard_normal(400)
    found = diagnose(x, y, 60, rng=0)
    # The rest is a straight line and a little noise: nearly perfect correlation.
    spread = np.linspace(-2, 2, 400).std()
    assert_allclose(found.drift, spread / np.hypot(spread, 0.1), rtol=0.01)


def test_what_harms_only_heads_without_ridge_is_told_in_one_line() -> None:
    found = examine(np.random.default_rng(9).standard_normal((N, 400)))
    assert found.without_ridge == ("labelled rows per direction",)
    assert "CAUTION" not in str(found)
    assert "Harms only heads without ridge: labelled rows per direction 1.5." in str(found)


@pytest.mark.parametrize("shape", [(60, 300, 1000), (150, 57, 50), (400, 20, 4000), (60, 5, 3)])
def test_unlabelled_rows_of_the_same_kind_raise_no_caution(shape: tuple[int, int, int]) -> None:
    n, p, m = shape
    for seed in range(5):
        rng = np.random.default_rng(seed)
        mix = np.eye(p) + rng.standard_normal((p, p)) / np.sqrt(p)
        x, more = rng.standard_normal((n, p)) @ mix, rng.standard_normal((m, p)) @ mix
        found = diagnose(x, x[:, 0] + rng.standard_normal(n), 40, rng=0, unlabelled=more)
        names = {f.name for f in found.findings if f.verdict == "caution"}
        assert not names & {"shift of unlabelled rows", "spread of unlabelled rows"}


def test_unlabelled_rows_of_another_kind_are_named_by_how_far_they_are() -> None:
    rng = np.random.default_rng(0)
    x, more = gaussian(0), rng.standard_normal((100_000, P))
    y = x[:, 0] + rng.standard_normal(N)
    plain = diagnose(x, y, 60, rng=0)
    assert plain.mean_shift is None
    assert len(plain.findings) + 2 == len(diagnose(x, y, 60, rng=0, unlabelled=more).findings)
    # Every column a standard deviation off: as far in units of the total spread.
    found = diagnose(x, y, 60, rng=0, unlabelled=more + 1.0)
    assert found.mean_shift is not None
    values = np.square(more.mean(axis=0) + 1.0 - x.mean(axis=0)).sum() / x.var(axis=0).sum()
    assert 0.8 * np.sqrt(values) < found.mean_shift < 10.0
    assert "shift of unlabelled rows" in cautions(found)
    assert "spread of unlabelled rows" not in cautions(found)
    # Twice as wide: four times the variance, less four standard errors of its logarithm.
    found = diagnose(x, y, 60, rng=0, unlabelled=2.0 * more)
    assert found.variance_ratio is not None
    length = np.square(x - x.mean(axis=0)).sum(axis=1)
    error = length.std() / length.mean() / np.sqrt(N)
    assert_allclose(found.variance_ratio, 4.0 * np.exp(-4.0 * error), rtol=0.02)
    assert "spread of unlabelled rows" in cautions(found)
    # By chunks as at once, in any unit of all columns.
    chunks = iter(np.array_split(2.0 * more + 1.0, 7))
    one, other = (
        diagnose(c * x, y, 60, rng=0, unlabelled=rows)
        for c, rows in ((1.0, chunks), (1e9, 1e9 * (2.0 * more + 1.0)))
    )
    assert_allclose(one.mean_shift, other.mean_shift, rtol=1e-9)
    assert_allclose(one.variance_ratio, other.variance_ratio, rtol=1e-9)


def test_one_unlabelled_row_can_be_far_off_but_has_no_spread() -> None:
    x = gaussian(0)
    y = x[:, 0] + np.random.default_rng(1).standard_normal(N)
    for row, fires in ((x[:1], False), (x[:1] + 50.0, True)):
        found = diagnose(x, y, 60, rng=0, unlabelled=row)
        assert ("shift of unlabelled rows" in cautions(found)) == fires
        assert found.variance_ratio == 1.0  # same bits: nothing was measured
    still = diagnose(x, y, 60, rng=0, unlabelled=np.ones((50, P)))
    assert "spread of unlabelled rows" in cautions(still)


def test_unlabelled_rows_must_have_the_same_columns() -> None:
    import pandas as pd

    x = gaussian(0)[:, :3]
    y = x[:, 0] + np.random.default_rng(1).standard_normal(N)
    table = pd.DataFrame(x, columns=list("abc"))
    with pytest.raises(ValueError, match="unlabelled must have the columns of features; missing"):
        diagnose(table, y, unlabelled=pd.DataFrame(x, columns=list("abd")))
    # In another order they are the same rows.
    found = diagnose(table, y, rng=0, unlabelled=table[list("cab")])
    assert_allclose([found.mean_shift, found.variance_ratio], [0.0, 1.0])


def test_a_label_among_the_features_is_not_to_be_trusted() -> None:
    rng, x = np.random.default_rng(5), gaussian(5)
    y = x[:, 0] + rng.standard_normal(N)
    assert diagnose(x, y, 60, rng=0).trusted
    found = diagnose(np.column_stack([x, 32 + 1.8 * y]), y, 60, rng=0)
    assert not found.trusted
    assert "features give the labels away" in found.verdict


def test_a_few_groups_are_not_to_be_trusted() -> None:
    rng, x = np.random.default_rng(6), gaussian(6)
    y = x[:, 0] + rng.standard_normal(N)
    with pytest.warns(UserWarning, match="groups are 3, as good as 3 of"):
        found = diagnose(x, y, 60, rng=0, groups=np.arange(N) % 3)
    assert not found.trusted
    assert "as good as 3 of one size" in found.verdict
    many = diagnose(x, y, 60, rng=0, groups=np.arange(N) % 40)
    assert many.trusted
    assert many.n_groups == pytest.approx(40)
    with pytest.warns(UserWarning, match="groups are 100, as good as 2 of one size"):
        giant = diagnose(x, y, 60, rng=0, groups=np.maximum(np.arange(N) - 400, 0) // 2)
    assert not giant.trusted


def test_columns_in_another_order_are_seen_in_rows_without_labels() -> None:
    rng = np.random.default_rng(13)
    scales = np.geomspace(10, 0.1, 30)
    x, more = rng.standard_normal((200, 30)) * scales, rng.standard_normal((1500, 30)) * scales
    y = x @ (1 / scales) / 5 + rng.standard_normal(200)
    assert "spread of unlabelled rows" not in cautions(diagnose(x, y, 60, 0, more))
    for other in (more[:, ::-1], more[:, rng.permutation(30)]):
        assert "spread of unlabelled rows" in cautions(diagnose(x, y, 60, 0, other))
    # Columns of one scale may be told apart by no variance.
    assert "spread of unlabelled rows" not in cautions(
        diagnose(x / scales, y, 60, 0, more / scales)
    )


@pytest.mark.parametrize("share", [0.05, 0.1, 0.2, 0.4])
def test_numbers_that_stand_for_missing_labels_are_not_trusted(share: float) -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((200, 5))
    y = x[:, 0] + rng.standard_normal(200)
    assert diagnose(x, y, rng=0).trusted
    y[rng.random(200) < share] = -999.0
    assert not diagnose(x, y, rng=0).trusted


def test_neighbours_that_share_what_the_head_misses_drift() -> None:
    rng = np.random.default_rng(2)
    x = rng.standard_normal((200, 5))
    mood = np.repeat(rng.standard_normal(20), 10)
    found = diagnose(x, x[:, 0] + mood + 0.3 * rng.standard_normal(200), rng=0)
    assert found.drift > 0.5
    assert "drift with row order" in {f.name for f in found.findings if f.verdict == "caution"}
