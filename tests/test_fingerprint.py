"""A study is continued by the simulator that began it, and by no other."""

import functools
import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hmmtheory import RiskCurve, study
from hmmtheory.studies._fingerprint import fingerprint
from hmmtheory.studies.settings import simulate_setting

SOURCE = """
from hmmtheory import RiskCurve
LEVEL = {level}
def helper(x):
    {comment}
    return x + {added}
def simulate(sizes, n_samples, n_trials, rng):
    return RiskCurve([1], [helper(LEVEL)], [0.1], n_samples=9, n_trials=n_trials)
"""


def made(level: float = 1.0, added: float = 0.0, comment: str = "pass") -> Any:
    space: dict[str, Any] = {"__name__": "own_module"}
    exec(SOURCE.format(level=level, added=added, comment=comment), space)
    return space["simulate"]


def test_values_and_helpers_count_and_comments_do_not() -> None:
    first = fingerprint(made())
    assert first == fingerprint(made())
    assert first == fingerprint(made(comment="pass  # a remark"))
    assert first != fingerprint(made(level=2.0))
    assert first != fingerprint(made(added=1.0))
    assert fingerprint(simulate_setting) == fingerprint(simulate_setting)


GRID = {"dim": 2, "persistence": 0.5, "n_samples": 9, "sizes": 1}


class Simulator:
    def __call__(self, **point: Any) -> RiskCurve:
        raise AssertionError

    def method(self, **point: Any) -> RiskCurve:
        raise AssertionError


def closure(bias: float) -> Any:
    return lambda **point: bias


@pytest.mark.parametrize(
    "simulate",
    [
        functools.partial(simulate_setting, signal=2.0),
        Simulator(),
        Simulator().method,
        closure(0.0),
    ],
)
def test_what_carries_values_of_its_own_is_refused(simulate: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="simulate must be a plain function"):
        study(GRID, 5, simulate=simulate, folder=tmp_path, progress=False)


def test_another_simulator_is_not_served_the_first_ones_chunks(tmp_path: Path) -> None:
    grid = {"sizes": 1, "n_samples": 9}
    table = study(grid, 5, simulate=made(), folder=tmp_path, progress=False)
    assert table["risk"].tolist() == [1.0]  # same bits: 1.0 + 0.0
    with pytest.raises(ValueError, match="folder must be new or written by the same code"):
        study(grid, 5, simulate=made(level=100.0), folder=tmp_path, progress=False)


size_of = len


def counted(**point: Any) -> int:
    return size_of(point)


def test_a_builtin_under_another_name_has_content() -> None:
    first = fingerprint(counted)
    globals()["size_of"] = sum
    try:
        assert fingerprint(counted) != first
    finally:
        globals()["size_of"] = len
    assert fingerprint(counted) == first


HELPER = """
import functools
import importlib
import os
import shutil
import subprocess
import sys
from hmmtheory import simulate_risk_curve

LEVEL = {level}

class Model:
    @property
    def scale(self):
        return {level}

@functools.lru_cache
def cached():
    return {level}

def scale():
    return LEVEL
"""

REACHES = {
    "a module": "import helper\ndef simulate(**point):\n    return helper.scale()",
    "an import inside": "def simulate(**point):\n    from helper import scale\n    return scale()",
    "a class": "from helper import Model\ndef simulate(**point):\n    return Model().scale",
    "an object": "from helper import Model\nM = Model()\ndef simulate(**p):\n    return M.scale",
    "a cache": "from helper import cached\ndef simulate(**point):\n    return cached()",
}


@pytest.mark.parametrize("source", REACHES.values(), ids=REACHES.keys())
def test_what_a_simulator_reaches_in_other_files_is_part_of_it(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))

    def seen(level: str) -> Any:
        (tmp_path / "helper.py").write_text(HELPER.format(level=level), "utf-8")
        (tmp_path / "script.py").write_text(source, "utf-8")
        for name in ("helper", "script"):
            sys.modules.pop(name, None)
        shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)
        importlib.invalidate_caches()
        return fingerprint(importlib.import_module("script").simulate)

    try:
        first, again, remark, other = (seen(v) for v in ("1.0", "1.0", "1.0  # said", "9.5"))
    finally:
        for name in ("helper", "script"):
            sys.modules.pop(name, None)
    assert first == again == remark
    assert first != other


def test_a_literal_set_looks_the_same_in_every_run() -> None:
    code = (
        "from hmmtheory.studies._fingerprint import fingerprint\n"
        "def simulate(kind):\n    return kind in {'alpha', 'beta', 'gamma', ('delta', 1)}\n"
        "print(fingerprint(simulate))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2", "3")
    }  # fmt: skip
    assert len(found) == 1


def _nothing(**point: Any) -> Any:
    return 3


def test_what_is_no_curve_is_refused_before_a_round_is_lost() -> None:
    with pytest.raises(ValueError, match="RiskCurve of at least 1 trial; got 3"):
        study({"dim": 2}, 5, simulate=_nothing, progress=False)
    with pytest.raises(ValueError, match="must not name"):
        study({"chunk": 2}, 5, simulate=_nothing, progress=False)
