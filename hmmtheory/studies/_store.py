"""The folder of a study: a chunk's file is whole or not there, and one code wrote them all."""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pandas as pd
import scipy

from hmmtheory.studies._fingerprint import fingerprint, package_code

_MANIFEST = "_study.json"


def read(path: Path | None) -> pd.DataFrame | None:
    """Return the chunk in a file; None if there is none that can be read."""
    if path is None:
        return None
    try:
        return pd.read_parquet(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        warnings.warn(f"{path} can't be read and is drawn again: {error}", stacklevel=2)
        return None


def write(frame: pd.DataFrame, path: Path) -> None:
    """Write a chunk."""
    content = io.BytesIO()
    frame.to_parquet(content, index=False)
    _replace(path, content.getvalue())


def _replace(path: Path, content: bytes) -> None:
    """Write a file so that there is all of it or nothing, even if the power fails."""
    partial = path.with_name(f".{uuid4().hex}.partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def open_folder(folder: str | os.PathLike[str] | None, simulate: Callable[..., Any]) -> Path | None:
    """Make the folder, or see that the same code wrote it."""
    if folder is None:
        return None
    import hmmtheory

    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "a study with a folder needs pyarrow: pip install 'hmmtheory[study]'"
        ) from error
    try:
        path = Path(folder).resolve()
        path.mkdir(parents=True, exist_ok=True)
    except (TypeError, FileExistsError, NotADirectoryError) as error:
        raise ValueError(f"folder must be the path of a folder; got {folder!r}") from error
    code = digest([fingerprint(simulate), package_code(Path(__file__).parent.parent)])
    note = path / _MANIFEST
    if not note.exists():
        made_by = {
            "hmmtheory": hmmtheory.__version__,
            "code": code,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "scipy": scipy.__version__,
            "machine": platform.machine(),
        }
        _replace(note, json.dumps(made_by, indent=2).encode())
    elif json.loads(note.read_text("utf-8")).get("code") != code:
        raise ValueError(
            f"folder must be new or written by the same code; {folder!s} was written by another "
            f"version of hmmtheory or of simulate (delete {_MANIFEST} there to take its chunks "
            "as they are)"
        )
    return path


def digest(content: Any) -> str:
    """Return a hash of what JSON can say."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
