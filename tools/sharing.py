"""A local Sphinx extension: what others see of the book when they are sent a link to it.

- Each page says in its head what it is about, by the question that opens it, with a picture.
- ``llms.txt`` lists every numbered result with its formulas, as text, for machines and search.
- ``{citation}`` shows how to cite the book, from ``CITATION.cff``.
"""

from __future__ import annotations

import base64
import html
import json
import re
import textwrap
from pathlib import Path
from typing import Any

import yaml
from book_pages import boxes, listed_as, pages
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parents[1]
#: The figure that a link to the book is shown with.
PREVIEW = (ROOT / "chapters" / "05_double_descent.ipynb", "fig-double-descent")
LONGEST = 200


def about(doctree: nodes.document) -> str:
    """Return what a page is about: the question of its first box, or its first paragraph."""
    box = next(iter(doctree.findall(nodes.admonition)), doctree)
    for paragraph in box.findall(nodes.paragraph):
        words = " ".join(paragraph.astext().split())
        if len(words) > 20:
            short = words[:LONGEST].rpartition(" ")[0] + " …"
            return words if len(words) <= LONGEST else short
    return ""


def describe_page(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """Add a description, an icon and a preview to a page's head."""
    title = re.sub(r"<[^>]*>", "", context.get("title", "")) or app.config.html_title
    words = about(doctree) if doctree is not None else ""
    address = app.config.html_baseurl.rstrip("/")

    def static(name: str) -> str:
        found: str = context["pathto"](f"_static/{name}", 1)
        return found

    # Who shows a preview asks for a whole address; without one a path is all there is.
    picture = f"{address}/_static/preview.png" if address else static("preview.png")
    named = {"og:type": "article", "og:title": html.unescape(title), "og:image": picture}
    tags = [f'<link rel="icon" type="image/svg+xml" href="{static("icon.svg")}">']
    if words:
        tags.append(f'<meta name="description" content="{html.escape(words)}">')
        named["og:description"] = words
    tags += [f'<meta property="{k}" content="{html.escape(v)}">' for k, v in named.items()]
    context["metatags"] = context.get("metatags", "") + "\n".join(tags) + "\n"


def preview() -> bytes:
    """Return the stored picture of the book's main figure."""
    path, name = PREVIEW
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        if cell["metadata"].get("mystnb", {}).get("figure", {}).get("name") == name:
            pictures = [out["data"]["image/png"] for out in cell["outputs"] if "data" in out]
            return base64.b64decode(pictures[0])
    raise LookupError(f"{path.name} holds no figure {name}")


def plain(app: Sphinx) -> str:
    """Return every numbered result, in reading order, as text; formulas are LaTeX."""
    lines = [
        f"# {app.config.html_title}", "",
        "> How the error of a linear head on a frozen language model moves with the model's size.",
        "> Every numbered result of the book, with its status: exact, asymptotic or empirical.",
    ]  # fmt: skip
    for page in pages(app.env):
        doctree = app.env.get_doctree(page)
        found = boxes(doctree)
        if found:
            title = next(iter(doctree.findall(nodes.title))).astext()
            lines += ["", f"## {title}"]
        for box in found:
            status = listed_as(box)
            body = " ".join(" ".join(part.astext().split()) for part in box.children[1:])
            name = " ".join(box[0].astext().split()).strip("() ")
            numbers = app.env.toc_fignumbers.get(page, {}).get(box["countertype"], {})
            number = ".".join(map(str, numbers.get(box["ids"][0], ())))
            kind = f"{box['realtype'].capitalize()} {number}".strip()
            lines += ["", f"- {kind}, [{name}]({page}.html#{box['label']}) ({status}). {body}"]
    return "\n".join(lines) + "\n"


class Citation(SphinxDirective):
    """``{citation}``: an entry for a bibliography."""

    def run(self) -> list[nodes.Node]:
        """Return the entry, made from ``CITATION.cff``."""
        path = ROOT / "CITATION.cff"
        self.env.note_dependency(str(path))
        entry = yaml.safe_load(path.read_text("utf-8"))
        authors = " and ".join(
            author.get("name") or f"{author['family-names']}, {author['given-names']}"
            for author in entry["authors"]
        )
        fields = {
            "author": f"{{{authors}}}",
            "title": entry["title"],
            "note": f"version {entry['version']}",
            "year": self.config.copyright,
        }
        lines = [
            textwrap.fill(f"  {name:<7} = {{{value}}},", 66, subsequent_indent=13 * " ")
            for name, value in fields.items()
        ]
        text = "\n".join(["@misc{hmmtheory,", *lines, "}"])
        return [nodes.literal_block(text, text, language="bibtex")]


def finish(app: Sphinx, exception: Exception | None) -> None:
    """Write the picture and the plain list into the site."""
    if exception is None and app.builder.format == "html":
        site = Path(app.outdir)
        (site / "_static" / "preview.png").write_bytes(preview())
        (site / "llms.txt").write_text(plain(app), "utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_directive("citation", Citation)
    app.connect("html-page-context", describe_page)
    app.connect("build-finished", finish)
    return {"version": "0.1.0", "parallel_read_safe": True, "parallel_write_safe": True}
