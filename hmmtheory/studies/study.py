"""Studies: a grid of settings, theory and simulation of each, on any number of machines."""

from __future__ import annotations

import inspect
import itertools
import json
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from joblib import delayed
from tqdm import tqdm

from hmmtheory._checks import as_count, as_flag, as_function, as_items, as_jobs, as_number
from hmmtheory._trials import workers
from hmmtheory.curves import COLUMNS, RiskCurve
from hmmtheory.studies._store import digest, open_folder, read, write
from hmmtheory.studies.settings import setting_theory, simulate_setting

_THEORY = {"theory": "risk", "theory_bias": "bias", "theory_variance": "variance"}
#: Names that no parameter may have: columns of the table, and what `study` passes itself.
_RESERVED = {
    *COLUMNS,
    *_THEORY,
    "size",
    "trials",
    "relative_gap",
    "z",
    "n_trials",
    "rng",
    "chunk",
    "self",
}

Point = dict[str, Any]


def study(
    grid: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    n_trials: int,
    simulate: Callable[..., RiskCurve] | None = None,
    theory: Callable[..., RiskCurve] | None = None,
    target_relative_error: float | None = None,
    max_trials: int = 100_000,
    chunk_trials: int = 50,
    rng: int = 0,
    folder: str | os.PathLike[str] | None = None,
    n_jobs: int | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    r"""Compare theory and simulation at every point of a grid of settings (book: Chapter 16).

    The work is cut into chunks of `chunk_trials` draws.  A chunk's draws depend on `rng`, its
    point and its place alone: not on the workers, on what else is in the grid, or on
    interruptions.  With a `folder`, a chunk is on disk before its worker starts another; a study
    that was stopped, in whatever way, goes on where it was, and its result has the same bits.

    Parameters
    ----------
    grid : mapping or sequence of mappings
        For each parameter of `simulate` one value, or a list (tuple, range, array) of
        alternatives; a point of the study is one choice of each, as in scikit-learn's
        ``ParameterGrid``.  Several grids are their union.  A value that is itself a list needs
        another pair of brackets: ``{"sizes": [[10, 20, 40]]}``.
    n_trials : int
        Draws of each point; with a target, of the first round.
    simulate : callable, optional
        ``simulate(**point, n_trials=..., rng=...)`` returns a :class:`.RiskCurve`;
        :func:`.simulate_setting` if omitted.  Workers on other machines must be able to import
        it, unless it is defined in the script itself.
    theory : callable, optional
        ``theory(**point)`` returns the :class:`.RiskCurve` to compare with, at the same sizes;
        :func:`.setting_theory` if both are omitted, none if only this one is.
    target_relative_error : float, optional
        Add chunks to a point until the standard error of all its sizes is at most this share of
        their risk.
    max_trials : int
        Most draws of a point under a target.
    chunk_trials : int
        Draws in a chunk, the most that an interruption loses of each worker's work.
    rng : int
        The seed.
    folder : path-like, optional
        Where chunks are kept, one Parquet file each, and a note of what made them.  Workers on
        other machines may share it or not.
    n_jobs : int or None
        Processes, as joblib counts them.  None takes number and kind of the workers from
        ``joblib.parallel_config``, for instance those of a Dask cluster; one if there is none.
    progress : bool
        Whether to show a progress bar on the standard error stream.

    Returns
    -------
    pandas.DataFrame
        One row for each point and size: the point's parameters, ``size``, ``trials``, ``risk``,
        ``standard_error``, the parts that `simulate` gives and their errors, and with theory
        ``theory``, its parts, ``relative_gap`` (simulated over theoretical risk, less one) and
        ``z`` (the gap in standard errors).

    Raises
    ------
    ValueError
        If an argument is outside its range, a point occurs twice or holds anything but numbers,
        strings, booleans, None and lists of these, other code wrote the `folder`, or with a
        folder `simulate` is not a plain function (a partial, a method, a closure, an object).
    ImportError
        If `folder` is given and pyarrow is not installed.

    Warns
    -----
    UserWarning
        If `max_trials` ends the draws of a point before its target is met.

    Examples
    --------
    >>> table = study(
    ...     {"dim": 5, "persistence": [0.5, 0.9], "n_samples": 20, "sizes": [[0, 5, 40]]},
    ...     n_trials=20,
    ...     progress=False,
    ... )
    >>> table[["persistence", "size", "trials"]].values.tolist()[2:4]
    [[0.5, 40.0, 20.0], [0.9, 0.0, 20.0]]
    """
    simulate, theory = _functions(simulate, theory)
    trials, chunk = as_count("n_trials", n_trials), as_count("chunk_trials", chunk_trials)
    target = target_relative_error
    if target is not None:
        target = as_number("target_relative_error", target, minimum=0.0, open_minimum=True)
        # Whole chunks, so that none has to be drawn again for a larger total.
        trials = -(-trials // chunk) * chunk if chunk > 1 else max(trials, 2)
        trials = min(trials, as_count("max_trials", max_trials, minimum=2))
    seed, jobs = as_count("rng", rng, minimum=0), as_jobs(n_jobs)
    hidden = not as_flag("progress", progress)
    points = _points(grid, simulate, theory)
    store = open_folder(folder, simulate)
    keys = [digest([_name(simulate), seed, chunk, point]) for point in points]

    parts: list[list[RiskCurve]] = [[] for _ in points]
    totals = [trials] * len(points)
    with (
        tqdm(total=0, unit="chunk", disable=hidden) as bar,
        workers(jobs, "generator_unordered", batch_size=1) as pool,
    ):
        while True:
            tasks = [
                _Task(
                    simulate, points[k], k, keys[k], index, min(chunk, total - index * chunk), seed
                )
                for k, total in enumerate(totals)
                for index in range(len(parts[k]), -(-total // chunk))
            ]
            bar.total += len(tasks)
            for task, frame in zip(tasks, _run(tasks, store, pool, bar), strict=True):
                parts[task.place].append(_as_curve(frame))
            curves = [RiskCurve.pool(found) for found in parts]
            if target is None:
                break
            following = [
                _next_total(curve, total, target, max_trials, chunk)
                for curve, total in zip(curves, totals, strict=True)
            ]
            if following == totals:
                break
            totals = following
        expected: list[RiskCurve | None] = [None] * len(points)
        if theory is not None:
            for k, curve in pool(delayed(_theory)(theory, *pair) for pair in enumerate(points)):
                expected[k] = curve
    _warn_if_late(points, curves, target, max_trials)
    rows = [_rows(*found) for found in zip(points, curves, expected, strict=True)]
    return pd.concat(rows, ignore_index=True)


class _Task(NamedTuple):
    """One chunk: draws of a point that nothing but its place decides."""

    simulate: Callable[..., RiskCurve]
    point: Point
    place: int  # of the point in the grid
    key: str
    chunk: int  # its number
    trials: int
    seed: int

    def run(self) -> pd.DataFrame:
        words = [int(self.key[k : k + 8], 16) for k in range(0, 32, 8)]
        stream = np.random.SeedSequence(self.seed, spawn_key=(*words, self.chunk))
        curve: Any = self.simulate(
            **self.point, n_trials=self.trials, rng=np.random.default_rng(stream)
        )
        if not isinstance(curve, RiskCurve) or curve.n_trials < 1:
            raise ValueError(f"simulate must return a RiskCurve of at least 1 trial; got {curve!r}")
        if np.isnan(curve.risk).any():
            raise ValueError(f"simulate must return risks; got NaN at {self.point}")
        frame = curve.to_frame().reset_index()
        trials = np.full(curve.sizes.size, curve.n_trials)
        extra = {**_columns(self.point), "n_samples": curve.n_samples, "ridge": curve.ridge}
        return frame.assign(
            trials=trials if curve.trials is None else curve.trials, chunk=self.chunk, **extra
        )

    def path(self, folder: Path) -> Path:
        return folder / f"{self.key[:32]}-{self.chunk:06d}-{self.trials}.parquet"


def _name(simulate: Callable[..., RiskCurve]) -> list[str]:
    """Return what draws hang on: it stays what it was when the wing was one module."""
    module = getattr(simulate, "__module__", "")
    if module == simulate_setting.__module__:
        module = "hmmtheory.studies"
    return [module, getattr(simulate, "__qualname__", "")]


def _run(tasks: Sequence[_Task], folder: Path | None, pool: Any, bar: Any) -> list[pd.DataFrame]:
    """Return the chunk of every task: from disk, or from a worker."""
    found: list[Any] = [read(folder and task.path(folder)) for task in tasks]
    missing = [k for k, frame in enumerate(found) if frame is None]
    bar.update(len(tasks) - len(missing))
    for k, frame in pool(delayed(_chunk)(k, tasks[k], folder) for k in missing):
        if folder is not None and not tasks[k].path(folder).exists():
            write(frame, tasks[k].path(folder))  # the worker's disk is not ours
        found[k] = frame
        bar.update()
    return found


def _chunk(k: int, task: _Task, folder: Path | None) -> tuple[int, pd.DataFrame]:
    # Someone else may have finished it: an earlier worker that Dask took for dead, for one.
    frame = read(folder and task.path(folder))
    if frame is None:
        frame = task.run()
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            write(frame, task.path(folder))
    return k, frame


def _functions(simulate: Any, theory: Any) -> tuple[Any, Any]:
    """Return what draws and what predicts; the package's own where none is given."""
    if simulate is None:
        simulate, theory = simulate_setting, setting_theory if theory is None else theory
    if theory is not None:
        as_function("theory", theory)
    return as_function("simulate", simulate), theory


def _check_takes(name: str, function: Any, parameters: Point) -> None:
    try:
        inspect.signature(function).bind(**parameters)
    except TypeError as error:
        raise ValueError(f"grid must name the parameters of {name}; {error}") from error
    except ValueError:  # a function without a signature
        return


def _points(grid: Any, simulate: Any, theory: Any) -> list[Point]:
    """Return the points of the grids, in order; both functions must take their parameters."""
    grids = [grid] if isinstance(grid, Mapping) else as_items("grid", grid, "dictionaries")
    points: list[Point] = []
    for axes in grids:
        if not isinstance(axes, Mapping) or not all(isinstance(name, str) for name in axes):
            raise ValueError(f"grid must map names to values; got {axes!r}")
        bad = _RESERVED & set(axes)
        if bad:
            raise ValueError(f"grid must not name {sorted(bad)}, which the table has itself")
        plain = {name: _plain(name, values) for name, values in axes.items()}
        choices = [values if isinstance(values, list) else [values] for values in plain.values()]
        points += [dict(zip(plain, choice, strict=True)) for choice in itertools.product(*choices)]
    if not points:
        raise ValueError("grid must have at least one point; got none")
    for point in points:
        _check_takes("simulate", simulate, {**point, "n_trials": 1, "rng": None})
        if theory is not None:
            _check_takes("theory", theory, point)
    keys = [digest(point) for point in points]
    for k, key in enumerate(keys):
        if key in keys[:k]:
            raise ValueError(f"grid must not hold a point twice; got {points[k]} again")
    return points


def _plain(name: str, value: Any) -> Any:
    """Return the value as JSON has it, the same for whatever container it came in."""
    if isinstance(value, (np.generic, np.ndarray)):
        value = value.tolist()
    if isinstance(value, (list, tuple, range)):
        return [_plain(name, item) for item in value]
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float) and not np.isnan(value):
        return value
    raise ValueError(
        f"grid must hold numbers, strings, booleans, None and lists of these; "
        f"got {type(value).__name__} for {name}"
    )


def _columns(point: Point) -> dict[str, Any]:
    """Return the point as columns of a table, in which every row has a size of its own."""
    return {
        name: json.dumps(value) if isinstance(value, list) else value
        for name, value in point.items()
        if name != "sizes"
    }


def _as_curve(frame: pd.DataFrame) -> RiskCurve:
    columns: dict[str, Any] = {name: frame[name].to_numpy() for name in COLUMNS if name in frame}
    return RiskCurve(
        sizes=frame["size"].to_numpy(),
        n_samples=int(frame["n_samples"].iloc[0]),
        ridge=float(frame["ridge"].iloc[0]),
        n_trials=int(frame["trials"].max()),
        trials=frame["trials"].to_numpy(),
        **columns,
    )


def _worst_error(curve: RiskCurve) -> float:
    """Return the largest relative error of a size, of infinite risks infinity."""
    error = curve.standard_error
    with np.errstate(invalid="ignore"):  # an infinite error of an infinite risk
        share = np.divide(error, curve.risk, out=np.zeros_like(error), where=error != 0)
    return float(np.nan_to_num(share, nan=np.inf).max())


def _warn_if_late(
    points: list[Point], curves: list[RiskCurve], target: float | None, most: int
) -> None:
    late = [k for k, curve in enumerate(curves) if target and _worst_error(curve) > target]
    if late:
        warnings.warn(
            f"{most} trials don't bring {len(late)} of {len(points)} points to a "
            f"relative error of {target}; the first is {points[late[0]]}",
            stacklevel=3,
        )


def _next_total(curve: RiskCurve, total: int, target: float, most: int, chunk: int) -> int:
    """Return how many draws the target seems to need, in whole chunks, at most twice as many."""
    worst = _worst_error(curve)
    if worst <= target or total >= most:
        return total
    needed = int(min(np.ceil(total * min(worst / target, 2.0) ** 2), 2 * total))
    return min(max(-(-needed // chunk) * chunk, total + chunk), most)


def _theory(theory: Callable[..., RiskCurve], k: int, point: Point) -> tuple[int, RiskCurve]:
    return k, theory(**point)


def _rows(point: Point, curve: RiskCurve, expected: RiskCurve | None) -> pd.DataFrame:
    table = curve.to_frame().reset_index()
    if curve.trials is None:
        table["trials"] = curve.n_trials
    table.insert(1, "trials", table.pop("trials"))
    for name, value in reversed(_columns(point).items()):
        table.insert(0, name, [value] * len(table))
    if expected is not None:
        if not np.array_equal(expected.sizes, curve.sizes):
            raise ValueError(
                f"theory must return the sizes of the simulation, {curve.sizes.tolist()}; "
                f"got {expected.sizes.tolist()}"
            )
        for name, part in _THEORY.items():
            if getattr(expected, part) is not None:
                table[name] = getattr(expected, part)
        gap = curve.risk - expected.risk
        table["relative_gap"] = gap / expected.risk
        error = curve.standard_error
        table["z"] = np.divide(gap, error, out=np.full(gap.shape, np.nan), where=error > 0)
    return table
