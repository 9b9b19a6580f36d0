"""``hope evaluate``: how well predicted masks agree with the truth."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hope.commands.inputs import HELP, REPLACE_FILES, SCHEMES
from hope.commands.status import SOME_FAILED

if TYPE_CHECKING:
    from hope.evaluation.evaluate import CaseScores
    from hope.stages.report.made_from import MadeFrom

_MASK_ENDINGS = ("seg", "dseg")

_COLUMNS = (
    ("Dice", "dice", 3),
    ("HD95", "hd95_mm", 1),
    ("LW-Dice", "lw_dice", 3),
    ("LW-HD95", "lw_hd95_mm", 1),
    ("LW26-Dice", "brats-evaluation.dice", 3),
    ("LW26-HD95", "brats-evaluation.hd95_mm", 1),
)
_LEGEND = (
    "HD95 in mm. LW: lesion-wise as in the 2023 challenges (truth dilated 3 times, lesions of at most 50 voxels left "
    "out, a missed or\nfalse lesion scores 0 and 374 mm). LW26: lesion-wise as in the 2026 challenges (mean over "
    "matched lesions; - where none match)."
)


@click.command(short_help="Compare masks with the truth: Dice, HD95, lesion-wise.", context_settings=HELP)
@click.argument("prediction", metavar="PRED", type=click.Path(path_type=Path))
@click.argument("truth", metavar="TRUTH", type=click.Path(path_type=Path))
@click.option("--scheme", type=click.Choice(SCHEMES), default="peds", show_default=True, help="Labels of the truth.")
@click.option(
    "--pred-scheme", type=click.Choice(SCHEMES), default="peds", show_default=True, help="Labels of the prediction."
)
@click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write all scores as JSON.",
)
@REPLACE_FILES
@click.pass_context
def evaluate(
    context: click.Context,
    prediction: Path,
    truth: Path,
    scheme: str,
    pred_scheme: str,
    json_file: Path | None,
    replace: bool,
) -> None:
    """Compare predicted masks with the truth: Dice, HD95 and lesion-wise scores.

    PRED and TRUTH are two masks, or two directories whose cases are matched by name: <case>.nii.gz or
    <case>-seg.nii.gz, in the directory itself or in one directory per case, such as the output of hope segment.

    Scores of the same masks in FILE are replaced, also by those of more cases; scores of other masks stay, unless you
    say --replace.

    \b
    hope evaluate out/ truth/ --scheme brats2023 --json scores.json
    """  # noqa: D301 - click reads the backspace
    from hope.domain.errors import HopeError, InputError
    from hope.evaluation.evaluate import evaluate as score
    from hope.evaluation.evaluate import mean_scores
    from hope.formats.nifti import read_labels
    from hope.stages.report.made_from import refuse_other_file, write_json

    pairs, failures, single = _pair(prediction, truth)
    if json_file is not None:
        made_from = _made_from(pairs)
        refuse_other_file(json_file, made_from, replace=replace)
    cases: dict[str, CaseScores] = {}
    for case_id, (ours, theirs) in pairs.items():
        try:
            cases[case_id] = score(
                read_labels(ours, f"prediction of {case_id}"),
                read_labels(theirs, f"truth of {case_id}"),
                scheme,
                pred_scheme,
            )
        except HopeError as error:
            if single:
                raise
            failures[case_id] = str(error)
    if not cases and not failures:
        raise InputError("there is no case to compare", expected="masks with the same case names in both directories")
    means = mean_scores(list(cases.values()))
    _print_table(cases, means)
    for case_id, reason in failures.items():
        click.echo(f"failed: {case_id}: {reason}", err=True)
    if json_file is not None:
        record = {"cases": cases, "means": means, "failures": failures}
        write_json(json_file, record, made_from, replace=replace)
    if failures:
        context.exit(SOME_FAILED)


def _made_from(pairs: Mapping[str, tuple[Path, Path]]) -> MadeFrom:
    """The masks of each case, by one hash of both."""
    from contextlib import suppress
    from hashlib import sha256

    from hope.formats.hashing import sha256_of
    from hope.stages.report.made_from import MadeFrom

    parts = {}
    for case, (ours, theirs) in pairs.items():
        with suppress(OSError):  # what cannot be read has no scores either: the case is listed among the failures
            parts[case] = sha256(f"{sha256_of(ours)} {sha256_of(theirs)}".encode()).hexdigest()
    return MadeFrom("masks", parts)


def _pair(prediction: Path, truth: Path) -> tuple[dict[str, tuple[Path, Path]], dict[str, str], bool]:
    """Match masks by case: pairs, reasons of the cases without a prediction, and whether it is one pair of files."""
    from hope.domain.errors import InputError
    from hope.formats.reading import reading

    with reading("PRED"):
        one_prediction = prediction.is_file()
    with reading("TRUTH"):
        one_truth = truth.is_file()
    if one_prediction and one_truth:
        return {case_name(truth): (prediction, truth)}, {}, True
    ours, theirs = find_masks(prediction, "PRED"), find_masks(truth, "TRUTH")
    if one_truth and len(ours) == 1:
        # One truth file and one predicted case need no matching names.
        return {case_name(truth): (next(iter(ours.values())), truth)}, {}, True
    if one_prediction:
        # One prediction beside a whole directory of truths is judged alone.
        theirs = {case: file for case, file in theirs.items() if case in ours}
        if not theirs:
            raise InputError("TRUTH has no mask for the predicted case", fix="give the truth's file itself")
    for extra in sorted(set(ours) - set(theirs)):
        click.echo(f"note: {extra} has no truth and is left out", err=True)
    missing = sorted(set(theirs) - set(ours))
    pairs = {case: (ours[case], theirs[case]) for case in sorted(set(ours) & set(theirs))}
    return pairs, dict.fromkeys(missing, "no prediction for this case"), False


def find_masks(path: Path, role: str) -> dict[str, Path]:
    """Find the label masks of a file, a directory, or a directory of case directories, by case name.

    Raises:
        InputError: if there is no mask, or two for one case, or a directory cannot be read.
    """
    from hope.domain.errors import InputError
    from hope.formats.reading import reading

    with reading(role):
        if path.is_file():
            return {case_name(path): path}
        if not path.is_dir():
            raise InputError(f"{role} does not exist", expected="a mask or a directory of masks")
        # Not glob, which passes over what it may not read: a mask left out unsaid would change the mean.
        # A name that begins with a dot is of a result that is being written, or a file system's own.
        inside = [file for file in path.iterdir() if not file.name.startswith(".")]
        files = [*inside, *(file for folder in inside if folder.is_dir() for file in folder.iterdir())]
    found: dict[str, Path] = {}
    for file in sorted(files):
        if not file.name.endswith((".nii", ".nii.gz")) or file.name.startswith(".") or _is_no_mask(file):
            continue
        name = case_name(file)
        if name in found:
            raise InputError(f"{role} has two masks for case {name}", fix="keep one of them")
        found[name] = file
    if not found:
        raise InputError(f"{role} holds no masks", expected="<case>.nii.gz or <case>-seg.nii.gz")
    return found


def case_name(file: Path) -> str:
    """Name the case of a mask file: its name without NIfTI ending and without -seg, _seg and the like."""
    stem = _stem(file)
    for ending in _MASK_ENDINGS:
        for separator in "-_":
            stem = stem.removesuffix(separator + ending)
    return stem


def _stem(file: Path) -> str:
    return file.name.removesuffix(".gz").removesuffix(".nii")


def _is_no_mask(file: Path) -> bool:
    """Whether the name says that this is a scan, or the atlas-grid copy of a result."""
    from hope.formats.names import read_name

    return _stem(file).endswith("-atlas") or read_name(file) is not None


def _print_table(cases: Mapping[str, CaseScores], means: Mapping[str, Mapping[str, float | None]]) -> None:
    from hope.evaluation.evaluate import flat_scores

    width = max([len(name) for name in cases] + [4])
    click.echo(f"{'case':{width}}  {'region':6}" + "".join(f"{title:>11}" for title, _, _ in _COLUMNS))
    blocks = [(name, flat_scores(case)) for name, case in cases.items()]
    if len(cases) > 1:
        blocks.append(("mean", {region: dict(row) for region, row in means.items()}))
    for name, regions in blocks:
        for region, row in regions.items():
            cells = (_cell(row.get(column), digits) for _, column, digits in _COLUMNS)
            click.echo(f"{name:{width}}  {region:6}" + "".join(f"{cell:>11}" for cell in cells))
    for name, case in cases.items():
        for note in case["notes"]:
            click.echo(f"note: {name}: {note}")
    click.echo(_LEGEND)


def _cell(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
