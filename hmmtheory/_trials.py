"""Trials side by side: joblib's workers, and one BLAS thread in each."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any


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
