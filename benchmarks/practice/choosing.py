"""Which frozen features?  `compare` beside scores that rank models in one pass.

    python -m benchmarks.practice.choosing [--short]

A family is a set of features of the same rows: layers and poolings of SmolLM2, transformers of
growing width on two texts, word vectors cut to their first columns.  A pilot of N rows ranks them;
the truth is the error of the best ridge head of each on n labels, measured on all rows.  Rivals,
computed from their published formulas: LogME (You and others 2021, the evidence of a Bayesian
linear model), the H-score with shrunk covariance (Bao and others 2019; Ibrahim and others 2022;
numbers as labels are cut into five classes), the leave-one-out error at N, the widest, and where
states of whole texts can be had NTPS (Cheng and others 2025: how much of the label's directions
lies among those that foretell the next state; the leading half of them here).  SmolLM2's states of
whole sentences need the model's packages, see ``chapters/book/smollm2.py``; without them its NTPS
stays as it is.  Finished cells are kept in ``choosing.json`` beside this file.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import spearmanr
from sklearn.covariance import ledoit_wolf

from benchmarks.practice.sets import Array, FeatureSet
from benchmarks.practice.truth import PENALTIES, heads, measure
from hmmtheory import compare
from hmmtheory._linalg import thin_svd
from hmmtheory._trials import one_blas_thread

STORE = Path(__file__).with_name("choosing.json")
SUMMARY = Path(__file__).with_name("summary.json")
PILOTS = (60, 150, 400)
SHARES = (0.25, 1.0, 4.0, 20.0)
CLASSES = 5


class Members(NamedTuple):
    """Features by name, their labels (N, q), and for NTPS each one's directions of the next."""

    features: dict[str, Array]
    labels: Array
    next_directions: dict[str, Array] = {}  # noqa: RUF012


def layers() -> Members:
    """SmolLM2's layers and poolings; the mean of twenty ratings of a sentence."""
    from book.smollm2 import rated_sentences

    everything = rated_sentences()
    kept = everything.take(everything.token_counts > 1)
    where = [("last", k) for k in (0, 10, 20, 30, "final")] + [("mean", 20)]
    found = {f"{a} {b}": kept.features(a, b) for a, b in where}
    spans = sentence_directions(kept.sentences.tolist())
    given = {f"{a} {b}": spans[str(b)] for a, b in where if str(b) in spans}
    return Members(found, kept.ratings.mean(axis=1)[:, None], given)


def sentence_directions(sentences: list[str], batch: int = 32) -> dict[str, Array]:
    """Return for each of SmolLM2's layers the directions of the next; none without the model.

    The first token of a sentence is an attention sink, and left out.
    """
    from book.smollm2 import load_gguf, model_file

    try:
        model, tokenizer = load_gguf(model_file())
    except (FileNotFoundError, ImportError):
        return {}
    tokens = sorted((tokenizer.encode(sentence).ids for sentence in sentences), key=len)
    sums: dict[str, Any] = dict.fromkeys(("0", "10", "20", "30", "final"), 0.0)
    for start in range(0, len(tokens), batch):
        some = tokens[start : start + batch]
        real = np.arange(max(map(len, some))) < [[len(t)] for t in some]
        padded = np.zeros(real.shape, int)
        padded[real] = np.concatenate(some)
        states = {str(k): x for k, x in model.residual_stream(padded, (0, 10, 20, 30)).items()}
        states["final"] = model.final_norm(states["30"])
        for name, state in states.items():
            rest = state.astype(float) * real[:, :, None]
            sums[name] = sums[name] + next_moments(rest[:, 1:])
    return {name: next_directions(total) for name, total in sums.items()}


def widths() -> Members:
    """Small transformers on an HMM's tokens; the hidden state, one-hot."""
    from book.transformers import Family, token_chain

    family, chain = Family("tokens"), token_chain()
    states, tokens = chain.sample(3000, 48, rng=11)
    sizes = sorted({width for width, _ in family})
    found, spans = {}, {}
    for width in sizes:
        along = family.model(width).hidden(tokens).astype(float)
        found[str(width)] = along[:, -1]
        spans[str(width)] = next_directions(next_moments(along))
    return Members(found, np.eye(20)[states[:, -1]], spans)


