"""Decoder-only transformers in NumPy, and the families of small ones that the book pretrained.

The architecture is that of Llama and SmolLM2: RMS norms before each part, rotary positions on
adjacent pairs, SwiGLU, no biases.  Matrices are stored (out, in) under the names of GGUF files.
`pretrain_transformers.py` beside this file made the weights.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hmmtheory import CategoricalHMM

Float32 = NDArray[np.float32]
HERE = Path(__file__).resolve().parent


# ---------------------------------------------------------------- the architecture


@dataclass(frozen=True)
class Architecture:
    """The shape of a decoder-only transformer.

    Parameters
    ----------
    n_tokens, width, layers : int
        Vocabulary V, width w of the residual stream, number of blocks.
    heads, kv_heads : int
        Query heads, and key and value heads, each of w / heads dimensions.
    feed_forward : int
        Width inside the feed-forward part.
    rope_base, epsilon : float
        The base of the rotary frequencies, and what is added to a mean square in an RMS norm.
    """

    n_tokens: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    feed_forward: int
    rope_base: float = 10000.0
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) > 0:
                raise ValueError(
                    f"{field.name} must be positive; got {getattr(self, field.name)!r}"
                )
        if self.width % (2 * self.heads) or self.heads % self.kv_heads:
            raise ValueError(
                "width must be a multiple of twice heads, and heads one of kv_heads; got "
                f"{self.width}, {self.heads} and {self.kv_heads}"
            )

    @classmethod
    def small(cls, n_tokens: int, width: int, layers: int) -> Architecture:
        """Return the book's: heads of 16 dimensions where they fit, else one; SwiGLU of 2w."""
        heads = width // 16 if width % 16 == 0 else 1
        return cls(n_tokens, width, layers, heads, heads, 2 * width)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each weight, in the order in which they are stored."""
        w, f = self.width, self.feed_forward
        kv = w // self.heads * self.kv_heads
        block = {
            "attn_norm": (w,),
            "attn_q": (w, w),
            "attn_k": (kv, w),
            "attn_v": (kv, w),
            "attn_output": (w, w),
            "ffn_norm": (w,),
            "ffn_gate": (f, w),
            "ffn_up": (f, w),
            "ffn_down": (w, f),
        }
        return {
            "token_embd.weight": (self.n_tokens, w),
            **{f"blk.{i}.{k}.weight": s for i in range(self.layers) for k, s in block.items()},
            "output_norm.weight": (w,),
            "output.weight": (self.n_tokens, w),
        }

    @property
    def n_parameters(self) -> int:
        """How many weights there are."""
        return sum(int(np.prod(shape)) for shape in self.shapes().values())

    def split(self, flat: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Return the weights that one vector holds, by name."""
        if flat.shape != (self.n_parameters,):
            raise ValueError(f"flat must have shape ({self.n_parameters},); got {flat.shape}")
        shapes = self.shapes()
        ends = np.cumsum([int(np.prod(shape)) for shape in shapes.values()])
        parts = np.split(flat, ends[:-1])
        return {k: p.reshape(s) for (k, s), p in zip(shapes.items(), parts, strict=True)}


# ---------------------------------------------------------------- the forward pass


