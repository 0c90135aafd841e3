"""The tool that finds what hangs on a last digit finds it, and nothing else."""

import ast
from typing import Any

import last_digits
import numpy as np
import pytest

THIRD = 0.1 * 3


def seen(source: str, **names: Any) -> list[str]:
    """Run watched code and return what was said of it."""
    last_digits.found.clear()
    last_digits.install(names)
    tree = last_digits.Watch("here", source).visit(ast.parse(source))
    exec(compile(tree, "here", "exec"), names | {"np": np, "THIRD": THIRD})
    return sorted(last_digits.found.values())


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("THIRD == 0.3", "Eq"),
        ("0.0 < THIRD <= 0.3 < 1", "LtE"),
        ("np.array([1.0, THIRD]) >= [0.0, 0.3]", "GtE"),
        ("THIRD - 0.3 > 0", "Gt"),
        ("np.argmin([0.3, 1.0, THIRD])", "argmin"),
        ("np.array([1.0, 0.3, THIRD]).argsort()", "argsort"),
        ("np.argmax([[0.3, 1.0], [THIRD, 0.0]], axis=0)", "argmax"),
        ("np.array_equal([THIRD], [0.3])", "array_equal"),
    ],
)
def test_what_rounding_could_turn_is_found(source: str, kind: str) -> None:
    assert seen(source) == [kind]


@pytest.mark.parametrize(
    "source",
    [
        "THIRD == 0.3  # same bits: trust me",
        "0.5 == 0.25 + 0.25",
        "float('inf') == np.inf",
        "3 == 3",
        "'a' < 'b'",
        "abs(THIRD - 0.3) < 1e-9",
        "THIRD in (0.5, 1.0)",
        "np.argmin([0.3, 1.0, 0.31])",
        "np.argmax([0.3, THIRD, 1.0])",
        "np.array_equal([THIRD], [0.4])",
    ],
)
def test_what_it_could_not_turn_is_not(source: str) -> None:
    assert seen(source) == []


def test_watched_code_does_what_it_did() -> None:
    names: dict[str, Any] = {}
    source = (
        "a = 1 < 2 < 2; b = np.array([1, 3]) > 2; c = np.array([3.0, 1.0]).argmin(); d = 2 in (1,)"
    )
    last_digits.install(names)
    exec(
        compile(last_digits.Watch("x", source).visit(ast.parse(source)), "x", "exec"),
        names | {"np": np},
        names,
    )
    assert names["a"] is False
    assert names["b"].tolist() == [False, True]
    assert names["c"] == 1
    assert names["d"] is False
