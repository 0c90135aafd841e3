"""The tools that execute notebooks and build the book."""

import asyncio
import base64
import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from numpy.testing import assert_array_equal
from PIL import Image

pytest.importorskip("nbclient")
book = pytest.importorskip("build_book")
notebooks = pytest.importorskip("notebooks")
check_site = pytest.importorskip("check_site")
slim = pytest.importorskip("slim")

CELLS = [
    "import os, sys, time\nx = 1",
    "x / 0",
    "print(x)",
    "assert x == 2, 'x is one'",
    "print('careless', file=sys.stderr)",
    "undefined",
    "while True:\n    time.sleep(0.05)",
    "print('still here')",
    "os._exit(1)",
    "print('never')",
]


def written(folder: Path, name: str, sources: list[str]) -> Path:
    path = folder / name
    nbformat.write(new_notebook(cells=[new_code_cell(source) for source in sources]), path)
    return path


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Run a notebook whose cells fail in every way that cells can."""
    path = written(tmp_path_factory.mktemp("broken folder"), "01_ü.ipynb", CELLS)
    ran = {}

    def done(path: Path, notebook: Any, took: float) -> None:
        ran[path.stem] = notebook

    before = path.read_bytes()
    asyncio.run(notebooks.execute_all([path], done, timeout=2))
    assert path.read_bytes() == before
    return ran["01_ü"]


def test_every_failing_cell_of_a_notebook_is_named_with_its_error(broken: Any) -> None:
    found = [(f.cell, f.error) for f in notebooks.failures(broken, "01_ü")]
    assert [cell for cell, _ in found] == [2, 4, 5, 6, 7, 9, 10]
    errors = [error for _, error in found]
    assert errors[0] == "ZeroDivisionError: division by zero"
    assert errors[1] == "AssertionError: x is one"
    assert errors[2] == "writes to stderr: careless"
    assert errors[3].startswith("NameError")
    assert errors[4].startswith("KeyboardInterrupt") or "no end after 2 s" in errors[4]
    assert "kernel died" in errors[5]
    assert "before this cell" in errors[6]


def test_cells_after_a_failing_one_run_all_the_same(broken: Any) -> None:
    cells = notebooks.code_cells(broken)
    assert cells[2].outputs[0].text == "1\n"
    assert cells[7].outputs[0].text == "still here\n"


def test_a_failing_cell_keeps_its_traceback_for_its_page(broken: Any) -> None:
    assert "ZeroDivisionError" in "\n".join(notebooks.code_cells(broken)[1].outputs[0].traceback)


@pytest.fixture
def small_book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a book of two notebooks and a package of one line, in a folder of its own."""
    for folder in ("chapters", "hmmtheory", "tools"):
        (tmp_path / folder).mkdir()
    (tmp_path / "hmmtheory" / "heads.py").write_text("one = 1\n")
    (tmp_path / "tools" / "notebooks.py").write_text("")
    for name in ("requirements.txt", "pyproject.toml", "index.md", "_config.yml"):
        (tmp_path / name).write_text("")
    (tmp_path / "_toc.yml").write_text(
        "root: index\nchapters:\n  - file: chapters/01_a\n  - file: chapters/02_b\n"
    )
    for name in ("01_a.ipynb", "02_b.ipynb"):
        path = written(tmp_path / "chapters", name, ["1 + 1", "print('two')"])
        notebook = nbformat.read(path, as_version=4)
        notebook.cells.append(new_markdown_cell("Text."))
        nbformat.write(notebook, path)
    for name, value in {
        "ROOT": tmp_path,
        "RUNS": tmp_path / "_build" / "runs",
        "SOURCE": tmp_path / "_build" / "source",
        "RECORD": tmp_path / "none.json",
        "blas": lambda: ["a kernel"],
    }.items():
        monkeypatch.setattr(book, name, value)
    ran: list[str] = []

    async def execute(notebook: Any, folder: Path, timeout: int) -> float:
        ran.append("".join(cell.source for cell in notebooks.code_cells(notebook)))
        for cell in notebooks.code_cells(notebook):
            cell.outputs = [new_output("stream", name="stdout", text="fresh")]
            if "raise" in cell.source:
                cell.outputs = [
                    new_output("error", ename="ValueError", evalue="no", traceback=["no"])
                ]
        return 1.0

    monkeypatch.setattr(notebooks, "execute", execute)

    def run(fresh: bool = False) -> int:
        ran.clear()
        build.failed = book.run_notebooks(fresh, 2, 10)
        return len(ran)

    build: Any = run
    build.folder = tmp_path
    return build


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_a_run_is_used_again_only_while_nothing_it_depends_on_changes(
    small_book: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = small_book.folder
    assert small_book() == 2
    assert small_book() == 0
    assert small_book(fresh=True) == 2
    change(folder / "chapters" / "01_a.ipynb", "1 + 1", "1 + 2")
    assert small_book() == 1
    change(folder / "hmmtheory" / "heads.py", "1", "2")
    assert small_book() == 2
    (folder / "chapters" / "data.npz").write_bytes(b"x")
    assert small_book() == 2
    (folder / "requirements.txt").write_text("numpy==2\n")
    assert small_book() == 2
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Nehalem")
    assert small_book() == 2
    monkeypatch.setattr(book, "blas", lambda: ["another kernel"])
    assert small_book() == 2
    assert small_book() == 0


def test_prose_changes_without_a_run(small_book: Any) -> None:
    assert small_book() == 2
    change(small_book.folder / "chapters" / "01_a.ipynb", "Text.", "Other text.")
    assert small_book() == 0
    book.stage()
    page = nbformat.read(book.SOURCE / "chapters" / "01_a.ipynb", as_version=4)
    assert page.cells[-1].source == "Other text."
    assert page.cells[0].outputs[0].text == "fresh"


def test_a_failing_run_is_never_used_again(small_book: Any) -> None:
    change(small_book.folder / "chapters" / "02_b.ipynb", "1 + 1", "raise ValueError")
    assert small_book() == 2
    assert [str(f) for f in small_book.failed] == ["02_b  cell [1]  ValueError: no"]
    assert small_book() == 1
    assert len(small_book.failed) == 1


def test_a_damaged_run_is_made_again(small_book: Any) -> None:
    assert small_book() == 2
    (book.RUNS / "01_a.ipynb").write_text('{"cells": [')
    assert small_book() == 1


def png(pixels: Any, **options: Any) -> str:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, format="png", **options)
    return base64.b64encode(file.getvalue()).decode()


