"""The table of the paper's claims: verdicts on curves whose answers are plain."""

import numpy as np
import pytest
from claims import NAME, Curve, claims, collect, verdict
from nbformat import v4

SIZES = [5, 10, 18, 22, 40, 80]


def curve(measured: list[float], worth: float, n: int = 20, error: float = 0.01) -> Curve:
    """Return a system of variance 1 whose first feature is worth so many times its price."""
    share = np.minimum(worth * 5 / (n - 1), 0.9) * np.array(SIZES) / 80
    share[0] = worth * 5 / (n - 1)
    return Curve.of(
        {
            "system": "toy",
            "n": n,
            "none": 1.0,
            "total": 1.0,
            "sizes": SIZES,
            "theory": [1.02 * x for x in measured],
            "measured": measured,
            "error": [error] * len(SIZES),
            "noise": (1 - share).tolist(),
        }
    )


def test_a_feature_that_pays_moves_the_best_size_from_zero() -> None:
    row = verdict(curve([0.8, 0.9, 9.0, 8.0, 2.0, 0.6], worth=2.0))
    assert row["worth / price"] == "2"
    assert row["best below n: theory, seen"] == "5, 5"
    assert row["best of all: theory, seen"] == "80, 80"
    assert row["criterion"] == "right"
    assert row["theory off, %: median (worst)"] == "2.0 (2)"


def test_a_feature_that_does_not_pay_leaves_it_at_zero() -> None:
    zero = curve([1.2, 1.5, 9.0, 8.0, 2.0, 1.4], worth=0.5)
    assert verdict(zero)["best below n: theory, seen"] == "0, 0"
    assert verdict(zero)["best of all: theory, seen"] == "0, 0"
    assert verdict(zero)["criterion"] == "right"


@pytest.mark.parametrize(
    ("least", "worth", "said"),
    [(0.8, 0.5, "wrong"), (1.2, 2.0, "wrong"), (0.99, 2.0, "within error")],
)
def test_a_wrong_criterion_is_called_wrong(least: float, worth: float, said: str) -> None:
    assert verdict(curve([least, 1.5, 9.0, 8.0, 2.0, 1.4], worth))["criterion"] == said


def test_claims_are_counted_and_exceptions_named() -> None:
    peak, flat = curve([1.2, 1.5, 9.0, 8.0, 2.0, 1.4], 0.5), curve([0.9] * 6, 2.0)
    unsure = curve([0.99, 1.5, 9.0, 8.0, 2.0, 1.4], 0.5, n=19)
    rise, zero, of_all, _ = claims([peak, flat, unsure])
    assert list(rise.values())[1:] == ["2 of 3", "toy (20)", "–"]
    assert list(zero.values())[1:] == ["1 of 3", "toy (20)", "toy (19)"]
    assert list(of_all.values())[1:] == ["1 of 3", "toy (20)", "toy (19)"]


def test_a_system_without_large_sizes_has_no_best_of_all() -> None:
    short = verdict(curve([1.2, 1.5, 9.0, 8.0, 2.0, 1.4], 0.5, n=90))
    assert short["best of all: theory, seen"] == "–"


def test_a_curve_in_another_order_or_of_other_lengths_is_refused() -> None:
    record = {"system": "toy", "n": 9, "none": 1.0, "total": 1.0, "sizes": [2, 1], "theory": [1, 1],
              "measured": [1, 1], "error": [1, 1], "noise": [1, 1]}  # fmt: skip
    with pytest.raises(ValueError, match="sizes in order"):
        Curve.of(record)
    with pytest.raises(ValueError, match="one length"):
        Curve.of(record | {"sizes": [1, 2], "noise": [1]})
    with pytest.raises(ValueError, match="positive"):
        Curve.of(record | {"sizes": [1, 2], "error": [1, 0]})


def test_every_system_of_the_book_hands_over_its_curve() -> None:
    from test_pages import CHAPTERS

    found = collect(CHAPTERS)
    assert len({c.system for c in found}) >= 10
    far_off = {
        "Gaussian chain, one document, rotating, ρ = 0.999",
        "SmolLM2's next token, 24 tokens in a row",
        "tokens, noise 0.1",
        "transformers on an HMM's tokens",
        "SmolLM2, its own order",
    }
    assert {c.system for c in found if c.off > 0.05} == far_off  # as the page says
    assert [c.n for c in found if c.off > 0.05 and "own order" in c.system] == [50]
    wrong = {c.system for c in found if verdict(c)["criterion"] == "wrong"}
    assert wrong == {
        f"Gaussian chain, one document, lingering, ρ = {rho}" for rho in (0.9, 0.99, 0.999)
    }
    assert {c.n for c in found if c.system == "Gaussian chain, prompts"} == {40, 60, 200}


def test_what_is_glued_is_found(tmp_path) -> None:
    record = {"system": "toy", "n": 9, "none": 1.0, "total": 1.0, "sizes": [1], "theory": [1.0],
              "measured": [1.0], "error": [0.1], "noise": [0.5]}  # fmt: skip
    output = v4.new_output(
        "display_data", {NAME: repr([record])}, metadata={"scrapbook": {"name": "claims"}}
    )
    page = v4.new_notebook(cells=[v4.new_code_cell("", outputs=[output])])
    (tmp_path / "01_a.ipynb").write_text(v4.writes(page), encoding="utf-8")
    assert [c.system for c in collect(tmp_path)] == ["toy"]
