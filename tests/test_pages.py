"""What a page does for its reader: the answer and a figure first, checks folded."""

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest

CHAPTERS = Path(__file__).resolve().parents[1] / "chapters"
#: Chapters that are still to be edited.
PENDING: set[str] = set()
NOTEBOOKS = [path for path in sorted(CHAPTERS.glob("*.ipynb")) if path.name[:2] not in PENDING]
each_page = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
CHECKS = re.compile(r"^\s*assert\b|\bglue\(|\bquote\(|^(import|from) ", re.MULTILINE)
WORDS_A_MINUTE = 220


def cells(path: Path) -> list[Any]:
    return list(nbformat.read(path, as_version=4).cells)


def is_open(cell: Any) -> bool:
    tags = cell.metadata.get("tags", [])
    return cell.cell_type == "code" and not any(t.startswith(("hide-", "remove-")) for t in tags)


def prose(path: Path) -> int:
    texts = [cell.source for cell in cells(path) if cell.cell_type == "markdown"]
    plain = re.sub(r"\$[^$]*\$|```.*?```", "", "\n".join(texts), flags=re.DOTALL)
    return len(plain.split())


@each_page
def test_a_page_opens_with_the_answer_and_what_to_do(path: Path) -> None:
    first = cells(path)[0].source
    assert re.match(r"# [^\n]+\n\n:::\{admonition\} In one minute\n", first)
    assert "*What to do:*" in first
    said = re.search(r"\*Reading time of the story:\* (\d+) minutes", first)
    assert said is not None
    assert abs(int(said[1]) - prose(path) / WORDS_A_MINUTE) <= 2


@each_page
def test_the_figure_comes_next(path: Path) -> None:
    page = cells(path)
    figure = next(k for k, cell in enumerate(page) if "figure" in cell.metadata.get("mystnb", {}))
    assert all(cell.cell_type == "code" for cell in page[1:figure])


@each_page
def test_checks_and_imports_are_folded(path: Path) -> None:
    shown = [cell.source for cell in cells(path) if is_open(cell) and CHECKS.search(cell.source)]
    assert shown == []