def with_outputs(*outputs: Any) -> Any:
    cell = new_code_cell("plot()", outputs=list(outputs))
    cell["id"] = "a"
    return new_notebook(cells=[cell])


def picture(data: str) -> Any:
    return new_output("display_data", data={"image/png": data, "text/plain": "<Figure 0xabcdef01>"})


def test_a_picture_is_stored_anew_only_when_its_pixels_change() -> None:
    pixels = np.random.default_rng(1).integers(0, 250, (20, 30, 3))
    stored = png(pixels, compress_level=1)
    same, rounded, other = png(pixels, compress_level=9), png(pixels + 1), png(pixels[::-1])
    assert len({stored, same, rounded, other}) == 4
    for fresh, expected in ((same, stored), (rounded, stored), (other, other)):
        notebook = with_outputs(picture(fresh))
        notebooks.keep_unchanged(with_outputs(picture(stored)), notebook)
        assert notebook.cells[0].outputs[0].data["image/png"] == expected


def test_a_text_is_stored_anew_only_where_nbval_sees_a_difference() -> None:
    old = with_outputs(new_output("stream", name="stdout", text="at 0xabcdef012: 0.123456789012"))
    for text, kept in (("at 0x0123456789: 0.123456789999", True), ("at 0xabcdef012: 0.2", False)):
        new = with_outputs(new_output("stream", name="stdout", text=text))
        notebooks.keep_unchanged(old, new)
        assert (new.cells[0].outputs[0].text == old.cells[0].outputs[0].text) is kept


