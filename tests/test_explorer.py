"""The explorer computes in JavaScript what the package computes in Python."""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest
import sympy as sp
from explorer import code, formulas, javascript
from numpy.testing import assert_allclose
from scipy import stats

from hmmtheory import GaussianHMM, Population, Representation, risk_curve
from hmmtheory import optimal_ridge as numerical_ridge
from hmmtheory.closed_forms import (
    SYMBOLS,
    balanced_forms,
    balanced_risk,
    global_optimum,
    limit_risk,
    sweet_spot,
)

ROOT = Path(__file__).resolve().parents[1]
STATIC = ROOT / "tools" / "_static"
CHAPTER = (ROOT / "chapters" / "explorer.md").read_text(encoding="utf-8")
RUNNING = {"n": 60, "d": 20, "s": 1.0, "rho": 0.9, "sigma_u": 1.0, "ridge": 0.0}

Model = dict[str, Any]


def package(model: Model) -> tuple[int, int, float, float, float]:
    """Return the arguments of the package's functions of a system."""
    return model["d"], model["n"], model["rho"], model["s"], model["sigma_u"]


def package_risk(model: Model, sizes: Any) -> Any:
    dim, n_samples, rho, noise, unseen = package(model)
    return balanced_risk(dim, n_samples, sizes, rho, noise, unseen, model["ridge"])


def draw(count: int, seed: int) -> list[Model]:
    """Return systems from all over the sliders, with their ends, and no ridge as often as some."""
    rng = np.random.default_rng(seed)
    return [
        {
            "n": int(rng.integers(4, 301)),
            "d": int(rng.integers(1, 201)),
            "s": float(10 ** rng.uniform(-2, 2)),
            "rho": float(rng.choice([0.0, 0.99, rng.uniform(0, 0.99), rng.uniform(0, 0.99)])),
            "sigma_u": float(10 ** rng.uniform(-1, np.log10(5))),
            "ridge": float(rng.choice([0.0, 0.0, 1e-3, 10 ** rng.uniform(-3, 4)])),
        }
        for _ in range(count)
    ]


EXPLORER = ("explorer_heads.js", "explorer_ui.js")


def alone(browser: Any, folder: Path, body: str, scripts: tuple[str, ...]) -> Iterator[Any]:
    """Yield a page that holds nothing else; close it, and it must have had no complaint."""
    (folder / "explorer_formulas.js").write_text(javascript(), encoding="utf-8")
    for name in ("explorer.css", *scripts):
        (folder / name).write_text((STATIC / name).read_text(encoding="utf-8"), encoding="utf-8")
    sources = "".join(
        f"<script src={name}></script>" for name in ("explorer_formulas.js", *scripts)
    )
    (folder / "index.html").write_text(
        "<!doctype html><html lang=en><meta charset=utf-8><title>Alone</title>"
        f"<link rel=stylesheet href=explorer.css><body class=bd-article>{body}{sources}",
        encoding="utf-8",
    )
    opened = browser.new_page(viewport={"width": 1000, "height": 900})
    problems: list[str] = []
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on(
        "console", lambda message: problems.append(message.text) if message.type == "error" else 0
    )
    opened.goto((folder / "index.html").as_uri())
    yield opened
    assert problems == []
    opened.close()


