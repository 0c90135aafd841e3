"""One version, in one place, and a note of what changed."""

import doctest
import re
import tomllib
from pathlib import Path

import yaml

import hmmtheory

ROOT = Path(__file__).resolve().parents[1]


def test_the_version_lives_in_the_package_alone() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["dynamic"] == ["version"]
    assert "version" not in project


def test_citation_and_changes_speak_of_this_version() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(r"^version: (.*)$", citation, re.MULTILINE)[1] == hmmtheory.__version__
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## (.*)$", changes, re.MULTILINE)[1] == hmmtheory.__version__
    count = int(re.search(r"^- (\d+) names in the root", changes, re.MULTILINE)[1])
    assert count == len(hmmtheory.__all__)


def test_what_the_readme_prints_is_what_is_printed() -> None:
    found = doctest.testfile(
        str(ROOT / "README.md"),
        module_relative=False,
        optionflags=doctest.ELLIPSIS,
        encoding="utf-8",
    )
    assert found.attempted > 10
    assert found.failed == 0


def test_workflows_call_what_there_is_and_hold_few_rights() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    found = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
    assert {file.stem for file in found} == {"book", "ci", "release"}
    for file in found:
        workflow = yaml.safe_load(file.read_text(encoding="utf-8"))
        assert workflow["permissions"] == {"contents": "read"}
        for name, job in workflow["jobs"].items():
            assert job["timeout-minutes"] <= 90, name
            assert set(job.get("permissions", {})) <= {"pages", "id-token"}
            for step in job["steps"]:
                assert ("run" in step) != ("uses" in step)
                assert "@" in step.get("uses", "@")
                called = re.findall(r"make ([a-z-]+)", step.get("run", ""))
                assert set(called) <= targets, (file.name, name)
