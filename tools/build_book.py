"""Build the book: execute each notebook once, then make the pages from those runs.

    python tools/build_book.py

A run is kept in ``_build/runs`` as soon as it has finished, and used again only if nothing that it
depends on has changed: the notebook's code, the package, the files beside the chapters, the lock,
what is installed, Python, and the environment that BLAS and NumPy see. A run with a failing cell is
never used again. Failing cells show their traceback on their page; all are listed at the end, and
the exit status is then not zero. With --strict a cell fails, too, that shows another text than its
notebook stores, as nbval compares them.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

import cards
import check_site
import nbformat
import slim
import yaml
from nbformat import NotebookNode
from notebooks import (
    Failure,
    code_cells,
    differences,
    execute_all,
    failures,
    quiet_kernels,
    read,
    write,
)

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "_build"
RUNS = BUILD / "runs"
SOURCE = BUILD / "source"
SITE = BUILD / "html"
#: Run times where none are remembered, as on a fresh clone.
RECORD = ROOT / "tools" / "portable.json"
#: What a computed number may depend on.
ENVIRONMENT = (
    "BLIS_", "GOTO_", "HMMTHEORY_", "LANG", "LC_", "MKL_", "NPY_", "NUMEXPR_", "OMP_", "OPENBLAS_",
    "PYTHON", "TZ", "VECLIB_",
)  # fmt: skip


def documents() -> list[str]:
    """Return the pages that the table of contents names."""
    return check_site.documents(yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8")))


def chapters() -> list[Path]:
    """Return the notebooks of the book, in reading order."""
    found = [ROOT / f"{name}.ipynb" for name in documents()]
    return [path for path in found if path.is_file()]


def shared_state() -> str:
    """Return a digest of everything that all notebooks depend on."""
    digest = hashlib.sha256()
    for path in [*depended_on(), ROOT / "requirements.txt", ROOT / "pyproject.toml"]:
        digest.update(f"{path.relative_to(ROOT).as_posix()}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    installed = sorted(f"{d.metadata['Name']}=={d.version}" for d in distributions())
    variables = sorted(f"{k}={v}" for k, v in os.environ.items() if k.startswith(ENVIRONMENT))
    digest.update(json.dumps([sys.version, platform.machine(), installed, variables, blas()])
                  .encode())  # fmt: skip
    return digest.hexdigest()


def depended_on() -> Iterator[Path]:
    """Yield the files of the package and beside the chapters, and what executes them."""
    for folder in (ROOT / "hmmtheory", ROOT / "chapters"):
        for path in sorted(folder.rglob("*")):
            hidden = any(part.startswith((".", "__pycache__")) for part in path.parts)
            if path.is_file() and path.suffix not in {".ipynb", ".md", ".pyc"} and not hidden:
                yield path
    yield ROOT / "tools" / "notebooks.py"


def blas() -> list[str]:
    """Return the BLAS kernels that run here, as the processor and the environment choose them."""
    probe = (
        "import json, numpy, scipy.linalg, threadpoolctl as t;"
        "keys = 'architecture', 'version', 'num_threads';"
        "print(json.dumps(sorted(' '.join(str(i.get(k)) for k in keys)"
        " for i in t.threadpool_info())))"
    )
    run = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    return [str(line) for line in json.loads(run.stdout)]


def digest_of(notebook: NotebookNode, shared: str) -> str:
    """Return a digest of a notebook's code and of all that it depends on."""
    code = [[cell.source, cell.metadata.get("tags", [])] for cell in code_cells(notebook)]
    return hashlib.sha256(json.dumps([shared, code]).encode()).hexdigest()


def stored(path: Path) -> NotebookNode | None:
    """Return a notebook's last run."""
    run = RUNS / path.name
    try:
        found: NotebookNode = nbformat.read(run, as_version=4)
    except (OSError, ValueError, nbformat.reader.NotJSONError):
        return None
    return found


def remembered_seconds() -> dict[str, float]:
    """Return how long each notebook took, here if it ran here, else where the record was made."""
    seconds: dict[str, float] = {}
    if RECORD.is_file():
        seconds.update(json.loads(RECORD.read_text(encoding="utf-8")).get("seconds", {}))
    for path in chapters():
        run = stored(path)
        if run is not None and "hmmtheory" in run.metadata:
            seconds[path.stem] = run.metadata["hmmtheory"]["seconds"]
    return seconds


