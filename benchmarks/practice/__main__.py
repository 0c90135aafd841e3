"""Is the advice any good?  Real feature sets, small pilots, and what people do instead.

    python -m benchmarks.practice [--short] [--sets NAME ...]

A pilot of N labelled rows predicts the squared error (of classes: the accuracy) of a ridge head
that will be trained on n labels.  The truth is measured on all rows of the set.  Finished cells
are kept in ``practice.json`` beside this file and are not done again.  Rivals: the pilot's own
cross-validation, curves through its learning curve, and for classes logistic regression.  A third
table asks how many labels reach a risk, which in truth 4N reach; the rival is the rule of Riley
and others (pmsampsize) for the R² of that risk.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.practice.rivals import (
    best_curve,
    logistic,
    logistic_accuracy,
    pmsampsize,
    power_law,
)
from benchmarks.practice.sets import CLASSES, REGRESSION, FeatureSet
from benchmarks.practice.truth import PENALTIES, Truth, heads, measure, split, targets
from hmmtheory import predict_accuracy, recommend
from hmmtheory._linalg import thin_svd
from hmmtheory._trials import one_blas_thread

STORE = Path(__file__).with_name("practice.json")
#: What the book shows of it.
SUMMARY = Path(__file__).with_name("summary.json")
PILOTS = (60, 150, 400)
#: n over N.
SHARES = (0.25, 1.0, 4.0, 20.0)


def truth_of(data: FeatureSet, n: int, draws: int) -> tuple[Truth, float]:
    """Measure heads of n labels, with more draws where n is small; and logistic ones."""
    other = logistic_accuracy(data, n) if data.kind == "classes" else float("nan")
    return measure(data, n, max(4, min(draws, 40_000 // n))), other


def left_out(x: Any, y: Any, ridges: Any) -> tuple[float, float]:
    """Return the least leave-one-out error of a pilot and its penalty."""
    _, errors, _ = heads(x, y, ridges)
    best = int(np.argmin(errors))
    return float(errors[best]), float(ridges[best])


def learning_curve(x: Any, y: Any, codes: Any, rng: np.random.Generator) -> tuple[Any, Any]:
    """Return sizes and mean held-out errors (or shares of wrong classes) within a pilot."""
    rows = len(x)
    sizes = np.unique(np.geomspace(max(10, rows // 8), 0.8 * rows, 6).astype(int))
    found = np.empty(sizes.size)
    for k, m in enumerate(sizes):
        errors = []
        for _ in range(12):
            order = rng.permutation(rows)
            train, rest = order[:m], order[m:]
            ridges = PENALTIES[::4] * x[train].var(axis=0).sum()
            predict, left, _ = heads(x[train], y[train], ridges)
            guess = next(predict(x[rest], [ridges[int(np.argmin(left))]]))
            wrong = np.square(y[rest] - guess).sum(axis=1).mean()
            errors.append(wrong if codes is None else (guess.argmax(1) != codes[rest]).mean())
        found[k] = np.mean(errors)
    return sizes, found


def pilot_rows(
    data: FeatureSet, size: int, shares: Any, draws: int, pilots: int, truths: dict[int, Any]
) -> list[dict[str, Any]]:
    """Return one line for each pilot and n."""
    y, codes = targets(data.labels, data.kind)
    rows, most = [], len(data.labels) - 50
    budgets = sorted({int(share * size) for share in shares if 8 <= share * size <= most})
    for n in budgets:
        if n not in truths:
            truths[n] = truth_of(data, n, draws)
    for k in range(pilots):
        rng = np.random.default_rng([size, k])
        chosen = split(data, size, rng)[0]
        x, own = data.features[chosen], y[chosen]
        labels, groups = data.labels[chosen], None if data.groups is None else data.groups[chosen]
        if codes is not None and len(np.unique(labels)) < len(np.unique(data.labels)):
            continue
        ridges = PENALTIES * x.var(axis=0).sum()
        error, _ = left_out(x, own, ridges)
        curve = learning_curve(x, own, None if codes is None else codes[chosen], rng)
        guess = logistic(x, labels)[1] if codes is not None else float("nan")
        for n in budgets:
            (truth, other), start = truths[n], time.perf_counter()
            line: dict[str, Any] = {"N": size, "pilot": k, "n": n}
            line["power law"] = power_law(*curve, n)
            line["best curve"] = best_curve(*curve, n)
            if codes is None:
                advice = recommend(x, labels, n, groups=groups)
                best = float(truth.risk.min())
                at = float(np.interp(np.log(max(advice.ridge, truth.ridges[0])),
                                     np.log(truth.ridges), truth.risk))  # fmt: skip
                line |= {"truth": best, "ours": advice.risk, "se": advice.standard_error}
                line |= {"cv": error, "all": advice.size == x.shape[1], "size": advice.size}
                line |= {"regret ridge": at / best - 1, "regret cv": truth.risk_cv / best - 1}
                if advice.size < x.shape[1]:
                    cut = FeatureSet(data.features[:, : advice.size], data.labels, data.kind,
                                     data.groups)  # fmt: skip
                    line["regret"] = measure(cut, n, 6).risk_cv / best - 1
                else:
                    # What the fitted head does with n rows: see recommend.
                    keep = data.kind == "repeated rows" or 2 * n <= size
                    line["regret"] = line["regret ridge" if keep else "regret cv"]
                if n == 4 * size:
                    line |= labels_for(x, labels, groups, best, float(y.var()))
            else:
                said = predict_accuracy(x, labels, n)
                hits = left_out_hits(x, own, codes[chosen], ridges)
                line |= {"truth": truth.accuracy_cv, "ours": said.accuracy, "cv": hits}
                line |= {"se": said.standard_error, "power law": 1 - line["power law"]}
                line |= {"best curve": 1 - line["best curve"]}
                line |= {"logistic": guess, "logistic head": other}
            line["seconds"] = time.perf_counter() - start
            rows.append(line)
    return rows


def labels_for(x: Any, labels: Any, groups: Any, risk: float, variance: float) -> dict[str, Any]:
    """Return how many labels a pilot, and a rule, ask for a risk; infinite if no number does."""
    found = recommend(x, labels, target=risk, groups=groups)
    low, high = (np.inf if end is None else end for end in found.labels_interval)
    r2 = 1 - risk / variance
    rule = max(pmsampsize(x.shape[1], r2)) if 0 < r2 < 1 else np.inf
    return {"asked": found.labels_needed or np.inf, "low": low, "high": high, "rule": rule}


def left_out_hits(x: Any, y: Any, codes: Any, ridges: Any) -> float:
    """Return the share of rows that the best ridge head gets right without having seen them."""
    mean_x, mean_y = x.mean(axis=0), y.mean(axis=0)
    u, s, _ = thin_svd(x - mean_x)
    lam = left_out(x, y, ridges)[1]
    d = s**2 / (s**2 + lam)
    kept = np.maximum(1 - u**2 @ d - 1 / len(x), 1e-12)
    errors = (y - mean_y - u @ (d[:, None] * (u.T @ (y - mean_y)))) / kept[:, None]
    return float(((y - errors).argmax(axis=1) == codes).mean())


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the table of one kind of label: per cent of the truth, or points of accuracy."""
    lines = []
    classes = frame["regret"].isna().all() if "regret" in frame else True
    for name, part in [*frame.groupby("set"), ("all", frame)]:
        line: dict[str, Any] = {"set": name, "cells": len(part)}
        for who in ("ours", "cv", "power law", "best curve", *(["logistic"] if classes else [])):
            off = abs(part[who] - part["truth"]) * 100
            off = off if classes else off / part["truth"]
            line[f"{who}: median"] = off.median()
            line[f"{who}: 90 %"] = off.quantile(0.9)
            line[f"{who}: worst"] = off.max()
        line["covered"] = (abs(part["ours"] - part["truth"]) <= 1.96 * part["se"]).mean()
        if not classes:
            line["regret, %"] = 100 * part["regret"].mean()
            line["RidgeCV's"] = 100 * part["regret cv"].mean()
            line["predicted ridge's"] = 100 * part["regret ridge"].mean()
        else:
            line["logistic head's lead"] = 100 * (part["logistic head"] - part["truth"]).mean()
        line["seconds"] = part["seconds"].median()
        lines.append(line)
    return pd.DataFrame(lines).set_index("set").round(2)


