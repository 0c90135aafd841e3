"""A chapter goes out as text and comes back with its ids and outputs."""

import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from edit import as_text, find, from_text, main
from notebooks import read

ROOT = Path(__file__).resolve().parents[1]
CHAPTERS = sorted((ROOT / "chapters").glob("*.ipynb"))


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_every_chapter_comes_back_as_it_went(path: Path) -> None:
    notebook = read(path)
    assert from_text(as_text(notebook), notebook) == notebook


def notebook() -> nbformat.NotebookNode:
    cells = [
        nbformat.v4.new_markdown_cell("# A", id="one"),
        nbformat.v4.new_code_cell("x = 1\n\nx", id="two", execution_count=1),
        nbformat.v4.new_code_cell("y = 2", id="three", execution_count=2),
    ]
    cells[1].metadata = nbformat.from_dict({"tags": ["hide-input"]})
    for cell in cells[1:]:
        cell.outputs = [nbformat.v4.new_output("stream", text=cell.id)]
    return nbformat.v4.new_notebook(cells=cells)


def test_what_changed_loses_its_output_and_nothing_else_does() -> None:
    old = notebook()
    text = as_text(old).replace("y = 2", "y = 3").replace("# A", "# B")
    text += "\n%% code\nz = 4\n\n%% markdown three\ntwice\n"
    new = from_text(text, old)
    assert [cell.id for cell in new.cells[:3]] == ["one", "two", "three"]
    assert new.cells[0].source == "# B"
    assert new.cells[1] == old.cells[1]
    assert new.cells[2].source == "y = 3"
    assert new.cells[2].outputs == []
    assert [cell.source for cell in new.cells[3:]] == ["z = 4", "twice"]
    assert len({cell.id for cell in new.cells}) == 5
    nbformat.validate(new)


@pytest.mark.parametrize("text", ["hello", "%% cod one\nx", "%% code one {bad}\nx"])
def test_text_that_is_no_notebook_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"line 1|Expecting"):
        from_text(text, notebook())


def test_an_editor_changes_the_file_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "07_small.ipynb"
    nbformat.write(notebook(), path)
    script = tmp_path / "editor.py"
    script.write_text(
        "import sys, pathlib; p = pathlib.Path(sys.argv[1]);"
        "p.write_text(p.read_text(encoding='utf-8').replace('x = 1', 'x = 5'), encoding='utf-8')"
    )
    monkeypatch.setenv("VISUAL", f"{sys.executable} {script}")
    assert main([str(path)]) == 0
    assert "1 code cells changed" in capsys.readouterr().out
    found = nbformat.read(path, as_version=4)
    assert found.cells[1].source == "x = 5\n\nx"
    assert found.cells[2].outputs == notebook().cells[2].outputs
    assert main([str(path)]) == 0
    assert "nothing changed" in capsys.readouterr().out


def test_a_chapter_is_found_by_its_number() -> None:
    assert find("5") == find("05") == CHAPTERS[5]
    with pytest.raises(SystemExit, match="number of a chapter; got '99'"):
        find("99")
    bad = subprocess.run(
        [sys.executable, ROOT / "tools" / "edit.py", "99"], capture_output=True, check=False
    )
    assert bad.returncode == 1
