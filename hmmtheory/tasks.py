"""Tasks: a chain, a frozen representation and a label, with exact moments and draws.

Serves Chapters 1 to 10: whatever is simulated is drawn here, whatever is exact is read here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hmmtheory._checks import (
    FloatArray,
    as_a,
    as_count,
    as_option,
    as_rng,
    as_scale,
    as_sizes,
    as_table,
)
from hmmtheory.categorical_hmm import CategoricalHMM
from hmmtheory.gaussian_hmm import GaussianHMM
from hmmtheory.moments import Moments
from hmmtheory.population import Population, check_dimensions
from hmmtheory.representations import LinearResponse, Representation
from hmmtheory.signals import Signal

DESIGNS = ("prompts", "document")


class Task(ABC):
    """What all tasks share: moments of every size from one signal."""

    representation: Representation

    @property
    @abstractmethod
    def signal(self) -> Signal:
        """What features and label share."""

    @abstractmethod
    def states_and_labels(
        self, n_samples: int, rng: Any = None, design: str = "prompts"
    ) -> tuple[FloatArray, FloatArray]:
        """Draw what the representation reads (n, d) and the labels (n, q), both centred."""

    def population(self, size: int | None = None) -> Population:
        """Return the dense moments of the first `size` features, all if omitted.

        Raises
        ------
        ValueError
            If `size` is not in [0, P].
        """
        whole = self.representation
        model = whole if size is None else whole.truncate(size)
        return Population.of_signal(self.signal, model)

    def moments(self, sizes: Iterable[int] | ArrayLike) -> Iterator[Moments]:
        """Yield what the theory needs at each size, at a cost that does not grow with it.

        Parameters
        ----------
        sizes : sequence of int
            Strictly increasing sizes within [0, P].

        Raises
        ------
        ValueError
            If a size is not in [0, P] or they don't increase.
        """
        checked = as_sizes(sizes, self.representation.size)
        for reading in self.signal.readings(self.representation, checked):
            yield reading.moments

    def draw(
        self, n_samples: int, rng: Any = None, design: str = "prompts"
    ) -> tuple[FloatArray, FloatArray]:
        """Draw examples: features (n, P) and labels (n, q), both with mean zero.

        Parameters
        ----------
        n_samples : int
            n >= 1.
        rng : int, Generator, SeedSequence or None
            Passed to `numpy.random.default_rng`.
        design : {"prompts", "document"}
            n independent sequences with one example each, or n consecutive examples of one.

        Returns
        -------
        features, labels : ndarray

        Raises
        ------
        ValueError
            If n < 1 or `design` is unknown.
        """
        generator = as_rng(rng)
        states, labels = self.states_and_labels(n_samples, generator, design)
        return self.representation.features(states, generator), labels


@dataclass(frozen=True, eq=False)
class GaussianTask(Task):
    """The model sees the state of a Gaussian chain; the label is linear in the next one.

    Parameters
    ----------
    hmm : GaussianHMM
        The chain.
    representation : Representation
        The largest model.
    response : LinearResponse, optional
        The label; the next state if omitted.

    Raises
    ------
    ValueError
        If dimensions differ.

    Examples
    --------
    >>> chain = GaussianHMM.rotation(5, persistence=0.9, rng=0)
    >>> task = GaussianTask(chain, Representation.gaussian(5, 40, rng=1))
    >>> x, y = task.draw(20, rng=2)
    >>> x.shape, y.shape, task.population(10)
    ((20, 40), (20, 5), Population(n_features=10, n_outputs=5))
    """

    hmm: GaussianHMM
    representation: Representation
    response: LinearResponse | None = None

    def __post_init__(self) -> None:
        check_dimensions(as_a("GaussianHMM", "hmm", self.hmm).dim, self.representation)
        _ = self.signal  # checks the response

    @property
    def label(self) -> LinearResponse:
        """The response, the identity if none was given."""
        return LinearResponse(np.eye(self.hmm.dim)) if self.response is None else self.response

    @cached_property
    def signal(self) -> Signal:
        """What features and label share."""
        return Signal.of_state(self.hmm, self.label)

    def states_and_labels(
        self, n_samples: int, rng: Any = None, design: str = "prompts"
    ) -> tuple[FloatArray, FloatArray]:
        """Draw states (n, d) and labels (n, q).

        Parameters
        ----------
        n_samples, rng, design
            As :meth:`draw`.

        Returns
        -------
        states, labels : ndarray

        Raises
        ------
        ValueError
            As :meth:`draw`.
        """
        n, generator = as_count("n_samples", n_samples), as_rng(rng)
        if as_option("design", design, DESIGNS) == "prompts":
            pairs = self.hmm.sample(n, 2, generator)
            states, following = pairs[:, 0], pairs[:, 1]
        else:
            path = self.hmm.sample(1, n + 1, generator)[0]
            states, following = path[:-1], path[1:]
        if self.response is None:
            return states, following
        return states, self.response.sample(following, generator)


@dataclass(frozen=True, eq=False)
class FilteredTask(Task):
    r"""The model sees noisy tokens through the Kalman filter; the label is the next state.

    Parameters
    ----------
    hmm : GaussianHMM
        The chain.
    representation : Representation
        The largest model, which reads the posterior mean of the state.
    observation_noise_std : float
        :math:`\sigma_v > 0` of the tokens.
    length : int
        The number of tokens seen.

    Raises
    ------
    ValueError
        If dimensions differ, or as :meth:`.GaussianHMM.filter_covariance`.

    Examples
    --------
    >>> chain = GaussianHMM.rotation(3, persistence=0.9, rng=0)
    >>> task = FilteredTask(chain, Representation.gaussian(3, 8, rng=1), 0.5, length=4)
    >>> [a.shape for a in task.draw(20, rng=2)]
    [(20, 8), (20, 3)]
    """

    hmm: GaussianHMM
    representation: Representation
    observation_noise_std: float
    length: int

    def __post_init__(self) -> None:
        check_dimensions(as_a("GaussianHMM", "hmm", self.hmm).dim, self.representation)
        object.__setattr__(self, "length", as_count("length", self.length))
        noise = as_scale("observation_noise_std", self.observation_noise_std, positive=True)
        object.__setattr__(self, "observation_noise_std", noise)
        _ = self.signal  # checks the noise

    @cached_property
    def signal(self) -> Signal:
        """What features and label share."""
        return Signal.of_estimate(self.hmm, self.observation_noise_std, self.length)

    def states_and_labels(
        self, n_samples: int, rng: Any = None, design: str = "prompts"
    ) -> tuple[FloatArray, FloatArray]:
        """Draw posterior means (n, d) and next states (n, d); of prompts only.

        Parameters
        ----------
        n_samples, rng, design
            As :meth:`draw`.

        Returns
        -------
        states, labels : ndarray

        Raises
        ------
        ValueError
            As :meth:`draw`.
        """
        as_option("design", design, ("prompts",))
        n, generator = as_count("n_samples", n_samples), as_rng(rng)
        path, std = self.hmm.sample(n, self.length + 1, generator), self.observation_noise_std
        tokens = path[:, :-1] + std * generator.standard_normal(path[:, :-1].shape)
        return self.hmm.filter(tokens, std)[:, -1], path[:, -1]


@dataclass(frozen=True, eq=False)
class TokenTask(Task):
    r"""The model sees one token of a categorical chain; the label is the next, one-hot.

    Parameters
    ----------
    hmm : CategoricalHMM
        The chain, taken in its stationary law.
    embedding : array_like, shape (V, P)
        One row for each token.
    noise_std : float
        :math:`\sigma_u \ge 0` of the features.

    Raises
    ------
    ValueError
        If `embedding` does not have V rows, or `noise_std` < 0.

    Examples
    --------
    >>> coin = CategoricalHMM([0.5, 0.5], [[0.9, 0.1], [0.1, 0.9]], [[0.8, 0.2], [0.2, 0.8]])
    >>> task = TokenTask(coin, [[1.0], [-1.0]])
    >>> task.population().head.round(3).tolist()
    [[0.144, -0.144]]
    """

    hmm: CategoricalHMM
    embedding: FloatArray
    noise_std: float = 0.0

    def __post_init__(self) -> None:
        tokens = as_a("CategoricalHMM", "hmm", self.hmm).n_tokens
        embedding = as_table("embedding", self.embedding, (tokens, None))
        object.__setattr__(self, "embedding", embedding)
        object.__setattr__(self, "noise_std", as_scale("noise_std", self.noise_std))

    @cached_property
    def representation(self) -> Representation:  # type: ignore[override]
        """The embedding as a representation of one-hot tokens."""
        return Representation(self.embedding, self.noise_std)

    @cached_property
    def signal(self) -> Signal:
        """What features and label share."""
        return Signal.of_token(self.hmm)

    def states_and_labels(
        self, n_samples: int, rng: Any = None, design: str = "prompts"
    ) -> tuple[FloatArray, FloatArray]:
        """Draw centred one-hot tokens (n, V) and the tokens that follow.

        Parameters
        ----------
        n_samples, rng, design
            As :meth:`draw`.

        Returns
        -------
        states, labels : ndarray

        Raises
        ------
        ValueError
            As :meth:`draw`.
        """
        n, generator = as_count("n_samples", n_samples), as_rng(rng)
        chain = CategoricalHMM(
            self.hmm.stationary_distribution, self.hmm.transition, self.hmm.emission
        )
        if as_option("design", design, DESIGNS) == "prompts":
            tokens = chain.sample(n, 2, generator)[1]
            pairs = tokens[:, 0], tokens[:, 1]
        else:
            path = chain.sample(1, n + 1, generator)[1][0]
            pairs = path[:-1], path[1:]
        law = self.hmm.bigram.sum(axis=1)
        one_hot = np.eye(law.size) - law
        return one_hot[pairs[0]], one_hot[pairs[1]]
