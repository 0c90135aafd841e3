"""What diagnose measures on rows: distances, near-dependent draws, residuals. Serves chapter 13."""

from __future__ import annotations

import warnings

import numpy as np
from scipy import linalg, stats
from scipy.spatial import distance

from hmmtheory._bulk import Bulk, turned
from hmmtheory._checks import FloatArray
from hmmtheory._linalg import thin_svd
from hmmtheory._trials import one_blas_thread
from hmmtheory.practice._path import ridge_path
from hmmtheory.practice.copies import places
from hmmtheory.practice.features import predict_risk

#: Rows among which distances are measured.
_MAX_ROWS = 2000
#: A pair is nearly a duplicate below this share of the typical squared distance of two rows.
NEAR = 0.05
#: A draw is near-singular below this share of the smallest singular value of Gaussian draws.
_GAP = 0.1
#: Most rows of a draw that is searched for near-dependent rows.
_MAX_DRAW = 160
#: Most directions of draws that have more rows than directions.
MAX_DIRECTIONS = 256
#: Below this share of the spread a difference is rounding.
_DIGITS = 1e-9
#: Leading directions along which labelled and unlabelled rows are compared, and the standard
#: errors that a difference has to exceed.
_COMPARED, _BEYOND = 20, 4.0
#: Median distances from the median that no measurement reaches.
_STRANGE = 100.0
#: Kurtosis that says nothing.
_LIGHT = 6.0
#: Draws of Gaussian rows with which those of the samples are compared.
_TWINS = 50


def excess_kurtosis(columns: FloatArray) -> FloatArray:
    """Return that of each centred column; 0 for Gaussian numbers."""
    squares = np.square(columns)
    return np.asarray(np.square(squares).mean(axis=0) / np.square(squares.mean(axis=0)) - 3.0)


def tied_values(x: FloatArray) -> float:
    """Return the share of columns that take fewer than ten values."""
    distinct = 1 + np.count_nonzero(np.diff(np.sort(x, axis=0), axis=0), axis=0)
    return float(np.mean(distinct < min(10, len(x))))


def label_tails(y: FloatArray) -> float:
    """Return the largest excess kurtosis of an output that takes more than ten values.

    Where it is small, how many median distances from the median its farthest value lies, if those
    are too many for a measurement: -999 for all that is missing has little kurtosis.
    """
    found: list[float] = []
    for column in y.T:
        if np.unique(column).size > 10:
            far = np.abs(column - np.median(column))
            typical = float(np.median(far))
            strange = float(far.max()) / typical if typical > 0 else 0.0
            tails = float(stats.kurtosis(column))
            found.append(strange if strange > _STRANGE and tails < _LIGHT else tails)
    return max(found, default=0.0)


def dominant_label(y: FloatArray) -> float:
    """Return the largest share of one value, of outputs that take more than ten."""
    counts = [np.unique(column, return_counts=True)[1] for column in y.T]
    return max((float(c.max() / len(y)) for c in counts if c.size > 10), default=0.0)


def repeated_rows(x: FloatArray) -> float:
    """Return the share of rows that have copies, near ones where they are many."""
    place = places(x)
    if place is None:  # a few equal rows are told of, too
        place = np.unique(x, axis=0, return_inverse=True)[1].ravel()
    counts = np.bincount(place)
    return float(counts[counts > 1].sum() / x.shape[0])


