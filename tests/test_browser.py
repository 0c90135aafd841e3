"""The built book, page by page, as a browser shows it: `make book`, then `make browser`.

Skipped where the book is not built or no Chromium is installed; with HMMTHEORY_REQUIRE_BROWSER set,
either is a failure.
"""

import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
BOX = re.compile(r"^[:`]+\{prf:(?!proof|ref)\w+\}[^\n]*\n:label: (\S+)", re.MULTILINE)
SITE = Path(os.environ.get("HMMTHEORY_SITE", ROOT / "_build" / "html"))
LOCAL = ("file:", "data:", "blob:")


def pages() -> list[str]:
    """Return the pages of the built book, or those of its table of contents."""
    built = [path.relative_to(SITE) for path in SITE.rglob("*.html")]
    if built:
        return sorted(str(path) for path in built if path.parts[0] != "_static")
    names = re.findall(r"(?:file|root): (\S+)", (ROOT / "_toc.yml").read_text(encoding="utf-8"))
    return sorted(f"{name}.html" for name in names)


each_page = pytest.mark.parametrize("name", pages())

# Everything that a page is asked, once it is there. Colours of code are compared here, kind by
# kind, since axe takes minutes for thousands of coloured words.
TYPESET = "async () => { if (window.MathJax?.startup) await MathJax.startup.promise; }"
MATHEMATICS = """() => {
    const formulas = [...document.querySelectorAll(".bd-article .math")];
    const errors = document.querySelectorAll(
        "mjx-merror, [data-mml-node=merror], [data-mjx-error], mjx-container [fill=red]");
    return {
        bare: formulas.filter((f) => !f.querySelector("mjx-container")).map((f) => f.textContent),
        errors: [...errors].map((e) => e.closest(".math")?.outerHTML.slice(0, 200)),
    };
}"""
IMAGES = """() => [...document.images]
    .filter((image) => !(image.getAttribute("alt") || "").trim())
    .map((image) => image.outerHTML.slice(0, 200))"""
BROKEN_IMAGES = """() => [...document.images]
    .filter((image) => image.complete && image.naturalWidth === 0)
    .map((image) => image.src)"""
OVERFLOW = """() => {
    const width = document.documentElement.clientWidth;
    if (document.scrollingElement.scrollWidth <= width) return [];
    return [...document.querySelectorAll("body *")]
        .filter((e) => e.getBoundingClientRect().right > width + 1)
        .slice(0, 8)
        .map((e) => `${e.tagName.toLowerCase()}#${e.id}.${e.className}`);
}"""
STUCK = """() => [...document.querySelectorAll("body *")]
    .filter((e) => e.scrollWidth > e.clientWidth + 1 && e.tabIndex < 0
        && ["auto", "scroll"].includes(getComputedStyle(e).overflowX) && e.checkVisibility()
        && !e.querySelector("a[href], button, input, [tabindex='0']"))
    .slice(0, 8)
    .map((e) => `${e.tagName.toLowerCase()}#${e.id}.${e.className}`)"""
FAINT_CODE = """() => {
    const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
    const channel = (x) => x <= 0.04045 ? x / 12.92 : Math.pow((x + 0.055) / 1.055, 2.4);
    const light = (c) => [0.2126, 0.7152, 0.0722]
        .reduce((sum, weight, i) => sum + weight * channel(c[i] / 255), 0.05);
    const found = new Set();
    for (const word of document.querySelectorAll("div.highlight pre span")) {
        const ink = numbers(getComputedStyle(word).color);
        let ground = word;
        let paper = [0, 0, 0, 0];
        while (ground && paper.length > 3 && paper[3] === 0) {
            paper = numbers(getComputedStyle(ground).backgroundColor);
            ground = ground.parentElement;
        }
        const [a, b] = [light(ink), light(paper)];
        const contrast = Math.max(a, b) / Math.min(a, b);
        if (contrast >= 4.5) continue;
        found.add(`${word.className}: ${ink} on ${paper}, ${contrast.toFixed(2)}`);
    }
    return [...found];
}"""
# Code keeps its words and loses its colours, mathematics keeps its place: axe need not see more.
SIMPLIFY = """() => {
    for (const code of document.querySelectorAll("div.highlight pre")) {
        code.textContent = code.textContent;
    }
    for (const formula of document.querySelectorAll("mjx-container")) {
        formula.replaceChildren();
    }
}"""
AXE = """async (options) => (await axe.run(document, options)).violations.map(
    (v) => [v.id, v.impact, v.nodes.map((node) => node.target.join(" ")).slice(0, 5)])"""
