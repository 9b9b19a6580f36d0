"""hope infer: the form that MLCube and MedPerf call."""

from __future__ import annotations

from pathlib import Path

import click

from hope.commands.inputs import PATH


@click.command(short_help="MLCube form: a directory of cases in, one mask per case out.")
@click.option("--data_path", type=PATH, required=True, metavar="D", help="Directory of case directories.")
@click.option("--output_path", type=PATH, required=True, metavar="O", help="Masks go to O/<case>.nii.gz.")
@click.option("--model", metavar="ID", help="Model bundle; see `hope models list`.  [default: starter]")
def infer(data_path: Path, output_path: Path, model: str | None) -> None:
    """Segment every case under D and write O/<case>.nii.gz, labels 1 ET, 2 NET, 3 CC, 4 ED on the scan's own grid."""
    import tempfile

    from hope.commands.batch import for_each_case
    from hope.domain.progress import Progress
    from hope.formats.atomic import output_error
    from hope.formats.nifti import write_labels
    from hope.pipeline import run_case
    from hope.services import Services
    from hope.settings import Settings
    from hope.stages.intake import CaseSource, find_cases

    sources = find_cases([data_path], {})
    services = Services(Settings.from_environment())
    predictor, brain = services.predictor(model), services.brain_extractor()
    predictor.prepare()

    def work(source: CaseSource, progress: Progress) -> None:
        with tempfile.TemporaryDirectory(prefix="hope-") as scratch:
            result = run_case(source, predictor, brain, Path(scratch), progress=progress)
        try:
            output_path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise output_error("the output directory", error) from error
        write_labels(result.native_labels, output_path / f"{source.case_id}.nii.gz")
        click.echo(f"{output_path / source.case_id}.nii.gz")

    for_each_case(sources, work)
