"""Trials: their mean and its error, and joblib's workers with one BLAS thread in each."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from hmmtheory._checks import FloatArray


class Tally:
    """Number, mean and standard error of draws, one by one or in groups (Welford, Chan).

    The sums depend on the order of what is added, and on nothing else.
    """

    def __init__(self, *shape: int) -> None:
        self.count, self.mean, self._scatter = np.zeros((3, *shape))

    def add(self, mean: FloatArray, at: Any = ..., count: Any = 1, scatter: Any = 0.0) -> None:
        """Add a draw, or the mean of `count` draws and their sum of squares about it."""
        step, total = mean - self.mean[at], self.count[at] + count
        self._scatter[at] += scatter + step**2 * (self.count[at] * count / total)
        self.mean[at] += step * (count / total)
        self.count[at] = total

    @property
    def standard_error(self) -> FloatArray:
        """The standard error of the mean; NaN for a single draw."""
        with np.errstate(invalid="ignore", divide="ignore"):
            error: FloatArray = np.sqrt(self._scatter / (self.count * (self.count - 1.0)))
        return error


@lru_cache(maxsize=1)
def _controller() -> Any:
    """Find the process's BLAS libraries once: looking takes as long as a small trial."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def one_blas_thread() -> Any:
    """Return a context manager inside which BLAS uses one thread."""
    return _controller().limit(limits=1, user_api="blas")


def workers(
    n_jobs: int | None, return_as: str = "generator", batch_size: int | str = "auto"
) -> Any:
    """Return workers that hand results over one by one or, if they can't, all at the end."""
    from joblib import Parallel

    try:
        return Parallel(n_jobs, batch_size=batch_size, return_as=return_as)
    except ValueError:  # a backend without generators
        return Parallel(n_jobs, batch_size=batch_size)


def delayed(function: Callable[..., Any]) -> Any:
    """Return `function` as :func:`.workers` take it: called, it names the work and does none."""
    from joblib import delayed as later

    return later(function)
