"""SmolLM2's states along running text, for the question whether they are a hidden Markov chain.

Chapter 12 fits the linear chain of chapter 1 to the rows stored here and needs nothing else.
``make llm-features`` makes them again, in some ten minutes, with the packages that ``smollm2.py``
names: stretches of plays, newspaper editorials and product reviews are read by the frozen model,
and its states are looked at at every position but the first ones, which are attention sinks.
"""

from __future__ import annotations

import argparse
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import shakespeare, smollm2
from .transformers import shorten

FloatArray = NDArray[np.float64]
ROWS = Path(__file__).resolve().parent / "smollm2_text.npz"
PARTS, STRETCHES, LENGTH, DROPPED = 24, 6, 192, 8
LAYER, COMPONENTS, LABELS, KEPT_STRETCHES, BITS = 20, 48, 8, 3, 6
TEXTS = ("plays", "editorials", "reviews")
LAYERS = ("0", "10", "20", "30", "final")
COUNTS = (25, 50, 100, 200)
ARRAYS = ("states", "labels", "measured", "by_count")
COLUMNS = ("lag 1", "lags 1, 2", "lags 1, 2, 3", "whiteness", "kurtosis", "radius", "next token")


@dataclass(frozen=True, eq=False)
class TextStates:
    """States of layer 20 along plays, and what was measured on all texts and layers.

    Parameters
    ----------
    states : ndarray, shape (stretches, T, 48)
        Leading principal components of the columns at unit variance, centred.
    labels : ndarray, shape (stretches, T, 8)
        Leading components of the *next* token's embedding, centred, of total variance 1.
    measured : ndarray, shape (3, 5, 7)
        `statistics` of each text and layer with 100 components, on all stretches.
    by_count : ndarray, shape (3, 4, 7)
        The same of layer 20 with 25, 50, 100 and 200 components.

    Raises
    ------
    ValueError
        If shapes don't fit or a number is not finite.
    """

    states: FloatArray
    labels: FloatArray
    measured: FloatArray
    by_count: FloatArray

    def __post_init__(self) -> None:
        tables = (self.measured, self.by_count)
        shapes = [self.states.shape[2:], self.labels.shape[2:], *(t.shape for t in tables)]
        wanted = [(COMPONENTS,), (LABELS,)]
        wanted += [(len(TEXTS), len(rows), len(COLUMNS)) for rows in (LAYERS, COUNTS)]
        if (
            self.states.ndim != 3
            or shapes != wanted
            or self.states.shape[:2] != self.labels.shape[:2]
        ):
            raise ValueError(f"states, labels, measured and by_count must fit; got {shapes}")
        for name in ARRAYS:
            if not np.isfinite(getattr(self, name)).all():
                raise ValueError(f"{name} must be finite")


def text_states(path: Path = ROWS) -> TextStates:
    """Return the stored rows.

    Raises
    ------
    ValueError
        If the file is missing or lacks an array.
    """
    try:
        arrays = shakespeare.read_arrays(path)
        return TextStates(*(arrays[name].astype(float) for name in ARRAYS))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"path must be a file of states; {path.name} is not: {error}") from error


def components(states: NDArray[Any], count: int) -> FloatArray:
    """Return the leading components (…, count) of columns brought to mean 0 and variance 1."""
    flat = states.reshape(-1, states.shape[-1]).astype(float)
    flat = (flat - flat.mean(axis=0)) / flat.std(axis=0)
    vectors = np.linalg.eigh(flat.T @ flat)[1][:, ::-1][:, :count]
    return np.asarray((flat @ vectors).reshape(*states.shape[:-1], count))


def lagged(states: FloatArray, lags: int, most: int = 3) -> FloatArray:
    """Return each row's predecessors side by side, from the row `most` on."""
    length = states.shape[1]
    return np.concatenate([states[:, most - k : length - k] for k in range(1, lags + 1)], axis=-1)


def fitted(x: FloatArray, y: FloatArray, penalty: float = 100.0) -> FloatArray:
    """Return the ridge map from the last axis of x to that of y."""
    a, b = x.reshape(-1, x.shape[-1]), y.reshape(-1, y.shape[-1])
    return np.asarray(np.linalg.solve(a.T @ a + penalty * np.eye(a.shape[1]), a.T @ b))