def run_notebooks(fresh: bool, workers: int | None, timeout: int) -> list[Failure]:
    """Execute what has no valid run; return every failing cell of the book."""
    RUNS.mkdir(parents=True, exist_ok=True)
    for gone in {path.name for path in RUNS.glob("*.ipynb")} - {path.name for path in chapters()}:
        (RUNS / gone).unlink()
    shared = shared_state()
    wanted = []
    for path in chapters():
        run = None if fresh else stored(path)
        if run is None or run.metadata.hmmtheory.digest != digest_of(read(path), shared):
            wanted.append(path)
    count = len(chapters())
    print(f"{count} notebooks: {count - len(wanted)} unchanged since they ran, "
          f"{len(wanted)} to execute", flush=True)  # fmt: skip
    found: list[Failure] = []

    def done(path: Path, notebook: NotebookNode, took: float) -> None:
        failed = failures(notebook, path.stem)
        found.extend(failed)
        # What changed while it ran may have been used or not.
        valid = not failed and shared_state() == shared
        notebook.metadata["hmmtheory"] = {
            "digest": digest_of(notebook, shared) if valid else "",
            "seconds": round(took, 1),
        }
        write(RUNS / path.name, notebook)
        note = f"  {len(failed)} failing cells" if failed else ""
        print(f"{took:6.1f} s  {path.relative_to(ROOT)}{note}", flush=True)

    asyncio.run(
        execute_all(wanted, done, seconds=remembered_seconds(), workers=workers, timeout=timeout)
    )
    order = [path.stem for path in chapters()]
    return sorted(found, key=lambda failure: (order.index(failure.chapter), failure.cell))


def compare_runs() -> list[Failure]:
    """Return the cells of all runs whose texts are not those that the notebooks store."""
    found: list[Failure] = []
    for path in chapters():
        run = stored(path)
        assert run is not None
        found += differences(read(path), run, path.stem)
    return found


def stage() -> None:
    """Make the folder that Jupyter Book reads: the pages, with the outputs of the runs."""
    shutil.rmtree(SOURCE, ignore_errors=True)
    ignore = shutil.ignore_patterns(".*", "__pycache__", "*.pyc", "*.parts")
    shutil.copytree(ROOT / "chapters", SOURCE / "chapters", ignore=ignore)
    for name in ("index.md", "_config.yml", "_toc.yml"):
        shutil.copy2(ROOT / name, SOURCE / name)
    for path in chapters():
        notebook, run = read(path), stored(path)
        assert run is not None
        for cell, executed in zip(code_cells(notebook), code_cells(run), strict=True):
            cell.outputs = executed.outputs
        write(SOURCE / path.relative_to(ROOT), notebook)


def build_pages() -> int:
    """Run Jupyter Book over the staged folder; return its exit status."""
    # An incremental build after one with warnings would call the site good.
    for left in (SITE, BUILD / ".doctrees"):
        shutil.rmtree(left, ignore_errors=True)
    start = "from jupyter_book.cli.main import main; main()"
    command = [sys.executable, "-c", start, "build", str(SOURCE)]
    command += ["--path-output", str(ROOT), "--config", str(ROOT / "_config.yml")]
    return subprocess.run([*command, "-W", "-n", "--keep-going"], cwd=ROOT, check=False).returncode


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--fresh", action="store_true", help="execute every notebook again")
    parser.add_argument("--workers", type=int, help="how many run at a time")
    parser.add_argument("--timeout", type=int, default=300, help="seconds per cell")
    parser.add_argument("--record", action="store_true", help="run times into tools/portable.json")
    parser.add_argument("--strict", action="store_true", help="texts must be the stored ones")
    options = parser.parse_args(arguments)
    quiet_kernels()
    failed = run_notebooks(options.fresh, options.workers, options.timeout)
    if options.strict:
        failed += compare_runs()
    if options.record:
        record = json.loads(RECORD.read_text(encoding="utf-8"))
        record["seconds"] = remembered_seconds()
        RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    stage()
    status = build_pages()
    slim.slim(SITE)
    cards.write(SITE)
    status = check_site.main([str(SITE), "--toc", str(ROOT / "_toc.yml")]) or status
    if failed:
        print(f"\n{len(failed)} failing cells; one that raised shows its traceback on its page:")
        for failure in failed:
            print(f"  {failure}")
    if failed or status:
        return 1
    print(f"The book is at {SITE.relative_to(ROOT)}/index.html")
    return 0


if __name__ == "__main__":
    sys.exit(main())
