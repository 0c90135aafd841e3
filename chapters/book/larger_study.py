"""The study behind Chapter 16: how fast R3 and R3′ become exact as n grows.

``make larger-study`` runs it in about an hour of one core, on all of the machine's, and goes on
where it was stopped; with the address of a Dask scheduler, ``python -m book.larger_study
tcp://host:8786`` in the folder ``chapters``, a cluster does.  The chapter reads the table that it
leaves beside this file, and draws some of its points again.
"""

from __future__ import annotations

import json
import platform
import sys
import tempfile
import zipfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import scipy
from numpy.typing import NDArray

import hmmtheory
from hmmtheory import RiskCurve, study
from hmmtheory._trials import one_blas_thread
from hmmtheory.factors import elliptical_factors, risk_factors

Array = NDArray[np.float64]
HERE = Path(__file__).resolve().parent
TABLE, PROVENANCE = HERE / "larger_study.csv", HERE / "larger_study.json"
SEED = 2024

#: Excess kurtosis of the features.
KURTOSIS = {"gaussian": 0.0, "uniform": -1.2, "laplace": 3.0, "unequal": 0.0}
#: Half of the rows of the last kind are scaled by one, half by the other.
SCALES = [0.5**0.5, 1.5**0.5]
#: p/n and λ/n of each case.
CASES = {
    "no ridge, p = 2n": (2.0, 0.0),
    "ridge, p = 2n": (2.0, 0.1),
    "weak ridge, p = 3n/2": (1.5, 0.01),
    "weak ridge, p = n": (1.0, 0.03),
    "weak ridge, p = n/2": (0.5, 0.02),
}
#: Draws for each n: as many as the falling gap between simulation and R3′ asks for, up to 64.
TRIALS = {
    8: 500_000,
    16: 1_000_000,
    32: 500_000,
    64: 100_000,
    128: 15_000,
    256: 600,
    512: 60,
    1024: 20,
}


