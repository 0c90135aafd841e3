"""What `diagnose` says that its findings cost is what the benchmark of real pilots has seen."""

import json

import numpy as np
import pytest

from benchmarks.practice import findings
from benchmarks.practice.__main__ import stored_tables
from hmmtheory.practice._findings import COST


@pytest.fixture(scope="module")
def frame() -> findings.pd.DataFrame:
    return findings.told(findings.errors(), json.loads(findings.STORE.read_text()))


def test_no_finding_fires_on_more_than_a_quarter_of_ordinary_pilots(
    frame: findings.pd.DataFrame,
) -> None:
    table = findings.table(frame)
    assert (table["fires on ordinary, %"] <= 25).all()
    assert frame["ordinary"].mean() > 0.4


def test_the_book_shows_what_is_stored(frame: findings.pd.DataFrame) -> None:
    shown = json.loads(findings.SUMMARY.read_text())
    stored = json.loads((findings.FOLDER / "practice.json").read_text())
    tables = stored_tables(stored)
    assert {k: shown[k] for k in tables} == tables
    assert shown["findings"] == findings.table(frame).reset_index().to_dict("records")


def test_costs_are_those_of_the_benchmark(frame: findings.pd.DataFrame) -> None:
    assert COST
    for name, (with_it, without) in COST.items():
        here = np.array([name in names for names in frame["cautions"]])
        errors = frame["error"].to_numpy()
        assert np.median(errors[here]) == pytest.approx(with_it, abs=0.51)
        assert np.median(errors[~here]) == pytest.approx(without, abs=0.51)


def test_the_verdict_holds_in_four_cases_of_five(frame: findings.pd.DataFrame) -> None:
    trusted = frame[frame["ordinary"] & frame["trust"].notna()]
    assert len(trusted) > 100
    # n differs from the pilot's size, and so does its share; at n = N it is the verdict itself.
    same = trusted[trusted["n"] == trusted["N"]]
    held = (same["error"] <= same["trust"]).mean()
    assert 0.65 <= held <= 0.95


def test_the_tables_say_what_chapter_13_says_of_them() -> None:
    shown = json.loads(findings.SUMMARY.read_text())
    classes = {row["set"]: row for row in shown["classes"]}["all"]
    assert 0.5 < classes["logistic head's lead"] < 1.5
    assert 0 < classes["ours: median"] - classes["power law: median"] < 0.5
    # And what the page Benchmarks says of the labels that a risk takes.
    labels = {row["set"]: row for row in shown["labels"]}
    assert labels["all"]["pmsampsize: median"] > 5
    assert labels["all"]["90 %"] == "∞"
    assert labels["tumour area"]["inside the interval"] < 0.5
