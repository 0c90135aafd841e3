"""What features and labels share: S, B* and Ω of every model size, from one root.

Serves Chapters 2 to 9: each task is one signal, read by a representation.  Ω is a sum of squares,
not a difference of covariances, and as right as the root it is given.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from hmmtheory._checks import FloatArray, as_a
from hmmtheory._linalg import RANK_TOLERANCE, row_graded_system, singular_system
from hmmtheory.categorical_hmm import CategoricalHMM
from hmmtheory.gaussian_hmm import GaussianHMM, symmetric_root
from hmmtheory.moments import Moments
from hmmtheory.representations import LinearResponse, Representation

#: Features whose lengths differ by more than this are taken to have different units.
_GRADED = 1e2
#: Eigenvalues below this fraction of the largest have lost digits to it.
_SMALL = 1e-3
#: Rows of the root whose lengths differ by more than this are read one by one.
_STEEP = 1e5
#: So many columns are looked at at once.
_PIECE = 1024


class Reading(NamedTuple):
    """Moments of one model size, and K (d, q) of its best head B* = WᵀK."""

    moments: Moments
    coefficients: FloatArray


@dataclass(frozen=True, eq=False)
class Signal:
    r"""A state s and a label :math:`y = sM + e`, with e uncorrelated with s.

    Attributes
    ----------
    root : ndarray, shape (m, d)
        R with :math:`\operatorname{Cov}(s) = R^\top R`.
    response : ndarray, shape (d, q)
        M.
    noise : ndarray, shape (q, q)
        The covariance of e.
    """

    root: FloatArray
    response: FloatArray
    noise: FloatArray

    @classmethod
    def of_state(cls, hmm: GaussianHMM, label: LinearResponse) -> Signal:
        """Return the signal of a state that the model sees."""
        v = as_a("LinearResponse", "response", label).weights
        if v.shape[0] != as_a("GaussianHMM", "hmm", hmm).dim:
            raise ValueError(f"response must have weights with {hmm.dim} rows; got {v.shape[0]}")
        noise = hmm.noise_std**2 * v.T @ v + label.noise_covariance
        return cls(hmm.stationary_root, hmm.transition @ v, noise)

    @classmethod
    def of_estimate(cls, hmm: GaussianHMM, noise_std: float, length: int | None) -> Signal:
        """Return the signal of the Kalman filter's mean, from `length` noisy tokens.

        Its covariance is a difference, which loses digits where the tokens say little.
        """
        a, error = (
            as_a("GaussianHMM", "hmm", hmm).transition,
            hmm.filter_covariance(noise_std, length),
        )
        noise = a.T @ error @ a + hmm.noise_std**2 * np.eye(hmm.dim)
        return cls(symmetric_root(hmm.stationary_covariance - error), a, noise)

    @classmethod
    def of_token(cls, hmm: CategoricalHMM) -> Signal:
        """Return the signal of a token about the next, both one-hot and centred."""
        law = hmm.bigram.sum(axis=1)
        seen = law > 0
        following = np.zeros_like(hmm.bigram)
        following[seen] = hmm.bigram[seen] / law[seen, None]
        root = np.sqrt(law)[:, None] * (np.eye(law.size) - law)
        # The law of the next token given this one, averaged; off the diagonal nothing cancels.
        noise = -(following.T * law) @ following
        np.fill_diagonal(noise, law @ (following * (1.0 - following)))
        return cls(root, following, noise)

    @cached_property
    def steep(self) -> bool:
        """Whether the state's directions differ so much that squares of them lose the small."""
        lengths = np.linalg.norm(self.root, axis=1)
        lengths = lengths[lengths > 0]
        return bool(lengths.max(initial=0.0) > _STEEP * lengths.min(initial=np.inf))

    @cached_property
    def predictable(self) -> FloatArray:
        """RM (m, q): the label's part that the state tells, in the root's coordinates."""
        return np.asarray(self.root @ self.response)

    def readings(self, representation: Representation, sizes: Iterable[int]) -> Iterator[Reading]:
        """Yield what models of increasing sizes see, at a cost that does not grow with size."""
        weights, previous = representation.weights, 0
        gram = np.zeros((weights.shape[0],) * 2)
        shortest, longest = np.inf, 0.0
        for p in map(int, sizes):
            block = weights[:, previous:p]
            gram += block @ block.T
            # In pieces, so that memory does not grow with the size.
            for start in range(previous, p, _PIECE):
                squares = np.square(weights[:, start : min(start + _PIECE, p)]).sum(axis=0)
                shortest, longest = min(shortest, squares.min()), max(longest, squares.max())
            previous = p
            if self.steep:
                singular, left, _ = row_graded_system(self.root @ weights[:, :p])
                yield self._read(np.square(singular), left.T, p, representation.noise_std**2)
                continue
            values, vectors = np.linalg.eigh(self.root @ gram @ self.root.T)
            h, turns = values[::-1][:p], vectors.T[::-1][:p]
            kept = h > RANK_TOLERANCE * h.max(initial=0.0)
            if longest > _GRADED**2 * shortest and h.min() < _SMALL * h.max():
                # Through W itself, which knows each feature to its last digit.
                seen = self.root @ weights[:, :p]
                _, singular, right = singular_system(seen)
                h, turns = np.square(singular), (seen @ right.T / singular).T
            else:
                h, turns = h[kept], turns[kept]
            yield self._read(h, turns, p, representation.noise_std**2)

    def _read(self, h: FloatArray, turns: FloatArray, size: int, variance: float) -> Reading:
        """Direction i of the state, ``turns[i]``, is seen with signal h_i against the noise."""
        directions = turns @ self.predictable
        whole = h + variance
        missed = directions * np.sqrt(variance / whole)[:, None]
        unseen = self.predictable - turns.T @ directions
        omega = self.noise + missed.T @ missed + unseen.T @ unseen
        coefficients = self.root.T @ (turns.T @ (directions / whole[:, None]))
        head, counts, rest = directions * (np.sqrt(h) / whole)[:, None], None, size - h.size
        if rest and variance > 0.0:
            whole, counts = np.append(whole, variance), np.append(np.ones(h.size), rest)
            head = np.vstack([head, np.zeros(omega.shape[0])])
        return Reading(Moments(whole, head, omega, counts), coefficients)
