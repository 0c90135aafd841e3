"""Pretrain the families of small transformers that the book freezes.

    python -m book.pretrain_transformers [--families NAME ...] [--minutes M] [--work FOLDER]

run from the folder `chapters`, trains what is missing in the work folder and rewrites the packs
beside this file.  It needs PyTorch, which neither the book nor its tests need, and uses a GPU
when there is one.  All seeds of a width train side by side; each finished width is kept in a file,
so that a run which was interrupted carries on where it stopped.

Text, order of the text and first weights come from NumPy's generators: they are the same on every
machine.  The arithmetic differs in the last digits, so other machines give other weights.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from joblib import Parallel, delayed
from numpy.typing import NDArray

from book.transformers import (
    CHAIN_FAMILIES,
    HERE,
    Architecture,
    pack_path,
    shorten,
)

WORK = HERE.parents[1] / "build" / "transformers"
WARM_UP = 200
CHUNK = 25  # steps whose sequences are drawn from one seed


@dataclass(frozen=True)
class Family:
    """What a family of transformers is trained on, and how.

    A step sees `batch` windows of `context` + 1 tokens for each seed.  The learning rate rises
    for 200 steps to `rate` min(1, (64 / width)^0.5), then falls to nothing as a cosine.
    """

    name: str
    n_tokens: int
    context: int
    layers: int
    widths: tuple[int, ...]
    steps: int
    batch: int
    rate: float = 3e-3
    decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.98)

    def seeds(self, width: int) -> tuple[int, ...]:
        """Return three seeds, or one for the widest two: they alone are half of all weights."""
        return (0, 1, 2) if width <= 128 else (0,)

    def stored(self, width: int) -> tuple[int, ...]:
        """Return the seeds whose weights the book stores; six megabytes must do for all.

        Three of the smaller models, one of the larger, of the widest only the bits per token.
        """
        if width > 192:
            return ()
        return self.seeds(width) if width <= 64 and self.name != "mess3" else (0,)


WIDTHS = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
FAMILIES = {
    family.name: family
    for family in (
        Family("shakespeare", 36, 72, 2, WIDTHS, 4000, 256, decay=0.1),
        Family("tokens", 30, 48, 2, WIDTHS, 3000, 512),
        Family("mess3", 3, 12, 3, (16, 64), 2500, 1024),
    )
}


# ---------------------------------------------------------------- what they read


@lru_cache(maxsize=1)
def windows(
    family: Family, work: Path, seeds: tuple[int, ...]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return a text (N,) of tokens and where each window starts in it (seeds, steps, batch)."""
    if family.name == "shakespeare":
        text = read_text(work)
        starts = text["line_starts"]
        starts = starts[starts + family.context < len(text["train"])]
        shape = (family.steps, family.batch)
        drawn = [
            starts[np.random.default_rng([s, 1]).integers(len(starts), size=shape)] for s in seeds
        ]
        return text["train"], np.stack(drawn)
    chain = CHAIN_FAMILIES[family.name]()

    def draw(seed: int, step: int) -> NDArray[np.uint8]:
        count = min(CHUNK, family.steps - step) * family.batch
        rng = np.random.default_rng([seed, step, 2])
        return chain.sample(count, family.context + 1, rng)[1].astype(np.uint8).ravel()

    jobs = [(seed, step) for seed in seeds for step in range(0, family.steps, CHUNK)]
    parts = Parallel(n_jobs=os.cpu_count(), prefer="threads")(delayed(draw)(*job) for job in jobs)
    tokens = np.concatenate(parts)
    shape = (len(seeds), family.steps, family.batch)
    return tokens, np.arange(0, len(tokens), family.context + 1).reshape(shape)