@pytest.mark.parametrize(
    ("kind", "fresh", "same"),
    [
        ("text", "at 0x0123456789: 0.123456789999", True),
        ("text", "at 0xabcdef012: 0.2", False),
        ("text/html", "<b>0.123456789999</b>", False),
        (None, "", False),
    ],
)
def test_a_strict_build_sees_every_other_text_and_no_last_digit(
    small_book: Any, kind: str | None, fresh: str, same: bool
) -> None:
    folder = small_book.folder
    assert small_book() == 2
    assert [f.cell for f in book.compare_runs()] == [1, 2, 1, 2]  # the notebooks store nothing
    for name in ("01_a.ipynb", "02_b.ipynb"):
        shutil.copy(book.RUNS / name, folder / "chapters" / name)
    assert book.compare_runs() == []
    stored = with_outputs(new_output("stream", name="stdout", text="at 0xabcdef0: 0.123456789012"))
    run = with_outputs()
    if kind == "text":
        run = with_outputs(new_output("stream", name="stdout", text=fresh))
    elif kind:
        run = with_outputs(new_output("display_data", data={kind: fresh}))
    found = notebooks.differences(stored, run, "02_b")
    expected = [] if same else ["02_b  cell [1]  shows another text than is stored"]
    assert [str(failure) for failure in found] == expected


def test_stored_notebooks_do_not_depend_on_the_order_of_keys(tmp_path: Path) -> None:
    path = written(tmp_path, "a.ipynb", ["1"])
    notebooks.write(path, notebooks.read(path))
    first = path.read_bytes()
    content = json.loads(first)
    path.write_text(json.dumps(dict(reversed(content.items()))))
    notebooks.write(path, notebooks.read(path))
    assert path.read_bytes() == first


FAILING = """
import nbformat
from nbformat.v4 import new_code_cell, new_notebook, new_output

cells = [
    new_code_cell("x = 1 / 0", execution_count=1),
    new_code_cell("print(x)", execution_count=2),
    new_code_cell("print(2)", execution_count=3,
                  outputs=[new_output("stream", name="stdout", text="3\\n")]),
    new_code_cell("import time; time.sleep(9)", execution_count=4),
    new_code_cell("assert False, 'said'", execution_count=5),
    new_code_cell("1", execution_count=6, outputs=[
        new_output("execute_result", data={"text/plain": "1"}, execution_count=6)]),
]
nbformat.write(new_notebook(cells=cells), "chapters/01_a.ipynb")
"""


@pytest.mark.parametrize("workers", [[], ["-n", "2", "--dist=loadscope"]], ids=["one", "two"])
def test_the_tests_close_with_every_failing_cell(tmp_path: Path, workers: list[str]) -> None:
    (tmp_path / "chapters").mkdir()
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "conftest.py").write_text(Path("tests/conftest.py").read_text())
    subprocess.run([sys.executable, "-c", FAILING], cwd=tmp_path, check=True)
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--nbval", "--nbval-current-env", "--rootdir=.",
         "--nbval-cell-timeout=2", "-c", "/dev/null", "--confcutdir=.", "tests", "chapters",
         *workers],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    closing = run.stdout.partition("failing cells")[2]
    assert run.returncode == 1, run.stdout
    assert "ZeroDivisionError: division by zero" in closing
    assert "cell [2]  NameError" in closing
    assert "cell [3]  Cell outputs differ" in closing
    assert "cell [4]  Timeout of 2 seconds" in closing or "cell [4]  KeyboardInterrupt" in closing
    assert "cell [5]  AssertionError: said" in closing
    assert "cell [6]" not in closing
    assert "5 failed, 1 passed" in closing


# ------------------------------------------------------------------------------ a small site


