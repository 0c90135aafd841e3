"""Build sdist and wheel, and try the wheel in empty environments: alone, then with each extra.

    python tools/dist.py [--extras practice study]

In each environment the package is imported and its doctests run; modules that need what is not
installed there are listed. A failure makes the exit status non-zero.
"""

from __future__ import annotations

import argparse
import email
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"
EXTRAS = ("", "study", "practice")
NEEDED = ("Name", "Version", "Summary", "Requires-Python", "License-Expression", "Author")
TRY = """
import doctest, importlib, pkgutil, sys
import numpy
import hmmtheory

assert "site-packages" in hmmtheory.__file__, hmmtheory.__file__
left, failed, tried = set(), 0, 0


class Runner(doctest.DocTestRunner):
    def report_failure(self, out, test, example, got):
        global failed
        failed += test.name not in left
        if test.name not in left:
            super().report_failure(out, test, example, got)

    def report_unexpected_exception(self, out, test, example, info):
        global failed
        lacks = issubclass(info[0], ImportError) or "pip install" in str(info[1])
        if lacks:
            left.add(test.name)
        elif test.name not in left:
            failed += 1
            super().report_unexpected_exception(out, test, example, info)


for found in pkgutil.walk_packages(hmmtheory.__path__, "hmmtheory."):
    if not found.name.endswith("__main__"):
        try:
            module = importlib.import_module(found.name)
        except ImportError as error:  # its extra is not here; it must say which
            assert "pip install" in str(error), error
            left.add(found.name)
            continue
        runner = Runner(optionflags=doctest.ELLIPSIS, verbose=False)
        for test in doctest.DocTestFinder(exclude_empty=True).find(
            module, globs={**vars(module), "np": numpy}
        ):
            runner.run(test)
        tried += runner.tries
names = ", ".join(sorted(left)) or "none"
print(f"{tried} lines of doctest, {failed} failures; need more than is here: {names}")
sys.exit(bool(failed))
"""


def run(*command: object, **options: object) -> None:
    """Run a command and stop if it fails."""
    subprocess.run([str(word) for word in command], check=True, **options)  # type: ignore[call-overload]


def check(sdist: Path, wheel: Path) -> None:
    """Look at metadata and contents, and say what was left out."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        place = next(name for name in names if name.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(archive.read(place))
    missing = [name for name in NEEDED if not metadata[name]]
    if "License-Expression" in missing and metadata["License"]:
        missing.remove("License-Expression")
    if missing:
        raise SystemExit(f"{wheel.name} has no {', '.join(missing)}")
    inside = {name for name in names if ".dist-info/" not in name}
    wanted = {
        str(file.relative_to(ROOT))
        for file in (ROOT / "hmmtheory").rglob("*")
        if file.suffix == ".py" or file.name == "py.typed"
    }
    if inside != wanted:
        raise SystemExit(f"{wheel.name} differs from the package: {sorted(inside ^ wanted)}")
    with tarfile.open(sdist) as archive:
        top = {name.split("/")[1] for name in archive.getnames() if "/" in name}
    left = sorted(
        p.name for p in ROOT.iterdir() if p.name not in top and not p.name.startswith(".")
    )
    print(f"{metadata['Name']} {metadata['Version']}: {len(inside)} files; "
          f"not in the sdist: {', '.join(left)}")  # fmt: skip


def try_out(wheel: Path, extra: str) -> None:
    """Install the wheel with one extra into an empty environment and use it there."""
    uv = ROOT / ".venv" / "bin" / "uv"
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        run(uv, "venv", "--quiet", "--python", sys.executable, place / "env")
        python = place / "env" / "bin" / "python"
        name = f"{wheel}[{extra}]" if extra else str(wheel)
        run(uv, "pip", "install", "--quiet", "--python", python, name)
        print(f"with {extra or 'no extra'}: ", end="", flush=True)
        environment = os.environ | {"MPLBACKEND": "agg", "MPLCONFIGDIR": folder}
        run(python, "-W", "ignore", "-c", TRY, cwd=folder, env=environment)
        shown = ["--help"] if extra != "practice" else ["predict", "none.npy", "none.npy"]
        code = subprocess.run(
            [str(python.with_name("hmmtheory")), *shown], capture_output=True, check=False
        ).returncode
        if code != (0 if extra != "practice" else 2):
            raise SystemExit(f"the command line answered with status {code}")


def main(arguments: list[str] | None = None) -> int:
    """Build, check and try."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--extras", nargs="*", default=list(EXTRAS))
    given = parser.parse_args(arguments)
    for old in DIST.glob("hmmtheory-*"):
        old.unlink()
    uv = ROOT / ".venv" / "bin" / "uv"
    build = ("build", "--quiet", "--no-build-isolation", "--out-dir", DIST, "--python")
    run(uv, *build, ROOT / ".venv" / "bin" / "python", ROOT)
    (sdist,), (wheel,) = DIST.glob("*.tar.gz"), DIST.glob("*.whl")
    check(sdist, wheel)
    for extra in given.extras:
        try_out(wheel, extra)
    print(f"dist/ holds {sdist.name} and {wheel.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
