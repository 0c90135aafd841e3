"""Find what hangs on the last digit of a computed float, in notebooks and tests.

    python tools/last_digits.py [PATH ...]

Every cell and test is parsed, and each of its comparisons and of its calls that pick a place
(argmin, argsort, array_equal, …) is wrapped: it reports how near its floats came to the other
answer. What another rounding could turn is listed: floats that are equal but neither infinite nor
whole sixty-fourths, or that differ by less than a share of 5e-12. A line that says ``same bits``
and why is taken at its word. A finding makes the exit status non-zero. Comparisons inside the
package are not looked at.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import json
import operator
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
NEAR = 5e-12
PLACES = ("argmin", "argmax", "nanargmin", "nanargmax", "idxmin", "idxmax", "argsort")
EQUAL = ("array_equal", "assert_array_equal")
OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "Eq": operator.eq,
    "NotEq": operator.ne,
    "Lt": operator.lt,
    "LtE": operator.le,
    "Gt": operator.gt,
    "GtE": operator.ge,
}
#: (place, line) -> what was seen there.
found: dict[tuple[str, str], str] = {}
#: The same for every cell: lines that are taken at their word.
WORD = "same bits"


class Watch(ast.NodeTransformer):
    """Wrap comparisons and picks; `where` names the file or notebook, `source` is its text."""

    def __init__(self, where: str, source: str | None = None) -> None:
        self.where, self.source = where, source

    def _said(self, node: ast.expr) -> list[ast.expr]:
        lines = (self.source or "").splitlines()[node.lineno - 1 : node.end_lineno]
        text = " ".join(lines) if lines else ast.unparse(node)
        place = f"{self.where}:{node.lineno}"
        return [ast.Constant(place), ast.Constant(text.strip())]

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        """Wrap ``a < b == c``; ``in`` and ``is`` hang on no digit."""
        self.generic_visit(node)
        names = [type(op).__name__ for op in node.ops]
        if not all(name in OPERATORS for name in names):
            return node
        constant = ast.List([ast.Constant(name) for name in names], ast.Load())
        sides: list[ast.expr] = [node.left, *node.comparators]
        compare = ast.Name("__compared__", ast.Load())
        call = ast.Call(compare, [*self._said(node), constant, *sides], [])
        return ast.copy_location(call, node)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        """Wrap the functions that pick a place."""
        said = self._said(node)
        self.generic_visit(node)
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        if name in PLACES + EQUAL:
            watched = ast.Call(ast.Name("__picked__", ast.Load()), [*said, node.func], [])
            node.func = ast.copy_location(watched, node.func)
        return node

    def visit(self, node: ast.AST) -> Any:
        """Give what was put in a place in the file."""
        changed = super().visit(node)
        if isinstance(node, (ast.Module, ast.Interactive, ast.Expression)):
            ast.fix_missing_locations(changed)
        return changed


def floats(value: Any) -> Any:
    """Return a float array; None if this is none, or all whole or infinite."""
    if isinstance(value, (str, bytes, bool, type(None))):
        return None
    if hasattr(value, "free_symbols"):  # SymPy is exact
        return None
    try:
        array = np.asarray(value)
    except Exception:
        return None
    return array if array.dtype.kind in "fc" else None


def near(a: Any, b: Any) -> bool:
    """Whether another rounding of floats could turn their comparison."""
    if floats(a) is None and floats(b) is None:
        return False
    try:
        left, right = np.broadcast_arrays(np.asarray(a, dtype=float), np.asarray(b, dtype=float))
    except (TypeError, ValueError):
        return False
    with np.errstate(all="ignore"):
        whole = (left == right) & (np.round(64 * left) == 64 * left)
        gap, scale = np.abs(left - right), np.maximum(np.abs(left), np.abs(right))
        close = np.isfinite(gap) & (gap <= NEAR * scale) & ~whole
        # Zero beside what is left of a difference.
        close |= (np.minimum(np.abs(left), np.abs(right)) == 0) & (scale > 0) & (scale < 1e-12)
    return bool(close.any())


def compared(place: str, text: str, names: list[str], *sides: Any) -> Any:
    """Compare as the source does, and report what is near."""
    result: Any = True
    for name, a, b in zip(names, sides, sides[1:], strict=False):
        if WORD not in text and near(a, b):
            found.setdefault((place, text), name)
        one = OPERATORS[name](a, b)
        result = one if result is True else (result and one)
        if len(names) > 1 and not result:
            break
    return result


def picked(place: str, text: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function, which reports when two candidates are near each other."""

    def call(*args: Any, **options: Any) -> Any:
        name = function.__name__
        own = getattr(function, "__self__", None)
        values = [own] if own is not None and not callable(own) and floats(own) is not None else []
        values += list(args[:2] if name in EQUAL else args[:1])
        if WORD not in text:
            if name in EQUAL:
                hit = near(*values[:2])
            else:
                array = floats(values[0]) if values else None
                hit = array is not None and _tied(array, name, options.get("axis"))
            if hit:
                found.setdefault((place, text), name)
        return function(*args, **options)

    return call


