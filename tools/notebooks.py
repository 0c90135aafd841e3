"""Execute notebooks side by side, and store them normalised.

    python tools/notebooks.py chapters/*.ipynb

What is stored depends on the notebook and on its results alone: no timings, no kernel or machine
details, stable cell ids, execution counts 1..n. An output that did not change keeps its bytes: a
picture whose pixels are the same, a text that nbval takes for the same. A notebook is rewritten
only if no cell raised; a cell that raises or writes to stderr makes the exit status non-zero.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from configparser import ConfigParser
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
from nbclient import NotebookClient
from nbclient.exceptions import DeadKernelError
from nbformat import NotebookNode
from PIL import Image

KERNELSPEC = {"display_name": "Python 3", "language": "python", "name": "python3"}
LANGUAGE = {"name": "python", "pygments_lexer": "ipython3"}
NOISY_NOTEBOOK_METADATA = ("widgets", "jupytext", "papermill", "vscode", "toc", "colab")
NOISY_CELL_METADATA = ("execution", "ExecuteTime", "papermill", "collapsed", "scrolled", "vscode")
SANITIZE = Path(__file__).resolve().parents[1] / "tests" / "nbval_sanitize.cfg"
#: Of 255: what another rounding does to an antialiased edge, and no change of a figure would.
SAME_COLOUR = 3


@dataclass(frozen=True)
class Failure:
    """A cell that failed: its chapter, its number among the code cells (from 1), and why."""

    chapter: str
    cell: int
    error: str

    def __str__(self) -> str:
        """Return one line."""
        return f"{self.chapter}  cell [{self.cell}]  {self.error}"


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """Return the cells that a kernel executes."""
    return [c for c in notebook.cells if c.cell_type == "code" and c.source.strip()]


def normalise(notebook: NotebookNode) -> NotebookNode:
    """Remove from a notebook, in place, what depends on the machine or on the moment."""
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for key in NOISY_NOTEBOOK_METADATA:
        notebook.metadata.pop(key, None)
    notebook.metadata["kernelspec"] = dict(KERNELSPEC)
    notebook.metadata["language_info"] = dict(LANGUAGE)

    taken: set[str] = set()
    count = 0
    for position, cell in enumerate(notebook.cells, start=1):
        if not cell.get("id") or cell["id"] in taken:
            cell["id"] = next(
                name
                for name in (f"cell-{position:03d}{suffix}" for suffix in ("", *"abcdefgh"))
                if name not in taken
            )
        taken.add(cell["id"])
        for key in NOISY_CELL_METADATA:
            cell.metadata.pop(key, None)
        if cell.cell_type != "code":
            continue
        if cell.source.strip():
            count += 1
            cell["execution_count"] = count
        else:
            cell["execution_count"] = None
        for output in cell.outputs:
            output.pop("transient", None)
            if output.output_type == "execute_result":
                output["execution_count"] = cell["execution_count"]
    return notebook


def read(path: Path) -> NotebookNode:
    """Read a notebook as format 4.5, where cells have ids, and name cells that lack one."""
    notebook = nbformat.reads(path.read_text(encoding="utf-8"), as_version=nbformat.NO_CONVERT)
    if (notebook.nbformat, notebook.nbformat_minor) < (4, 5):
        # Without ids of its own, a cell is named by its place (nbformat would draw one at random).
        notebook = nbformat.convert(notebook, 4)
        for cell in notebook.cells:
            cell.pop("id", None)
    return normalise(notebook)


def write(path: Path, notebook: NotebookNode) -> None:
    """Write the notebook to its path in one step, so that no reader sees half a file."""
    nbformat.validate(notebook)
    text = nbformat.writes(notebook).rstrip("\n") + "\n"
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        os.chmod(name, mode)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


async def execute(notebook: NotebookNode, folder: Path, timeout: int) -> float:
    """Execute every cell in place, those after a failing one too; return the seconds it took."""
    cells = notebook.cells
    for cell in cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    current = 0

    def remember(cell_index: int, **_: Any) -> None:
        nonlocal current
        current = cell_index

    reason = {"ename": "TimeoutError", "evalue": f"no end after {timeout} s", "traceback": []}
    client = NotebookClient(
        notebook,
        timeout=timeout,
        kernel_name="python3",
        allow_errors=True,
        interrupt_on_timeout=True,
        error_on_timeout=reason,
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
        coalesce_streams=True,
        extra_arguments=["--log-level=ERROR"],
        on_cell_execute=remember,
    )
    start = time.perf_counter()
    try:
        await client.async_execute()
    except DeadKernelError:
        for cell in cells[current:]:
            if cell.cell_type == "code" and cell.source.strip():
                died = "the kernel died" + ("" if cell is cells[current] else " before this cell")
                cell.outputs.append(
                    nbformat.v4.new_output(
                        "error", ename="DeadKernelError", evalue=died, traceback=[died]
                    )
                )
    return time.perf_counter() - start


def failures(notebook: NotebookNode, chapter: str) -> list[Failure]:
    """Return every cell that raised, unless it is tagged to, or that wrote to stderr."""
    found = []
    for number, cell in enumerate(code_cells(notebook), start=1):
        for output in cell.outputs:
            if output.output_type == "error" and "raises-exception" not in cell.metadata.get(
                "tags", []
            ):
                said = str(output.evalue).strip().partition("\n")[0]
                found.append(Failure(chapter, number, f"{output.ename}: {said}".rstrip(": ")))
            elif output.output_type == "stream" and output.name == "stderr":
                said = output.text.strip().partition("\n")[0]
                found.append(Failure(chapter, number, f"writes to stderr: {said}"))
    return found


async def execute_all(
    paths: Sequence[Path],
    done: Callable[[Path, NotebookNode, float], None],
    *,
    seconds: Mapping[str, float] | None = None,
    workers: int | None = None,
    timeout: int = 300,
) -> None:
    """Execute notebooks side by side, longest first, and hand over each as soon as it has run.

    Parameters
    ----------
    paths : sequence of Path
        The notebooks; each runs in its own folder and is not written to.
    done : callable
        Takes the path, the executed notebook and its seconds.
    seconds : mapping, optional
        How long each took before, by the name of its file without suffix. Unknown ones go first.
    workers : int, optional
        How many run at a time; as many as this process has cores.
    timeout : int
        Seconds that one cell may take.
    """
    known = seconds or {}
    free = asyncio.Semaphore(workers or cores())

    async def one(path: Path) -> None:
        async with free:
            notebook = read(path)
            took = await execute(notebook, path.parent, timeout)
            done(path, normalise(notebook), took)

    ordered = sorted(paths, key=lambda path: -known.get(path.stem, float("inf")))
    async with asyncio.TaskGroup() as group:
        for path in ordered:
            group.create_task(one(path))


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def keep_unchanged(old: NotebookNode, new: NotebookNode) -> None:
    """Give an output of `new` the bytes that it has in `old`, in place, where it is the same."""
    before = {cell["id"]: cell for cell in old.cells if cell.cell_type == "code"}
    rules = sanitizers()
    for cell in new.cells:
        if cell.cell_type != "code" or cell["id"] not in before:
            continue
        for was, now in zip(before[cell["id"]].outputs, cell.outputs, strict=False):
            if was.output_type != now.output_type:
                continue
            if "text" in now and "text" in was:
                now["text"] = kept(was["text"], now["text"], rules)
            for kind in set(was.get("data", {})) & set(now.get("data", {})):
                if kind.endswith("image/png"):
                    if same_picture(was.data[kind], now.data[kind]):
                        now.data[kind] = was.data[kind]
                elif isinstance(now.data[kind], str) and isinstance(was.data[kind], str):
                    now.data[kind] = kept(was.data[kind], now.data[kind], rules)


def sanitizers() -> list[tuple[re.Pattern[str], str]]:
    """Return what nbval masks before it compares."""
    parser = ConfigParser(interpolation=None)
    parser.read(SANITIZE, encoding="utf-8")
    return [(re.compile(rule["regex"]), rule["replace"]) for rule in
            (parser[name] for name in parser.sections())]  # fmt: skip


def masked(text: str, rules: Sequence[tuple[re.Pattern[str], str]]) -> str:
    """Return a text as nbval compares it."""
    for pattern, replacement in rules:
        text = pattern.sub(replacement, text)
    return text


def kept(was: str, now: str, rules: Sequence[tuple[re.Pattern[str], str]]) -> str:
    """Return the stored text where nbval would not see a difference."""
    return was if masked(was, rules) == masked(now, rules) else now


def differences(stored: NotebookNode, run: NotebookNode, chapter: str) -> list[Failure]:
    """Return the cells whose run shows other texts than are stored, as nbval compares them."""
    rules = sanitizers()

    def texts(cell: NotebookNode) -> list[str]:
        found = []
        for output in cell.outputs:
            data = {kind: str(value) for kind, value in output.get("data", {}).items()
                    if not kind.endswith("image/png")}  # fmt: skip
            data["text"] = output.get("text", "")
            found += [f"{kind}: {masked(data[kind], rules)}" for kind in sorted(data)]
        return found

    pairs = zip(code_cells(stored), code_cells(run), strict=True)
    return [
        Failure(chapter, number, "shows another text than is stored")
        for number, (was, now) in enumerate(pairs, start=1)
        if texts(was) != texts(now)
    ]


def same_picture(was: str, now: str) -> bool:
    """Say whether two PNGs show the same pixels."""
    if was == now:
        return True
    try:
        one, other = (
            np.asarray(Image.open(io.BytesIO(base64.b64decode(png))).convert("RGBA"), dtype=int)
            for png in (was, now)
        )
    except (ValueError, OSError):
        return False
    return one.shape == other.shape and int(np.abs(one - other).max()) <= SAME_COLOUR


def quiet_kernels() -> None:
    """Set what kernels inherit: figures inline, no warning of the debugger, one BLAS thread."""
    os.environ.pop("MPLBACKEND", None)
    os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(name, "1")


def excerpts(notebook: NotebookNode) -> Iterator[str]:
    """Yield the traceback of each failing cell."""
    for cell in code_cells(notebook):
        for output in cell.outputs:
            if output.output_type == "error":
                yield "\n".join(output.traceback)
            elif output.output_type == "stream" and output.name == "stderr":
                yield output.text


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("notebooks", nargs="*", type=Path)
    parser.add_argument("--timeout", type=int, default=300, help="seconds per cell")
    parser.add_argument("--workers", type=int, help="how many run at a time")
    options = parser.parse_args(arguments)
    quiet_kernels()
    problems: list[Failure] = []

    def done(path: Path, notebook: NotebookNode, took: float) -> None:
        found = failures(notebook, path.stem)
        problems.extend(found)
        raised = any("writes to stderr" not in failure.error for failure in found)
        for excerpt in excerpts(notebook) if found else ():
            print(excerpt, file=sys.stderr)
        if not raised:
            keep_unchanged(read(path), notebook)
            write(path, notebook)
        note = ", left as it was: a cell raised" if raised else ""
        print(f"{took:6.1f} s  {path}{note}", flush=True)

    asyncio.run(
        execute_all(options.notebooks, done, workers=options.workers, timeout=options.timeout)
    )
    for failure in problems:
        print(failure, file=sys.stderr)
    print(f"{len(options.notebooks)} notebooks, {len(problems)} failing cells")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
