"""The words, their frozen features and their ratings, as chapter 15 reads them."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from book import embeddings
from book.embeddings import RatedWords, one_per_stem, package_file, stem

CHAPTERS = Path(embeddings.__file__).parents[1]


@pytest.fixture(scope="module")
def everything() -> RatedWords:
    return embeddings.rated_words()


@pytest.fixture(scope="module")
def row_of(everything: RatedWords) -> dict[str, int]:
    return {str(word): row for row, word in enumerate(everything.words)}


def test_the_columns_describe_the_same_words(everything: RatedWords) -> None:
    n = everything.words.size
    assert n > 7000
    assert everything.tokens.shape == everything.token_counts.shape == (n,)
    assert everything.features.shape == (n, 256)
    assert everything.ratings.shape == (n, 10)
    assert np.isfinite(everything.features).all()
    assert np.ptp(everything.features, axis=0).min() > 0


def test_words_are_plain_lower_case_and_occur_once(everything: RatedWords) -> None:
    words = everything.words.tolist()
    assert len(set(words)) == len(words)
    assert all(w.isascii() and w.isalpha() and w == w.lower() for w in words)


def test_ratings_have_the_mean_and_deviation_that_the_lexicon_states(
    everything: RatedWords, row_of: dict[str, int]
) -> None:
    checked: dict[int, bool] = {}
    for line in package_file("vaderSentiment", "vader_lexicon.txt").read_text("utf-8").splitlines():
        entry, mean, deviation, _ = line.split("\t")
        row = row_of.get(entry.lower())
        if row is None or row in checked:
            continue
        ratings = everything.ratings[row]
        # Means are rounded to one digit; a few deviations divide by 9 where others divide by 10.
        deviations = np.array([ratings.std(ddof=ddof) for ddof in (0, 1)])
        right = np.abs(deviations - float(deviation)).min() < 1e-4
        checked[row] = bool(right and abs(ratings.mean() - float(mean)) < 0.051)
    assert len(checked) == len(row_of)
    # The lexicon itself states a handful that do not follow from its ratings.
    assert sum(checked.values()) > len(checked) - 5


def test_ratings_are_whole_numbers_on_the_scale_from_minus_4_to_4(everything: RatedWords) -> None:
    assert set(np.unique(everything.ratings)) == set(range(-4, 5))


def test_a_feature_is_the_mean_of_the_vectors_of_the_tokens(
    everything: RatedWords, row_of: dict[str, int]
) -> None:
    vocabulary = embeddings.Tokenizer.from_file(
        str(package_file("wordllama", "tokenizers", "l2_supercat_tokenizer_config.json"))
    ).get_vocab()
    vectors = embeddings.token_vectors()
    assert vectors.shape == (len(vocabulary), 256) == (32000, 256)
    for word in ("love", "gossiping", "numbskulls"):
        row = row_of[word]
        tokens = everything.tokens[row]
        assert "".join(tokens).replace("▁", "") == word
        total = sum(vectors[vocabulary[token]] for token in tokens)
        np.testing.assert_allclose(everything.features[row] * len(tokens), total)
    assert everything.token_counts[row_of["love"]] == 1
    assert everything.token_counts[row_of["numbskulls"]] > 1


def test_features_know_sentiment(everything: RatedWords) -> None:
    """Nearest neighbours of a word, by the angle, are rated as it is more often than not."""
    x = everything.features[::7] / np.linalg.norm(everything.features[::7], axis=1, keepdims=True)
    mood = np.sign(everything.ratings[::7].mean(axis=1))
    similarity = x @ x.T
    np.fill_diagonal(similarity, -1.0)
    agree = (mood[similarity.argmax(axis=1)] == mood).mean()
    shuffled = np.random.default_rng(0).permutation(mood)
    assert agree > 0.7 > 0.6 > (shuffled == mood).mean()


def test_no_words_have_no_features() -> None:
    tokens, features = embeddings.word_features([])
    assert tokens.shape == (0,)
    assert features.shape == (0, 256)


def test_taking_rows_takes_them_from_every_column(everything: RatedWords) -> None:
    rows = np.array([5, 2, 700])
    some = everything.take(rows)
    assert some.words.tolist() == everything.words[rows].tolist()
    assert some.tokens.tolist() == everything.tokens[rows].tolist()
    assert (some.features == everything.features[rows]).all()  # same bits: copies
    assert (some.ratings == everything.ratings[rows]).all()


@pytest.mark.parametrize(
    "family",
    [
        "love loves loved loving lovable lovely lover lovers",
        "hate hated hater haters hates hating",
        "kill killed killer killers killing killings kills",
        "cry cried cries crying",
        "hope hopeful hopefully hopefulness hopeless hopelessly hopelessness hopes hoping",
        "worry worried worries worrier worriers worrying",
        "stop stopped stopping stops",
        "violate violated violates violating violation violations",
        "agonise agonised agonize agonized agonizing",
    ],
)
def test_a_family_of_words_shares_its_stem(family: str) -> None:
    assert len({stem(word) for word in family.split()}) == 1


def test_words_of_different_meaning_keep_different_stems() -> None:
    words = ["love", "hate", "kill", "cry", "hope", "worry", "agony", "good", "bad", "happy", "joy"]
    assert len({stem(word) for word in words}) == len(words)


@pytest.mark.parametrize("word", ["a", "s", "es", "sing", "ss", "yes", "less", "y"])
def test_a_stem_is_never_empty_and_no_longer_than_its_word(word: str) -> None:
    assert 0 < len(stem(word)) <= len(word)


def test_one_word_of_each_stem_is_kept_the_first(everything: RatedWords) -> None:
    rows = one_per_stem(everything.words)
    assert (np.diff(rows) > 0).all()
    kept = [stem(str(word)) for word in everything.words[rows]]
    assert len(set(kept)) == len(kept)
    assert set(kept) == {stem(str(word)) for word in everything.words}
    assert one_per_stem(everything.words[rows]).tolist() == list(range(rows.size))
    assert one_per_stem(["b", "loves", "a", "loved"]).tolist() == [0, 1, 2]


def test_a_missing_package_is_named() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        package_file("no_such_package", "file")


def test_neither_package_is_imported() -> None:
    script = (
        "import sys; from book import embeddings; embeddings.rated_words(); "
        "print(sorted({'wordllama', 'vaderSentiment'} & set(sys.modules)))"
    )
    found = subprocess.run(
        [sys.executable, "-c", script], cwd=CHAPTERS, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"
    assert found.stderr == ""
