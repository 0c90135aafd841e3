"""Launch buttons are offered exactly where the repository's address is configured."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
book_pages = pytest.importorskip("book_pages")


def options_for(repository: dict[str, str]) -> dict[str, Any]:
    config = SimpleNamespace(html_context={"repository": repository}, html_theme_options={})
    book_pages.offer_launch(None, config)
    return config.html_theme_options


def test_an_address_brings_binder_source_and_issues() -> None:
    options = options_for({"url": "https://example.org/me/book", "branch": "trunk"})
    assert options["launch_buttons"]["binderhub_url"] == "https://mybinder.org"
    assert options["repository_url"] == "https://example.org/me/book"
    assert options["repository_branch"] == "trunk"
    assert options["use_issues_button"]


def test_no_address_brings_nothing() -> None:
    assert options_for({"url": "", "branch": "main"}) == {}
    assert options_for({}) == {}


def test_binder_can_install_what_the_notebooks_need() -> None:
    folder = Path(__file__).parents[1] / ".binder"
    assert any(folder.iterdir())
