"""Create or repair .venv: the locked packages, and hmmtheory itself.

    python3 tools/install.py [--only-packages]

It may be killed at any moment. While it works, ``.venv/.installing`` exists; whoever finds that
file makes the environment anew, since a package that was half linked passes for installed. What is
installed is remembered by content, not by date, so that a touched file needs no work. Packages are
cached inside .venv: repairs need no network, and nothing is written outside this folder.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
BIN = VENV / "bin"
PYTHON = BIN / "python"
MARKER = VENV / ".installing"
WHEELS = VENV / "cache" / "wheels"
PIP = (PYTHON, "-m", "pip", "--quiet", "--disable-pip-version-check")
#: Kept when an environment is made anew.
KEPT = ("cache", ".lock-install", ".installing")
LOCK = ROOT / "requirements.txt"
PROJECT = ROOT / "pyproject.toml"


@contextmanager
def alone() -> Iterator[None]:
    """Wait until nobody else installs. The lock ends with its last holder, killed or not."""
    VENV.mkdir(exist_ok=True)
    with (VENV / ".lock-install").open("w") as file:
        try:
            import fcntl
        except ImportError:
            yield
            return
        fcntl.flock(file, fcntl.LOCK_EX)
        # A package manager that outlives a killed parent goes on holding it.
        os.set_inheritable(file.fileno(), True)
        yield


def call(*command: str | Path, check: bool = True, quiet: bool = False) -> bool:
    """Run a command; say whether it succeeded, or stop if it had to."""
    said = subprocess.DEVNULL if quiet else None
    status = subprocess.run(
        [str(part) for part in command], cwd=ROOT, stderr=said, close_fds=False, check=False
    ).returncode
    if status and check:
        raise SystemExit(f"{' '.join(str(part) for part in command)}: exit status {status}")
    return status == 0


def digest(*paths: Path) -> str:
    """Return what identifies the contents of files, and the Python that they are for."""
    found = hashlib.sha256(f"{sys.version} {ROOT}".encode())
    for path in paths:
        found.update(path.read_bytes())
    return found.hexdigest()


def is_done(name: str, wanted: str) -> bool:
    """Say whether a step was finished for these contents."""
    stamp = VENV / name
    return stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted


def finish(name: str, wanted: str) -> None:
    """Remember that a step was finished, in one step of its own."""
    stamp = VENV / f"{name}.new"
    stamp.write_text(wanted, encoding="utf-8")
    stamp.replace(VENV / name)


def create() -> None:
    """Make an empty environment; what is there came from an interrupted installation."""
    # A kill in the middle of what follows must leave word of it.
    MARKER.touch()
    for path in VENV.iterdir():
        if path.name not in KEPT:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    call(sys.executable, "-m", "venv", VENV)
    # uv installs in seconds; where it can't be had, pip does the same in a minute.
    if not any(WHEELS.glob("uv-*.whl")):
        call(*PIP, "download", "uv", "--no-deps", "--dest", VENV / "cache" / "new", check=False)
        if any((VENV / "cache" / "new").glob("uv-*.whl")):
            (VENV / "cache" / "new").replace(WHEELS)
    call(*PIP, "install", "--no-index", "--find-links", WHEELS, "uv", check=False)


def install(*arguments: str | Path) -> None:
    """Install with uv, or else with pip; the lock is complete, so neither looks for more."""
    uv: tuple[str | Path, ...] = (BIN / "uv", "pip", "install", "--quiet", "--python", PYTHON)
    uv += ("--no-deps",)
    if (BIN / "uv").exists():
        # What was installed before needs no network.
        if call(*uv, "--offline", *arguments, check=False, quiet=True):
            return
        if call(*uv, *arguments, check=False):
            return
    call(*PIP, "install", "--no-deps", *arguments)


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only-packages", action="store_true", help="leave hmmtheory out")
    options = parser.parse_args()
    if sys.version_info < (3, 11):  # noqa: UP036
        raise SystemExit("Python 3.11 or later is needed; try make PYTHON=python3.12")
    # Copies outside the project would be left behind; links within one disk cost nothing.
    os.environ.setdefault("UV_CACHE_DIR", str(VENV / "cache" / "uv"))
    # Behind a proxy its certificate is the system's; older versions know the other name.
    for name in ("UV_SYSTEM_CERTS", "UV_NATIVE_TLS"):
        os.environ.setdefault(name, "1")
    os.environ.setdefault("PIP_CACHE_DIR", str(VENV / "cache" / "pip"))
    for name in ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME"):
        os.environ.pop(name, None)
    base, packages, project = digest(), digest(LOCK), digest(PROJECT)
    with alone():
        if MARKER.exists() or not is_done(".base", base) or not PYTHON.exists():
            create()
            finish(".base", base)
        if not is_done(".packages", packages):
            MARKER.touch()
            install("-r", LOCK)
            finish(".packages", packages)
        if not options.only_packages and not is_done(".project", project):
            MARKER.touch()
            # What builds it is in the lock.
            install("--no-build-isolation", "--editable", ROOT)
            finish(".project", project)
        MARKER.unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
