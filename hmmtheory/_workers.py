"""Joblib's workers, whichever backend the caller has chosen."""

from __future__ import annotations

from typing import Any

from joblib import Parallel


def workers(
    n_jobs: int | None, return_as: str = "generator", batch_size: int | str = "auto"
) -> Any:
    """Return workers that hand results over one by one or, if they can't, all at the end."""
    try:
        return Parallel(n_jobs, batch_size=batch_size, return_as=return_as)
    except ValueError:  # a backend without generators
        return Parallel(n_jobs, batch_size=batch_size)
