"""What a simulator would do, as text: two that could give different numbers never look alike.

Serves chapter 16: a study's folder is only continued by the simulator that began it.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from joblib import hash as content_hash


def fingerprint(simulate: Callable[..., Any]) -> list[Any]:
    """Return what `simulate` and all that it reaches consist of, comments and docstrings apart.

    Raises
    ------
    ValueError
        If that can't be told: of partials, bound methods, callable objects and closures.
    """
    return _function(simulate, set())


def package_code(folder: Path) -> list[str]:
    """Return the package's modules without comments and docstrings."""
    found = []
    for file in sorted(folder.rglob("*.py")):
        tree = ast.parse(file.read_text("utf-8"))
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if not isinstance(body, list) or not body or not isinstance(body[0], ast.Expr):
                continue
            if isinstance(body[0].value, ast.Constant):
                del body[0]
        found.append(ast.dump(tree))
    return found


def _function(function: Any, seen: set[int]) -> list[Any]:
    if not isinstance(function, FunctionType) or function.__closure__:
        kind = "a closure" if isinstance(function, FunctionType) else type(function).__name__
        raise ValueError(
            "simulate must be a plain function that keeps nothing of its own, since a study in a "
            f"folder must know it again; got {kind} (write a function with the values in it, or "
            "make them axes of the grid)"
        )
    if id(function) in seen:
        return []
    seen.add(id(function))
    root = function.__module__.partition(".")[0]
    names = _names(function.__code__)
    reached = [
        [name, _value(name, function.__globals__[name], root, seen)]
        for name in sorted(names)
        if name in function.__globals__
    ]
    defaults = _hash("a default", (function.__defaults__, function.__kwdefaults__))
    return [_code(function.__code__, function.__doc__), defaults, reached]


def _names(code: CodeType) -> set[str]:
    inner = [_names(c) for c in code.co_consts if isinstance(c, CodeType)]
    return set(code.co_names).union(*inner)


def _code(code: CodeType, doc: str | None) -> list[Any]:
    constants = [
        _code(c, None) if isinstance(c, CodeType) else repr(c)
        for c in code.co_consts
        if doc is None or c != doc
    ]
    return [code.co_code.hex(), constants, code.co_names, code.co_varnames]


def _value(name: str, value: Any, root: str, seen: set[int]) -> Any:
    """Return a global's content; what an installed package holds is told by its version."""
    if isinstance(value, ModuleType):
        return [value.__name__, str(getattr(value, "__version__", ""))]
    home = str(getattr(value, "__module__", None) or "").partition(".")[0]
    version = getattr(sys.modules.get(home), "__version__", None)
    if callable(value) and (version or home == "builtins") and home != root:
        return [home, getattr(value, "__qualname__", repr(type(value))), str(version)]
    if isinstance(value, FunctionType):
        return _function(value, seen)
    return _hash(name, value)


def _hash(name: str, value: Any) -> str:
    try:
        return str(content_hash(value))
    except Exception as error:
        raise ValueError(
            f"simulate must reach nothing but code and plain values; got {name} of type "
            f"{type(value).__name__}"
        ) from error
