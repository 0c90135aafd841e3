"""Rows that know each other: copies of one row, exact or nearly so, and rows of one person.

Serves chapter 13.  Whoever judges heads on rows they have not seen must not let them see a copy.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, sparse
from scipy.special import stdtrit

from hmmtheory._checks import FloatArray, warn_caller
from hmmtheory._linalg import distinct_rows
from hmmtheory.curves import RiskCurve
from hmmtheory.practice.classes import as_classes

#: Fewer groups than these say little of others.
FEW_GROUPS = 10
#: With more different rows than this share, equal ones are left as they are.
_RARE = 0.9
#: So large a share of rows must have another nearby.
_SOME = (1 - _RARE) / 2
#: Copies are nearer than this part of the distance to the k-th neighbour, and near enough that
#: rows of so many dimensions have one in a hundred so near by chance.  Half of the k neighbours
#: must be no copies, so that more and more are tried.
_NEAR, _CHANCE, _NEIGHBOURS, _MORE, _ROUNDED = 0.03, 0.01, 20, 1.5, 1e-7
#: Copies are as many of each row if so small a share has none, or if their number varies by this
#: part of what chance makes of it.
_ONCE, _EVEN = 0.05, 0.7
#: Rows that are looked at first, so many distances at a time, and numbers that are too many.
_SAMPLE, _BLOCK, _LARGE = 200, 4_000_000, 50_000_000


def places(x: FloatArray) -> NDArray[Any] | None:
    """Return each row's place among the different ones (N,); None where copies are too few.

    Copies are equal rows, but where a few values make them equal by chance
    (:func:`.distinct_rows`), or rows that differ by a few per cent of what others do (looked for
    among up to 50 million numbers); and all rows, or as good as all, have about as many.  Where
    some occur once and others often, as the last tokens of sentences or the states of a chain do,
    fresh rows will repeat these, too.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((30, 4))
    >>> places(x) is None, np.bincount(places(np.repeat(x, 2, axis=0)))[:9].tolist()
    (True, [2, 2, 2, 2, 2, 2, 2, 2, 2])
    >>> jittered = np.repeat(x, 3, axis=0) + 1e-4 * rng.standard_normal((90, 4))
    >>> np.bincount(places(jittered))[:9].tolist()
    [3, 3, 3, 3, 3, 3, 3, 3, 3]
    """
    first, place, copied = distinct_rows(x)
    found: NDArray[Any] | None = place if copied else None
    if not copied and first.size == x.shape[0]:
        found = _nearly_equal(x)
    if found is None or found.max() >= _RARE * x.shape[0]:
        return None
    return found if _designed(np.bincount(found)) else None


def _designed(counts: NDArray[Any]) -> bool:
    """Whether rows occur more evenly than by draws from a list, or (almost) none just once.

    Draws make the counts of what occurs vary at least as Poisson's, zero left out.
    """
    if np.mean(counts == 1) <= _ONCE:
        return True
    mean = float(counts.mean())
    rate = optimize.brentq(lambda r: r - mean * -np.expm1(-r), 1e-9, mean)
    return bool(counts.var() <= _EVEN * mean * (1 + rate - mean))


def _nearly_equal(x: FloatArray) -> NDArray[Any] | None:
    """Return each row's place among those that no other is close to; None where few are."""
    rows = x.shape[0]
    spread = x.std(axis=0)
    varies = spread > 0
    if rows < 24 or varies.sum() < 2 or x.size > _LARGE:
        return None
    x = (x[:, varies] - x[:, varies].mean(axis=0)) / spread[varies]
    squares = np.square(x).sum(axis=1)
    some = np.random.default_rng(0).permutation(rows)[:_SAMPLE]
    squared, most = _squared(x, squares, some), rows // 2
    farthest = np.square(np.sqrt(squares[some]) + np.sqrt(squares.max()))
    if np.mean(squared.min(axis=1) < _NEAR**2 * farthest) < _SOME:
        return None  # without sorting a distance
    far = np.partition(squared, most - 1, axis=1)[:, most - 1]
    if np.mean(squared.min(axis=1) < _NEAR**2 * far) < _SOME:
        return None  # not even beside the farthest that would be looked at
    k, ratio = _reach(_nearest(squared, most))
    if not ratio:
        return None
    step = max(1, _BLOCK // rows)
    pairs = []
    for start in range(0, rows, step):
        block = np.arange(start, min(start + step, rows))
        squared = _squared(x, squares, block)
        reach = ratio * _nearest(squared, k)[:, -1]
        one, other = np.nonzero((squared < np.square(reach)[:, None]) & (reach > 0)[:, None])
        pairs.append((block[one], other))
    one, other = (np.concatenate(side) for side in zip(*pairs, strict=True))
    graph = sparse.csr_array((np.ones(one.size), (one, other)), shape=(rows, rows))
    return np.asarray(sparse.csgraph.connected_components(graph, directed=False)[1])


def _reach(near: FloatArray) -> tuple[int, float]:
    """Return k, and which part of the distance to the k-th neighbour is a copy's; 0 for none."""
    most = near.shape[1]
    # Differences of squares leave nothing of shorter distances.
    near = np.where(near > _ROUNDED * near.max(), near, 0.0)
    k = min(_NEIGHBOURS, 2 * most // 3)
    while True:
        # In d dimensions twice the neighbours are 2^(1/d) times as far.
        half = np.maximum(near[:, k // 2 - 1], 1e-300)
        grown = float(np.log(np.median(np.maximum(near[:, k - 1], 1e-300) / half)))
        ratio = min(_NEAR, (_CHANCE / k) ** (grown / np.log(2)))
        if np.mean(near[:, 0] < ratio * near[:, k - 1]) >= _SOME and ratio > _ROUNDED:
            return k, ratio
        if k == most:
            return k, 0.0
        k = min(int(_MORE * k), most)


def _squared(x: FloatArray, squares: FloatArray, rows: NDArray[Any]) -> FloatArray:
    """Return the squared distances of some rows to all others (m, N), infinite to themselves."""
    found = squares[rows, None] + squares - 2 * x[rows] @ x.T
    found[np.arange(rows.size), rows] = np.inf
    return np.asarray(found)


def _nearest(squared: FloatArray, k: int) -> FloatArray:
    """Return the distances to the k nearest (m, k), in order."""
    found = np.sort(np.partition(squared, k - 1, axis=1)[:, :k], axis=1)
    return np.asarray(np.sqrt(np.maximum(found, 0.0)))


def owners(groups: Any, rows: int) -> NDArray[Any]:
    """Return the number of each row's group; without groups each row is one.

    Examples
    --------
    >>> owners(["b", "a", "b"], 3).tolist(), owners(None, 2).tolist()
    ([1, 0, 1], [0, 1])
    """
    if groups is None:
        return np.arange(rows)
    names, codes = as_classes("groups", groups, rows)
    if len(names) < 2:
        raise ValueError(f"groups must be two at least; got {names} alone")
    many = effective(codes)
    if many < FEW_GROUPS:
        warn_caller(
            f"groups are {len(names)}, as good as {many:.0f} of one size: too few to tell how a "
            "head will do on others; the risk and its standard error are rather too small"
        )
    return codes


def effective(codes: NDArray[Any]) -> float:
    """Return how many groups of one size are as good as these: 1/Σ share².

    Examples
    --------
    >>> sizes = [5] * 20, [98, 1, 1]
    >>> [round(effective(np.repeat(np.arange(len(one)), one)), 2) for one in sizes]
    [20.0, 1.04]
    """
    return float(1.0 / np.square(np.bincount(codes) / codes.size).sum())


def widened(error: Any, parts_left: float, usual: int) -> Any:
    """Return a jackknife's standard error, widened where it saw fewer parts than usual.

    By the ratio of Student's quantiles: what few parts scatter is itself uncertain.

    Examples
    --------
    >>> widened(1.0, 20, 20), round(widened(1.0, 3, 20), 2)
    (1.0, 2.06)
    """
    few = min(max(parts_left, 2.0), usual)
    return error * float(stdtrit(few - 1, 0.975) / stdtrit(usual - 1, 0.975))


def jackknife(replicates: Any, usual: int) -> Any:
    """Return the standard error of what each part of the rows was left out of (m, ...).

    Examples
    --------
    >>> round(float(jackknife([1.0, 2.0, 3.0], 3)), 3)
    1.155
    """
    many = len(replicates)
    return widened(np.sqrt((many - 1) * np.var(replicates, axis=0)), many, usual)


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
