"""What of your features the theory of Gaussian rows does not expect, in plain words."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy import linalg, stats
from scipy.spatial import distance

from hmmtheory._checks import FloatArray, as_count, as_rng, as_rows
from hmmtheory._linalg import principal_directions, thin_svd
from hmmtheory._trials import one_blas_thread
from hmmtheory.practice.features import predict_risk
from hmmtheory.practice.recommend import forecast
from hmmtheory.samples import sample_moments

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Rows among which distances are measured.
_MAX_ROWS = 2000
#: A pair is nearly a duplicate below this share of the typical squared distance of two rows.
_NEAR = 0.05
#: A draw is near-singular below this share of the smallest singular value of Gaussian draws.
_GAP = 0.1
#: Most rows of a draw that is searched for near-dependent rows.
_MAX_DRAW = 160
#: Most directions of draws that have more rows than directions.
_MAX_DIRECTIONS = 256
#: Draws of Gaussian rows with which those of the samples are compared.
_TWINS = 50
#: Labels of a larger excess kurtosis are heavy-tailed: there one to three in four intervals hold.
_HEAVY = 6.0
#: A row is far out if its squared length is so many times the median.
_FAR_OUT = 300.0
#: So many standard errors held the truth in 82 % of pilots of ordinary sets (benchmarks/practice).
_FOUR_IN_FIVE = 1.28
#: Findings with which predictions with ridge were seen to be wrong beyond their error.
_SPOIL = {"heavy-tailed labels", "outlying rows"}
#: Width of a printed report.
_WIDTH = 100


class Finding(NamedTuple):
    """One property: its value, ``"fine"`` or ``"caution"``, and what it does to the prediction."""

    name: str
    value: float
    verdict: str
    meaning: str


@dataclass(frozen=True, eq=False)
class Diagnosis:
    r"""How far samples are from Gaussian rows, and what that does to a prediction.

    Attributes
    ----------
    n_rows, n_features, n_outputs : int
        The shape of the samples.
    n_samples : int
        n, the number of labels the findings speak of.
    rank : int
        The number of directions with variance.
    effective_rank : float
        :math:`(\sum t)^2 / \sum t^2`, the number of directions that carry the variance.
    scale_spread : float
        The coefficient of variation of the squared row scale, beyond that of Gaussian rows.
    near_duplicates : float
        The expected number of near-duplicate pairs in a draw of n rows: pairs with less than
        5 % of the typical squared distance.
    dependent_rows : float
        The share of draws of n rows whose smallest nonzero singular value is below a tenth of
        the smallest in draws of Gaussian rows with the same spectrum and scales.  If n is at
        most the rank, these are draws in which some rows, from two up, nearly determine each
        other.  A small share is estimated from draws of other sizes m, in which a set of k rows
        is some :math:`(m/n)^k` times as frequent.  If n exceeds the rank, they are draws that
        hardly vary along some direction, each direction in units of its standard deviation.
    repeated_rows : float
        The share of rows that equal another row exactly.
    tail_weight : float
        The median excess kurtosis of the leading principal components; 0 for Gaussian rows.
    column_kurtosis : float
        The largest excess kurtosis of a single column; about 1/f for a column that is silent
        but on a share f of the rows.
    tied_values : float
        The share of features that take fewer than 10 values.
    scale_effect : float
        Predicted risk of elliptical over Gaussian rows, at the size where they differ most.
    label_tails : float
        The largest excess kurtosis of an output that takes more than ten values; 0 for Gaussian
        labels.
    outlying_rows : float
        The largest squared length of a row, in standard deviations of the columns, over the
        median one.
    ridge_risk, ridge_error : float
        The predicted risk of a head on all features with its best ridge, and its standard error.
    row_scales, nearest, spectrum : ndarray
        Row scales, the squared distance of each row to its nearest (over the typical one), and
        the eigenvalues of S, for :meth:`plot`.
    """

    n_rows: int
    n_features: int
    n_outputs: int
    n_samples: int
    rank: int
    effective_rank: float
    scale_spread: float
    near_duplicates: float
    dependent_rows: float
    repeated_rows: float
    tail_weight: float
    column_kurtosis: float
    tied_values: float
    scale_effect: float
    label_tails: float
    outlying_rows: float
    ridge_risk: float
    ridge_error: float
    row_scales: FloatArray
    nearest: FloatArray
    spectrum: FloatArray

    @property
    def findings(self) -> tuple[Finding, ...]:
        """One :class:`.Finding` for each property, in the order in which they are printed."""
        return self._of_directions() + self._of_rows() + self._of_values()

    def _of_directions(self) -> tuple[Finding, ...]:
        n = self.n_samples
        rows_a_direction = self.n_rows / self.rank
        return (
            Finding(
                "labelled rows a direction",
                rows_a_direction,
                _verdict(rows_a_direction < 2),
                "Below 2 the samples can't judge every direction: signal in the rest counts as "
                "noise, and predictions without ridge are pessimistic.",
            ),
            Finding(
                "effective rank",
                self.effective_rank,
                _verdict(self.effective_rank < 0.1 * n),
                "Far below n the risk depends on how fast the spectrum falls; a ridge or fewer "
                "components matter more than the number of features.",
            ),
            Finding(
                "row scale spread",
                self.scale_spread,
                _verdict(self.scale_spread > 0.2),
                f"Long rows dominate the fit: the elliptical theory predicts "
                f"{self.scale_effect:.3g} times the risk of equal rows, at the size where they "
                "differ most. Normalising each row to unit norm removes most of it.",
            ),
        )

    def _of_rows(self) -> tuple[Finding, ...]:
        return (
            Finding(
                "near-duplicate pairs in a draw",
                self.near_duplicates,
                _verdict(self.near_duplicates > 0.1),
                "Nearly equal rows with different labels raise the risk of a head without "
                "ridge, the more so the closer they are. Use a ridge, or keep one row of each "
                "pair.",
            ),
            Finding(
                "near-dependent rows in a draw",
                self.dependent_rows,
                _verdict(self.dependent_rows > 1e-3),
                "A few rows that nearly determine each other, four in a parallelogram as well "
                "as two, make a head without ridge explode: rare draws govern its mean risk. "
                "Use a ridge; a median over draws then still describes heads without one."
                if self.n_samples <= self.rank
                else "In some draws the rows hardly vary along a direction, and a head without "
                "ridge explodes there: rare draws govern its mean risk. Use a ridge.",
            ),
            Finding(
                "repeated rows",
                self.repeated_rows,
                _verdict(self.repeated_rows > 0.01),
                "Equal rows lower the rank of a draw, so that the peak moves and smears.",
            ),
        )

    def _of_values(self) -> tuple[Finding, ...]:
        telling = self.n_samples / (self.column_kurtosis + 3.0)
        few = 2.0 * min(telling, self.n_rows / (self.column_kurtosis + 3.0))
        return (
            Finding(
                "heavy tails",
                self.tail_weight,
                _verdict(abs(self.tail_weight) > 1.0),
                "Excess kurtosis of the leading directions; above 1 a few rows decide the fit.",
            ),
            Finding(
                "rarely active column",
                self.column_kurtosis,
                _verdict(self.column_kurtosis > 10.0 and few < 4.0),
                f"Largest excess kurtosis of a column: {telling:.1g} rows of a draw, more or "
                "less, decide its coefficient. Without ridge a few draws go very wrong. Drop "
                "such columns, or use a ridge.",
            ),
            Finding(
                "tied values",
                self.tied_values,
                _verdict(self.tied_values > 0.1),
                "Features with few values make draws of deficient rank likely, and the theory "
                "of small sizes optimistic.",
            ),
            Finding(
                "heavy-tailed labels",
                self.label_tails,
                _verdict(self.label_tails > _HEAVY),
                "Excess kurtosis of a label: a few of them decide the risk, and a pilot that lacks "
                "them knows neither it nor its own error. Look at the largest; a logarithm or "
                "ranks may be the better label.",
            ),
            Finding(
                "outlying rows",
                self.outlying_rows,
                _verdict(self.outlying_rows > _FAR_OUT),
                "Squared length of the longest row over the median one. A language model's first "
                "token has such a state (an attention sink), and a few ruin every head: drop them, "
                "or scale rows to one length.",
            ),
        )

    @property
    def error_share(self) -> float:
        """The share of the predicted risk within which the true one is in four cases of five."""
        return _FOUR_IN_FIVE * self.ridge_error / self.ridge_risk if self.ridge_risk else 0.0

    @property
    def trusted(self) -> bool:
        """Whether no finding was seen to make predictions with ridge wrong beyond their error."""
        wrong = {f.name for f in self.findings if f.verdict == "caution"} & _SPOIL
        return not wrong and bool(np.isfinite(self.error_share))

    @property
    def verdict(self) -> str:
        """One sentence: how far to trust a prediction with ridge, or why not to."""
        wrong = [f.name for f in self.findings if f.verdict == "caution" and f.name in _SPOIL]
        if wrong:
            return f"Don't trust the prediction, because of {' and '.join(wrong)}."
        if not self.trusted:
            return "Don't trust the prediction: the rows are too few to know its error."
        return (
            f"Trust the prediction with the best ridge, {self.ridge_risk:.3g}, to about "
            f"{100 * self.error_share:.2g} per cent."
        )

    def __repr__(self) -> str:
        cautions = [f.name for f in self.findings if f.verdict == "caution"]
        return f"Diagnosis({', '.join(cautions) or 'nothing unusual'})"

    def __str__(self) -> str:
        head = (
            f"{self.n_rows} rows, {self.n_features} features, {self.n_outputs} outputs; "
            f"heads of n = {self.n_samples} labels"
        )
        lines = [
            f"CAUTION {f.name}: {f.value:.3g}. {f.meaning}"
            for f in self.findings
            if f.verdict == "caution"
        ]
        fine = [f"{f.name} {f.value:.3g}" for f in self.findings if f.verdict == "fine"]
        lines += [f"Fine: {', '.join(fine)}."] if fine else []
        lines.append(self.verdict)
        wrapped = [textwrap.fill(line, _WIDTH, subsequent_indent="    ") for line in lines]
        return "\n".join([head, *wrapped])

    def plot(self) -> Figure:
        """Draw row scales, nearest neighbours and the spectrum, each with what is expected.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from hmmtheory.practice._picture import draw

        return draw(self, _NEAR)