# Contrast depends on colours and sizes only: of texts that share them, axe sees the first, once.
CONTRAST = """async ([options, passed]) => {
    const grounds = new Map([[null, ""]]);
    const ground = (e) => {
        if (!grounds.has(e)) {
            const { backgroundColor, backgroundImage, opacity } = getComputedStyle(e);
            const own = `${backgroundColor} ${backgroundImage} ${opacity}`;
            const under = ground(e.parentElement);
            grounds.set(e, own === "rgba(0, 0, 0, 0) none 1" ? under : `${under} | ${own}`);
        }
        return grounds.get(e);
    };
    const first = new Map();
    for (const element of document.querySelectorAll("body *")) {
        const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.nodeValue.trim());
        if (!own || !element.checkVisibility() || element.closest("svg")) continue;
        const { color, fontSize, fontWeight } = getComputedStyle(element);
        const key = `${color} ${fontSize} ${fontWeight} on ${ground(element)}`;
        if (!first.has(key)) first.set(key, element);
    }
    for (const key of passed) first.delete(key);
    if (first.size === 0) return { keys: [], violations: [] };
    const found = await axe.run({ include: [...first.values()] }, options);
    return {
        keys: [...first.keys()],
        violations: found.violations.map((v) => [v.id, v.impact,
            v.nodes.map((n) => `${n.target.join(" ")}: ${n.any[0]?.message}`)]),
    };
}"""
QUICK = {"preload": False, "resultTypes": ["violations"]}
DESKTOP = {"width": 1280, "height": 900}
SERIOUS = ("serious", "critical")


@dataclass
class Visit:
    """What was seen on one page."""

    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    bare_formulas: list[str] = field(default_factory=list)
    formula_errors: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    overflow: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    violations: list[Any] = field(default_factory=list)


def watch(page: Any, visit: Visit) -> None:
    """Record what a page asks the network for, and what it complains about."""
    page.on("request", lambda r: None if r.url.startswith(LOCAL) else visit.requests.append(r.url))
    page.on("requestfailed", lambda r: visit.complaints.append(f"failed: {r.url}"))
    page.on("pageerror", lambda error: visit.complaints.append(f"error: {error}"))
    page.on(
        "console",
        lambda m: visit.complaints.append(m.text) if m.type in ("error", "warning") else None,
    )


def theme(page: Any, name: str) -> None:
    page.evaluate("name => { document.documentElement.dataset.theme = name; }", name)


def settled(page: Any, question: str) -> list[str]:
    """Return what is wrong, once scripts have had time to react to the size of the window."""
    for _ in range(8):
        wrong: list[str] = page.evaluate(question)
        if not wrong:
            break
        page.wait_for_timeout(200)
    return wrong


def look(context: Any, axe: str, name: str, passed: set[str]) -> Visit:
    """Open a page, and ask it everything; `passed` collects the colours found legible."""
    visit = Visit()
    page = context.new_page()
    watch(page, visit)
    address = (SITE / name).resolve().as_uri() + "?depth=code"
    page.goto(address, wait_until="load", timeout=60_000)
    page.evaluate(TYPESET)
    mathematics = page.evaluate(MATHEMATICS)
    visit.bare_formulas, visit.formula_errors = mathematics["bare"], mathematics["errors"]
    visit.images = page.evaluate(IMAGES) + page.evaluate(BROKEN_IMAGES)
    page.add_style_tag(content="* { transition: none !important; animation: none !important; }")
    visit.stuck = settled(page, STUCK)
    page.set_viewport_size({"width": 390, "height": 844})
    visit.overflow = settled(page, OVERFLOW)
    visit.stuck += settled(page, STUCK)
    page.set_viewport_size(DESKTOP)

    faint = page.evaluate(FAINT_CODE)
    theme(page, "dark")
    faint += page.evaluate(FAINT_CODE)
    visit.violations += [("color-contrast", "serious", faint)] if faint else []
    page.evaluate(SIMPLIFY)
    page.evaluate(axe)
    only = {**QUICK, "runOnly": ["color-contrast"]}
    for colours in ("dark", "light"):
        theme(page, colours)
        found = page.evaluate(CONTRAST, [only, sorted(passed)])
        visit.violations += [(f"{rule}, {colours}", *rest) for rule, *rest in found["violations"]]
        if not found["violations"]:
            passed.update(found["keys"])
    others = {"color-contrast": {"enabled": False}}
    visit.violations += page.evaluate(AXE, {**QUICK, "rules": others})
    page.close()
    return visit


