"""hope synth: labelled synthetic cases."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hope.commands.inputs import PATH
from hope.domain.wording import counted

if TYPE_CHECKING:
    from hope.domain.sequence import MRSequence
    from hope.domain.volume import Volume
    from hope.synthesis.raw import RawOptions

KINDS = (
    "rim_enhancing",
    "solid_enhancing",
    "infiltrating",
    "pontine",
    "cystic_with_nodule",
    "tiny",
    "multifocal",
    "none",
)


@click.command(short_help="Make labelled synthetic cases: no patient's data.")
@click.argument("count", type=click.IntRange(min=1), metavar="N")
@click.option("-o", "--output", type=PATH, required=True, metavar="DIR", help="Cases go to DIR/synth-0001/ and so on.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Same seed, same cases.")
@click.option("--kind", type=click.Choice(KINDS), help="Kind of tumour.  [default: drawn]")
@click.option("--skull/--no-skull", default=True, show_default=True, help="Keep the head around the brain.")
@click.option("--thick/--thin", default=True, show_default=True, help="Thick slices in some sequences.")
@click.option("--misaligned", is_flag=True, help="The child moved between the sequences.")
@click.option("--preprocessed", is_flag=True, help="Stripped and in atlas space, like a BraTS release.")
@click.option(
    "--timeline",
    type=click.IntRange(min=2),
    metavar="DATES",
    help="Each case is a patient at so many dates, whose lesions grow by known factors.",
)
def synth(
    count: int,
    output: Path,
    seed: int,
    kind: str | None,
    skull: bool,
    thick: bool,
    misaligned: bool,
    preprocessed: bool,
    timeline: int | None,
) -> None:
    """Make N labelled cases: anatomy deformed from a template, a drawn tumour, four contrasts, a scanner's faults.

    Each case directory holds the four scans and <case>-seg.nii.gz (1 ET, 2 NET, 3 CC, 4 ED on the grid of t1c), and
    truth.json with the kinds of tumour and, for raw cases, the true position of the head in each scan. With --timeline
    DATES the cases of one patient are DIR/synth-0001-date-1/ and so on: other scanner and grid, moved head each time.
    truth.json then holds the days since the first date and the true volumes.
    """
    from hope.commands.console import ConsoleProgress
    from hope.domain.errors import InputError
    from hope.synthesis.raw import RawOptions, preprocessed_case, raw_case

    if preprocessed and (misaligned or not thick or not skull):
        raise InputError(
            "--preprocessed cases are stripped and aligned", fix="leave out --misaligned, --thin and --no-skull"
        )
    if timeline is not None and (preprocessed or kind):
        raise InputError("a timeline has tumours of its own on raw scans", fix="leave out --preprocessed and --kind")
    options = RawOptions(kind=kind, skull=skull, thick_slices=thick, misaligned=misaligned)
    if timeline is not None:
        _timelines(count, output, seed, timeline, options)
        return
    with ConsoleProgress() as progress:
        for index in range(count):
            case_id = f"synth-{index + 1:04d}"
            progress(f"synth: {case_id}", index / count)
            truth: dict[str, object] = {"synthetic": True, "seed": seed, "index": index}
            if preprocessed:
                images, labels, kinds = preprocessed_case(seed, index, kind)
                truth["kinds"] = list(kinds)
            else:
                case = raw_case(seed, index, options)
                images, labels = dict(case.scans), case.labels
                truth["kinds"] = list(case.kinds)
                truth["scan_to_head_ras_mm"] = {
                    str(s): t.fixed_to_moving_ras_mm.tolist() for s, t in case.scan_to_head.items()
                }
            _write(output, case_id, images, labels, truth)
        progress("synth: done", 1.0)
    click.echo(f"{counted(count, 'synthetic cases')} in {output}")


def _timelines(count: int, output: Path, seed: int, dates: int, options: RawOptions) -> None:
    """Write patients at several dates, each date as a case of its own."""
    from hope.commands.console import ConsoleProgress
    from hope.synthesis.timeline import timeline

    with ConsoleProgress() as progress:
        for index in range(count):
            progress(f"synth: patient {index + 1}", index / count)
            for number, visit in enumerate(timeline(seed, index, dates, options), 1):
                truth = {
                    "synthetic": True,
                    "seed": seed,
                    "index": index,
                    "date": number,
                    "days": visit.days,
                    "true_ml": visit.true_ml,
                }
                case = visit.case
                _write(output, f"synth-{index + 1:04d}-date-{number}", dict(case.scans), case.labels, truth)
        progress("synth: done", 1.0)
    click.echo(f"{counted(count, 'synthetic patients')} at {dates} dates in {output}")


def _write(
    output: Path, case_id: str, images: Mapping[MRSequence, Volume], labels: Volume, truth: Mapping[str, object]
) -> None:
    import json

    from hope.formats.atomic import atomic_output
    from hope.formats.nifti import write_labels, write_scan
    from hope.stages.report.write_results import result_folder

    with result_folder(output, case_id, facts="truth.json") as folder:
        for sequence, volume in images.items():
            write_scan(volume, folder / f"{case_id}-{sequence}.nii.gz")
        write_labels(labels, folder / f"{case_id}-seg.nii.gz")
        with atomic_output(folder / "truth.json") as stream:
            stream.write(json.dumps(truth, indent=2).encode())
