"""Where functions of many penalties vanish, and where they are least: a few looks at all at once.

Serves :mod:`hmmtheory.factors` and :mod:`hmmtheory.moments`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hmmtheory._checks import FloatArray

#: A function of (k,) numbers, and one that returns its slope as well.
Function = Callable[[FloatArray], FloatArray]
Equation = Callable[[FloatArray], tuple[FloatArray, FloatArray]]


def bracket(equation: Equation, start: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return what is below and what is above each root, which is near `start`."""
    left, right, step = start - 1e-9, start + 0.5, 1.0
    while (high := equation(left)[0] > 0).any():
        left, step = np.where(high, left - step, left), 2.0 * step
    step = 1.0
    while (low := equation(right)[0] < 0).any():
        right, step = np.where(low, right + step, right), 2.0 * step
    return left, right


def increasing_root(equation: Equation, left: FloatArray, right: FloatArray) -> FloatArray:
    """Return the roots (k,) of increasing functions, given with their slopes, within brackets.

    Newton's steps, but for those that leave what is known to hold the root.
    """
    x = 0.5 * (left + right)
    for _ in range(200):
        value, slope = equation(x)
        below = value < 0
        left, right = np.where(below, x, left), np.where(below, right, x)
        moved = x - value / np.maximum(slope, 1e-300)
        outside = (moved < left) | (moved > right)
        if outside.any():
            moved = np.where(outside, 0.5 * (left + right), moved)
        x, last = moved, x
        if np.abs(x - last).max() < 1e-11:
            break
    return np.asarray(x)


def minimise_over_ridge(
    excess: Function, scale: float, least: float, roughly: bool = False
) -> float:
    """Return the penalty of least excess risk among 0, infinity and 24 decades around `scale`.

    ``excess`` takes penalties (k,) and returns the excess of each; they go down to a millionth
    of ``least``, where that is smaller, and 18 decades further where none is far worse than the
    least of them.  Roughly is to a tenth of a per cent.
    """
    more = max(0, int(np.ceil(4 * (np.log10(scale) - np.log10(least) - 6))))
    grid = np.log(scale) + np.log(10.0) * np.linspace(-12 - more / 4, 12, 97 + more)
    heights = excess(np.exp(grid))
    best = int(np.argmin(heights))
    if best == 0 and not excess(np.zeros(1))[0] <= 1.001 * heights[0]:
        # Next to no noise at the threshold: less ridge yet, but some.
        grid = grid - np.log(10.0) * 18
        heights = excess(np.exp(grid))
        best = max(int(np.argmin(heights)), 1)
    if best in (0, grid.size - 1):
        return 0.0 if best == 0 else float("inf")
    if roughly:
        finer = np.linspace(grid[best - 1], grid[best + 1], 33)
        heights = excess(np.exp(finer))
        found = _vertex(finer, heights, int(np.clip(np.argmin(heights), 1, finer.size - 2)))
    else:
        from scipy import optimize

        found = optimize.minimize_scalar(
            lambda x: float(excess(np.exp([x]))[0]),
            bounds=(grid[best - 1], grid[best + 1]),
            method="bounded",
            options={"xatol": 1e-9},
        ).x
    candidates = np.array([np.exp(found), 0.0, np.inf])
    return float(candidates[np.argmin(excess(candidates))])


def ridge_within(excess: Function, near: float) -> float:
    """Return the penalty of least excess risk within three decades of `near`, to a per cent."""
    at, width = np.log(near), 7.0
    for points in (29, 11):
        grid = at + np.linspace(-width, width, points)
        heights = excess(np.exp(grid))
        best = int(np.argmin(heights))
        if best in (0, points - 1):
            return float(np.exp(grid[best]))
        at, width = grid[best], grid[1] - grid[0]
    return float(np.exp(_vertex(grid, heights, best)))


def _vertex(x: FloatArray, y: FloatArray, k: int) -> float:
    """Return where the parabola through three even places is least, the k-th value the least."""
    bend = y[k - 1] - 2.0 * y[k] + y[k + 1]
    return float(x[k] + (x[1] - x[0]) * (y[k - 1] - y[k + 1]) / (2.0 * bend) if bend > 0 else x[k])


def nearby_ridge(excess: Function, start: float) -> float:
    """Return the penalty of least excess risk next to `start`, by Newton steps in its logarithm.

    Slopes are taken over a tenth of the penalty, so that rounding does not move the answer.
    """
    if not 0.0 < start < np.inf:
        return start
    at, step, largest = np.log(start), 0.1, 1.0
    for _ in range(60):
        heights = excess(np.exp(at + step * np.arange(-2.0, 3.0)))
        slope = np.array([1.0, -8.0, 0.0, 8.0, -1.0]) @ heights / (12 * step)
        bend = np.array([-1.0, 16.0, -30.0, 16.0, -1.0]) @ heights / (12 * step**2)
        move = -slope / bend if bend > 0 else -np.sign(slope) * largest
        at += float(np.clip(move, -largest, largest))
        if abs(move) < 3e-4:
            break
        largest *= 0.8  # no endless turning about a kink
    return float(np.exp(at))