@pytest.fixture(scope="module")
def built(required: Callable[[str], None]) -> Path:
    """Return the built book."""
    if not (SITE / "index.html").is_file():
        required(f"the book is not built in {SITE.name}: run make book first")
    return SITE


def test_a_link_to_the_book_can_be_shown_and_its_results_read_by_machines(built: Path) -> None:
    text = (built / "llms.txt").read_text(encoding="utf-8")
    found = re.findall(r"\]\((\S+?)\.html#(\S+?)\)", text)
    boxed = {
        label
        for path in (ROOT / "chapters").glob("[0-9][0-9]_*.ipynb")
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
        for label in BOX.findall("".join(cell["source"]))
    }
    assert {label for _, label in found} == boxed
    for page, label in found:
        assert f'id="{label}"' in (built / f"{page}.html").read_text(encoding="utf-8")
    assert re.search(r"^- Theorem 3\.\d, \[.*\(exact\)", text, re.MULTILINE)
    home = re.sub(r"</?span[^>]*>", "", (built / "index.html").read_text(encoding="utf-8"))
    for part in ('rel="icon"', 'name="description"', 'property="og:image"', "@misc{hmmtheory"):
        assert part in home
    assert (built / "_static" / "preview.png").is_file()


@pytest.fixture(scope="module")
def inspect(built: Path, browser: Any, required: Callable[[str], None]) -> Callable[[str], Visit]:
    """Return a function that opens a page and asks it everything."""
    try:
        import axe_playwright_python
    except ImportError:
        required("the Python package axe-playwright-python is not installed")
    script = Path(axe_playwright_python.__file__).parent / "axe.min.js"
    axe = script.read_text(encoding="utf-8") + ";0"
    passed: set[str] = set()
    context = browser.new_context(viewport=DESKTOP, color_scheme="light")
    return lambda name: look(context, axe, name, passed)


@pytest.fixture(scope="module")
def seen(inspect: Callable[[str], Visit]) -> Callable[[str], Visit]:
    """Return a function that inspects a page of the book, the first time that it is asked."""
    return lru_cache(maxsize=None)(inspect)


@pytest.fixture
def page(built: Path, browser: Any) -> Iterator[Any]:
    """Return an empty page, which must not complain."""
    visit = Visit()
    opened = browser.new_page(viewport=DESKTOP, color_scheme="light")
    watch(opened, visit)
    yield opened
    opened.close()
    assert visit.complaints == []
    assert visit.requests == []


def open_page(page: Any, name: str) -> None:
    page.goto((SITE / name).resolve().as_uri())


