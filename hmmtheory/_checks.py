"""Argument checks shared by every module: each failure names the argument."""

from __future__ import annotations

import operator
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

#: Features and labels may be as large as this and as small as its inverse: fourth powers of
#: either, and squares of their ratio, are then still numbers of float64.
LARGEST = 1e75
#: Whole-number labels of at most so many different values are taken to be classes.
_MOST_CLASSES = 20
_ENCODE = "classes must be encoded, one column each (one-hot), or given to predict_accuracy"


def warn_caller(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the line outside this package that called into it."""
    frame, level, own = sys._getframe(1), 2, __name__.split(".")[0]
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).split(".")[0] == own:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def shown(value: Any) -> str:
    """Return what a message shows of a value: its repr on one line, not too long."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # even the repr of an int may fail, if it has too many digits
        text = f"an object of type {type(value).__name__}"
    return text if len(text) <= 100 else f"{text[:97]}..."


def as_array(name: str, value: Any, *, finite: bool = True) -> FloatArray:
    """Return a writable float64 copy of real numbers of any shape.

    Lists, arrays, data frames and tensors of any real type are taken.  What is missing, masked
    or no number is refused, with its place.
    """
    frame = _as_frame(value)
    if frame is not None:
        array = _from_frame(name, frame)
        array = array if frame is value else array[:, 0]
    else:
        array = _from_sequence(name, value)
    if finite and not np.isfinite(array).all():
        bad = ~np.isfinite(array)
        raise ValueError(
            f"{name} must be finite; got {np.isnan(array).sum()} NaN and "
            f"{np.isinf(array).sum()} infinite values, the first "
            f"{_place(np.argwhere(bad)[0], frame)}"
        )
    return array


def _as_frame(value: Any) -> Any:
    """Return a pandas object as a data frame, anything else as None; pandas stays unloaded."""
    pandas = sys.modules.get("pandas")
    if pandas is None or not hasattr(pandas, "DataFrame"):
        return None
    if isinstance(value, pandas.api.extensions.ExtensionArray | pandas.Index):
        return pandas.DataFrame({0: value})
    if isinstance(value, pandas.Series):
        return value.to_frame()
    return value if isinstance(value, pandas.DataFrame) else None


def _from_frame(name: str, frame: Any) -> FloatArray:
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise ValueError(f"{name} must have columns of different names; got {twice!r} twice")
    if all(isinstance(dtype, np.dtype) and dtype.kind in "biuf" for dtype in frame.dtypes):
        return np.array(frame.to_numpy(dtype=np.float64))
    array = np.empty(frame.shape)
    for j, (label, column) in enumerate(frame.items()):
        try:
            if column.dtype.kind in "biuf":
                array[:, j] = column.to_numpy(dtype=np.float64, na_value=np.nan)
            elif column.dtype == "category":
                raise TypeError(_ENCODE)
            else:
                array[:, j] = _from_raw(column.to_numpy(dtype=object, na_value=np.nan))
        except (TypeError, ValueError, OverflowError, ArithmeticError) as error:
            raise ValueError(
                f"{name} must hold real numbers; got column {label!r} of dtype {column.dtype} "
                f"({error})"
            ) from error
    return array


def _from_sequence(name: str, value: Any) -> FloatArray:
    if hasattr(type(value), "toarray"):
        raise ValueError(f"{name} must be dense; got a sparse array (pass its .toarray())")
    rows = value if isinstance(value, list | tuple) else [value]
    masked = sum(int(np.ma.getmaskarray(row).sum()) for row in rows if np.ma.isMaskedArray(row))
    if masked:
        raise ValueError(f"{name} must have no missing values; got {masked} masked ones")
    try:
        raw = np.asarray(value)
        if raw.dtype.kind == "O" and raw.ndim == 0:
            raise TypeError("not an array")
        return _from_raw(raw)
    except Exception as error:  # any, since a tensor's own error may be of any type
        hint = " (pass .detach().cpu().float().numpy())" if hasattr(type(value), "detach") else ""
        raise ValueError(
            f"{name} must hold real numbers in a rectangular array; "
            f"got {type(value).__name__}: {' '.join(str(error).split())}{hint}"
        ) from error


def _from_raw(raw: NDArray[Any]) -> FloatArray:
    """Return the numbers of a NumPy array, or raise TypeError with the reason."""
    if raw.dtype.kind == "O":
        for item in raw.flat:
            if isinstance(item, str | bytes):
                raise TypeError(f"text, such as {item!r}; {_ENCODE}")
            if isinstance(item, complex | np.complexfloating | np.datetime64 | np.timedelta64):
                raise TypeError(f"{type(item).__name__} objects")
    elif raw.dtype.kind in "US":
        raise TypeError(f"text; {_ENCODE}")
    elif raw.dtype.kind not in "biuf":
        raise TypeError(f"dtype {raw.dtype}")
    with np.errstate(over="ignore"):
        return np.array(raw, dtype=np.float64)


def _place(index: NDArray[np.int64], frame: Any) -> str:
    if index.size == 0:
        return "alone"
    if index.size != 2:
        return f"at position {', '.join(map(str, index))}"
    column = index[1] if frame is None else repr(frame.columns[index[1]])
    return f"in row {index[0]}, column {column}"


def as_given(name: str, value: Any) -> Any:
    """Return what other libraries take: a data frame of float64 columns, or an array."""
    frame, array = _as_frame(value), as_array(name, value)
    if frame is None or frame is not value:
        return array
    return type(frame)(array, columns=frame.columns, index=frame.index)


def as_column(name: str, value: Any) -> NDArray[Any]:
    """Return labels of any type as a NumPy array; a tensor's own error is turned into ours."""
    try:
        return np.asarray(value.to_numpy() if hasattr(type(value), "to_numpy") else value)
    except Exception as error:
        raise ValueError(
            f"{name} must hold one label a row; got {type(value).__name__}: {error}"
        ) from error


def as_matrix(name: str, value: ArrayLike, shape: tuple[int | None, int | None]) -> FloatArray:
    """Return `value` as a read-only float64 matrix; ``None`` in `shape` means any length."""
    matrix = as_array(name, value)
    wanted = ", ".join("any" if length is None else str(length) for length in shape)
    if matrix.ndim != 2 or any(
        w is not None and w != g for w, g in zip(shape, matrix.shape, strict=True)
    ):
        raise ValueError(f"{name} must have shape ({wanted}); got {matrix.shape}")
    matrix.flags.writeable = False
    return matrix


def as_table(name: str, value: Any, shape: tuple[int | None, int | None]) -> FloatArray:
    """Return rows of numbers as :func:`.as_matrix` does; each column's scale must be ordinary."""
    table = as_matrix(name, value, shape)
    if table.size:
        largest = np.maximum(table.max(axis=0), -table.min(axis=0))
        extreme = np.flatnonzero((largest > LARGEST) | ((largest > 0) & (largest < 1 / LARGEST)))
        if extreme.size:
            names = _names(value) or range(table.shape[1])
            raise ValueError(
                f"{name} must have columns between {1 / LARGEST:g} and {LARGEST:g} in size, since "
                f"squares of others over- or underflow: change their unit; got column "
                f"{names[extreme[0]]!r} of size {largest[extreme[0]]:.3g}"
            )
    return table


def as_rows(features: Any, responses: Any) -> tuple[FloatArray, FloatArray]:
    """Return features (N, p) and responses (N, q), N >= 2, as matrices; a vector is one output."""
    x = as_table("features", features, (None, None))
    if x.shape[0] < 2:
        raise ValueError(f"features must have at least 2 rows; got {x.shape[0]}")
    y = as_labels(responses, x.shape[0])
    check_order("responses", responses, features)
    return x, y


def check_order(name: str, labels: Any, features: Any) -> None:
    """Refuse labels whose row index is that of the features in another order."""
    there: Any = getattr(features, "index", None)
    here: Any = getattr(labels, "index", None)
    if not (hasattr(there, "equals") and hasattr(here, "equals")) or there.equals(here):
        return
    if there.is_unique and here.is_unique and len(there) == len(here) and there.isin(here).all():
        raise ValueError(
            f"{name} must have the rows of features in the same order, take .loc[features.index]; "
            "got the same index in another order"
        )


def as_labels(value: Any, n_rows: int) -> FloatArray:
    """Return responses (N, q); a vector is one output.

    Labels of integer or boolean type are warned of if they look like classes: one column of at
    most 20 different values, or a column of several that has from 3 to 20, each value occurring
    twice on average.
    """
    array = as_array("responses", value)
    y = as_table("responses", array[:, None] if array.ndim == 1 else value, (n_rows, None))
    if y.shape[1] == 0:
        raise ValueError(f"responses must have at least one column; got shape {y.shape}")
    if _are_whole(value):
        least = 2 if y.shape[1] == 1 else 3
        for column in y.T:
            count = np.unique(column).size
            if least <= count <= min(_MOST_CLASSES, n_rows // 2):
                warn_caller(
                    f"responses are whole numbers of {count} different values, taken as numbers: "
                    "if they are classes, encode them, one column each (one-hot), or take "
                    "predict_accuracy (in a shell, --classes); if not, pass them as floats"
                )
                break
    return y


def _are_whole(value: Any) -> bool:
    frame = _as_frame(value)
    if frame is not None:
        return all(dtype.kind in "biu" for dtype in frame.dtypes)
    raw = np.asarray(value)
    if raw.dtype.kind == "O":
        return all(isinstance(item, int | np.integer | np.bool_) for item in raw.flat)
    return raw.dtype.kind in "biu"


def _names(table: Any) -> list[Any]:
    """Return the names of a data frame's columns; none if it is something else."""
    names = list(table.columns) if hasattr(type(table), "columns") else []
    return names if _as_frame(table) is table or all(isinstance(n, str) for n in names) else []


def as_unlabelled(value: Any, features: Any) -> FloatArray:
    """Return feature rows without labels (M, p); none if the value is None.

    `features` is the labelled table that it belongs to: columns that have names in both are
    matched by name, others by position.
    """
    names, own = _names(features), _names(value)
    width = len(names) or np.shape(features)[1]
    if value is None:
        return np.empty((0, width))
    if names and own:
        missing, extra = ([c for c in a if c not in b] for a, b in ((names, own), (own, names)))
        if missing or extra:
            raise ValueError(
                f"unlabelled must have the columns of features; missing {shown(missing)}, too "
                f"many {shown(extra)}"
            )
        if len(own) == len(names):
            value = value[names]
    return as_table("unlabelled", value, (None, width))


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
        raw = np.asarray(value)
        if raw.ndim or raw.dtype.kind not in "iufO" or np.ma.is_masked(value):
            raise TypeError("not a number")
        number = float(value)
    except Exception as error:  # a number's own class may raise any
        raise ValueError(f"{name} must be {wanted}; got {shown(value)}") from error
    below = number <= minimum if open_minimum else number < minimum
    above = number >= maximum if open_maximum else number > maximum
    if np.isnan(number) or below or above or (np.isinf(number) and not allow_infinite):
        raise ValueError(f"{name} must be {wanted}; got {shown(value)}")
    return number


def as_ridge(value: Any) -> float:
    """Return a penalty; infinity is the zero head."""
    return as_number("ridge", value, minimum=0.0, allow_infinite=True)


def as_scale(name: str, value: Any, *, positive: bool = False) -> float:
    """Return a standard deviation, zero or of an ordinary size: its square is an exact number."""
    number = as_number(name, value, minimum=0.0, maximum=LARGEST, open_minimum=positive)
    if 0.0 < number < 1 / LARGEST:
        raise ValueError(
            f"{name} must be a number in [{1 / LARGEST:g}, {LARGEST:g}]"
            f"{'' if positive else ' or 0'}; got {shown(value)}"
        )
    return number


def as_a(kind: str, name: str, value: Any) -> Any:
    """Return `value` if its class, or one that it inherits from, has the name `kind`."""
    if kind not in (c.__name__ for c in type(value).__mro__):
        raise ValueError(f"{name} must be a {kind}; got {shown(value)}")
    return value


def as_items(name: str, value: Any, of: str) -> list[Any]:
    """Return what `value` holds as a list; `of` says what that should be."""
    try:
        if isinstance(value, str | bytes | dict):
            raise TypeError("not a sequence")
        return list(value)
    except Exception as error:
        raise ValueError(f"{name} must be a sequence of {of}; got {shown(value)}") from error


def as_function(name: str, value: Any) -> Any:
    """Return `value` if it can be called."""
    if not callable(value):
        raise ValueError(f"{name} must be a function; got {shown(value)}")
    return value


def as_count(name: str, value: Any, *, minimum: int = 1, maximum: int | None = None) -> int:
    """Return `value` as an int within [minimum, maximum]."""
    wanted = f"an integer >= {minimum}" + ("" if maximum is None else f" and <= {maximum}")
    try:
        count = operator.index(value)
    except Exception as error:
        raise ValueError(f"{name} must be {wanted}; got {shown(value)}") from error
    if (
        isinstance(value, (bool, np.bool_))
        or count < minimum
        or (maximum is not None and count > maximum)
    ):
        raise ValueError(f"{name} must be {wanted}; got {shown(value)}")
    if count > np.iinfo(np.int64).max:
        raise ValueError(f"{name} must be {wanted} and below 2**63; got {shown(value)}")
    return count


def as_option(name: str, value: Any, options: Sequence[str]) -> str:
    """Return `value` if it is one of the options, which are strings."""
    if not isinstance(value, str) or value not in options:
        wanted = ", ".join(map(repr, options))
        raise ValueError(f"{name} must be one of {wanted}; got {shown(value)}")
    return str(value)


def as_jobs(value: Any) -> int | None:
    """Return a number of processes as joblib counts them; None leaves it to its configuration."""
    if value is None:
        return None
    jobs = as_count("n_jobs", value, minimum=-(2**31))
    if jobs == 0:
        raise ValueError("n_jobs must be a nonzero integer or None; got 0")
    return jobs


def as_order(value: Any) -> int | str:
    """Return the order of the asymptotic formula, 1 (R3), 2 (R3′) or "uniform" (R17)."""
    if isinstance(value, str) and value == "uniform":
        return value
    try:
        return as_count("order", value, minimum=1, maximum=2)
    except ValueError as error:
        raise ValueError(f"order must be 1, 2 or 'uniform'; got {shown(value)}") from error


def as_sizes(value: Any, maximum: int) -> NDArray[np.int64]:
    """Return strictly increasing model sizes within [0, maximum]."""
    try:
        sizes = np.asarray(value if isinstance(value, np.ndarray) else list(value))
    except Exception as error:
        raise ValueError(f"sizes must be a sequence of integers; got {shown(value)}") from error
    if np.ma.is_masked(value):
        raise ValueError(f"sizes must have no missing values; got {shown(value)}")
    if sizes.ndim != 1 or sizes.size == 0 or not np.issubdtype(sizes.dtype, np.integer):
        raise ValueError(
            f"sizes must be a non-empty sequence of integers; got {sizes.dtype} {sizes.shape}"
        )
    sizes = sizes.astype(np.int64)
    if (np.diff(sizes) <= 0).any():
        raise ValueError("sizes must be strictly increasing; got repeated or unordered sizes")
    if sizes[0] < 0 or sizes[-1] > maximum:
        raise ValueError(
            f"sizes must lie between 0 and the number of features, {maximum}; "
            f"got {sizes[0]} to {sizes[-1]}"
        )
    sizes.flags.writeable = False
    return sizes


def as_flag(name: str, value: Any) -> bool:
    """Return `value` if it is True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{name} must be True or False; got {shown(value)}")
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
    except Exception as error:
        raise ValueError(
            f"rng must be what numpy.random.default_rng accepts; got {shown(value)}"
        ) from error
