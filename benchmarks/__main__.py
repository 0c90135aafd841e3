"""Time simulated and theoretical risk curves; see README.md beside this file."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import scipy
import sklearn
from numpy.typing import NDArray
from scipy import linalg
from sklearn.linear_model import LinearRegression
from threadpoolctl import threadpool_limits

from hmmtheory import GaussianHMM, Representation, risk_curve, simulate_risk_curve, study
from hmmtheory.studies.settings import simulate_setting

torch: Any = None
dask: Any = None
Client: Any = None
with suppress(ImportError):
    torch = importlib.import_module("torch")
with suppress(ImportError):
    import dask
    from dask.distributed import Client, LocalCluster

Array = NDArray[np.float64]
AGREEMENT = 1e-8

CHAIN = GaussianHMM.rotation(50, persistence=0.9, rng=1)
MODEL = Representation.gaussian(50, 800, signal=1.0, noise_std=1.0, rng=2)
N_SAMPLES = 200
SIZES = range(10, 800, 10)


def draw(seed: int) -> tuple[Array, Array]:
    """Return the X and Y of the first trial that simulate_risk_curve draws from `seed`."""
    rng = np.random.default_rng(seed).spawn(1)[0]
    pairs = CHAIN.sample(N_SAMPLES, 2, rng)
    columns = SIZES[-1]
    noise = rng.standard_normal((columns, N_SAMPLES)).T
    return pairs[:, 0] @ MODEL.weights[:, :columns] + MODEL.noise_std * noise, pairs[:, 1]


def curve_by(fit: Callable[[Array, Array], Any], seed: int) -> Array:
    """Return the exact risk of the heads that `fit` trains, size by size, on the draw of `seed`."""
    x, y = draw(seed)
    sigma, cross = CHAIN.stationary_covariance, CHAIN.autocovariance(1)
    risks = []
    for size in SIZES:
        head = fit(x[:, :size], y)
        seen = MODEL.weights[:, :size] @ head
        risks.append(
            np.trace(sigma)
            + (seen * (sigma @ seen - 2 * cross)).sum()
            + MODEL.noise_std**2 * np.square(head).sum()
        )
    return np.array(risks, dtype=np.float64)


def fit_sklearn(x: Array, y: Array) -> Array:
    """Return scikit-learn's head; its solver also gives the minimum norm for p > n."""
    return np.asarray(LinearRegression(fit_intercept=False).fit(x, y).coef_.T)


def fit_torch(x: Array, y: Array) -> Array:
    """Return PyTorch's head, by the driver that gives the minimum norm for p > n."""
    solution = torch.linalg.lstsq(
        torch.from_numpy(np.ascontiguousarray(x)),
        torch.from_numpy(np.ascontiguousarray(y)),
        driver="gelsd",
    ).solution
    return np.asarray(solution)


def ours(seed: int, estimator: str, trials: int = 1) -> Array:
    """Return the simulator's curve; its first trial is the draw of `seed`."""
    return simulate_risk_curve(
        CHAIN, MODEL, N_SAMPLES, SIZES, trials, rng=seed, estimator=estimator
    ).risk


OURS, PLAIN, LSTSQ = "simulate_risk_curve", "the same, labels drawn", "numpy.linalg.lstsq loop"
CONTENDERS: dict[str, Callable[[int], Array]] = {
    OURS: lambda seed: ours(seed, "conditional"),
    PLAIN: lambda seed: ours(seed, "plain"),
    LSTSQ: lambda seed: curve_by(lambda x, y: np.linalg.lstsq(x, y, rcond=None)[0], seed),
    "numpy.linalg.pinv loop": lambda seed: curve_by(lambda x, y: np.linalg.pinv(x) @ y, seed),
    "scipy.linalg.lstsq loop": lambda seed: curve_by(lambda x, y: linalg.lstsq(x, y)[0], seed),
    "scikit-learn loop": lambda seed: curve_by(fit_sklearn, seed),
}
if torch is not None:
    CONTENDERS["PyTorch lstsq loop"] = lambda seed: curve_by(fit_torch, seed)