def test_every_page_of_the_contents_is_built(built: Path) -> None:
    def names(toc: Any) -> list[str]:
        if isinstance(toc, list):
            return [name for item in toc for name in names(item)]
        if not isinstance(toc, dict):
            return []
        own = [toc[key] for key in ("root", "file") if key in toc]
        return own + [n for k in ("parts", "chapters", "sections") for n in names(toc.get(k))]

    contents = names(yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8")))
    assert [name for name in contents if not (SITE / f"{name}.html").is_file()] == []


BAD = """<!doctype html><html lang="en"><title>Bad</title><body style="background: white">
<main class="bd-article"><h1>Bad</h1>
<span class="math">\\(\\left( x\\)</span> <span class="math">\\(\\nonsense\\)</span>
<span class="math mathjax_ignore">x</span>
<img src="https://example.invalid/x.png" alt="remote"> <img src="missing.png" alt="missing">
<img src="data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw==">
<p style="color: #bbb">Pale words</p> <p><input></p>
<div style="overflow: auto; width: 200px"><p style="width: 300px">Hidden words</p></div>
<p style="width: 1000px">Wide words</p>
<div class="highlight" style="background: white"><pre><span style="color: #ccc">code</span></pre>
</div>
</main><script>missing();</script><script src="MATHJAX"></script>"""


def test_what_the_checks_look_for_they_find(
    inspect: Callable[[str], Visit], tmp_path: Path
) -> None:
    mathjax = next((SITE / "_static" / "mathjax").glob("*.js")).resolve().as_uri()
    (tmp_path / "bad.html").write_text(BAD.replace("MATHJAX", mathjax), encoding="utf-8")
    visit = inspect(str(tmp_path / "bad.html"))
    assert "https://example.invalid/x.png" in visit.requests
    assert any("missing is not defined" in text for text in visit.complaints)
    assert any("missing.png" in text for text in visit.complaints)
    assert visit.bare_formulas == ["x"]
    assert len(set(visit.formula_errors)) == 2  # the missing delimiter, the unknown command
    assert len(visit.images) >= 2
    assert any(text.startswith("p#") for text in visit.overflow)
    assert any(text.startswith("div#") for text in visit.stuck)
    rules = {rule for rule, impact, *_ in visit.violations if impact in SERIOUS}
    assert rules >= {"label", "color-contrast", "color-contrast, light"}


@each_page
def test_a_page_opens_without_network_or_complaint(seen: Callable[[str], Visit], name: str) -> None:
    assert seen(name).requests == []
    assert seen(name).complaints == []


@each_page
def test_mathematics_is_typeset(seen: Callable[[str], Visit], name: str) -> None:
    assert seen(name).bare_formulas == []
    assert seen(name).formula_errors == []


@each_page
def test_images_are_there_and_described(seen: Callable[[str], Visit], name: str) -> None:
    assert seen(name).images == []


@each_page
def test_nothing_is_wider_than_a_phone(seen: Callable[[str], Visit], name: str) -> None:
    assert seen(name).overflow == []


@each_page
def test_the_keyboard_scrolls_what_scrolls(seen: Callable[[str], Visit], name: str) -> None:
    assert seen(name).stuck == []


@each_page
def test_axe_finds_nothing_serious(seen: Callable[[str], Visit], name: str) -> None:
    found = [violation for violation in seen(name).violations if violation[1] in SERIOUS]
    assert found == []


def test_search_finds_ridge(page: Any) -> None:
    open_page(page, "index.html")
    page.locator("button.search-button__button:visible").first.click()
    field = page.locator("input[name=q]:visible").first
    field.fill("ridge")
    field.press("Enter")
    page.wait_for_url(re.compile(r"search\.html\?.*q=ridge"))
    # Results come one by one; the click waits for its own.
    page.locator("#search-results li a", has_text="The ridge that removes the peak").first.click()
    page.wait_for_url(re.compile("07_the_ridge"))
    assert "ridge" in page.locator(".bd-article h1").inner_text()


def test_the_switch_makes_the_book_dark_and_keeps_it_dark(page: Any) -> None:
    open_page(page, "index.html")
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    switch = page.locator("button.theme-switch-button:visible").first
    for _ in range(3):
        if page.evaluate("document.documentElement.dataset.theme") == "dark":
            break
        switch.click()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.wait_for_function(f"light => {ground} !== light", arg=light)
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


SHOWN = (
    """(what) => [...document.querySelectorAll(what)].filter((e) => e.checkVisibility()).length"""
)


def test_a_page_tells_its_story_and_shows_proofs_and_code_when_asked(page: Any) -> None:
    open_page(page, "chapters/03_fewer_features_than_examples.html")
    code, proofs = ".bd-article div.cell_input", ".bd-article details.proof-fold > div"
    assert [page.evaluate(SHOWN, what) for what in (code, proofs)] == [0, 0]
    assert page.evaluate(SHOWN, ".bd-article figure") > 0
    page.get_by_role("button", name="Proofs", exact=True).click()
    assert page.evaluate(SHOWN, code) == 0
    assert page.evaluate(SHOWN, proofs) > 0
    page.get_by_role("button", name="Code", exact=True).focus()
    page.keyboard.press("Enter")
    every = page.locator(code).count()
    assert page.evaluate(SHOWN, code) == every > 20
    open_page(page, "chapters/04_more_features_than_examples.html")
    assert page.evaluate(SHOWN, code) == page.locator(code).count()
    assert page.locator(".depth-switch button[aria-pressed=true]").inner_text() == "Code"
    page.get_by_role("button", name="Story", exact=True).click()
    assert page.evaluate(SHOWN, code) == 0
    open_page(page, "chapters/glossary.html")
    assert page.locator(".depth-switch").count() == 0


def test_a_folded_section_keeps_its_heading_and_opens_for_who_follows_a_link(page: Any) -> None:
    open_page(page, "chapters/06_when_is_the_sweet_spot_zero.html")
    text = page.get_by_text("So beyond the threshold the risk falls all the way")
    heading = page.get_by_role("heading", name="Why nothing lies between")
    assert heading.is_visible()
    assert not text.is_visible()
    page.locator(".bd-sidebar-secondary").get_by_role(
        "link", name="Why nothing lies between"
    ).click()
    text.wait_for()
    heading.click()
    text.wait_for(state="hidden")
    heading.locator("xpath=..").focus()
    page.keyboard.press("Enter")
    text.wait_for()
    page.get_by_role("button", name="Proofs", exact=True).click()
    folds = page.locator("section.proofs > details").all()
    assert len(folds) > 2
    assert all(fold.get_attribute("open") is not None for fold in folds)


TOUCH = """(link) => {
    const options = { pointerType: "touch", bubbles: true };
    link.dispatchEvent(new PointerEvent("pointerdown", options));
    link.click();
}"""


def test_a_card_shows_what_a_link_leads_to_by_mouse_keyboard_and_touch(page: Any) -> None:
    open_page(page, "chapters/05_double_descent.html")
    card = page.locator(".hmm-card")
    link = page.locator("article a.internal[href*='#thm-r1']").first
    link.scroll_into_view_if_needed()
    link.hover()
    card.get_by_text("Risk of the trained head below the threshold").wait_for()
    card.locator("mjx-container").first.wait_for()
    assert link.get_attribute("aria-describedby") == card.get_attribute("id")
    page.mouse.move(0, 0)
    card.wait_for(state="hidden")
    link.focus()
    card.wait_for()
    box = card.bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= page.viewport_size["width"]
    page.keyboard.press("Escape")
    card.wait_for(state="hidden")
    link.blur()
    here = page.url
    # A touch shows the card first; its own link leads on.
    link.evaluate(TOUCH)
    card.get_by_text("Go there").wait_for()
    assert page.url == here
    card.get_by_text("Go there").evaluate("(a) => a.click()")
    page.wait_for_url("**/03_fewer_features_than_examples.html#thm-r1")


def test_a_glossary_term_and_a_reference_have_cards(page: Any) -> None:
    open_page(page, "chapters/05_double_descent.html")
    card = page.locator(".hmm-card")
    for what, said in (("a:has(> .std-term)", None), ("a[href*='bibliography.html#']", "arXiv")):
        link = page.locator(f"article {what}").first
        link.focus()
        card.wait_for()
        assert card.inner_text().strip()
        assert said is None or said in card.inner_text()
        page.keyboard.press("Escape")
        card.wait_for(state="hidden")


CURVE = "() => document.querySelector('.explorer-chart path.total').getAttribute('d')"


def test_the_explorers_slider_moves_the_curve_and_a_reload_restores_it(page: Any) -> None:
    open_page(page, "chapters/explorer.html")
    before = page.evaluate(CURVE)
    page.get_by_text("The first descent exists").wait_for()
    slider = page.get_by_label("labels n")
    slider.focus()
    for _ in range(15):
        slider.press("ArrowLeft")
    after = page.evaluate(CURVE)
    assert after != before
    page.get_by_text("The first descent is missing").wait_for()
    page.wait_for_function("location.search.includes('n=45')")
    page.reload()
    assert page.evaluate(CURVE) == after
    assert slider.get_attribute("aria-valuetext") == "45"


def test_every_suggestion_on_the_explorers_page_is_a_button_that_draws(page: Any) -> None:
    open_page(page, "chapters/explorer.html")
    buttons = page.locator(".bd-article ol button")
    assert buttons.count() >= 5
    curves = set()
    for button in buttons.all():
        button.press("Enter")
        curves.add(page.evaluate(CURVE))
    assert len(curves) == buttons.count()


def test_the_explorer_is_drawn_again_in_the_colours_of_the_dark(page: Any) -> None:
    open_page(page, "chapters/explorer.html")
    ink = "getComputedStyle(document.querySelector('.explorer-chart text')).fill"
    light = page.evaluate(ink)
    theme(page, "dark")
    page.wait_for_function(f"light => {ink} !== light", arg=light)


def test_without_scripts_the_explorer_says_what_is_missing(built: Path, browser: Any) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    open_page(page, "chapters/explorer.html")
    assert page.get_by_text("The explorer needs a browser that runs scripts").is_visible()
    context.close()


def test_keyboard_alone_reaches_the_explorer(page: Any) -> None:
    open_page(page, "chapters/explorer.html")
    page.get_by_label("labels n").focus()
    reached = []
    for _ in range(12):
        reached.append(page.evaluate("document.activeElement.id"))
        page.keyboard.press("Tab")
    keys = ["n", "d", "s", "rho", "sigma_u", "ridge", "far", "train", "reset", "copy", "p"]
    assert reached[: len(keys)] == [f"explorer-{key}" for key in keys]
