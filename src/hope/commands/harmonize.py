"""hope harmonize: one stage alone, and the styles it brings cases to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hope.commands.inputs import PATH, REPLACE, scan_inputs
from hope.domain.wording import counted

if TYPE_CHECKING:
    from hope.domain.case import AlignedCase, HarmonizedCase, MRSequence
    from hope.domain.progress import Progress
    from hope.domain.style import Style
    from hope.ports import BrainExtractor, Harmonizer
    from hope.services import Services
    from hope.stages.intake.intake import CaseSource
    from hope.stages.report.result_folder import Destination

    Hashes = Mapping[MRSequence, str]
    Aligner = Callable[[CaseSource, Progress, Callable[[Hashes], None]], AlignedCase]

FACTS = "harmonize.json"
METHODS = ("histogram", "hail", "none")


@click.command(short_help="Bring a case's intensities to one style.")
@scan_inputs
@click.option("-o", "--output", type=PATH, required=True, metavar="OUT", help="Results go to OUT/<case>/.")
@REPLACE
@click.option("--target", type=PATH, metavar="CASE|STYLE", help="What to look like.  [default: the bundled style]")
@click.option("--method", type=click.Choice(METHODS), help="How it is done.  [default: the style's, else histogram]")
@click.option("--model", metavar="ID", help="Your own harmonizer, as `hope models list` names it, by method hail.")
@click.option("--learn-style", type=PATH, metavar="DIR", help="Learn a style from the cases in DIR; OUT is its file.")
@click.option("--preprocessed", is_flag=True, help="Input is co-registered, 1 mm, in atlas space already.")
def harmonize(
    inputs: tuple[Path, ...],
    named: Mapping[MRSequence, Path],
    output: Path,
    replace: bool,
    target: Path | None,
    method: str | None,
    model: str | None,
    learn_style: Path | None,
    preprocessed: bool,
) -> None:
    """Bring the images of one case or many to one intensity style, and check that the anatomy is still what it was.

    INPUT as for `hope segment`; raw scans are preprocessed first. OUT/<case>/ then holds
    <case>-{t1n,t1c,t2w,t2f}.nii.gz and <case>-brain-mask.nii.gz on the atlas grid (240x240x155, 1 mm), and
    harmonize.json with the figures of the check. A sequence that fails it is passed on as it was, and the terminal
    says why; the two T1 are changed both or not at all.

    \b
    The style is that of
      the bundle            learnt from synthetic cases
      another case          --target CASE, anything that `hope segment` takes
      several cases         hope harmonize --learn-style DIR -o site.json, then --target site.json

    \b
    Methods:
      histogram   one rising curve for each sequence, fitted outside whatever looks like a lesion
      hail        a network looks at both cases; one such curve for each sequence, and shading divided out
      none        nothing: the preprocessed images, to compare with

    Research use only. Not a medical device.
    """  # noqa: D301 - click reads the backspace
    from hope.commands.batch import for_each_case
    from hope.commands.console import ConsoleProgress
    from hope.domain.errors import InputError
    from hope.services import Services
    from hope.settings import Settings
    from hope.stages.harmonize.harmonize import harmonize as run_stage
    from hope.stages.harmonize.harmonize import not_harmonized
    from hope.stages.intake.intake import find_cases
    from hope.stages.report.made_from import MadeFrom
    from hope.stages.report.result_folder import Destination, refuse_to_replace

    services = Services(Settings.from_environment())
    if method == "none" and model:
        raise InputError("--method none runs no model", fix="leave --model or --method out")
    style_file = _read_style(target) if target and target.suffix == ".json" else None
    if style_file and not (method or model):
        model = _learnt_with(style_file, services)
    harmonizer = None if method == "none" else services.harmonizer(method, model)
    aligned = _aligner(services.brain_extractor(), preprocessed)
    if learn_style:
        if inputs or named or target or harmonizer is None:
            raise InputError(
                "--learn-style learns and does nothing else", fix="leave INPUT, --target and --method none out"
            )
        _learn(learn_style, output, harmonizer, aligned, replace)
        return
    sources = find_cases(inputs, named)
    with ConsoleProgress() as progress:
        style = (style_file or _style(target, harmonizer, aligned, progress)) if harmonizer else None

    def work(source: CaseSource, progress: Progress) -> None:
        made_from: dict[MRSequence, str] = {}

        def note_scans(sha256: Hashes) -> None:
            made_from.update(sha256)
            refuse_to_replace(Destination(output, replace), source.case_id, MadeFrom.scans(sha256), FACTS)

        case = aligned(source, lambda text, share: progress(text, 0.7 * share), note_scans)
        done = not_harmonized(case)
        if harmonizer and style:
            done = run_stage(case, harmonizer, style, lambda text, share: progress(text, 0.7 + 0.25 * share))
        progress("harmonize: write files", 0.95)
        _write(done, Destination(output, replace), made_from)
        progress("done", 1.0)
        _print(done, output / case.case_id)

    for_each_case(sources, work)


def _aligner(brain: BrainExtractor, preprocessed: bool) -> Aligner:
    """How a case gets to the atlas grid, as a stripped brain; the third argument looks at the hashes of its scans."""
    from hope.domain.case import HeadState
    from hope.formats.private_directory import private_directory
    from hope.stages.intake.intake import load_case
    from hope.stages.preprocess.preprocess import preprocess

    def aligned(source: CaseSource, progress: Progress, look: Callable[[Hashes], None]) -> AlignedCase:
        with private_directory() as scratch:
            case = load_case(
                source,
                preprocessed=True if preprocessed else None,
                scratch=scratch,
                progress=lambda text, share: progress(text, 0.3 * share),
            )
            look(case.input_sha256)
            return preprocess(case, HeadState.BRAIN, brain, lambda text, share: progress(text, 0.3 + 0.7 * share))

    return aligned


def _any(sha256: Hashes) -> None:
    """Take whatever scans there are."""


def _read_style(path: Path) -> Style:
    from hope.domain.style import Style
    from hope.formats.reading import reading

    with reading("the style"):
        return Style.from_json(path.read_bytes())


def _learnt_with(style: Style, services: Services) -> str | None:
    """Id of the network that a style was learnt with; None for a style without one.

    Raises:
        InputError: if the network is not here.
    """
    from hope.domain.errors import InputError

    network = style.network_sha256
    if not network:
        return None
    for bundle in services.models.list():
        if bundle.sha256 == network:
            return bundle.id
    raise InputError(
        "the network that the style was learnt with is not installed",
        expected=f"a harmonizer whose sha256 begins with {network[:12]}",
        fix="add it with `hope models add`, or say --method histogram, which uses the style's histograms alone",
    )


def _style(target: Path | None, harmonizer: Harmonizer, aligned: Aligner, progress: Progress) -> Style:
    """The style that was asked for: the bundled one, or that of a case.

    Raises:
        InputError: if the path holds no case or several.
    """
    from hope.domain.errors import InputError
    from hope.stages.harmonize.harmonize import default_style
    from hope.stages.intake.intake import find_cases

    if target is None:
        return default_style(harmonizer.method)
    sources = find_cases([target], {})
    if len(sources) != 1:
        raise InputError(
            "the target holds several cases",
            expected="one",
            got=str(len(sources)),
            fix="learn a style from all of them with --learn-style",
        )
    return harmonizer.learn(aligned(sources[0], lambda text, share: progress(f"target: {text}", share), _any))


def _learn(folder: Path, output: Path, harmonizer: Harmonizer, aligned: Aligner, replace: bool) -> None:
    """Write the mean style of all cases in a directory.

    Raises:
        InputError: if a case cannot be read or holds nothing to learn from.
        OutputError: if the file cannot be written.
    """
    import json

    from hope.commands.console import ConsoleProgress
    from hope.formats.hashing import sha256_of_all
    from hope.stages.harmonize.harmonize import learn_style
    from hope.stages.intake.intake import find_cases
    from hope.stages.report.made_from import MadeFrom, refuse_other_file, write_json

    sources = find_cases([folder], {})
    for source in sources:
        if source.problem:
            raise source.problem
    made_from = MadeFrom("cases", {"all": sha256_of_all(path for source in sources for path in source.paths)})
    refuse_other_file(output, made_from, replace=replace)
    many = counted(len(sources), "cases")
    with ConsoleProgress() as progress:

        def cases() -> Iterator[AlignedCase]:
            for number, source in enumerate(sources):
                yield aligned(source, lambda text, share, n=number: progress(text, (n + share) / len(sources)), _any)  # type: ignore[misc]

        style = learn_style(cases(), harmonizer, output.stem, f"mean of {many}")
    write_json(output, json.loads(style.to_json()), made_from, replace=replace)
    click.echo(f"style of {many}: {output}")


def _write(done: HarmonizedCase, to: Destination, made_from: Hashes) -> None:
    """Images, mask and figures of one case, with the hashes of the scans that it was made from.

    Raises:
        OutputError: if a file cannot be written.
    """
    import json

    from hope.formats.atomic import atomic_output
    from hope.formats.nifti import write_labels, write_scan
    from hope.stages.harmonize.harmonize import described
    from hope.stages.report.made_from import MadeFrom
    from hope.stages.report.result_folder import result_folder

    case = done.aligned
    with result_folder(to.out, case.case_id, facts=FACTS, replace=to.replace) as folder:
        for sequence, volume in done.images.items():
            write_scan(volume, folder / f"{case.case_id}-{sequence}.nii.gz")
        mask = case.brain_mask
        write_labels(mask.with_data(mask.data.astype("uint8")), folder / f"{case.case_id}-brain-mask.nii.gz")
        facts = {
            "case_id": case.case_id,
            **MadeFrom.scans(made_from).facts(),
            "harmonizer": dict(described(done)),
            "harmonization": dict(done.details),
            "qc": [flag.to_json() for flag in (*case.flags, *done.flags)],
        }
        with atomic_output(folder / FACTS) as stream:
            stream.write(json.dumps(facts, indent=2).encode())


def _print(done: HarmonizedCase, folder: Path) -> None:
    """What was done to each sequence, and why not where it was not."""
    how = f": {done.details['asked']}, to the style {done.details['style']}" if done.details else ""
    click.echo(f"\n{done.aligned.case_id}{how}")
    for name, facts in done.details.get("sequences", {}).items():
        if not facts["changed"]:
            click.echo(f"  {name}  ! original passed on: {facts['reason']}")
            continue
        contrast = (
            f", lesion to white matter {facts['lesion_to_white_before']:.2f} -> {facts['lesion_to_white_after']:.2f}"
            if facts["lesion_to_white_before"]
            else ""
        )
        click.echo(
            f"  {name}  edges kept {facts['edge_ssim']:.3f}{contrast}, "
            f"distance to the style {facts['distance_before']:.3f} -> {facts['distance_after']:.3f}"
        )
    click.echo(f"  images and figures: {folder}")
