"""The benchmark's rivals: their published numbers, and curves they must find again."""

import numpy as np
import pytest
from sklearn.datasets import load_iris

from benchmarks.practice import rivals


@pytest.mark.parametrize(
    ("parameters", "r2", "rows"),
    [
        (25, 0.2, (918, 401, 259)),
        (25, 0.3, (574, 351, 259)),
        (50, 0.2, (1924, 801, 284)),
        (100, 0.5, (1264, 1001, 334)),
    ],
)
def test_the_rule_gives_the_numbers_that_the_package_pmsampsize_is_tested_by(
    parameters: int, r2: float, rows: tuple[int, ...]
) -> None:
    assert rivals.pmsampsize(parameters, r2) == rows
    assert rivals.pmsampsize(30, 0.89, 0.84) == (32, 67, 264)


@pytest.mark.parametrize("family", range(len(rivals.FAMILIES)))
def test_a_family_finds_its_own_curve_again(family: int) -> None:
    sizes = np.array([10.0, 20.0, 40.0, 80.0, 160.0, 320.0])
    curve, start, _ = rivals.FAMILIES[family]
    theta = 0.8 * np.array(start)
    errors = 3 * curve(sizes / 10, *theta)
    # The curve of four parameters is nearly flat along some of them.
    near = 0.02 if len(start) == 4 else 1e-4
    expected = 3 * float(curve(200.0, *theta))
    assert rivals.extrapolated(family, sizes, errors, 2000) == pytest.approx(expected, rel=near)
    assert rivals.best_curve(sizes, errors, 2000) == pytest.approx(expected, rel=near)


def test_a_logistic_head_knows_its_accuracy() -> None:
    x, y = load_iris(return_X_y=True)
    order = np.random.default_rng(0).permutation(150)
    head, said = rivals.logistic(x[order[:100]], y[order[:100]])
    assert 0.9 < said <= 1
    assert abs(head.score(x[order[100:]], y[order[100:]]) - said) < 0.1
    assert rivals.logistic(x[:51], y[:51])[0] is None  # one row of a class: no folds
