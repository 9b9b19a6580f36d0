"""Diameters of phantoms whose size is known: ellipses, rings, L-shapes, lesions that touch."""

from __future__ import annotations

import time

import numpy as np
import numpy.typing as npt
import pytest

from hope.domain.diameters import SliceDiameters, largest_product_mm2, perpendicular_diameters
from hope.domain.grid import ALL_ORIENTATIONS, Grid
from hope.domain.labels import CC, ED, ET
from hope.domain.lesion_size import CystRule, MeasureRule, measure_components, targets_of
from hope.domain.slice_shapes import components_2d, filled_2d

Mask = npt.NDArray[np.bool_]
VOXELS_OFF = 1.5


def coordinates(shape: tuple[int, int], spacing_mm: tuple[float, float]) -> tuple[npt.NDArray[np.float64], ...]:
    """Millimetres from a point near the middle of a slice, which is no voxel's centre."""
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(float)
    return (rows - shape[0] / 2 + 0.31) * spacing_mm[0], (columns - shape[1] / 2 - 0.17) * spacing_mm[1]


def ellipse(long_mm: float, short_mm: float, degrees: float, spacing_mm: tuple[float, float]) -> Mask:
    side = int(1.3 * long_mm / min(spacing_mm)) + 6
    y, x = coordinates((side, side), spacing_mm)
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return ((c * y + s * x) * 2 / long_mm) ** 2 + ((c * x - s * y) * 2 / short_mm) ** 2 <= 1


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0), (0.5, 0.5), (0.7, 1.0)])
@pytest.mark.parametrize(("long_mm", "short_mm"), [(15, 15), (20, 15), (32, 18), (60, 40)])
def test_ellipses(long_mm: float, short_mm: float, spacing_mm: tuple[float, float]) -> None:
    for degrees in (0, 11, 37, 45, 80, 133):
        found = perpendicular_diameters(ellipse(long_mm, short_mm, degrees, spacing_mm), spacing_mm)
        assert found.long_mm == pytest.approx(long_mm, abs=VOXELS_OFF * max(spacing_mm))
        assert found.short_mm == pytest.approx(short_mm, abs=VOXELS_OFF * max(spacing_mm))
        assert_chords_are_perpendicular_and_cross(found, spacing_mm)


def assert_chords_are_perpendicular_and_cross(found: SliceDiameters, spacing_mm: tuple[float, float]) -> None:
    (a, b), (c, d) = found.long_ends * spacing_mm, found.short_ends * spacing_mm
    assert np.linalg.norm(b - a) == pytest.approx(found.long_mm, abs=0.01)
    assert np.linalg.norm(d - c) == pytest.approx(found.short_mm, abs=0.01)
    assert abs((b - a) @ (d - c)) < 0.01 * found.long_mm * found.short_mm
    along, across = np.linalg.solve(np.column_stack([b - a, c - d]), c - a)
    assert -0.05 <= along <= 1.05 and -0.05 <= across <= 1.05


def test_a_ring_has_another_size_in_its_wall_than_at_its_outer_contour() -> None:
    spacing_mm = (1.0, 1.0)
    ring = ellipse(50, 50, 0, spacing_mm)
    y, x = coordinates(ring.shape, spacing_mm)
    wall = ring & (y**2 + x**2 > 20.5**2)
    outer = perpendicular_diameters(filled_2d(wall), spacing_mm)
    assert outer.long_mm == pytest.approx(50, abs=VOXELS_OFF)
    assert outer.short_mm == pytest.approx(50, abs=VOXELS_OFF)
    inside = perpendicular_diameters(wall, spacing_mm)
    assert inside.long_mm == pytest.approx(2 * np.sqrt(25**2 - 20.5**2), abs=VOXELS_OFF)
    assert inside.short_mm < 10