@pytest.fixture(scope="module")
def page(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Return a page that holds nothing but the explorer."""
    body = "<div id=explorer></div><p><span data-explorer='n=40'>Fewer labels</span></p>"
    yield from alone(browser, tmp_path_factory.mktemp("explorer"), body, EXPLORER)


@pytest.fixture
def fresh(page: Any) -> Any:
    """Return the page as a reader finds it."""
    page.goto(page.url.partition("?")[0])
    page.set_viewport_size({"width": 1000, "height": 900})
    return page


class TestGenerator:
    def test_there_is_a_function_for_every_formula(self) -> None:
        text = javascript()
        for members in formulas().values():
            for name in members:
                assert f"\n{name}: ({{" in text

    def test_it_is_the_same_each_time(self) -> None:
        assert javascript() == javascript()

    def test_what_javascript_cannot_compute_is_refused(self) -> None:
        with pytest.raises(ValueError, match="no JavaScript for"):
            code(sp.gamma(SYMBOLS["p"]))

    def test_no_formula_is_written_by_hand(self) -> None:
        hand = (STATIC / "explorer_ui.js").read_text(encoding="utf-8")
        for group, members in formulas().items():
            for name in members:
                assert f".{name}" in hand, f"{group}.{name} is generated but never used"
        assert not re.search(r"sigma_u\s*\*|\*\s*sigma_u|rho\s*\*\s*\w*\.?s\b", hand)


class TestNumbers:
    def test_the_risk_is_that_of_the_package_at_random_settings(self, page: Any) -> None:
        rng = np.random.default_rng(1)
        cases = []
        for model in draw(350, seed=1):
            n, d = model["n"], model["d"]
            edges = [0, 1, d - 1, d, d + 1, n - 2, n - 1, n, n + 1, n + 2, n + 3]
            inside = rng.integers(0, 4 * n, size=2).tolist()
            far = int(10 ** rng.uniform(2, 5))
            cases += [(model, size) for size in [*edges, *inside, far] if size >= 0]
        found = page.evaluate("cases => cases.map(([m, p]) => hmmExplorer.risk(m, p))", cases)
        expected = np.array([package_risk(model, [size])[0] for model, size in cases])
        total = np.array([at["total"] for at in found])
        assert len(cases) > 4500
        assert np.isinf(expected).sum() > 300
        assert_allclose(total, expected, rtol=1e-9)
        # Exact is what R1 covers, and size zero.
        claimed = np.array([at["exact"] for at in found])
        covered = [m["ridge"] == 0 and p <= m["n"] + 1 for m, p in cases]
        assert_array_equal(claimed, np.logical_or(covered, [p == 0 for _, p in cases]))
        parts = np.array([[at[k] for k in ("noise", "bias", "variance")] for at in found])
        finite = np.isfinite(expected)
        assert_allclose(parts[finite].sum(axis=1), expected[finite], rtol=1e-12)
        assert (parts >= -1e-9 * parts[:, :1]).all()

    @pytest.mark.parametrize("ridge", [0.0, 0.5, 40.0])
    @pytest.mark.parametrize(("dim", "n_samples"), [(6, 15), (12, 10)])
    def test_the_parts_are_those_of_an_explicit_model(
        self, page: Any, dim: int, n_samples: int, ridge: float
    ) -> None:
        chain = GaussianHMM.rotation(dim, 0.8, rng=0)
        model = {"n": n_samples, "d": dim, "s": 2.0, "rho": 0.8, "sigma_u": 0.7, "ridge": ridge}
        sizes = [0, 1, 4, dim, dim + 1, n_samples + 2, 2 * n_samples, 50]
        found = page.evaluate(
            "([m, sizes]) => sizes.map(p => hmmExplorer.risk(m, p))", [model, sizes]
        )
        for size, at in zip(sizes, found, strict=True):
            if ridge == 0 and abs(size - n_samples) <= 1:
                continue
            explicit = Representation.balanced(dim, size, 2.0, 0.7, rng=size)
            curve = risk_curve(chain, explicit, n_samples, [size], ridge, order=1)
            for part in ("noise", "bias", "variance"):
                expected = getattr(curve, part)[0]
                assert at[part] == pytest.approx(expected, rel=1e-8, abs=1e-10), (size, part)

    @pytest.mark.parametrize("ridge", [1e-6, 1e-3, 1.0])
    def test_the_root_is_accurate_where_it_is_hardest(self, page: Any, ridge: float) -> None:
        """Against 40 digits: next to the threshold a tiny ridge leaves two roots near zero."""
        models = [{**model, "ridge": ridge} for model in draw(6, seed=2)]
        cases = [(m, p) for m in models for p in (m["n"] - 1, m["n"], m["n"] + 1, 3 * m["n"])]
        found = page.evaluate("cases => cases.map(([m, p]) => hmmExplorer.risk(m, p).total)", cases)
        assert_allclose(found, [risk_to_40_digits(*case) for case in cases], rtol=1e-9)

    def test_the_sweet_spot_is_that_of_the_package(self, page: Any) -> None:
        models = [RUNNING, {**RUNNING, "n": 40}, *draw(400, seed=3)]
        found = page.evaluate("models => models.map(hmmExplorer.sweetSpot)", models)
        for model, spot in zip(models, found, strict=True):
            expected = sweet_spot(*package(model))
            assert spot["size"] == expected.size, model
            assert spot["degenerate"] == expected.degenerate, model
            assert_allclose(spot["risk"], expected.risk, rtol=1e-9)
            assert_allclose(spot["fraction"], expected.predictable_fraction, rtol=1e-9)
            assert_allclose(spot["critical"], expected.critical_samples, rtol=1e-9)
        assert 50 < sum(spot["degenerate"] for spot in found) < 350

    def test_rounding_does_not_decide_a_tie(self, page: Any) -> None:
        tie = {**RUNNING, "n": 51, "rho": float(np.sqrt(0.8))}  # d = c(n - 1)
        assert page.evaluate("m => hmmExplorer.sweetSpot(m)", tie)["degenerate"]
        more = {**tie, "n": 52}
        assert not page.evaluate("m => hmmExplorer.sweetSpot(m)", more)["degenerate"]

    def test_the_phase_is_that_of_the_package(self, page: Any) -> None:
        models = [{**model, "ridge": 0.0} for model in draw(250, seed=4)]
        found = page.evaluate(
            "models => models.map(m => [hmmExplorer.globalOptimum(m), hmmExplorer.limitRisk(m)])",
            models,
        )
        phases = []
        for model, (optimum, limit) in zip(models, found, strict=True):
            expected = global_optimum(*package(model))
            assert optimum["phase"] == expected.phase, model
            assert_allclose(optimum["risk"], expected.risk, rtol=1e-9)
            assert_allclose(limit, limit_risk(*package(model)), rtol=1e-9)
            phases.append(expected.phase)
        assert 30 < phases.count("zero") < 220
        assert phases.count("infinite") > 30

    def test_with_a_ridge_no_size_beats_the_best(self, page: Any) -> None:
        models = [
            {**m, "ridge": r} for m, r in zip(draw(30, seed=5), [0.1, 5.0, 200.0] * 10, strict=True)
        ]
        for model in models:
            optimum = page.evaluate("m => hmmExplorer.globalOptimum(m)", model)
            sizes = np.unique(np.geomspace(1, 1e6, 300).astype(int))
            least = min(package_risk(model, sizes).min(), model["d"], limit_risk(*package(model)))
            assert optimum["risk"] <= least * (1 + 1e-3), model
            if optimum["phase"] == "interior":
                at = package_risk(model, [int(optimum["size"])])[0]
                assert_allclose(optimum["risk"], at, rtol=1e-9)

    def test_the_borders_of_the_map_are_where_the_verdicts_change(self, page: Any) -> None:
        checked = 0
        for model in draw(60, seed=6):
            edge = page.evaluate("m => hmmExplorer.boundaries(m, m.d)", model)
            for side in (-1e-6, 1e-6):
                infinite, descent = (np.sqrt(edge[k] * (1 + side)) for k in ("infinite", "descent"))
                if infinite < 1:
                    risk = limit_risk(*package({**model, "rho": float(infinite)}))
                    assert (risk < model["d"]) == (side > 0)
                    checked += 1
                if descent < 1:
                    spot = sweet_spot(*package({**model, "rho": float(descent)}))
                    assert spot.degenerate == (side < 0)
                    checked += 1
        assert checked > 60

    def test_the_best_ridge_is_that_of_the_numerical_search(self, page: Any) -> None:
        for model in draw(200, seed=7)[:8]:
            model = {**model, "d": min(model["d"], 30), "rho": max(model["rho"], 0.3)}
            chain = GaussianHMM.rotation(model["d"], model["rho"], rng=0)
            features = Representation.balanced(
                model["d"], model["d"], model["s"], model["sigma_u"], rng=0
            )
            population = Population.next_token(chain, features)
            expected = numerical_ridge(population, model["n"], order=1)
            found = page.evaluate("m => hmmExplorer.optimalRidge(m)", model)
            assert_allclose(found, expected, rtol=1e-4)


def assert_array_equal(found: Any, expected: Any) -> None:
    np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))


def risk_to_40_digits(model: Model, size: int) -> float:
    """Return the risk with ridge from the package's expressions, in exact arithmetic to the end."""
    forms = balanced_forms(size > model["d"])
    names = {"d": "d", "n": "n", "s": "s", "rho": "rho", "sigma_u": "sigma_u", "lam": "ridge"}
    at = {SYMBOLS[name]: sp.Rational(model[key]) for name, key in names.items()}
    at[SYMBOLS["p"]] = sp.Integer(size)
    kappa = SYMBOLS["kappa"]
    with mpmath.workdps(60):
        coefficients = sp.Poly(forms.kappa_equation.subs(at), kappa).all_coeffs()
        roots = mpmath.polyroots(
            [mpmath.mpf(c.p) / c.q for c in coefficients], maxsteps=500, extraprec=400
        )
        root = sp.Float(max(mpmath.re(root) for root in roots), 50)
    return float(forms.risk_over.subs({**at, kappa: root}).evalf(40))


class TestState:
    def test_an_address_holds_the_whole_state(self, page: Any) -> None:
        for model in draw(50, seed=8):
            state = {**model, "p": 17, "far": True}
            back = page.evaluate("s => hmmExplorer.parse(hmmExplorer.serialise(s))", state)
            # A value between two steps of a slider survives; one beyond its end does not.
            assert back == state

    @pytest.mark.parametrize(
        ("query", "changed"),
        [
            ("", {}),
            ("n=40", {"n": 40}),
            ("n=forty&d=&rho=NaN&p=-3&far=yes", {}),
            ("n=100000&d=-5&rho=2&s=0", {"n": 300, "d": 1, "rho": 0.99, "s": 0.01}),
            ("n=40.6&ridge=1e3", {"n": 41, "ridge": 1000}),
            ("<script>=1&__proto__=2&highlight=ridge", {}),
        ],
    )
    def test_an_address_that_makes_no_sense_does_no_harm(
        self, page: Any, query: str, changed: Model
    ) -> None:
        state = page.evaluate("query => hmmExplorer.parse(query)", query)
        assert state == {**RUNNING, "p": None, "far": False, **changed}

    def test_presets_are_steps_of_the_sliders(self, page: Any) -> None:
        steps = page.evaluate(
            "() => Object.fromEntries(hmmExplorer.PARAMETERS.map(x => [x.key, x.values]))"
        )
        for values in steps.values():
            assert all(a < b for a, b in itertools.pairwise(values))
        for query in PRESETS:
            state = page.evaluate("query => hmmExplorer.parse(query)", query)
            for key, value in state.items():
                assert key in ("p", "far") or value in steps[key] or "best" in query


# What the page says of each preset.
PRESETS = re.findall(r'data-explorer="([^"]*)"', CHAPTER.replace("&amp;", "&"))


@pytest.fixture
def preset(page: Any) -> Any:
    """Return a function that gives the state of the one preset with these words."""

    def state(query: str) -> Model:
        assert PRESETS.count(query) == 1
        found: Model = page.evaluate("query => hmmExplorer.parse(query)", query)
        return found

    return state


class TestWhatThePageSays:
    def test_the_running_example_hardly_descends(self, preset: Any) -> None:
        model = preset("")
        assert {key: model[key] for key in RUNNING} == RUNNING
        spot = sweet_spot(*package(model))
        assert not spot.degenerate
        assert 0.85 * model["d"] < spot.risk < model["d"]
        assert 40 < spot.critical_samples < 60

    def test_with_fewer_labels_it_rises(self, preset: Any) -> None:
        model = preset("n=40")
        assert sweet_spot(*package(model)).degenerate
        assert (np.diff(package_risk(model, range(model["n"] - 1))) > 0).all()

    def test_with_many_it_descends_beyond_d_but_infinity_is_better(self, preset: Any) -> None:
        model = preset("n=200")
        spot = sweet_spot(*package(model))
        assert spot.size > model["d"]
        assert spot.risk < 0.7 * model["d"]
        assert global_optimum(*package(model)).phase == "infinite"

    def test_the_best_ridge_removes_the_peak_and_less_brings_it_back(self, preset: Any) -> None:
        model = preset("ridge=best&p=60")
        n, sizes = model["n"], np.arange(4 * model["n"] + 1)
        tuned = package_risk(model, sizes)
        assert (np.diff(tuned) < 0).all()
        less = package_risk({**model, "ridge": 3.0}, sizes)
        assert less[n] > 1.5 * tuned[n]
        assert less[n] > 1.2 * max(less[n // 2], less[2 * n])
        assert abs(less[4 * n] / tuned[4 * n] - 1) < 0.05

    def test_no_model_is_best_until_the_state_persists(self, preset: Any) -> None:
        model = preset("n=40&d=70&s=4&rho=0.5&far=1")
        assert global_optimum(*package(model)).phase == "zero"
        assert limit_risk(*package(model)) > model["d"]
        assert global_optimum(*package({**model, "rho": 0.9})).phase == "infinite"

    def test_a_stronger_signal_moves_a_system_into_the_zero_phase(self, preset: Any) -> None:
        model = preset("n=40&d=40&rho=0.6&s=1&far=1")
        assert global_optimum(*package(model)).phase == "infinite"
        assert global_optimum(*package({**model, "s": 4.0})).phase == "zero"

    def test_without_feature_noise_features_beyond_d_are_copies(self, preset: Any) -> None:
        model = preset("n=100&d=20&sigma_u=0.1&p=60")
        d, n = model["d"], model["n"]
        # Below n the risk is the noise times (n - 1)/(n - p - 1).
        below = np.array([d, 60, n - 2])
        noise = package_risk(model, below) * (n - below - 1) / (n - 1)
        assert noise[2] > 0.95 * noise[0]
        risk = package_risk(model, [d, 60])
        assert risk[1] > 1.5 * risk[0]

    def test_every_preset_was_looked_at(self) -> None:
        source = Path(__file__).read_text(encoding="utf-8")
        tested = set(re.findall(r'preset\("([^"]*)"\)', source))
        assert set(PRESETS) == tested


class TestHeads:
    @pytest.mark.parametrize(
        ("p", "ridge"), [(4, 0.0), (10, 0.0), (30, 0.0), (60, 0.0), (20, 3.0), (45, 3.0)]
    )
    def test_their_mean_risk_is_that_of_the_theory(self, page: Any, p: int, ridge: float) -> None:
        model = {"n": 20, "d": 6, "s": 1.5, "rho": 0.8, "sigma_u": 0.9, "ridge": ridge}
        draws = np.array(
            page.evaluate(
                """([model, p, length]) => {
                    const normal = hmmHeads.normals(7);
                    return Array.from({ length }, () => hmmHeads.trainedRisk(model, p, normal));
                }""",
                [model, p, 1500],
            )
        )
        chain = GaussianHMM.rotation(6, 0.8, rng=0)
        features = Representation.balanced(6, p, signal=1.5, noise_std=0.9, rng=1)
        expected = risk_curve(chain, features, 20, [p], ridge).risk[0]
        error = draws.std(ddof=1) / np.sqrt(draws.size)
        assert abs(draws.mean() - expected) < 4 * error + 0.003 * expected
        assert error < 0.02 * expected

    def test_numbers_are_normal(self, page: Any) -> None:
        draws = page.evaluate(
            "(() => { const f = hmmHeads.normals(3); return Array.from({ length: 40000 }, f); })()"
        )
        assert stats.kstest(draws, "norm").pvalue > 1e-3


CURVE = "() => document.querySelector('.explorer-chart path.total').getAttribute('d')"


class TestPage:
    def test_a_slider_moves_the_curve_the_words_and_the_address(self, fresh: Any) -> None:
        before = fresh.evaluate(CURVE)
        fresh.get_by_text("The first descent exists").wait_for()
        slider = fresh.get_by_label("labels n")
        slider.focus()
        for _ in range(20):
            slider.press("ArrowLeft")
        assert slider.get_attribute("aria-valuetext") == "40"
        assert fresh.evaluate(CURVE) != before
        fresh.get_by_text("The first descent is missing").wait_for()
        fresh.wait_for_function("location.search.includes('n=40')")
        label = fresh.locator(".explorer-chart svg").get_attribute("aria-label")
        fresh.wait_for_function(
            "document.querySelector('.explorer-chart svg').ariaLabel.includes('p = 40')"
        )
        assert "model size" in label

    def test_a_reload_and_a_shared_link_restore_what_was_seen(self, fresh: Any) -> None:
        fresh.get_by_label("ridge λ").press("End")
        fresh.get_by_label("sizes to 100,000").check()
        fresh.wait_for_function("location.search.includes('far=1')")
        curve, address = fresh.evaluate(CURVE), fresh.url
        fresh.reload()
        assert fresh.evaluate(CURVE) == curve
        other = fresh.context.browser.new_page(viewport={"width": 1000, "height": 900})
        other.goto(address)
        assert other.evaluate(CURVE) == curve
        assert other.get_by_label("ridge λ").get_attribute("aria-valuetext") == "10000"
        other.close()

    def test_reset_returns_to_the_running_example(self, fresh: Any) -> None:
        before, address = fresh.evaluate(CURVE), fresh.url
        fresh.get_by_label("signal s").press("End")
        fresh.wait_for_function("location.search.includes('s=100')")
        fresh.get_by_role("button", name="Reset").press("Enter")
        assert fresh.evaluate(CURVE) == before
        fresh.wait_for_timeout(300)
        assert fresh.url == address

    def test_the_link_is_copied(self, fresh: Any) -> None:
        fresh.evaluate(
            """() => {
                window.copied = "";
                navigator.clipboard.writeText = async (text) => { window.copied = text; };
            }"""
        )
        fresh.get_by_label("persistence ρ").press("Home")
        fresh.get_by_role("button", name="Copy link").click()
        fresh.get_by_text("Link copied.").wait_for()
        link = fresh.evaluate("window.copied")
        assert link.startswith(fresh.url.partition("?")[0] + "?")
        assert "rho=0&" in link

    def test_one_size_can_be_read_off(self, fresh: Any) -> None:
        fresh.goto(fresh.url + "?p=60")
        rows = fresh.locator(".explorer-table tr").all_inner_texts()
        assert rows[0].split("\t")[-1] == "∞"
        reader = fresh.get_by_label("Read the curve at size p")
        assert "infinite" in reader.get_attribute("aria-valuetext")
        for _ in range(20):
            reader.press("ArrowLeft")
        value = fresh.locator(".explorer-table td").first.inner_text()
        expected = package_risk(RUNNING, [40])[0]
        assert float(value) == pytest.approx(expected, rel=5e-3)
        fresh.wait_for_function("location.search.includes('p=40')")

    def test_the_pointer_reads_the_chart_and_moves_on_the_map(self, fresh: Any) -> None:
        chart = fresh.locator(".explorer-chart svg").bounding_box()
        fresh.mouse.click(chart["x"] + chart["width"] - 13, chart["y"] + 100)
        assert "p = 240" in fresh.locator(".explorer-table caption").inner_text()
        area = fresh.locator(".explorer-map > svg")
        area.scroll_into_view_if_needed()
        box = area.bounding_box()
        fresh.mouse.click(box["x"] + box["width"] * 0.9, box["y"] + box["height"] * 0.8)
        fresh.get_by_text("Best size of all: zero").wait_for()
        assert int(fresh.get_by_label("state dimension d").get_attribute("aria-valuetext")) > 60

    def test_the_line_of_the_threshold_is_dragged_on_axes_that_hold_still(self, fresh: Any) -> None:
        marks = "[...document.querySelectorAll('.explorer-chart text')].map((t) => t.textContent)"
        axes = [mark for mark in fresh.evaluate(marks) if mark.isdigit()]
        curve = fresh.evaluate(CURVE)
        box = fresh.locator(".explorer-chart .handle").bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + 50
        fresh.mouse.move(x, y)
        fresh.mouse.down()
        for step in range(1, 11):
            fresh.mouse.move(x + 10 * step, y)
        labels = int(fresh.get_by_label("labels n").get_attribute("aria-valuetext"))
        assert labels > 80
        assert [mark for mark in fresh.evaluate(marks) if mark.isdigit()] == axes
        # What was there is still seen, in pale.
        ghost = "document.querySelector('.explorer-chart path.ghost').getAttribute('d')"
        assert fresh.evaluate(ghost) == curve != fresh.evaluate(CURVE)
        fresh.mouse.up()
        fresh.wait_for_function(f"location.search.includes('n={labels}')")

    def test_small_moves_of_a_slider_leave_the_axes(self, fresh: Any) -> None:
        last = "document.getElementById('explorer-p').max"
        before = fresh.evaluate(last)
        fresh.get_by_label("labels n").press("ArrowLeft")
        assert fresh.evaluate(last) == before

    def test_an_address_out_of_range_is_put_right(self, fresh: Any) -> None:
        fresh.goto(fresh.url + "?n=9999&rho=-3")
        fresh.wait_for_function("location.search.includes('n=300&')")
        assert "rho=0&" in fresh.evaluate("location.search")

    def test_heads_are_trained_and_forgotten_when_the_setting_changes(self, fresh: Any) -> None:
        fresh.goto(fresh.url + "?n=12&d=5")
        fresh.get_by_role("button", name="Train 20 heads").click()
        fresh.get_by_text("20 of 20 heads trained").wait_for()
        heads = fresh.locator(".explorer-chart circle.head")
        sizes = fresh.evaluate("hmmHeads.sizes({ n: 12 }, 120).length")
        assert heads.count() == 20 * sizes
        fresh.get_by_label("persistence ρ").press("ArrowLeft")
        assert heads.count() == 0

    def test_the_headline_says_what_is_best(self, fresh: Any) -> None:
        headline = fresh.locator(".explorer-headline")
        assert "The larger the better in the end" in headline.inner_text()
        fresh.goto(fresh.url + "?n=40&d=70&s=4&rho=0.5")
        assert "No model at all is best" in headline.inner_text()
        assert "every head is worse than none" in headline.inner_text()

    def test_a_suggestion_in_the_text_sets_the_sliders(self, fresh: Any) -> None:
        fresh.get_by_role("button", name="Fewer labels").click()
        assert fresh.get_by_label("labels n").get_attribute("aria-valuetext") == "40"

    @pytest.mark.parametrize("width", [320, 390, 768])
    def test_it_fits_the_screen_and_stays_legible(self, fresh: Any, width: int) -> None:
        fresh.set_viewport_size({"width": width, "height": 844})
        fresh.wait_for_function(
            "document.querySelector('.explorer-chart svg').clientWidth <= innerWidth"
        )
        assert fresh.evaluate("document.scrollingElement.scrollWidth") <= width
        size = "getComputedStyle(document.querySelector('.explorer-chart text')).fontSize"
        assert float(fresh.evaluate(size).removesuffix("px")) >= 12

    def test_the_curve_has_a_gap_at_the_threshold_and_none_with_a_ridge(self, fresh: Any) -> None:
        assert fresh.evaluate(CURVE).count("M") == 2
        assert fresh.locator("text.infinity").count() == 1
        fresh.goto(fresh.url + "?ridge=1")
        assert fresh.evaluate(CURVE).count("M") == 1
        assert fresh.locator("text.infinity").count() == 0

    def test_a_frame_takes_less_than_a_blink(self, fresh: Any) -> None:
        fresh.goto(fresh.url + "?n=300&d=100&ridge=1")
        spent = fresh.evaluate(
            """() => {
                const slider = document.getElementById("explorer-s");
                const times = [];
                for (let i = 0; i < 20; i += 1) {
                    slider.value = 20 + i;
                    const start = performance.now();
                    slider.dispatchEvent(new Event("input", { bubbles: true }));
                    times.push(performance.now() - start);
                }
                return times.sort((a, b) => a - b)[10];
            }"""
        )
        assert spent < 200


@pytest.fixture(scope="module")
def figures(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Return a page with the small figures of the front page and of chapters."""
    body = (
        "<div class=hmm-figure data-slider=n data-parts=1 data-from=10 data-to=160></div>"
        "<div class=hmm-figure data-slider=ridge data-from=0.1></div>"
    )
    scripts = ("explorer_ui.js", "figures.js")
    yield from alone(browser, tmp_path_factory.mktemp("figures"), body, scripts)


class TestSmallFigures:
    @pytest.mark.parametrize(("key", "n"), [("Home", 10), ("End", 160)])
    def test_labels_move_the_curve_to_the_package_s_numbers(
        self, figures: Any, key: str, n: int
    ) -> None:
        figure = figures.locator(".hmm-figure").first
        slider = figure.get_by_role("slider")
        slider.press(key)
        assert slider.get_attribute("aria-valuetext") == f"n = {n}"
        model = {**RUNNING, "n": n}
        said = figure.locator(".hmm-said").inner_text()
        small = np.asarray(package_risk(model, range(n - 1)))
        if n == 10:
            assert small.argmin() == 0
            assert "no descent before the peak" in said
        else:
            found = re.search(r"first descent to ([\d.]+) at p = (\d+)", said)
            assert found is not None
            assert int(found[2]) == small.argmin()
            assert float(found[1]) == pytest.approx(small.min(), rel=5e-3)
        last = re.search(r"([\d.]+) with 240, ([\d.]+) in the limit", said)
        assert last is not None
        assert float(last[1]) == pytest.approx(package_risk(model, [240])[0], rel=5e-3)
        assert float(last[2]) == pytest.approx(limit_risk(*package(model)), rel=5e-3)
        assert said in figure.locator("svg").get_attribute("aria-label")

    def test_a_ridge_starts_at_none_and_removes_the_peak(self, figures: Any) -> None:
        figure = figures.locator(".hmm-figure").nth(1)
        slider = figure.get_by_role("slider")
        slider.press("Home")
        assert slider.get_attribute("aria-valuetext") == "λ = 0"
        assert "no finite risk at p = n" in figure.locator(".hmm-said").inner_text()
        slider.press("ArrowRight")
        assert slider.get_attribute("aria-valuetext") == "λ = 0.1"
        peak = re.search(r"([\d.,]+) at p = n = 60", figure.locator(".hmm-said").inner_text())
        assert peak is not None
        expected = package_risk({**RUNNING, "ridge": 0.1}, [60])[0]
        assert float(peak[1].replace(",", "")) == pytest.approx(expected, rel=5e-3)
