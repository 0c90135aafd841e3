"""Real feature sets that need no network: scikit-learn's, and the frozen features of the book."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import datasets

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "chapters"))

Array = NDArray[np.float64]


@dataclass(frozen=True)
class FeatureSet:
    """Rows of frozen features with a label each; rows of one group belong together."""

    features: Array
    labels: NDArray[Any]
    kind: str  # "ordinary", "heavy tails", "repeated rows" or "classes"
    groups: NDArray[np.int64] | None = None


def _standard(x: Array) -> Array:
    spread = x.std(axis=0)
    varying = x[:, spread > 0]
    return np.asarray((varying - varying.mean(axis=0)) / spread[spread > 0])


def diabetes() -> FeatureSet:
    """Ten measurements of a patient; the disease's progression."""
    x, y = datasets.load_diabetes(return_X_y=True)
    return FeatureSet(x, y, "ordinary")


def tumour_area() -> FeatureSet:
    """Means and extremes of tumour cells; the standard error of their area, a heavy tail."""
    data = datasets.load_breast_cancer(as_frame=True).data
    x = data[[c for c in data if "error" not in c]].to_numpy()
    return FeatureSet(_standard(x), data["area error"].to_numpy(), "heavy tails")


def tumours() -> FeatureSet:
    """Thirty numbers of a tumour's cells; malignant or benign."""
    x, y = datasets.load_breast_cancer(return_X_y=True)
    return FeatureSet(_standard(x), y, "classes")


def wine() -> FeatureSet:
    """Return a chemical analysis; one of three growers."""
    x, y = datasets.load_wine(return_X_y=True)
    return FeatureSet(_standard(x), y, "classes")


def digits() -> FeatureSet:
    """Pixels of written digits; ten classes."""
    x, y = datasets.load_digits(return_X_y=True)
    return FeatureSet(x, y, "classes")


def pixels() -> FeatureSet:
    """Return a photograph's grey values around a pixel; the pixel, its errors heavy-tailed."""
    grey = datasets.load_sample_image("china.jpg").mean(axis=2) / 255
    patches = np.lib.stride_tricks.sliding_window_view(grey, (9, 9)).reshape(-1, 81)
    rows = patches[np.random.default_rng(0).choice(len(patches), 12_000, replace=False)]
    return FeatureSet(np.delete(rows, 40, axis=1), rows[:, 40], "heavy tails")


def frequencies() -> FeatureSet:
    """Word vectors of LLaMA's tokens; the root of how often a word occurs in Shakespeare."""
    from collections import Counter

    from book.embeddings import word_features
    from book.shakespeare import normalise, read_plays

    text = " ".join(normalise(line.text) for line in read_plays())
    counts = Counter(word for word in text.split() if word.isascii() and word.isalpha())
    chosen = [word for word in sorted(counts) if 3 <= counts[word] <= 1000]
    return FeatureSet(
        word_features(chosen)[1], np.sqrt([counts[word] for word in chosen]), "heavy tails"
    )


def words() -> FeatureSet:
    """Word vectors of LLaMA's tokens; the mean of ten ratings."""
    from book.embeddings import rated_words

    data = rated_words()
    return FeatureSet(data.features, data.ratings.mean(axis=1), "ordinary")


def word_moods() -> FeatureSet:
    """Return the same vectors at unit norm; negative, neutral or positive."""
    from book.embeddings import rated_words

    data = rated_words()
    x = data.features / np.linalg.norm(data.features, axis=1, keepdims=True)
    mean = data.ratings.mean(axis=1)
    return FeatureSet(
        x, np.where(np.abs(mean) < 1.5, "neutral", np.sign(mean).astype(str)), "classes"
    )


def sentences() -> FeatureSet:
    """Layer 20 of SmolLM2 at a sentence's last token; the mean of twenty ratings."""
    from book.smollm2 import rated_sentences

    data = rated_sentences()
    kept = data.take(data.token_counts > 1)
    return FeatureSet(kept.features("last", 20), kept.ratings.mean(axis=1), "ordinary")


def sinks() -> FeatureSet:
    """Return the same with sentences of one token, whose states are a thousand times as long."""
    from book.smollm2 import rated_sentences

    data = rated_sentences()
    return FeatureSet(data.features("last", 20), data.ratings.mean(axis=1), "sink rows")


def pooled_sentences() -> FeatureSet:
    """Layer 20's mean over tokens, one column of which holds nearly all variance."""
    from book.smollm2 import rated_sentences

    data = rated_sentences()
    return FeatureSet(data.features("mean", 20), data.ratings.mean(axis=1), "ordinary")


def raters() -> FeatureSet:
    """Sentences again, three raters each: every row of features occurs three times."""
    from book.smollm2 import rated_sentences

    data = rated_sentences()
    rows = np.repeat(np.arange(len(data.ratings)), 3)
    x = data.features("last", "final")[rows]
    return FeatureSet(x, data.ratings[:, :3].ravel(), "repeated rows", rows)


def sentiment() -> FeatureSet:
    """Layer 30 at the last token; whether a sentence is positive."""
    from book.smollm2 import rated_sentences

    data = rated_sentences()
    return FeatureSet(data.features("last", 30), data.ratings.mean(axis=1) > 0, "classes")


def genres() -> FeatureSet:
    """Lines of Shakespeare as means of token vectors; comedy, history or tragedy."""
    from book.embeddings import word_features
    from book.shakespeare import read_plays, thin

    lines = [line for line in thin(read_plays(), 200) if len(line.text) > 20]
    x = word_features(line.text for line in lines)[1]
    return FeatureSet(x, np.array([line.group for line in lines]), "classes")


def _characters() -> tuple[Array, list[str], NDArray[Any]]:
    from book.shakespeare import encode, read_plays, thin
    from book.transformers import Family

    lines = [line.text for line in thin(read_plays(), 200) if len(encode(line.text)) >= 32]
    tokens = np.array([encode(text)[:32] for text in lines])
    model = Family("shakespeare").model(96)
    return model.hidden(tokens[:, :24])[:, -1].astype(float), lines, tokens


def lengths() -> FeatureSet:
    """Return a small transformer's state after 24 characters; how long the line still is."""
    from book.shakespeare import encode

    x, lines, _ = _characters()
    return FeatureSet(x, np.array([len(encode(text)) for text in lines], float), "ordinary")


def next_letters() -> FeatureSet:
    """Return the same state; which character comes next, of the eight most frequent."""
    x, _, tokens = _characters()
    values, counts = np.unique(tokens[:, 24], return_counts=True)
    kept = np.isin(tokens[:, 24], values[np.argsort(counts)[-8:]])
    return FeatureSet(x[kept], tokens[kept, 24], "classes")


REGRESSION: tuple[Callable[[], FeatureSet], ...] = (
    diabetes, words, sentences, pooled_sentences, lengths, tumour_area,
    frequencies, pixels, raters, sinks,
)  # fmt: skip
CLASSES: tuple[Callable[[], FeatureSet], ...] = (
    tumours, wine, digits, word_moods, sentiment, genres, next_letters,
)  # fmt: skip
