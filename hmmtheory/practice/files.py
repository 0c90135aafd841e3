"""Tables in files: features and labels from .npy, .npz, .csv and .parquet, for the command line."""

from __future__ import annotations

import csv
import io
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hmmtheory._checks import warn_caller

KINDS = (".npy", ".npz", ".csv", ".parquet")


def read_table(place: str) -> Any:
    r"""Read a table from a file.

    Parameters
    ----------
    place : str
        A path that ends in .npy, .npz, .csv or .parquet; ``archive.npz:name`` takes one array of
        several; ``-`` reads CSV from standard input.

    Returns
    -------
    ndarray or DataFrame
        An array from .npy and .npz, which .npy leaves on the disk; else a frame.

    Raises
    ------
    ValueError
        If the file is missing, of no such kind, damaged, or holds several arrays or objects.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "x.csv"
    ...     _ = path.write_text("a,b\n1,2\n3,4\n")
    ...     read_table(str(path)).columns.tolist()
    ['a', 'b']
    """
    if place == "-":
        return _csv(io.StringIO(sys.stdin.read()), "standard input")
    file, _, key = place.rpartition(":") if ".npz:" in place else (place, "", "")
    path = Path(file)
    kind = path.suffix.lower()
    if kind not in KINDS:
        raise ValueError(f"{place} must end in {', '.join(KINDS)}")
    if not path.is_file():
        raise ValueError(f"{file} must be a file; there is none")
    try:
        if kind == ".csv":
            with path.open(encoding="utf-8-sig", newline="") as text:
                return _csv(text, file)
        if kind == ".parquet":
            return pd.read_parquet(path)
        found = np.load(path, mmap_mode="r" if kind == ".npy" else None, allow_pickle=False)
        return found if kind == ".npy" else _one_array(found, file, key)
    except ImportError as error:
        needed = "reading .parquet needs pyarrow: pip install 'hmmtheory[study]'"
        raise ValueError(f"{file}: {needed}") from error
    except (OSError, EOFError, UnicodeError, ValueError, zipfile.BadZipFile) as error:
        said = str(error).partition("\n")[0]
        if "Python objects" in said or "allow_pickle" in said:
            said = "holds Python objects: save names with .astype(str), numbers with .astype(float)"
        raise ValueError(said if said.startswith(file) else f"{file}: {said}") from error


def _one_array(archive: Any, file: str, key: str) -> Any:
    names = list(archive.keys())
    if not names:
        raise ValueError(f"{file} must hold an array; it is empty")
    if not key and len(names) != 1:
        raise ValueError(f"{file} holds {', '.join(names)}: say which, as in {file}:{names[0]}")
    if key and key not in names:
        raise ValueError(f"{file} holds {', '.join(names)}, and no {key!r}")
    return archive[key or names[0]]


def _csv(source: io.TextIOBase, name: str) -> pd.DataFrame:
    lines = csv.reader(source)
    header = next(lines, [])
    first = next(lines, header)
    twice = sorted({column for column in header if column and header.count(column) > 1})
    if twice:
        raise ValueError(f"{name} must name each column once; got {twice[0]!r} twice")
    if len(first) > len(header):  # pandas would take the first column for an index
        raise ValueError(
            f"{name} must have a name for each column; got {len(header)} names, {len(first)} fields"
        )
    source.seek(0)
    try:
        # A class may be called NA or None; only what is empty is missing.
        frame = pd.read_csv(source, keep_default_na=False, na_values=[""])
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise ValueError(f"{name}: {error}") from error
    names = list(frame.columns)
    if names and all(_is_number(column) for column in names):
        raise ValueError(
            f"{name} must have names in its first line; got numbers: {names[:3]}. Write some "
            "there, or save the array as .npy"
        )
    if len(names) == 1 and (";" in names[0] or "\t" in names[0]):
        raise ValueError(f"{name} must have commas between its columns; got {names[0][:40]!r}")
    if names[0] == "Unnamed: 0" and len(names) > 1 and frame[names[0]].is_unique:
        warn_caller(f"{name}: the first column has no name and is taken as the rows' index")
        frame = frame.drop(columns=names[0])
    return frame


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def choose(table: Any, place: str, columns: Sequence[str], leave: Sequence[str] = ()) -> Any:
    """Return some columns of a table, by name (of an array: by number, from 0).

    Parameters
    ----------
    table : ndarray or DataFrame
        What :func:`.read_table` gave.
    place : str
        Its file, for messages.
    columns : sequence of str
        Their names; empty for all but `leave`.
    leave : sequence of str
        Names of columns to leave out.

    Returns
    -------
    ndarray or DataFrame
        The same rows.

    Raises
    ------
    ValueError
        If there is no such column, or none is left.

    Examples
    --------
    >>> choose(np.arange(6).reshape(2, 3), "x.npy", ["2", "0"]).tolist()
    [[2, 0], [5, 3]]
    """
    framed = isinstance(table, pd.DataFrame)
    if not framed and table.ndim < 2:
        table = table.reshape(-1, 1)
    names = [str(name) for name in (table.columns if framed else range(table.shape[1]))]
    if len(set(columns)) < len(columns):
        raise ValueError(f"{place}: columns must be named once; got {', '.join(columns)}")
    for name in (*columns, *leave):
        if name not in names:
            few = ", ".join(names[:6]) + (", …" if len(names) > 6 else "")
            raise ValueError(f"{place} has no column {name!r}; it has {few}")
    kept = [names.index(name) for name in columns or names if name not in leave]
    if not kept:
        raise ValueError(f"{place} must keep at least one column")
    return table.iloc[:, kept] if framed else table[:, kept]


def as_numbers(table: Any, place: str) -> Any:
    """Return the table if it holds numbers; else say which row and column does not.

    Parameters
    ----------
    table : ndarray or DataFrame
        Features or numeric labels.
    place : str
        Their file, for messages.

    Returns
    -------
    ndarray or DataFrame
        The same table.

    Raises
    ------
    ValueError
        With the row, counted from 1 without the line of names, and the column.

    Examples
    --------
    >>> as_numbers(pd.DataFrame({"age": ["31", "?"]}), "people.csv")
    Traceback (most recent call last):
    ValueError: people.csv: row 2, column 'age' must be a number; got '?'
    """
    if not isinstance(table, pd.DataFrame):
        if table.dtype.kind == "f" and table.ndim == 2 and not np.isfinite(table).all():
            row, column = np.argwhere(~np.isfinite(table))[0]
            got = table[row, column]
            raise ValueError(f"{place}: row {row + 1}, column {column} must be a number; got {got}")
        return table
    for name in table.columns:
        column = table[name]
        numbers = pd.to_numeric(column, errors="coerce")
        strange = numbers.isna() | numbers.isin([np.inf, -np.inf])
        wrong = np.flatnonzero(strange.to_numpy() & ~column.isna().to_numpy())
        empty = np.flatnonzero(column.isna().to_numpy())
        if wrong.size:
            row = int(wrong[0])
            said = column.iloc[row]
            got = repr(said) if isinstance(said, str) else str(said)
        elif empty.size:
            row, got = int(empty[0]), "nothing"
        else:
            continue
        raise ValueError(f"{place}: row {row + 1}, column {name!r} must be a number; got {got}")
    return table