def read_text(work: Path) -> dict[str, NDArray[Any]]:
    """Return the plays as tokens; they are read once and then kept in the work folder.

    `train` holds every line of the plays to train on, each ended by token 0, after a first 0.
    A window starts at the end of the line before, `line_starts`.  The lines that are scored,
    `held_out` and `scored`, and `lines` of the training plays, are those of the chapter on the
    hidden Markov models; each has a 0 in front of it, and a length that counts that one too.
    """
    path = work / "text.npz"
    if not path.exists():
        from book.shakespeare import Settings, corpus, encode, pad, read_plays, split

        plays = read_plays()
        train = np.concatenate([[0], *(encode(line.text) for line in split(plays)[0])])
        text = {"train": train.astype(np.uint8), "line_starts": np.flatnonzero(train == 0)[:-1]}
        for name, part in zip(("lines", "held_out"), corpus(Settings(), plays), strict=True):
            tokens, real = pad([np.append(0, line) for line in part])
            text[name], text[f"{name}_lengths"] = tokens.astype(np.uint8), real.sum(axis=1)
        write_arrays(path, text)
    return read_arrays(path)


def scored(family: Family, work: Path) -> dict[str, tuple[NDArray[Any], NDArray[np.bool_]]]:
    """Return the sequences that a model is scored on, and which of their predictions count."""
    if family.name == "shakespeare":
        text = read_text(work)
        found = {}
        for name, bits in (("lines", "train_bits"), ("held_out", "bits")):
            tokens = text[name]
            real = np.arange(1, tokens.shape[1]) < text[f"{name}_lengths"][:, None]
            found[bits] = (tokens.astype(np.int64), real)
        return found
    tokens = CHAIN_FAMILIES[family.name]().sample(8000, family.context + 1, [0, 3])[1]
    return {"bits": (tokens, np.ones((len(tokens), family.context), dtype=bool))}


# ---------------------------------------------------------------- the model in PyTorch


def initialise(architecture: Architecture, seed: int) -> NDArray[np.float32]:
    """Return the first weights: gains 1, embeddings N(0, 0.1²), matrices N(0, 1 / 3 in).

    The two matrices that end the parts of a block are half as large.
    """
    rng = np.random.default_rng([seed, architecture.width, architecture.n_tokens])
    parts = []
    for name, shape in architecture.shapes().items():
        if len(shape) == 1:
            parts.append(np.ones(shape))
            continue
        small = 0.5 if name.endswith(("attn_output.weight", "ffn_down.weight")) else 1.0
        std = 0.1 if name.startswith("token_embd") else small / np.sqrt(3 * shape[1])
        parts.append(std * rng.standard_normal(shape))
    return np.concatenate([part.ravel() for part in parts]).astype(np.float32)


