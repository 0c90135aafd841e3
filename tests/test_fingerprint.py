"""A study is continued by the simulator that began it, and by no other."""

import functools
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
