"""What a simulator would do, as text: two that could give different numbers never look alike.

Serves chapter 16: a study's folder is only continued by the simulator that began it.
"""

from __future__ import annotations

import ast
import dis
import sys
from collections.abc import Callable
from importlib import import_module
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
    return [_source(file) for file in sorted(folder.rglob("*.py"))]


def _source(file: Path) -> str:
    tree = ast.parse(file.read_text("utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if not isinstance(body, list) or not body or not isinstance(body[0], ast.Expr):
            continue
        if isinstance(body[0].value, ast.Constant):
            del body[0]
    return ast.dump(tree)


def _function(function: Any, seen: set[int]) -> list[Any]:
    kept = function.__code__.co_freevars if isinstance(function, FunctionType) else ()
    if not isinstance(function, FunctionType) or set(kept) - {"__class__"}:
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
    imported = [
        [name, _module(import_module(name), seen)] for name in sorted(_imported(function.__code__))
    ]
    defaults = _hash("a default", (function.__defaults__, function.__kwdefaults__))
    return [_code(function.__code__, function.__doc__), defaults, reached, *imported]


def _names(code: CodeType) -> set[str]:
    inner = [_names(c) for c in code.co_consts if isinstance(c, CodeType)]
    return set(code.co_names).union(*inner)


def _imported(code: CodeType) -> set[str]:
    """Return the modules that are imported when it runs."""
    inner = [_imported(c) for c in code.co_consts if isinstance(c, CodeType)]
    own = {str(i.argval) for i in dis.get_instructions(code) if i.opname == "IMPORT_NAME"}
    return {name for name in own if name}.union(*inner)


def _code(code: CodeType, doc: str | None) -> list[Any]:
    constants = [_constant(c) for c in code.co_consts if doc is None or c != doc]
    return [code.co_code.hex(), constants, code.co_names, code.co_varnames]


def _constant(value: Any) -> Any:
    if isinstance(value, CodeType):
        return _code(value, None)
    if isinstance(value, frozenset):  # its order changes from run to run
        return ["frozenset", sorted(repr(_constant(item)) for item in value)]
    return [_constant(item) for item in value] if isinstance(value, tuple) else repr(value)


def _is_local(home: str) -> bool:
    """Whether a module's content is not told by the version of its package or of Python."""
    root = home.partition(".")[0]
    versioned = getattr(sys.modules.get(root), "__version__", None)
    return not versioned and root not in sys.stdlib_module_names


def _module(module: ModuleType, seen: set[int]) -> list[Any]:
    """Return a module's version; of one without its source and that of those that it uses."""
    name = module.__name__
    if not _is_local(name):
        return [name, str(getattr(sys.modules.get(name.partition(".")[0]), "__version__", ""))]
    file = getattr(module, "__file__", None)
    if id(module) in seen or name == "__main__" or not file:
        return [name]
    seen.add(id(module))
    homes = {
        value.__name__
        if isinstance(value, ModuleType)
        else str(getattr(value, "__module__", None) or "")
        for value in vars(module).values()
    }
    used = [sys.modules[home] for home in sorted(homes - {name}) if home in sys.modules]
    return [name, _source(Path(file)), *(_module(other, seen) for other in used)]


def _class(cls: type, seen: set[int]) -> list[Any]:
    """Return the bases and members of a class of one's own."""
    if id(cls) in seen or not _is_local(cls.__module__):
        return [cls.__module__, cls.__qualname__]
    seen.add(id(cls))
    skipped = ("__dict__", "__weakref__", "__doc__", "__module__", "__firstlineno__")
    members = [
        [name, _member(name, value, cls.__module__.partition(".")[0], seen)]
        for name, value in sorted(vars(cls).items())
        if name not in skipped and not name.startswith("__static_")
    ]
    return [cls.__qualname__, [_class(base, seen) for base in cls.__bases__], members]


def _member(name: str, value: Any, root: str, seen: set[int]) -> Any:
    if isinstance(value, property):
        return [_member(name, f, root, seen) for f in (value.fget, value.fset) if f]
    return _value(name, getattr(value, "__func__", value), root, seen)


def _value(name: str, value: Any, root: str, seen: set[int]) -> Any:
    """Return a global's content; what an installed package holds is told by its version."""
    if isinstance(value, ModuleType):
        return _module(value, seen)
    home = str(getattr(value, "__module__", None) or "").partition(".")[0]
    version = getattr(sys.modules.get(home), "__version__", None)
    if callable(value) and (version or home == "builtins") and home != root:
        return [home, getattr(value, "__qualname__", repr(type(value))), str(version)]
    if isinstance(value, FunctionType):
        return _function(value, seen)
    if isinstance(value, type):
        return _class(value, seen)
    if hasattr(value, "__wrapped__"):  # a cache around a function
        return [type(value).__name__, _value(name, value.__wrapped__, root, seen)]
    made = [] if type(value).__module__ == "builtins" else _class(type(value), seen)
    return [_hash(name, value), *made[1:]]


def _hash(name: str, value: Any) -> str:
    try:
        return str(content_hash(value))
    except Exception as error:
        raise ValueError(
            f"simulate must reach nothing but code and plain values; got {name} of type "
            f"{type(value).__name__}"
        ) from error