def measure_draws(repeats: int) -> list[dict[str, Any]]:
    """Time every contender on the same draws, in turns, and compare their curves."""
    seconds: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    gaps = dict.fromkeys(CONTENDERS, 0.0)
    several = 8  # trials in a call of the simulator, as one would ask for
    for seed in range(-1, repeats):  # the first round warms up
        curves = {}
        for name, run in CONTENDERS.items():
            start = time.perf_counter()
            curves[name] = run(max(seed, 0))
            taken = time.perf_counter() - start
            if name in (OURS, PLAIN):
                start = time.perf_counter()
                ours(seed + 1, "conditional" if name == OURS else "plain", several)
                taken = (time.perf_counter() - start) / several
            if seed >= 0:
                seconds[name].append(taken)
        for name, curve in curves.items():
            gaps[name] = max(gaps[name], float(np.abs(curve / curves[LSTSQ] - 1).max()))
    return [
        {
            "contender": name,
            "seconds": statistics.median(times),
            "ratio": statistics.median(t / o for t, o in zip(times, seconds[OURS], strict=True)),
            # Another estimator of the same mean has another curve on each draw.
            "gap": None if name == OURS else gaps[name],
        }
        for name, times in seconds.items()
    ]


def measure_accuracy(
    draws: list[dict[str, Any]], repeats: int
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Return seconds until the standard error of every size is 1 % of its risk.

    Without p = n, where the mean is infinite.  ``target_relative_error`` is run; the other rows
    are seconds per draw times the draws that the scatter of the worst size asks for.  The second
    result is how many times fewer draws the conditional estimator needs.
    """
    target = 0.01
    sizes = [p for p in SIZES if p != N_SAMPLES]
    wanted = {}
    for estimator in ("plain", "conditional"):
        curve = simulate_risk_curve(CHAIN, MODEL, N_SAMPLES, sizes, 600, rng=0, estimator=estimator)
        wanted[estimator] = 600 * (curve.standard_error / curve.risk / target) ** 2
    rows = []
    for row in draws:
        need = wanted["conditional" if row["contender"] == OURS else "plain"].max()
        rows.append(
            {
                "contender": row["contender"] + ", all sizes alike",
                "draws": int(np.ceil(need)),
                "seconds": float(row["seconds"] * need),
            }
        )
    x, y = draw(0)
    each = []
    for size in sizes:
        start = time.perf_counter()
        np.linalg.lstsq(x[:, :size], y, rcond=None)
        each.append(time.perf_counter() - start)
    rows.append(
        {
            "contender": "numpy.linalg.lstsq loop, each size until it is accurate",
            "draws": int(np.ceil(wanted["plain"].max())),
            "seconds": float(np.ceil(wanted["plain"]) @ each),
        }
    )
    times, counts = [], []
    for seed in range(repeats):
        start = time.perf_counter()
        curve = simulate_risk_curve(
            CHAIN, MODEL, N_SAMPLES, sizes, 10, rng=seed, target_relative_error=target
        )
        times.append(time.perf_counter() - start)
        counts.append(curve.n_trials)
    best = statistics.median(times)
    rows.append(
        {
            "contender": "simulate_risk_curve(target_relative_error=0.01)",
            "draws": int(statistics.median(counts)),
            "seconds": best,
        }
    )
    for row in rows:
        row["ratio"] = row["seconds"] / best
    saved = wanted["plain"] / wanted["conditional"]
    order = sorted(rows, key=lambda row: -row["seconds"])
    return order, {
        "least": float(saved.min()),
        "median over sizes": float(np.median(saved)),
        "most": float(saved.max()),
    }


def operations(n: int, d: int, sizes: list[int]) -> float:
    """Return the floating-point operations of one conditional draw without ridge.

    Counts the matrix products and factorisations of ``hmmtheory.heads``, and no random number.
    """
    top = sizes[-1]
    small = [p for p in sizes if p <= n]
    near = [p for p in sizes if n < p <= 1.1 * n]
    far = [p for p in sizes if p > 1.1 * n]
    total = 4.0 * n * d * top  # features, and what the readout sees of them
    first = min(n, top)
    if small:
        total += 2 * first**2 * (n - first / 3) + first**3 / 3 + 2 * d * first**2
        total += 2 * d**2 * first
    for p in near:
        total += 2 * n**2 * (p - n / 3) + n**3 / 3 + 2 * n**3 + 4 * n**2 * d
    start, fresh = max([n, *near]), 0
    for p in far:
        k = p - start
        if p <= 1.5 * fresh and 4 * k <= n:
            total += 4 * n**2 * k + 2 * n * k**2 + k**3 / 3 + 2 * n * k**2 + 4 * n * k * d
        else:
            total += n**3 / 3 + 2 * n**3 + 2 * n**2 * d
            fresh = p
        total += n**2 * k  # the Gram matrix
        start = p
    total += (len(near) + len(far)) * 4 * n * d**2 + len(sizes) * 4 * d**3
    return total


def measure_peak(seconds: float) -> dict[str, float]:
    """Return the share of one core's measured matrix-product speed that a draw reaches."""
    a = np.random.default_rng(0).standard_normal((2000, 2000))
    best = float("inf")
    for _ in range(4):
        start = time.perf_counter()
        a @ a
        best = min(best, time.perf_counter() - start)
    peak = 2 * 2000.0**3 / best
    work = operations(N_SAMPLES, CHAIN.dim, list(SIZES))
    return {
        "matrix product, 2000 x 2000, Gflop/s": peak / 1e9,
        "one draw, Gflop/s": work / seconds / 1e9,
        "share": work / seconds / peak,
    }


def measure_scaling() -> list[dict[str, Any]]:
    """Time a draw of the default estimator as one of n, d and P grows, others fixed."""
    base = {"n": 200, "d": 50, "P": 800}
    rows = []
    for name, values in {
        "n": [50, 100, 200, 400],
        "d": [10, 50, 200],
        "P": [800, 3200, 12800],
    }.items():
        for value in values:
            n, d, top = (base | {name: value}).values()
            chain = GaussianHMM.rotation(d, persistence=0.9, rng=1)
            model = Representation.gaussian(d, top, rng=2)
            sizes = np.linspace(top // 80, top, 80).astype(np.int64)
            times = []
            for trial in range(4):
                start = time.perf_counter()
                simulate_risk_curve(chain, model, n, sizes, 5, rng=0)
                if trial:
                    times.append((time.perf_counter() - start) / 5)
            rows.append({"varied": name, "n": n, "d": d, "P": top, "seconds": min(times)})
    return rows


def measure_workers() -> list[dict[str, Any]]:
    """Time one study on more and more processes, joblib's own and Dask's."""
    grid = {
        "dim": 50, "persistence": 0.9, "n_samples": 200, "sizes": [list(range(10, 800, 10))],
        "instance": list(range(4)),
    }  # fmt: skip
    counts = [2**k for k in range(8) if 2**k <= (os.cpu_count() or 1)]

    def once() -> float:
        start = time.perf_counter()
        study(grid, 60, theory=None, simulate=simulate_setting, chunk_trials=15, progress=False)
        return time.perf_counter() - start

    rows = []
    for count in counts:
        with joblib.parallel_config(backend="loky", n_jobs=count):
            once()  # starts the processes
            rows.append({"workers": "joblib", "count": count, "seconds": min(once(), once())})
    if Client is not None:
        for count in counts:
            options = {"n_workers": count, "threads_per_worker": 1, "dashboard_address": None}
            with (
                LocalCluster(**options) as near,  # type: ignore[no-untyped-call]
                Client(near),
                joblib.parallel_config(backend="dask"),
            ):
                once()
                rows.append({"workers": "Dask", "count": count, "seconds": min(once(), once())})
    for row in rows:
        alone = next(r["seconds"] for r in rows if r["workers"] == row["workers"])
        row["efficiency"] = alone / row["seconds"] / row["count"]
    return rows


def peak_megabytes() -> float:
    """Return the most memory that this process has held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def measure_theory() -> dict[str, float]:
    """Time one theoretical curve of a large model; meant for a process of its own."""
    dim, largest, count = 256, 100_000, 120
    chain = GaussianHMM.rotation(dim, persistence=0.9, rng=1)
    model = Representation.gaussian(dim, largest, rng=2)
    sizes = np.unique(np.geomspace(10, largest, count).astype(np.int64))
    # Rounding merges a few of the smallest; fill up with others.
    spare = np.setdiff1d(np.arange(1, 1000), sizes)
    sizes = np.sort(np.append(sizes, spare[: count - sizes.size]))
    tracemalloc.start()
    start = time.perf_counter()
    curve = risk_curve(chain, model, 2_000, sizes)
    seconds = time.perf_counter() - start
    own = tracemalloc.get_traced_memory()[1]
    return {
        "sizes": float(curve.sizes.size),
        "seconds": seconds,
        "weights_megabytes": model.weights.nbytes / 2**20,
        "curve_megabytes": own / 2**20,
        "peak_megabytes": peak_megabytes(),
    }


def environment() -> dict[str, str]:
    """Return what the figures depend on besides the code."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = re.findall(r"^model name\s*:\s*(.+)$", info.read_text("utf-8"), re.MULTILINE)
        model = names[0] if names else model
    return {
        "processor": model,
        "cores": str(os.cpu_count()),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "scikit-learn": sklearn.__version__,
        "pytorch": "not installed" if torch is None else torch.__version__.split("+")[0],
        "dask": "not installed" if Client is None else dask.__version__,
    }


def show(title: str, rows: list[dict[str, Any]]) -> None:
    """Print rows of figures under a title."""
    frame = pd.DataFrame(rows)
    print(f"\n{title}\n{frame.to_string(index=False, float_format=lambda v: f'{v:.3g}')}")


def main() -> int:
    """Run the benchmarks, print and store their tables, and return 1 if a contender disagrees."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="timed rounds (default 5)")
    parser.add_argument("--json", type=Path, metavar="PATH", help="also write the results there")
    parser.add_argument("--theory-only", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.repeats < 1:
        parser.error("--repeats must be at least 1")
    if options.theory_only:
        with threadpool_limits(1):
            print(json.dumps(measure_theory()))
        return 0

    results: dict[str, Any] = {"environment": environment()}
    print(", ".join(f"{name} {value}" for name, value in results["environment"].items()))
    with threadpool_limits(1):
        if torch is not None:
            torch.set_num_threads(1)
        results["draws"] = measure_draws(options.repeats)
        show(
            f"One draw, one core: n = {N_SAMPLES}, d = {CHAIN.dim}, {len(SIZES)} sizes from "
            f"{SIZES[0]} to {SIZES[-1]}; medians of {options.repeats} rounds",
            results["draws"],
        )
        results["accuracy"], results["averaging"] = measure_accuracy(
            results["draws"], options.repeats
        )
        show("Every size to a standard error of 1 %, one core", results["accuracy"])
        show("How many times fewer draws averaging over labels needs", [results["averaging"]])
        results["peak"] = measure_peak(results["draws"][0]["seconds"])
        show("Share of one core's matrix-product speed", [results["peak"]])
        results["scaling"] = measure_scaling()
        show("One draw, 80 sizes up to P", results["scaling"])
        results["workers"] = measure_workers()
        show("A study of 16 chunks", results["workers"])
    child = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--theory-only"],
        cwd=Path(__file__).resolve().parents[1],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    results["theory"] = json.loads(child.stdout)
    show("Theory: n = 2,000, d = 256, sizes up to 100,000", [results["theory"]])
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    worst = max(row["gap"] or 0.0 for row in results["draws"])
    if worst > AGREEMENT:
        print(f"\nThe curves differ by {worst:.1e}, more than {AGREEMENT:.0e}.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
