"""``hope dicom``: studies from an archive, and results back to it."""

from __future__ import annotations

from pathlib import Path

import click

from hope.commands.dicom_receive import receive
from hope.commands.dicom_web import find, pull
from hope.commands.inputs import HELP, PATH, REPLACE_FILES


@click.group(short_help="Studies from an archive, and results back to it.", context_settings=HELP)
def dicom() -> None:
    """Take studies from an archive (PACS), and hand results back as DICOM objects."""


for _command in (receive, find, pull):
    dicom.add_command(_command)


@dicom.command("export", short_help="Write a result as DICOM SEG and SR.", context_settings=HELP)
@click.argument("result", metavar="RESULT", type=PATH)
@click.option("--series", "series", type=PATH, required=True, metavar="DIR", help="Directory of the original series.")
@click.option("--labelmap", is_flag=True, help="A label map instead of one bit a voxel; fewer programs read it.")
@click.option("-o", "--out", type=PATH, required=True, metavar="DIR", help="Where the objects go.")
@REPLACE_FILES
def export(result: Path, series: Path, labelmap: bool, out: Path, replace: bool) -> None:
    """Write the tumour's parts as a DICOM segmentation and the figures as a structured report.

    RESULT is the directory of one case. Both objects refer to the original series, lie in its study and carry its
    patient's identity, which the result itself does not hold. Where no tumour was found, the report says so, and there
    is no segmentation. Set HOPE_SITE_SECRET, so that the tracking UIDs of one patient are equal on every date. Objects
    of the same mask and series are replaced; others of these names stay, unless you say --replace.

    \b
    hope dicom export results/case --series dicom/t1c -o objects
    """  # noqa: D301 - click reads the backspace
    from hope.domain.extras import require_extras

    require_extras("hope dicom export", "dicom")
    from hope.export.dicom import export_objects
    from hope.export.stored_result import read_result
    from hope.settings import Settings

    secret = Settings.from_environment().site_secret
    one = read_result(result)
    written = export_objects(one, series, out, secret=secret, labelmap=labelmap, replace=replace)
    for note in (one.correction_note, *written.notes):
        if note:
            click.echo(f"note: {note}", err=True)
    for path in written.files:
        click.echo(str(path))
