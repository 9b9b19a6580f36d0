"""hope synth: labelled synthetic cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hope.commands.inputs import PATH, REPLACE_RESULT
from hope.domain.wording import counted

if TYPE_CHECKING:
    from hope.domain.sequence import MRSequence
    from hope.domain.volume import Volume
    from hope.stages.report.made_from import MadeFrom
    from hope.stages.report.result_folder import Destination
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

TRUTH = "truth.json"


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
@REPLACE_RESULT
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
    replace: bool,
) -> None:
    """Make N labelled cases: anatomy deformed from a template, a drawn tumour, four contrasts, a scanner's faults.

    Each case directory holds the four scans and <case>-seg.nii.gz (1 ET, 2 NET, 3 CC, 4 ED on the grid of t1c), and
    truth.json with the kinds of tumour and, for raw cases, the true position of the head in each scan. With --timeline
    DATES the cases of one patient are DIR/synth-0001-date-1/ and so on: other scanner and grid, moved head each time.
    truth.json then holds the days since the first date and the true volumes.

    Cases of the same seed and options are made anew; if others are in their place nothing is made, unless you say
    --replace.
    """
    from hope.commands.console import ConsoleProgress
    from hope.domain.errors import InputError
    from hope.stages.report.result_folder import Destination
    from hope.synthesis.raw import RawOptions, preprocessed_case, raw_case

    if preprocessed and (misaligned or not thick or not skull):
        raise InputError(
            "--preprocessed cases are stripped and aligned", fix="leave out --misaligned, --thin and --no-skull"
        )
    if timeline is not None and (preprocessed or kind):
        raise InputError("a timeline has tumours of its own on raw scans", fix="leave out --preprocessed and --kind")
    options = RawOptions(kind=kind, skull=skull, thick_slices=thick, misaligned=misaligned)
    to = Destination(output, replace)
    chosen: dict[str, Any] = {"seed": seed, "kind": kind, "skull": skull, "thick": thick, "misaligned": misaligned}
    chosen |= {"preprocessed": preprocessed, "dates": timeline or 1}
    if timeline is not None:
        _timelines(count, to, options, chosen)
        return
    cases = [_Case(f"synth-{index + 1:04d}", {**chosen, "index": index}) for index in range(count)]
    _refuse_others(to, cases)
    with ConsoleProgress() as progress:
        for index, made in enumerate(cases):
            progress(f"synth: {made.name}", index / count)
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
            _write(to, made, images, labels, truth)
        progress("synth: done", 1.0)
    click.echo(f"{counted(count, 'synthetic cases')} in {output}")


def _timelines(count: int, to: Destination, options: RawOptions, chosen: Mapping[str, Any]) -> None:
    """Write patients at several dates, each date as a case of its own."""
    from hope.commands.console import ConsoleProgress
    from hope.synthesis.timeline import timeline

    seed, dates = chosen["seed"], chosen["dates"]
    patients = [
        [
            _Case(f"synth-{index + 1:04d}-date-{date}", {**chosen, "index": index, "date": date})
            for date in range(1, dates + 1)
        ]
        for index in range(count)
    ]
    _refuse_others(to, [case for patient in patients for case in patient])
    with ConsoleProgress() as progress:
        for index, patient in enumerate(patients):
            progress(f"synth: patient {index + 1}", index / count)
            visits = timeline(seed, index, dates, options)
            for number, (made, visit) in enumerate(zip(patient, visits, strict=True), 1):
                truth = {
                    "synthetic": True,
                    "seed": seed,
                    "index": index,
                    "date": number,
                    "days": visit.days,
                    "true_ml": visit.true_ml,
                }
                _write(to, made, dict(visit.case.scans), visit.case.labels, truth)
        progress("synth: done", 1.0)
    click.echo(f"{counted(count, 'synthetic patients')} at {dates} dates in {to.out}")


@dataclass(frozen=True)
class _Case:
    """A case by its name and by all that decides what is in it."""

    name: str
    options: Mapping[str, object]

    @property
    def made_from(self) -> MadeFrom:
        from hope.stages.report.made_from import MadeFrom

        return MadeFrom("options", {name: str(value) for name, value in self.options.items()})


def _refuse_others(to: Destination, cases: Sequence[_Case]) -> None:
    """Refuse, before the first case is made, if one would take the place of a case of other options."""
    from hope.stages.report.result_folder import refuse_to_replace

    for case in cases:
        refuse_to_replace(to, case.name, case.made_from, TRUTH)


def _write(
    to: Destination,
    case: _Case,
    images: Mapping[MRSequence, Volume],
    labels: Volume,
    truth: Mapping[str, object],
) -> None:
    import json

    from hope.formats.atomic import atomic_output
    from hope.formats.nifti import write_labels, write_scan
    from hope.stages.report.write_results import result_folder

    with result_folder(to.out, case.name, TRUTH, replace=to.replace) as folder:
        for sequence, volume in images.items():
            write_scan(volume, folder / f"{case.name}-{sequence}.nii.gz")
        write_labels(labels, folder / f"{case.name}-seg.nii.gz")
        with atomic_output(folder / TRUTH) as stream:
            stream.write(json.dumps({**truth, **case.made_from.facts()}, indent=2).encode())
