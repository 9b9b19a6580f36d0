"""hope preprocess: one stage alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from hope.commands.inputs import PATH, REPLACE, scan_inputs
from hope.domain.case import MRSequence

FACTS = "preprocess.json"


@click.command(short_help="Scans in; aligned images in atlas space out.")
@scan_inputs
@click.option("-o", "--output", type=PATH, required=True, metavar="OUT", help="Results go to OUT/<case>/.")
@REPLACE
@click.option(
    "--head",
    type=click.Choice(["full", "defaced", "brain"]),
    default="brain",
    show_default=True,
    help="What of the head the images shall show.",
)
@click.option("--preprocessed", is_flag=True, help="Input is co-registered, 1 mm, in atlas space already.")
def preprocess(
    inputs: tuple[Path, ...],
    named: Mapping[MRSequence, Path],
    output: Path,
    replace: bool,
    head: str,
    preprocessed: bool,
) -> None:
    """Register the scans of one case or many to each other and to the atlas, and handle the skull.

    INPUT as for `hope segment`. OUT/<case>/ then holds <case>-{t1n,t1c,t2w,t2f}.nii.gz and <case>-brain-mask.nii.gz
    on the atlas grid (240x240x155, 1 mm), and preprocess.json with the transforms and every remark.
    """
    import json

    from hope.commands.batch import for_each_case
    from hope.domain.case import HeadState
    from hope.domain.progress import Progress
    from hope.formats.atomic import atomic_output
    from hope.formats.nifti import write_labels, write_scan
    from hope.formats.private_directory import private_directory
    from hope.services import Services
    from hope.settings import Settings
    from hope.stages.intake.case_finding import find_all
    from hope.stages.intake.intake import CaseSource, load_case
    from hope.stages.preprocess.preprocess import preprocess as run_stage
    from hope.stages.report.made_from import MadeFrom
    from hope.stages.report.result_folder import Destination, refuse_to_replace, result_folder

    found = find_all(inputs, named)
    brain = Services(Settings.from_environment()).brain_extractor()

    def work(source: CaseSource, progress: Progress) -> None:
        with private_directory() as scratch:
            case = load_case(source, preprocessed=True if preprocessed else None, scratch=scratch, progress=progress)
            made_from = MadeFrom.scans(case.input_sha256)
            refuse_to_replace(Destination(output, replace), case.case_id, made_from, FACTS)
            aligned = run_stage(case, HeadState(head), brain, progress)
        with result_folder(output, source.case_id, facts=FACTS, replace=replace) as folder:
            for sequence, volume in aligned.images.items():
                write_scan(volume, folder / f"{source.case_id}-{sequence}.nii.gz")
            mask = aligned.brain_mask
            write_labels(mask.with_data(mask.data.astype("uint8")), folder / f"{source.case_id}-brain-mask.nii.gz")
            facts = {
                "case_id": source.case_id,
                **made_from.facts(),
                "reference": str(aligned.reference),
                "head_state": str(aligned.head_state),
                "qc": [flag.to_json() for flag in aligned.flags],
                "transforms": {
                    str(s): {"atlas_to_native_ras_mm": t.fixed_to_moving_ras_mm.tolist()}
                    for s, t in aligned.atlas_to_native.items()
                },
            }
            with atomic_output(folder / FACTS) as stream:
                stream.write(json.dumps(facts, indent=2).encode())
        click.echo(f"{output / source.case_id}")

    for_each_case(found.sources, work, found.skipped)
