"""The paper's claims, held against every system of the book: one table, computed from its runs.

A chapter that trains heads glues ``claims…``, a list of curves (see `Curve`).  `verdict` turns each
into a row, `claims` counts what the abstract says.  Pages show both with ``{claims} systems`` and
``{claims} claims`` (tools/book_pages.py).
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
from numpy.typing import ArrayLike, NDArray

NAME = "application/papermill.record/text/plain"


@dataclass(frozen=True, eq=False)
class Curve:
    """Risk against size, predicted and measured, of one system at one number of labels.

    Parameters
    ----------
    system : str
    n : int
    none, total : float
        The risk of size zero, and the variance of the label, tr Σ_y.
    sizes : ndarray of int, shape (k,)
        Without zero, in order.
    theory, measured, error, noise : ndarray, shape (k,)
        Predicted risk; risk of trained heads and its standard error; tr Ω at each size.

    Raises
    ------
    ValueError
        If lengths differ, a number is not positive, or the order of sizes is another.
    """

    system: str
    n: int
    none: float
    total: float
    sizes: NDArray[Any]
    theory: NDArray[np.float64]
    measured: NDArray[np.float64]
    error: NDArray[np.float64]
    noise: NDArray[np.float64]

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Curve:
        """Return the curve that a chapter glued."""
        arrays = ("sizes", "theory", "measured", "error", "noise")
        given: dict[str, Any] = {k: np.asarray(v) if k in arrays else v for k, v in record.items()}
        return cls(**given)

    def __post_init__(self) -> None:
        numbers = (self.sizes, self.theory, self.measured, self.error, self.noise)
        if any(x.shape != self.sizes.shape for x in numbers) or (np.diff(self.sizes) <= 0).any():
            raise ValueError(f"{self.system}: arrays must be of one length, sizes in order")
        if not all((x > 0).all() for x in (*numbers, np.array([self.none, self.total, self.n]))):
            raise ValueError(f"{self.system}: every number must be positive")

    @property
    def below(self) -> NDArray[np.bool_]:
        """Which sizes lie below the threshold."""
        return np.asarray(self.sizes <= self.n - 2)

    @property
    def worth(self) -> float:
        """The largest worth over price of features below n; a feature pays if it is above 1."""
        share = 1 - self.noise[self.below] / self.total
        return float((share / self.sizes[self.below]).max() * (self.n - 1))

    def best(self, risk: NDArray[np.float64], error: ArrayLike = 0.0, below: bool = True) -> int:
        """Return the size of least risk, zero unless it beats no model by two errors."""
        which = self.below if below else np.full(self.sizes.size, True)
        k = int(np.argmin(np.where(which, risk, np.inf)))
        gain = self.none - risk[k] - 2 * np.broadcast_to(np.asarray(error), risk.shape)[k]
        return int(self.sizes[k]) if gain > 0 else 0

    def gain(self, below: bool = True) -> tuple[float, float]:
        """Return what the best measured size gains on no model, and its standard error."""
        which = self.below if below else np.full(self.sizes.size, True)
        k = int(np.argmin(np.where(which, self.measured, np.inf)))
        return self.none - float(self.measured[k]), float(self.error[k])

    def zero(self, below: bool = True) -> bool | None:
        """Whether zero is the best size; None where two standard errors can't tell."""
        gain, error = self.gain(below)
        return None if abs(gain) <= 2 * error else gain < 0

    @property
    def away(self) -> NDArray[np.float64]:
        """Distances of theory from measurement at sizes away from n, as shares."""
        far = np.abs(self.sizes - self.n) > self.n / 4
        return np.asarray(np.abs(self.theory / self.measured - 1)[far])

    @property
    def off(self) -> float:
        """The median distance of theory from measurement away from n, as a share."""
        return float(np.median(self.away))

    @property
    def rises(self) -> bool:
        """Whether some size is worse than none by two errors, and not only by chance."""
        return bool((self.measured - 2 * self.error > 1.5 * self.none).any())

    @property
    def falls(self) -> bool:
        """Whether the largest size has less than half of the highest risk."""
        return bool(self.sizes[-1] > self.n and self.measured[-1] < self.measured.max() / 2)


def verdict(curve: Curve) -> dict[str, str]:
    """Return the row of one system."""
    seen, said = curve.best(curve.measured, curve.error), curve.best(curve.theory)
    pays = curve.worth > 1
    zero = curve.zero()
    right = "within error" if zero is None else "right" if pays != zero else "wrong"
    of_all = curve.best(curve.theory, below=False)
    seen_of_all = curve.best(curve.measured, curve.error, below=False)
    past = curve.sizes[-1] > curve.n
    return {
        "system": curve.system,
        "n": str(curve.n),
        "explained, %": f"{100 * (1 - curve.noise[-1] / curve.total):.0f}",
        "worth / price": f"{curve.worth:.2g}",
        "best below n: theory, seen": f"{said}, {seen}",
        "criterion": right,
        "best of all: theory, seen": f"{of_all}, {seen_of_all}" if past else "–",
        "theory off, %: median (worst)": f"{100 * curve.off:.1f} ({100 * curve.away.max():.0f})",
    }


def claims(curves: Iterable[Curve]) -> list[dict[str, str]]:
    """Return what became of each claim of the abstract; two need sizes past n to be seen."""
    every = list(curves)
    past = [c for c in every if c.sizes[-1] > c.n]
    tested: dict[str, tuple[list[Curve], Callable[[Curve], bool | None]]] = {
        "The risk rises to a peak, then falls.": (past, lambda c: c.rises and c.falls),
        "It rises from size zero on: below n the best size is zero.": (
            every,
            lambda c: c.zero(),
        ),
        "The best size of all is zero.": (past, lambda c: c.zero(below=False)),
        "Trained heads agree with the theory: within 5 %, in the median away from n.": (
            every,
            lambda c: c.off < 0.05,
        ),
    }
    rows = []
    for claim, (systems, holds) in tested.items():
        found = [(c, holds(c)) for c in systems]
        rows.append(
            {
                "claim": claim,
                "holds for": f"{sum(said is True for _, said in found)} of {len(systems)}",
                "not for (number of labels)": _named(c for c, said in found if said is False),
                "can't tell": _named(c for c, said in found if said is None),
            }
        )
    return rows


def _named(curves: Iterable[Curve]) -> str:
    labels: dict[str, list[str]] = {}
    for c in curves:
        labels.setdefault(c.system, []).append(str(c.n))
    return "; ".join(f"{system} ({', '.join(ns)})" for system, ns in labels.items()) or "–"


def collect(folder: Path) -> list[Curve]:
    """Return all curves that the notebooks of a folder hold, in reading order."""
    found = []
    for path in sorted(folder.glob("*.ipynb")):
        for cell in nbformat.read(path, as_version=4).cells:
            for output in cell.get("outputs", []):
                if (
                    output.get("metadata", {})
                    .get("scrapbook", {})
                    .get("name", "")
                    .startswith("claims")
                ):
                    found += [Curve.of(r) for r in ast.literal_eval(output["data"][NAME])]
    return found
