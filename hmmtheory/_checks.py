"""Argument checks shared by every module: each failure names the argument."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


def as_array(name: str, value: Any, *, finite: bool = True) -> FloatArray:
    """Return a writable float64 copy of real numbers of any shape."""
    if np.ma.isMaskedArray(value) and np.ma.getmaskarray(value).any():
        count = int(np.ma.getmaskarray(value).sum())
        raise ValueError(f"{name} must have no missing values; got {count} masked ones")
    if hasattr(value, "toarray") and hasattr(value, "nnz"):
        raise ValueError(f"{name} must be dense; got a sparse array (pass its .toarray())")
    try:
        raw = _plain_array(name, value)
        if raw.dtype.kind not in "biuf":
            raise TypeError(_hint(raw))
        with np.errstate(over="ignore"):
            array = np.array(raw, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        if str(error).startswith(f"{name} "):
            raise
        detail = f" ({error})" if isinstance(error, TypeError) and str(error) else ""
        raise ValueError(
            f"{name} must hold real numbers in a rectangular array; "
            f"got {type(value).__name__}{detail}"
        ) from error
    if finite and not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite; got NaN or infinity")
    return array


def _plain_array(name: str, value: Any) -> Any:
    """Return an array of the value; the columns of a data frame may be of several number types."""
    if not hasattr(value, "dtypes") or not hasattr(value, "to_numpy"):
        return np.asarray(value)
    frame = value.to_frame() if getattr(value, "ndim", 2) == 1 else value
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise ValueError(f"{name} must have columns of different names; got {twice!r} twice")
    columns = []
    for label, column in frame.items():
        try:
            if str(column.dtype) in ("category", "object", "str", "string"):
                raise TypeError
            columns.append(column.to_numpy(dtype=np.float64, na_value=np.nan))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{name} must hold real numbers; got column {label!r} of dtype {column.dtype}"
            ) from error
    array = np.column_stack(columns) if columns else np.empty(frame.shape)
    return array[:, 0] if getattr(value, "ndim", 2) == 1 else array


def _hint(raw: NDArray[Any]) -> str:
    if raw.dtype.kind in "USO":
        return "text or objects; classes must be encoded as numbers, one column each"
    return f"dtype {raw.dtype}"


def as_matrix(name: str, value: ArrayLike, shape: tuple[int | None, int | None]) -> FloatArray:
    """Return `value` as a read-only float64 matrix; ``None`` in `shape` means any length."""
    matrix = as_array(name, value)
    wanted = tuple("any" if length is None else length for length in shape)
    if matrix.ndim != 2 or any(
        w is not None and w != g for w, g in zip(shape, matrix.shape, strict=True)
    ):
        raise ValueError(f"{name} must have shape {wanted}; got {matrix.shape}")
    matrix.flags.writeable = False
    return matrix


def as_covariance(name: str, value: ArrayLike, size: int | None = None) -> FloatArray:
    """Return `value` as a symmetric positive semidefinite matrix (size, size)."""
    matrix = as_matrix(name, value, (size, size))
    if matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"{name} must be square; got shape {matrix.shape}")
    # Each entry in units of its row and column, so that no unit hides what is wrong elsewhere.
    own = np.sqrt(np.abs(np.diag(matrix)))
    units = np.outer(own, own)
    gap = np.abs(matrix - matrix.T)
    if (gap > 1e-8 * np.maximum(units, 1e-8 * np.abs(matrix))).any():
        raise ValueError(
            f"{name} must be symmetric; it differs from its transpose by {gap.max():.3g}"
        )
    symmetric = 0.5 * (matrix + matrix.T)
    correlation = np.divide(symmetric, units, out=np.zeros_like(symmetric), where=units > 0)
    smallest = float(np.linalg.eigvalsh(correlation).min(initial=0.0))
    if smallest < -1e-8 or (np.diag(matrix) < 0).any() or (symmetric[units == 0] != 0).any():
        least = float(np.linalg.eigvalsh(symmetric).min(initial=0.0))
        raise ValueError(
            f"{name} must be positive semidefinite; its smallest eigenvalue is {least:.3g}, that "
            f"of its correlations {smallest:.3g}"
        )
    symmetric.flags.writeable = False
    return symmetric


def as_number(
    name: str,
    value: Any,
    *,
    minimum: float = -np.inf,
    maximum: float = np.inf,
    open_minimum: bool = False,
    open_maximum: bool = False,
    allow_infinite: bool = False,
) -> float:
    """Return `value` as a float inside the interval; ends are closed unless said otherwise."""
    low, high = "(" if open_minimum else "[", ")" if open_maximum else "]"
    wanted = f"a number in {low}{minimum:g}, {maximum:g}{high}"
    try:
        if isinstance(value, (bool, np.bool_, str)):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{name} must be {wanted}; got {value!r}") from error
    below = number <= minimum if open_minimum else number < minimum
    above = number >= maximum if open_maximum else number > maximum
    if np.isnan(number) or below or above or (np.isinf(number) and not allow_infinite):
        raise ValueError(f"{name} must be {wanted}; got {value!r}")
    return number


def as_count(name: str, value: Any, *, minimum: int = 1, maximum: int | None = None) -> int:
    """Return `value` as an int within [minimum, maximum]."""
    wanted = f"an integer >= {minimum}" + ("" if maximum is None else f" and <= {maximum}")
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise ValueError(f"{name} must be {wanted}; got {value!r}")
    if value < minimum or (maximum is not None and value > maximum):
        raise ValueError(f"{name} must be {wanted}; got {value!r}")
    if value > np.iinfo(np.int64).max:
        raise ValueError(f"{name} must be {wanted} and below 2**63; got a number beyond")
    return int(value)


def as_jobs(value: Any) -> int | None:
    """Return a number of processes as joblib counts them; None leaves it to its configuration."""
    if value is None:
        return None
    jobs = as_count("n_jobs", value, minimum=-(2**31))
    if jobs == 0:
        raise ValueError("n_jobs must be a nonzero integer or None; got 0")
    return jobs


def as_order(value: Any) -> int:
    """Return the order of the asymptotic formula, 1 (R3) or 2 (R3′)."""
    return as_count("order", value, minimum=1, maximum=2)


def as_sizes(value: Any, maximum: int) -> NDArray[np.int64]:
    """Return strictly increasing model sizes within [0, maximum]."""
    try:
        sizes = np.asarray(value if isinstance(value, np.ndarray) else list(value))
    except (TypeError, ValueError) as error:
        raise ValueError(f"sizes must be a sequence of integers; got {value!r}") from error
    if sizes.ndim != 1 or sizes.size == 0 or not np.issubdtype(sizes.dtype, np.integer):
        raise ValueError(
            f"sizes must be a non-empty sequence of integers; got {sizes.dtype} {sizes.shape}"
        )
    sizes = sizes.astype(np.int64)
    if (np.diff(sizes) <= 0).any():
        raise ValueError("sizes must be strictly increasing; got repeated or unordered sizes")
    if sizes[0] < 0 or sizes[-1] > maximum:
        raise ValueError(
            f"sizes must lie between 0 and the representation's size {maximum}; "
            f"got {sizes[0]} to {sizes[-1]}"
        )
    sizes.flags.writeable = False
    return sizes


def as_flag(name: str, value: Any) -> bool:
    """Return `value` if it is True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{name} must be True or False; got {value!r}")
    return bool(value)


def spawn(rng: Any, count: int) -> list[np.random.Generator]:
    """Return independent generators, one for each trial."""
    generator = as_rng(rng)
    try:
        return generator.spawn(count)
    except TypeError:  # a legacy RandomState has no seed sequence to spawn from
        seeds = np.random.SeedSequence(generator.integers(2**32, size=4).tolist()).spawn(count)
        return [np.random.default_rng(seed) for seed in seeds]


def as_rng(value: Any) -> np.random.Generator:
    """Return ``numpy.random.default_rng(value)``, naming the argument if it can't."""
    try:
        return np.random.default_rng(value)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"rng must be what numpy.random.default_rng accepts; got {value!r}"
        ) from error
