"""What a page does for its reader: the answer and a figure first, checks folded."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

CHAPTERS = Path(__file__).resolve().parents[1] / "chapters"
NOTEBOOKS = sorted(CHAPTERS.glob("*.ipynb"))
each_page = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
CHECKS = re.compile(r"^\s*assert\b|\bglue\(|\bquote\(|^(import|from) ", re.MULTILINE)
WORDS_A_MINUTE = 220
#: A section after this comment is folded in the story (tools/book_pages.py).
PROOFS = "<!-- proofs -->"
#: Words of the story that a page may have; proofs and appendices are not counted.
BUDGETS = {
    "index": 500, "00": 1200, "01": 1600, "02": 1800, "03": 1600, "04": 2000, "05": 2200,
    "06": 1800, "07": 2000, "08": 2000, "09": 1500, "10": 1800, "11": 2200, "12": 2400,
    "13": 2000,
}  # fmt: skip
APPENDICES = ("14", "15", "16")


def cells(path: Path) -> list[Any]:
    return list(nbformat.read(path, as_version=4).cells)


def is_open(cell: Any) -> bool:
    tags = cell.metadata.get("tags", [])
    return cell.cell_type == "code" and not any(t.startswith(("hide-", "remove-")) for t in tags)


def told(text: str) -> Iterator[str]:
    """Yield the lines that the story shows: no folded section, proof, code or exercise."""
    folded, waiting = 0, False
    fences: list[bool] = []
    for line in text.splitlines():
        fence = re.match(r"\s*(`{3,}|:{3,}|~{3,})(\{[\w:-]+\})?(.*)", line)
        if fence and fences and not fence[2] and not fence[3].strip():
            fences.pop()
            continue
        if fence:
            kind = fence[2] or ""
            fences.append(fence[1][0] != ":" or kind in ("{prf:proof}", "{dropdown}"))
            continue
        heading = re.match("(#+) ", line)
        if line.strip() == PROOFS:
            waiting = True
        elif heading and not fences:
            folded = len(heading[1]) if waiting else folded * (len(heading[1]) > folded)
            waiting = False
        if not folded and not any(fences) and not re.match(r"\s*:[\w-]+:|<", line):
            yield line


def story(path: Path) -> int:
    """Return how many words the story of a page has; a formula within a line is one."""
    texts = [path.read_text(encoding="utf-8")] if path.suffix == ".md" else [
        cell.source for cell in cells(path) if cell.cell_type == "markdown"
    ]  # fmt: skip
    lines = "\n".join(told("\n\n".join(texts)))
    plain = re.sub(r"\$\$.*?\$\$(\s*\([\w-]+\))?", "", lines, flags=re.DOTALL)
    return len(re.sub(r"\$[^$]*\$", "x", plain).split())


@each_page
def test_a_page_opens_with_the_answer_and_what_to_do(path: Path) -> None:
    first = cells(path)[0].source
    assert re.match(r"# [^\n]+\n\n:::\{admonition\} In one minute\n", first)
    assert "*What to do:*" in first
    said = re.search(r"\*Reading time of the story:\* (\d+) minutes", first)
    assert said is not None
    assert abs(int(said[1]) - story(path) / WORDS_A_MINUTE) <= 1


@each_page
def test_the_figure_comes_next(path: Path) -> None:
    page = cells(path)
    figure = next(k for k, cell in enumerate(page) if "figure" in cell.metadata.get("mystnb", {}))
    assert all(cell.cell_type == "code" for cell in page[1:figure])


@each_page
def test_checks_and_imports_are_folded(path: Path) -> None:
    shown = [cell.source for cell in cells(path) if is_open(cell) and CHECKS.search(cell.source)]
    assert shown == []


def test_every_page_has_a_budget_or_is_an_appendix() -> None:
    assert {path.name[:2] for path in NOTEBOOKS} | {"index"} == {*BUDGETS, *APPENDICES}


@pytest.mark.parametrize("page", BUDGETS)
def test_a_story_keeps_to_its_budget(page: str) -> None:
    path = (
        CHAPTERS.parent / "index.md" if page == "index" else next(CHAPTERS.glob(f"{page}_*.ipynb"))
    )
    assert story(path) <= BUDGETS[page]


def test_the_story_is_what_is_not_folded() -> None:
    text = f"# A\n\nseen\n\n{PROOFS}\n\n## B\n\nhidden\n\n### C\n\nhidden\n\n## D\n\nseen"
    boxes = (
        ":::{prf:proof}\nhidden\n:::\n:::{prf:theorem} T\n:label: t\nseen\n:::\n```\nhidden\n```"
    )
    lines = list(told(f"{text}\n{boxes}"))
    assert lines.count("seen") == 3
    assert "hidden" not in lines
