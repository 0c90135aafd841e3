"""Studies: what they return, and that no interruption changes a bit of it."""

import contextlib
import json
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from pandas.testing import assert_frame_equal

from hmmtheory import (
    GaussianHMM,
    Representation,
    RiskCurve,
    risk_curve,
    simulate_risk_curve,
    study,
)
from hmmtheory.studies._store import digest
from hmmtheory.studies.settings import setting_theory, simulate_setting

GRID: dict[str, Any] = {
    "dim": 4,
    "persistence": [0.5, 0.9],
    "n_samples": 15,
    "sizes": [[0, 5, 30]],
    "design": ["prompts", "document"],
}


def run(grid: Any = GRID, n_trials: int = 60, **options: Any) -> pd.DataFrame:
    return study(grid, n_trials, **{"chunk_trials": 25, "progress": False, **options})


def same(one: pd.DataFrame, two: pd.DataFrame) -> None:
    assert_frame_equal(one, two, check_exact=True)


# What a study returns.


def test_a_table_has_a_row_for_each_point_and_size() -> None:
    table = run()
    points = table[["persistence", "design", "size"]].values.tolist()
    assert points == [
        [rho, design, size]
        for rho in (0.5, 0.9)
        for design in ("prompts", "document")
        for size in (0, 5, 30)
    ]
    assert (table["trials"] == 60).all()
    assert table["dim"].unique().tolist() == [4]


def test_simulation_and_theory_are_those_of_the_point() -> None:
    table = run({**GRID, "design": "prompts", "ridge": [0.0, 0.7]}, 300)
    assert table["z"].abs().max() < 4
    assert table["z"].notna().sum() == 8  # without features nothing is uncertain
    assert_allclose(table["relative_gap"], table["risk"] / table["theory"] - 1, atol=1e-12)
    seeds = np.random.SeedSequence(0).spawn(2)
    chain = GaussianHMM.rotation(4, 0.9, rng=seeds[0])
    model = Representation.gaussian(4, 30, rng=seeds[1])
    mine = table[(table["persistence"] == 0.9) & (table["ridge"] == 0.7)]
    theory = risk_curve(chain, model, 15, [0, 5, 30], ridge=0.7)
    assert_allclose(mine["theory"], theory.risk)
    assert_allclose(mine["theory_bias"], theory.bias)
    assert_allclose(mine["theory_variance"], theory.variance)
    again = simulate_risk_curve(chain, model, 15, [0, 5, 30], 2_000, ridge=0.7, rng=1)
    gap = mine["risk"].to_numpy() - again.risk
    assert (np.abs(gap) <= 5 * np.hypot(mine["standard_error"], again.standard_error)).all()


def test_balanced_weights_have_a_model_for_each_size() -> None:
    setting: dict[str, Any] = {"dim": 5, "persistence": 0.9, "n_samples": 20, "sizes": [3, 10, 60]}
    simulated = simulate_setting(**setting, n_trials=400, rng=0, weights="balanced")
    theory = setting_theory(**setting, weights="balanced")
    assert (np.abs(simulated.risk - theory.risk) < 5 * simulated.standard_error).all()
    for size in setting["sizes"]:
        one = setting_theory(**{**setting, "sizes": size}, weights="balanced")
        assert one.sizes.tolist() == [size]
        assert_allclose(one.risk, theory.risk[theory.sizes == size])


def test_a_slow_chain_is_one_of_the_settings() -> None:
    setting: dict[str, Any] = {"dim": 3, "persistence": 0.97, "n_samples": 30, "sizes": [3, 90]}
    curves = [
        simulate_setting(**setting, n_trials=200, rng=0, design="document", chain=chain)
        for chain in ("rotation", "scalar")
    ]
    assert abs(curves[1].risk[0] / curves[0].risk[0] - 1) > 0.1
    # Independent prompts don't tell the two apart.
    for order, rounding in ((2, 1e-10), ("uniform", 1e-8)):
        one, other = (
            setting_theory(**setting, order=order, chain=chain).risk
            for chain in ("rotation", "scalar")
        )
        assert_allclose(one, other, rtol=rounding)


