"""The book's matplotlib style and its recurring figure: simulation on theory."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes

from hmmtheory._checks import as_a, as_items, as_option
from hmmtheory.curves import RiskCurve

#: Okabe and Ito's palette, safe for colour-blind readers, in the order the book uses it.
COLORS = {
    "blue": "#0072B2",
    "orange": "#D55E00",
    "green": "#009E73",
    "purple": "#CC79A7",
    "amber": "#E69F00",
    "sky": "#56B4E9",
    "black": "#000000",
    "grey": "#7F7F7F",
}


def use_style() -> None:
    """Set the book's style for every later figure of this session."""
    mpl.rcParams.update(
        {
            "axes.prop_cycle": cycler(color=list(COLORS.values())),
            "axes.spines.right": False,
            "axes.spines.top": False,
            "axes.grid": True,
            "axes.titlesize": 11,
            "axes.labelsize": 11,
            "grid.alpha": 0.25,
            "figure.figsize": (6.8, 4.0),
            # Twice what a page shows, for sharp screens and for print.
            "figure.dpi": 200,
            "figure.facecolor": "white",
            "figure.constrained_layout.use": True,
            "font.size": 10.5,
            "legend.frameon": False,
            "lines.linewidth": 1.8,
            "savefig.dpi": 200,
        }
    )


def mark_threshold(ax: Axes, n_samples: int) -> None:
    """Mark the interpolation threshold p = n with a labelled vertical line.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    n_samples : int
        The number n of labelled examples.
    """
    ax.axvline(n_samples, color=COLORS["grey"], linestyle=":", linewidth=1.2)
    ax.annotate(
        "$p = n$",
        (n_samples, 0.0),
        xycoords=("data", "axes fraction"),
        xytext=(4, 4),
        textcoords="offset points",
        va="bottom",
        color=COLORS["grey"],
    )


def plot_theory_and_simulation(
    theory: RiskCurve,
    simulation: RiskCurve | None = None,
    parts: Sequence[str] = ("risk",),
    ax: Axes | None = None,
    top: float | None = None,
) -> Axes:
    """Draw theory as lines and simulation as points with error bars (±2 SE).

    Parameters
    ----------
    theory, simulation : RiskCurve
        The two curves; the second may be None.
    parts : sequence of {"risk", "noise", "bias", "variance"}
        What to draw, one colour each.
    ax : matplotlib.axes.Axes, optional
        The current axes if omitted.
    top : float, optional
        Upper end of the vertical axis; the peak at p = n is infinite.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If a part is unknown or a curve does not carry it.
    """
    as_a("RiskCurve", "theory", theory)
    if simulation is not None:
        as_a("RiskCurve", "simulation", simulation)
    parts = as_items("parts", parts, "names")
    ax = plt.gca() if ax is None else ax
    errors = {"risk": "standard_error", "noise": None}
    colors = {"risk": "blue", "noise": "grey", "bias": "green", "variance": "orange"}
    for part in parts:
        as_option("parts", part, sorted(colors))
        line = getattr(theory, part)
        if line is None:
            raise ValueError(f"theory must carry its {part}; got a curve without it")
        color = COLORS[colors[part]]
        ax.plot(theory.sizes, np.where(np.isfinite(line), line, np.nan), color=color, label=part)
        points = None if simulation is None else getattr(simulation, part)
        if simulation is None or points is None or part == "noise":
            continue
        error = getattr(simulation, errors.get(part) or f"{part}_standard_error")
        error = np.zeros_like(points) if error is None else np.nan_to_num(2 * error)
        ax.errorbar(
            simulation.sizes, points, error, fmt="o", markersize=3.5, color=color, linewidth=1.2
        )
    mark_threshold(ax, theory.n_samples)
    ax.set(xlabel="model size $p$", ylabel="risk")
    if top is not None:
        ax.set_ylim(0, top)
    ax.legend()
    return ax
