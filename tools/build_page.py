"""Builds the web page out of viewer/ when its sources have changed: `make page`, and the wheel's build hook.

Standard library only: the build hook runs it where nothing else is installed.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
SOURCES = ("src", "index.html", "package.json", "package-lock.json", "tsconfig.json", "vite.config.ts", ".npmrc")
STAMP = ".built-from"
OLDEST_NODE = (20, 19)
ADVICE = (
    "The web page is built with Node.js 20.19 or later and npm. Install Node.js and run this again, or install a"
    " released wheel, which carries the built page, or set HOPE_SKIP_PAGE=1 to do without the page."
)


class PageError(Exception):
    """The page cannot be built; the message says why and what to do."""


def sources(viewer: Path) -> Iterator[Path]:
    """The files that decide what the bundle is, in a fixed order; tests are none of them."""
    for name in SOURCES:
        start = viewer / name
        found = sorted(start.rglob("*")) if start.is_dir() else [start]
        yield from (path for path in found if path.is_file() and not re.search(r"\.test\.tsx?$", path.name))


def digest(viewer: Path) -> str:
    """Hash over names and bytes of the sources."""
    sha = hashlib.sha256()
    for path in sources(viewer):
        name = path.relative_to(viewer).as_posix().encode()
        data = path.read_bytes()
        sha.update(b"%d %s %d " % (len(name), name, len(data)) + data)
    return sha.hexdigest()


def is_current(viewer: Path, static: Path) -> bool:
    """Whether the bundle in ``static`` was built from exactly these sources."""
    stamp = static / STAMP
    return (static / "index.html").is_file() and stamp.is_file() and stamp.read_text().strip() == digest(viewer)


def node_problem() -> str:
    """Why Node.js cannot be used; empty if it can."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return "Node.js or npm is not installed."
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    found = re.fullmatch(r"v(\d+)\.(\d+)\..*", said)
    if not found or (int(found[1]), int(found[2])) < OLDEST_NODE:
        return f"Node.js {said.lstrip('v') or 'of an unknown version'} is too old."
    return ""


def build(viewer: Path, static: Path) -> None:
    """Install what the lock file names, build, and put the new bundle in the place of the old one in one step.

    Raises:
        PageError: if Node.js is missing or too old, or npm or the build fails.
    """
    problem = node_problem()
    if problem:
        raise PageError(f"{problem} {ADVICE}")
    want = digest(viewer)
    _install(viewer)
    static.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".static-", dir=static.parent) as scratch:
        made, old = Path(scratch) / "new", Path(scratch) / "old"
        _npm(viewer, "run", "build", "--", "--outDir", str(made), "--emptyOutDir")
        if not (made / "index.html").is_file():
            raise PageError("The build left no index.html; see its messages above.")
        (made / STAMP).write_text(want + "\n")
        if static.exists():
            static.rename(old)
        made.rename(static)


def ensure(viewer: Path, static: Path, say: Callable[[str], None]) -> bool:
    """Build if the bundle is not current; returns whether anything was built.

    Raises:
        PageError: as `build`.
    """
    if is_current(viewer, static):
        say("The web page is up to date.")
        return False
    say("Building the web page ...")
    build(viewer, static)
    say(f"The web page is built: {static}")
    return True


def _install(viewer: Path) -> None:
    """`npm ci`, unless what is there was installed from this very lock file."""
    want = hashlib.sha256((viewer / "package-lock.json").read_bytes()).hexdigest()
    stamp = viewer / "node_modules" / ".installed-from"
    if stamp.is_file() and stamp.read_text() == want:
        return
    _npm(viewer, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
    stamp.write_text(want)


def _npm(viewer: Path, *arguments: str) -> None:
    """Run npm quietly; its words are shown if it fails."""
    command = [shutil.which("npm") or "npm", "--loglevel=error", *arguments]
    ran = subprocess.run(command, cwd=viewer, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if ran.returncode:
        # npm says what is wrong first, then how it is used.
        raise PageError(f"npm {' '.join(arguments[:2])} failed in {viewer.name}/:\n{ran.stdout[:3000]}")


def main() -> int:
    """Build the repository's page; exit status 1 with advice if that is not possible."""
    if os.environ.get("HOPE_SKIP_PAGE") == "1":
        sys.stdout.write("HOPE_SKIP_PAGE=1: the web page is left as it is.\n")
        return 0
    try:
        ensure(
            REPOSITORY / "viewer",
            REPOSITORY / "src" / "hope" / "web" / "static",
            lambda line: print(line, flush=True),  # noqa: T201 - this is a command
        )
    except PageError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
