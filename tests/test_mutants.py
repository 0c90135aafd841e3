"""The tool that changes the package: it finds what tests miss, and its explanations still hold."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))
import mutants  # noqa: E402

TOY = '''
"""A module of one tested and one untested sum."""


def twice_and(x: int, y: int) -> int:
    """Return 2x + y."""
    return 2 * x + y


def missed(x: int, y: int) -> int:
    """Return x - y."""
    return x - y
'''
TESTS = """
from hmmtheory.toy import missed, twice_and


def test_toy():
    assert twice_and(2, 3) == 7
    assert missed(1, 0) == 1  # also without y
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="mutants live in forked processes")
def test_a_kill_and_a_survivor_are_found_in_a_toy(tmp_path):
    for name, text in {
        "hmmtheory/__init__.py": "", "hmmtheory/toy.py": TOY, "tests/test_toy.py": TESTS,
    }.items():  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, "utf-8")
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "tools" / "mutants.py", tmp_path / "tools")
    command = [sys.executable, "tools/mutants.py", "--jobs", "1", "--json", "score.json"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 1, ran.stderr  # fewer than 95 %
    last = ran.stdout[ran.stdout.index("{") :]
    assert "'survived': 2" in last
    # Only the sum that is checked where y = 0 lets changes through: x and x + y.
    survivors = [line for line in ran.stdout.splitlines() if line.startswith("line")]
    assert all("toy:missed: x - y -> " in line for line in survivors)
    assert {line.rpartition("-> ")[2] for line in survivors} == {"x", "x + y"}
    total = json.loads((tmp_path / "score.json").read_text("utf-8"))["total"]
    assert total["mutants"] == total["killed"] + total["survived"]
    assert total["killed"] > 3
    # What ran is in the package's memory only.
    assert (tmp_path / "hmmtheory/toy.py").read_text("utf-8") == TOY


def test_docstrings_annotations_and_messages_are_left_alone():
    source = (
        'def f(x: "int | 3" = 1) -> "3":\n    "4 + 5"\n    if x > 2:\n'
        '        raise ValueError(f"{x + 6}")\n    return x\n'
    )
    found = mutants.mutants("toy", source)
    assert {(m.kind, m.before) for m in found} == {
        ("constant", "1"), ("constant", "2"), ("comparison", "x > 2"), ("strictness", "x > 2"),
    }  # fmt: skip
    for mutant in found:
        changed = ast.unparse(mutants.mutated("toy", source, mutant.site))
        assert changed != ast.unparse(ast.parse(source))
        assert mutant.after in changed


def test_the_sample_has_every_module_and_every_kind_and_is_the_same_again():
    found = mutants.sample(240, 0)
    assert found == mutants.sample(240, 0)
    assert 200 <= len(found) <= 280
    assert len({(m.module, m.site) for m in found}) == len(found)
    assert {m.module for m in found} == set(mutants.modules()) - mutants.DRAWING
    assert {m.kind for m in found} == {
        "operator", "dropped term", "comparison", "strictness", "constant", "swapped arguments",
        "negation",
    }  # fmt: skip


def test_every_explanation_still_names_a_mutant():
    known = {
        mutant.key
        for name, file in mutants.modules().items()
        for mutant in mutants.mutants(name, file.read_text("utf-8"))
    }
    explained = mutants.equivalents()
    assert not set(explained) - known
    assert all(explained.values())
