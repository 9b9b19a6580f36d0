"""Several files into one directory: all of them or none."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hope.formats.atomic import atomic_output, output_error


def write_files(out: Path, contents: Mapping[str, bytes]) -> list[Path]:
    """Write files by name into a directory, which is made if it is missing; files of these names are replaced.

    Raises:
        OutputError: if the operating system refuses; then none of the new files is left.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error("the output directory", error) from error
    written: list[Path] = []
    try:
        for name, content in contents.items():
            with atomic_output(out / name) as stream:
                stream.write(content)
            written.append(out / name)
    except BaseException:
        for path in written:
            path.unlink(missing_ok=True)
        raise
    return written
