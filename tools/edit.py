"""Open a chapter as text and put it back, with ids and outputs kept.

    python tools/edit.py 05            # in $VISUAL or $EDITOR
    python tools/edit.py 05 --to FILE  # only write the text
    python tools/edit.py 05 --from FILE

A cell begins with a line ``%% code ID {metadata}`` or ``%% markdown ID {metadata}``; a new cell
needs no id. A code cell whose source has changed loses its output: run ``make notebooks`` after.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from notebooks import read, write

CHAPTERS = Path(__file__).resolve().parents[1] / "chapters"
HEAD = re.compile(r"^%% (code|markdown)(?: ([\w-]+))?(?: (\{.*\}))?$")


def find(number: str) -> Path:
    """Return the chapter with this number, or of this path."""
    if Path(number).is_file():
        return Path(number)
    found = sorted(CHAPTERS.glob(f"{number.zfill(2)}_*.ipynb"))
    if len(found) != 1:
        raise SystemExit(f"CH must be the number of a chapter; got {number!r}")
    return found[0]


def as_text(notebook: NotebookNode) -> str:
    """Return the cells as text."""
    parts = []
    for cell in notebook.cells:
        metadata = json.dumps(dict(cell.metadata), ensure_ascii=False) if cell.metadata else ""
        parts.append(f"%% {cell.cell_type} {cell.id} {metadata}".rstrip() + f"\n{cell.source}\n")
    return "\n".join(parts)


def from_text(text: str, old: NotebookNode) -> NotebookNode:
    """Return the notebook that the text describes; what did not change keeps its output."""
    known = {cell.id: cell for cell in old.cells}
    cells: list[NotebookNode] = []
    sources: list[list[str]] = []
    seen: set[str] = set()
    for number, line in enumerate(text.splitlines(), 1):
        head = HEAD.match(line)
        if head is None:
            if line.startswith("%% "):
                raise ValueError(f"line {number} must be '%% code' or '%% markdown'; got {line!r}")
            if not sources and line.strip():
                raise ValueError(f"line {number} must begin a cell; got {line!r}")
            if sources:
                sources[-1].append(line)
            continue
        kind, name, metadata = head.groups()
        name = uuid.uuid4().hex[:8] if name is None or name in seen else name
        seen.add(name)
        new = nbformat.v4.new_code_cell() if kind == "code" else nbformat.v4.new_markdown_cell()
        new.id, new.metadata = name, nbformat.from_dict(json.loads(metadata or "{}"))
        cells.append(new)
        sources.append([])
    for cell, lines in zip(cells, sources, strict=True):
        cell.source = "\n".join(lines).strip("\n")
        was = known.get(cell.id)
        if was is None or was.cell_type != cell.cell_type or was.source.strip("\n") != cell.source:
            continue
        cell.source = was.source
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = was.outputs, was.execution_count
    result = nbformat.from_dict({**old, "cells": cells})
    assert isinstance(result, NotebookNode)
    return result


def main(arguments: list[str] | None = None) -> int:
    """Edit one chapter."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("chapter", help="its number, such as 05, or its path")
    parser.add_argument("--to", type=Path, help="write the text here and stop")
    parser.add_argument("--from", dest="source", type=Path, help="put this text back and stop")
    given = parser.parse_args(arguments)
    path = find(given.chapter)
    notebook = read(path)
    if given.to:
        given.to.write_text(as_text(notebook), encoding="utf-8")
        return 0
    if given.source:
        write(path, from_text(given.source.read_text(encoding="utf-8"), notebook))
        return 0
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / f"{path.stem}.txt"
        text.write_text(as_text(notebook), encoding="utf-8")
        before = text.read_bytes()
        while True:
            subprocess.run([*shlex.split(editor), str(text)], check=True)
            if text.read_bytes() == before:
                print("nothing changed")
                return 0
            try:
                changed = from_text(text.read_text(encoding="utf-8"), notebook)
                break
            except ValueError as error:
                if not sys.stdin.isatty():
                    raise
                input(f"{error}. Enter opens it again, Ctrl-C gives up. ")
        write(path, changed)
    stale = [c for c in changed.cells if c.cell_type == "code" and c.execution_count is None]
    if stale:
        print(f"{len(stale)} code cells changed: make notebooks NOTEBOOKS={path.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
