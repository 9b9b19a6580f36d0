"""``hope measure``: the lesions of a mask and their diameters."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from hope.commands.inputs import HELP, PATH, REPLACE_FILES, SCHEMES
from hope.commands.lesions import print_lesions

_FACTS, _TABLE, _PICTURE = "measurements.json", "measurements.csv", "measurements.png"


@click.command(short_help="Measure the lesions of a mask: diameters, volumes, sums.", context_settings=HELP)
@click.argument("mask", type=PATH, metavar="MASK")
@click.option("--image", type=PATH, metavar="T1C", help="The scan on the mask's grid, to draw the diameters on.")
@click.option(
    "-o", "--output", type=PATH, metavar="OUT", help="Write OUT/measurements.json, .csv and, with --image, .png."
)
@click.option("--scheme", type=click.Choice(SCHEMES), default="peds", show_default=True, help="Labels of MASK.")
@click.option(
    "--region",
    type=click.Choice(["TC", "ET", "WT"]),
    default="TC",
    show_default=True,
    help="What makes a lesion: tumour core, enhancing part, or all with oedema.",
)
@click.option(
    "--cysts",
    type=click.Choice(["outer", "solid"]),
    default="outer",
    show_default=True,
    help="Cysts and what a lesion encloses count (outer contour), or chords stay in the solid wall.",
)
@click.option("--three-planes", is_flag=True, help="Measurable only if coronal and sagittal diameters reach it, too.")
@click.option(
    "--least-mm",
    type=click.FloatRange(min=0, min_open=True),
    default=10.0,
    show_default=True,
    help="What both diameters of a measurable lesion reach.",
)
@click.option(
    "--least-ml",
    type=click.FloatRange(min=0),
    default=0.05,
    show_default=True,
    help="Smaller components are counted, not measured.",
)
@click.option(
    "--targets",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="At most so many measurable lesions make the sums.",
)
@REPLACE_FILES
def measure(
    mask: Path,
    image: Path | None,
    output: Path | None,
    scheme: str,
    region: str,
    cysts: str,
    three_planes: bool,
    least_mm: float,
    least_ml: float,
    targets: int,
    replace: bool,
) -> None:
    """Measure each lesion of MASK: two perpendicular diameters, their product, and whether it is measurable.

    MASK holds the labels 1 ET, 2 NET, 3 CC, 4 ED on the scan's own grid, such as <case>-seg.nii.gz; masks of the adult
    challenges have other numbers (--scheme). A lesion is a
    connected component of the region. Its diameters are the longest chord that stays inside the lesion on one axial
    slice, and the longest chord perpendicular to it that crosses it; the slice is the one with the largest product.
    Lesions that touch are one lesion.

    Measurements of the same mask in OUT are replaced. Those of another mask, and files that were changed since, stay,
    unless you say --replace.

    \b
    hope measure results/case/case-seg.nii.gz --image case/case-t1c.nii.gz -o measured
    """  # noqa: D301 - click reads the backspace
    from functools import partial
    from hashlib import sha256

    from hope.contract.measurements import describe_rule
    from hope.domain.lesion_size import CystRule, MeasureRule
    from hope.formats.nifti import read_labels, read_scan
    from hope.stages.intake.intake import hash_volume
    from hope.stages.postprocess.lesions import measure_lesions, refuse_other_grid
    from hope.stages.postprocess.scheme_check import to_peds
    from hope.stages.report.made_from import MadeFrom, refuse_other_file, refuse_unlisted, with_facts

    given = read_labels(mask, "MASK")
    labels, caution = to_peds(given, scheme, "MASK")
    made_from = MadeFrom("masks", {"mask": hash_volume(given)})
    if output is not None:
        refuse_other_file(output / _FACTS, made_from, replace=replace)
    scan = None
    if image is not None:
        scan, _ = read_scan(image, "T1C", partial(refuse_other_grid, labels.grid))
        scan = scan.reoriented(labels.grid.orientation)
    rule = MeasureRule(region, CystRule(cysts), three_planes, least_mm, least_ml, targets)
    found = measure_lesions(labels, rule)
    if caution:
        click.echo(f"hope: {caution}", err=True)
    click.echo(describe_rule(found.rule))
    if not found.lesions:
        click.echo("  no lesion to measure")
    print_lesions(found)
    if output is None:
        return
    files = {_TABLE: found.csv().encode()}
    if scan is not None:
        from hope.stages.intake.quality import shows_brain_only
        from hope.stages.report.face_free import SHOWN_NEAR_LABELS, near_labels
        from hope.stages.report.lesion_views import draw_measurements

        if not shows_brain_only(scan):
            scan = near_labels(scan, labels)
            click.echo(f"  the picture shows the scan {SHOWN_NEAR_LABELS}")
        files[_PICTURE] = draw_measurements(scan, labels, found)
    hashes = {name: sha256(content).hexdigest() for name, content in files.items()}
    files[_FACTS] = with_facts({**found.model_dump(mode="json"), "files": hashes}, made_from)
    refuse_other_file(output / _FACTS, made_from, replace=replace)
    refuse_unlisted(output / _FACTS, (_TABLE, _PICTURE), files, replace=replace)
    _write(output, files)


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write the files, and delete the picture that an earlier call left where this one has none."""
    from hope.export.writing import write_files
    from hope.formats.atomic import output_error
    from hope.stages.report.made_from import listed_files

    stale = _PICTURE not in files and _PICTURE in listed_files(folder / _FACTS)
    for path in write_files(folder, files, replace=True):
        click.echo(f"  {path}")
    try:
        if stale:
            (folder / _PICTURE).unlink(missing_ok=True)
    except OSError as error:
        raise output_error(_PICTURE, error) from error