class Stack:
    """The models of several seeds, as one: every array has a leading axis for the seed."""

    def __init__(self, architecture: Architecture, length: int, device: str) -> None:
        a = self.architecture = architecture
        self.shapes = a.shapes()
        d = a.width // a.heads
        angle = np.arange(length)[:, None] * a.rope_base ** (-np.arange(0, d, 2) / d)
        self.turn = torch.polar(
            torch.ones(angle.shape), torch.tensor(angle, dtype=torch.float32)
        ).to(device)

    def weights(self, theta: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return views of the parameters (seeds, P), by name."""
        parts = theta.split([math.prod(shape) for shape in self.shapes.values()], dim=1)
        return {
            name: part.view(-1, *shape)
            for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }

    def hidden(self, theta: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Return the hidden states after the final norm, (seeds, n T, w), of (seeds, n, T)."""
        a, weights = self.architecture, self.weights(theta)
        seeds, n, length = tokens.shape
        d = a.width // a.heads

        def norm(x: torch.Tensor, name: str) -> torch.Tensor:
            return F.rms_norm(x, (a.width,), None, a.epsilon) * weights[f"{name}.weight"][:, None]

        def times(x: torch.Tensor, name: str) -> torch.Tensor:
            return torch.bmm(x, weights[f"{name}.weight"].transpose(1, 2))

        def heads(x: torch.Tensor) -> torch.Tensor:
            return x.view(seeds * n, length, a.heads, d).transpose(1, 2)

        def rotated(x: torch.Tensor) -> torch.Tensor:
            pairs = torch.view_as_complex(x.unflatten(-1, (d // 2, 2)))
            return torch.view_as_real(pairs * self.turn[:length]).flatten(-2)

        # A product with indicators; its gradient is one too, with no scatter for a GPU to sort.
        chosen = tokens[..., None] == torch.arange(a.n_tokens, device=tokens.device)
        x = torch.bmm(chosen.float().flatten(1, 2), weights["token_embd.weight"])
        for i in range(a.layers):
            b = f"blk.{i}."
            h = norm(x, b + "attn_norm")
            q, k, v = (heads(times(h, b + name)) for name in ("attn_q", "attn_k", "attn_v"))
            h = F.scaled_dot_product_attention(rotated(q), rotated(k), v, is_causal=True)
            x = x + times(h.transpose(1, 2).reshape(x.shape), b + "attn_output")
            h = norm(x, b + "ffn_norm")
            h = F.silu(times(h, b + "ffn_gate")) * times(h, b + "ffn_up")
            x = x + times(h, b + "ffn_down")
        return norm(x, "output_norm")

    def logits(self, theta: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Return the logits of the next token, (seeds, n T, V), of tokens (seeds, n, T)."""
        output = self.weights(theta)["output.weight"]
        return torch.bmm(self.hidden(theta, tokens), output.transpose(1, 2))

    def losses(self, theta: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Return -log P of each token but the first, in nats, (seeds, n, T-1)."""
        logits = self.logits(theta, tokens[..., :-1])
        target = tokens[..., 1:]
        loss = F.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="none")
        return loss.view(target.shape)


# ---------------------------------------------------------------- training


class Trainer:
    """AdamW with a clipped gradient for a stack of models; one call is one step.

    All that changes from step to step lies on the device, so that a GPU can repeat the recorded
    step without Python in between.
    """

    def __init__(
        self, family: Family, width: int, text: torch.Tensor, starts: torch.Tensor, device: str
    ) -> None:
        self.family, self.width, self.text, self.starts = family, width, text, starts
        self.device = device
        architecture = Architecture.small(family.n_tokens, width, family.layers)
        self.stack = Stack(architecture, family.context, device)
        first = np.stack([initialise(architecture, seed) for seed in family.seeds(width)])
        self.first = torch.tensor(first, device=device)
        self.theta = self.first.clone().requires_grad_()
        self.mean, self.square = torch.zeros_like(self.first), torch.zeros_like(self.first)
        self.step = torch.zeros(1, dtype=torch.int64, device=device)
        self.place = torch.arange(family.context + 1, device=device)
        self.table = torch.empty((3, family.steps), device=device)
        self.restart(family.steps)

    def restart(self, steps: int) -> None:
        """Go back to the first weights, with a schedule of so many steps."""
        t = np.arange(self.family.steps)
        cosine = 0.5 * (1 + np.cos(np.pi * np.minimum(t / steps, 1.0)))
        rate = self.family.rate * min(1.0, math.sqrt(64 / self.width))
        rate = rate * np.minimum((t + 1) / WARM_UP, cosine + 0.02)
        bias = [1 - beta ** (t + 1.0) for beta in self.family.betas]
        with torch.no_grad():
            self.table.copy_(torch.tensor(np.stack([rate, *bias]), dtype=torch.float32))
            self.theta.copy_(self.first)
            for state in (self.mean, self.square, self.step):
                state.zero_()

    def __call__(self) -> None:
        """Take one step."""
        starts = self.starts.index_select(1, self.step)[:, 0]
        tokens = self.text[starts[..., None] + self.place].long()
        loss = self.stack.losses(self.theta, tokens).mean(dim=(1, 2)).sum()
        (gradient,) = torch.autograd.grad(loss, self.theta)
        first, second = self.family.betas
        with torch.no_grad():
            rate, bias_mean, bias_square = self.table.index_select(1, self.step)
            gradient = gradient / gradient.norm(dim=1, keepdim=True).clamp(min=1.0)
            self.mean.lerp_(gradient, 1 - first)
            self.square.lerp_(gradient.square(), 1 - second)
            change = (self.mean / bias_mean) / ((self.square / bias_square).sqrt() + 1e-8)
            self.theta.mul_(1 - rate * self.family.decay).sub_(rate * change)
            self.step += 1

    def fast(self) -> Callable[[], None]:
        """Return the same step, on a GPU as a recorded graph."""
        if self.device == "cpu":
            return self
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self()
        return graph.replay

    def run(self, seconds: float) -> int:
        """Train, with as many steps as fit; return how many."""
        step = self.fast()
        steps = self.family.steps
        if math.isfinite(seconds):
            self.restart(steps)
            probe = min(40, steps)
            self.wait()
            begin = time.perf_counter()
            for _ in range(probe):
                step()
            self.wait()
            each = (time.perf_counter() - begin) / probe
            steps = min(steps, int(seconds / each))
            if steps < self.family.steps / 10:
                raise SystemExit(f"only {steps} steps of width {self.width} fit: too few")
        self.restart(steps)
        for _ in range(steps):
            step()
        self.wait()
        return steps

    def wait(self) -> None:
        """Wait for the device."""
        if self.device != "cpu":
            torch.cuda.synchronize()


def bits(
    stack: Stack, theta: torch.Tensor, tokens: NDArray[Any], real: NDArray[np.bool_]
) -> list[float]:
    """Return each seed's mean of -log2 P(token | those before) over the real positions."""
    total = torch.zeros(len(theta), dtype=torch.float64)
    with torch.no_grad():
        for start in range(0, len(tokens), 400):
            part = torch.tensor(tokens[start : start + 400], device=theta.device)
            mask = torch.tensor(real[start : start + 400], device=theta.device)
            losses = stack.losses(theta, part.expand(len(theta), *part.shape))
            total += (losses.double() * mask).sum(dim=(1, 2)).cpu()
    return (total / real.sum() / math.log(2)).tolist()


def precision(fast: bool) -> None:
    """Let a GPU's matrix units round to ten bits in training, never in scoring."""
    torch.backends.cuda.matmul.allow_tf32 = fast


def train(family: Family, width: int, work: Path, device: str, seconds: float, path: Path) -> None:
    """Train all seeds of one width, score them and store them."""
    begin = time.perf_counter()
    seeds = family.seeds(width)
    text, starts = (torch.tensor(part, device=device) for part in windows(family, work, seeds))
    trainer = Trainer(family, width, text, starts, device)
    precision(fast=True)
    steps = trainer.run(seconds - (time.perf_counter() - begin))
    precision(fast=False)
    theta = trainer.theta.detach()
    taken = time.perf_counter() - begin
    facts = {
        "steps": steps,
        "seconds": round(taken, 1),
        "device": torch.cuda.get_device_name() if device != "cpu" else "CPU",
        "torch": torch.__version__,
    }
    write_arrays(path, {"theta": theta.cpu().numpy(), "facts": json.dumps(facts)})
    shown = ", ".join(f"{b:.4f}" for b in bits(trainer.stack, theta, *scored(family, work)["bits"]))
    say(f"{family.name}, width {width}: {steps} steps in {taken:.0f} s, {shown} bits")


# ---------------------------------------------------------------- files, command line


def write_arrays(path: Path, arrays: dict[str, Any]) -> None:
    """Write an .npz in one step, so that an interruption never leaves half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        with part.open("wb") as file:
            np.savez_compressed(file, **arrays)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of an .npz file; nothing in it is executed."""
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def fingerprint(family: Family, work: Path) -> str:
    """Return a short name of everything that the training of a family depends on."""
    digest = hashlib.sha256(json.dumps(asdict(family), sort_keys=True).encode())
    if family.name in CHAIN_FAMILIES:
        chain = CHAIN_FAMILIES[family.name]()
        digest.update(np.vstack([chain.transition.T, chain.emission.T]).astype("<f4").tobytes())
    else:
        digest.update(read_text(work)["train"].tobytes())
    return digest.hexdigest()[:12]


def shortest(
    stack: Stack, theta: NDArray[np.float32], data: tuple[Any, Any], device: str
) -> tuple[int, NDArray[np.float16], dict[str, list[float]]]:
    """Round the weights to the fewest significant bits, 6 at least, that leave a model as it was.

    That is, its bits per token change by less than 5e-4.  Returns how many, the weights, and the
    bits per token before and after.
    """
    before = bits(stack, torch.tensor(theta, device=device), *data)
    for significant in range(6, 12):
        short = shorten(theta, significant)
        after = bits(stack, torch.tensor(short.astype(np.float32), device=device), *data)
        if max(abs(a - b) for a, b in zip(before, after, strict=True)) < 5e-4:
            break
    return significant, short, {"bits_in_float32": before, "bits": after}


def pack(family: Family, paths: dict[int, Path], work: Path, output: Path, device: str) -> None:
    """Write the file that the book reads, with PyTorch's own answers to a few sequences."""
    data = scored(family, work)
    tokens = data["bits"][0]
    tokens = tokens[:: len(tokens) // 3][:3, : family.context]
    arrays: dict[str, Any] = {"check_tokens": tokens.astype(np.uint8)}
    record = []
    for width, path in paths.items():
        found = read_arrays(path)
        architecture = Architecture.small(family.n_tokens, width, family.layers)
        stack = Stack(architecture, 2 * family.context, device)
        significant, short, scores = shortest(stack, found["theta"], data["bits"], device)
        theta = torch.tensor(short.astype(np.float32), device=device)
        if "train_bits" in data:
            scores["train_bits"] = bits(stack, theta, *data["train_bits"])
        shared = json.loads(str(found["facts"])) | {"significant": significant}
        stored = family.stored(width)
        for i, seed in enumerate(family.seeds(width)):
            one = {name: round(values[i], 5) for name, values in scores.items()}
            record.append({"width": width, "seed": seed, "stored": seed in stored} | one | shared)
        if not stored:
            continue
        theta, arrays[f"weights_{width}"] = theta[: len(stored)], short[: len(stored)]
        given = torch.tensor(tokens, device=device).expand(len(theta), *tokens.shape)
        for name, call in (("hidden", stack.hidden), ("logits", stack.logits)):
            value = call(theta, given).view(len(theta), *tokens.shape, -1)[:, :, -1]
            arrays[f"check_{name}_{width}"] = value.cpu().numpy()
    facts = asdict(family) | {"record": record}
    if family.name in CHAIN_FAMILIES:
        facts["entropy_rate"] = round(entropy_rate(family, work), 5)
    write_arrays(output, arrays | {"facts": json.dumps(facts)})


def entropy_rate(family: Family, work: Path) -> float:
    """Return the bits per token of the exact filter, on the sequences that models are scored on."""
    chain, (tokens, _) = CHAIN_FAMILIES[family.name](), scored(family, work)["bits"]
    predicted = chain.predict_next(tokens[:, :-1])
    return float(-np.log2(np.take_along_axis(predicted, tokens[:, 1:, None], -1)).mean())


def say(text: str) -> None:
    """Print one line now."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def cost(family: Family, width: int) -> float:
    """Return what share of the time a width should have; the unit is arbitrary."""
    tokens = family.steps * family.batch * family.context * len(family.seeds(width))
    return family.layers * tokens * (width + 32.0)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="pretrain the small transformers again")
    parser.add_argument("--families", nargs="+", default=list(FAMILIES), choices=FAMILIES)
    parser.add_argument("--minutes", type=float, default=math.inf, help="shorten to fit")
    parser.add_argument("--steps", type=int, help="instead of each family's own number")
    parser.add_argument("--work", type=Path, default=WORK, help="where finished models wait")
    parser.add_argument("--output", type=Path, default=HERE, help="where the packs go")
    options = parser.parse_args(arguments)
    end = time.perf_counter() + 60 * options.minutes
    device = "cuda" if torch.cuda.is_available() else "cpu"
    families = [FAMILIES[name] for name in options.families]
    if options.steps is not None:
        families = [replace(family, steps=options.steps) for family in families]
    jobs = []
    for family in families:
        folder = options.work / f"{family.name}-{fingerprint(family, options.work)}"
        jobs += [(family, width, folder / f"width-{width:03d}.npz") for width in family.widths]
    for i, (family, width, path) in enumerate(jobs):
        if not path.exists():
            left = sum(cost(f, w) for f, w, p in jobs[i:] if not p.exists())
            seconds = (end - time.perf_counter()) * cost(family, width) / left
            train(family, width, options.work, device, seconds, path)
        if width == family.widths[-1]:
            paths = {w: p for f, w, p in jobs if f is family}
            output = options.output / pack_path(family.name).name
            pack(family, paths, options.work, output, device)
            say(f"wrote {output} ({output.stat().st_size / 1e6:.2f} MB)")


if __name__ == "__main__":
    main()
