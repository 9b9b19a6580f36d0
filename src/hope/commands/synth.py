"""hope synth: labelled synthetic cases."""

from __future__ import annotations

from pathlib import Path

import click

from hope.commands.inputs import PATH

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
def synth(
    count: int,
    output: Path,
    seed: int,
    kind: str | None,
    skull: bool,
    thick: bool,
    misaligned: bool,
    preprocessed: bool,
) -> None:
    """Make N labelled cases: anatomy deformed from a template, a drawn tumour, four contrasts, a scanner's faults.

    Each case directory holds the four scans and <case>-seg.nii.gz (1 ET, 2 NET, 3 CC, 4 ED on the grid of t1c), and
    truth.json with the kinds of tumour and, for raw cases, the true position of the head in each scan.
    """
    import json

    from hope.commands.console import ConsoleProgress
    from hope.domain.errors import InputError
    from hope.formats.atomic import atomic_output
    from hope.formats.nifti import write_labels, write_scan
    from hope.stages.report.write_results import result_folder
    from hope.synthesis.raw import RawOptions, preprocessed_case, raw_case

    if preprocessed and (misaligned or not thick or not skull):
        raise InputError(
            "--preprocessed cases are stripped and aligned", fix="leave out --misaligned, --thin and --no-skull"
        )
    options = RawOptions(kind=kind, skull=skull, thick_slices=thick, misaligned=misaligned)
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
            with result_folder(output, case_id, facts="truth.json") as folder:
                for sequence, volume in images.items():
                    write_scan(volume, folder / f"{case_id}-{sequence}.nii.gz")
                write_labels(labels, folder / f"{case_id}-seg.nii.gz")
                with atomic_output(folder / "truth.json") as stream:
                    stream.write(json.dumps(truth, indent=2).encode())
        progress("synth: done", 1.0)
    click.echo(f"{count} synthetic {'case' if count == 1 else 'cases'} in {output}")
