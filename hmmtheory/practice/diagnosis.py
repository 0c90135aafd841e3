"""What of your features the theory of Gaussian rows does not expect, in plain words."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hmmtheory._bulk import as_bulk
from hmmtheory._checks import FloatArray, as_count, as_rng, as_rows
from hmmtheory._linalg import principal_directions
from hmmtheory.practice._findings import Finding, seen_of, verdict_of
from hmmtheory.practice._measures import (
    MAX_DIRECTIONS,
    NEAR,
    dependent_rows,
    differences,
    distances,
    excess_kurtosis,
    of_columns,
    of_labels,
    repeated_rows,
    scale_effect,
    silent_draws,
    tied_values,
)
from hmmtheory.practice.copies import FEW_GROUPS, effective, owners
from hmmtheory.practice.recommend import forecast
from hmmtheory.samples import sample_moments

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Labels of a larger excess kurtosis are heavy-tailed: there one to three in four intervals hold.
_HEAVY = 6.0
#: A row is far out if its squared length is so many times the median.
_FAR_OUT = 1000.0
#: So many standard errors held the truth in 82 % of pilots of ordinary sets (benchmarks/practice).
_FOUR_IN_FIVE = 1.28
#: Means so many standard deviations apart, or variances so many times as large, differ.
_APART, _WIDER = 0.5, 1.5
#: Findings with which predictions with ridge were seen to be wrong beyond their error.
_SPOIL = {"heavy-tailed labels", "outlying rows"}
#: No head on honest features leaves so small a share of the labels' variance.
_TOLD = 1e-6
#: A correlation counts if it is so large, and so many standard errors.
_LARGE, _SURE = 0.2, 4.0
#: Width of a printed report.
_WIDTH = 100


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
        labels.  Or how many median distances from the median its farthest value lies, from 100 on.
    dominant_label : float
        The largest share of the rows that have the same label, of outputs that take more than
        ten values.
    drift : float
        The largest correlation of an output's left-out residuals with the order of the rows, or
        with those of the rows before, unless they are sorted by it.
    curvature : float
        The same with the distance of the prediction from its median, by ranks, of outputs that
        take more than ten values.
    outlying_rows : float
        The largest squared length of a row over the median one, about the columns' medians and
        in units of their median distance from it.
    mean_shift : float or None
        The distance of the mean of unlabelled rows from that of labelled ones, over the root of
        the total variance, or in standard deviations along the leading directions if that is
        more; less what four standard errors explain. None without unlabelled rows.
    variance_ratio : float or None
        The total variance of unlabelled rows over that of labelled ones, or by what factor that of
        a column typically changes if that is more, nearer to 1 by four standard errors; None
        without unlabelled rows.
    ridge_risk, ridge_error : float
        The predicted risk of a head on all features with its best ridge, and its standard error.
    label_variance : float
        The variance of the labels, summed over outputs.
    n_groups : float or None
        How many groups of one size are as good as those that the rows come from, if given.
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
    dominant_label: float
    drift: float
    curvature: float
    outlying_rows: float
    mean_shift: float | None
    variance_ratio: float | None
    ridge_risk: float
    ridge_error: float
    label_variance: float
    n_groups: float | None
    row_scales: FloatArray
    nearest: FloatArray
    spectrum: FloatArray

    @property
    def findings(self) -> tuple[Finding, ...]:
        """One :class:`.Finding` for each property, in the order in which they are printed."""
        found = self._of_directions() + self._of_rows() + self._of_values() + self._of_labels()
        return found + self._of_unlabelled()

    def _of_directions(self) -> tuple[Finding, ...]:
        n = self.n_samples
        rows_a_direction = self.n_rows / self.rank
        return (
            Finding(
                "labelled rows per direction",
                rows_a_direction,
                verdict_of(rows_a_direction < 2, "without ridge"),
                "Below 2 the samples can't judge every direction: signal in the rest counts as "
                "noise, and predictions without ridge are pessimistic.",
            ),
            Finding(
                "effective rank",
                self.effective_rank,
                verdict_of(self.effective_rank < 0.1 * n, "without ridge"),
                "Far below n the risk depends on how fast the spectrum falls; a ridge or fewer "
                "components matter more than the number of features.",
            ),
            Finding(
                "row scale spread",
                self.scale_spread,
                verdict_of(self.scale_spread > 0.6),
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
                verdict_of(self.near_duplicates > 0.1, "without ridge"),
                "Nearly equal rows with different labels raise the risk of a head without "
                "ridge, the more so the closer they are. Use a ridge, or keep one row of each "
                "pair.",
            ),
            Finding(
                "near-dependent rows in a draw",
                self.dependent_rows,
                verdict_of(self.dependent_rows > 1e-3, "without ridge"),
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
                verdict_of(self.repeated_rows > 0.01, "without ridge"),
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
                verdict_of(self.tail_weight > 2.0),
                "Excess kurtosis of the leading directions; above 2 a few rows decide the fit.",
            ),
            Finding(
                "rarely active column",
                self.column_kurtosis,
                verdict_of(self.column_kurtosis > 10.0 and few < 4.0, "without ridge"),
                f"Largest excess kurtosis of a column: {telling:.1g} rows of a draw, more or "
                "less, decide its coefficient. Without ridge a few draws go very wrong. Drop "
                "such columns, or use a ridge.",
            ),
            Finding(
                "tied values",
                self.tied_values,
                verdict_of(self.tied_values > 0.1, "without ridge"),
                "Features with few values make draws of deficient rank likely, and the theory "
                "of small sizes optimistic.",
            ),
        )

    def _of_labels(self) -> tuple[Finding, ...]:
        return (
            Finding(
                "heavy-tailed labels",
                self.label_tails,
                verdict_of(self.label_tails > _HEAVY),
                "Excess kurtosis of a label, or how far the farthest is: a few decide the risk, "
                "and a pilot that lacks them knows neither it nor its own error. Look at the "
                "largest: do they stand for missing ones? Else ranks may be the better label.",
            ),
            Finding(
                "one label dominates",
                self.dominant_label,
                verdict_of(self.dominant_label > 0.5),
                "Share of rows with the same label: the rest decide the risk, and a pilot has few "
                "of them. Whether a row has it, as a class, may be the better question.",
            ),
            Finding(
                "drift with row order",
                self.drift,
                verdict_of(self._counts(self.drift)),
                "What the head misses changes along the rows, or neighbours share it. If their "
                "order is time, or one source after another, the prediction holds for rows like "
                "these, not for later ones: give whose row it is as groups, or shuffle before you "
                "split.",
            ),
            Finding(
                "curved residuals",
                self.curvature,
                verdict_of(self._counts(self.curvature)),
                "What the head misses depends on what it predicts: no linear head gets it, and "
                "labels can't buy it. A transformed label, or another layer, may.",
            ),
            Finding(
                "outlying rows",
                self.outlying_rows,
                verdict_of(self.outlying_rows > _FAR_OUT),
                "Squared length of the longest row over the median one. A language model's first "
                "token has such a state (an attention sink), and a few ruin every head: drop them, "
                "or scale rows to one length.",
            ),
        )

    def _of_unlabelled(self) -> tuple[Finding, ...]:
        if self.mean_shift is None or self.variance_ratio is None:
            return ()
        apart = bool(abs(np.log(self.variance_ratio)) > np.log(_WIDER))
        advice = (
            "A prediction that uses both speaks of their mixture: label rows of the kind that the "
            "head will meet, and look whether both tables were made and scaled alike."
        )
        return (
            Finding(
                "shift of unlabelled rows",
                self.mean_shift,
                verdict_of(self.mean_shift > _APART),
                "The means of unlabelled and labelled rows are at least so many standard "
                f"deviations apart. {advice}",
            ),
            Finding(
                "spread of unlabelled rows",
                self.variance_ratio,
                verdict_of(apart),
                "Their variance over that of labelled rows, or a typical column's, if that changes "
                f"more: are the columns the same, in the same order? {advice}",
            ),
        )

    @property
    def error_share(self) -> float:
        """The share of the predicted risk within which the true one is in four cases of five."""
        return _FOUR_IN_FIVE * self.ridge_error / self.ridge_risk if self.ridge_risk else 0.0

    @property
    def trusted(self) -> bool:
        """Whether no finding was seen to make predictions with ridge wrong beyond their error."""
        return not self._doubt

    @property
    def _doubt(self) -> str:
        """Why not to trust a prediction with ridge; empty if nothing speaks against it."""
        wrong = [f.name for f in self.findings if f.verdict == "caution" and f.name in _SPOIL]
        if wrong:
            return f", because of {' and '.join(wrong)}."
        if self.ridge_risk <= _TOLD * self.label_variance:
            return (
                ": features give the labels away, all but "
                f"{self.ridge_risk / self.label_variance:.1g} of their variance. Is a label, or "
                "what is made from it, among the features?"
            )
        if self.n_groups is not None and self.n_groups < FEW_GROUPS:
            return (
                f": groups as good as {self.n_groups:.0f} of one size are too few to tell how a "
                "head will do on others."
            )
        if not np.isfinite(self.error_share):
            return ": the rows are too few to know its error."
        return ""

    def _counts(self, correlation: float) -> bool:
        return bool(correlation > max(_LARGE, _SURE / np.sqrt(self.n_rows)))

    @property
    def without_ridge(self) -> tuple[str, ...]:
        """Names of the findings that harm only heads without ridge."""
        return tuple(f.name for f in self.findings if f.verdict == "without ridge")

    @property
    def verdict(self) -> str:
        """One sentence: how far to trust a prediction with ridge, or why not to."""
        if self._doubt:
            return f"Don't trust the prediction{self._doubt}"
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
            f"CAUTION {f.name}: {f.value:.3g}. {f.meaning}{seen_of(f)}"
            for f in self.findings
            if f.verdict == "caution"
        ]
        harmless = [
            f"{f.name} {f.value:.3g}" for f in self.findings if f.name in self.without_ridge
        ]
        lines += [f"Harms only heads without ridge: {', '.join(harmless)}."] if harmless else []
        fine = [f.name for f in self.findings if f.verdict == "fine"]
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

        return draw(self, NEAR)


def diagnose(
    features: Any,
    responses: Any,
    n_samples: int | None = None,
    rng: Any = None,
    unlabelled: Any = None,
    groups: Any = None,
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
    unlabelled : array_like, shape (M, P), optional
        Features without labels that are to be held against the labelled ones, in any form that
        :func:`.predict_risk` takes.
    groups : array_like, shape (N,), optional
        Whose row it is: the verdict is on heads that will be judged on people they have not seen.

    Returns
    -------
    Diagnosis
        Print it for the findings; ``.plot()`` draws them.

    Raises
    ------
    ValueError
        If an array is not finite, lengths differ, N < 8, all features or all labels are the same,
        or the columns of `unlabelled` are others than those of `features`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((1000, 50))
    >>> diagnose(x, x[:, 0] + rng.standard_normal(1000), n_samples=100)
    Diagnosis(nothing unusual)
    >>> scale = rng.exponential(size=(1000, 1))
    >>> diagnose(scale * x, x[:, 0] + rng.standard_normal(1000), n_samples=100)
    Diagnosis(row scale spread, heavy tails)
    """
    x, y = as_rows(features, responses)
    extra = as_bulk(unlabelled, features)
    rows, variance = x.shape[0], float(y.var(axis=0).sum())
    if rows < 8:
        raise ValueError(f"features must have at least 8 rows; got {rows}")
    if variance == 0.0:
        raise ValueError("responses must vary; got the same label in every row")
    generator = as_rng(rng)
    n = max(rows // 4, 2) if n_samples is None else as_count("n_samples", n_samples, minimum=2)
    centred = x - x.mean(axis=0)
    spectrum, directions = principal_directions(centred)
    if spectrum.size == 0:
        raise ValueError("features must vary; got constant columns")
    judged = min(spectrum.size, (rows - 1) // 2)
    whitened = directions[:, :judged] / np.sqrt(spectrum[:judged])
    scores = centred @ whitened
    moments = sample_moments(scores, y, np.empty((0, judged)))
    nearest, pair_rate = distances(centred, float(spectrum.sum()), generator)
    first = np.unique(x, axis=0, return_index=True)[1]
    dependent = (
        dependent_rows(centred[first], spectrum, moments.row_scales, n, generator)
        if n <= spectrum.size
        else silent_draws(scores[first, :MAX_DIRECTIONS], moments.row_scales, n, generator)
    )
    risk, error = forecast(x, y, n, generator, groups)
    held = differences(centred, x.mean(axis=0), whitened, extra) if len(extra) else (None, None)
    return Diagnosis(
        n_rows=rows,
        n_features=x.shape[1],
        n_outputs=y.shape[1],
        n_samples=n,
        rank=int(spectrum.size),
        effective_rank=float(spectrum.sum() ** 2 / np.square(spectrum).sum()),
        scale_spread=float(np.square(moments.row_scales).std()),
        near_duplicates=pair_rate * n * (n - 1) / 2,
        dependent_rows=dependent,
        repeated_rows=repeated_rows(x),
        tail_weight=float(np.median(excess_kurtosis(scores[:, :20]))),
        tied_values=tied_values(x),
        scale_effect=scale_effect(scores, y, n),
        **of_columns(x),
        **of_labels(centred, y),
        mean_shift=held[0],
        variance_ratio=held[1],
        ridge_risk=risk,
        ridge_error=error,
        label_variance=variance,
        n_groups=None if groups is None else effective(owners(groups, rows)),
        row_scales=moments.row_scales,
        nearest=nearest,
        spectrum=spectrum,
    )
