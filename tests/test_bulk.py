"""Rows without labels that are read in one pass say what all of them at once would."""

import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from hmmtheory import Moments, Population, predict_risk, recommend
from hmmtheory import _bulk as bulk

RNG = np.random.default_rng(0)
MIX = RNG.standard_normal((6, 6))
X = RNG.standard_normal((50, 6)) @ MIX + 3.0
MORE = (RNG.standard_normal((1003, 6)) @ MIX + 3.0).astype(np.float32).astype(float)
Y = X[:, :2] + RNG.standard_normal((50, 2))
NAMES = list("abcdef")


def pieces(rows: Any = MORE, step: int = 100) -> Iterator[Any]:
    return (rows[k : k + step] for k in range(0, len(rows), step))


def ways(folder: Path) -> dict[str, Any]:
    np.save(folder / "more.npy", MORE.astype(np.float32))
    frame = pd.DataFrame(MORE, columns=NAMES)
    frame.to_parquet(folder / "more.parquet", row_group_size=100)
    found = {
        "generator": pieces(),
        "one row at a time": pieces(step=1),
        "path of .npy": folder / "more.npy",
        "path of .parquet": str(folder / "more.parquet"),
    }
    try:
        import dask.array
    except ImportError:
        return found
    return {**found, "dask": dask.array.from_array(MORE, chunks=(100, 4))}


@pytest.mark.parametrize("order", ["given", "random", "variance"])
def test_every_way_to_pass_them_gives_the_same_numbers(order: str, tmp_path: Path) -> None:
    whole = predict_risk(X, Y, 30, [0, 3, 6], 0.5, order=order, unlabelled=MORE, rng=1).risk
    for name, rows in ways(tmp_path).items():
        found = predict_risk(X, Y, 30, [0, 3, 6], 0.5, order=order, unlabelled=rows, rng=1).risk
        assert_allclose(found, whole, rtol=1e-10, err_msg=name)
    assert (
        abs(whole / predict_risk(X, Y, 30, [0, 3, 6], 0.5, order=order, rng=1).risk - 1).max()
        > 1e-3
    )


def test_moments_from_chunks_are_those_of_all_rows(tmp_path: Path) -> None:
    whole = Moments.from_samples(X, Y, MORE)
    for rows in (*ways(tmp_path).values(), list(pieces()), MORE):
        found = Moments.from_chunks(X, Y, rows)
        assert_allclose(found.eigenvalues, whole.eigenvalues, rtol=1e-10)
        assert_allclose(found.risk(40, 0.1).total, whole.risk(40, 0.1).total, rtol=1e-10)
    found = Moments.from_chunks(X, Y, list(pieces()), progress=True)
    assert_allclose(found.eigenvalues, whole.eigenvalues, rtol=1e-10)


def test_the_population_and_the_advice_take_them_too(tmp_path: Path) -> None:
    one = Population.from_samples(X, Y, pieces())
    other = Population.from_samples(X, Y, MORE)
    assert_allclose(one.feature_covariance, other.feature_covariance, rtol=1e-10)
    for order in ("given", "variance"):
        chosen = [recommend(X, Y, 40, order=order, unlabelled=rows) for rows in (MORE, pieces())]
        assert_allclose(chosen[0].risk, chosen[1].risk, rtol=1e-9)
        one_head, other_head = (head.estimator.predict(X) for head in chosen)
        assert_allclose(one_head, other_head, rtol=1e-5)


def test_units_columns_that_stand_still_and_a_far_origin(tmp_path: Path) -> None:
    units = 10.0 ** np.array([-9, 9, 0, 3, -3, 0])
    one = predict_risk(X * units, Y, 30, [6], unlabelled=pieces(MORE * units)).risk
    assert_allclose(one, predict_risk(X, Y, 30, [6], unlabelled=MORE).risk, rtol=1e-8)
    still, more = (np.column_stack([rows, np.full(len(rows), 0.1)]) for rows in (X, MORE))
    one = predict_risk(still, Y, 30, [7], unlabelled=pieces(more)).risk
    assert_allclose(one, predict_risk(X, Y, 30, [6], unlabelled=MORE).risk, rtol=1e-9)
    far = predict_risk(X + 1e6, Y, 30, [6], unlabelled=pieces(MORE + 1e6)).risk
    assert_allclose(far, predict_risk(X, Y, 30, [6], unlabelled=MORE).risk, rtol=1e-6)


