"""The picture of a diagnosis: row scales, nearest neighbours and the spectrum."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np

from hmmtheory.plotting import COLORS

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(found: Any, near: float) -> Figure:
    """Draw a :class:`.Diagnosis`; pairs closer than `near` are near-duplicates."""
    figure, axes = plt.subplots(1, 3, figsize=(9.6, 3.2), layout="constrained")
    axes[0].hist(found.row_scales, bins=40, color=COLORS["blue"])
    axes[0].axvline(1.0, color=COLORS["orange"], linestyle="--")
    axes[0].set(xlabel=r"row scale $\tau$", ylabel="rows", title="Are all rows equally long?")
    axes[1].hist(found.nearest, bins=np.linspace(0, 1, 41).tolist(), color=COLORS["blue"])
    axes[1].axvline(near, color=COLORS["orange"], linestyle="--")
    axes[1].set(
        xlabel="squared distance to nearest row\nover that of a typical pair",
        ylabel="rows",
        title="Near-duplicates?",
    )
    index = np.arange(1, found.spectrum.size + 1)
    axes[2].loglog(index, found.spectrum / found.spectrum[0], color=COLORS["blue"])
    axes[2].axvline(found.effective_rank, color=COLORS["orange"], linestyle="--")
    axes[2].axvline(found.n_samples, color=COLORS["grey"], linestyle=":")
    axes[2].set(
        xlabel="direction",
        ylabel="variance over the largest",
        title="Effective rank (dashed), $n$ (dotted)",
    )
    return figure