def scale_effect(scores: FloatArray, y: FloatArray, n: int) -> float:
    """Return the risk with row scales over that without, where they differ most."""
    judged = scores.shape[1]
    sizes = sorted({s for s in (n // 2, 3 * n // 4, 3 * n // 2, 2 * n, judged) if 1 <= s <= judged})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # diagnose says it in its own words
        curves = [
            predict_risk(scores, y, n, sizes, rows=option).risk
            for option in ("elliptical", "gaussian")
        ]
    finite = np.isfinite(curves[1]) & (curves[1] > 0)
    ratios = curves[0][finite] / curves[1][finite]
    return float(ratios[np.abs(np.log(ratios)).argmax()]) if finite.any() else 1.0


def of_columns(x: FloatArray) -> dict[str, float]:
    """Return what one column, and what one row, sticks out."""
    varying = x[:, np.ptp(x, axis=0) > 0]
    columns = (varying - varying.mean(axis=0)) / varying.std(axis=0)
    return {
        "column_kurtosis": float(excess_kurtosis(columns).max()),
        "outlying_rows": outlying_rows(varying),
    }


def outlying_rows(x: FloatArray) -> float:
    """Return the squared length of the longest row over the median one, whatever the units.

    A column's unit is its median distance from its median, which a row that is far out does not
    widen, be the rows few or many; values that are the median's own are left out.  A row counts no
    more than a hundred times what half of its columns say: that one column is rarely active is
    another finding.
    """
    away = np.abs(x - np.median(x, axis=0))
    away /= _typical(away)
    lengths, most = np.square(away).mean(axis=1), np.square(np.median(away, axis=1))
    return float(np.minimum(lengths, 100.0 * most).max() / _typical(lengths))


def _typical(values: FloatArray) -> FloatArray:
    """Return the median of what is positive, along the first axis."""
    return np.asarray(np.nanmedian(np.where(values > 0, values, np.nan), axis=0))


def of_labels(x: FloatArray, y: FloatArray) -> dict[str, float]:
    """Return what labels, and what a head misses of them, look like."""
    drift, curvature = of_residuals(x, y)
    return {
        "label_tails": label_tails(y),
        "dominant_label": dominant_label(y),
        "drift": drift,
        "curvature": curvature,
    }


def of_residuals(x: FloatArray, y: FloatArray) -> tuple[float, float]:
    """Return drift and curvature of what the best ridge head says of rows it has not seen.

    Rows that are sorted by their labels have no drift, and labels of ten values no curvature:
    there both would be the labels' own.
    """
    path = ridge_path(x, y)
    if not path.ridges.size:
        return 0.0, 0.0
    left = path.residuals[np.square(path.residuals).sum(axis=(1, 2)).argmin()]
    drift = curvature = 0.0
    for residual, label in zip(left.T, y.T, strict=True):
        steps, values = np.diff(label), np.unique(label).size
        # A residual of rounding is no residual.
        if values > 1 and np.ptp(residual) > _DIGITS * np.ptp(label):
            many = values > 10
            ordered = (steps >= 0).all() or (steps <= 0).all()
            if not ordered and (many or np.count_nonzero(steps) >= values):
                found = np.corrcoef(residual, np.arange(residual.size))[0, 1]
                near = np.corrcoef(residual[1:], residual[:-1])[0, 1]
                drift = max(drift, abs(float(found)), float(near))
            said = label - residual
            far = np.abs(said - np.median(said))
            if many and np.ptp(far) > _DIGITS * np.ptp(label):
                found = np.corrcoef(_ranks(residual), _ranks(far))[0, 1]
                curvature = max(curvature, abs(float(found)))
    return drift, curvature


def differences(
    centred: FloatArray, mean: FloatArray, whitened: FloatArray, unlabelled: FloatArray | Bulk
) -> tuple[float, float]:
    """Return how far unlabelled rows are from the labelled ones: their mean, and their variance.

    `centred` are the labelled rows (N, p) less their mean (p,), and `whitened` (p, r) their
    leading directions over standard deviations.  The first number is the distance of the means
    over the root of the total variance, or that in standard deviations of the leading directions
    if it is larger; the second is the ratio of the total variances, or by how much that of a column
    typically changes, if that is more.  Both are what four standard errors leave of the difference.
    """
    rows, count = len(centred), len(unlabelled)
    if not isinstance(unlabelled, Bulk):
        middle = unlabelled.mean(axis=0)
        unlabelled = Bulk(count, middle, unlabelled - middle)
    squares = np.square(centred).sum(axis=1)
    total = squares.mean()
    ratio = np.square(unlabelled.root).sum() / max(count - 1, 1) * (rows - 1) / rows / total
    # Few rows do not show how far they spread.
    inflation = 1.0 / rows + max(ratio, 1.0) / count
    near = turned(unlabelled, mean, whitened[:, :_COMPARED])
    assert isinstance(near, Bulk)
    noise = 1.0 / rows + np.maximum(np.square(near.root).sum(axis=0) / count, 1.0) / count
    beyond = np.sum(np.square(near.mean) - noise) - _BEYOND * np.sqrt(2.0 * np.square(noise).sum())
    variances = 1.0 / np.square(whitened).sum(axis=0)
    error = np.sqrt(2.0 * np.square(variances).sum()) / total
    share = np.square(unlabelled.mean - mean).sum() / total
    share -= inflation * (1.0 + _BEYOND * error)
    apart = float(np.sqrt(max(beyond, share, 0.0)))
    if count == 1:
        return apart, 1.0
    change = np.log(max(ratio, np.finfo(float).tiny))
    error = squares.std() / total * np.sqrt(1.0 / rows + 1.0 / count)
    change = np.sign(change) * max(abs(change) - _BEYOND * error, 0.0)
    typical = _typical_change(centred, np.square(unlabelled.root).sum(axis=0) / (count - 1), count)
    return apart, float(np.exp(change if abs(change) >= typical else typical))


def _typical_change(centred: FloatArray, theirs: FloatArray, count: int) -> float:
    """Return the median change of a column's log variance, beyond what chance explains.

    Columns in another order, or in other units, may have the same means and total variance.
    """
    squares = np.square(centred)
    ours = squares.mean(axis=0)
    both = (ours > 0) & (theirs > 0)
    if not both.any():
        return 0.0
    ours, theirs, spread = ours[both], theirs[both], squares[:, both].std(axis=0)
    error = spread / ours * np.sqrt(1.0 / len(centred) + 1.0 / count)
    found = np.median(np.abs(np.log(theirs / ours))) - _BEYOND * np.median(error)
    return float(max(found, 0.0))


def _ranks(values: FloatArray) -> FloatArray:
    """Return ranks in which numbers that rounding alone tells apart are ties.

    The two rows beside the median of an even number, and rows that repeat, are such.
    """
    steps = np.round((values - values.min()) / (_DIGITS * np.ptp(values)))
    return np.asarray(stats.rankdata(steps), dtype=np.float64)


def distances(
    centred: FloatArray, variance: float, rng: np.random.Generator
) -> tuple[FloatArray, float]:
    """Return each row's squared distance to its nearest, over a typical one, and the near rate."""
    rows = centred.shape[0]
    if rows > _MAX_ROWS:
        centred = centred[rng.choice(rows, _MAX_ROWS, replace=False)]
    pairs = distance.pdist(centred, "sqeuclidean") / (2.0 * variance)
    square = distance.squareform(pairs)
    np.fill_diagonal(square, np.inf)
    return square.min(axis=1), float(np.mean(pairs < NEAR))


def dependent_rows(
    rows: FloatArray,
    spectrum: FloatArray,
    scales: FloatArray,
    n: int,
    rng: np.random.Generator,
) -> float:
    """Return the share of draws of n <= rank rows in which some nearly determine each other.

    If few draws of n rows have such a set, larger ones are searched, where a set of k rows is
    (m choose k)/(n choose k) times as frequent.  The rank keeps its distance, since near it
    Gaussian rows too are nearly dependent.
    """
    largest = min(5 * spectrum.size // 8, rows.shape[0] // 2, _MAX_DRAW)
    with one_blas_thread():
        for m, draws in ((min(n, largest), 200), (min(2 * n, largest), 1000)):
            sizes = dependent_sets(rows, spectrum, scales, max(m, 3), draws, rng)
            if m == n and len(sizes) > 0.05 * draws:
                return len(sizes) / draws
    taken = [np.arange(k) for k in sizes]
    return float(sum(np.prod(np.maximum(n - t, 0) / (m - t)) for t in taken) / draws)


def dependent_sets(
    rows: FloatArray,
    spectrum: FloatArray,
    scales: FloatArray,
    m: int,
    draws: int,
    rng: np.random.Generator,
) -> list[int]:
    """Return the number of rows of each nearly dependent set, at most one set for each draw."""
    twin = rng.standard_normal((_TWINS, m, spectrum.size)) * np.sqrt(spectrum)
    twin *= rng.choice(scales, (_TWINS, m, 1))
    twin -= twin.mean(axis=1, keepdims=True)
    # Centring leaves one eigenvalue of zero.
    floor = _GAP**2 * np.linalg.eigvalsh(twin @ twin.swapaxes(1, 2))[:, 1].min()
    sizes = []
    for _ in range(draws):
        x = rows[rng.choice(rows.shape[0], m, replace=False)]
        x = x - x.mean(axis=0)
        gram = x @ x.T + np.square(x).sum() / m
        gram[np.diag_indices(m)] -= floor
        # The factorisation stops if an eigenvalue is below the floor.
        if linalg.lapack.dpotrf(gram, lower=1, overwrite_a=1)[1] > 0:
            vectors, values, _ = thin_svd(x)
            # Rows that are exactly dependent lower the rank and do no harm.
            nonzero = values > max(x.shape) * np.finfo(np.float64).eps * values[0]
            last = int(np.flatnonzero(nonzero)[-1])
            if values[last] ** 2 < floor:
                # The singular vector u has its weight on 1/Σu⁴ rows.
                weight = 1.0 / (vectors[:, last] ** 4).sum()
                sizes.append(min(int(np.ceil(weight - 0.1)), m))
    return sizes


def silent_draws(scores: FloatArray, scales: FloatArray, n: int, rng: np.random.Generator) -> float:
    """Return the share of draws of n > rank rows that hardly vary along some direction."""
    rows, directions = scores.shape
    # Repeated rows may leave fewer different ones than directions would need.
    m = min(max(min(n, 3 * rows // 4), directions + 2), rows)
    cost = directions**2 * (m + 8 * directions)
    draws, twins = (int(np.clip(work / cost, 20, most)) for work, most in ((5e9, 200), (2e9, 50)))

    def smallest(x: FloatArray) -> float:
        x = x - x.mean(axis=0)
        values = linalg.eigvalsh(x.T @ x)
        return float(values[values > directions * np.finfo(np.float64).eps * values[-1]][0])

    with one_blas_thread():
        floor = _GAP**2 * min(
            smallest(rng.choice(scales, (m, 1)) * rng.standard_normal((m, directions)))
            for _ in range(twins)
        )
        low = [smallest(scores[rng.choice(rows, m, replace=False)]) < floor for _ in range(draws)]
    return float(np.mean(low))
