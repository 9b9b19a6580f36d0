"""hope infer: the form that MLCube and MedPerf call."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import click

from hope.commands.inputs import PATH, REPLACE_FILES


@click.command(short_help="MLCube form: a directory of cases in, one mask per case out.")
@click.option("--data_path", type=PATH, required=True, metavar="D", help="Directory of case directories.")
@click.option("--output_path", type=PATH, required=True, metavar="O", help="Masks go to O/<case>.nii.gz.")
@click.option("--model", metavar="ID", help="Model bundle; see `hope models list`.  [default: mixed]")
@REPLACE_FILES
def infer(data_path: Path, output_path: Path, model: str | None, replace: bool) -> None:
    """Segment every case under D and write O/<case>.nii.gz, labels 1 ET, 2 NET, 3 CC, 4 ED on the scan's own grid.

    Needs no network, no home and no user name; writes to O and to the directory for temporary files (TMPDIR) alone.
    A mask of the same scans is replaced. One of other scans, or one that was changed since, stays, and its case fails.
    """
    from hope.commands.batch_overlap import for_each_case_overlapping
    from hope.domain.progress import Progress
    from hope.formats.private_directory import private_directory
    from hope.pipeline import case_steps
    from hope.services import Services
    from hope.settings import Settings
    from hope.stages.intake.case_finding import find_all
    from hope.stages.intake.intake import CaseSource
    from hope.stages.report.mask_files import MaskDestination

    found = find_all([data_path], {})
    # Hours of work would be lost if this came out at the first mask.
    _check_output(output_path)
    _check_scratch()
    services = Services(Settings.from_environment())
    predictor, brain = services.predictor(model, where="local"), services.brain_extractor()
    predictor.prepare()

    def steps(source: CaseSource, progress: Progress) -> Generator[None, None, None]:
        with private_directory() as scratch:
            to = MaskDestination(scratch, replace, output_path)
            to.refuse_other_scans(source.case_id, {})  # what is no mask of ours is seen before a scan is read
            result = yield from case_steps(source, predictor, brain, to, progress=progress)
        click.echo(str(to.write(result)))

    for_each_case_overlapping(found.sources, steps, found.skipped)


def _check_output(folder: Path) -> None:
    """Make the directory and try to write in it.

    Raises:
        OutputError: if that fails.
    """
    import tempfile

    from hope.formats.atomic import output_error

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise output_error("the output directory", error) from error


def _check_scratch() -> None:
    """Find a directory for temporary files.

    Raises:
        OutputError: if nothing that may be one can be written.
    """
    import tempfile

    from hope.domain.errors import OutputError

    try:
        tempfile.gettempdir()
    except FileNotFoundError as error:
        raise OutputError(
            "cannot write temporary files: neither TMPDIR nor /tmp is writable; name a directory that is in TMPDIR"
        ) from error
