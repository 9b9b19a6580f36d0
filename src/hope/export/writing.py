"""Several files into one directory: all of them or none."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hope.formats.atomic import output_error, write_together
from hope.stages.report.made_from import refuse_other_bytes


def write_files(out: Path, contents: Mapping[str, bytes], *, replace: bool = False) -> list[Path]:
    """Write files by name into a directory, which is made if it is missing.

    Args:
        out: the directory.
        contents: the same input gives the same bytes.
        replace: files of these names are replaced whatever they hold.

    Raises:
        OutputError: if a file of other bytes is there and may not be replaced, or the operating system refuses; then
            none of the new files is left.
    """
    files = {out / name: content for name, content in contents.items()}
    refuse_other_bytes(files, replace=replace)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error("the output directory", error) from error
    write_together(files)
    return list(files)
