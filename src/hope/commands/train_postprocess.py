"""hope train postprocess: rules of adaptive post-processing from one's own labelled cases."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hope.commands.inputs import HELP, PATH, REPLACE_FILES, SCHEMES
from hope.domain.extras import require_extras
from hope.domain.wording import counted

if TYPE_CHECKING:
    from hope.training.postprocess_fit import PostprocessFit

_COLUMNS = (
    ("in truth", "in_truth", 0),
    ("LW before", "lesionwise_before", 3),
    ("LW after", "lesionwise_after", 3),
    ("of it empty", "gain_where_truth_has_none", 3),
    ("Dice before", "dice_before", 3),
    ("Dice after", "dice_after", 3),
)
_LEGEND = (
    "Every case was judged by rules learned without it. LW: lesion-wise Dice as in the 2023 challenges. of it empty: "
    "the part of\nthe change that comes from cases whose truth has none of the region; the score gives 1 where neither "
    "mask has any, so rules\nthat take whole classes away raise it without drawing anything better. Dice: over the "
    "cases whose truth has the region."
)


class ClusterCount(click.ParamType[int | str]):
    """A number of clusters, or ``auto``."""

    name = "K|auto"

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | str:  # None would read as an option that was not given
        """Parse the value."""
        if value == "auto" or isinstance(value, int):
            return value
        if not value.isdecimal() or int(value) < 1:
            self.fail(f"{value!r} is neither a number from 1 nor auto", param, ctx)
        return int(value)


@click.command(
    "postprocess", short_help="Learn post-processing rules from your own labelled cases.", context_settings=HELP
)
@click.argument("folders", nargs=-1, required=True, type=PATH, metavar="CASES...")
@click.option("-o", "--output", type=PATH, required=True, metavar="RULES.json", help="The rules that are learned.")
@click.option("--predictions", type=PATH, metavar="DIR", help="Masks of the model.  [default: beside the images]")
@click.option("--truth", type=PATH, metavar="DIR", help="Masks drawn by people.  [default: beside the images]")
@click.option(
    "--scheme",
    type=click.Choice(SCHEMES),
    default="peds",
    show_default=True,
    help="Label scheme of the truth; predictions are in peds labels.",
)
@click.option(
    "--clusters",
    type=ClusterCount(),
    metavar="K|auto",
    default="auto",
    show_default=True,
    help="Groups of similar cases, each with its own thresholds.",
)
@click.option(
    "--normalisation",
    type=click.Choice(["l2", "standard"]),
    default="l2",
    show_default=True,
    help="How features are made comparable before cases are grouped.",
)
@click.option("--folds", type=click.IntRange(2, 20), default=5, show_default=True, help="Parts of a cross-validation.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of everything random.")
@REPLACE_FILES
def postprocess(
    folders: tuple[Path, ...],
    output: Path,
    predictions: Path | None,
    truth: Path | None,
    scheme: str,
    clusters: int | str,
    normalisation: str,
    folds: int,
    seed: int,
    replace: bool,
) -> None:
    """Learn adaptive post-processing from cases with a prediction and a truth, and judge it on held-out cases.

    CASES are directories with t1n, t1c, t2w and t2f of one case each, or directories of them: what hope segment wrote
    (then give --truth), or BraTS directories (then give --predictions). Masks are found by the case's name:
    <case>/<case>-seg-atlas.nii.gz, <case>-seg.nii.gz or <case>.nii.gz. All of a case lies on the 1 mm atlas grid.

    The rules remove small components and rename labels with a small share. A threshold is kept only if it helps on
    cases that it was not chosen on. Read the warnings: rules can take away what the model rightly saw.

    Rules of the same masks in RULES.json are replaced. Rules of other masks, and those that you edited, stay, unless
    you say --replace.

    \b
    Examples:
      hope train postprocess results --truth drawn -o rules.json
      hope train postprocess brats --predictions results -o rules.json --clusters 3
      hope postprocess case-seg-atlas.nii.gz out.nii.gz --rules rules.json --case results/case
    """  # noqa: D301 - click reads the backspace
    require_extras("hope train postprocess", "train")
    from hope.commands.console import ConsoleProgress
    from hope.domain.errors import InputError
    from hope.formats.hashing import sha256_of_all
    from hope.stages.report.made_from import MadeFrom, refuse_other_file, write_json
    from hope.training.postprocess_cases import find_labelled, read_labelled
    from hope.training.postprocess_fit import FitChoices, fit_postprocess, most_clusters

    if not output.name.endswith(".json"):
        raise InputError("the output needs a JSON name", expected="a name ending in .json")
    files = find_labelled(folders, predictions, truth)
    # One hash of all masks: rules go from hand to hand, and must not tell which cases they were learned from.
    made_from = MadeFrom("cases", {"all": sha256_of_all(path for one in files for path in (one.prediction, one.truth))})
    refuse_other_file(output, made_from, replace=replace)
    wanted = clusters if isinstance(clusters, int) else None
    with_features = (wanted or most_clusters(len(files))) > 1
    choices = FitChoices(
        wanted,
        folds,
        seed,
        "standard" if normalisation == "standard" else "l2",
        scheme,
        output.name.removesuffix(".json"),
    )
    with ConsoleProgress() as progress:
        read = read_labelled(files, scheme, with_features, progress)
        fit = fit_postprocess(read.cases, choices, progress)
    write_json(output, fit.to_json(), made_from, replace=replace)
    for note in read.notes:
        click.echo(f"note: {note}", err=True)
    _print(fit)
    for warning in fit.warnings:
        click.echo(f"warning: {warning}", err=True)


def _print(fit: PostprocessFit) -> None:
    rules = fit.adaptive.rules.to_json()["clusters"]
    click.echo(f"{counted(len(fit.judgement.before), 'cases')}, {counted(len(rules), 'clusters')}")
    for number, (rule, cases) in enumerate(zip(rules, fit.cases_per_cluster, strict=True)):
        sizes = [f"{key} below {least} voxels removed" for key, least in rule["minimum_voxels"].items()]
        shares = [f"{key} below {share:.0%} renamed NET" for key, share in rule["redefine_below_share"].items()]
        done = ", ".join(sizes + shares) or "nothing is removed or renamed"
        click.echo(f"cluster {number} ({counted(cases, 'cases')}): {done}")
    click.echo(f"{'region':6}" + "".join(f"{title:>13}" for title, _, _ in _COLUMNS))
    for key, row in fit.judgement.rows().items():
        cells = ("-" if (value := row[column]) is None else f"{value:.{digits}f}" for _, column, digits in _COLUMNS)
        click.echo(f"{key:6}" + "".join(f"{cell:>13}" for cell in cells))
    click.echo(f"{fit.judgement.better} cases better, {fit.judgement.worse} worse")
    click.echo(_LEGEND)
