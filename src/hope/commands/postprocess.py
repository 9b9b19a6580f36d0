"""``hope postprocess``: one stage alone, a mask in, a mask out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hope.commands.inputs import HELP, PATH, REPLACE_FILES, named_scans

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hope.domain.case import MRSequence
    from hope.domain.volume import Volume
    from hope.stages.postprocess.adaptive import AdaptivePostprocess
    from hope.stages.postprocess.postprocess import PostprocessOutcome
    from hope.stages.report.made_from import MadeFrom

ATLAS_VOXEL_ML = 0.001
"""Volume of a voxel of the atlas grid, which the published sizes count."""
VOXEL_TOLERANCE_ML = 1e-5

_IMAGE = "The preprocessed {} image, on the grid of the mask."


@click.command(short_help="Apply adaptive post-processing rules to a mask.", context_settings=HELP)
@click.argument("source", metavar="IN.nii.gz", type=PATH)
@click.argument("target", metavar="OUT.nii.gz", type=PATH)
@click.option(
    "--rules", "rules_name", metavar="NAME|FILE", help="hope-peds-2024, or a JSON file.  [default: --model's]"
)
@click.option("--cluster", type=int, default=None, metavar="N", help="Which cluster of the rules the case belongs to.")
@click.option("--model", "model_id", metavar="ID", help="The bundle whose cluster model tells the cluster.")
@click.option(
    "--case", type=PATH, metavar="DIR", help="Directory of the preprocessed images, to tell the cluster from."
)
@named_scans(_IMAGE)
@click.option("--json", "json_file", type=PATH, metavar="FILE", help="Write what was done as JSON.")
@REPLACE_FILES
def postprocess(
    source: Path,
    target: Path,
    rules_name: str | None,
    cluster: int | None,
    model_id: str | None,
    case: Path | None,
    named: Mapping[MRSequence, Path],
    json_file: Path | None,
    replace: bool,
) -> None:
    """Apply adaptive post-processing rules to a mask in peds labels.

    Small components become background, then labels with a small share of the tumour are renamed. The rules can remove
    a whole class, so the volumes before and after are printed.

    Rules that differ by cluster need the cluster: name it, or give the four images the mask was made on (--case, or
    one by one) and a cluster model, which a FILE of hope train postprocess holds, and so does the bundle of an
    imported ensemble (--model).

    Output of the same mask is replaced. Output of another mask, and a file that was changed since, stays, unless you
    say --replace.

    \b
    hope postprocess case-seg-atlas.nii.gz cleaned.nii.gz --rules hope-peds-2024 --cluster 4
    hope postprocess case-seg-atlas.nii.gz cleaned.nii.gz --model ID --case results/case
    """  # noqa: D301 - click reads the backspace
    from hope.stages.intake.intake import hash_volume
    from hope.stages.report.made_from import MadeFrom

    adaptive = _rules(rules_name, model_id)
    _check_choice(adaptive, cluster, case, named)
    images = _images(case, named)
    _check_outputs(target, json_file, [source, *images.values()])
    labels = _read_mask(source)
    made_from = MadeFrom("masks", {"mask": hash_volume(labels)})
    _refuse(target, json_file, made_from, replace)
    outcome = _apply(adaptive, labels, cluster, images)
    _refuse(target, json_file, made_from, replace)  # once more: somebody may have saved a file there meanwhile
    _write(outcome, target, json_file, made_from)
    _print(outcome)


def _refuse(target: Path, json_file: Path | None, made_from: MadeFrom, replace: bool) -> None:
    """Refuse to replace files of another mask, or what is no earlier output."""
    from hope.stages.report.made_from import refuse_other_file

    for path in (target, *((json_file,) if json_file else ())):
        refuse_other_file(path, made_from, replace=replace)


def _write(outcome: PostprocessOutcome, target: Path, json_file: Path | None, made_from: MadeFrom) -> None:
    """Write both files; the JSON takes its place once the mask is there."""
    from contextlib import ExitStack

    from hope.formats.atomic import atomic_output
    from hope.formats.nifti import write_labels
    from hope.stages.report.made_from import mask_facts, with_facts

    with ExitStack() as until_the_mask_is_there:
        if json_file is not None:
            stream = until_the_mask_is_there.enter_context(atomic_output(json_file))
            stream.write(with_facts(outcome.to_json(), made_from))
            stream.flush()
        write_labels(outcome.labels, target, mask_facts(made_from))


def _rules(rules_name: str | None, model_id: str | None) -> AdaptivePostprocess:
    """The rules that were named, with the cluster model of the bundle that was named; or both from the bundle."""
    from hope.domain.errors import InputError
    from hope.services import Services
    from hope.settings import Settings
    from hope.stages.postprocess.adaptive import AdaptivePostprocess

    if model_id is None:
        if rules_name is None:
            raise InputError("no rules were named", fix="add --rules NAME|FILE, or --model ID for those of a bundle")
        return AdaptivePostprocess.load(rules_name)
    record = Services(Settings.from_environment()).models.get(model_id).postprocess()
    if record is None:
        raise InputError(
            f"the model {model_id} has no post-processing of its own",
            fix="name another model, or rules with --rules NAME|FILE alone",
        )
    of_model = AdaptivePostprocess.from_json(record)
    if rules_name is None:
        return of_model
    return AdaptivePostprocess(AdaptivePostprocess.load(rules_name).rules, of_model.clusters)


def _check_choice(
    adaptive: AdaptivePostprocess, cluster: int | None, case: Path | None, named: Mapping[MRSequence, Path]
) -> None:
    """Whether the cluster is known, or can be told."""
    from hope.domain.errors import InputError

    last = len(adaptive.rules.clusters) - 1
    if cluster is not None:
        if case or named:
            raise InputError("--cluster leaves nothing to tell from images", fix="leave out the images, or --cluster")
        return
    if last == 0:
        return
    name_it = f"name the cluster with --cluster 0..{last}"
    if adaptive.clusters is None:
        raise InputError(
            f"the rules {adaptive.rules.name} differ by cluster, and there is no cluster model to choose one with",
            fix=f"name a bundle that has one with --model ID, and the images with --case DIR; or {name_it}",
        )
    if case is None and not named:
        raise InputError(
            f"the rules {adaptive.rules.name} differ by cluster, and choosing the cluster needs the four images that "
            "the mask was made on",
            fix=f"name their directory with --case DIR, or {name_it}",
        )


def _images(case: Path | None, named: Mapping[MRSequence, Path]) -> dict[MRSequence, Path]:
    """The image files of the case's directory; those that are named one by one win."""
    from hope.domain.errors import InputError
    from hope.stages.postprocess.atlas_images import find_images

    files = dict(find_images(case)[1]) if case else {}
    if case and not files:
        raise InputError("the case directory holds no image", expected="<case>-t1n.nii.gz and its like")
    return {**files, **named}


