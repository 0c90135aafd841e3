"""The text, the training and the shipped models of chapter 11."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from book import shakespeare
from hmmlearn.hmm import CategoricalHMM as BaumWelch

SNIPPET = """# A Play

## ACT I

### SCENE I. A heath. Storm still.

_Enter the KING, with a torch, and
others, following_

**KING**
Blow, winds & crack!{hard break}
_\\[Aside]_
Who's there—friend?

_Exit_

**FOOL: & GHOST:**
[To the King]
[To the whole
court] O nuncle, _\\[ ]_ court holy-water{hard break}
  *He sighs.*
A stray _ mark does not swallow what follows

_Burthen _\\[dispersedly, within_

Nor does this [and this

*Sound a horn, and
exeunt.*

**KING**
Farewell.

### EPILOGUE

A line that nobody speaks.
""".replace("{hard break}", "  ")


@pytest.fixture(scope="module")
def lines() -> list[Any]:
    return shakespeare.read_plays()


@pytest.fixture(scope="module")
def corpus(lines: list[Any]) -> tuple[list[Any], ...]:
    return shakespeare.corpus(shakespeare.Settings(), lines)


@pytest.fixture(scope="module")
def pretrained() -> Any:
    return shakespeare.Pretrained()


def few_lines() -> list[Any]:
    """Twelve lines of a made-up play to train on, six of a held-out one."""
    words = ["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "and", "sleeps"]
    return [
        shakespeare.Line("comedies", play, i, "A", " ".join(words[i % 5 : 4 + i % 7]))
        for play, count in (("a-play", 12), (shakespeare.HELD_OUT[0], 6))
        for i in range(count)
    ]


SMALL: dict[str, Any] = {"sizes": (2, 3), "seeds": (0, 1), "iterations": 3, "lines_per_play": 12}


# ---------------------------------------------------------------- text


def test_parser_keeps_speech_and_drops_headings_and_directions() -> None:
    found = shakespeare.parse_play(SNIPPET, "tragedies", "a-play")
    assert [(line.speech, line.speaker, line.text) for line in found] == [
        (1, "KING", "Blow, winds & crack!"),
        (1, "KING", "Who's there—friend?"),
        (2, "FOOL: & GHOST", "O nuncle,  court holy-water"),
        (2, "FOOL: & GHOST", "A stray _ mark does not swallow what follows"),
        (2, "FOOL: & GHOST", "Nor does this"),
        (3, "KING", "Farewell."),
    ]
    assert {(line.group, line.play) for line in found} == {("tragedies", "a-play")}


def test_text_is_reduced_to_the_alphabet() -> None:
    assert len(set(shakespeare.ALPHABET)) == len(shakespeare.ALPHABET) == 36
    assert shakespeare.normalise("  Blow,  winds & CRACK—'1608'") == "blow, winds and crack--''"
    tokens = shakespeare.encode("Who's there?")
    assert "".join(shakespeare.ALPHABET[token] for token in tokens) == "who's there?\n"
    assert shakespeare.normalise("_ 12 (3)") == ""


def test_padding_leaves_every_sequence_in_place() -> None:
    sequences = [shakespeare.encode(text) for text in ("o", "alas", "no no")]
    tokens, real = shakespeare.pad(sequences)
    assert tokens.shape == (3, 6)
    for row, mask, sequence in zip(tokens, real, sequences, strict=True):
        assert row[mask].tolist() == sequence.tolist()
        assert mask[: len(sequence)].all()


def test_no_play_is_on_both_sides_of_the_split(lines: list[Any]) -> None:
    train, test = shakespeare.split(lines)
    assert len(train) + len(test) == len(lines)
    train_plays, test_plays = {line.play for line in train}, {line.play for line in test}
    assert test_plays == set(shakespeare.HELD_OUT)
    assert not train_plays & test_plays
    assert len(train_plays) == 26
    held_out_groups = {line.play: line.group for line in test}
    groups = list(held_out_groups.values())
    assert {groups.count(group) for group in {line.group for line in lines}} == {2}


def test_every_play_is_read_whole(lines: list[Any]) -> None:
    texts = {line.text for line in lines}
    assert "Now is the winter of our discontent" in texts
    assert "To be, or not to be: that is the question:" in texts
    assert not [line for line in lines if re.search(r"^#|\*\*|[\[\]]", line.text)]
    counts = np.bincount(np.unique([line.play for line in lines], return_inverse=True)[1])
    assert counts.size == 38
    assert counts.min() > 1500


def test_thinning_takes_lines_from_first_to_last(lines: list[Any]) -> None:
    hamlet = [line for line in lines if line.play == "hamlet"]
    chosen = shakespeare.thin(hamlet, 7)
    places = [hamlet.index(line) for line in chosen]
    assert len(chosen) == 7
    assert (places[0], places[-1]) == (0, len(hamlet) - 1)
    assert len(shakespeare.thin(hamlet[:3], 7)) == 3


# ---------------------------------------------------------------- training


def test_each_step_of_baum_welch_raises_the_likelihood() -> None:
    sequences = [shakespeare.encode(line.text) for line in few_lines()]
    parameters, history = shakespeare.pretrain(sequences, n_states=3, seed=0, iterations=8)
    assert history.shape == (8,)
    assert (np.diff(history) > 0).all()
    final = shakespeare.as_model(**parameters)
    assert sum(final.log_likelihood(s[None])[0] for s in sequences) > history[-1]
    start = shakespeare.as_model(**shakespeare.initialise(3, 0))
    assert np.isclose(sum(start.log_likelihood(s[None])[0] for s in sequences), history[0])


def test_smoothing_makes_every_line_possible() -> None:
    certain = {"initial": np.array([1.0, 0.0]), "transition": np.eye(2), "emission": np.eye(2, 36)}
    smoothed = shakespeare.smooth(certain, 1e-3)
    assert all(rows.dtype == np.float32 and rows.min() > 0 for rows in smoothed.values())
    model = shakespeare.as_model(**smoothed)
    assert np.isclose(model.emission[0, 0], 0.999 + 0.001 / 36, atol=1e-7)
    assert np.isfinite(model.log_likelihood([[0, 35, 1]])).all()


def test_interrupted_training_carries_on_to_the_same_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings, real = shakespeare.Settings(**SMALL), shakespeare.pretrain
    trained: list[tuple[int, int]] = []
    limit = [2]

    def counted(sequences: Any, n_states: int, seed: int, iterations: int) -> Any:
        if len(trained) == limit[0]:
            raise KeyboardInterrupt
        trained.append((n_states, seed))
        return real(sequences, n_states, seed, iterations)

    monkeypatch.setattr(shakespeare, "pretrain", counted)
    broken: dict[str, Any] = {
        "output": tmp_path / "broken.npz",
        "work": tmp_path / "broken",
        "lines": few_lines(),
    }
    with pytest.raises(KeyboardInterrupt):
        shakespeare.train_all(settings, **broken)
    assert trained == [(2, 0), (2, 1)]
    assert not broken["output"].exists()
    limit[0] = 99
    shakespeare.train_all(settings, **broken)
    assert trained == [(2, 0), (2, 1), (3, 0), (3, 1)]  # the finished ones were not redone

    whole = shakespeare.train_all(settings, tmp_path / "whole.npz", tmp_path / "w", few_lines())
    assert len(trained) == 8
    once, twice = shakespeare.read_arrays(whole), shakespeare.read_arrays(broken["output"])
    assert once.keys() == twice.keys()
    for name, values in once.items():
        assert np.array_equal(values, twice[name]), name  # same bits: the same steps
    assert capsys.readouterr().out.count("bits per character in training") == 8
    leftovers = [path for path in tmp_path.rglob("*") if path.suffix == ".tmp"]
    assert leftovers == []


def test_other_settings_do_not_reuse_finished_models(tmp_path: Path) -> None:
    settings = shakespeare.Settings(**SMALL)
    train, _ = shakespeare.corpus(settings, few_lines())
    names = [
        shakespeare.fingerprint(shakespeare.Settings(**(SMALL | change)), train)
        for change in ({}, {"sizes": (2,)}, {"iterations": 4}, {"smoothing": 0.01})
    ]
    assert names[0] == names[1]  # a further size or seed leaves the finished models as they are
    assert len(set(names)) == 3
    assert shakespeare.fingerprint(settings, train[1:]) != names[0]


def test_a_failed_write_leaves_neither_file_nor_rubbish(tmp_path: Path) -> None:
    class Unwritable:
        def __array__(self, *_: Any, **__: Any) -> Any:
            raise RuntimeError("the disk is full")

    path = tmp_path / "pack.npz"
    shakespeare.write_arrays(path, {"a": np.ones(2)})
    with pytest.raises(RuntimeError, match="disk is full"):
        shakespeare.write_arrays(path, {"a": np.zeros(2), "b": Unwritable()})
    assert [file.name for file in tmp_path.iterdir()] == ["pack.npz"]
    assert shakespeare.read_arrays(path)["a"].tolist() == [1.0, 1.0]


def test_the_command_line_passes_its_options_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: dict[str, Any] = {}

    def train_all(output: Path, work: Path, jobs: int) -> Path:
        asked.update(output=output, work=work, jobs=jobs)
        output.write_bytes(b"123")
        return output

    monkeypatch.setattr(shakespeare, "train_all", train_all)
    out = tmp_path / "pack.npz"
    shakespeare.main(["--jobs", "3", "--work", str(tmp_path), "--output", str(out)])
    assert asked == {"output": out, "work": tmp_path, "jobs": 3}
    assert "pack.npz" in capsys.readouterr().out


# ---------------------------------------------------------------- the shipped models


def test_the_shipped_file_is_small_and_holds_no_objects() -> None:
    assert shakespeare.PACK.stat().st_size < 1_000_000
    arrays = shakespeare.read_arrays(shakespeare.PACK)
    assert not [name for name, array in arrays.items() if array.dtype.hasobject]
    with np.load(shakespeare.PACK, allow_pickle=False) as file:
        assert set(file.files) == set(arrays)


def test_the_shipped_models_were_made_by_the_settings_in_the_code(
    pretrained: Any, corpus: tuple[list[Any], ...]
) -> None:
    train, test = corpus
    assert pretrained.settings == shakespeare.Settings()
    assert pretrained.train_characters == sum(map(len, train))
    assert pretrained.held_out_characters == sum(map(len, test))
    shape = (len(pretrained.settings.sizes), len(pretrained.settings.seeds))
    assert pretrained.held_out_bits.shape == pretrained.train_bits.shape == shape
    assert pretrained.history.shape == (*shape, pretrained.settings.iterations)
    arrays = shakespeare.read_arrays(shakespeare.PACK)
    assert arrays["held_out_plays"].tolist() == list(shakespeare.HELD_OUT)
    assert json.loads(str(arrays["settings"]))["iterations"] == pretrained.settings.iterations


def test_every_shipped_model_is_a_valid_chain(pretrained: Any) -> None:
    for k in pretrained.settings.sizes:
        for seed in pretrained.settings.seeds:
            model = pretrained.model(k, seed)
            assert (model.n_states, model.n_tokens) == (k, len(shakespeare.ALPHABET))
            for rows in (model.initial[None], model.transition, model.emission):
                least = pretrained.settings.smoothing / rows.shape[1]
                assert rows.min() > 0.999 * least
            assert np.isclose(model.stationary_distribution.sum(), 1.0)
    with pytest.raises(ValueError, match="no model has 5 states"):
        pretrained.model(5)
    with pytest.raises(ValueError, match="no model has 8 states and seed 9"):
        pretrained.model(8, 9)


@pytest.mark.parametrize(("k", "seed"), [(4, 0), (48, 1)])
def test_recorded_bits_agree_with_the_filter_s_predictions(
    pretrained: Any, corpus: tuple[list[Any], ...], k: int, seed: int
) -> None:
    model = pretrained.model(k, seed)
    tokens, real = shakespeare.pad(corpus[1])
    first = np.log2(model.initial @ model.emission)[tokens[:, 0]]
    ahead = np.log2(model.predict_next(tokens)[:, :-1])
    later = np.take_along_axis(ahead, tokens[:, 1:, None], axis=2)[..., 0]
    bits = -(first.sum() + later[real[:, 1:]].sum()) / real.sum()
    row = pretrained.settings.sizes.index(k)
    assert np.isclose(bits, pretrained.held_out_bits[row, seed], rtol=1e-9)


def test_recorded_bits_agree_with_hmmlearn(pretrained: Any, corpus: tuple[list[Any], ...]) -> None:
    model, test = pretrained.model(16, 2), corpus[1]
    other = BaumWelch(16, n_features=len(shakespeare.ALPHABET))
    other.startprob_, other.transmat_ = model.initial, model.transition
    other.emissionprob_ = model.emission
    nats = other.score(np.concatenate(test)[:, None], [len(sequence) for sequence in test])
    bits = -nats / sum(map(len, test)) / np.log(2)
    row = pretrained.settings.sizes.index(16)
    assert np.isclose(bits, pretrained.held_out_bits[row, 2], rtol=1e-9)


def test_training_raised_the_likelihood_at_every_step(pretrained: Any) -> None:
    assert (np.diff(pretrained.history, axis=-1) > 0).all()


def test_baselines_are_those_of_counts(corpus: tuple[list[Any], ...], pretrained: Any) -> None:
    train, test = corpus
    counts = np.bincount(np.concatenate(train), minlength=36) + 0.5
    used = np.bincount(np.concatenate(test), minlength=36)
    unigram = -(used * np.log2(counts / counts.sum())).sum() / used.sum()
    assert np.isclose(pretrained.unigram_bits, unigram)
    pairs = np.full((36, 36), 0.5)
    for sequence in train:
        for before, now in zip(np.append(0, sequence), sequence, strict=False):
            pairs[before, now] += 1
    conditional = pairs / pairs.sum(axis=1, keepdims=True)
    total = sum(
        -np.log2(conditional[before, now])
        for sequence in test
        for before, now in zip(np.append(0, sequence), sequence, strict=False)
    )
    assert np.isclose(pretrained.bigram_bits, total / used.sum())
    with pytest.raises(ValueError, match="order must be 1 or 2"):
        shakespeare.ngram_bits(train, test, 3)