def diagnose(
    features: Any, responses: Any, n_samples: int | None = None, rng: Any = None
) -> Diagnosis:
    r"""Measure what of these samples the theory of Gaussian rows does not expect.

    Parameters
    ----------
    features : array_like, shape (N, P)
        Frozen features, an array or a DataFrame, N >= 8.
    responses : array_like, shape (N, q) or (N,)
        Their labels.
    n_samples : int, optional
        n >= 2, the number of labels of the head to come; a quarter of the rows if omitted.
    rng : int, Generator, SeedSequence or None
        Draws the rows in search of near-dependent ones, and picks the 2,000 rows whose
        distances are measured, if there are more.

    Returns
    -------
    Diagnosis
        Print it for the findings; ``.plot()`` draws them.

    Raises
    ------
    ValueError
        If an array is not finite, lengths differ, N < 8, or all features are constant.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((1000, 50))
    >>> diagnose(x, x[:, 0] + rng.standard_normal(1000), n_samples=100)
    Diagnosis(nothing unusual)
    >>> scale = rng.exponential(size=(1000, 1))
    >>> diagnose(scale * x, x[:, 0] + rng.standard_normal(1000), n_samples=100)
    Diagnosis(row scale spread, near-duplicate pairs in a draw, heavy tails)
    """
    x, y = as_rows(features, responses)
    rows = x.shape[0]
    if rows < 8:
        raise ValueError(f"features must have at least 8 rows; got {rows}")
    generator = as_rng(rng)
    n = max(rows // 4, 2) if n_samples is None else as_count("n_samples", n_samples, minimum=2)
    centred = x - x.mean(axis=0)
    spectrum, directions = principal_directions(centred)
    if spectrum.size == 0:
        raise ValueError("features must vary; got constant columns")
    judged = min(spectrum.size, (rows - 1) // 2)
    scores = centred @ (directions[:, :judged] / np.sqrt(spectrum[:judged]))
    moments = sample_moments(scores, y, np.empty((0, judged)))
    effective_rank = float(spectrum.sum() ** 2 / np.square(spectrum).sum())
    spread = float(np.square(moments.row_scales).std())

    nearest, pair_rate = _distances(centred, float(spectrum.sum()), generator)
    near = pair_rate * n * (n - 1) / 2
    _, first, counts = np.unique(x, axis=0, return_index=True, return_counts=True)
    repeated = float(counts[counts > 1].sum() / rows)
    leading = scores[:, :20]
    kurtosis = np.mean(leading**4, axis=0) / np.square(np.mean(leading**2, axis=0)) - 3.0
    tails = float(np.median(kurtosis))
    columns = centred[:, np.ptp(x, axis=0) > 0]
    columns = columns / columns.std(axis=0)
    loudest = float(np.mean(columns**4, axis=0).max()) - 3.0
    dependent = (
        _dependent_rows(centred[first], spectrum, moments.row_scales, n, generator)
        if n <= spectrum.size
        else _silent_draws(scores[first, :_MAX_DIRECTIONS], moments.row_scales, n, generator)
    )
    squares = np.square(columns).mean(axis=1)
    risk, error = forecast(x, y, n, generator)
    distinct = 1 + np.count_nonzero(np.diff(np.sort(x, axis=0), axis=0), axis=0)
    tied = float(np.mean(distinct < min(10, rows)))

    return Diagnosis(
        n_rows=rows,
        n_features=x.shape[1],
        n_outputs=y.shape[1],
        n_samples=n,
        rank=int(spectrum.size),
        effective_rank=effective_rank,
        scale_spread=spread,
        near_duplicates=near,
        dependent_rows=dependent,
        repeated_rows=repeated,
        tail_weight=tails,
        column_kurtosis=loudest,
        tied_values=tied,
        scale_effect=_scale_effect(scores, y, n),
        label_tails=_label_tails(y),
        outlying_rows=float(squares.max() / max(np.median(squares), np.finfo(float).tiny)),
        ridge_risk=risk,
        ridge_error=error,
        row_scales=moments.row_scales,
        nearest=nearest,
        spectrum=spectrum,
    )


def _label_tails(y: FloatArray) -> float:
    many = [column for column in y.T if np.unique(column).size > 10]
    return max((float(stats.kurtosis(column)) for column in many), default=0.0)


def _scale_effect(scores: FloatArray, y: FloatArray, n: int) -> float:
    """Return the risk with row scales over that without, where they differ most."""
    judged = scores.shape[1]
    sizes = sorted({s for s in (n // 2, 3 * n // 4, 3 * n // 2, 2 * n, judged) if 1 <= s <= judged})
    curves = [
        predict_risk(scores, y, n, sizes, rows=option).risk for option in ("elliptical", "gaussian")
    ]
    finite = np.isfinite(curves[1]) & (curves[1] > 0)
    ratios = curves[0][finite] / curves[1][finite]
    return float(ratios[np.abs(np.log(ratios)).argmax()]) if finite.any() else 1.0


def _verdict(caution: bool) -> str:
    return "caution" if caution else "fine"


def _distances(
    centred: FloatArray, variance: float, rng: np.random.Generator
) -> tuple[FloatArray, float]:
    """Return each row's squared distance to its nearest, over a typical one, and the near rate."""
    rows = centred.shape[0]
    if rows > _MAX_ROWS:
        centred = centred[rng.choice(rows, _MAX_ROWS, replace=False)]
    pairs = distance.pdist(centred, "sqeuclidean") / (2.0 * variance)
    square = distance.squareform(pairs)
    np.fill_diagonal(square, np.inf)
    return square.min(axis=1), float(np.mean(pairs < _NEAR))


def _dependent_rows(
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
            sizes = _dependent_sets(rows, spectrum, scales, max(m, 3), draws, rng)
            if m == n and len(sizes) > 0.05 * draws:
                return len(sizes) / draws
    taken = [np.arange(k) for k in sizes]
    return float(sum(np.prod(np.maximum(n - t, 0) / (m - t)) for t in taken) / draws)


def _dependent_sets(
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


def _silent_draws(
    scores: FloatArray, scales: FloatArray, n: int, rng: np.random.Generator
) -> float:
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
