"""Rivals of `compare` against their definitions, and the stored table against its cells."""

import json

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from benchmarks.practice import choosing
from hmmtheory import compare


@pytest.mark.parametrize(("rows", "columns"), [(40, 5), (30, 60)])
def test_logme_is_the_largest_evidence_of_a_bayesian_linear_model(rows: int, columns: int) -> None:
    rng = np.random.default_rng(rows)
    x = rng.standard_normal((rows, columns)) * np.geomspace(1, 0.1, columns)
    y = x[:, :3].sum(axis=1, keepdims=True) + 0.5 * rng.standard_normal((rows, 1))
    x, y = x - x.mean(axis=0), y - y.mean()

    def negative(logs: np.ndarray) -> float:
        alpha, beta = np.exp(logs)
        covariance = x @ x.T / alpha + np.eye(rows) / beta
        return -float(multivariate_normal(np.zeros(rows), covariance).logpdf(y[:, 0]))

    best = minimize(negative, [0.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-6}).fun
    assert choosing.logme(x, y) == pytest.approx(-best / rows, abs=1e-4)


def test_the_h_score_is_the_share_between_classes() -> None:
    rng = np.random.default_rng(3)
    codes = rng.integers(3, size=4000)
    centres = np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 3.0]])
    x = centres[codes] + rng.standard_normal((4000, 2))
    centred = x - x.mean(axis=0)
    between = sum(
        (codes == c).mean() * np.outer(*[centred[codes == c].mean(axis=0)] * 2) for c in range(3)
    )
    plain = np.trace(np.linalg.solve(np.cov(x.T), between))
    assert choosing.h_score(x, np.eye(3)[codes]) == pytest.approx(plain, rel=0.01)
    assert choosing.h_score(x @ [[2.0, 1.0], [0.0, 5.0]], np.eye(3)[codes]) > 0.9 * plain
    assert choosing.h_score(rng.standard_normal((4000, 2)), np.eye(3)[codes]) < 0.02


def test_a_cell_ranks_what_is_plain_and_holds_every_method() -> None:
    rng = np.random.default_rng(5)
    x = rng.standard_normal((400, 12))
    y = x[:, :6].sum(axis=1, keepdims=True) + rng.standard_normal((400, 1))
    family = {"half": x[:, :3], "all": x[:, :6], "noise": rng.standard_normal((400, 6))}
    said = choosing.cell(family, y, 150, 0, [100, 1000])
    assert set(said) == {
        "leave-one-out",
        "LogME",
        "H-score",
        "widest",
        "compare 100",
        "compare 1000",
    }
    for name in said.keys() - {"widest", "H-score"}:
        assert int(np.argmin(said[name])) == 1
    # The more even the columns, the more its covariance is shrunk, and the whole score with it.
    assert int(np.argmax(said["H-score"])) == 2
    rows = np.random.default_rng([150, 0]).permutation(400)[:150]
    again = compare({k: v[rows] for k, v in family.items()}, y[rows], 100)
    assert said["compare 100"][1] == again.risk[again.names.index("all")]  # same bits: one call


def test_the_table_of_the_book_is_that_of_the_stored_cells() -> None:
    stored = json.loads(choosing.STORE.read_text(encoding="utf-8"))
    frame = choosing.table(stored)
    assert set(frame["family"]) == set(choosing.FAMILIES)
    assert set(frame["N"]) == set(choosing.PILOTS)
    shown = json.loads(choosing.SUMMARY.read_text(encoding="utf-8"))["choosing"]
    found = choosing.summary(frame)
    assert len(found) == len(shown)
    for now, then in zip(found, shown, strict=True):
        assert now.keys() == then.keys()
        for key, value in now.items():
            assert value == (
                then[key] if isinstance(value, str) else pytest.approx(then[key], abs=0.11)
            )


def test_the_table_says_what_chapter_12_says_of_it() -> None:
    rows = json.loads(choosing.SUMMARY.read_text(encoding="utf-8"))["choosing"]
    by = {(row["family"], row["chosen by"]): row for row in rows}
    of = {m: [row for row in rows if row["chosen by"] == m] for m in ("compare", "leave-one-out")}
    assert all(row["regret, N = 400"] < 1 for row in of["compare"])
    few = {m: np.mean([row["regret, N = 60"] for row in found]) for m, found in of.items()}
    assert few["leave-one-out"] < few["compare"]
    for family in choosing.FAMILIES:
        layers = family == "SmolLM2, layers"
        score = by[family, "H-score"]
        assert all((score[f"regret, N = {size}"] > 5) == layers for size in choosing.PILOTS)
