"""A risk curve: risk against model size, with its errors and parts."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hmmtheory._validation import FloatArray, as_array, as_count, as_number, as_sizes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PARTS = ("noise", "bias", "variance")
_PART_ERRORS = ("bias_standard_error", "variance_standard_error")


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
    label : str
        What the curve is, for legends.

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
    label: str = ""

    def __post_init__(self) -> None:
        sizes = as_sizes(self.sizes, maximum=np.iinfo(np.int64).max)
        object.__setattr__(self, "sizes", sizes)
        for name in ("risk", "standard_error", *_PARTS, *_PART_ERRORS, "ridges", "per_output"):
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
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        as_count("n_samples", self.n_samples)
        as_count("n_trials", self.n_trials, minimum=0)
        as_number("ridge", self.ridge, minimum=0.0, allow_infinite=True)
        if not isinstance(self.label, str):
            raise ValueError(f"label must be a string; got {self.label!r}")

    def __repr__(self) -> str:
        kind = f"{self.n_trials} trials" if self.n_trials else "theory"
        ridge = f"ridge={self.ridge:.4g}" if self.ridges is None else "a ridge for each size"
        return (
            f"RiskCurve({self.sizes.size} sizes from {self.sizes[0]} to {self.sizes[-1]}, "
            f"n_samples={self.n_samples}, {ridge}, {kind})"
        )

    def to_frame(self) -> pd.DataFrame:
        """Return a table indexed by size: risk, standard errors, and the parts there are."""
        names = ("risk", "standard_error", *_PARTS, *_PART_ERRORS, "ridges")
        columns = {name: getattr(self, name) for name in names}
        table = {name: value for name, value in columns.items() if value is not None}
        return pd.DataFrame(table, index=pd.Index(self.sizes, name="size"))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the curve to `path` (NumPy ``.npz``, no pickle), all of it or nothing."""
        target = Path(path)
        partial = target.with_name(target.name + ".partial")
        content: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        with partial.open("wb") as file:
            np.savez(file, **{k: v for k, v in content.items() if v is not None})
        partial.replace(target)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> RiskCurve:
        """Read a curve that :meth:`save` wrote.

        Parameters
        ----------
        path : path-like
            The file.

        Returns
        -------
        RiskCurve

        Raises
        ------
        ValueError
            If the file does not hold a curve.
        FileNotFoundError
            If there is no such file.
        """
        needed, known = {"sizes", "risk", "standard_error"}, {f.name for f in fields(cls)}
        try:
            with np.load(path, allow_pickle=False) as file:
                content = {k: file[k] if file[k].ndim else file[k].item() for k in file.files}
        except FileNotFoundError:
            raise
        except (ValueError, EOFError, OSError, TypeError, AttributeError) as error:
            raise ValueError(
                f"path must hold a saved RiskCurve; got {os.fspath(path)!r}"
            ) from error
        if not needed <= set(content) <= known:
            raise ValueError(f"path must hold a saved RiskCurve; got {os.fspath(path)!r}")
        return cls(**content)

    def plot(self, ax: Axes | None = None, **options: Any) -> Axes:
        """Draw the curve: a line for theory, points with error bars (±2 SE) for simulation.

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
            ax.plot(self.sizes, risk, **options)
        ax.set(xlabel="model size $p$", ylabel="risk")
        return ax
