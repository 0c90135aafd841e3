"""A local Sphinx extension: the built book works from a folder, without a network.

- MathJax is served from the site: one file, ``tex-svg-full.js``, taken from the wheel
  sphinx-mathjax-offline (the whole wheel would add 24 MB; SVG output needs no web fonts).
- Scripts for launching live kernels, which need a server, are left out.
- The book's style sheet and script are added, and the explorer's formulas, generated from the
  package.
- ``chapters/book``, the code and data that notebooks share, is served as ``_static/book.zip``.
- ``{glue:figure}`` learns the option ``:doc:``, so a page can show another page's figure.
"""

from __future__ import annotations

import zipfile
from importlib.metadata import distribution
from pathlib import Path
from typing import Any, ClassVar

import explorer
from docutils import nodes
from docutils.parsers.rst import directives
from myst_nb.ext.glue.directives import PasteFigureDirective
from myst_nb.ext.glue.utils import create_pending_glue_ref
from sphinx.application import Sphinx
from sphinx.util.fileutil import copy_asset

MATHJAX = "tex-svg-full.js"
STATIC = Path(__file__).parent / "_static"
PACKAGE = Path(__file__).resolve().parents[1] / "chapters" / "book"


def find_mathjax() -> Path:
    """Return the MathJax bundle inside the installed wheel."""
    for file in distribution("sphinx-mathjax-offline").files or []:
        if file.name == MATHJAX:
            return Path(str(file.locate()))
    raise FileNotFoundError(f"sphinx-mathjax-offline does not carry {MATHJAX}")


def use_local_files(app: Sphinx, config: Any) -> None:
    """Point Sphinx to the local MathJax and to the book's own static files."""
    config.mathjax_path = f"mathjax/{MATHJAX}"
    config.html_static_path.append(str(STATIC))


def drop_thebe_assets(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """Leave sphinx-thebe's scripts and style sheet out of a page's head."""

    def keep(asset: Any) -> bool:
        body = getattr(asset, "attributes", {}).get("body") or ""
        name = str(getattr(asset, "filename", asset) or "")
        return "thebe" not in name and "THEBE_JS_URL" not in body

    for assets in ("script_files", "css_files"):
        context[assets] = [asset for asset in context.get(assets, []) if keep(asset)]


def drop_wrong_roles(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """Leave out the roles that docutils gives a list of references: ARIA does not allow them."""
    body = context.get("body", "").replace('role="list" class="citation', 'class="citation')
    context["body"] = body.replace(' role="doc-biblioentry"', "")


def drop_thebe_scripts(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Leave sphinx-thebe's configuration out of a page's body."""
    for node in list(doctree.findall(nodes.raw)):
        if "x-thebe-config" in node.astext() or "kernelName" in node.astext():
            node.parent.remove(node)


def write_package(path: Path) -> None:
    """Write `chapters/book` to a zip file, for whoever downloads a single notebook."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(PACKAGE.iterdir()):
            if file.is_file():
                archive.write(file, Path(PACKAGE.name, file.name))


def finish(app: Sphinx, exception: Exception | None) -> None:
    """Copy MathJax and the explorer's formulas into the site, and remove thebe's files."""
    if exception is None and app.builder.format == "html":
        static = Path(app.outdir) / "_static"
        copy_asset(find_mathjax(), static / "mathjax")
        explorer.write(static)
        write_package(static / "book.zip")
        for file in static.glob("sphinx-thebe.*"):
            file.unlink()


class GlueFigure(PasteFigureDirective):
    """``{glue:figure}`` with ``:doc:``, the page whose notebook made the figure."""

    option_spec: ClassVar = {**PasteFigureDirective.option_spec, "doc": directives.unchanged}

    def run(self) -> list[nodes.Node]:
        """Wrap a reference that myst-nb resolves when all pages have been read."""
        if "doc" not in self.options:
            found: list[nodes.Node] = super().run()
            return found
        reference = create_pending_glue_ref(
            self.document, self.source, self.line, self.options["doc"], self.arguments[0]
        )
        figure = nodes.figure("", reference, classes=self.options.get("figclass", []))
        figure["align"] = self.options.get("align", "default")
        figure["glue_alt"] = self.options.get("alt", "")
        self.set_source_info(figure)
        self.add_name(figure)
        text = nodes.Element()
        self.state.nested_parse(self.content, self.content_offset, text)
        if text.children:
            figure += nodes.caption(text[0].rawsource, "", *text[0].children)
            if len(text) > 1:
                figure += nodes.legend("", *text[1:])
        return [figure]


def describe_figures(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Give a figure shown on another page its alternative text, now that its image is there."""
    for figure in doctree.findall(nodes.figure):
        for image in figure.findall(nodes.image):
            if figure.get("glue_alt"):
                image["alt"] = figure["glue_alt"]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.setup_extension("myst_nb")
    app.add_directive_to_domain("glue", "figure", GlueFigure, override=True)
    app.add_css_file("book.css", priority=900)
    app.add_js_file("book.js", priority=900)
    app.connect("config-inited", use_local_files)
    app.connect("doctree-resolved", describe_figures)
    app.connect("doctree-resolved", drop_thebe_scripts, priority=900)
    app.connect("html-page-context", drop_thebe_assets, priority=900)
    app.connect("html-page-context", drop_wrong_roles)
    app.connect("build-finished", finish)
    return {"version": "0.1.0", "parallel_read_safe": True, "parallel_write_safe": True}