def plays() -> Members:
    """Small transformers on Shakespeare, mean over a line; how many words the line has."""
    from book.shakespeare import encode, normalise, pad, read_plays, split, thin
    from book.transformers import Family

    lines = [line for line in split(read_plays())[1] if len(normalise(line.text)) >= 20]
    lines = thin(lines, 150)
    tokens, real = pad([encode(line.text) for line in lines])
    begun = np.column_stack([np.zeros(len(tokens), int), tokens])
    found, spans, family = {}, {}, Family("shakespeare")
    for width in (8, 16, 32, 64, 96, 128):
        states = family.model(width).hidden(begun)[:, 1:]
        pooled = (states * real[:, :, None]).sum(axis=1) / real.sum(axis=1)[:, None]
        found[str(width)] = pooled.astype(float)
        spans[str(width)] = next_directions(next_moments(states.astype(float) * real[:, :, None]))
    return Members(found, np.array([[len(line.text.split())] for line in lines], float), spans)


def vectors() -> Members:
    """Word vectors cut to their first columns, raw and of unit length; ten ratings of a word."""
    from book.embeddings import rated_words

    words = rated_words()
    unit = words.features / np.linalg.norm(words.features, axis=1, keepdims=True)
    found = {f"first {p}": words.features[:, :p] for p in (4, 16, 64, 256)}
    return Members(found | {"unit": unit}, words.ratings.mean(axis=1)[:, None])


FAMILIES: dict[str, Callable[[], Members]] = {
    "SmolLM2, layers": layers,
    "transformers, widths": widths,
    "Shakespeare, widths": plays,
    "word vectors, columns": vectors,
}


def logme(x: Array, y: Array) -> float:
    """Return the mean over outputs of the evidence, maximised in its two precisions, over N."""
    rows, total = len(x), 0.0
    u, s, _ = thin_svd(x - x.mean(axis=0))
    eigen, rank = s**2, len(s)
    for column in (y - y.mean(axis=0)).T:
        seen, alpha, beta = u.T @ column, 1.0, 1.0
        outside = float(column @ column - seen @ seen)
        for _ in range(50):
            share = beta * eigen / (alpha + beta * eigen)
            gamma = share.sum()
            weights = float((share**2 * seen**2 / eigen).sum())
            misfit = outside + float(((1 - share) ** 2 * seen**2).sum())
            new = gamma / max(weights, 1e-300), max(rows - gamma, 1e-12) / max(misfit, 1e-300)
            done = np.allclose(new, (alpha, beta), rtol=1e-6, atol=0)
            alpha, beta = new
            if done:
                break
        log = x.shape[1] * np.log(alpha) + rows * np.log(beta) - rows * np.log(2 * np.pi)
        log -= beta * misfit + alpha * weights
        log -= np.log(alpha + beta * eigen).sum() + (x.shape[1] - rank) * np.log(alpha)
        total += 0.5 * log / rows
    return float(total / y.shape[1])


def h_score(x: Array, y: Array) -> float:
    """Return (1 - α) tr(Σ_α⁻¹ Σ_between), with the Ledoit-Wolf covariance and its shrinkage α."""
    if y.shape[1] > 1:
        codes = y.argmax(axis=1)
    else:
        codes = np.searchsorted(np.quantile(y, np.arange(1, CLASSES) / CLASSES), y[:, 0])
    centred = x - x.mean(axis=0)
    covariance, shrinkage = ledoit_wolf(centred)
    means = np.stack([centred[codes == c].mean(axis=0) for c in codes])
    return float((1 - shrinkage) * np.trace(np.linalg.solve(covariance, means.T @ means / len(x))))


def leading(cross: Array, scatter: Array, count: int) -> Array:
    """Return the leading solutions v of (C Cᵀ) v = μ S v within the range of S, as columns."""
    values, vectors = np.linalg.eigh(scatter)
    kept = values > 1e-8 * values[-1]
    white = vectors[:, kept] / np.sqrt(values[kept])
    u, _, _ = np.linalg.svd(white.T @ cross, full_matrices=False)
    return np.asarray(white @ u[:, :count])


def next_moments(states: Array) -> Array:
    """Return sums of products (2, p, p): running sums with next states, and with themselves.

    The states (N, L, p) of a text that is over are zero.
    """
    so_far, coming = np.cumsum(states, axis=1)[:, :-1], states[:, 1:]
    so_far = so_far * np.any(coming != 0, axis=2, keepdims=True)
    flat = so_far.reshape(-1, states.shape[2])
    return np.stack([flat.T @ coming.reshape(flat.shape), flat.T @ flat])