def test_an_l_shape_is_measured_inside_its_legs() -> None:
    shape = np.zeros((50, 50), dtype=bool)
    shape[5:45, 5:15] = shape[35:45, 5:35] = True
    found = perpendicular_diameters(shape, (1.0, 1.0))
    # Its longest chord runs from the far end of the long leg through it: 40 by 10 mm, corner to corner.
    assert found.long_mm == pytest.approx(np.hypot(40, 10), abs=VOXELS_OFF)
    assert found.long_mm * found.short_mm < largest_product_mm2(shape, (1.0, 1.0))
    points = np.linspace(*found.long_ends, 200)[2:-2]
    assert shape[tuple(np.rint(points).astype(int).T)].all()


def test_two_discs_that_touch_are_one_shape_measured_through_its_neck() -> None:
    y, x = coordinates((40, 60), (1.0, 1.0))
    discs = (y**2 + (x - 9) ** 2 <= 100) | (y**2 + (x + 9) ** 2 <= 100)
    assert len(components_2d(discs)) == 1
    found = perpendicular_diameters(discs, (1.0, 1.0))
    assert found.long_mm == pytest.approx(38, abs=VOXELS_OFF)
    assert found.short_mm == pytest.approx(20, abs=VOXELS_OFF)


def test_one_voxel_is_a_voxel_wide_and_nothing_is_refused() -> None:
    found = perpendicular_diameters(np.ones((1, 1), dtype=bool), (0.5, 2.0))
    assert 0 < found.short_mm <= found.long_mm <= 2.2
    with pytest.raises(ValueError, match="empty"):
        perpendicular_diameters(np.zeros((3, 3), dtype=bool), (1.0, 1.0))


def test_parts_and_holes_of_a_slice() -> None:
    ring = np.zeros((7, 7), dtype=bool)
    ring[1:6, 1:6], ring[2:5, 2:5] = True, False
    ring[1, 1] = False  # open at a corner only
    assert filled_2d(ring).sum() == 24
    pair = np.zeros((4, 4), dtype=bool)
    pair[0, 0] = pair[1, 1] = pair[3, 3] = True
    assert [part.sum() for part in components_2d(pair)] == [2, 1]
    assert len(components_2d(pair, diagonal=False)) == 3


def ball(grid: Grid, centre_mm: npt.ArrayLike, radius_mm: float) -> Mask:
    voxels = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1)
    return np.linalg.norm(grid.to_world(voxels) - np.asarray(centre_mm), axis=-1) <= radius_mm


def test_lesions_are_measured_alike_in_all_orientations() -> None:
    upright = Grid((40, 44, 12), np.diag([1.0, 1.0, 3.0, 1.0]))
    large, small = ball(upright, (14, 15, 15), 10.2), ball(upright, (31, 33, 21), 4.0)
    labels = (ET * large + ET * small).astype(np.uint8)
    labels[ball(upright, (14, 15, 15), 5.0)] = CC
    components = (large + 2 * small).astype(np.int32)
    for orientation in ALL_ORIENTATIONS:
        grid = upright.reoriented(orientation)
        order, flips = upright.steps_to(orientation)
        turn = tuple(slice(None, None, -1) if flip else slice(None) for flip in flips)
        turned = [array.transpose(order)[turn] for array in (components, labels)]
        first, second = measure_components(turned[0], turned[1], grid, MeasureRule(least_ml=0.01))
        (axial,) = first.planes
        assert (first.number, first.measurable, second.measurable) == (1, True, False)
        assert axial.shape.long_mm == pytest.approx(20.4, abs=VOXELS_OFF)
        assert np.abs(axial.long_ends_ras_mm[:, 2] - 15).max() < 1e-6, "the slice through the middle"
        assert np.linalg.norm(axial.long_ends_ras_mm[0] - axial.long_ends_ras_mm[1]) == pytest.approx(
            axial.shape.long_mm, abs=0.01
        )
        assert np.abs(first.centre_ras_mm - (14, 15, 15)).max() < 0.2


