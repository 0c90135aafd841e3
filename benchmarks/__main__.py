"""Time simulated and theoretical risk curves; see README.md beside this file."""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy
import sklearn
from numpy.typing import NDArray
from scipy import linalg
from sklearn.linear_model import LinearRegression
from threadpoolctl import threadpool_limits

from hmmtheory import GaussianHMM, Representation, risk_curve, simulate_risk_curve

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


CONTENDERS: dict[str, Callable[[int], Array]] = {
    "hmmtheory.simulate_risk_curve": lambda seed: (
        simulate_risk_curve(CHAIN, MODEL, N_SAMPLES, SIZES, 1, rng=seed).risk
    ),
    "numpy.linalg.lstsq loop": lambda seed: curve_by(
        lambda x, y: np.linalg.lstsq(x, y, rcond=None)[0], seed
    ),
    "numpy.linalg.pinv loop": lambda seed: curve_by(lambda x, y: np.linalg.pinv(x) @ y, seed),
    "scipy.linalg.lstsq loop": lambda seed: curve_by(lambda x, y: linalg.lstsq(x, y)[0], seed),
    "sklearn LinearRegression loop": lambda seed: curve_by(fit_sklearn, seed),
}


def measure_simulation(repeats: int) -> dict[str, Any]:
    """Time every contender on the same draws, in turns, and compare their curves."""
    seconds: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    gaps = dict.fromkeys(CONTENDERS, 0.0)
    for seed in range(-1, repeats):  # the first round warms up
        curves = {}
        for name, run in CONTENDERS.items():
            start = time.perf_counter()
            curves[name] = run(max(seed, 0))
            if seed >= 0:
                seconds[name].append(time.perf_counter() - start)
        reference = curves["numpy.linalg.lstsq loop"]
        for name, curve in curves.items():
            gaps[name] = max(gaps[name], float(np.abs(curve / reference - 1).max()))
    ours = seconds["hmmtheory.simulate_risk_curve"]
    return {
        name: {
            "seconds": statistics.median(times),
            "ratio": statistics.median(t / o for t, o in zip(times, ours, strict=True)),
            "gap": gaps[name],
        }
        for name, times in seconds.items()
    }


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


def main() -> int:
    """Run both benchmarks, print their tables, and return 1 if a contender disagrees."""
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

    print(
        f"One core. Python {platform.python_version()}, NumPy {np.__version__}, "
        f"SciPy {scipy.__version__}, scikit-learn {sklearn.__version__}, {platform.machine()}\n"
    )
    with threadpool_limits(1):
        simulation = measure_simulation(options.repeats)
    print(
        f"Simulated curve: n = {N_SAMPLES}, d = {CHAIN.dim}, {len(SIZES)} sizes from {SIZES[0]} "
        f"to {SIZES[-1]}; medians of {options.repeats} rounds"
    )
    print(f"  {'':32}{'s per draw':>12}{'ratio':>9}{'largest gap':>14}")
    for name, row in simulation.items():
        print(f"  {name:32}{row['seconds']:12.3f}{row['ratio']:9.1f}{row['gap']:14.1e}")

    child = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--theory-only"],
        cwd=Path(__file__).resolve().parents[1],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    theory: dict[str, float] = json.loads(child.stdout)
    print(
        f"\nTheory curve: n = 2,000, d = 256, {theory['sizes']:.0f} sizes up to 100,000\n"
        f"  {theory['seconds']:.2f} s; the curve's own peak is {theory['curve_megabytes']:.0f} MB, "
        f"W takes {theory['weights_megabytes']:.0f} MB, and the process, which also draws W, "
        f"peaks at {theory['peak_megabytes']:.0f} MB"
    )
    if options.json:
        results = {"simulation": simulation, "theory": theory}
        options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    worst = max(row["gap"] for row in simulation.values())
    if worst > AGREEMENT:
        print(f"\nThe curves differ by {worst:.1e}, more than {AGREEMENT:.0e}.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