def next_directions(moments: Array) -> Array:
    """Return an orthonormal basis of the directions whose running sum foretells the next state."""
    cross, scatter = moments
    return np.asarray(np.linalg.qr(leading(cross, scatter, max(len(cross) // 2, 1)))[0])


def ntps(x: Array, y: Array, directions: Array) -> float:
    """Return ‖P U‖²/‖U‖²: U the label's directions, P onto those of the next state."""
    centred = x - x.mean(axis=0)
    span = leading(centred.T @ (y - y.mean(axis=0)), centred.T @ centred, min(y.shape[1], 20))
    return float(np.square(directions.T @ span).sum() / np.square(span).sum())


def left_out(x: Array, y: Array) -> float:
    """Return the least leave-one-out error over the ridge."""
    return float(np.min(heads(x, y, PENALTIES * x.var(axis=0).sum())[1]))


def cell(members: Members, size: int, pilot: int, counts: list[int]) -> Any:
    """Return, for one pilot, what each method says of every member; less is better."""
    rows = np.random.default_rng([size, pilot]).permutation(len(members.labels))[:size]
    few = {name: x[rows] for name, x in members.features.items()}
    b, names = members.labels[rows], list(members.features)
    said: dict[str, Any] = {
        "leave-one-out": [left_out(few[name], b) for name in names],
        "LogME": [-logme(few[name], b) for name in names],
        "H-score": [-h_score(few[name], b) for name in names],
        "widest": [-float(few[name].shape[1]) for name in names],
    }
    if spans := members.next_directions:
        said["NTPS"] = [-ntps(few[name], b, spans[name]) for name in names]
    for n in counts:
        found = compare(few, b, n)
        said[f"compare {n}"] = [float(found.risk[found.names.index(name)]) for name in names]
    return said


def measured(members: Members, n: int) -> list[float]:
    """Return the error of each member's head of n labels at its best ridge."""
    y = members.labels
    labels = y if y.shape[1] > 1 else y[:, 0]
    kind = "classes" if y.shape[1] > 1 else "ordinary"
    given = labels.argmax(axis=1) if kind == "classes" else labels
    draws = max(6, min(30, 4000 // n))
    return [
        float(measure(FeatureSet(x, given, kind), n, draws).risk.min())
        for x in members.features.values()
    ]


def run(pilots: int) -> dict[str, Any]:
    """Fill what the store lacks, and return it."""
    done: dict[str, Any] = json.loads(STORE.read_text()) if STORE.is_file() else {}
    for name, make in FAMILIES.items():
        if all(f"{name} | {size} | {k}" in done for size in PILOTS for k in range(pilots)):
            continue
        members = make()
        most = int(0.75 * len(members.labels))
        for size in PILOTS:
            counts = sorted({min(int(size * share), most) for share in SHARES})
            for n in counts:
                key = f"{name} | truth | {n}"
                if key not in done:
                    done[key] = measured(members, n)
            for k in range(pilots):
                key = f"{name} | {size} | {k}"
                if key not in done:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        done[key] = cell(members, size, k, counts)
            STORE.write_text(json.dumps(done, indent=0) + "\n", encoding="utf-8")
            print(name, size, flush=True)
    return done


def table(done: dict[str, Any]) -> pd.DataFrame:
    """Return regret in % and rank correlation of each method, a row for each pilot and n."""
    rows = []
    for key, said in done.items():
        name, size, _ = key.split(" | ")
        if size == "truth":
            continue
        counts = [int(k.split()[1]) for k in said if k.startswith("compare")]
        for n in counts:
            truth = np.array(done[f"{name} | truth | {n}"])
            scores = {k: v for k, v in said.items() if not k.startswith("compare")}
            for method, values in (scores | {"compare": said[f"compare {n}"]}).items():
                if np.ptp(values) == 0:  # all of one width; same bits: counts
                    continue
                regret = 100 * (truth[int(np.argmin(values))] / truth.min() - 1)
                rank = spearmanr(values, truth).statistic
                rows.append((name, int(size), n, method, regret, rank))
    columns = ["family", "N", "n", "method", "regret", "rank"]
    return pd.DataFrame(rows, columns=columns)


def summary(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return one row for each family and method: regret in % at each N, and rank correlation."""
    rows = []
    for (family, method), part in frame.groupby(["family", "method"], sort=False):
        by_size = part.groupby("N")["regret"].mean().round(1)
        rows.append(
            {
                "family": family,
                "chosen by": method,
                **{f"regret, N = {size}": float(by_size[size]) for size in PILOTS},
                "worst": round(float(part["regret"].max()), 1),
                "rank correlation": round(float(part["rank"].mean()), 2),
            }
        )
    return rows


def main() -> None:
    """Run what is missing and write the table that the book shows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--short", action="store_true", help="two pilots a cell")
    options = parser.parse_args()
    with one_blas_thread():
        done = run(2 if options.short else 6)
    frame = table(done)
    rows = summary(frame)
    stored = json.loads(SUMMARY.read_text(encoding="utf-8"))
    SUMMARY.write_text(json.dumps(stored | {"choosing": rows}, indent=0) + "\n", encoding="utf-8")
    print(pd.DataFrame(rows).to_string(index=False))


if __name__ == "__main__":
    main()
