"""The lesions of a mask and their diameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cc3d
import numpy as np

from hope.contract.measurements import LesionFacts, Measurements, MeasureRuleFacts, PlaneDiameters
from hope.domain.box import bounding_box
from hope.domain.errors import InputError
from hope.domain.grid import FloatArray, Grid
from hope.domain.labels import PEDS, region_mask
from hope.domain.lesion_size import CystRule, LesionSize, MeasureRule, PlaneSize, measure_components, targets_of
from hope.domain.volume import Volume
from hope.stages.masks import cropped

CONNECTIVITY: Final = 26

GRID_TOLERANCE_MM = 0.1
"""Programs round the matrices that they write; an image that lies further off belongs to another mask."""


def measure_lesions(labels: Volume, rule: MeasureRule | None = None) -> Measurements:
    """Measure the lesions of a mask on its own grid.

    Args:
        labels: uint8 peds labels, any orientation and spacing.
        rule: how to measure; by default the outer contour of the tumour core.

    Returns:
        each lesion with its volume and diameters, and the sums over the targets.
    """
    used = rule or MeasureRule()
    box = bounding_box(labels.data, 1)
    if box is None:
        return Measurements(rule=_rule_facts(used))
    part = cropped(labels, box)
    components = lesion_components(part, used.region)
    found = measure_components(components.data, part.data, part.grid, used)
    start = [span.start for span in box]
    smaller = int(components.data.max()) - len(found)
    targets = targets_of(found, used)
    return Measurements(
        rule=_rule_facts(used),
        lesions=[_lesion_facts(lesion, lesion in targets, start) for lesion in found],
        smaller=smaller,
        sum_of_products_mm2=sum(lesion.product_mm2 for lesion in targets),
        sum_of_longest_mm=round(sum(lesion.planes[0].shape.long_mm for lesion in targets), 2),
    )


def rule_of(facts: MeasureRuleFacts) -> MeasureRule:
    """The rule that a file of measurements states.

    Raises:
        ValueError: if there is no such region.
    """
    cysts = CystRule(facts.cysts)
    return MeasureRule(facts.region, cysts, facts.three_planes, facts.least_mm, facts.least_ml, facts.targets)


def numbered_lesions(labels: Volume, rule: MeasureRule) -> Volume:
    """Number of the lesion at each voxel, as `measure_lesions` counts them; 0 outside and in what is too small.

    Args:
        labels: uint8 peds labels.
        rule: what a lesion is and how small it may be.

    Returns:
        int32 on the same grid.
    """
    components = lesion_components(labels, rule.region)
    counts = np.bincount(components.data.ravel())
    order = sorted(range(1, len(counts)), key=lambda number: (-counts[number], number))
    kept = [number for number in order if counts[number] * labels.grid.voxel_volume_ml >= rule.least_ml]
    table = np.zeros(len(counts), dtype=np.int32)
    table[kept] = np.arange(1, len(kept) + 1)
    return labels.with_data(table[components.data])


def check_peds(labels: Volume) -> Volume:
    """The same labels, if they are peds labels.

    Raises:
        InputError: if they hold another value.
    """
    highest = int(labels.data.max())
    if highest > max(PEDS.values):
        known = ", ".join(f"{label.value} {label.key}" for label in PEDS.labels)
        raise InputError("the mask holds unknown labels", expected=f"0 background, {known}", got=str(highest))
    return labels


def refuse_other_grid(mask: Grid, image: Grid) -> None:
    """Check that an image's voxels lie where the mask's do, listed along whatever axes.

    Raises:
        InputError: if they do not.
    """
    turned = image.reoriented(mask.orientation)
    distance_mm = turned.largest_corner_distance_mm(mask)
    if distance_mm > GRID_TOLERANCE_MM:
        expected, got = ("x".join(map(str, grid.shape)) + " voxels" for grid in (mask, turned))
        far = f"{got}, a corner {distance_mm:.1f} mm off" if turned.shape == mask.shape else got
        fix = "give the scan that the mask was made on"
        raise InputError("the image is on another grid than the mask", expected=expected, got=far, fix=fix)


def lesion_components(labels: Volume, region: str) -> Volume:
    """Number of the 26-connected component of a region at each voxel, from 1; 0 outside. Same grid, int32."""
    inside = np.ascontiguousarray(region_mask(labels.data, region))
    return labels.with_data(cc3d.connected_components(inside, connectivity=CONNECTIVITY).astype(np.int32))


def _rule_facts(rule: MeasureRule) -> MeasureRuleFacts:
    return MeasureRuleFacts(
        region=rule.region,
        cysts=rule.cysts.value,
        three_planes=rule.three_planes,
        least_mm=rule.least_mm,
        least_ml=rule.least_ml,
        targets=rule.targets,
    )


def _lesion_facts(lesion: LesionSize, target: bool, start: Sequence[int]) -> LesionFacts:
    return LesionFacts(
        number=lesion.number,
        ml=round(lesion.ml, 3),
        centre_ras_mm=[round(float(x), 2) for x in lesion.centre_ras_mm],
        measurable=lesion.measurable,
        near_limit=lesion.near_limit,
        target=target,
        planes=[_plane_facts(size, start) for size in lesion.planes],
    )


def _plane_facts(size: PlaneSize, start: Sequence[int]) -> PlaneDiameters:
    shape = size.shape
    return PlaneDiameters.model_validate(
        {
            "plane": size.plane,
            "file_axis": size.file_axis,
            "slice_index": size.slice_index + start[size.file_axis],
            "long": _chord(shape.long_mm, shape.long_step_mm, size.long_ends_ras_mm),
            "short": _chord(shape.short_mm, shape.short_step_mm, size.short_ends_ras_mm),
            "product_mm2": shape.product_mm2,
        }
    )


def _chord(mm: float, step_mm: float, ends_ras_mm: FloatArray) -> dict[str, object]:
    return {
        "mm": round(mm, 2),
        "low_mm": round(max(mm - step_mm, 0.0), 2),
        "high_mm": round(mm + step_mm, 2),
        "ends_ras_mm": np.round(ends_ras_mm, 2).tolist(),
    }
