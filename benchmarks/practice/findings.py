"""What the findings of `diagnose` cost: do they tell a wrong prediction from a right one.

    python -m benchmarks.practice.findings

The pilots are those of the benchmark; their errors are read from ``practice.json``, and what
`diagnose` sees is kept in ``findings.json``.  Prints, for each finding, how often it fires on
pilots of ordinary sets, and the median error of the predictions where it fires and where not.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.practice.sets import REGRESSION
from benchmarks.practice.truth import split
from hmmtheory import diagnose
from hmmtheory._trials import one_blas_thread

FOLDER = Path(__file__).parent
STORE = FOLDER / "findings.json"
SUMMARY = FOLDER / "summary.json"
ORDINARY = ("diabetes", "words", "sentences", "pooled_sentences", "lengths")


def seen(data: Any, size: int, pilot: int) -> dict[str, Any]:
    """Return what `diagnose` says of one pilot: every number, and the cautions."""
    chosen = split(data, size, np.random.default_rng([size, pilot]))[0]
    found = diagnose(data.features[chosen], data.labels[chosen], size, rng=0)
    return {
        "values": {f.name: round(f.value, 6) for f in found.findings},
        "cautions": [f.name for f in found.findings if f.verdict == "caution"],
        "trust": round(100 * found.error_share, 2) if found.trusted else None,
    }


def errors() -> pd.DataFrame:
    """Return one row for each pilot and n of the sets with numbers for labels."""
    stored = json.loads((FOLDER / "practice.json").read_text())
    names = [make.__name__ for make in REGRESSION]
    frame = pd.concat(
        [
            pd.DataFrame(lines).assign(set=key.rpartition(" ")[0])
            for key, lines in stored.items()
            if key.rpartition(" ")[0] in names
        ]
    )
    frame["error"] = 100 * abs(frame["ours"] / frame["truth"] - 1)
    return frame.assign(ordinary=frame["set"].isin(ORDINARY))


def told(frame: pd.DataFrame, done: dict[str, Any]) -> pd.DataFrame:
    """Return the rows of :func:`errors` with what `diagnose` said of their pilots."""
    keys = [
        f"{name} {size} {pilot}"
        for name, size, pilot in zip(frame["set"], frame["N"], frame["pilot"], strict=True)
    ]
    return frame.reset_index(drop=True).assign(
        cautions=[done[key]["cautions"] for key in keys],
        trust=[done[key]["trust"] for key in keys],
        beyond=(abs(frame["ours"] - frame["truth"]) > 1.96 * frame["se"]).to_numpy(),
    )


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return what each finding costs: median errors with it and without, and how often it fires."""
    rows = []
    first = frame.drop_duplicates(["set", "N", "pilot"])
    for name in sorted({name for names in frame["cautions"] for name in names}):
        fired = frame["cautions"].map(lambda names, name=name: name in names)
        rows.append(
            {
                "finding": name,
                "fires on ordinary, %": 100 * fired[first.index][first["ordinary"]].mean(),
                "fires on others, %": 100 * fired[first.index][~first["ordinary"]].mean(),
                "median error with": frame["error"][fired].median(),
                "without": frame["error"][~fired].median(),
                "beyond 1.96 SE with, %": 100 * frame["beyond"][fired].mean(),
                "and without": 100 * frame["beyond"][~fired].mean(),
            }
        )
    return pd.DataFrame(rows).set_index("finding").round(1)


def main() -> None:
    """Diagnose what is missing and print the table."""
    frame = errors().reset_index(drop=True)
    done = json.loads(STORE.read_text()) if STORE.exists() else {}
    warnings.simplefilter("ignore")
    for make in REGRESSION:
        data = None
        for size, pilot in sorted(
            set(
                zip(*(frame[frame["set"] == make.__name__][c] for c in ("N", "pilot")), strict=True)
            )
        ):
            key = f"{make.__name__} {size} {pilot}"
            if key not in done:
                data = data or make()
                with one_blas_thread():
                    done[key] = seen(data, int(size), int(pilot))
                STORE.write_text(json.dumps(done, indent=0) + "\n")
    found = table(told(frame, done))
    print(found.to_string())
    summary = json.loads(SUMMARY.read_text())
    summary["findings"] = found.reset_index().to_dict("records")
    SUMMARY.write_text(json.dumps(summary, indent=0) + "\n")


if __name__ == "__main__":
    main()
