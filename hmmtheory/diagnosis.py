"""What of your features the theory of Gaussian rows does not expect, in plain words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.spatial import distance

from hmmtheory._validation import FloatArray, as_count, as_rng
from hmmtheory.practice import predict_risk
from hmmtheory.samples import as_rows, principal_directions, sample_moments

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Rows among which distances are measured.
_MAX_ROWS = 2000
#: A pair is nearly a duplicate below this share of the typical squared distance of two rows.
_NEAR = 0.05


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
    rank, effective_rank : float
        The number of directions with variance, and :math:`(\sum t)^2 / \sum t^2`, the number
        that carry it.
    scale_spread : float
        The coefficient of variation of the squared row scale, beyond that of Gaussian rows.
    near_duplicates : float
        The expected number of near-duplicate pairs in a draw of n rows.
    repeated_rows : float
        The share of rows that equal another row exactly.
    tail_weight : float
        The median excess kurtosis of the leading principal components; 0 for Gaussian rows.
    tied_values : float
        The share of features that take fewer than 10 values.
    scale_effect : float
        Predicted risk of elliptical over Gaussian rows, at the size where they differ most.
    row_scales, nearest, spectrum : ndarray
        Row scales, the squared distance of each row to its nearest (over the typical one), and
        the eigenvalues of S, for :meth:`plot`.
    findings : tuple of Finding
        One for each property.
    """

    n_rows: int
    n_features: int
    n_outputs: int
    n_samples: int
    rank: float
    effective_rank: float
    scale_spread: float
    near_duplicates: float
    repeated_rows: float
    tail_weight: float
    tied_values: float
    scale_effect: float
    row_scales: FloatArray
    nearest: FloatArray
    spectrum: FloatArray
    findings: tuple[Finding, ...]

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
        return "\n".join([head, *lines, *([f"Fine: {', '.join(fine)}."] if fine else [])])

    def plot(self) -> Figure:
        """Draw row scales, nearest neighbours and the spectrum, each with what is expected.

        Returns
        -------
        matplotlib.figure.Figure
        """
        import matplotlib.pyplot as plt

        from hmmtheory.plotting import COLORS

        figure, axes = plt.subplots(1, 3, figsize=(9.6, 3.2), layout="constrained")
        axes[0].hist(self.row_scales, bins=40, color=COLORS["blue"])
        axes[0].axvline(1.0, color=COLORS["orange"], linestyle="--")
        axes[0].set(xlabel=r"row scale $\tau$", ylabel="rows", title="Are all rows equally long?")
        axes[1].hist(self.nearest, bins=np.linspace(0, 1, 41).tolist(), color=COLORS["blue"])
        axes[1].axvline(_NEAR, color=COLORS["orange"], linestyle="--")
        axes[1].set(
            xlabel="squared distance to nearest row\nover that of a typical pair",
            ylabel="rows",
            title="Near-duplicates?",
        )
        index = np.arange(1, self.spectrum.size + 1)
        axes[2].loglog(index, self.spectrum / self.spectrum[0], color=COLORS["blue"])
        axes[2].axvline(self.effective_rank, color=COLORS["orange"], linestyle="--")
        axes[2].axvline(self.n_samples, color=COLORS["grey"], linestyle=":")
        axes[2].set(
            xlabel="direction",
            ylabel="variance over the largest",
            title="Effective rank (dashed), $n$ (dotted)",
        )
        return figure


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
        Picks the rows whose distances are measured, if there are more than 2,000.

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
    _, counts = np.unique(x, axis=0, return_counts=True)
    repeated = float(counts[counts > 1].sum() / rows)
    leading = scores[:, : min(20, judged)]
    kurtosis = np.mean(leading**4, axis=0) / np.square(np.mean(leading**2, axis=0)) - 3.0
    tails = float(np.median(kurtosis))
    distinct = np.array([np.unique(column).size for column in x.T])
    tied = float(np.mean(distinct < min(10, rows)))

    sizes = sorted({s for s in (n // 2, 3 * n // 4, 3 * n // 2, 2 * n, judged) if 1 <= s <= judged})
    curves = [
        predict_risk(scores, y, n, sizes, rows=option).risk for option in ("elliptical", "gaussian")
    ]
    finite = np.isfinite(curves[1])
    ratios = curves[0][finite] / curves[1][finite]
    effect = float(ratios[np.abs(np.log(ratios)).argmax()]) if finite.any() else 1.0

    findings = (
        Finding(
            "labelled rows a direction",
            rows / spectrum.size,
            _verdict(rows < 2 * spectrum.size),
            "Below 2 the samples can't judge every direction: signal in the rest counts as noise, "
            "and predictions without ridge are pessimistic.",
        ),
        Finding(
            "effective rank",
            effective_rank,
            _verdict(effective_rank < 0.1 * n),
            "Far below n the risk depends on how fast the spectrum falls; a ridge or fewer "
            "components matter more than the number of features.",
        ),
        Finding(
            "row scale spread",
            spread,
            _verdict(spread > 0.2),
            f"Long rows dominate the fit: the elliptical theory predicts {effect:.3g} times the "
            "risk of equal rows, at the size where they differ most. Normalising each row to unit "
            "norm removes it.",
        ),
        Finding(
            "near-duplicate pairs in a draw",
            near,
            _verdict(near > 0.1),
            "Two nearly equal rows with different labels make a head without ridge explode: the "
            "mean risk is governed by rare draws. Drop duplicates, or use a ridge.",
        ),
        Finding(
            "repeated rows",
            repeated,
            _verdict(repeated > 0.01),
            "Equal rows lower the rank of a draw, so that the peak moves and smears.",
        ),
        Finding(
            "heavy tails",
            tails,
            _verdict(abs(tails) > 1.0),
            "Excess kurtosis of the leading directions; above 1 a few rows decide the fit.",
        ),
        Finding(
            "tied values",
            tied,
            _verdict(tied > 0.1),
            "Features with few values make draws of deficient rank likely, and the theory of "
            "small sizes optimistic.",
        ),
    )
    return Diagnosis(
        n_rows=rows,
        n_features=x.shape[1],
        n_outputs=y.shape[1],
        n_samples=n,
        rank=float(spectrum.size),
        effective_rank=effective_rank,
        scale_spread=spread,
        near_duplicates=near,
        repeated_rows=repeated,
        tail_weight=tails,
        tied_values=tied,
        scale_effect=effect,
        row_scales=moments.row_scales,
        nearest=nearest,
        spectrum=spectrum,
        findings=findings,
    )


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
