"""Write what hover cards show: numbered boxes, equations, glossary terms and references.

    python tools/cards.py _build/html

The script ``_static/cards.js`` holds one piece of HTML for each target that pages link to, so that
a card needs no request.  ``book.js`` shows it by mouse, keyboard and touch.
"""

from __future__ import annotations

import copy
import json
import posixpath
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from bs4 import BeautifulSoup, Tag

TARGETS = "div.proof[id], div.math[id^=equation-], dl.glossary > dt[id], div.citation[id]"


def content(target: Tag) -> str:
    """Return what a card shows of a target: no ids, no links, no marks of the theme."""
    found = BeautifulSoup("", "html.parser").new_tag("div")
    shown: list[Tag] = [copy.copy(target)]
    if target.name == "dt":
        said = target.find_next_sibling("dd")
        assert isinstance(said, Tag)
        title = BeautifulSoup("", "html.parser").new_tag("strong")
        title.extend(list(shown[0].contents))
        shown = [title, copy.copy(said)]
    for part in shown:
        if part.name in ("dd", "div") and "math" not in (part.get("class") or ""):
            found.extend(list(part.contents))
        else:
            found.append(part)
    for mark in found.select("a.headerlink, span.eqno, span.label"):
        mark.decompose()
    for link in found.find_all("a"):
        link.unwrap()
    for tag in found.find_all(True):
        del tag["id"]
    return " ".join(found.decode_contents().split())


def linked(site: Path, pages: dict[str, BeautifulSoup]) -> set[str]:
    """Return every "page#id" that an article of the site links to."""
    found = set()
    for page, soup in pages.items():
        for link in soup.select("article a.internal[href*='#']"):
            path, _, name = str(link["href"]).partition("#")
            here = posixpath.normpath(posixpath.join(posixpath.dirname(page), path))
            found.add(f"{here if path else page}#{unquote(name)}")
    return found


def cards(site: Path) -> Iterator[tuple[str, str]]:
    """Yield address and content of each card."""
    pages = {
        path.relative_to(site).as_posix(): BeautifulSoup(path.read_text("utf-8"), "html.parser")
        for path in sorted(site.rglob("*.html"))
        if "_static" not in path.parts
    }
    wanted = linked(site, pages)
    for page, soup in pages.items():
        for target in soup.select(TARGETS):
            address = f"{page}#{target['id']}"
            if address in wanted:
                yield address, content(target)


def write(site: Path) -> int:
    """Write the script and return how many cards it has."""
    found = dict(cards(site))
    text = json.dumps(found, ensure_ascii=False, separators=(",", ":")).replace("</", "<\\/")
    (site / "_static" / "cards.js").write_text(f"window.hmmCards = {text};\n", encoding="utf-8")
    return len(found)


if __name__ == "__main__":
    print(write(Path(sys.argv[1])), "cards")
