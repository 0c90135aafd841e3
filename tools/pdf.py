"""Print the built book to one PDF, and its story to another, with a headless Chromium.

    python tools/pdf.py _build/html

The articles of all pages, in reading order, become one page, whose links point within it. The story
is what stands before the appendices, without proofs and code. The PDFs go into the site, and the
front page then shows links to them.
"""

from __future__ import annotations

import argparse
import os
import posixpath
import shutil
from collections.abc import Iterable
from itertools import takewhile
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml
from bs4 import BeautifulSoup, Tag
from check_site import documents

NAME = "head-tuning-and-double-descent.pdf"
STORY = "head-tuning-story.pdf"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPTIONS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
# Buttons and scripted parts have no place on paper; folded code stays folded, solutions are open.
DROPPED = (
    "script", "button", ".headerlink", ".copybtn", ".prev-next-footer", "details.hide.above-input",
    ".pdf-link", ".noprint",
)  # fmt: skip
#: The story has no proofs, and of the code only what it prints; exercises are for the screen.
NOT_TOLD = (
    "section.proofs", "details", "div[class='proof admonition']", "div.cell_input",
    "div.cell:not(:has(div.cell_output))", "section:has(> .exercise)",
)  # fmt: skip
PRINT = """
.one-article { break-before: page; }
.one-article:first-child { break-before: auto; }
html { font-size: 11px; }
body { font-size: 9.2pt; line-height: 1.35; padding: 0; }
h1 { font-size: 18pt; } h2 { font-size: 13pt; } h3 { font-size: 11pt; }
h1, h2, h3 { margin: 1.2em 0 0.5em; break-after: avoid; break-inside: avoid; }
p { margin-bottom: 0.6em; }
figure, .admonition, table, mjx-container { break-inside: avoid; }
figure, .admonition { margin-top: 0.8em; margin-bottom: 0.8em; }
pre { white-space: pre-wrap !important; font-size: 8pt; padding: 0.4em 0.6em; }
img { max-width: 100% !important; max-height: 66mm; width: auto !important; height: auto; }
table { font-size: 7pt; } th, td { padding: 1px 3px !important; }
figure :is(figcaption, p, span) { color: #222; font-size: 8.5pt; font-weight: 400 !important; }
.toggle-hidden > *, .dropdown > * { display: revert !important; visibility: visible !important;
  opacity: 1 !important; height: auto !important; }
"""


def find_chromium() -> str | None:
    """Return the path of a Chromium: $HMMTHEORY_CHROMIUM, or the first on the PATH."""
    named = os.environ.get("HMMTHEORY_CHROMIUM")
    return named or next((path for path in map(shutil.which, CHROMIUM) if path), None)


def place(page: str, fragment: str) -> str:
    """Return the id, on the one page, of a place on a page of the site."""
    return f"{page.removesuffix('.html')}--{fragment}".replace("/", "-")


def adopt(article: Tag, page: str, pages: set[str], dropped: Iterable[str]) -> None:
    """Make an article's ids unique and its links and images relative to the site's root."""
    folder = posixpath.dirname(page)
    for element in article.select(", ".join(dropped)):
        element.decompose()
    for element in article.find_all(id=True):
        element["id"] = place(page, str(element["id"]))
    for element in article.find_all(["a", "img"]):
        key = "href" if element.name == "a" else "src"
        parts = urlsplit(str(element.get(key, "")))
        if parts.scheme or parts.netloc or not (parts.path or parts.fragment):
            continue
        target = posixpath.normpath(posixpath.join(folder, unquote(parts.path))) or page
        target = target if parts.path else page
        if element.name == "a" and target in pages:
            element[key] = "#" + place(target, unquote(parts.fragment) or "top")
        elif element.name == "a" and target.endswith(".html"):
            del element[key]  # a page that is not printed
        else:
            element[key] = target


def told(toc: dict[str, Any]) -> list[str]:
    """Return the documents of the story: those before the appendices that need no mouse."""
    parts = list(takewhile(lambda part: part["caption"] != "Appendices", toc["parts"]))
    return [name for name in documents({**toc, "parts": parts}) if not name.endswith("explorer")]


def one_page(site: Path, names: list[str], story: bool = False) -> str:
    """Return the articles of some pages of the site as one HTML page."""
    pages = [f"{Path(name).with_suffix('') if name.endswith('.md') else name}.html"
             for name in names]  # fmt: skip
    front = BeautifulSoup((site / pages[0]).read_text(encoding="utf-8"), "html.parser")
    body = front.new_tag("main")
    for page in pages:
        soup = BeautifulSoup((site / page).read_text(encoding="utf-8"), "html.parser")
        article = soup.select_one("article.bd-article")
        if article is None:
            raise ValueError(f"{page} has no article")
        adopt(article, page, set(pages), (*DROPPED, *NOT_TOLD) if story else DROPPED)
        article["class"] = " ".join([*article.get_attribute_list("class"), "one-article"])
        article["id"] = place(page, "top")
        body.append(article)
    assert front.body is not None
    front.body.clear()
    front.body.append(body)
    return str(front)


def print_page(page: Path, target: Path, chromium: str, story: bool = False) -> None:
    """Print one page, mathematics typeset, to `target`."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=list(OPTIONS))
        tab = browser.new_page()
        tab.goto(f"{page.resolve().as_uri()}?depth=code", wait_until="load", timeout=300_000)
        tab.set_default_timeout(300_000)
        tab.evaluate("() => window.MathJax.startup.promise.then(() => null)")
        tab.evaluate("document.documentElement.dataset.theme = 'light'")
        tab.add_style_tag(content=PRINT)
        if story:
            tab.add_style_tag(content=".one-article { break-before: auto; }")
        tab.emulate_media(media="screen")
        margin: Any = dict.fromkeys(("top", "bottom", "left", "right"), "16mm")
        number = "<span class='pageNumber'></span>"
        footer = f"<div style='width:100%;text-align:center;font-size:8px'>{number}</div>"
        tab.pdf(
            path=target,
            format="A4",
            margin=margin,
            print_background=True,
            display_header_footer=True,
            header_template="<span></span>",
            footer_template=footer,
            outline=True,
            tagged=True,
        )
        browser.close()


def main() -> int:
    """Make the PDF and link it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("site", type=Path, help="the built site, such as _build/html")
    parser.add_argument("--toc", type=Path, default=Path("_toc.yml"))
    arguments = parser.parse_args()
    site: Path = arguments.site
    chromium = find_chromium()
    if chromium is None:
        print("A PDF needs Chromium: install it, or set HMMTHEORY_CHROMIUM to its path.")
        return 1
    toc = yaml.safe_load(arguments.toc.read_text(encoding="utf-8"))
    # It lies beside the front page, so that style sheets and scripts are found.
    page = site / "_one_page.html"
    for name, names in ((STORY, told(toc)), (NAME, documents(toc))):
        page.write_text(one_page(site, names, name == STORY), encoding="utf-8")
        try:
            print_page(page, site / name, chromium, name == STORY)
        finally:
            page.unlink()
        print(f"A PDF is at {site / name}")
    front = site / "index.html"
    text = front.read_text(encoding="utf-8")
    links = f'<a href="{NAME}">This book as one PDF</a>, or <a href="{STORY}">its story alone</a>'
    links = f'<p class="pdf-link">{links}</p>'
    front.write_text(text.replace('<p class="pdf-link"></p>', links), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