def spectrum(kind: str, n: int, size: int) -> Array:
    """Return the eigenvalues of S, of mean 1: their histogram is the same for every n."""
    if kind == "chain":
        # Balanced weights (Theorem 4.3): a signal of n/4 dimensions over noise.
        t = np.ones(size)
        t[: n // 4] += size / (n // 4)
    elif kind == "power":
        t = 1.0 / ((np.arange(size) + 0.5) / size + 0.02)
    else:
        raise ValueError(f"kind must be 'chain' or 'power'; got {kind!r}")
    return t / t.mean()


def entries(rows: str, shape: tuple[int, int, int], rng: np.random.Generator) -> Array:
    """Return independent entries of mean 0 and variance 1, with rows scaled if unequal."""
    if rows == "uniform":
        return rng.uniform(-(3.0**0.5), 3.0**0.5, shape)
    if rows == "laplace":
        return rng.laplace(0.0, 0.5**0.5, shape)
    g = rng.standard_normal(shape)
    if rows == "unequal":
        g *= rng.choice(SCALES, (*shape[:2], 1))
    return g


def simulate(
    n_samples: int,
    ratio: float,
    penalty: float,
    kind: str,
    rows: str,
    n_trials: int,
    rng: np.random.Generator,
) -> RiskCurve:
    """Return the risk of a head of size p = ratio · n and penalty λ = penalty · n.

    Bias and variance are averaged over the labels (Theorem 2.6).  The noise is 1, and so is the
    signal, spread over all directions: B*B*ᵀ = I/p.
    """
    n, p = n_samples, round(ratio * n_samples)
    t, lam = spectrum(kind, n, p), penalty * n_samples
    found = np.empty((2, n_trials))
    batch = max(1, 20_000 // (n * p))
    with one_blas_thread():
        for start in range(0, n_trials, batch):
            count = min(batch, n_trials - start)
            x = entries(rows, (count, n, p), rng) * np.sqrt(t)
            back = np.swapaxes(x, 1, 2)
            if p < n:
                inverse = np.linalg.inv(back @ x + lam * np.eye(p))
                twice = (np.square(inverse) @ t).sum(axis=1)
                bias = lam**2 * twice
                variance = np.einsum("kii,i->k", inverse, t) - lam * twice
            else:
                gram = x @ back
                inverse = np.linalg.inv(gram + lam * np.eye(n))
                seen = inverse @ ((x * t) @ back)
                inner = seen @ inverse
                bias = t.sum() - 2.0 * np.einsum("kii->k", seen) + (inner * gram).sum(axis=(1, 2))
                variance = np.einsum("kii->k", inner)
            found[:, start : start + count] = bias / p, variance
    draws = np.vstack([1.0 + found.sum(axis=0), found])
    error = draws.std(axis=1, ddof=1) / np.sqrt(n_trials)
    return RiskCurve(
        sizes=[p],
        risk=draws[:1].mean(axis=1),
        standard_error=error[:1],
        noise=[1.0],
        bias=draws[1:2].mean(axis=1),
        variance=draws[2:].mean(axis=1),
        bias_standard_error=error[1:2],
        variance_standard_error=error[2:],
        n_samples=n,
        ridge=lam,
        n_trials=n_trials,
    )


def grid(n: int) -> list[dict[str, Any]]:
    """Return the points of one n: every case for Gaussian rows, two for the others."""
    everything = {"n_samples": n, "kind": ["chain", "power"], "rows": "gaussian"}
    others = {"n_samples": n, "kind": "chain", "rows": ["uniform", "laplace", "unequal"]}
    first, last = "no ridge, p = 2n", "weak ridge, p = n/2"
    return [
        *({**everything, "ratio": CASES[c][0], "penalty": CASES[c][1]} for c in CASES),
        *({**others, "ratio": CASES[c][0], "penalty": CASES[c][1]} for c in (first, last)),
    ]


def theories(row: Any) -> dict[str, float]:
    """Return the theoretical risks of a row of the table.

    R3 and R3′ take the rows for Gaussian; "kurtosis" is R3′ with Theorem 16.1, and "scales"
    Theorem 15.2 to first order.
    """
    n, p, lam = int(row.n_samples), int(row.size), float(row.penalty) * int(row.n_samples)
    t, nu = spectrum(row.kind, n, p), KURTOSIS[row.rows]
    scales = SCALES if row.rows == "unequal" else [1.0]

    def total(bias: Array, variance: float) -> float:
        return 1.0 + float(bias.sum()) / p + variance

    unequal = elliptical_factors(t, n, scales, lam, order=1)
    return {
        "R3": total(*risk_factors(t, n, lam, order=1)),
        "R3′": total(*risk_factors(t, n, lam, order=2)),
        "kurtosis": total(*risk_factors(t, n, lam, order=2, kurtosis=nu)),
        "scales": total(unequal.bias, float(unequal.variance.mean())),
    }


def read_table() -> pd.DataFrame:
    """Return the stored table with the name of each row's case."""
    table = pd.read_csv(TABLE, float_precision="round_trip")
    names = {pair: name for name, pair in CASES.items()}
    cases = [names[pair] for pair in zip(table["ratio"], table["penalty"], strict=True)]
    return table.assign(case=cases)


def as_archive(path: Path) -> str:
    """Write the modules of this package to a zip file, from which workers can import them."""
    with zipfile.ZipFile(path, "w") as archive:
        for module in sorted(HERE.glob("*.py")):
            archive.write(module, Path(HERE.name, module.name))
    return str(path)


def main(address: str | None = None) -> None:
    """Run the study, on a Dask cluster if its scheduler's address is given, and store it."""
    where: Any = nullcontext()
    client: Any = nullcontext()
    if address is not None:
        from dask.distributed import Client

        client = Client(address)
        with tempfile.TemporaryDirectory() as folder:
            client.upload_file(as_archive(Path(folder) / "book.zip"))
        where = joblib.parallel_config(backend="dask", wait_for_workers_timeout=600)
    tables = []
    with client, where:
        for n, trials in TRIALS.items():
            tables.append(
                study(
                    grid(n),
                    trials,
                    simulate,
                    chunk_trials=-(-trials // 10),
                    rng=SEED,
                    folder=HERE / "larger_study.parts",
                    n_jobs=-1 if address is None else None,
                )
            )
    table = pd.concat(tables, ignore_index=True)
    table.to_csv(TABLE, index=False, lineterminator="\n")
    made_by = {
        "points": len(table),
        "draws": int(table["trials"].sum()),
        "seed": SEED,
        "hmmtheory": hmmtheory.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "machine": platform.machine(),
    }
    PROVENANCE.write_text(json.dumps(made_by, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    # Under a name of its own, which workers on other machines can import.
    from book import larger_study

    larger_study.main(*sys.argv[1:2])
