"""Tasks: draws have the moments that the task claims, and moments need no subtraction."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hmmtheory import (
    CategoricalHMM,
    FilteredTask,
    GaussianHMM,
    GaussianTask,
    LinearResponse,
    Moments,
    Population,
    Representation,
    TokenTask,
    head_risk,
)

CHAIN = GaussianHMM([[0.8, 0.3], [0.0, 0.5]], 0.6)
MODEL = Representation.gaussian(2, 4, rng=1)
LANGUAGE = CategoricalHMM(
    [0.5, 0.5], [[0.9, 0.1], [0.3, 0.7]], [[0.6, 0.3, 0.1, 0.0], [0.1, 0.2, 0.7, 0.0]]
)
TASKS: dict[str, Any] = {
    "state": GaussianTask(CHAIN, MODEL),
    "label": GaussianTask(CHAIN, MODEL, LinearResponse([[1.0], [-2.0]], 0.5)),
    "filtered": FilteredTask(CHAIN, MODEL, 0.7, length=3),
    "token": TokenTask(LANGUAGE, np.random.default_rng(2).standard_normal((4, 3)), 0.5),
}


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("design", ["prompts", "document"])
def test_draws_have_the_moments_that_the_task_claims(name: str, design: str) -> None:
    task = TASKS[name]
    if (name, design) == ("filtered", "document"):
        with pytest.raises(ValueError, match="design"):
            task.draw(3, rng=0, design=design)
        return
    population, n = task.population(), 4000
    draws = [task.draw(n, rng=[3, k], design=design) for k in range(20)]
    for claimed, products in (
        (population.feature_covariance, [x.T @ x / n for x, _ in draws]),
        (population.cross_covariance, [x.T @ y / n for x, y in draws]),
        (population.response_covariance, [y.T @ y / n for _, y in draws]),
    ):
        found = np.array(products)
        error = found.std(axis=0, ddof=1) / np.sqrt(len(draws)) + 1e-12
        assert (np.abs(found.mean(axis=0) - claimed) < 5.5 * error).all()


@pytest.mark.parametrize("name", TASKS)
def test_a_task_agrees_with_dense_moments(name: str) -> None:
    task = TASKS[name]
    sizes = range(task.representation.size + 1)
    for size, moments in zip(sizes, task.moments(sizes), strict=True):
        made = task.population(size)
        dense = Population(made.feature_covariance, made.cross_covariance, made.response_covariance)
        np.testing.assert_allclose(made.head, dense.head, atol=1e-12)
        np.testing.assert_allclose(made.residual_covariance, dense.residual_covariance, atol=1e-12)
        for ridge, intercept in ((0.0, False), (0.7, True)):
            found = moments.risk(12, ridge, intercept=intercept)
            expected = head_risk(dense, 12, ridge, intercept=intercept)
            np.testing.assert_allclose(found.matrix, expected.matrix, atol=1e-12)


def test_truncating_a_population_is_asking_the_task_for_fewer_features() -> None:
    task = TASKS["label"]
    cut, asked = task.population().truncate(2), task.population(2)
    np.testing.assert_allclose(cut.head, asked.head, rtol=1e-13)
    assert cut.n_features == asked.n_features == 2


def test_the_risk_of_a_given_head_is_its_mean_squared_error() -> None:
    task = TASKS["state"]
    population, head = task.population(), np.full((4, 2), 0.3)
    x, y = task.draw(400_000, rng=5)
    squares = np.square(y - x @ head).sum(axis=1)
    error = squares.std() / np.sqrt(squares.size)
    assert abs(np.trace(population.risk_of(head)) - squares.mean()) < 5 * error
    np.testing.assert_allclose(
        population.risk_of(population.head), population.residual_covariance, rtol=1e-12
    )


@pytest.mark.parametrize(
    "spoilt",
    [
        {"multiplicities": [2.0, 1.0]},
        {"kurtosis": 1.0},
        {"residuals": None},
        {"row_scales": None},
    ],
)
def test_moments_refuse_what_no_formula_takes(spoilt: dict[str, Any]) -> None:
    right: dict[str, Any] = {
        "eigenvalues": [2.0, 1.0],
        "head": [[1.0], [0.5]],
        "residual_covariance": [[1.0]],
        "row_scales": [0.5, 1.5],
        "residuals": np.ones((2, 1, 1)),
    }
    assert Moments(**right).risk(9).total > 1.0
    with pytest.raises(ValueError, match=r"row_scales|residuals"):
        Moments(**{**right, **spoilt})
