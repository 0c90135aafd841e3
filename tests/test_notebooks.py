"""What nbval does not see: cells that were never run, stored errors, notebooks left out."""

import ast
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
CHAPTERS = ROOT / "chapters"
NOTEBOOKS = sorted(CHAPTERS.glob("*.ipynb"))

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def code_cells(path: Path) -> list[Any]:
    return [c for c in read(path).cells if c.cell_type == "code" and c.source.strip()]


def outputs(path: Path) -> list[Any]:
    return [output for cell in code_cells(path) for output in cell.outputs]


def documents(toc: Any) -> list[str]:
    if isinstance(toc, list):
        return [name for item in toc for name in documents(item)]
    if not isinstance(toc, dict):
        return []
    own = [toc[key] for key in ("root", "file") if key in toc]
    return own + [n for k in ("parts", "chapters", "sections") for n in documents(toc.get(k))]


@each_notebook
def test_every_cell_was_executed_in_order(path: Path) -> None:
    counts = [cell.execution_count for cell in code_cells(path)]
    assert counts == list(range(1, len(counts) + 1))


@each_notebook
def test_no_cell_stores_an_error_or_writes_to_stderr(path: Path) -> None:
    bad = [o for o in outputs(path) if o.output_type == "error" or o.get("name") == "stderr"]
    assert bad == []


@each_notebook
def test_a_notebook_asserts_what_it_says(path: Path) -> None:
    def asserts(source: str) -> bool:
        lines = [line for line in source.splitlines() if not line.lstrip().startswith(("%", "!"))]
        tree = ast.parse("\n".join(lines))
        return any(isinstance(node, ast.Assert) for node in ast.walk(tree))

    assert any(asserts(cell.source) for cell in code_cells(path))


@each_notebook
def test_a_notebook_is_stored_normalised(path: Path) -> None:
    notebook = read(path)
    assert notebook.metadata.kernelspec.name == "python3"
    assert set(notebook.metadata.language_info) <= {"name", "pygments_lexer"}
    assert not any("execution" in cell.metadata for cell in notebook.cells)
    ids = [cell.get("id") for cell in notebook.cells]
    assert len(set(ids)) == len(ids)


def test_the_table_of_contents_lists_every_chapter_and_nothing_else() -> None:
    listed = documents(yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8")))
    assert len(set(listed)) == len(listed)
    pages = {p.stem for p in CHAPTERS.iterdir() if p.suffix in {".ipynb", ".md"}}
    assert {Path(n).name for n in listed if n.startswith("chapters/")} == pages


def test_no_file_names_a_folder_of_the_machine_it_was_written_on() -> None:
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listing.returncode != 0:
        pytest.skip("not a git checkout")
    folder = re.compile(r"(?<![\w.:/])/(?:home|Users|root|work|opt)/\w")
    kinds = {".py", ".md", ".ipynb", ".toml", ".yml", ".cfg", ".txt", ".cff", ".bib", ".css", ""}
    found = [
        name
        for name in filter(None, listing.stdout.split("\0"))
        if Path(name).suffix in kinds
        and (ROOT / name).is_file()
        and folder.search((ROOT / name).read_text(encoding="utf-8", errors="ignore"))
    ]
    assert found == []


SHARING = [p for p in NOTEBOOKS if "book import" in p.read_text("utf-8")]


@pytest.mark.parametrize("path", SHARING, ids=lambda path: path.stem)
def test_a_notebook_downloaded_alone_says_at_once_what_it_needs(path: Path, tmp_path: Path) -> None:
    first = code_cells(path)[0].source
    script = "import sys; sys.path = [p for p in sys.path if 'chapters' not in p]\n" + first
    found = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert found.returncode == 1
    assert "ImportError: this notebook shares code and data" in found.stderr
    assert "book.zip" in found.stderr.splitlines()[-1]


def test_the_archive_that_the_site_serves_is_all_that_notebooks_share(tmp_path: Path) -> None:
    from book_extension import write_package

    write_package(tmp_path / "book.zip")
    zipfile.ZipFile(tmp_path / "book.zip").extractall(tmp_path)
    script = (
        "import sys; sys.path = [p for p in sys.path if 'chapters' not in p]\n"
        "import book; from book import shakespeare, larger_study\n"
        "print(shakespeare.Pretrained().settings.sizes, len(larger_study.read_table()) > 100)\n"
        "print(book.__file__)"
    )
    found = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "True" in found.stdout.splitlines()[0]
    assert found.stdout.splitlines()[1].startswith(str(tmp_path.resolve()))
    # Nothing that git keeps in the folder is left out.
    tracked = subprocess.run(
        ["git", "-C", CHAPTERS / "book", "ls-files"], capture_output=True, text=True, check=False
    ).stdout.split()
    if not tracked:
        pytest.skip("not a checkout")
    assert set(tracked) <= {p.name for p in (tmp_path / "book").iterdir()}
