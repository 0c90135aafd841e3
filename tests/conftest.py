"""A headless Chromium for the tests that need one."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

ROOT = Path(__file__).resolve().parents[1]
# The book's tools, and `book`, the package that its notebooks share.
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "chapters")]


def skip_or_fail(reason: str) -> NoReturn:
    """Skip; fail where the browser tests are required."""
    if os.environ.get("HMMTHEORY_REQUIRE_BROWSER"):
        pytest.fail(f"HMMTHEORY_REQUIRE_BROWSER is set, but {reason}", pytrace=False)
    pytest.skip(reason)


# Of one module, since Playwright keeps an event loop running, which notebooks would trip over.
@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from pdf import OPTIONS, find_chromium

    path = find_chromium()
    if path is None or not Path(path).is_file():
        named = "$HMMTHEORY_CHROMIUM names no file" if path else "no Chromium is on the PATH"
        skip_or_fail(f"{named}: install chromium, or set HMMTHEORY_CHROMIUM to its path")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        skip_or_fail("the Python package playwright is not installed")
    with sync_playwright() as play:
        running = play.chromium.launch(executable_path=path, args=list(OPTIONS))
        yield running
        running.close()


@pytest.fixture(scope="session")
def required() -> Any:
    """Return what skips a test, or fails it where browser tests are required."""
    return skip_or_fail
