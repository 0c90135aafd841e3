"""What a link to the book shows, and the plain list of results."""

import pytest

sharing = pytest.importorskip("sharing")


def test_the_preview_is_the_books_main_figure() -> None:
    picture = sharing.preview()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) < 300_000


def test_a_page_is_described_by_its_question_and_cut_at_a_word() -> None:
    from docutils.core import publish_doctree

    page = "Title\n=====\n\n.. tip:: In one minute\n\n   Is this the question, then?\n\nText.\n"
    plain = publish_doctree(page.replace(".. tip:: In one minute", ".. admonition:: In one minute"))
    assert sharing.about(plain) == "Is this the question, then?"
    long = publish_doctree("Title\n=====\n\n" + "word " * 100 + "\n")
    words = sharing.about(long)
    assert len(words) <= sharing.LONGEST + 2
    assert words.endswith("word …")
    assert sharing.about(publish_doctree("")) == ""
