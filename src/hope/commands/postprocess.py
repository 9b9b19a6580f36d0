"""``hope postprocess``: one stage alone, a mask in, a mask out."""

from __future__ import annotations

from pathlib import Path

import click

from hope.commands.inputs import HELP

ATLAS_VOXEL_ML = 0.001
"""Volume of a voxel of the atlas grid, which the published sizes count."""
VOXEL_TOLERANCE_ML = 1e-5


@click.command(short_help="Apply adaptive post-processing rules to a mask.", context_settings=HELP)
@click.argument("source", metavar="IN.nii.gz", type=click.Path(path_type=Path))
@click.argument("target", metavar="OUT.nii.gz", type=click.Path(path_type=Path))
@click.option("--rules", "rules_name", required=True, metavar="NAME|FILE", help="hope-peds-2024, or a JSON rules file.")
@click.option("--cluster", type=int, default=None, metavar="N", help="Which cluster of the rules the case belongs to.")
def postprocess(source: Path, target: Path, rules_name: str, cluster: int | None) -> None:
    """Apply adaptive post-processing rules to a mask in peds labels.

    Small components become background, then labels with a small share of the tumour are renamed. The rules can remove
    a whole class, so the volumes before and after are printed.

    \b
    hope postprocess case-seg-atlas.nii.gz cleaned.nii.gz --rules hope-peds-2024 --cluster 4
    """  # noqa: D301 - click reads the backspace
    from hope.domain.errors import InputError
    from hope.domain.labels import PEDS
    from hope.formats.nifti import read_labels, write_labels
    from hope.stages.postprocess import apply_rules
    from hope.stages.postprocess_rules import PostprocessRules

    rules = PostprocessRules.load(rules_name)
    last = len(rules.clusters) - 1
    if cluster is None and last > 0:
        raise InputError(
            f"the rules {rules.name} differ by cluster, and choosing the cluster needs the four images and the "
            "published cluster model, which this version does not import",
            fix=f"name the cluster with --cluster 0..{last}",
        )
    if source.resolve() == target.resolve() or (target.exists() and source.exists() and target.samefile(source)):
        raise InputError("input and output are the same file", fix="name another output file")
    if not target.name.endswith((".nii.gz", ".nii")):
        raise InputError("the output needs a NIfTI name", expected="a name ending in .nii.gz or .nii")
    labels = read_labels(source)
    unknown = sorted(set(labels.data[labels.data > 0].tolist()) - set(PEDS.values))
    if unknown:
        raise InputError(
            "the mask holds labels that are not of the peds scheme",
            expected="0 background, 1 ET, 2 NET, 3 CC, 4 ED",
            got=", ".join(map(str, unknown)),
        )
    if abs(labels.grid.voxel_volume_ml - ATLAS_VOXEL_ML) > VOXEL_TOLERANCE_ML:
        click.echo(
            f"note: sizes in the rules count voxels of 1 mm3; a voxel of this mask has "
            f"{labels.grid.voxel_volume_ml * 1000:.3g} mm3, so use the atlas-grid mask to get the published behaviour",
            err=True,
        )
    outcome = apply_rules(labels, rules, cluster or 0)
    write_labels(outcome.labels, target)
    click.echo(f"{outcome.method}\n{'':4}{'before ml':>12}{'after ml':>12}")
    for key, before in outcome.before_ml.items():
        click.echo(f"{key:4}{before:12.3f}{outcome.after_ml[key]:12.3f}")
