"""Rows of features without labels, as many as there are: read in one pass, kept as their moments.

Serves `unlabelled=` of every function that takes it, and `Moments.from_chunks` (chapter 13).
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from scipy import linalg

from hmmtheory._checks import FloatArray, as_unlabelled
from hmmtheory._trials import one_blas_thread

#: An array of more numbers than this is read in chunks of at most so many.
_HELD, _CHUNK = 20_000_000, 1_000_000
#: Columns that LAPACK takes at once.
_BLOCK = 32
_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class Bulk:
    """How many rows there were, their mean (p,), and a root (r, p) of their scatter about it."""

    count: int
    mean: FloatArray
    root: FloatArray

    def __len__(self) -> int:
        return self.count


def as_bulk(value: Any, features: Any) -> FloatArray | Bulk:
    """Return unlabelled rows: those of a small table as they are, of all else the moments.

    All else is a large array or memory map, the path of a .npy or .parquet file, a Dask array,
    or an iterator of tables.
    """
    if isinstance(value, Bulk):
        return value
    if hasattr(type(value), "to_delayed"):
        return _of_dask(value, features)
    if isinstance(value, np.ndarray) and value.ndim == 2 and value.size > _HELD:
        return of_chunks(_slices(value), features)
    if isinstance(value, str | PathLike):
        return of_chunks(chunks_of(value), features)
    if isinstance(value, Iterator):
        return of_chunks(value, features)
    return as_unlabelled(value, features)


def chunks_of(path: str | PathLike[str]) -> Iterator[Any]:
    """Yield the rows of a .npy file by slices, or of a .parquet file by batches."""
    file = Path(path)
    if file.suffix not in (".npy", ".parquet"):
        raise ValueError(f"unlabelled must be rows, or the path of a .npy or .parquet; got {file}")
    try:
        if file.suffix == ".npy":
            table: Any = np.load(file, mmap_mode="r", allow_pickle=False)
        else:
            from pyarrow.parquet import ParquetFile

            table = ParquetFile(file)
    except (OSError, ValueError) as error:  # Arrow's errors are of these too
        raise ValueError(f"unlabelled must be a file that can be read; {error}") from error
    if file.suffix == ".npy":
        yield from _slices(table)
        return
    with table:
        rows = max(1, _CHUNK // max(table.metadata.num_columns, 1))
        for batch in table.iter_batches(rows):
            yield batch.to_pandas()


def of_chunks(chunks: Iterable[Any], features: Any) -> Bulk:
    """Return the moments of all rows of some tables, whose columns are those of `features`."""
    waiting = iter(chunks)
    for first in waiting:
        start = as_unlabelled(first, features)
        if start.shape[0]:
            break
    else:
        raise ValueError("unlabelled must hold at least one row; got none")
    origin = start.mean(axis=0)
    triangle = _with_rows(None, start - origin)
    for chunk in waiting:
        triangle = _with_rows(triangle, as_unlabelled(chunk, features) - origin)
    return _bulk(triangle, origin)


def joined(x: FloatArray, unlabelled: FloatArray | Bulk) -> tuple[FloatArray, FloatArray, int]:
    """Return the mean of all rows, rows whose squares are their scatter, and how many they are."""
    if not isinstance(unlabelled, Bulk):
        rows = np.vstack([x, unlabelled])
        mean = rows.mean(axis=0)
        return mean, rows - mean, rows.shape[0]
    count = x.shape[0] + unlabelled.count
    mean = (x.sum(axis=0) + unlabelled.count * unlabelled.mean) / count
    apart = np.sqrt(unlabelled.count) * (unlabelled.mean - mean)
    return mean, np.vstack([x - mean, unlabelled.root, apart]), count


def take(unlabelled: FloatArray | Bulk, columns: Any) -> FloatArray | Bulk:
    """Return some columns."""
    if not isinstance(unlabelled, Bulk):
        return unlabelled[:, columns]
    return Bulk(unlabelled.count, unlabelled.mean[columns], unlabelled.root[:, columns])


def turned(
    unlabelled: FloatArray | Bulk, mean: FloatArray, directions: FloatArray
) -> FloatArray | Bulk:
    """Return the rows less `mean` along some directions (p, r)."""
    if not isinstance(unlabelled, Bulk):
        return np.asarray((unlabelled - mean) @ directions)
    middle = (unlabelled.mean - mean) @ directions
    return Bulk(unlabelled.count, middle, unlabelled.root @ directions)


def _slices(array: Any) -> Iterator[Any]:
    if array.ndim != 2:
        raise ValueError(f"unlabelled must have two dimensions; got {array.ndim}")
    step = max(1, _CHUNK // max(array.shape[1], 1))
    # What was read of a file is given back: else all of it stays in memory.
    read_only = isinstance(array, np.memmap) and array.mode == "r"
    mapped = getattr(array, "_mmap", None) if read_only else None
    for start in range(0, array.shape[0], step):
        yield array[start : start + step]
        if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
            mapped.madvise(mmap.MADV_DONTNEED)


def _with_rows(triangle: FloatArray | None, rows: FloatArray) -> FloatArray:
    """Return R of [1, rows] = QR, which holds count, mean and scatter (p + 1, p + 1).

    The rows are these and those that a triangle stands for.
    """
    count, width = rows.shape[0], rows.shape[1] + 1
    below = np.empty((count, width), order="F")
    below[:, 0], below[:, 1:] = 1.0, rows
    return _joined(np.zeros((width, width)) if triangle is None else triangle, below)


def _joined(triangle: FloatArray, rows: FloatArray) -> FloatArray:
    """Return R of both, by LAPACK's update of a triangle: five times as fast as a QR of a stack."""
    if not rows.shape[0]:
        return triangle
    above = np.asfortranarray(triangle)
    with one_blas_thread():  # blocks are too small for more: these would wait for each other
        found, *_ = linalg.lapack.dtpqrt(0, min(_BLOCK, above.shape[0]), above, rows)
    return np.asarray(found)


def _bulk(triangle: FloatArray, origin: FloatArray) -> Bulk:
    count = round(float(triangle[0, 0] ** 2)) if triangle.size else 0
    if count == 0:
        raise ValueError("unlabelled must hold at least one row; got none")
    shift = triangle[0, 1:] / triangle[0, 0]
    root = triangle[1:, 1:].copy()
    # What is left of a constant column is rounding, and no direction.
    lengths = np.sqrt(np.square(root).sum(axis=0))
    root[:, lengths <= 4 * _EPS * np.sqrt(count) * np.abs(origin + shift)] = 0.0
    return Bulk(count, origin + shift, root)


def _of_dask(array: Any, features: Any) -> Bulk:
    """Let Dask's own scheduler read the blocks and join them in pairs."""
    from dask.delayed import delayed

    if array.ndim != 2:
        raise ValueError(f"unlabelled must have two dimensions; got {array.ndim}")
    blocks = array.rechunk({1: -1}).to_delayed().ravel().tolist()
    start = as_unlabelled(blocks[0].compute(), features)
    origin = start.mean(axis=0) if start.shape[0] else np.zeros(start.shape[1])

    def triangle_of(block: Any) -> FloatArray:
        return _with_rows(None, as_unlabelled(block, features) - origin)

    parts = [delayed(triangle_of)(block) for block in blocks]
    while len(parts) > 1:
        pairs = zip(parts[::2], parts[1::2], strict=False)
        odd = parts[-1:] if len(parts) % 2 else []
        parts = list(chain((delayed(_joined)(*pair) for pair in pairs), odd))
    return _bulk(parts[0].compute(), origin)