def test_the_order_of_points_and_what_else_is_in_the_grid_do_not_matter() -> None:
    table = run()
    alone = run({**GRID, "persistence": 0.9, "design": ("document",)})
    mine = table[(table["persistence"] == 0.9) & (table["design"] == "document")]
    shared = [c for c in alone.columns if alone[c].notna().any()]
    same(mine[shared].reset_index(drop=True), alone[shared])
    union = run([{**GRID, "persistence": 0.9}, {**GRID, "persistence": np.array([0.5])}])
    same(union.sort_values(["persistence"], kind="stable").reset_index(drop=True), table)


def test_another_seed_gives_other_draws_and_other_chunks_the_same_law() -> None:
    table, other, chunks = run(), run(rng=1), run(chunk_trials=20)
    for changed in (other, chunks):
        gap = (changed["risk"] - table["risk"])[table["standard_error"] > 0]
        assert (gap != 0).all()
        error = np.hypot(changed["standard_error"], table["standard_error"])
        assert (gap.abs() < 5 * error[table["standard_error"] > 0]).all()


@pytest.mark.parametrize("backend", ["loky", "threading", "multiprocessing"])
def test_the_workers_change_no_bit(backend: str) -> None:
    with joblib.parallel_config(backend=backend, n_jobs=2):
        same(run(), run(n_jobs=1))


def test_points_are_drawn_until_they_are_accurate() -> None:
    table = run(n_trials=50, target_relative_error=0.02)
    assert (table["standard_error"] <= 0.02 * table["risk"]).all()
    assert table["trials"].nunique() > 1
    assert (table["trials"] % 25 == 0).all()
    worst = table.groupby(["persistence", "design"])["trials"].first()
    rows: list[Any] = list(worst.items())
    for (rho, design), trials in rows:  # one step less would not have done
        if trials > 100:
            less = run({**GRID, "persistence": rho, "design": design}, int(0.7 * trials))
            assert (less["standard_error"] > 0.95 * 0.02 * less["risk"]).any()
    with pytest.warns(UserWarning, match=r"75 trials.*3 of 4|75 trials.*4 of 4"):
        short = run(n_trials=50, target_relative_error=0.002, max_trials=75)
    assert short["trials"].max() == 75


def test_the_progress_bar_counts_chunks(capsys: pytest.CaptureFixture[str]) -> None:
    run(progress=True)
    assert "12/12" in capsys.readouterr().err
    run(progress=False)
    assert not capsys.readouterr().err


def custom(kind: str, level: float | None, n_trials: int, rng: np.random.Generator) -> RiskCurve:
    draws = rng.normal(2.0 if kind == "a" else 3.0, 1.0, n_trials)
    error = draws.std(ddof=1) / np.sqrt(n_trials) if n_trials > 1 else np.nan
    return RiskCurve([7], [draws.mean()], [error], n_samples=5, n_trials=n_trials)


def test_any_function_that_returns_a_curve_can_be_studied(tmp_path: Path) -> None:
    grid = {"kind": ["a", "b"], "level": [None, 1.5]}
    table = run(grid, 500, simulate=custom, folder=tmp_path, chunk_trials=499)  # the last has 1
    assert "theory" not in table
    assert_allclose(table["risk"], [2, 2, 3, 3], atol=0.25)
    assert_allclose(table["standard_error"], 500**-0.5, rtol=0.15)
    assert table["level"].isna().tolist() == [True, False] * 2
    same(table, run(grid, 500, simulate=custom, chunk_trials=499))

    def wrong(**_: Any) -> RiskCurve:
        return RiskCurve([8], [2.0], [0.0])

    with pytest.raises(ValueError, match="theory"):
        run(grid, 500, simulate=custom, theory=wrong)


# Pooling.


