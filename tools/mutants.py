"""Change the package in small ways, and see whether its tests notice.

    python tools/mutants.py [--count N] [--seed K] [--only MODULE] [--jobs J] [--json FILE]

A mutant is one change of one module: an operator or comparison turned, a constant changed, a term
dropped, two arguments swapped, a condition negated. Every module has some, drawn by a seed.
First each test says, once, which functions it enters; then the tests that enter a mutant's function
run on it, the fastest file first, until one fails. A mutant lives in the memory of a forked
process and never in a file. What is known is kept in .venv/mutants, so that an interrupted run
goes on. Mutants that no test can tell from the package are explained in
tools/mutants_equivalent.txt. Drawing code, messages and annotations are not mutated.
Prints the survivors; the exit status is non-zero if fewer than 95 % of the others are killed.
"""

from __future__ import annotations

import argparse
import ast
import copy
import hashlib
import importlib.abc
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
import zlib
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "hmmtheory"
CACHE = ROOT / ".venv" / "mutants"
EQUIVALENT = ROOT / "tools" / "mutants_equivalent.txt"
#: Seconds for one mutant; what runs longer hangs, and is killed.
PATIENCE = 150
#: Tests that look at no number of the package, or start processes of their own.
OTHER = (
    "browser", "build", "edit", "explorer", "fuzz", "last_digits", "launch", "mutants",
    "notebooks", "pages", "release", "rooms",
)  # fmt: skip
#: Functions and modules that draw or print.
DRAWING = {"plotting", "practice._picture", "practice.report", "__main__", "practice.__init__"}
DRAWS = ("plot", "__repr__", "__str__", "to_frame")

ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.Mod: ast.Add,
}  # fmt: skip
COMPARISON: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.GtE, ast.LtE: ast.Gt, ast.Gt: ast.LtE, ast.GtE: ast.Lt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
STRICT: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One change: where it is, of which kind, and how its line reads before and after."""

    module: str
    function: str
    line: int
    kind: str
    before: str
    after: str
    site: int

    @property
    def key(self) -> str:
        """What names it where line numbers shift."""
        return f"{self.module}:{self.function}: {self.before} -> {self.after}"


def modules(package: Path = PACKAGE) -> dict[str, Path]:
    """Return the files of the package by module name, without the lists of names."""
    return {
        ".".join(file.relative_to(package).with_suffix("").parts): file
        for file in sorted(package.rglob("*.py"))
        if file.name != "__init__.py"
    }


def changes(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Yield what a node may become, with the kind of the change."""
    if isinstance(node, ast.BinOp):
        if type(node.op) in ARITHMETIC:
            yield "operator", ast.BinOp(node.left, ARITHMETIC[type(node.op)](), node.right)
            yield "dropped term", node.left
        if isinstance(node.op, ast.Add | ast.Sub):
            yield "dropped term", node.right
    elif isinstance(node, ast.Compare) and len(node.ops) == 1:
        for kind, table in (("comparison", COMPARISON), ("strictness", STRICT)):
            if type(node.ops[0]) in table:
                turned = table[type(node.ops[0])]()
                yield kind, ast.Compare(node.left, [turned], node.comparators)
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float, bool):
        yield "constant", ast.Constant(other(node.value))
    elif isinstance(node, ast.Call) and len(node.args) > 1:
        one, two, *more = node.args
        starred = isinstance(one, ast.Starred) or isinstance(two, ast.Starred)
        if not starred and ast.dump(one) != ast.dump(two):
            yield "swapped arguments", ast.Call(node.func, [two, one, *more], node.keywords)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not):
        yield "negation", node.operand
    elif isinstance(node, ast.BoolOp):
        turned_to = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield "operator", ast.BoolOp(turned_to, node.values)
    elif isinstance(node, ast.IfExp):
        yield "negation", ast.IfExp(node.test, node.orelse, node.body)


