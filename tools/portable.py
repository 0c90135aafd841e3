"""Run every notebook and the numeric tests as other processors and versions would.

    python tools/portable.py [--only NAME] [--short] [--lowest] [--record] [PATH ...]

One row for each BLAS kernel that this processor can imitate, for NumPy without its SIMD code and
for two BLAS threads; with --lowest, one for the lowest versions that pyproject.toml declares, in an
environment of their own. A kernel that the processor lacks is left out. Prints a table; with
--record its rows replace those of tools/portable.json, which the page Reproducibility shows.
--short leaves out the longest tests that hold simulations within standard errors, which are no
matter of the last digit, and the notebooks, which ``build_book.py --strict`` can run instead.
A failure makes the exit status non-zero.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RECORD = ROOT / "tools" / "portable.json"
LOWEST = ROOT / ".venv" / "lowest"
KERNELS = ("Prescott", "Nehalem", "Sandybridge", "Haswell", "SkylakeX")
#: Beyond what every x86-64 has.
SIMD = "SSE42 AVX F16C FMA3 AVX2 AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL"
#: Tests that compute no number of the theory, or that start kernels and browsers of their own.
OTHER = (
    "browser", "build", "cards", "choosing", "claims", "command", "docstrings", "edit", "explorer",
    "fingerprint", "fuzz", "last_digits", "launch", "mutants", "notebooks", "pages", "plotting",
    "release", "rooms", "studies", "validation",
)  # fmt: skip
#: Long tests whose simulations may differ by standard errors.
SIMULATED = (
    "accuracy", "compare", "copies", "diagnosis", "elliptical", "kurtosis", "practice",
    "relative_error", "simulation",
)  # fmt: skip
#: Tests of what only the lock has.
LOCKED = ("categorical_hmm_against_hmmlearn", "embeddings", "rivals", "shakespeare", "text_states")
LOWEST_ROW = "lowest versions"
PROBE = """
import json, numpy, scipy.linalg, threadpoolctl
found = [i for i in threadpoolctl.threadpool_info() if i["user_api"] == "blas"]
versions = numpy.__version__, scipy.__version__
print(json.dumps([found[0].get("architecture"), *versions]))
"""


def environment(kernel: str = "", threads: int = 1, simd: bool = True) -> dict[str, str]:
    """Return the variables of one row; what the shell says of BLAS is left out."""
    variables = {k: v for k, v in os.environ.items()
                 if k not in {"OPENBLAS_CORETYPE", "NPY_DISABLE_CPU_FEATURES"}}  # fmt: skip
    variables |= {"OPENBLAS_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
    if kernel:
        variables["OPENBLAS_CORETYPE"] = kernel
    if not simd:
        variables["NPY_DISABLE_CPU_FEATURES"] = " ".join(set(SIMD.split()) & features())
    return variables


def features() -> set[str]:
    """Return the SIMD features that NumPy has found on this processor and can do without."""
    code = (
        "import numpy._core._multiarray_umath as m;"
        "print(*[f for f in m.__cpu_dispatch__ if m.__cpu_features__[f]])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def probe(python: str, variables: dict[str, str]) -> list[str] | None:
    """Return kernel, NumPy's and SciPy's version as they are in this environment, if they run."""
    run = subprocess.run(
        [python, "-c", PROBE], env=variables, capture_output=True, text=True, check=False
    )
    return json.loads(run.stdout) if run.returncode == 0 else None


def rows() -> dict[str, dict[str, Any]]:
    """Return the settings to try, by name."""
    found: dict[str, dict[str, Any]] = {"default": {}, "two threads": {"threads": 2}}
    found |= {kernel: {"kernel": kernel} for kernel in KERNELS}
    return found | {"NumPy without SIMD": {"simd": False}}


def make_lowest() -> str:
    """Install the lowest declared versions of what the package needs; return their Python."""
    uv, python = ROOT / ".venv" / "bin" / "uv", LOWEST / "bin" / "python"
    subprocess.run([uv, "venv", "--quiet", "--clear", LOWEST], check=True)
    install: list[str | Path] = [uv, "pip", "install", "--quiet", "--python", python]
    package = f"{ROOT}[study,practice]"
    subprocess.run([*install, "--resolution", "lowest-direct", package], check=True)
    # What only runs the tests may be new.
    runners = ["pytest", "pytest-xdist", "hypothesis", "nbformat", "mpmath"]
    subprocess.run([*install, *runners], check=True)
    return str(python)


def numeric_tests(short: bool = False) -> list[str]:
    """Return the test modules that compute numbers; `short` leaves some simulations out."""
    left_out = OTHER + SIMULATED * short
    return [
        path.relative_to(ROOT).as_posix()
        for path in sorted((ROOT / "tests").glob("test_*.py"))
        if path.stem.removeprefix("test_") not in left_out
    ]


def run(name: str, python: str, variables: dict[str, str], paths: list[str]) -> dict[str, Any]:
    """Run the tests once; return one row of the table."""
    found = probe(python, variables)
    if found is None or (variables.get("OPENBLAS_CORETYPE", found[0]) != found[0]):
        print(f"{name}: not on this processor, left out", flush=True)
        return {}
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "auto",
               "--maxprocesses=4", "--dist=loadscope", *paths]  # fmt: skip
    start = time.perf_counter()
    ran = subprocess.run(
        command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False
    )
    counts = {kind: int(n) for n, kind in re.findall(r"(\d+) (passed|failed|error)", ran.stdout)}
    row = {
        "name": name, "kernel": found[0], "numpy": found[1], "scipy": found[2],
        "passed": counts.get("passed", 0),
        "failed": counts.get("failed", 0) + counts.get("error", 0),
        "seconds": round(time.perf_counter() - start),
    }  # fmt: skip
    if ran.returncode and not row["failed"]:
        row["failed"] = 1
    print("  ".join(str(value) for value in row.values()), flush=True)
    if ran.returncode:
        print(ran.stdout[-6000:], ran.stderr[-2000:], flush=True)
    return row


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", action="append", choices=[*rows(), LOWEST_ROW], help="one row")
    parser.add_argument("--short", action="store_true", help="no notebooks, no long simulations")
    parser.add_argument("--lowest", action="store_true", help="the lowest declared versions too")
    parser.add_argument("--record", action="store_true", help="into tools/portable.json")
    parser.add_argument("paths", nargs="*", help="what to run instead of all")
    options = parser.parse_args(arguments)
    notebooks = [] if options.short else ["chapters"]
    tests = options.paths or [*notebooks, "hmmtheory", *numeric_tests(options.short)]
    table = [
        run(name, sys.executable, environment(**setting), tests)
        for name, setting in rows().items()
        if not options.only or name in options.only
    ]
    if options.lowest or LOWEST_ROW in (options.only or ()):
        # Notebooks need what only the lock has; there the package's own tests count.
        lowest = options.paths or [t for t in numeric_tests() if Path(t).stem[5:] not in LOCKED]
        lowest += ["-o", "addopts=", "-W", "ignore"]
        table.append(run(LOWEST_ROW, make_lowest(), environment(), lowest))
    table = [row for row in table if row]
    if options.record and not (options.paths or options.short):
        record = json.loads(RECORD.read_text("utf-8")) if RECORD.is_file() else {}
        found = {row["name"]: row for row in [*record.get("rows", ()), *table]}
        record |= {"processor": platform.machine(), "rows": list(found.values())}
        RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return int(not table or any(row["failed"] for row in table))


if __name__ == "__main__":
    sys.exit(main())
