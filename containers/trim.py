"""Takes out of an installed environment what no image needs: bytecode, tests, headers, libraries to link with, and pip.

python trim.py /opt/hope
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

FOLDERS = {"__pycache__", "tests", "include"}
SUFFIXES = {".pyc", ".pyo", ".a", ".lib", ".c", ".cpp", ".cu", ".cuh", ".h", ".hpp", ".pxd", ".pyx"}
KEPT = {"numpy/_core/tests/_natype.py"}
"""numpy.testing imports it, and other packages import numpy.testing."""
INSTALLERS = ("pip", "pip-*.dist-info", "../../../bin/pip*")


def unneeded(packages: Path) -> list[Path]:
    """Folders and files below site-packages that may go, parents before what lies in them."""
    kept = {packages / path for path in KEPT}
    found = [path for pattern in INSTALLERS for path in packages.glob(pattern)]
    for path in sorted(packages.rglob("*")):
        below = not FOLDERS.isdisjoint(path.relative_to(packages).parts)
        if path.is_dir():
            if path.name in FOLDERS and not any(path in one.parents for one in kept):
                found.append(path)
        elif (below or path.suffix in SUFFIXES) and path not in kept:
            found.append(path)
    return found


def remove(paths: list[Path]) -> int:
    """Delete them; how many bytes that freed."""
    freed = 0
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            freed += sum(file.lstat().st_size for file in path.rglob("*") if not file.is_dir())
            shutil.rmtree(path)
        elif path.is_symlink() or path.exists():
            freed += path.lstat().st_size
            path.unlink()
    return freed


def main(environment: Path) -> None:
    """Trim one virtual environment.

    Raises:
        SystemExit: there is no environment.
    """
    found = list(environment.glob("lib/python*/site-packages"))
    if len(found) != 1:
        raise SystemExit(f"trim: {environment} is no virtual environment")
    freed = remove([*unneeded(found[0]), environment / "include"])
    print(f"trim: {freed / 1e6:.0f} MB of {environment}")  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]))