def test_names_are_matched_in_every_chunk() -> None:
    table = pd.DataFrame(X, columns=NAMES)
    turned = pd.DataFrame(MORE, columns=NAMES)[NAMES[::-1]]
    one = predict_risk(table, Y, 30, [3], unlabelled=pieces(turned)).risk
    assert_allclose(one, predict_risk(X, Y, 30, [3], unlabelled=MORE).risk, rtol=1e-10)
    with pytest.raises(ValueError, match="unlabelled must have the columns of features"):
        predict_risk(table, Y, 30, [3], unlabelled=pieces(turned.rename(columns={"a": "z"})))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (iter([]), "at least one row"),
        (iter([np.empty((0, 6))]), "at least one row"),
        (iter([MORE, MORE[:, :3]]), "unlabelled must have shape"),
        (iter([MORE, np.full((2, 6), np.nan)]), "unlabelled must be finite"),
        ("rows.txt", "path of a .npy or .parquet"),
    ],
)
def test_what_is_no_chunk_is_refused(rows: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        predict_risk(X, Y, 30, [3], unlabelled=rows)
    with pytest.raises(ValueError, match="chunks must be an iterable"):
        Moments.from_chunks(X, Y, 5)


def test_a_memory_map_needs_the_memory_of_a_chunk(tmp_path: Path) -> None:
    rows, width = 80_000, 300  # 96 MB of float32, 192 MB of float64
    file = np.lib.format.open_memmap(
        tmp_path / "rows.npy", mode="w+", dtype=np.float32, shape=(rows, width)
    )
    for part in np.array_split(np.arange(rows), 20):
        file[part] = RNG.standard_normal((part.size, width))
    file.flush()
    x = RNG.standard_normal((60, width))
    y = x[:, 0] + RNG.standard_normal(60)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    assert mapped.size > bulk._HELD
    tracemalloc.start()
    found = bulk.as_bulk(mapped, x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 96e6
    assert isinstance(found, bulk.Bulk)
    assert len(found) == rows
    scatter = found.root.T @ found.root / (rows - 1)
    assert_allclose(scatter, np.cov(np.asarray(mapped, dtype=float).T), atol=1e-12)
    assert predict_risk(x, y, 40, [width], "optimal", unlabelled=found).risk[0] < 2.5


def test_an_empty_block_of_dask_is_no_row() -> None:
    array = pytest.importorskip("dask.array")
    rows = array.concatenate([array.zeros((0, 6), chunks=(1, 6)), array.from_array(MORE)])
    found = predict_risk(X, Y, 30, [6], unlabelled=rows).risk
    assert_allclose(found, predict_risk(X, Y, 30, [6], unlabelled=MORE).risk, rtol=1e-10)
    kept = array.from_array(MORE, chunks=(100, 6))
    for some in (kept[:, 0] > 1e9, np.r_[False, np.ones(len(MORE) - 1, dtype=bool)]):
        rows = kept[some]  # of unknown length, the first block perhaps empty
        if not np.asarray(some).any():
            with pytest.raises(ValueError, match="unlabelled must hold at least one row"):
                predict_risk(X, Y, 30, [6], unlabelled=rows)
        else:
            whole = predict_risk(X, Y, 30, [6], unlabelled=MORE[1:]).risk
            found = predict_risk(X, Y, 30, [6], unlabelled=rows).risk
            assert_allclose(found, whole, rtol=1e-10)


def test_what_was_changed_in_a_private_map_is_seen(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    rows = rng.standard_normal((3000, 4))
    np.save(tmp_path / "rows.npy", rows)
    private = np.load(tmp_path / "rows.npy", mmap_mode="c")
    private[:] = 2.0 * rows + 5.0
    for _ in range(2):  # reading does not give back what no file holds
        found = bulk.of_chunks(bulk._slices(private), rows[:2])
        assert found.mean == pytest.approx(2 * rows.mean(axis=0) + 5, rel=1e-12)
    read = np.load(tmp_path / "rows.npy", mmap_mode="r")
    for _ in range(2):
        found = bulk.of_chunks(bulk._slices(read), rows[:2])
        assert found.mean == pytest.approx(rows.mean(axis=0), rel=1e-10)
        scatter = (rows - rows.mean(axis=0)).T @ (rows - rows.mean(axis=0))
        assert found.root.T @ found.root == pytest.approx(scatter, rel=1e-10, abs=1e-9)
