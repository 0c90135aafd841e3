"""Check a built site: every page is there, nothing comes from the network, nothing is unresolved.

python tools/check_site.py _build/html
"""

from __future__ import annotations

import argparse
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import yaml

REMOTE = re.compile(r"^\s*(?:[a-z][a-z0-9+.-]*:)?//", re.IGNORECASE)
CSS_REMOTE = re.compile(
    r"""(?:url\(\s*|@import\s+)["']?\s*((?:https?:)?//[^"')\s;]+)""", re.IGNORECASE
)
#: What glue pastes where it was given no plain number.
PYTHONIC = re.compile(r"\bnp\.\w+\(|\barray\(|\bdtype\b|\bnan\b")
#: Bytes of a whole site.
LARGEST = 25_000_000
# Elements whose attribute makes a browser fetch something on its own.
FETCHED = {
    "script": ("src",),
    "img": ("src", "srcset"),
    "iframe": ("src",),
    "frame": ("src",),
    "embed": ("src",),
    "object": ("data",),
    "video": ("src", "poster"),
    "audio": ("src",),
    "source": ("src", "srcset"),
    "track": ("src",),
    "input": ("src",),
    "image": ("href", "xlink:href"),
    "use": ("href", "xlink:href"),
}
FETCHED_LINKS = {
    "stylesheet", "preload", "modulepreload", "prefetch", "preconnect", "dns-prefetch", "icon",
    "apple-touch-icon", "mask-icon", "manifest",
}  # fmt: skip
LITERAL = {"pre", "code", "script", "style", "textarea"}
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source",
        "track", "wbr"}  # fmt: skip


class Page(HTMLParser):
    """Collects what one page fetches, links to and leaves unresolved."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.styles: list[str] = []
        self.problems: list[str] = []
        self._open: list[tuple[str, bool]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look at one element's attributes."""
        values = {name: value or "" for name, value in attrs}
        classes = set(values.get("class", "").split())
        self.ids.update(values[name] for name in ("id", "name") if values.get(name))
        for attribute in FETCHED.get(tag, ()):
            if attribute == "srcset":
                self.fetched += [part.split()[0] for part in values.get(attribute, "").split(",")
                                 if part.split()]  # fmt: skip
            elif values.get(attribute):
                self.fetched.append(values[attribute])
        if tag == "link" and FETCHED_LINKS & set(values.get("rel", "").lower().split()):
            self.fetched.append(values.get("href", ""))
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        if values.get("style"):
            self.styles.append(values["style"])
        if classes & {"problematic", "system-message"}:
            self.problems.append(f"<{tag} class={values['class']!r}>")
        if tag not in VOID:
            literal = tag in LITERAL or bool(classes & {"math", "highlight", "literal"})
            self._open.append((tag, literal))

    def handle_endtag(self, tag: str) -> None:
        """Close the innermost open element of this name."""
        for index in range(len(self._open) - 1, -1, -1):
            if self._open[index][0] == tag:
                del self._open[index:]
                break

    def handle_data(self, data: str) -> None:
        """Look for unresolved references, and numbers as Python writes them, in running text."""
        if self._open and self._open[-1][0] == "style":
            self.styles.append(data)
        elif not any(literal for _, literal in self._open):
            if "??" in data:
                self.problems.append(f"unresolved: {data.strip()[:80]!r}")
            elif PYTHONIC.search(data):
                self.problems.append(f"a value as Python writes it: {data.strip()[:80]!r}")


def documents(toc: object) -> list[str]:
    """Return the documents that a table of contents names."""
    if isinstance(toc, list):
        return [name for item in toc for name in documents(item)]
    if not isinstance(toc, dict):
        return []
    own = [str(toc[key]) for key in ("root", "file") if key in toc]
    nested = [documents(toc[key]) for key in ("parts", "chapters", "sections") if key in toc]
    return own + [name for names in nested for name in names]


def check(site: Path, toc: Path) -> tuple[list[str], str]:
    """Return the problems of a site, and a summary of it."""
    problems = []
    pages: dict[Path, Page] = {}
    for path in sorted(site.rglob("*.html")):
        if "_static" in path.relative_to(site).parts:
            continue
        pages[path.resolve()] = page = Page()
        page.feed(path.read_text(encoding="utf-8"))
        page.close()

    for name in documents(yaml.safe_load(toc.read_text(encoding="utf-8"))):
        page_path = site / Path(name).with_suffix("" if "." not in name else Path(name).suffix)
        if not page_path.with_suffix(".html").is_file():
            problems.append(f"{name}: in {toc.name}, but not built")

    for path, page in pages.items():
        label = path.relative_to(site.resolve())
        problems += [f"{label}: {problem}" for problem in page.problems]
        problems += [f"{label}: fetches {url}" for url in page.fetched if REMOTE.match(url)]
        problems += [
            f"{label}: a style fetches {url}"
            for style in page.styles
            for url in CSS_REMOTE.findall(style)
        ]
        for url in page.fetched + page.links:
            parts = urlsplit(url)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.exists():
                problems.append(f"{label}: no such file: {url}")
            elif (
                parts.fragment
                and url in page.links
                and target in pages
                and unquote(parts.fragment) not in pages[target].ids
            ):
                problems.append(f"{label}: no such place: {url}")

    for path in sorted(site.rglob("*.css")):
        text = path.read_text(encoding="utf-8", errors="replace")
        problems += [f"{path.relative_to(site)}: fetches {url}" for url in CSS_REMOTE.findall(text)]

    size = sum(path.stat().st_size for path in site.rglob("*") if path.is_file())
    if size > LARGEST:
        problems.append(f"{size / 1e6:.1f} MB; a site has at most {LARGEST / 1e6:.0f}")
    verdict = f"{len(problems)} problems" if problems else "complete, self-contained, resolved"
    return problems, f"{site}: {len(pages)} pages, {size / 1e6:.1f} MB: {verdict}"


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("site", nargs="?", type=Path, default=Path("_build/html"))
    parser.add_argument("--toc", type=Path, default=Path("_toc.yml"))
    options = parser.parse_args(arguments)
    if not options.site.is_dir():
        print(f"{options.site}: no such folder", file=sys.stderr)
        return 1
    problems, summary = check(options.site, options.toc)
    for problem in problems:
        print(problem, file=sys.stderr)
    print(summary)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
