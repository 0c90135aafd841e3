"""One BLAS thread at a time, so that results don't depend on how many share a product."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from threadpoolctl import ThreadpoolController


@lru_cache(maxsize=1)
def _controller() -> ThreadpoolController:
    """Find the process's BLAS libraries once: looking takes as long as a small trial."""
    return ThreadpoolController()


def one_blas_thread() -> Any:
    """Return a context manager inside which BLAS uses one thread."""
    return _controller().limit(limits=1, user_api="blas")
