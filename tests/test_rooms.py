"""What a room may know of the others, and how large it may grow."""

import ast
import io
import tokenize
from pathlib import Path

import pytest
from rooms import drawn, imports, reachable

ROOT = Path(__file__).resolve().parents[1]
CHECKS, TOOLS = {"_checks"}, {"_checks", "_linalg", "_trials", "_bulk"}
CHAINS = {"gaussian_hmm", "categorical_hmm"}
SOURCES = CHAINS | {"representations"}

#: What each room may import.  A room that is not here has no place yet: give it one.
MAY_IMPORT = {
    "_checks": set(),
    "_trials": CHECKS,
    "_linalg": CHECKS,
    "_bulk": CHECKS | {"_trials"},
    "_search": CHECKS,
    "gaussian_hmm": TOOLS,
    "categorical_hmm": TOOLS,
    "representations": TOOLS,
    "_wishart": CHECKS,
    "uniform": TOOLS | {"_wishart"},
    "factors": TOOLS | {"uniform", "_search"},
    "heads": TOOLS,
    "_nested": TOOLS,
    "samples": TOOLS,
    "curves": TOOLS,
    "closed_forms": CHECKS,
    "plotting": CHECKS | {"curves"},
    "moments": TOOLS | {"factors", "samples", "_search"},
    "signals": TOOLS | SOURCES | {"moments"},
    "population": TOOLS | SOURCES | {"samples", "moments", "signals"},
    "tasks": TOOLS | SOURCES | {"moments", "signals", "population"},
    "draws": TOOLS | {"factors", "moments", "population"},
    "document": TOOLS | {"factors", "moments", "tasks"},
    "theory": TOOLS
    | SOURCES
    | {"factors", "moments", "population", "tasks", "curves", "draws", "document"},
    "simulation": TOOLS
    | SOURCES
    | {"heads", "_nested", "moments", "population", "tasks", "curves"},
    "practice.classes": CHECKS,
    "practice._path": TOOLS,
    "practice.copies": TOOLS | {"curves", "practice.classes"},
    "practice.apart": TOOLS | {"moments", "practice._path"},
    "practice.accuracy": TOOLS | {"practice.classes", "practice._path", "practice.copies"},
    "practice.features": TOOLS
    | {"moments", "heads", "theory", "curves", "practice.apart", "practice.copies"},
    "practice.diagnosis": TOOLS
    | {"samples", "practice._measures", "practice._picture", "practice.recommend"}
    | {"practice._findings", "practice.copies"},
    "practice._findings": set(),
    "practice._measures": TOOLS | {"practice._path", "practice.copies", "practice.features"},
    "practice._picture": {"plotting"},
    "practice.recommend": TOOLS
    | {"moments", "theory", "curves"}
    | {"practice._estimator", "practice.accuracy", "practice.classes", "practice.features"}
    | {"practice.apart", "practice.copies", "practice._labels"},
    "practice._labels": TOOLS | {"moments", "practice.accuracy", "practice.copies"},
    "practice.head": TOOLS | {"practice.classes"},
    "practice._estimator": TOOLS | {"practice.features"},
    "practice.compare": TOOLS
    | {"moments", "practice._path", "practice.classes", "practice.features"}
    | {"practice.accuracy", "practice.copies"},
    "practice.files": CHECKS,
    "practice.report": TOOLS
    | {"curves", "practice.features", "practice.diagnosis", "practice.recommend"}
    | {"practice.accuracy", "practice.classes"},
    "practice.command": {
        "curves",
        "_bulk",
        "practice.accuracy",
        "practice.classes",
        "practice.compare",
        "practice.diagnosis",
        "practice.features",
        "practice.files",
        "practice.recommend",
        "practice.report",
    },
    "__main__": {"practice.command"},
    "studies._fingerprint": set(),
    "studies._store": {"studies._fingerprint"},
    "studies.settings": TOOLS | SOURCES | {"theory", "simulation", "curves"},
    "studies.study": TOOLS | {"curves", "studies._store", "studies.settings"},
}


def test_a_room_imports_what_the_table_allows_and_the_table_names_every_room() -> None:
    graph = imports()
    assert set(graph) == set(MAY_IMPORT)
    forbidden = {room: others - MAY_IMPORT[room] for room, others in graph.items()}
    assert {room: others for room, others in forbidden.items() if others} == {}


def test_no_two_rooms_know_each_other_and_the_core_knows_no_wing() -> None:
    graph = imports()
    for room in graph:
        known = reachable(graph, room)
        assert room not in known
        wing = room.partition(".")[0] if "." in room else ""
        wing = "practice" if room == "__main__" else wing  # its door
        assert {
            other for other in known if "." in other and other.partition(".")[0] != wing
        } == set()


def test_imports_are_found_inside_functions_too(tmp_path: Path) -> None:
    package = tmp_path / "house"
    (package / "wing").mkdir(parents=True)
    (package / "__init__.py").write_text("from house import one\n", encoding="utf-8")
    (package / "one.py").write_text("import house.two\n", encoding="utf-8")
    late = "def f():\n    from house.one import x\n    from house import two\n"
    (package / "wing" / "three.py").write_text(late, encoding="utf-8")
    (package / "two.py").write_text("import numpy\n", encoding="utf-8")
    found = imports(package)
    assert found == {"one": {"two"}, "two": set(), "wing.three": {"one", "two"}}
    assert reachable(found, "wing.three") == {"one", "two"}


def test_the_picture_in_contributing_is_drawn_from_todays_imports() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert text == drawn(), "run python tools/rooms.py"


# Size.  Lines of code: neither docstrings nor comments nor blank lines.

MODULE, FUNCTION = 350, 60


def code_lines(source: str) -> set[int]:
    skipped = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in (*skipped, tokenize.ENDMARKER):
            lines |= set(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        if isinstance(node, kinds) and ast.get_docstring(node) is not None:
            lines -= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    return lines


def test_docstrings_comments_and_blank_lines_are_no_code() -> None:
    source = (
        '"""Head."""\n\nx = 1  # one\n# two\ndef f():\n    """Doc\n\n    more."""\n    return x\n'
    )
    assert code_lines(source) == {3, 5, 9}


@pytest.mark.parametrize(
    "file", sorted((ROOT / "hmmtheory").rglob("*.py")), ids=lambda f: f"{f.parent.name}.{f.stem}"
)
def test_a_module_and_a_function_can_be_taken_in_at_once(file: Path) -> None:
    source = file.read_text(encoding="utf-8")
    lines = code_lines(source)
    assert len(lines) <= MODULE
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            own = len(lines & set(range(node.lineno, (node.end_lineno or 0) + 1)))
            assert own <= FUNCTION, f"{node.name} has {own} lines"
