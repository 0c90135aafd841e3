"""Execute notebooks in place and store them normalised.

    python tools/notebooks.py chapters/*.ipynb

What is stored depends on the notebook and on its results alone: no timings, no kernel or machine
details, stable cell ids, execution counts 1..n. A notebook is rewritten only after all its cells
ran; a cell that raises or that writes to stderr makes the exit status non-zero.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

KERNELSPEC = {"display_name": "Python 3", "language": "python", "name": "python3"}
LANGUAGE = {"name": "python", "pygments_lexer": "ipython3"}
NOISY_NOTEBOOK_METADATA = ("widgets", "jupytext", "papermill", "vscode", "toc", "colab")
NOISY_CELL_METADATA = ("execution", "ExecuteTime", "papermill", "collapsed", "scrolled", "vscode")


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


def upgrade(notebook: NotebookNode) -> NotebookNode:
    """Convert an older format to 4.5, where cells have ids, and name cells that lack one."""
    if (notebook.nbformat, notebook.nbformat_minor) < (4, 5):
        # Without ids of its own, a cell is named by its place (nbformat would draw one at random).
        notebook = nbformat.convert(notebook, 4)
        for cell in notebook.cells:
            cell.pop("id", None)
    return normalise(notebook)


def execute(path: Path, timeout: int) -> list[str]:
    """Execute one notebook in its own folder, rewrite it, and return what is wrong with it."""
    notebook = nbformat.reads(path.read_text(encoding="utf-8"), as_version=nbformat.NO_CONVERT)
    notebook = upgrade(notebook)
    client = NotebookClient(
        notebook,
        timeout=timeout,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        record_timing=False,
        coalesce_streams=True,
        extra_arguments=["--log-level=ERROR"],
    )
    try:
        client.execute()
    except CellExecutionError as error:
        return [f"{path}: a cell raised; the file is left as it was\n{error}"]
    write(path, normalise(notebook))
    return [
        f"{path}: cell {position} writes to stderr:\n{output.text}"
        for position, cell in enumerate(notebook.cells, start=1)
        for output in cell.get("outputs", [])
        if output.output_type == "stream" and output.name == "stderr"
    ]


def write(path: Path, notebook: NotebookNode) -> None:
    """Write the notebook to its path in one step, so that no reader sees half a file."""
    nbformat.validate(notebook)
    text = nbformat.writes(notebook).rstrip("\n") + "\n"
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        os.chmod(name, path.stat().st_mode & 0o777)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("notebooks", nargs="*", type=Path)
    parser.add_argument("--timeout", type=int, default=300, help="seconds per cell")
    options = parser.parse_args(arguments)

    # The kernel draws figures with its inline backend, whatever the caller's shell asks for.
    os.environ.pop("MPLBACKEND", None)
    os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"

    failures = 0
    for path in options.notebooks:
        print(f"executing {path}", flush=True)
        problems = execute(path, options.timeout)
        failures += bool(problems)
        for problem in problems:
            print(problem, file=sys.stderr, flush=True)
    print(f"{len(options.notebooks)} notebooks, {failures} with problems")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