def other(value: Any) -> Any:
    """Return another constant: one that matters, since a tolerance hardly does when doubled."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    return 1.0 if value == 0 or not 1e-4 < abs(value) < 1e4 else 2.0 * value


class Sites(ast.NodeTransformer):
    """Walk a module in a fixed order; list its mutants, or make one of them."""

    def __init__(self, module: str, make: int | None = None) -> None:
        self.module, self.make = module, make
        self.found: list[Mutant] = []
        self.names: list[str] = []
        self.quiet = 0

    def visit(self, node: ast.AST) -> Any:
        """List a node's mutants, or change it, and go on with what is under it."""
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            return self.visit_named(node)
        if isinstance(
            node, ast.Raise | ast.JoinedStr | ast.AnnAssign | ast.Import | ast.ImportFrom
        ):
            if not (isinstance(node, ast.AnnAssign) and node.value):
                return node
            node.value = self.visit(node.value)
            return node
        if self.is_hidden(node):
            return node
        if not self.quiet:
            for kind, changed in changes(node):
                found = Mutant(
                    self.module, ".".join(self.names) or "module", getattr(node, "lineno", 0),
                    kind, ast.unparse(node), ast.unparse(ast.fix_missing_locations(changed)),
                    len(self.found),
                )  # fmt: skip
                self.found.append(found)
                if found.site == self.make:
                    return ast.copy_location(copy.deepcopy(changed), node)
        return self.generic_visit(node)

    def visit_named(self, node: ast.FunctionDef | ast.ClassDef) -> ast.AST:
        """Go into a function or class, past its decorators, annotations and docstring."""
        draws = isinstance(node, ast.FunctionDef) and node.name in DRAWS
        self.names.append(node.name)
        self.quiet += draws
        if isinstance(node, ast.FunctionDef):
            node.args.defaults = [self.visit(value) for value in node.args.defaults]
        node.body = [self.visit(child) for child in node.body]
        self.quiet -= draws
        self.names.pop()
        return node

    @staticmethod
    def is_hidden(node: ast.AST) -> bool:
        """Whether a node says something and computes nothing."""
        if isinstance(node, ast.Raise | ast.JoinedStr | ast.Import | ast.ImportFrom):
            return True
        if isinstance(node, ast.If):
            return ast.unparse(node.test) == "TYPE_CHECKING"
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            return ast.unparse(node.value.func) in ("warnings.warn", "warn_caller")
        return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def mutants(module: str, source: str) -> list[Mutant]:
    """Return all mutants of a module."""
    walker = Sites(module)
    walker.visit(ast.parse(source))
    return walker.found


def mutated(module: str, source: str, site: int) -> ast.AST:
    """Return the tree of a module with one change."""
    tree = Sites(module, site).visit(ast.parse(source))
    changed: ast.AST = ast.fix_missing_locations(tree)
    return changed


def sample(count: int, seed: int) -> list[Mutant]:
    """Return some mutants of every module, more of a long one, all kinds alike."""
    pools = {
        name: mutants(name, file.read_text("utf-8"))
        for name, file in modules().items()
        if name not in DRAWING
    }
    total = sum(len(pool) ** 0.5 for pool in pools.values())
    chosen: list[Mutant] = []
    for name, pool in sorted(pools.items()):
        rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
        by_kind: dict[str, list[Mutant]] = defaultdict(list)
        for k in rng.permutation(len(pool)):
            by_kind[pool[k].kind].append(pool[k])
        wanted = max(min(2, len(pool)), round(count * len(pool) ** 0.5 / max(total, 1)))
        kinds = sorted(by_kind)
        for turn in range(wanted * len(kinds)):
            if wanted and by_kind[kinds[turn % len(kinds)]]:
                chosen.append(by_kind[kinds[turn % len(kinds)]].pop())
                wanted -= 1
    return chosen


def equivalents(file: Path = EQUIVALENT) -> dict[str, str]:
    """Return why each mutant of the file can't be told from the package."""
    found = {}
    for line in file.read_text("utf-8").splitlines() if file.is_file() else []:
        if line.strip() and not line.startswith("#"):
            key, _, reason = line.partition("  # ")
            found[key.strip()] = reason.strip()
    return found


# What follows runs in processes of its own.


class Entered:
    """A plugin of pytest: which functions of the package each test enters, and its seconds."""

    def __init__(self) -> None:
        self.seen: set[CodeType] = set()
        self.tests: dict[str, dict[str, Any]] = {}

    def trace(self, frame: FrameType, event: str, argument: Any) -> None:
        """Note a function that is entered."""
        self.seen.add(frame.f_code)

    def pytest_runtest_protocol(self, item: Any) -> None:
        """Begin with a test."""
        self.seen.clear()
        self.start = time.perf_counter()
        sys.settrace(self.trace)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """End with it."""
        sys.settrace(None)
        inside = {
            f"{Path(code.co_filename).relative_to(PACKAGE)}:{code.co_qualname}"
            for code in self.seen
            if code.co_filename.startswith(str(PACKAGE))
        }
        if inside:
            seconds = time.perf_counter() - self.start
            self.tests[nodeid] = {"seconds": round(seconds, 3), "functions": sorted(inside)}

    def pytest_sessionfinish(self) -> None:
        """Write what was seen, each worker for itself."""
        name = os.environ.get("PYTEST_XDIST_WORKER", "main")
        (CACHE / f"entered-{name}.json").write_text(json.dumps(self.tests), "utf-8")


def pytest_configure(config: Any) -> None:
    """Register the plugin where pytest loads this file as one."""
    config.pluginmanager.register(Entered())


