"""``hope export``: a result's mask for 3D Slicer and ITK-SNAP."""

from __future__ import annotations

from pathlib import Path

import click

from hope.commands.inputs import HELP, PATH, REPLACE_FILES


@click.command(short_help="Write a result's mask for 3D Slicer or ITK-SNAP.", context_settings=HELP)
@click.argument("result", metavar="RESULT", type=PATH)
@click.option("--slicer", is_flag=True, help="Write <case>.seg.nrrd with names, colours and terminology.")
@click.option("--itksnap", is_flag=True, help="Write <case>-labels.txt, the label descriptions; the mask stays NIfTI.")
@click.option(
    "-o", "--out", type=PATH, default=Path(), metavar="DIR", help="Where the files go.  [default: this directory]"
)
@REPLACE_FILES
def export(result: Path, slicer: bool, itksnap: bool, out: Path, replace: bool) -> None:
    """Write a result's mask in the form of another viewer.

    RESULT is the directory of one case. ITK-SNAP reads the result's own mask; it needs the label descriptions only.
    A file that is there and holds anything else, such as a mask that you edited, stays, unless you say --replace.

    \b
    hope export results/case --slicer
    hope export results/case --itksnap -o labels
    """  # noqa: D301 - click reads the backspace
    from hope.domain.errors import InputError
    from hope.export.stored_result import read_result
    from hope.export.writing import write_files
    from hope.formats.label_files import itksnap_text, slicer_bytes

    if not (slicer or itksnap):
        raise InputError("no viewer was named", fix="add --slicer or --itksnap")
    one = read_result(result)
    if one.correction_note:
        click.echo(f"note: {one.correction_note}", err=True)
    contents: dict[str, bytes] = {}
    if slicer:
        contents[f"{one.case_id}.seg.nrrd"] = slicer_bytes(one.labels())
    if itksnap:
        contents[f"{one.case_id}-labels.txt"] = itksnap_text().encode()
    for path in write_files(out, contents, replace=replace):
        click.echo(str(path))