@dataclass(frozen=True, eq=False)
class Transformer:
    """A transformer and its weights.

    Parameters
    ----------
    architecture : Architecture
    weights : mapping of str to ndarray
        By the names of `Architecture.shapes`; without "output.weight" the embedding serves
        (tied weights).

    Raises
    ------
    ValueError
        If a weight is missing, or has another shape or a value that is not finite.
    """

    architecture: Architecture
    weights: Mapping[str, Float32]

    def __post_init__(self) -> None:
        weights = {}
        for name, shape in self.architecture.shapes().items():
            tied = "token_embd.weight" if name == "output.weight" else name
            value = self.weights.get(name, self.weights.get(tied))
            if value is None:
                raise ValueError(f"weights must hold {name}; it is missing")
            if np.shape(value) != shape:
                raise ValueError(f"{name} must have shape {shape}; got {np.shape(value)}")
            weights[name] = np.asarray(value, dtype=np.float32)
            if not np.isfinite(weights[name]).all():
                raise ValueError(f"{name} must be finite")
        object.__setattr__(self, "weights", weights)

    def hidden(
        self, tokens: ArrayLike, after: int | None = None, batch: int | None = None
    ) -> Float32:
        """Return the hidden state at each position.

        Parameters
        ----------
        tokens : array_like of int, shape (n, T)
        after : int, optional
            The residual stream after that many blocks, 0 for the embedding.  By default after
            all of them and the final norm: what the output matrix reads.
        batch : int, optional
            Sequences at a time; by default as many as keep memory small.

        Returns
        -------
        ndarray of float32, shape (n, T, w)

        Raises
        ------
        ValueError
            If `tokens` is not such a matrix with entries in [0, V), or there is no such block.
        """
        a = self.architecture
        tokens = self._check(tokens)
        if after is not None and not 0 <= after <= a.layers:
            raise ValueError(f"after must lie in 0 ... {a.layers}; got {after}")
        n, length = tokens.shape
        batch = batch or max(1, 2**22 // (length * max(a.heads * length, a.feed_forward)))
        states = np.empty((n, length, a.width), dtype=np.float32)
        for start in range(0, n, batch):
            stream = self._stream(tokens[start : start + batch])
            x = next(islice(stream, a.layers if after is None else after, None))
            states[start : start + batch] = x if after is not None else self.final_norm(x)
        return states

    def residual_stream(self, tokens: ArrayLike, layers: Sequence[int]) -> dict[int, Float32]:
        """Return the residual stream (n, T, w) after each of some numbers of blocks, in one pass.

        Parameters
        ----------
        tokens : array_like of int, shape (n, T)
        layers : sequence of int
            Numbers of blocks, 0 for the embedding.

        Raises
        ------
        ValueError
            As :meth:`hidden`, or if a layer is not there.
        """
        most = self.architecture.layers
        if not layers or min(layers) < 0 or max(layers) > most:
            raise ValueError(f"layers must lie in 0 ... {most}; got {layers}")
        found = list(islice(self._stream(self._check(tokens)), max(layers) + 1))
        return {layer: found[layer] for layer in layers}

    def _stream(self, tokens: NDArray[Any]) -> Iterator[Float32]:
        """Yield the residual stream before the first block and after each."""
        x = self.weights["token_embd.weight"][tokens]
        yield x
        for block in range(self.architecture.layers):
            x = x + self._attend(x, f"blk.{block}.")
            x = x + self._feed(x, f"blk.{block}.")
            yield x

    def logits(self, tokens: ArrayLike) -> Float32:
        """Return the logits of the next token at each position, shape (n, T, V)."""
        return np.asarray(self.hidden(tokens) @ self.weights["output.weight"].T)

    def log_probabilities(self, tokens: ArrayLike) -> Float32:
        """Return log P(token t+1 | tokens 1 ... t) of the tokens given, in nats, (n, T-1)."""
        tokens = self._check(tokens)
        if tokens.shape[1] < 2:
            raise ValueError("tokens must have at least two columns, the first is not predicted")
        logits = self.logits(tokens[:, :-1])
        top = logits.max(axis=-1)
        total = top + np.log(np.exp(logits - top[..., None]).sum(axis=-1))
        return np.asarray(np.take_along_axis(logits, tokens[:, 1:, None], -1)[..., 0] - total)

    def _check(self, tokens: ArrayLike) -> NDArray[Any]:
        array = np.asarray(tokens)
        if array.ndim != 2 or 0 in array.shape or array.dtype.kind not in "iu":
            raise ValueError(
                f"tokens must be a non-empty integer matrix (n, T); got {array.dtype} {array.shape}"
            )
        if array.min() < 0 or array.max() >= self.architecture.n_tokens:
            raise ValueError(
                f"tokens must lie in [0, {self.architecture.n_tokens}); "
                f"got {array.min()} to {array.max()}"
            )
        return array

    def final_norm(self, x: Float32) -> Float32:
        """Return what the output matrix reads, of the stream (…, w) after the last block."""
        return self._norm(x, "output_norm")

    def _norm(self, x: Float32, name: str) -> Float32:
        scale = np.sqrt(np.square(x).mean(axis=-1, keepdims=True) + self.architecture.epsilon)
        return np.asarray(x / scale * self.weights[f"{name}.weight"])

    def _attend(self, x: Float32, block: str) -> Float32:
        a = self.architecture
        n, length, _ = x.shape
        normed = self._norm(x, f"{block}attn_norm")

        def heads(name: str) -> Float32:
            y = normed @ self.weights[f"{block}attn_{name}.weight"].T
            return y.reshape(n, length, -1, a.width // a.heads).swapaxes(1, 2)

        q, k = (rotate(heads(name), a.rope_base) for name in "qk")
        k, v = (np.repeat(y, a.heads // a.kv_heads, axis=1) for y in (k, heads("v")))
        scores = q @ k.swapaxes(2, 3) / np.float32(np.sqrt(q.shape[-1]))
        scores[..., np.triu(np.ones((length, length), dtype=bool), 1)] = -np.inf
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        scores /= scores.sum(axis=-1, keepdims=True)
        mixed = (scores @ v).swapaxes(1, 2).reshape(x.shape)
        return np.asarray(mixed @ self.weights[f"{block}attn_output.weight"].T)

    def _feed(self, x: Float32, block: str) -> Float32:
        normed = self._norm(x, f"{block}ffn_norm")
        gate, up, down = (self.weights[f"{block}ffn_{k}.weight"].T for k in ("gate", "up", "down"))
        gated = normed @ gate
        with np.errstate(over="ignore"):  # exp(-x) = inf gives the right limit, zero
            gated /= 1.0 + np.exp(-gated)
        return np.asarray((gated * (normed @ up)) @ down)


def rotate(x: Float32, base: float) -> Float32:
    """Turn each adjacent pair (2i, 2i + 1) at position t by the angle t base^(-2i/D).

    `x` has shape (..., T, D).
    """
    length, d = x.shape[-2:]
    angle = np.arange(length)[:, None] * base ** (-np.arange(0, d, 2) / d)
    cos, sin = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
    even, odd = x[..., 0::2], x[..., 1::2]
    turned = np.stack([even * cos - odd * sin, even * sin + odd * cos], axis=-1)
    return np.asarray(turned.reshape(x.shape))


# ---------------------------------------------------------------- known chains


def token_chain() -> CategoricalHMM:
    """Return the chain of 20 states and 30 tokens whose tokens a family was pretrained on.

    It starts from its stationary distribution.
    """
    rng, K, V = np.random.default_rng(20), 20, 30
    transition = 0.3 * np.eye(K) + 0.7 * rng.dirichlet(np.full(K, 0.15), K)
    emission = rng.dirichlet(np.full(V, 0.25), K)
    return _stationary(0.995 * transition + 0.005 / K, 0.99 * emission + 0.01 / V)


def mess3(x: float = 0.05, a: float = 0.85) -> CategoricalHMM:
    """Return Mess3 (Marzen and Crutchfield 2017): three states, three tokens, symmetric."""
    transition = np.full((3, 3), x) + np.eye(3) * (1 - 3 * x)
    emission = np.full((3, 3), (1 - a) / 2) + np.eye(3) * (3 * a - 1) / 2
    return _stationary(transition, emission)


def _stationary(transition: NDArray[Any], emission: NDArray[Any]) -> CategoricalHMM:
    start = np.full(len(transition), 1 / len(transition))
    start = CategoricalHMM(start, transition, emission).stationary_distribution
    return CategoricalHMM(start, transition, emission)


# ---------------------------------------------------------------- the pretrained families

CHAIN_FAMILIES = {"tokens": token_chain, "mess3": mess3}
"""The families that were pretrained on a chain's tokens, and their chains."""


def pack_path(family: str) -> Path:
    """Return where the weights of a family lie."""
    return HERE / f"transformers_{family}.npz"


def shorten(values: ArrayLike, significant: int) -> NDArray[np.float16]:
    """Round to float16 numbers of 2 to 11 significant bits; the bits left zero cost no space."""
    if not 2 <= significant <= 11:
        raise ValueError(f"significant must lie in 2 ... 11; got {significant}")
    bits = np.asarray(values, dtype=np.float16).view(np.uint16)
    dropped = 11 - significant
    half = np.uint16((1 << dropped) >> 1)
    return np.asarray(((bits + half) >> dropped << dropped).astype(np.uint16).view(np.float16))


class Family:
    """A family of pretrained transformers, from its file.

    Parameters
    ----------
    name : {"shakespeare", "tokens", "mess3"}
    path : Path, optional
        The file, where it is not the one beside this module.

    Attributes
    ----------
    widths : tuple of int
    facts : dict
        Context, layers, and how the family was trained.
    record : list of dict
        For each model its width, seed, bits per token, steps and seconds, and whether its weights
        are stored: those of the widest models are, but for one seed, only counted here.

    Raises
    ------
    ValueError
        If the file is missing or not such a file.
    """

    def __init__(self, name: str, path: Path | None = None) -> None:
        path = pack_path(name) if path is None else Path(path)
        try:
            with np.load(path, allow_pickle=False) as file:
                self._arrays = {key: file[key] for key in file.files}
            self.facts: dict[str, Any] = json.loads(str(self._arrays["facts"]))
            self.record: list[dict[str, Any]] = self.facts.pop("record")
            found = self.facts["name"]
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"{path} must be a file of pretrained transformers; {type(error).__name__}: {error}"
            ) from error
        if found != name:
            raise ValueError(f"{path} must hold the family {name!r}; it holds {found!r}")
        self.name = name
        self.widths: tuple[int, ...] = tuple(self.facts["widths"])

    def seeds(self, width: int) -> tuple[int, ...]:
        """Return the seeds of that width whose weights are stored."""
        return tuple(r["seed"] for r in self.record if r["width"] == width and r["stored"])

    def model(self, width: int, seed: int = 0) -> Transformer:
        """Return the model of that width and seed.

        Raises
        ------
        ValueError
            If there is none.
        """
        if seed not in self.seeds(width):
            there = {w: self.seeds(w) for w in self.widths}
            raise ValueError(f"no model has width {width} and seed {seed}; there are {there}")
        architecture = Architecture.small(self.facts["n_tokens"], width, self.facts["layers"])
        flat = self._arrays[f"weights_{width}"][self.seeds(width).index(seed)]
        return Transformer(architecture, architecture.split(flat))

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Go through the widths and seeds that are stored, in the order of the record."""
        return ((row["width"], row["seed"]) for row in self.record if row["stored"])

    def check(self, width: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Return tokens, and PyTorch's last hidden states and logits of them (seeds, n, …)."""
        a = self._arrays
        return a["check_tokens"], a[f"check_hidden_{width}"], a[f"check_logits_{width}"]
