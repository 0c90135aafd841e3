"""How far each order of the theory is off: the true risks of 1,064 cases, by simulation.

    python -m benchmarks.theory_accuracy

takes about ten minutes of one core, saves after every design, and goes on where it was stopped.
Then it sums up how far each order is from the truth, for the book's page on accuracy.
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

from hmmtheory import Moments

Array = NDArray[np.float64]
TABLE = Path(__file__).parent / "theory_accuracy.json"
SUMMARY = Path(__file__).parent / "theory_accuracy_summary.json"
ORDERS: tuple[int | str, ...] = (1, 2, "uniform")

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
    "1/√i": lambda p, n: 1.0 / np.sqrt(np.arange(1.0, p + 1)),
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
        return np.asarray(t / t.mean(), dtype=np.float64)


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


class Judged(NamedTuple):
    """Errors of each order at each case, relative to the true risk: arrays (orders, cases).

    `beyond` is what two standard errors of the simulation leave of an error, `said` the theory's
    own estimate.
    """

    error: Array
    beyond: Array
    said: Array


def judge(cases: list[Case]) -> Judged:
    """Hold every order against the cases."""
    true = np.array([1.0 + case.variance + case.bias for case in cases])
    slack = 2.0 * np.array([case.risk_error for case in cases]) / true
    error, said = np.empty((3, len(cases))), np.empty((3, len(cases)))
    for j, case in enumerate(cases):
        t = case.eigenvalues
        moments = Moments(t, np.full((t.size, 1), 1.0 / np.sqrt(t.sum())), np.ones((1, 1)))
        for i, order in enumerate(ORDERS):
            risk = moments.risk(case.n, case.ridge, order)
            error[i, j], said[i, j] = risk.total / true[j] - 1.0, risk.relative_error
    return Judged(error, np.maximum(np.abs(error) - slack, 0.0), said)


def regimes(cases: list[Case]) -> dict[str, Array]:
    """Return which cases belong to each regime: masks."""
    n = np.array([case.n for case in cases])
    ratio = np.array([case.p for case in cases]) / n
    little = np.array([case.ridge for case in cases]) < 0.05
    gap = np.array([case.spectrum for case in cases]) == "gap at n"
    near = (ratio > 0.9) & (ratio < 1.2)
    found = {}
    for count in DRAWS:
        for name, mask in {
            "p ≤ 0.8 n": ratio < 0.9,
            "p near n, λ ≤ 0.01": near & little,
            "p near n, λ ≥ 0.1": near & ~little,
            "p ≥ 1.25 n, λ ≤ 0.01": (ratio > 1.2) & little,
            "p ≥ 1.25 n, λ ≥ 0.1": (ratio > 1.2) & ~little,
        }.items():
            found[f"n = {count}: {name}"] = mask & ~gap & (n == count)
        found[f"n = {count}: a gap at n, p > n"] = gap & (ratio > 1.0) & (n == count)
    return found


def summary(cases: list[Case], judged: Judged) -> dict[str, list[dict[str, Any]]]:
    """Return the tables of the book's page, errors in per cent."""

    def shown(values: Array) -> str:
        marks = 100 * np.quantile(values, [0.5, 0.95, 1.0])
        return " / ".join("0" if v < 0.005 else f"{v:.2g}" for v in marks)

    names = [f"order {order}" if order != "uniform" else "uniform" for order in ORDERS]
    by_regime = [
        {"regime": name, "cases": int(mask.sum())}
        | {who: shown(judged.beyond[i, mask]) for i, who in enumerate(names)}
        for name, mask in regimes(cases).items()
    ]
    own = [
        {
            "order": who,
            "errors below what it says, %": float(f"{100 * np.mean(b <= s):.3g}"),
            "median of what it says, %": float(f"{100 * np.median(s):.2g}"),
            "median error, %": float(f"{100 * np.median(np.abs(e)):.2g}"),
        }
        for who, e, b, s in zip(names, *judged, strict=True)
    ]
    return {"regimes": by_regime, "own": own}


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
        found = summary(cases, judge(cases))
    text = json.dumps(found, ensure_ascii=False, indent=1)
    SUMMARY.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
