"""Rows that know each other: copies of one row, and rows of one person.

Serves chapter 13.  Whoever judges heads on rows they have not seen must not let them see a copy.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hmmtheory._checks import FloatArray, warn_caller
from hmmtheory._linalg import distinct_rows
from hmmtheory.curves import RiskCurve
from hmmtheory.practice.classes import as_classes

#: With more different rows than this share, equal ones are left as they are.
_RARE = 0.9


def places(x: FloatArray) -> NDArray[Any] | None:
    """Return each row's place among the different ones (N,); None where copies are too few.

    Examples
    --------
    >>> x = np.random.default_rng(0).standard_normal((8, 2))
    >>> places(x) is None, np.bincount(places(np.repeat(x, 2, axis=0))).tolist()
    (True, [2, 2, 2, 2, 2, 2, 2, 2])
    """
    first, place, copied = distinct_rows(x)
    return place if copied and first.size <= _RARE * x.shape[0] else None


def owners(groups: Any, rows: int) -> NDArray[Any]:
    """Return the number of each row's group; without groups each row is one.

    Examples
    --------
    >>> owners(["b", "a", "b"], 3).tolist(), owners(None, 2).tolist()
    ([1, 0, 1], [0, 1])
    """
    return np.arange(rows) if groups is None else as_classes("groups", groups, rows)[1]


def parts(owner: NDArray[Any], count: int, rng: np.random.Generator) -> list[NDArray[Any]]:
    """Return the rows of each part that is left out; what has one owner stays together.

    Examples
    --------
    >>> [len(rows) for rows in parts(np.repeat(np.arange(4), 3), 2, np.random.default_rng(0))]
    [6, 6]
    """
    names, owner = np.unique(owner, return_inverse=True)
    split = np.array_split(rng.permutation(names.size), max(min(count, names.size // 2), 2))
    return [np.flatnonzero(np.isin(owner, part)) for part in split] if names.size > 1 else []


def one_of_each(place: NDArray[Any] | None, rows: int) -> NDArray[Any]:
    """Return one row of each set of copies, drawn; all rows without copies.

    Examples
    --------
    >>> one_of_each(np.array([0, 0, 0]), 3).size, one_of_each(None, 3).size
    (1, 3)
    """
    if place is None:
        return np.arange(rows)
    # Files are often sorted by label: the first copy is no fair one.
    drawn = np.random.default_rng(0).permutation(rows)
    return np.sort(drawn[np.unique(place[drawn], return_index=True)[1]])


def warn_of_copies(count: int, rows: int, what: str) -> None:
    """Say that rows repeat, and what is done with their labels."""
    warn_caller(
        f"features hold {count} different rows among {rows}: {what}, and n labels taken for "
        f"n/{rows / count:.3g} rows"
    )


class Copies(NamedTuple):
    """Rows that occur several times, several people's labels of one text, count as one.

    A head fits the mean label of ``each`` copies; what the single labels of a row scatter about
    their mean, ``scatter`` (q,), comes on top of its risk.  ``rows`` are the different ones, ``y``
    their mean labels.

    Examples
    --------
    >>> found = Copies.of(np.array([0, 0, 1, 1]), np.array([[1.0], [3.0], [5.0], [5.0]]))
    >>> found.each, found.y.tolist(), found.extra, found.distinct(10)
    (2.0, [[2.0], [5.0]], 0.5, 5)
    """

    each: float
    scatter: FloatArray
    rows: NDArray[Any]
    y: FloatArray

    @classmethod
    def of(cls, place: NDArray[Any] | None, y: FloatArray) -> Copies:
        """Return the rows of a pilot, by :func:`places`, with labels y (N, q)."""
        if place is None:
            return cls(1.0, np.zeros(y.shape[1]), np.arange(y.shape[0]), y)
        _, first, times = np.unique(place, return_index=True, return_counts=True)
        means = np.stack([np.bincount(place, column) for column in y.T], axis=1) / times[:, None]
        warn_of_copies(first.size, y.shape[0], "the labels of equal rows are averaged")
        scatter = np.square(y - means[place]).sum(axis=0) / (y.shape[0] - first.size)
        each = y.shape[0] / first.size
        return cls(each, scatter * (1 - 1 / each), first, means)

    @property
    def extra(self) -> float:
        """What is added to a risk."""
        return float(self.scatter.sum())

    def distinct(self, n: int) -> int:
        """Return how many different rows n labels are of."""
        return max(2, round(n / self.each)) if self.each > 1 else n

    def labels(self, rows: int | None) -> int | None:
        """Return how many labels so many different rows have."""
        return None if rows is None else round(self.each * rows)

    def added_to(self, curve: RiskCurve, n: int) -> RiskCurve:
        """Return the curve of n single labels."""
        if self.each == 1.0 or curve.noise is None or curve.per_output is None:
            return curve
        return replace(
            curve,
            risk=curve.risk + self.extra,
            noise=curve.noise + self.extra,
            per_output=curve.per_output + self.scatter,
            n_samples=n,
            ridge=self.each * curve.ridge,
            ridges=None if curve.ridges is None else self.each * curve.ridges,
        )