def test_the_rule_decides_on_cysts_planes_and_targets() -> None:
    grid = Grid((50, 50, 30), np.eye(4))
    lesion = ball(grid, (25, 25, 15), 12.0)
    labels = np.where(lesion, ET, 0).astype(np.uint8)
    labels[ball(grid, (25, 25, 15), 9.0)] = CC
    outer, solid = (
        measure_components(lesion.astype(np.int32), labels, grid, MeasureRule(cysts=rule))[0]
        for rule in (CystRule.OUTER, CystRule.SOLID)
    )
    assert outer.planes[0].shape.short_mm == pytest.approx(24, abs=VOXELS_OFF)
    # The wall: on the slices above the cyst it is a full disc, and that is the largest solid cross-section.
    assert solid.planes[0].shape.long_mm < 20 < outer.planes[0].shape.long_mm
    flat = lesion & (np.abs(np.arange(30) - 15) < 3)
    for three_planes, measurable in ((False, True), (True, False)):
        rule = MeasureRule(three_planes=three_planes)
        (found,) = measure_components(flat.astype(np.int32), labels, grid, rule)
        assert found.measurable is measurable
        assert len(found.planes) == (3 if three_planes else 1)
    assert targets_of([outer, solid], MeasureRule(targets=1)) == [outer]


def test_near_the_limit_is_said_and_nothing_solid_is_no_error() -> None:
    grid = Grid((30, 30, 20), np.eye(4))
    for radius_mm, measurable in ((5.0, True), (4.6, False), (8.0, True)):
        lesion = ball(grid, (15.2, 14.9, 10), radius_mm)
        (found,) = measure_components(lesion.astype(np.int32), ET * lesion, grid, MeasureRule())
        assert (found.measurable, found.near_limit) == (measurable, radius_mm < 8)
    cyst = ball(grid, (15, 15, 10), 6.0)
    (found,) = measure_components(cyst.astype(np.int32), CC * cyst, grid, MeasureRule(cysts=CystRule.SOLID))
    assert (found.planes, found.measurable, found.product_mm2) == ((), False, 0.0)


@pytest.mark.parametrize("values", [{"region": "ED"}, {"least_mm": 0.0}, {"targets": 0}, {"least_ml": -1.0}])
def test_a_rule_that_means_nothing_is_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"region|limits"):
        MeasureRule(**values)  # type: ignore[arg-type]


def test_a_whole_scan_at_1_mm_takes_at_most_two_seconds() -> None:
    grid = Grid((200, 220, 155), np.eye(4))
    lesion = ball(grid, (100, 110, 77), 30.0)
    labels = np.where(lesion, ET, 0).astype(np.uint8)
    labels[~lesion & ball(grid, (100, 110, 77), 40.0)] = ED
    start = time.process_time()
    (found,) = measure_components(lesion.astype(np.int32), labels, grid, MeasureRule())
    assert time.process_time() - start <= 2.0
    assert found.planes[0].shape.long_mm == pytest.approx(60, abs=VOXELS_OFF)


@pytest.mark.parametrize("orientation", ["RAS", "PIR", "LSA"])
@pytest.mark.parametrize("shear", [0.3, -0.5])
def test_a_sheared_grid_gives_the_diameters_of_the_world(shear: float, orientation: str) -> None:
    affine = np.diag([1.0, 0.8, 2.0, 1.0])
    affine[0, 1] = shear
    grid = Grid((70, 70, 24), affine).reoriented(orientation)
    places = np.moveaxis(np.indices(grid.shape), 0, -1)
    x, y, z = np.moveaxis(grid.to_world(places) - grid.centre_ras_mm(), -1, 0)
    inside = (x / 12) ** 2 + (y / 8) ** 2 + (z / 12) ** 2 <= 1
    (lesion,) = measure_components(inside.astype(int), ET * inside, grid, MeasureRule())
    (axial,) = lesion.planes
    assert axial.shape.long_mm == pytest.approx(24, abs=VOXELS_OFF)
    assert axial.shape.short_mm == pytest.approx(16, abs=VOXELS_OFF)
    (a, b), (c, d) = axial.long_ends_ras_mm, axial.short_ends_ras_mm
    assert np.linalg.norm(b - a) == pytest.approx(axial.shape.long_mm, abs=0.01)
    assert np.linalg.norm(d - c) == pytest.approx(axial.shape.short_mm, abs=0.01)
    assert abs((b - a) @ (d - c)) < 0.01 * axial.shape.product_mm2
