"""hope segment: the whole job."""

from __future__ import annotations

import atexit
import gc
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import click

from hope.commands.inputs import HELP, PATH, REPLACE, scan_inputs
from hope.commands.lesions import print_lesions
from hope.commands.run_options import run_options
from hope.contract.options import RunOptions
from hope.contract.outputs import OutputFile, Role, Space
from hope.contract.report import CaseReport
from hope.domain.qc import worst_first
from hope.domain.sequence import MRSequence
from hope.domain.wording import millilitres
from hope.settings import DEVICES

LEAST_REPORTED_ML = 0.05
"""Smaller changes by post-processing show as 0.0 in the table."""


_PRINTED = {
    "picture": OutputFile.of(Role.PICTURE),
    "report": OutputFile.of(Role.REPORT),
    "mask": OutputFile(Role.SEGMENTATION, space=Space.NATIVE),
    "facts": OutputFile.of(Role.FACTS),
}
_MARKS = {"warning": "!", "caution": "?"}


@click.command(short_help="Scans in; labels, volumes, picture and report out.", context_settings=HELP)
@scan_inputs
@click.option("-o", "--output", type=PATH, metavar="OUT", help="Results go to OUT/<case>/.  [required]")
@REPLACE
@click.option("--dry-run", is_flag=True, help="Say which scans would be taken, and why; run nothing, write nothing.")
@run_options
@click.option(
    "--predictor",
    "where",
    type=click.Choice(["local", "sagemaker"]),
    help="Run the model here or at an endpoint.  [default: HOPE_PREDICTOR, else local]",
)
@click.option("--device", type=click.Choice(DEVICES), help="Where the network runs.  [default: auto]")
@click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16", "fp16"]),
    help="Arithmetic of an ensemble's networks.  [default: auto]",
)
@click.option("--mirror/--no-mirror", default=None, help="Test-time mirroring of an ensemble.  [default: mirror]")
def segment(
    inputs: tuple[Path, ...],
    named: Mapping[MRSequence, Path],
    output: Path | None,
    replace: bool,
    dry_run: bool,
    options: RunOptions,
    where: str | None,
    device: str | None,
    precision: str | None,
    mirror: bool | None,
) -> None:
    """Segment one case or many.

    \b
    INPUT is one of
      a case directory      BraTS names (<case>-t1c.nii.gz or <case>_t1ce.nii.gz) or BIDS anat names
      a directory of them   every case; a bad one is reported, the rest go on
      DICOM                 a directory or zip; the series are identified, or you are asked
    or leave INPUT out and name the scans with --t1n, --t1c, --t2w, --t2f.

    \b
    OUT/<case>/ then holds
      <case>-seg.nii.gz           labels on the grid of the t1c scan: 1 ET, 2 NET, 3 CC, 4 ED
      <case>-seg-atlas.nii.gz     the same on the atlas grid, 240x240x155 at 1 mm
      <case>-*-atlas.nii.gz       the preprocessed images
      preview.png, report.html    to look at
      result.json                 volumes, remarks, provenance
    Running the same scans again replaces the result; one of other scans stays, unless you say --replace.

    \b
    Examples:
      hope segment BraTS-PED-00001-000 -o results
      hope segment study.zip -o results
      hope segment study --dry-run
      hope segment --t1n a.nii.gz --t1c b.nii.gz --t2w c.nii.gz --t2f d.nii.gz -o results

    Research use only. Not a medical device.
    """  # noqa: D301 - click reads the backspace
    with _loading():
        from hope.commands.batch import for_each_case
        from hope.commands.batch_overlap import for_each_case_overlapping
        from hope.domain.progress import Progress
        from hope.pipeline import case_steps
        from hope.services import Services
        from hope.settings import Settings
        from hope.stages.intake.case_finding import find_all
        from hope.stages.intake.intake import CaseSource
        from hope.stages.report.result_folder import Destination, output_directory

    if output is None and not dry_run:
        context = click.get_current_context()
        raise click.MissingParameter(ctx=context, param=next(p for p in context.command.params if p.name == "output"))
    found = find_all(inputs, named)
    if output is None or dry_run:
        from hope.commands.selection import print_selection

        for_each_case(found.sources, print_selection, found.skipped)
        return
    services = Services(Settings.from_environment())
    predictor = services.predictor(options.model, device, precision, mirror, where=where)
    brain = services.brain_extractor()
    with _loading():
        predictor.prepare()
    if note := predictor.device_note:
        click.echo(f"hope: {note}", err=True)

    to = Destination(output, replace)

    def steps(source: CaseSource, progress: Progress) -> Generator[None, None, None]:
        result = yield from case_steps(source, predictor, brain, to, options, progress)
        _print_result(result.report, output / source.case_id)

    with output_directory(output):
        for_each_case_overlapping(found.sources, steps, found.skipped)


@contextmanager
def _loading() -> Iterator[None]:
    """Load libraries without looking for cycles among their million objects, neither now nor when the process ends."""
    enabled = gc.isenabled()
    atexit.register(gc.freeze)
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _print_result(report: CaseReport, folder: Path) -> None:
    """Expected quality and remarks, the gravest first; volumes; and where things are."""
    click.echo(f"\n{report.case_id}")
    if not report.tumour_found:
        click.echo("  no tumour found")
    if expected := report.expected_quality:
        click.echo(f"  expected quality: {expected.verdict}")
        for said in (*expected.figures().split("; "), f"fitted on {expected.fitted_on}"):
            click.echo(f"    {said}")
    for flag in worst_first(report.qc):
        if flag.severity in _MARKS or flag.code == "left_out":
            click.echo(f"  {_MARKS.get(flag.severity, '-')} {flag.reason}")
    for key, volume in report.volumes_ml.items():
        low, high = volume.low_ml, volume.high_ml
        interval = "" if low is None or high is None else f"   ({millilitres(low)} to {millilitres(high)})"
        click.echo(f"  {key:<4}{millilitres(volume.ml):>9} ml{interval}")
    if report.measurements:
        print_lesions(report.measurements)
    cleaned = report.postprocess
    if cleaned.changed:
        gone = ", ".join(
            f"{key} {was:.1f} -> {cleaned.after_ml[key]:.1f}"
            for key, was in cleaned.before_ml.items()
            if abs(was - cleaned.after_ml[key]) >= LEAST_REPORTED_ML
        )
        click.echo(f"  post-processing: {cleaned.rules}" + (f" (ml: {gone})" if gone else ""))
    for word, output in _PRINTED.items():
        click.echo(f"  {word:<8} {folder / output.name(report.case_id)}")
    click.echo(f"  {report.disclaimer}")
