"""Longest first; every failing cell in one list; a headless Chromium for tests that need one."""

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

ROOT = Path(__file__).resolve().parents[1]
TOOLS = ROOT / "tools"
# The book's tools, and `book`, the package that its notebooks share.
sys.path[:0] = [str(TOOLS), str(ROOT / "chapters")]
REMEMBERED = "hmmtheory/seconds"
FAILING = "failing cell"
ANSI = re.compile(r"\x1b\[[0-9;]*m")
SLOW = pytest.StashKey[dict[str, float]]()


def scope(nodeid: str) -> str:
    """Return the notebook or module of a test: what xdist gives to one worker."""
    return nodeid.partition("::")[0]


def pytest_configure(config: pytest.Config) -> None:
    """Remember how long each notebook and module took; workers are told, so that all agree."""
    config.addinivalue_line("markers", "slow: takes minutes; runs with HMMTHEORY_SLOW=1")
    told = getattr(config, "workerinput", {}).get(REMEMBERED)
    # Hooks of this file would be called for the items of this folder alone.
    config.pluginmanager.register(Cells())
    config.stash[SLOW] = seconds_before(config) if told is None else told


def seconds_before(config: pytest.Config) -> dict[str, float]:
    """Return the last run's seconds, and those of the record where there was none."""
    record = TOOLS / "portable.json"
    known = json.loads(record.read_text("utf-8")).get("seconds", {}) if record.is_file() else {}
    # The record names notebooks as the book's tools do.
    found = {name if "/" in name else f"chapters/{name}.ipynb": t for name, t in known.items()}
    cache = getattr(config, "cache", None)
    return {**found, **(cache.get(REMEMBERED, {}) if cache else {})}


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of xdist."""
    node.workerinput[REMEMBERED] = node.config.stash[SLOW]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run what takes longest first, so that no worker is left alone with it at the end."""
    known = config.stash[SLOW]

    def place(item: pytest.Item) -> tuple[float, str]:
        name = scope(item.nodeid)
        return -known.get(name, float("inf") if name.endswith(".ipynb") else 0.0), name

    items.sort(key=place)
    if not os.environ.get("HMMTHEORY_SLOW"):
        for item in items:
            if item.get_closest_marker("slow"):
                item.add_marker(pytest.mark.skip(reason="HMMTHEORY_SLOW is not set"))


class Cells:
    """What is done for each cell of a notebook, wherever notebooks are."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: Any) -> None:
        """Let the cells after one that timed out fail in their own name."""
        if hasattr(item.parent, "timed_out"):
            item.parent.timed_out = False

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item: Any, call: Any) -> Iterator[None]:
        """Note why a cell failed, for the list at the end."""
        outcome: Any = yield
        report = outcome.get_result()
        if report.failed and hasattr(item, "cell_num"):
            report.user_properties.append((FAILING, reason(call.excinfo.value)))


def reason(error: BaseException) -> str:
    """Return in one line why a cell failed."""
    inside = ANSI.sub("", getattr(error, "inner_traceback", None) or "").strip()
    if "exception" in str(error) and inside:
        # A message of several lines starts where the error's name stands.
        named = [line for line in inside.splitlines() if re.match(r"[\w.]+(:|$)", line)]
        return named[-1] if named else inside.splitlines()[-1]
    return " ".join(f"{error} {inside}".split())[:200]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """List every failing cell, and remember how long everything took."""
    stats = terminalreporter.stats
    failed = [
        (scope(report.nodeid), int(report.nodeid.rpartition(" ")[2]) + 1, said)
        for report in stats.get("failed", [])
        for name, said in report.user_properties
        if name == FAILING
    ]
    if failed:
        terminalreporter.section(f"{len(failed)} failing cells (numbered as Jupyter does)")
        for notebook, cell, said in sorted(failed):
            terminalreporter.line(f"{Path(notebook).stem}  cell [{cell}]  {said}")
    seconds: dict[str, float] = {}
    for report in (r for kind in ("", "passed", "failed") for r in stats.get(kind, [])):
        if isinstance(report, pytest.TestReport):
            name = scope(report.nodeid)
            seconds[name] = round(seconds.get(name, 0.0) + report.duration, 2)
    config = terminalreporter.config
    if cache := getattr(config, "cache", None):
        cache.set(REMEMBERED, {**config.stash[SLOW], **seconds})


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
