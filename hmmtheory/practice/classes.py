"""Labels that are classes: their names, their codes, and the ones and zeros that a head fits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hmmtheory._checks import FloatArray, as_column


def as_classes(name: str, value: Any, n_rows: int | None = None) -> tuple[list[Any], NDArray[Any]]:
    """Return the names of the classes, sorted, and each row's code (N,).

    Strings, categories, booleans and integers are taken; numbers that are not whole are refused.
    """
    raw = as_column(name, value)
    if raw.ndim == 2 and raw.shape[1] == 1:
        raw = raw[:, 0]
    if raw.ndim != 1:
        raise ValueError(f"{name} must be one label a row, not one-hot; got shape {raw.shape}")
    if n_rows is not None and raw.size != n_rows:
        raise ValueError(f"{name} must have {n_rows} labels, one a row; got {raw.size}")
    missing = [k for k, label in enumerate(raw.tolist()) if label is None or label != label]
    if missing or np.ma.getmaskarray(value if np.ma.isMaskedArray(value) else raw).any():
        raise ValueError(f"{name} must have no missing label; got one in row {(missing or [0])[0]}")
    if raw.dtype.kind == "f" and (raw != np.rint(raw)).any():
        wrong = int(np.flatnonzero(raw != np.rint(raw))[0])
        raise ValueError(
            f"{name} must be strings, categories, booleans or whole numbers; "
            f"got {raw[wrong]:g} in row {wrong}"
        )
    if raw.dtype.kind == "O" and len({type(label) for label in raw.tolist()}) > 1:
        raw = raw.astype(str)
    try:
        names, codes = np.unique(raw, return_inverse=True)
    except TypeError as error:
        raise ValueError(f"{name} must be labels that sort; got {raw.dtype}") from error
    return names.tolist(), codes.ravel()


def are_names(labels: Any) -> bool:
    """Whether every label is a string or a boolean, and so a class without being said to be."""
    try:
        entries = np.asarray(labels, dtype=object).ravel()
    except Exception:
        return False  # what it is wrong with is said where it is read
    return entries.size > 0 and all(isinstance(one, (str, bool, np.bool_)) for one in entries)


def one_hot(codes: NDArray[Any], count: int) -> FloatArray:
    """Return a 1 for the class of each row and zeros for the others (N, K)."""
    return np.asarray(np.eye(count)[codes])