def variables() -> dict[str, str]:
    """Return an environment for tests: one thread each, no cache of their own."""
    path = os.pathsep.join([str(ROOT / "tools"), str(ROOT)])
    # A run of pytest around this one would lend its workers' names.
    outer = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    return {**outer, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": path, "MPLBACKEND": "agg"}


def paths() -> list[str]:
    """Return the tests that may notice."""
    files = [file for file in sorted((ROOT / "tests").glob("test_*.py"))
             if file.stem.removeprefix("test_") not in OTHER]  # fmt: skip
    return ["hmmtheory", *(file.relative_to(ROOT).as_posix() for file in files)]


def entered(jobs: int) -> dict[str, dict[str, Any]]:
    """Return what each test enters; a file of tests is asked again when it has changed."""
    states = {path: state_of(ROOT / path) for path in paths()}
    store = CACHE / "entered.json"
    known = json.loads(store.read_text("utf-8")) if store.is_file() else {}
    stale = [path for path in states if known.get(path, {}).get("state") != states[path]]
    if stale:
        CACHE.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "mutants", "-p", "no:cacheprovider",
                   "-n", str(jobs), "--dist=loadscope", *stale]  # fmt: skip
        said = subprocess.run(command, cwd=ROOT, env=variables(), stdout=subprocess.PIPE, text=True)
        if said.returncode:
            sys.exit(f"Tests must pass before mutants can be told apart:\n{said.stdout[-4000:]}")
        known |= {path: {"state": states[path], "tests": {}} for path in stale}
        for file in CACHE.glob("entered-*.json"):
            for nodeid, test in json.loads(file.read_text("utf-8")).items():
                path = nodeid.partition("::")[0]
                known["hmmtheory" if path.startswith("hmmtheory") else path]["tests"][nodeid] = test
            file.unlink()
        store.write_text(json.dumps(known), "utf-8")
    return {nodeid: test for path in states for nodeid, test in known[path]["tests"].items()}


def state_of(path: Path) -> str:
    """Return what changes with a file of tests, or with the examples in docstrings."""
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
    lines = [line for file in files for line in file.read_text("utf-8").splitlines()]
    if path.is_dir():
        lines = [line for line in lines if line.strip().startswith((">>>", "..."))]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def cached(source: str) -> set[str]:
    """Return the functions whose results are kept, so that only the first test enters them."""
    return {
        node.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef)
        and any("cache" in ast.unparse(decorator) for decorator in node.decorator_list)
    }


def covering(mutant: Mutant, tests: dict[str, dict[str, Any]], source: str) -> list[list[str]]:
    """Return the tests that enter a mutant's function, by file, the fastest file first.

    Of a function whose results are kept, and of what runs at import, the tests of its module.
    """
    file = f"{mutant.module.replace('.', '/')}.py:"
    at_import = mutant.function == "module" or "." not in mutant.function
    anywhere = mutant.function == "module" or not cached(source).isdisjoint(
        mutant.function.split(".")
    )
    found: dict[str, list[str]] = defaultdict(list)
    seconds: dict[str, float] = defaultdict(float)
    for nodeid, test in tests.items():
        names = [name.removeprefix(file) for name in test["functions"] if name.startswith(file)]
        inside = any(
            name.replace(".<locals>", "").startswith(mutant.function) for name in names
        ) or (names and anywhere)
        if inside or (at_import and mutant.function[:1].isupper() and names):
            found[nodeid.partition("::")[0]].append(nodeid)
            seconds[nodeid.partition("::")[0]] += test["seconds"]
    return [found[name] for name in sorted(found, key=lambda name: seconds[name])]