def labels_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return how many labels are asked for, over the number that reaches the risk in truth."""
    lines = []
    asked = frame[frame["n"] == 4 * frame["N"]]
    for name, part in [*asked.groupby("set"), ("all", asked)]:
        ratio, rule = part["asked"] / part["n"], part["rule"] / part["n"]
        inside = (part["low"] <= part["n"]) & (part["n"] <= part["high"])
        line = {"set": name, "pilots": len(part), "ours: median": ratio.median()}
        line |= {"10 %": ratio.quantile(0.1, "lower"), "90 %": ratio.quantile(0.9, "higher")}
        line |= {"inside the interval": inside.mean(), "pmsampsize: median": rule.median()}
        lines.append(line)
    return pd.DataFrame(lines).set_index("set").round(2)


def stored_tables(done: dict[str, Any]) -> dict[str, list[dict[Any, Any]]]:
    """Return the tables of all finished sets, as the book shows them."""
    found: dict[str, list[dict[Any, Any]]] = {}
    rivals: dict[str, dict[Any, Any]] = {
        who: {} for who in ("ours", "cv", "power law", "best curve", "logistic")
    }
    for part, makers in (("regression", REGRESSION), ("classes", CLASSES)):
        names = [make.__name__ for make in makers]
        frames = [
            pd.DataFrame(lines).assign(set=key.rpartition(" ")[0].replace("_", " "))
            for key, lines in done.items()
            if key.rpartition(" ")[0] in names
        ]
        if frames:
            frame = pd.concat(frames)
            whole = table(frame).drop(columns="seconds").reset_index()
            hidden = whole.columns.str.endswith("worst") | whole.columns.str.match("best|logistic:")
            found[part] = whole.loc[:, ~hidden].to_dict("records")
            if part == "regression":
                labels = labels_table(frame).reset_index().astype(object)
                found["labels"] = labels.replace(np.inf, "∞").to_dict("records")
            unit = "numbers, %" if part == "regression" else "classes, points"
            last = whole.iloc[-1]
            for who in rivals:
                for what in ("median", "90 %"):
                    rivals[who][f"{unit}: {what}"] = last.get(f"{who}: {what}", "")
    found["rivals"] = [{"by": who, **line} for who, line in rivals.items()]
    return found


def main() -> None:
    """Run what is missing and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--short", action="store_true", help="two pilots, small n: some minutes")
    parser.add_argument("--sets", nargs="*", default=[], help="names of sets")
    given = parser.parse_args()
    pilots, draws = (2, 6) if given.short else (4, 24)
    done = json.loads(STORE.read_text()) if STORE.exists() and not given.short else {}
    warnings.simplefilter("ignore")
    for kind, makers in (("squared error, %", REGRESSION), ("accuracy, points", CLASSES)):
        frames = []
        for make in makers:
            name = make.__name__
            if given.sets and name not in given.sets:
                continue
            data: FeatureSet | None = None
            truths: dict[int, Any] = {}
            for size in PILOTS[:2] if given.short else PILOTS:
                key = f"{name} {size}"
                if key not in done:
                    data = data or make()
                    shares = SHARES[:2] if given.short else SHARES
                    with one_blas_thread():
                        done[key] = pilot_rows(data, size, shares, draws, pilots, truths)
                    if not given.short:
                        STORE.write_text(json.dumps(done, indent=0) + "\n")
                        kept = json.loads(SUMMARY.read_text()) if SUMMARY.exists() else {}
                        SUMMARY.write_text(json.dumps(kept | stored_tables(done), indent=0) + "\n")
                frames.append(pd.DataFrame(done[key]).assign(set=name))
        if frames:
            whole = pd.concat(frames)
            print(f"\n{kind}: error of the prediction\n{table(whole).to_string()}")
            if "asked" in whole:
                print(f"\nlabels asked for, over those needed\n{labels_table(whole).to_string()}")


if __name__ == "__main__":
    main()