def test_pooled_curves_are_one_simulation_of_all_trials() -> None:
    chain, model = GaussianHMM.rotation(3, 0.9, rng=0), Representation.gaussian(3, 30, rng=1)
    generator = np.random.default_rng(2)
    parts = [
        simulate_risk_curve(chain, model, 12, [0, 4, 30], trials, rng=generator)
        for trials in (1, 7, 30)
    ]
    whole = simulate_risk_curve(chain, model, 12, [0, 4, 30], 38, rng=2)
    pooled = RiskCurve.pool(parts)
    assert pooled.n_trials == 38
    for name in (
        "risk", "standard_error", "noise", "bias", "variance", "bias_standard_error",
        "variance_standard_error", "per_output",
    ):  # fmt: skip
        assert_allclose(getattr(pooled, name), getattr(whole, name), rtol=1e-10, atol=1e-12)


def test_what_can_not_be_pooled_is_refused() -> None:
    one = RiskCurve([3], [1.0], [0.1], n_samples=9, n_trials=4)
    theory = RiskCurve([3], [1.0], [0.0], n_samples=9)
    bad = [
        [],
        [theory],
        [one, RiskCurve([4], [1.0], [0.1], n_samples=9, n_trials=4)],
        [one, RiskCurve([3], [1.0], [0.1], n_samples=8, n_trials=4)],
        [one, RiskCurve([3], [1.0], [0.1], n_samples=9, n_trials=4, ridge=1.0)],
        [one, RiskCurve([3], [1.0], [0.1], n_samples=9, n_trials=4, bias=[0.5])],
    ]
    for curves in bad:
        with pytest.raises(ValueError, match=r"^curves"):
            RiskCurve.pool(curves)


# On disk.


def test_a_finished_study_is_read_and_not_drawn(tmp_path: Path) -> None:
    first = run(folder=tmp_path)
    parts = sorted(tmp_path.glob("*.parquet"))
    times = [part.stat().st_mtime_ns for part in parts]
    same(first, run(folder=str(tmp_path)))
    assert [part.stat().st_mtime_ns for part in parts] == times
    same(first, run())
    # More draws and more points go on from there, as if they had been asked for at once.
    wider = {**GRID, "persistence": [0.5, 0.9, 0.1]}
    more = run(wider, 100, folder=tmp_path)
    kept = [part for part in parts if "-25.parquet" in part.name]
    assert {part.stat().st_mtime_ns for part in kept} <= set(times)
    same(more, run(wider, 100))


def test_the_folder_is_a_table_that_other_tools_can_read(tmp_path: Path) -> None:
    run(folder=tmp_path)
    table = pd.read_parquet(tmp_path)
    assert len(table) == 4 * 3 * 3
    assert table.groupby(["persistence", "design", "size"])["trials"].sum().eq(60).all()
    assert {"numpy", "hmmtheory", "code"} <= set(json.loads((tmp_path / "_study.json").read_text()))


def test_a_damaged_chunk_is_drawn_again(tmp_path: Path) -> None:
    first = run(folder=tmp_path)
    parts = sorted(tmp_path.glob("*.parquet"))
    parts[0].write_bytes(parts[0].read_bytes()[:100])
    parts[1].write_bytes(b"")
    with pytest.warns(UserWarning, match=parts[0].name):
        again = run(folder=tmp_path)
    same(first, again)
    same(first, run(folder=tmp_path))


def test_chunks_of_other_code_are_not_mixed_in(tmp_path: Path) -> None:
    run(folder=tmp_path)
    note = tmp_path / "_study.json"
    note.write_text(json.dumps({**json.loads(note.read_text()), "code": "0" * 64}))
    with pytest.raises(ValueError, match=r"folder.*another"):
        run(folder=tmp_path)
    note.unlink()
    same(run(folder=tmp_path), run())


# Killed at any moment.


def logged(
    level: float, log: str, pause: float, n_trials: int, rng: np.random.Generator
) -> RiskCurve:
    """Draw slowly, and leave a line in a file when a chunk is begun."""
    draws = rng.normal(level, 1.0, n_trials)
    mark = f"{level} {draws[0]!r}\n".encode()
    with open(log, "ab", buffering=0) as file:
        file.write(mark)
    time.sleep(pause)
    return RiskCurve(
        [1], [draws.mean()], [draws.std(ddof=1) / np.sqrt(n_trials)], n_samples=3, n_trials=n_trials
    )


