"""Files of a folder in which other processes make and remove files at the same time."""

from __future__ import annotations

import os
from pathlib import Path


def paths_below(folder: Path) -> list[Path]:
    """Every directory and file that was seen below ``folder``, at any depth, in the order of their names.

    ``Path.rglob`` ends with FileNotFoundError when a directory vanishes while it is read; this passes over it, because
    a directory that is gone holds nothing. What the answer names may be gone when it is opened.

    Args:
        folder: need not exist.
    """
    return sorted(Path(place) / name for place, below, files in os.walk(folder) for name in (*below, *files))


def files_below(folder: Path) -> list[Path]:
    """Those of ``paths_below`` that are regular files and still there."""
    return [path for path in paths_below(folder) if path.is_file()]