def test_a_slim_site_shows_the_same_pictures(tmp_path: Path) -> None:
    (tmp_path / "_images").mkdir()
    (tmp_path / "chapters").mkdir()
    (tmp_path / "_sources").mkdir()
    picture = Image.effect_mandelbrot((300, 200), (-3, -2.5, 2, 2.5), 100).convert("RGBA")
    picture.save(tmp_path / "_images" / "a.png")
    drawn = np.asarray(picture)
    page = tmp_path / "chapters" / "a.html"
    (tmp_path / "_static" / "scripts").mkdir(parents=True)
    icons = tmp_path / "_static" / "scripts" / "fontawesome.js"
    icons.write_text("x")
    drawer = '<script defer src="../_static/scripts/fontawesome.js?digest=0"></script>'
    image = '<a href="../_images/a.png"><img src="../_images/a.png"></a>'
    page.write_text(f'{drawer}<script src="../b.js"></script>{image}', "utf-8")
    notebook = new_notebook(cells=[new_code_cell("1")])
    notebook.cells[0].outputs = [
        new_output("display_data", {"image/png": "AAAA", "text/plain": "é"})
    ]
    nbformat.write(notebook, tmp_path / "_sources" / "a.ipynb")
    for name in ("a.js.map", "a.ttf", "a.woff2", "b.ttf"):
        (tmp_path / name).write_text("x")

    for _ in range(2):
        slim.slim(tmp_path)
        assert not icons.exists()
        assert re.findall("<script[^>]*>", page.read_text("utf-8")) == ['<script src="../b.js">']
        names = set(re.findall(r'"\.\./(_images/[^"]+)"', page.read_text("utf-8")))
        assert names == {"_images/a.webp"}
        with Image.open(tmp_path / names.pop()) as shown:
            assert_array_equal(np.asarray(shown.convert("RGBA")), drawn)
        left = nbformat.read(tmp_path / "_sources" / "a.ipynb", as_version=4)
        nbformat.validate(left)
        assert left.cells[0].outputs[0].data == {"text/plain": "é"}
    assert sorted(p.name for p in tmp_path.glob("?.*")) == ["a.woff2", "b.ttf"]


def test_a_site_over_its_budget_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "index.html").write_text("<!doctype html><title>a</title>" + "x" * 100, "utf-8")
    toc = tmp_path / "_toc.yml"
    toc.write_text("format: jb-book\nroot: index\n", "utf-8")
    assert not any("at most" in problem for problem in check_site.check(tmp_path, toc)[0])
    monkeypatch.setattr(check_site, "LARGEST", 100)
    assert any("at most" in problem for problem in check_site.check(tmp_path, toc)[0])


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("<p>needs <span>np.float64(4.7)</span> bits</p>", True),
        ("<p>an array([1, 2]) of them</p>", True),
        ("<p>by nan %</p>", True),
        ("<p>Nancy finds an array of (3) numbers</p><code>np.float64(4.7)</code>", False),
    ],
)
def test_a_number_as_python_writes_it_is_a_problem(tmp_path: Path, text: str, seen: bool) -> None:
    (tmp_path / "index.html").write_text(f"<!doctype html><title>a</title>{text}", "utf-8")
    toc = tmp_path / "_toc.yml"
    toc.write_text("root: index\n")
    problems = check_site.check(tmp_path, toc)[0]
    assert any("as Python writes it" in problem for problem in problems) == seen


def test_the_story_is_printed_without_proofs_code_and_appendices(tmp_path: Path) -> None:
    pdf = pytest.importorskip("pdf")
    toc = {
        "root": "index",
        "parts": [
            {"caption": "I", "chapters": [{"file": "chapters/a"}, {"file": "chapters/explorer"}]},
            {"caption": "Appendices", "chapters": [{"file": "chapters/b"}]},
        ],
    }
    assert pdf.told(toc) == ["index", "chapters/a"]
    (tmp_path / "chapters").mkdir()
    proof = '<section class="proofs"><h2>why</h2></section><div class="proof admonition">so</div>'
    theorem = '<div class="proof theorem admonition" id="t">it holds</div>'
    cell = '<div class="cell"><div class="cell_input">code</div>{}</div>'
    shown = cell.format('<div class="cell_output">3.14</div>')
    links = '<a href="b.html">other</a><a href="a.html#t">own</a>'
    for name, text in {
        "index": '<a href="chapters/a.html">first</a>',
        "chapters/a": proof + theorem + cell.format("") + shown + links,
        "chapters/b": "appended",
    }.items():
        page = f"<!doctype html><body><article class='bd-article'>{text}</article></body>"
        (tmp_path / f"{name}.html").write_text(page, "utf-8")
    page = pdf.one_page(tmp_path, pdf.told(toc), story=True)
    for gone in ("why", "so<", "code", "appended", "b.html"):
        assert gone not in page
    for kept in ("it holds", "3.14", 'href="#chapters-a--top"', 'href="#chapters-a--t"', "other"):
        assert kept in page
    whole = pdf.one_page(tmp_path, ["index", "chapters/a", "chapters/b"])
    for kept in ("why", "so<", "code", "appended", 'href="#chapters-b--top"'):
        assert kept in whole
