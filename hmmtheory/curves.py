"""A risk curve: risk against model size, with its errors and parts.

Every chapter draws some; the theory and the simulations both end in one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hmmtheory._checks import (
    FloatArray,
    as_a,
    as_array,
    as_count,
    as_items,
    as_ridge,
    as_sizes,
    shown,
)
from hmmtheory._trials import Tally

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_PARTS = ("noise", "bias", "variance")
_PART_ERRORS = ("bias_standard_error", "variance_standard_error")
_DRAW = ("low", "median", "high")
#: What a curve may hold of each size.
COLUMNS = ("risk", "standard_error", *_PARTS, *_PART_ERRORS, "ridges")


@dataclass(frozen=True, eq=False, repr=False)
class RiskCurve:
    """Risk of nested models against their size.

    Parameters
    ----------
    sizes : sequence of int, shape (k,)
        Strictly increasing model sizes p >= 0.
    risk : array_like, shape (k,)
        Total risk (trace), in units of y²; may be infinite.
    standard_error : array_like, shape (k,)
        Monte Carlo standard error of `risk`; zero for theory, NaN for a single trial.
    noise, bias, variance : array_like, shape (k,), optional
        Traces of the three parts.
    bias_standard_error, variance_standard_error : array_like, shape (k,), optional
        Monte Carlo standard errors of the parts.
    per_output : array_like, shape (k, q), optional
        The risk of each output, the diagonal of the risk matrix.
    n_samples : int
        n, the number of labelled examples.
    ridge : float
        The penalty λ.
    ridges : array_like, shape (k,), optional
        The penalty at each size, where it differs; `ridge` is then 0.
    n_trials : int
        Number of training draws; 0 for theory.
    trials : array_like of int, shape (k,), optional
        The number of draws of each size, where it differs; `n_trials` is then the largest.
    label : str
        What the curve is, for legends.
    low, median, high : array_like, shape (k,), optional
        The risk of one trained head: its median, and the ends of a central interval.
    own_error : callable, optional
        Computes `relative_error` when it is first asked for.

    Raises
    ------
    ValueError
        If sizes are not increasing or a length differs.

    Examples
    --------
    >>> RiskCurve([0, 5], [1.0, 0.5], [0.0, 0.0], n_samples=20)
    RiskCurve(2 sizes from 0 to 5, n_samples=20, ridge=0, theory)
    """

    sizes: NDArray[np.int64]
    risk: FloatArray
    standard_error: FloatArray
    noise: FloatArray | None = None
    bias: FloatArray | None = None
    variance: FloatArray | None = None
    bias_standard_error: FloatArray | None = None
    variance_standard_error: FloatArray | None = None
    per_output: FloatArray | None = None
    n_samples: int = 1
    ridge: float = 0.0
    ridges: FloatArray | None = None
    n_trials: int = 0
    trials: NDArray[np.int64] | None = None
    label: str = ""
    low: FloatArray | None = None
    median: FloatArray | None = None
    high: FloatArray | None = None
    own_error: Callable[[], FloatArray] | None = field(default=None, repr=False)

    if TYPE_CHECKING:  # what callers may pass; the fields say what they read

        def __init__(
            self,
            sizes: ArrayLike,
            risk: ArrayLike,
            standard_error: ArrayLike,
            noise: ArrayLike | None = None,
            bias: ArrayLike | None = None,
            variance: ArrayLike | None = None,
            bias_standard_error: ArrayLike | None = None,
            variance_standard_error: ArrayLike | None = None,
            per_output: ArrayLike | None = None,
            n_samples: int = 1,
            ridge: float = 0.0,
            ridges: ArrayLike | None = None,
            n_trials: int = 0,
            trials: ArrayLike | None = None,
            label: str = "",
            low: ArrayLike | None = None,
            median: ArrayLike | None = None,
            high: ArrayLike | None = None,
            own_error: Callable[[], FloatArray] | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        sizes = as_sizes(self.sizes, maximum=np.iinfo(np.int64).max)
        object.__setattr__(self, "sizes", sizes)
        optional = (*_PARTS, *_PART_ERRORS, *_DRAW, "ridges", "trials", "per_output")
        for name in ("risk", "standard_error", *optional):
            value = getattr(self, name)
            if value is None and name not in ("risk", "standard_error"):
                continue
            array = as_array(name, value, finite=False)
            wanted = 2 if name == "per_output" else 1
            if array.ndim != wanted or array.shape[0] != sizes.size:
                raise ValueError(
                    f"{name} must have {sizes.size} rows in {wanted} dimension(s); "
                    f"got shape {array.shape}"
                )
            if name in (*_DRAW, "ridges", "noise") and np.isnan(array).any():
                raise ValueError(f"{name} must hold numbers; got NaN")
            if name == "trials":
                if not ((array >= 0) & (array <= 2.0**53) & (array == np.rint(array))).all():
                    raise ValueError(f"trials must hold whole numbers >= 0; got {shown(value)}")
                array = array.astype(np.int64)
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        object.__setattr__(self, "ridge", as_ridge(self.ridge))
        object.__setattr__(self, "n_samples", as_count("n_samples", self.n_samples))
        object.__setattr__(self, "n_trials", as_count("n_trials", self.n_trials, minimum=0))
        if not isinstance(self.label, str):
            raise ValueError(f"label must be a string; got {self.label!r}")

    def __repr__(self) -> str:
        kind = f"{self.n_trials} trials" if self.n_trials else "theory"
        ridge = f"ridge={self.ridge:.4g}" if self.ridges is None else "a ridge for each size"
        return (
            f"RiskCurve({self.sizes.size} sizes from {self.sizes[0]} to {self.sizes[-1]}, "
            f"n_samples={self.n_samples}, {ridge}, {kind})"
        )

    @cached_property
    def relative_error(self) -> FloatArray | None:
        """How far theory may be off (k,), :meth:`.Moments.relative_error`; None if unknown."""
        if self.own_error is None:
            return None
        errors = np.asarray(self.own_error())
        return errors if errors.shape == self.risk.shape else None

    def to_frame(self) -> pd.DataFrame:
        """Return a table indexed by size: risk, standard errors, and the parts there are."""
        import pandas as pd

        names = (*COLUMNS, "trials", *_DRAW)
        columns = {name: getattr(self, name) for name in names}
        table = {name: value for name, value in columns.items() if value is not None}
        return pd.DataFrame(table, index=pd.Index(self.sizes, name="size"))

    def plot(self, ax: Axes | None = None, **options: Any) -> Axes:
        """Draw the curve: a line for theory, points with error bars (±2 SE) for simulation.

        Where the curve has the risk of one trained head, its interval is shaded and its median
        dashed.  Else theory has a band as wide as its own `relative_error`.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            The current axes if omitted.
        **options
            Passed on to matplotlib (``color``, ``label``, …).

        Returns
        -------
        matplotlib.axes.Axes
        """
        import matplotlib.pyplot as plt

        ax = plt.gca() if ax is None else ax
        options = {"label": self.label or None, **options}
        risk = np.where(np.isfinite(self.risk), self.risk, np.nan)
        if self.n_trials:
            error = np.nan_to_num(2 * self.standard_error)
            ax.errorbar(self.sizes, risk, error, **{"fmt": "o", "markersize": 3.5, **options})
        else:
            (line,) = ax.plot(self.sizes, risk, **options)
            shades: dict[str, Any] = {"color": line.get_color(), "alpha": 0.2, "linewidth": 0}
            if self.low is not None and self.high is not None:
                ax.fill_between(self.sizes, self.low, self.high, **shades)
            elif self.relative_error is not None:
                off = risk * self.relative_error
                ax.fill_between(self.sizes, risk - off, risk + off, **shades)
            if self.median is not None:
                ax.plot(self.sizes, self.median, "--", color=line.get_color())
        ax.set(xlabel="model size $p$", ylabel="risk")
        return ax

    @classmethod
    def pool(cls, curves: Iterable[RiskCurve]) -> RiskCurve:
        """Combine independent simulations of the same heads, each weighted by its trials.

        Parameters
        ----------
        curves : sequence of RiskCurve
            Simulated curves of the same sizes, n, ridge and parts.

        Returns
        -------
        RiskCurve
            With means and standard errors as if all trials had been one simulation.

        Raises
        ------
        ValueError
            If there is no curve, one is theory, or two are not of the same heads.

        Examples
        --------
        >>> one, two = (RiskCurve([3], [r], [0.5], n_samples=9, n_trials=2) for r in (1.0, 2.0))
        >>> both = RiskCurve.pool([one, two])
        >>> both.risk.tolist(), both.standard_error.round(3).tolist(), both.n_trials
        ([1.5], [0.408], 4)
        """
        given = as_items("curves", curves, "curves")
        found: list[RiskCurve] = [as_a("RiskCurve", "curves", curve) for curve in given]
        if not found or any(curve.n_trials == 0 for curve in found):
            raise ValueError(
                "curves must be one or more simulations; got none, or theory among them"
            )
        first = found[0]
        kept = ("sizes", "noise", "ridges")
        for other in found[1:]:
            same = (other.n_samples, other.ridge) == (first.n_samples, first.ridge) and all(
                np.array_equal(getattr(first, name), getattr(other, name)) for name in kept
            )
            if not same or (other.bias is None) != (first.bias is None):
                raise ValueError(f"curves must be of the same heads; got {first!r} and {other!r}")

        draws = [np.full(c.sizes.size, c.n_trials) if c.trials is None else c.trials for c in found]
        trials = np.sum(draws, axis=0)

        def pooled(name: str, error: str) -> dict[str, FloatArray]:
            if getattr(first, name) is None:
                return {}
            tally = Tally(first.sizes.size)
            for curve, more in zip(found, draws, strict=True):
                # A single trial has no error of its own.
                own = np.where(more > 1, getattr(curve, error) ** 2 * more * (more - 1), 0.0)
                tally.add(getattr(curve, name), count=more, scatter=own)
            return {name: tally.mean, error: tally.standard_error}

        outputs = [
            curve.per_output * more[:, None]
            for curve, more in zip(found, draws, strict=True)
            if curve.per_output is not None
        ]
        parts: dict[str, Any] = {
            **pooled("risk", "standard_error"),
            **pooled("bias", "bias_standard_error"),
            **pooled("variance", "variance_standard_error"),
            "per_output": np.sum(outputs, axis=0) / trials[:, None]
            if len(outputs) == len(found)
            else None,
        }
        return replace(
            first,
            **parts,
            n_trials=int(trials.max()),
            trials=None if (trials == trials[0]).all() else trials,
        )
