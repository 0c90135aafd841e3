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


def test_ntps_is_the_share_of_the_label_that_foretells_the_next_state() -> None:
    rng = np.random.default_rng(4)
    steady = np.empty((10_000, 12, 4))
    steady[:, 0] = rng.standard_normal((10_000, 4))
    for t in range(1, 12):  # two directions that last, two that are forgotten
        steady[:, t] = steady[:, t - 1] * [0.9, 0.8, 0, 0] + rng.standard_normal((10_000, 4))
    span = choosing.next_directions(choosing.next_moments(steady))
    assert span.shape == (4, 2)
    assert span.T @ span == pytest.approx(np.eye(2), abs=1e-12)
    assert np.square(span[:2]).sum() == pytest.approx(2, abs=0.02)
    x = rng.standard_normal((3000, 4))
    for direction, share in (([1, 1, 0, 0], 1), ([0, 0, 1, 2], 0), ([1, 0, 1, 0], 0.5)):
        y = x @ np.array(direction, float)[:, None] + 0.1 * rng.standard_normal((3000, 1))
        assert choosing.ntps(x, y, span) == pytest.approx(share, abs=0.03)
    # Texts that end earlier count up to their end.
    cut = steady.copy()
    cut[:5000, 6:] = 0
    again = choosing.next_directions(choosing.next_moments(cut))
    assert np.square(again[:2]).sum() == pytest.approx(2, abs=0.02)


def test_a_cell_ranks_what_is_plain_and_holds_every_method() -> None:
    rng = np.random.default_rng(5)
    x = rng.standard_normal((400, 12))
    y = x[:, :6].sum(axis=1, keepdims=True) + rng.standard_normal((400, 1))
    family = {"half": x[:, :3], "all": x[:, :6], "noise": rng.standard_normal((400, 6))}
    members = choosing.Members(family, y)
    said = choosing.cell(members, 150, 0, [100, 1000])
    plain = {"leave-one-out", "LogME", "H-score", "widest", "compare 100", "compare 1000"}
    assert set(said) == plain
    spans = {name: np.eye(x.shape[1])[:, :2] for name, x in family.items()}
    assert set(choosing.cell(choosing.Members(family, y, spans), 150, 0, [100])) == (
        plain - {"compare 1000"} | {"NTPS"}
    )
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
    ntps = by["Shakespeare, widths", "NTPS"]
    assert all(ntps[f"regret, N = {size}"] > 50 for size in choosing.PILOTS)
    of_layers = [row for (family, _), row in by.items() if family == "SmolLM2, layers"]
    for size in (60, 150):
        assert max(of_layers, key=lambda row: row[f"regret, N = {size}"])["chosen by"] == "NTPS"