class Loader(importlib.abc.Loader, importlib.abc.MetaPathFinder):
    """Import one module of the package from a changed tree."""

    def __init__(self, module: str, tree: ast.AST, package: str = "hmmtheory") -> None:
        self.name, self.tree = f"{package}.{module}", tree
        self.file = PACKAGE.parent / package / f"{module.replace('.', '/')}.py"

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Find the one module."""
        if name != self.name:
            return None
        return importlib.util.spec_from_file_location(name, self.file, loader=self)

    def create_module(self, spec: Any) -> None:
        """Leave it to Python."""

    def exec_module(self, module: Any) -> None:
        """Run the changed code."""
        tree: Any = self.tree
        exec(compile(tree, str(self.file), "exec"), module.__dict__)


def child(mutant: Mutant, source: str, groups: list[list[str]]) -> int:
    """Run tests on a mutant until one fails; return 1 if one did."""
    import pytest

    sys.meta_path.insert(0, Loader(mutant.module, mutated(mutant.module, source, mutant.site)))
    # Before pytest has an importer of its own for modules with doctests.
    importlib.import_module(f"hmmtheory.{mutant.module}")
    for group in groups:
        command = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", *group]
        code = pytest.main(command)
        if code != 0:
            return 1
    return 0


def server() -> None:
    """Fork a process for each mutant that comes in by a line, and answer by a line."""
    import hypothesis  # noqa: F401 - loaded once for all children
    import matplotlib.pyplot  # noqa: F401
    import mpmath  # noqa: F401
    import pandas  # noqa: F401
    import pyarrow.parquet  # noqa: F401
    import pytest  # noqa: F401
    import scipy.optimize
    import scipy.stats  # noqa: F401
    import sklearn.linear_model  # noqa: F401

    out = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        task = json.loads(line)
        start = time.perf_counter()
        pid = os.fork()
        if pid == 0:
            os.setsid()
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.dup2(null, 2)
            code = 1
            try:
                code = child(Mutant(**task["mutant"]), task["source"], task["groups"])
            finally:
                os._exit(code)
        answer = "hangs"
        while time.perf_counter() - start < PATIENCE:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                answer = "killed" if status else "survived"
                break
            time.sleep(0.02)
        else:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        print(json.dumps([answer, round(time.perf_counter() - start, 1)]), file=out, flush=True)


def results(found: list[Mutant], jobs: int) -> dict[str, str]:
    """Return what became of each mutant, from the cache or by running its tests."""
    tests = entered(jobs)
    CACHE.mkdir(parents=True, exist_ok=True)
    store = CACHE / "results.json"
    known: dict[str, str] = json.loads(store.read_text("utf-8")) if store.is_file() else {}
    servers: list[subprocess.Popen[str]] = []
    answers: dict[str, str] = {}
    free: list[subprocess.Popen[str]] = []

    # As they are now: a file that is edited meanwhile changes nothing.
    sources = {name: file.read_text("utf-8") for name, file in modules().items()}

    def names_of(mutant: Mutant, groups: list[list[str]]) -> tuple[str, str]:
        # What is killed stays killed while its module does; a survivor while its tests do too.
        text = sources[mutant.module].encode()
        name = f"{mutant.key} #{mutant.site} {hashlib.sha256(text).hexdigest()[:16]}"
        used = sorted({group[0].partition("::")[0] for group in groups})
        text += b"".join((ROOT / file).read_bytes() for file in used)
        return name, f"{name} {hashlib.sha256(text).hexdigest()[:16]}"

    def one(mutant: Mutant) -> None:
        groups = covering(mutant, tests, sources[mutant.module])
        name, whole = names_of(mutant, groups)
        if name not in known and whole not in known:
            ours = free.pop()
            task = {"mutant": vars(mutant), "source": sources[mutant.module], "groups": groups}
            assert ours.stdin is not None
            assert ours.stdout is not None
            ours.stdin.write(json.dumps(task) + "\n")
            ours.stdin.flush()
            answer, seconds = json.loads(ours.stdout.readline())
            free.append(ours)
            known[whole if answer == "survived" else name] = answer
            print(f"{answer:9} {seconds:6.1f} s  {mutant.key}"[:150], flush=True)
            store.write_text(json.dumps(known), "utf-8")
        answers[f"{mutant.key} #{mutant.site}"] = known.get(name) or known[whole]

    try:
        for _ in range(jobs):
            command = [sys.executable, str(Path(__file__).resolve()), "--server"]
            servers.append(
                subprocess.Popen(command, cwd=ROOT, env=variables(), text=True,
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            )  # fmt: skip
        free.extend(servers)
        with ThreadPoolExecutor(jobs) as pool:
            list(pool.map(one, found))
    finally:
        for process in servers:
            process.kill()
    return answers


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=240, help="mutants in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", help="one module, or several")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=Path, help="where to store the score")
    parser.add_argument("--server", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.server:
        server()
        return 0
    found = [m for m in sample(options.count, options.seed)
             if not options.only or m.module in options.only]  # fmt: skip
    answers, reasons = results(found, options.jobs), equivalents()
    table: dict[str, dict[str, int]] = {}
    survivors = []
    for mutant in found:
        row = table.setdefault(
            mutant.module, {"mutants": 0, "killed": 0, "equivalent": 0, "survived": 0}
        )
        row["mutants"] += 1
        if answers[f"{mutant.key} #{mutant.site}"] != "survived":
            row["killed"] += 1
        elif mutant.key in reasons:
            row["equivalent"] += 1
        else:
            row["survived"] += 1
            survivors.append(mutant)
    for name, row in table.items():
        print(f"{name:28}" + "".join(f"{value:6} {key}" for key, value in row.items()))
    for mutant in survivors:
        print(f"line {mutant.line:4}  {mutant.kind:18} {mutant.key}")
    total = {key: sum(row[key] for row in table.values()) for key in next(iter(table.values()))}
    print(total)
    if options.json:
        rows = [{"module": name, **row} for name, row in table.items()]
        record = {"total": total | {"seed": options.seed}, "modules": rows}
        options.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return int(total["killed"] < 0.95 * (total["mutants"] - total["equivalent"]))


if __name__ == "__main__":
    sys.exit(main())