def _tied(array: Any, name: str, axis: int | None) -> bool:
    rows = array.reshape(-1, 1) if axis is None or array.ndim == 1 else np.moveaxis(array, axis, 0)
    rows = np.sort(rows.reshape(rows.shape[0], -1), axis=0)
    if rows.shape[0] < 2:
        return False
    if name in ("argsort",):
        pairs = rows[:-1], rows[1:]
    elif "max" in name:
        pairs = rows[-2], rows[-1]
    else:
        pairs = rows[0], rows[1]
    return near(*pairs)


def install(names: dict[str, Any]) -> None:
    """Give these globals to watched code."""
    names["__compared__"], names["__picked__"] = compared, picked


class _Cells(ast.NodeTransformer):
    """What IPython asks to change each cell."""

    def __init__(self, shell: Any, where: str) -> None:
        self.shell, self.where = shell, where

    def visit(self, node: ast.AST) -> Any:
        source = str(self.shell.history_manager.input_hist_parsed[-1])
        count = self.shell.execution_count - 1
        if "last_digits" in source:
            return node
        return Watch(f"{self.where}[{count}]", source).visit(node)


def watch_cells(shell: Any, where: str) -> None:
    """Watch all cells that this IPython shell runs from now on."""
    install(shell.user_ns)
    shell.ast_transformers.append(_Cells(shell, where))


def report(path: str) -> None:
    """Write what was found."""
    Path(path).write_text(json.dumps([[*k, v] for k, v in found.items()]), encoding="utf-8")


async def notebooks(paths: list[Path], folder: Path) -> None:
    """Run notebooks side by side and leave their findings in the folder."""
    from nbformat import v4
    from notebooks import execute, read

    free = asyncio.Semaphore(os.cpu_count() or 1)

    async def one(path: Path) -> None:
        async with free:
            notebook = read(path)
            head = (
                f"import sys; sys.path.insert(0, {str(ROOT / 'tools')!r}); import last_digits; "
                f"last_digits.watch_cells(get_ipython(), {path.stem[:12]!r})"
            )
            tail = f"import last_digits; last_digits.report({str(folder / path.stem)!r})"
            notebook.cells.insert(0, v4.new_code_cell(head))
            notebook.cells.append(v4.new_code_cell(tail))
            await execute(notebook, path.parent, timeout=600)
            for cell in notebook.cells:
                for output in cell.get("outputs", []):
                    if output.output_type == "error":
                        print(f"{path.stem}: {output.ename}: {output.evalue}", file=sys.stderr)

    await asyncio.gather(*map(one, paths))


def pytest_configure(config: Any) -> None:
    """Import test modules watched (pytest -p last_digits --assert=plain)."""
    import importlib.abc
    import importlib.machinery
    import importlib.util

    class Loader(importlib.machinery.SourceFileLoader):
        def source_to_code(  # type: ignore[override]
            self, data: Any, path: Any, *, _optimize: int = -1
        ) -> Any:
            source = bytes(data).decode("utf-8")
            tree = Watch(Path(str(path)).name, source).visit(ast.parse(source))
            return compile(tree, str(path), "exec", dont_inherit=True)

        def get_code(self, fullname: str) -> Any:
            path = self.get_filename(fullname)
            return self.source_to_code(self.get_data(path), path)

        def exec_module(self, module: Any) -> None:
            install(vars(module))
            super().exec_module(module)

    class Finder(importlib.abc.MetaPathFinder):
        def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
            file = ROOT / "tests" / f"{name}.py"
            if not file.exists():
                return None
            loader = Loader(name, str(file))
            return importlib.util.spec_from_file_location(name, file, loader=loader)

    sys.meta_path.insert(0, Finder())


def pytest_sessionfinish(session: Any) -> None:
    """Leave the findings where the caller looks."""
    folder = os.environ.get("LAST_DIGITS")
    if folder:
        report(str(Path(folder) / f"tests-{os.getpid()}"))


def main(arguments: list[str] | None = None) -> int:
    """Watch, print what was found, and return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("paths", nargs="*", type=Path, help="notebooks and test modules")
    given = parser.parse_args(arguments).paths
    paths = given or [*sorted((ROOT / "chapters").glob("*.ipynb")), ROOT / "tests"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cells = [path.resolve() for path in paths if path.suffix == ".ipynb"]
        asyncio.run(notebooks(cells, folder))
        tests = [str(path) for path in paths if path.suffix != ".ipynb"]
        if tests:
            command = ["-m", "pytest", "-q", "-n", "auto", "-p", "last_digits", "--assert=plain"]
            slow = ("browser", "build", "studies", "launch")
            command += [f"--ignore=tests/test_{k}.py" for k in slow]
            where = os.environ | {"LAST_DIGITS": name, "PYTHONPATH": str(ROOT / "tools")}
            subprocess.run([sys.executable, *command, *tests], cwd=ROOT, env=where, check=False)
        seen: dict[tuple[str, str], str] = {}
        for file in sorted(folder.iterdir()):
            for place, text, kind in json.loads(file.read_text(encoding="utf-8")):
                seen.setdefault((place, text), kind)
    for (place, text), kind in sorted(seen.items()):
        print(f"{place}  {kind}  {text}")
    print(f"{len(seen)} places hang on a last digit")
    return bool(seen)


if __name__ == "__main__":
    sys.exit(main())
