"""The frozen features and the ten human ratings of chapter 15.

Both come from installed packages and are read as files; neither package is imported.

* ``wordllama`` (MIT licence) brings one vector for each token of the LLaMA 2 vocabulary.  They
  were trained from the token codebooks of several language models, LLaMA 2 among them.
* ``vaderSentiment`` (MIT licence) brings a lexicon of words, each rated by ten people from -4
  (most negative) to 4 (most positive).
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file
from tokenizers import Tokenizer

RATERS = 10

ENDINGS = """
able ably al ally ance ant at ate ation ations e ed edly en ence ent er ers es est ful fully
hood i ible ibly ic ical ied ier ies iest ily iness ing ingly ings ion ions is ise ish ism ist
ists ities ity ive ively iz ize less lessly like ly ment ments ness or ors ous ously s ship
some th y
"""
"""What :func:`stem` takes off."""
LONGEST_FIRST = tuple(sorted(ENDINGS.split(), key=len, reverse=True))

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class RatedWords(NamedTuple):
    """Words with their frozen features and ratings, one word a row.

    ``words`` (N,) are lower-case; ``tokens`` (N,) are tuples of the tokens that spell them;
    ``features`` (N, 256) are means over the vectors of a word's tokens, and ``ratings`` (N, 10)
    whole numbers from -4 to 4.
    """

    words: NDArray[np.str_]
    tokens: NDArray[np.object_]
    features: FloatArray
    ratings: FloatArray

    @property
    def token_counts(self) -> IntArray:
        """The number of tokens of each word (N,)."""
        return np.array([len(tokens) for tokens in self.tokens], dtype=np.int64)

    def take(self, rows: IntArray) -> RatedWords:
        """Return some of the words, by their row numbers."""
        return RatedWords(
            self.words[rows], self.tokens[rows], self.features[rows], self.ratings[rows]
        )


def package_file(package: str, *path: str) -> Path:
    """Return where an installed package keeps a file, without importing the package."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"the package {package} is not installed", name=package)
    return Path(spec.submodule_search_locations[0]).joinpath(*path)


def token_vectors() -> FloatArray:
    """Return the vector of every token (32000, 256)."""
    tensors = load_file(package_file("wordllama", "weights", "l2_supercat_256.safetensors"))
    (vectors,) = tensors.values()
    return np.asarray(vectors, dtype=np.float64)


def word_features(words: Iterable[str]) -> tuple[NDArray[np.object_], FloatArray]:
    """Return each word's tokens (N,), and the mean of their vectors (N, 256)."""
    vectors = token_vectors()
    file = package_file("wordllama", "tokenizers", "l2_supercat_tokenizer_config.json")
    tokenizer = Tokenizer.from_file(str(file))
    codes = [tokenizer.encode(word, add_special_tokens=False) for word in words]
    tokens = np.empty(len(codes), dtype=object)
    tokens[:] = [tuple(code.tokens) for code in codes]
    features = np.array([vectors[code.ids].mean(axis=0) for code in codes])
    return tokens, features.reshape(len(codes), vectors.shape[1])


def read_lexicon() -> tuple[list[str], FloatArray]:
    """Return the rated words and their ratings (N, 10).

    Kept are entries of ASCII letters alone, in lower case; of entries that differ in case only,
    the first.
    """
    found: dict[str, list[int]] = {}
    text = package_file("vaderSentiment", "vader_lexicon.txt").read_text(encoding="utf-8")
    for line in filter(None, text.splitlines()):
        entry, _, _, ratings = line.split("\t")
        if entry.isascii() and entry.isalpha():
            found.setdefault(entry.lower(), json.loads(ratings))
    table = np.array(list(found.values()), dtype=np.float64)
    if table.shape != (len(found), RATERS):
        raise ValueError(f"every word must have {RATERS} ratings; got shape {table.shape}")
    return list(found), table


def stem(word: str) -> str:
    """Return a crude stem: words of one family share it, a few strangers do too.

    Endings come off, the longest that fits first, as long as one fits and three letters stay; a
    doubled last letter, except s, becomes single; a final y becomes i.  Six letters are kept.
    """
    while True:
        fits = [e for e in LONGEST_FIRST if word.endswith(e) and len(word) - len(e) >= 3]
        word = word.removesuffix(fits[0]) if fits else word
        if len(word) > 3 and word[-1] == word[-2] != "s":
            word = word[:-1]
        elif not fits:
            break
    return (word[:-1] + "i" if word.endswith("y") else word)[:6]


def one_per_stem(words: Sequence[str] | NDArray[np.str_]) -> IntArray:
    """Return the row numbers, ascending, of the first word of each stem."""
    _, first = np.unique([stem(str(word)) for word in words], return_index=True)
    return np.sort(first)


def rated_words() -> RatedWords:
    """Read everything: features and ratings of every word."""
    words, ratings = read_lexicon()
    tokens, features = word_features(words)
    return RatedWords(np.array(words), tokens, features, ratings)
