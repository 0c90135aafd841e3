"""How far each order of the theory is off: the true risks of 1,064 cases, by simulation.

    python -m benchmarks.theory_accuracy

takes about ten minutes of one core, saves after every design, and goes on where it was stopped.
Given the features a head's risk is exact; averaged are 20,000 draws of them for n = 20, 6,000 for
n = 60.  Noise and signal both have variance 1, and B* has no preferred direction.
tests/test_relative_error.py holds the theory against the table.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

Array = NDArray[np.float64]
TABLE = Path(__file__).parent / "theory_accuracy.json"

DRAWS = {20: 20_000, 60: 6_000}
#: p over n; the penalty is in units of the mean eigenvalue.
RATIOS = (0.5, 0.8, 0.95, 1.0, 1.05, 1.1, 1.25, 1.5, 2.0, 3.0)
RIDGES = (0.0, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0)


def _gap(p: int, n: int) -> Array:
    large = n if p > n else p - 2
    return np.where(np.arange(p) < large, 1.0, 0.01)


SPECTRA: dict[str, Callable[[int, int], Array]] = {
    "equal": lambda p, n: np.ones(p),
    "1/i": lambda p, n: 1.0 / np.arange(1, p + 1),
    "1/√i": lambda p, n: np.arange(1, p + 1) ** -0.5,
    "exponential": lambda p, n: np.exp(-6.0 * np.arange(p) / p),
    "half 1, half 0.05": lambda p, n: np.where(np.arange(p) < p // 2, 1.0, 0.05),
    "5 large": lambda p, n: np.where(np.arange(p) < 5, 100.0, 1.0),
    "uniform": lambda p, n: (np.arange(p) + 0.5) / p,
    "gap at n": _gap,
}


class Case(NamedTuple):
    """A design with its true factors: mean and standard error over the draws.

    `bias` is that of a signal of variance 1, `risk_error` the standard error of 1 + bias +
    variance.
    """

    spectrum: str
    n: int
    p: int
    ridge: float
    variance: float
    variance_error: float
    bias: float
    bias_error: float
    risk_error: float

    @property
    def eigenvalues(self) -> Array:
        """The spectrum, of mean 1."""
        t = SPECTRA[self.spectrum](self.p, self.n)
        return t / t.mean()


def designs() -> Iterator[tuple[str, int, int]]:
    """Yield spectrum, n and p."""
    for name in SPECTRA:
        for n in DRAWS:
            for ratio in RATIOS:
                yield name, n, round(ratio * n)


def simulate(name: str, n: int, p: int) -> list[Case]:
    """Return one case for each penalty, all from the same draws."""
    number = list(designs()).index((name, n, p))
    rng = np.random.default_rng([20261127, number])
    t = SPECTRA[name](p, n)
    t = t / t.mean()
    # Below four features from the threshold the mean has no finite second moment without ridge.
    ridges = [lam for lam in RIDGES if lam > 0 or abs(p - n) >= 4]
    found = []
    for _ in range(DRAWS[n] // 500):
        x = rng.standard_normal((500, n, p)) * np.sqrt(t)
        # With X = U D Wᵀ: squares d², and τ = diag(Wᵀ S W).
        if p < n:
            squares, w = np.linalg.eigh(x.transpose(0, 2, 1) @ x)
            tau = (np.square(w) * t[:, None]).sum(axis=1)
        else:
            squares, u = np.linalg.eigh(x @ x.transpose(0, 2, 1))
            tau = (np.square(x.transpose(0, 2, 1) @ u) * t[:, None]).sum(axis=1) / squares
        for_each = []
        for lam in ridges:
            kept = squares / (squares + lam)
            variance = (tau * kept / (squares + lam)).sum(axis=1)
            bias = 1.0 - (tau * kept * (2.0 - kept)).sum(axis=1) / t.sum()
            for_each.append([variance, bias, variance + bias])
        found.append(for_each)
    draws = np.concatenate(found, axis=-1)
    means, errors = draws.mean(axis=-1), draws.std(axis=-1) / np.sqrt(draws.shape[-1])
    return [
        Case(name, n, p, lam, *(float(f"{v:.6g}") for v in (m[0], e[0], m[1], e[1], e[2])))
        for lam, m, e in zip(ridges, means, errors, strict=True)
    ]


def load(path: Path = TABLE) -> list[Case]:
    """Return the cases of a table."""
    return [Case(*row) for row in json.loads(path.read_text(encoding="utf-8"))]


def save(cases: list[Case], path: Path) -> None:
    """Write a table, a row to a line."""
    rows = ",\n".join(json.dumps(list(case), ensure_ascii=False) for case in cases)
    path.write_text(f"[\n{rows}\n]\n", encoding="utf-8")


def main(arguments: Any = None) -> None:
    """Simulate what the table lacks."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--table", type=Path, default=TABLE)
    table = parser.parse_args(arguments).table
    cases = load(table) if table.exists() else []
    done = {(case.spectrum, case.n, case.p) for case in cases}
    with threadpool_limits(1):
        for design in designs():
            if design not in done:
                cases += simulate(*design)
                save(cases, table)
                print(*design, flush=True)


if __name__ == "__main__":
    main()