def _check_outputs(target: Path, json_file: Path | None, inputs: Sequence[Path]) -> None:
    """No output may take the place of an input or of the other output."""
    from hope.domain.errors import InputError

    if any(_same(target, one) for one in inputs):
        raise InputError("input and output are the same file", fix="name another output file")
    if not target.name.endswith((".nii.gz", ".nii")):
        raise InputError("the output needs a NIfTI name", expected="a name ending in .nii.gz or .nii")
    if json_file is not None and any(_same(json_file, one) for one in (target, *inputs)):
        raise InputError("--json names a file that is the input or the output", fix="name another file for it")


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve() or (one.exists() and other.exists() and one.samefile(other))


def _read_mask(source: Path) -> Volume:
    from hope.domain.errors import InputError
    from hope.domain.labels import PEDS
    from hope.formats.nifti import read_labels
    from hope.stages.postprocess.scheme_check import likelier_scheme

    labels = read_labels(source)
    unknown = sorted(set(labels.data[labels.data > 0].tolist()) - set(PEDS.values))
    if unknown:
        raise InputError(
            "the mask holds labels that are not of the peds scheme",
            expected="0 background, 1 ET, 2 NET, 3 CC, 4 ED",
            got=", ".join(map(str, unknown)),
        )
    if likelier := likelier_scheme(labels.data, PEDS.name):
        click.echo(
            f"hope: the labels lie in one another as those of the {likelier} scheme do; the rules mean 1 ET, 2 NET, "
            "3 CC, 4 ED: look at the mask",
            err=True,
        )
    if abs(labels.grid.voxel_volume_ml - ATLAS_VOXEL_ML) > VOXEL_TOLERANCE_ML:
        click.echo(
            f"note: sizes in the rules count voxels of 1 mm3; a voxel of this mask has "
            f"{labels.grid.voxel_volume_ml * 1000:.3g} mm3, so use the atlas-grid mask to get the published behaviour",
            err=True,
        )
    return labels


def _apply(
    adaptive: AdaptivePostprocess,
    labels: Volume,
    cluster: int | None,
    files: Mapping[MRSequence, Path],
) -> PostprocessOutcome:
    from dataclasses import replace

    from hope.commands.console import ConsoleProgress
    from hope.domain.errors import StageError
    from hope.stages.postprocess.atlas_images import read_images
    from hope.stages.postprocess.postprocess import apply_rules

    if cluster is not None:
        outcome = apply_rules(labels, adaptive.rules, cluster)
        return replace(outcome, details={"cluster": cluster, "chosen_by": "--cluster"})
    images = read_images(files, labels) if len(adaptive.rules.clusters) > 1 else {}
    with ConsoleProgress() as progress:
        outcome = adaptive.apply(labels, images, progress)
    if outcome.warning:
        # Nothing else can stand in here: whoever asked for these rules must not take the mask as it was for theirs.
        raise StageError(f"{outcome.warning}; nothing was written")
    return outcome


def _print(outcome: PostprocessOutcome) -> None:
    click.echo(outcome.method)
    if outcome.details:
        lead = outcome.details.get("lead")
        second = f"; next is cluster {outcome.details['runner_up']}, lead {lead:.0%}" if lead is not None else ""
        click.echo(f"cluster chosen by: {outcome.details['chosen_by']}{second}")
    click.echo(f"{'':4}{'before ml':>12}{'after ml':>12}")
    for key, before in outcome.before_ml.items():
        click.echo(f"{key:4}{before:12.3f}{outcome.after_ml[key]:12.3f}")
