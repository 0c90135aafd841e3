"""Hover cards: what is written for the targets that pages link to."""

import json
from pathlib import Path

import cards
import pytest

BOX = """<div class="proof theorem status-exact admonition" id="thm-x">
<p class="admonition-title"><span class="caption-number">Theorem 1.1 </span> (Title)</p>
<section id="proof-content"><p>See <a class="internal" href="b.html#term-T">a term</a>.</p>
<div class="math" id="equation-e"><span class="eqno">(1)<a class="headerlink" href="#e">#</a></span>
\\[ a < b \\]</div></section></div>"""
GLOSSARY = """<dl class="simple glossary"><dt id="term-T">A term<a
class="headerlink" href="#t">#</a></dt><dd><p>What it is.</p></dd>
<dt id="term-U">Unlinked</dt><dd><p>Not wanted.</p></dd></dl>"""
REFERENCE = """<div class="citation" id="id7"><span class="label"><span>[</span>1<span>]</span>
</span><p>Somebody. 2020.</p></div>"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "_static").mkdir()
    (tmp_path / "chapters").mkdir()
    links = "".join(
        f'<a class="reference internal" href="{href}">x</a>'
        for href in ("#thm-x", "#equation-e", "b.html#term-T", "b.html#id7", "b.html#nowhere")
    )
    page = "<html><body><article>{}</article></body></html>"
    (tmp_path / "chapters" / "a.html").write_text(page.format(BOX + links), encoding="utf-8")
    (tmp_path / "chapters" / "b.html").write_text(page.format(GLOSSARY + REFERENCE), "utf-8")
    return tmp_path


def test_each_linked_target_has_a_card_and_no_other(site: Path) -> None:
    found = dict(cards.cards(site))
    wanted = ("a.html#thm-x", "a.html#equation-e", "b.html#term-T", "b.html#id7")
    assert set(found) == {f"chapters/{address}" for address in wanted}


def test_a_card_has_no_links_ids_or_marks_of_the_theme(site: Path) -> None:
    found = dict(cards.cards(site))
    assert found["chapters/b.html#term-T"] == "<strong>A term</strong><p>What it is.</p>"
    assert found["chapters/b.html#id7"] == "<p>Somebody. 2020.</p>"
    box = found["chapters/a.html#thm-x"]
    assert "Theorem 1.1" in box
    assert "a term" in box
    for mark in ("<a", "id=", "(1)", "#"):
        assert mark not in box
    assert found["chapters/a.html#equation-e"] == '<div class="math"> \\[ a &lt; b \\]</div>'


def test_the_script_is_one_assignment_that_no_page_can_be_broken_by(site: Path) -> None:
    assert cards.write(site) == 4
    text = (site / "_static" / "cards.js").read_text(encoding="utf-8")
    assert "</" not in text
    body = text.removeprefix("window.hmmCards = ").removesuffix(";\n")
    assert json.loads(body) == dict(cards.cards(site))