def logged_grid(folder: Path) -> dict[str, Any]:
    return {"level": [1.0, 2.0, 3.0, 4.0], "log": str(folder / "log"), "pause": 0.02}


def run_logged(folder: Path, n_jobs: int | None, kept: bool = True) -> pd.DataFrame:
    parts = folder / "parts" if kept else None
    return run(
        logged_grid(folder), 200, simulate=logged, chunk_trials=5, folder=parts, n_jobs=n_jobs
    )


def run_in_group(folder: Path, n_jobs: int) -> None:
    os.setpgrp()  # so that its workers can be killed with it
    run_logged(folder, n_jobs)


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs POSIX processes")
@pytest.mark.parametrize(("n_jobs", "kills"), [(1, 24), (2, 3)])
def test_a_study_killed_again_and_again_loses_nothing_and_keeps_every_bit(
    tmp_path: Path, n_jobs: int, kills: int
) -> None:
    (tmp_path / "parts").mkdir()
    log = tmp_path / "log"
    log.touch()
    random, done = np.random.default_rng(), 0
    # Forked from a server without threads or workers of its own, which a child could wait for.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["hmmtheory", "pyarrow.parquet", "pytest"])
    for kill in range(kills):
        process = context.Process(target=run_in_group, args=(tmp_path, n_jobs))
        finished = {path.name for path in (tmp_path / "parts").glob("*.parquet")}
        begun = log.read_text().count("\n")
        process.start()
        if n_jobs > 1 or kill % 2:  # wait for work to kill; else it may be starting
            patience = time.monotonic() + 120
            while log.read_text().count("\n") == begun and process.is_alive():
                assert time.monotonic() < patience, "no chunk was begun"
                time.sleep(0.01)
        time.sleep(float(random.uniform(0.0, 0.2)))
        assert process.is_alive(), f"finished after {kill} kills: too little work"
        with contextlib.suppress(ProcessLookupError):  # killed before it had a group
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        now = {path.name for path in (tmp_path / "parts").glob("*.parquet")}
        assert finished <= now
        done = max(done, len(now))
    assert 0 < done < 160
    before = log.read_text().count("\n")
    finished_count = len(list((tmp_path / "parts").glob("*.parquet")))
    result = run_logged(tmp_path, n_jobs=1)
    # Of 160 chunks only those without a file were drawn, and in all each interruption cost
    # at most one a worker.
    assert log.read_text().count("\n") - before == 160 - finished_count
    assert log.read_text().count("\n") <= 160 + kills * n_jobs
    same(result, run_logged(tmp_path, 1, kept=False))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_dask_workers_killed_at_random_lose_nothing_and_change_no_bit(tmp_path: Path) -> None:
    dask = pytest.importorskip("dask")
    distributed = pytest.importorskip("dask.distributed")
    (tmp_path / "parts").mkdir()
    settings = {
        "distributed.scheduler.allowed-failures": 100,
        "distributed.admin.system-monitor.interval": "10s",
    }
    killed: list[int] = []
    over = threading.Event()

    def kill_workers(nannies: Any) -> None:
        random = np.random.default_rng()
        while not over.wait(float(random.uniform(0.2, 1.0))) and len(killed) < 5:
            pid = nannies[int(random.integers(2))].pid
            if pid is not None:  # else it is being restarted
                killed.append(pid)
                os.kill(pid, signal.SIGKILL)

    with (
        dask.config.set(settings),
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as near,
        distributed.Client(near),
    ):
        killer = threading.Thread(target=kill_workers, args=(near.workers,))
        killer.start()
        with joblib.parallel_config(backend="dask"):
            result = run_logged(tmp_path, None)
        over.set()
        killer.join()
    assert killed
    same(result, run_logged(tmp_path, 1, kept=False))


def test_the_order_of_names_in_a_point_does_not_matter() -> None:
    assert digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1}) != digest({"a": 1, "b": [3]})
