"""``hope dicom find`` and ``hope dicom pull``: an archive's DICOMweb services."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from hope.commands.inputs import HELP, PATH


@click.command("find", short_help="Search an archive for studies.", context_settings=HELP)
@click.option("--patient-id", default="", metavar="ID", help="Of one patient; - reads it from standard input.")
@click.option("--date", default="", metavar="DATE", help="YYYYMMDD, or YYYYMMDD-YYYYMMDD for all between.")
def find(patient_id: str, date: str) -> None:
    """List MR studies of the archive at HOPE_DICOMWEB_URL: UID, date, series, images. Nothing is kept.

    \b
    hope dicom find --date 20260301-20260331
    """  # noqa: D301 - click reads the backspace
    from hope.domain.extras import require_extras

    require_extras("hope dicom find", "dicom")
    from hope.dicomnet.dicomweb import MOST_FOUND, DicomWeb
    from hope.settings import Settings

    archive = DicomWeb(Settings.from_environment().dicom.dicomweb_url)
    found = archive.find(sys.stdin.readline().strip() if patient_id == "-" else patient_id, date)
    for study in found:
        click.echo(f"{study.uid}\t{study.date or '-'}\t{study.series or '-'} series\t{study.images or '-'} images")
    if not found:
        click.echo("hope: no MR study was found", err=True)
    elif len(found) >= MOST_FOUND:
        text = f"a search asks for {MOST_FOUND} studies at most, and there may be more: name a patient, or fewer days"
        click.echo(f"hope: {text}", err=True)


@click.command("pull", short_help="Fetch a study from an archive.", context_settings=HELP)
@click.argument("uid", metavar="STUDY_UID")
@click.option("-o", "--output", type=PATH, required=True, metavar="DIR", help="The study goes to DIR/study-...")
def pull(uid: str, output: Path) -> None:
    """Fetch the MR series of one study from the archive at HOPE_DICOMWEB_URL.

    All images that the archive lists come, or nothing stays. The files hold names, and only this account can read them.

    \b
    hope dicom pull 1.2.840.99.7 -o studies && hope segment studies -o results
    """  # noqa: D301 - click reads the backspace
    from hope.domain.extras import require_extras

    require_extras("hope dicom pull", "dicom")
    from hope.dicomnet.dicomweb import DicomWeb
    from hope.settings import Settings

    click.echo(str(DicomWeb(Settings.from_environment().dicom.dicomweb_url).pull(uid, output)))