def statistics(states: FloatArray, following: FloatArray) -> FloatArray:
    """Return `COLUMNS`: how well a linear chain fits, scored on a third of the stretches.

    Parameters
    ----------
    states : ndarray, shape (stretches, T, k)
    following : ndarray, shape (stretches, T, w)
        What the next token brings, row by row.

    Returns
    -------
    ndarray, shape (7,)
        The share of the next state that one, two and three lags explain; the autocorrelation
        of what one lag leaves, at lag 1; the median excess kurtosis of its components; the
        spectral radius of the fitted map; the share of `following` that a state explains.
    """
    train = np.arange(len(states)) % 3 != 0
    ahead, found = states[:, 3:], []
    for lags in (1, 2, 3):
        past = lagged(states, lags)
        rest = ahead[~train] - past[~train] @ fitted(past[train], ahead[train])
        found.append(1 - np.square(rest).sum() / np.square(ahead[~train]).sum())
        if lags == 1:
            left, radius = rest, np.abs(np.linalg.eigvals(fitted(past[train], ahead[train]))).max()
    white = (left[:, 1:] * left[:, :-1]).sum() / np.square(left).sum()
    scaled = left.reshape(-1, left.shape[-1]) / left.reshape(-1, left.shape[-1]).std(axis=0)
    kurtosis = np.median((scaled**4).mean(axis=0) - 3)
    missed = following[~train] - states[~train] @ fitted(states[train], following[train])
    told = 1 - np.square(missed).sum() / np.square(following[~train]).sum()
    return np.array([*found, white, kurtosis, radius, told])


def plays() -> list[str]:
    """Return the first 24 plays."""
    found: dict[str, list[str]] = {}
    for line in shakespeare.read_plays():
        found.setdefault(line.play, []).append(line.text)
    return ["\n".join(found[play]) for play in sorted(found)[:PARTS]]


def documents(archive: Path, kind: str) -> list[str]:
    """Return all documents of a kind, one after the other, in 24 parts."""
    found = smollm2.read_documents(archive, kind)
    cuts = np.linspace(0, len(found), PARTS + 1).astype(int)
    return ["\n".join(found[a:b]) for a, b in pairwise(cuts)]


def stretches(tokenizer: Any, texts: Sequence[str]) -> NDArray[np.int64]:
    """Return stretches of tokens of texts, evenly spaced, with one token more than is read."""
    found = []
    for text in texts:
        tokens = tokenizer.encode(text).ids
        for start in np.linspace(0, len(tokens) - LENGTH - 1, STRETCHES).astype(int):
            found.append(tokens[start : start + LENGTH + 1])
    return np.array(found)


def along(model: Any, tokens: NDArray[np.int64], batch: int = 4) -> dict[str, NDArray[np.float32]]:
    """Return the states (stretches, T, w) of each layer at the positions that are kept."""
    numbers = [int(layer) for layer in LAYERS if layer != "final"]
    blocks: dict[int, list[Any]] = {number: [] for number in numbers}
    for start in range(0, len(tokens), batch):
        stream = model.residual_stream(tokens[start : start + batch, :LENGTH], numbers)
        for number in numbers:
            blocks[number].append(stream[number][:, DROPPED:])
    found = {str(number): np.concatenate(parts) for number, parts in blocks.items()}
    return found | {"final": model.final_norm(found[str(max(numbers))])}


def make(archive: Path, target: Path = ROWS) -> None:
    """Read the texts with the model and write the rows."""
    model, tokenizer = smollm2.load_gguf(smollm2.model_file())
    tables: dict[str, list[FloatArray]] = {"measured": [], "by_count": []}
    stored: dict[str, NDArray[Any]] = {}
    given = (plays(), documents(archive, "nytEditorial"), documents(archive, "amazonReview"))
    for name, texts in zip(TEXTS, given, strict=True):
        tokens = stretches(tokenizer, texts)
        states = along(model, tokens)
        following = tokens[:, DROPPED + 1 : LENGTH + 1]
        embedding = model.weights["token_embd.weight"][following].astype(float)
        embedding -= embedding.mean(axis=(0, 1))
        rows = {layer: components(states[layer], max(COUNTS)) for layer in LAYERS}
        told = [statistics(rows[layer][..., :100], embedding) for layer in LAYERS]
        tables["measured"].append(np.array(told))
        told = [statistics(rows[str(LAYER)][..., :count], embedding) for count in COUNTS]
        tables["by_count"].append(np.array(told))
        if name == "plays":
            stored = _kept(rows[str(LAYER)][..., :COMPONENTS], embedding)
    partial = target.with_name("partial.npz")
    measured = {name: np.array(table).astype(np.float32) for name, table in tables.items()}
    np.savez_compressed(partial, allow_pickle=False, **stored, **measured)
    partial.replace(target)


def _kept(rows: FloatArray, embedding: FloatArray) -> dict[str, NDArray[Any]]:
    """Return the states and labels of half of the stretches, rounded."""
    flat = embedding.reshape(-1, embedding.shape[-1])
    labels = embedding @ np.linalg.eigh(flat.T @ flat)[1][:, ::-1][:, :LABELS]
    labels /= np.sqrt(np.square(labels).sum(axis=-1).mean())
    kept = np.arange(len(rows)) % STRETCHES < KEPT_STRETCHES
    return {
        name: shorten(array[kept] - array[kept].mean(axis=(0, 1)), BITS)
        for name, array in (("states", rows), ("labels", labels))
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make the states along text of chapter 12 again.")
    parser.add_argument("archive", type=Path, help="vaderSentiment-3.3.2.tar.gz")
    make(parser.parse_args().archive)
