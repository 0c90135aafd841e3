"""No public function answers hostile input with another's error, a NaN or another number."""

import re
import time
from typing import Any

import fuzz
import numpy as np
import pytest
from calls import CALLS

COUNT = 756


@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_hostile_input_is_answered_or_refused_with_a_reason() -> None:
    counts, findings = fuzz.fuzz(CALLS, COUNT, seed=2026)
    assert findings == []
    assert set(counts) == set(CALLS)
    assert sum(row["inputs"] for row in counts.values()) >= 500
    # Every function takes some of it and refuses some.
    assert all(row["answered"] + row["refused"] == row["inputs"] >= 9 for row in counts.values())
    assert sum(row["answered"] > 0 < row["refused"] for row in counts.values()) > 45


def mean(x: Any, power: Any = 1.0) -> Any:
    """Take anything, and check nothing."""
    array = np.asarray(x)
    return {"mean": array.mean() ** power, "width": len(x), "kind": float(array.itemsize)}


@pytest.mark.parametrize(
    ("argument", "value", "same", "said"),
    [
        ("x", np.array([1.0, np.nan]), False, "NaN in mean"),
        ("x", ["a"], False, "raises|another's"),
        ("x", np.array(1.0), False, "another's TypeError|another's IndexError"),
        ("x", np.array([2, 3], dtype=np.float32), True, "another kind"),
        ("x", np.array([2.0, 3.0, 2.5]), True, "another width"),
        ("power", 1e9, False, "warns: overflow"),
    ],
)
def test_the_fuzz_finds_what_is_wrong(argument: str, value: Any, same: bool, said: str) -> None:
    right = {"x": np.array([2.0, 3.0]), "power": 1.0}
    case = fuzz.Input("mean", {argument: value}, "", same)
    outcome = fuzz.judge(mean, right, case, mean(**right))
    assert outcome.kind == "error"
    assert re.search(said, outcome.finding), outcome.finding


def test_a_refusal_of_the_package_is_no_finding() -> None:
    function, right = CALLS["fit_head"]
    case = fuzz.Input("fit_head", {"ridge": -1.0}, "", same=False)
    assert fuzz.judge(function, right, case).kind == "refused"


@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_each_other_container_holds_the_same_numbers() -> None:
    array = np.arange(6.0).reshape(3, 2) / 4
    names = [words for words, _ in fuzz.same_array(array)]
    assert len(set(names)) == len(names) > 15
    for words, value in fuzz.same_array(array):
        assert np.asarray(value, dtype=object).astype(float).tolist() == array.tolist(), words


def spin() -> None:
    """Keep the processor busy for a second."""
    start = time.process_time()
    while time.process_time() < start + 1:
        pass


def test_a_call_that_hangs_is_a_finding_and_one_that_waits_for_others_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fuzz, "PATIENCE", 0.2)
    table = {"busy": (lambda x: spin(), {"x": 1.0}), "waits": (lambda x: time.sleep(1), {"x": 1.0})}
    _, findings = fuzz.fuzz(table, 2, seed=0)
    assert [finding for finding in findings if "takes over 0.2 s" in finding] == findings
    assert [finding[:4] for finding in findings] == ["busy"]
