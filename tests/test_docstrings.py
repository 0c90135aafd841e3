"""Docstrings say what a reader needs, and cite theorems that the book has under that number."""

import importlib
import inspect
import json
import re
from collections.abc import Callable, Iterator
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import pytest

import hmmtheory
from hmmtheory import closed_forms, plotting

ROOT = Path(__file__).resolve().parents[1]
KINDS = ("definition", "theorem", "lemma", "proposition", "corollary")
SECTIONS = re.compile(r"^(\w+)\n-{3,}$", re.MULTILINE)

#: The results that docstrings call by their code, and the label of their box in the book.
CODES = {
    "R1": "thm-r1",
    "R2": "thm-r2",
    "R3": "thm-r3",
    "R3′": "thm-r3-second",
    "R4": "thm-r4",
    "R13": "thm-document",
    "R14": "thm-one-draw",
}


def public_objects() -> dict[str, Any]:
    """Return what the API page documents, by its last name; the root's names are all there."""
    page = (ROOT / "chapters" / "api.md").read_text(encoding="utf-8")
    found = {}
    for home, name in re.findall(r"auto(?:class|function):: ([\w.]+)\.(\w+)$", page, re.MULTILINE):
        found[name] = getattr(importlib.import_module(home), name)
    for module in (closed_forms, plotting):
        for name, value in vars(module).items():
            own = getattr(value, "__module__", None) == module.__name__
            if own and not name.startswith("_") and callable(value):
                found.setdefault(name, value)
    return found


def test_the_page_of_the_api_has_every_name_of_the_root() -> None:
    assert set(hmmtheory.__all__) <= set(public_objects())


def test_the_root_has_its_listed_names_and_no_more_than_twenty_five() -> None:
    values = {name: getattr(hmmtheory, name) for name in dir(hmmtheory) if name[0] != "_"}
    chosen = ("TYPE_CHECKING", "Any", "annotations", "import_module")
    names = {name for name, v in values.items() if not inspect.ismodule(v) and name not in chosen}
    assert names == set(hmmtheory.__all__)
    assert len(names) <= 25


def public_members() -> dict[str, Any]:
    """Return methods and properties of the public classes, by their dotted names."""
    members = {}
    for name, value in public_objects().items():
        if inspect.isclass(value):
            for key, member in vars(value).items():
                named = isinstance(member, (property, cached_property, classmethod, staticmethod))
                if not key.startswith("_") and (named or inspect.isfunction(member)):
                    members[f"{name}.{key}"] = member
    return members


def unwrapped(value: Any) -> Any:
    value = getattr(value, "__func__", value)
    return inspect.unwrap(value)


def functions() -> dict[str, Callable[..., Any]]:
    everything = {**public_objects(), **public_members()}
    return {
        name: unwrapped(value)
        for name, value in everything.items()
        if inspect.isfunction(unwrapped(value))
    }


def arguments(function: Callable[..., Any]) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name not in ("self", "cls")]


def sections(value: Any) -> set[str]:
    return set(SECTIONS.findall(inspect.getdoc(value) or ""))


@pytest.mark.parametrize("name", [*public_objects(), *public_members()])
def test_every_public_name_has_a_docstring(name: str) -> None:
    value = {**public_objects(), **public_members()}[name]
    doc = inspect.getdoc(unwrapped(value))
    assert doc
    # What a dataclass generates for itself is a signature, not a docstring.
    assert not doc.startswith(f"{name}(")


@pytest.mark.parametrize("name", [name for name, f in functions().items() if arguments(f)])
def test_a_docstring_mentions_every_argument_and_what_it_raises(name: str) -> None:
    function = functions()[name]
    names = arguments(function)
    doc = inspect.getdoc(function) or ""
    as_another = re.search(r"[Aa]rguments( and errors)? as|as :meth:|raises as", doc)
    if len(names) > 1:
        assert as_another or "Parameters" in sections(function)
    if not as_another:
        missing = [arg for arg in names if not re.search(rf"\b{arg}\b", doc)]
        assert missing == []
    # A function that checks its input says so.
    source = inspect.getsource(function)
    if re.search(r"\bas_[a-z]+\(|check_dimensions\(|raise ValueError", source):
        says = "Raises" in sections(function) or as_another or len(names) == 1
        assert says


def test_a_class_that_checks_its_fields_documents_them_and_its_errors() -> None:
    for name, value in public_objects().items():
        if inspect.isclass(value):
            wanted = {"Parameters", "Raises"} if hasattr(value, "__post_init__") else set()
            assert wanted <= sections(value), name


@pytest.mark.parametrize("name", [n for n, f in public_objects().items() if inspect.isfunction(f)])
def test_every_public_function_shows_what_it_returns_and_how_it_is_called(name: str) -> None:
    function = public_objects()[name]
    assert "Returns" in sections(function) or name in ("mark_threshold", "use_style")
    # These examples would say nothing new, or draw a picture.
    elsewhere = ("simulate_head_risk", "mark_threshold", "plot_theory_and_simulation", "use_style")
    if name not in elsewhere:
        assert "Examples" in sections(function)


# The book.


@cache
def boxes() -> dict[str, tuple[str, str]]:
    """Return kind and label of every numbered result in the book, by its number."""
    found = {}
    opening = re.compile(
        rf"^\s*[`:]{{3,}}\{{(?:prf:)?({'|'.join(KINDS)})\}}(.*(?:\n\s*:[\w-]+:.*)*)", re.MULTILINE
    )
    for path in sorted((ROOT / "chapters").glob("[0-9][0-9]_*.ipynb")):
        count = 0
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] != "markdown":
                continue
            for match in opening.finditer("".join(cell["source"])):
                if ":nonumber:" in match[2]:
                    continue
                count += 1
                label = re.search(r":label:\s*(\S+)", match[2])
                found[f"{int(path.name[:2])}.{count}"] = (match[1], label[1] if label else "")
    return found


def citations() -> Iterator[tuple[str, str, str, str]]:
    """Yield file, kind, number and result code (or nothing) of every citation of the book."""
    cited = re.compile(
        rf"({'|'.join(KINDS)})s?[\s#]+(\d+\.\d+)(?:[\s#]+\((R\d+′?))?", re.IGNORECASE
    )
    for path in sorted((ROOT / "hmmtheory").rglob("*.py")):
        for kind, number, code in cited.findall(path.read_text(encoding="utf-8")):
            yield path.name, kind.lower(), number, code


@pytest.mark.parametrize(
    ("file", "kind", "number", "code"), list(dict.fromkeys(citations())), ids=lambda text: text
)
def test_a_cited_result_is_in_the_book_under_its_number(
    file: str, kind: str, number: str, code: str
) -> None:
    assert number in boxes(), f"{file} cites {kind} {number}; the book has {sorted(boxes())}"
    found, label = boxes()[number]
    assert found == kind
    if code in CODES:
        assert label == CODES[code]


def test_the_package_cites_its_main_results() -> None:
    labels = {boxes()[number][1] for _, _, number, _ in citations() if number in boxes()}
    assert set(CODES.values()) <= labels


def test_every_box_of_the_book_has_a_label_of_its_own() -> None:
    labels = [label for _, label in boxes().values()]
    assert all(labels)
    assert len(set(labels)) == len(labels)
