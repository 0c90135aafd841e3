"""Chapter 10's small transformers: the forward pass, and what their files say of themselves."""

import importlib.util
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from book.transformers import (
    CHAIN_FAMILIES,
    Architecture,
    Family,
    Transformer,
    pack_path,
    rotate,
    shorten,
)

NAMES = ("tokens", "shakespeare", "mess3")


@pytest.fixture(scope="module", params=NAMES)
def family(request: pytest.FixtureRequest) -> Family:
    return Family(request.param)


def random_model(seed: int = 0, **changes: Any) -> Transformer:
    shape = {"n_tokens": 7, "width": 8, "layers": 2, "heads": 2, "kv_heads": 1, "feed_forward": 12}
    architecture = Architecture(**(shape | changes))
    rng = np.random.default_rng(seed)
    flat = rng.standard_normal(architecture.n_parameters).astype(np.float32)
    return Transformer(architecture, architecture.split(flat))


def slow_logits(model: Transformer, tokens: list[int]) -> list[list[float]]:
    """The same network by loops over numbers: no array, no shared code, complex rotations."""
    a = model.architecture
    w = {name: value.astype(float).tolist() for name, value in model.weights.items()}
    d, shared = a.width // a.heads, a.heads // a.kv_heads

    def times(matrix: Any, x: list[float]) -> list[float]:
        return [math.fsum(m * v for m, v in zip(row, x, strict=True)) for row in matrix]

    def norm(x: list[float], gain: Any) -> list[float]:
        size = math.sqrt(math.fsum(v * v for v in x) / len(x) + a.epsilon)
        return [v / size * g for v, g in zip(x, gain, strict=True)]

    def pairs(x: list[float], t: int) -> list[complex]:
        turned = []
        for i in range(d // 2):
            angle = t / a.rope_base ** (2 * i / d)
            turn = complex(math.cos(angle), math.sin(angle))
            turned.append(complex(x[2 * i], x[2 * i + 1]) * turn)
        return turned

    stream = [w["token_embd.weight"][token] for token in tokens]
    for b in range(a.layers):
        block = {k[len(f"blk.{b}.") : -7]: v for k, v in w.items() if k.startswith(f"blk.{b}.")}
        normed = [norm(x, block["attn_norm"]) for x in stream]
        q, k, v = ([times(block[f"attn_{n}"], x) for x in normed] for n in "qkv")
        after = []
        for t in range(len(tokens)):
            mixed: list[float] = []
            for h in range(a.heads):
                g = h // shared
                mine = pairs(q[t][h * d : (h + 1) * d], t)
                scores = []
                for s in range(t + 1):
                    other = pairs(k[s][g * d : (g + 1) * d], s)
                    dot = sum((m * o.conjugate()).real for m, o in zip(mine, other, strict=True))
                    scores.append(math.exp(dot / math.sqrt(d)))
                for i in range(g * d, (g + 1) * d):
                    part = math.fsum(e * v[s][i] for s, e in enumerate(scores))
                    mixed.append(part / math.fsum(scores))
            out = times(block["attn_output"], mixed)
            after.append([x + y for x, y in zip(stream[t], out, strict=True)])
        stream = []
        for x in after:
            h_ = norm(x, block["ffn_norm"])
            gate, up = times(block["ffn_gate"], h_), times(block["ffn_up"], h_)
            inner = [g / (1 + math.exp(-g)) * u for g, u in zip(gate, up, strict=True)]
            out = times(block["ffn_down"], inner)
            stream.append([y + z for y, z in zip(x, out, strict=True)])
    last = [norm(x, w["output_norm.weight"]) for x in stream]
    return [times(w["output.weight"], x) for x in last]


@pytest.mark.parametrize("kv_heads", [1, 2])
def test_the_forward_pass_is_the_network_written_out_by_hand(kv_heads: int) -> None:
    model = random_model(1, kv_heads=kv_heads)
    tokens = np.random.default_rng(2).integers(7, size=(2, 6))
    expected = np.array([slow_logits(model, row.tolist()) for row in tokens])
    np.testing.assert_allclose(model.logits(tokens), expected, rtol=0, atol=2e-4)
    assert np.ptp(expected) > 1.0


def test_the_past_does_not_see_the_future() -> None:
    model, rng = random_model(3), np.random.default_rng(4)
    tokens = rng.integers(7, size=(3, 9))
    changed = tokens.copy()
    changed[:, 5:] = (changed[:, 5:] + 1) % 7
    before, after = model.hidden(tokens), model.hidden(changed)
    np.testing.assert_allclose(before[:, :5], after[:, :5], atol=1e-5)
    assert np.abs(before[:, 5:] - after[:, 5:]).max() > 0.1


def test_probabilities_of_all_next_tokens_sum_to_one() -> None:
    model = random_model(5)
    start = [2, 0, 6]
    rows = np.array([[*start, token] for token in range(7)])
    assert np.exp(model.log_probabilities(rows)[:, -1].astype(float)).sum() == pytest.approx(1.0)


def test_states_do_not_depend_on_how_rows_are_batched() -> None:
    model = random_model(6)
    tokens = np.random.default_rng(7).integers(7, size=(10, 5))
    for after in (None, 0, 1):
        one, all_ = model.hidden(tokens, after, batch=3), model.hidden(tokens, after)
        np.testing.assert_allclose(one, all_, rtol=0, atol=1e-5)


def test_what_two_positions_say_of_each_other_depends_on_their_distance_alone() -> None:
    x = np.random.default_rng(8).standard_normal((2, 1, 6)).astype(np.float32)
    q, k = (rotate(np.repeat(v, 12, axis=0), 100.0) for v in x)
    scores = q @ k.T
    for lag in range(5):
        along = np.diagonal(scores, -lag)
        np.testing.assert_allclose(along, along[0], atol=1e-4)
    assert np.ptp(scores) > 0.1


def test_pytorch_gave_the_same_states_and_logits(family: Family) -> None:
    for width, seed in family:
        tokens, hidden, logits = family.check(width)
        i, model = family.seeds(width).index(seed), family.model(width, seed)
        np.testing.assert_allclose(model.hidden(tokens)[:, -1], hidden[i], atol=2e-5)
        np.testing.assert_allclose(model.logits(tokens)[:, -1], logits[i], atol=2e-5)


@pytest.mark.parametrize("name", CHAIN_FAMILIES)
def test_the_bits_in_the_file_are_those_of_fresh_sequences(name: str) -> None:
    """Against the exact filter on the same sequences, which takes most of the noise away."""
    family, chain = Family(name), CHAIN_FAMILIES[name]()
    tokens = chain.sample(1500, family.facts["context"] + 1, [0, 15])[1]
    exact = np.log2(
        np.take_along_axis(chain.predict_next(tokens[:, :-1]), tokens[:, 1:, None], -1)
    )[..., 0]
    for width in {family.widths[0], 64}:
        found = family.model(width).log_probabilities(tokens) / np.log(2)
        gap = (exact - found).mean(axis=1)
        stored = next(r for r in family.record if r["width"] == width)["bits"]
        error = gap.std(ddof=1) / np.sqrt(len(gap))
        assert error < 0.002
        assert abs(gap.mean() - (stored - family.facts["entropy_rate"])) < 5 * error
        assert stored > family.facts["entropy_rate"]


def test_plays_have_the_bits_in_the_file() -> None:
    shakespeare = pytest.importorskip("book.shakespeare")
    family = Family("shakespeare")
    try:
        held_out = shakespeare.corpus(shakespeare.Settings())[1]
    except (ModuleNotFoundError, ValueError) as error:
        pytest.skip(f"the plays are not there: {error}")
    tokens, real = shakespeare.pad([np.append(0, line) for line in held_out])
    for width in (8, 48):
        logs = family.model(width).log_probabilities(tokens) / np.log(2)
        bits = -(logs * real[:, 1:]).sum(dtype=float) / real[:, 1:].sum()
        stored = next(r for r in family.record if r["width"] == width)["bits"]
        assert bits == pytest.approx(stored, abs=1e-4)


def test_the_file_says_what_is_in_it(family: Family) -> None:
    assert family.widths == ((16, 64) if family.name == "mess3" else family.widths)
    for row in family.record:
        assert row["significant"] <= 11
        assert abs(row["bits"] - row["bits_in_float32"]) < 5e-4
    means = [np.mean([r["bits"] for r in family.record if r["width"] == w]) for w in family.widths]
    if family.name == "tokens":
        assert len(means) >= 10
        assert np.all(np.diff(means) < 2e-4)


def test_the_files_are_small() -> None:
    assert sum(pack_path(name).stat().st_size for name in NAMES) < 6e6


def test_rounding_keeps_what_it_says() -> None:
    x = np.random.default_rng(9).standard_normal(1000)
    for significant in (2, 6, 11):
        error = np.abs(shorten(x, significant).astype(float) / x - 1)
        assert error.max() <= 2.0**-significant * 1.01
        assert error.max() > 2.0**-significant / 4


def test_bad_input_is_refused(tmp_path: Path) -> None:
    model = random_model()
    for bad, words in (
        ([[7]], "must lie in"),
        ([1, 2], "integer matrix"),
        ([[0.5]], "integer matrix"),
        ([[-1, 0]], "must lie in"),
    ):
        with pytest.raises(ValueError, match=words):
            model.hidden(bad)
    with pytest.raises(ValueError, match="after must lie"):
        model.hidden([[1]], after=3)
    with pytest.raises(ValueError, match="at least two"):
        model.log_probabilities([[1]])
    with pytest.raises(ValueError, match=r"must hold blk\.1\.ffn_up"):
        Transformer(
            model.architecture,
            {k: v for k, v in model.weights.items() if k != "blk.1.ffn_up.weight"},
        )
    with pytest.raises(ValueError, match="multiple of twice heads"):
        Architecture(7, 9, 1, 1, 1, 4)
    with pytest.raises(ValueError, match="no model has width 9"):
        Family("mess3").model(9)
    (tmp_path / "a.npz").write_bytes(b"no archive")
    with pytest.raises(ValueError, match="must be a file of pretrained transformers"):
        Family("tokens", tmp_path / "a.npz")
    with pytest.raises(ValueError, match="it holds 'mess3'"):
        Family("tokens", pack_path("mess3"))


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")
def test_a_training_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    from book import pretrain_transformers as script

    options = ["--families", "mess3", "--steps", "3", "--work", str(tmp_path / "work")]
    script.main([*options, "--output", str(tmp_path)])
    first = Family("mess3", tmp_path / "transformers_mess3.npz")
    files = {p: p.stat().st_mtime_ns for p in (tmp_path / "work").rglob("width-*.npz")}
    assert len(files) == len(first.widths)
    script.main([*options, "--output", str(tmp_path)])
    assert files == {p: p.stat().st_mtime_ns for p in files}


def test_the_model_card_has_the_numbers_of_the_files() -> None:
    card = (Path(__file__).resolve().parents[1] / "chapters/transformers_model_card.md").read_text(
        "utf-8"
    )
    rows = {}
    for line in card.splitlines():
        cells = [cell.strip().replace(",", "") for cell in line.strip("|").split("|")]
        if cells[0].isdigit():
            rows[int(cells[0])] = [float(cell) for cell in cells[1:]]
    tokens, plays = Family("tokens"), Family("shakespeare")
    assert tuple(rows) == tokens.widths == plays.widths

    def mean(family: Family, width: int, key: str) -> Any:
        return np.mean([row[key] for row in family.record if row["width"] == width])

    for width, (weights, seeds, stored, bits, train, held_out) in rows.items():
        assert weights == Architecture.small(36, width, 2).n_parameters
        assert seeds == sum(row["width"] == width for row in tokens.record)
        assert stored == len(tokens.seeds(width)) == len(plays.seeds(width))
        assert bits == pytest.approx(mean(tokens, width, "bits"), abs=6e-4)
        assert train == pytest.approx(mean(plays, width, "train_bits"), abs=6e-3)
        assert held_out == pytest.approx(mean(plays, width, "bits"), abs=6e-3)
