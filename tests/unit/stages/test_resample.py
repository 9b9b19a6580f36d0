"""Resampling is exact where it can be, keeps world positions always, and gives labels back where they came from."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hope.domain.case import SEQUENCES, AlignedCase, HeadState
from hope.domain.grid import ALL_ORIENTATIONS, Grid
from hope.domain.transform import Transform
from hope.domain.volume import Volume
from hope.stages.preprocess.preprocess import to_native
from hope.stages.preprocess.starts import turned_about
from hope.stages.resample import field_of_view, resample, resample_labels

IDENTITY = Transform.identity()
RNG = np.random.default_rng(1)
SMALL_ATLAS = Grid((40, 44, 36), np.array([[-2.0, 0, 0, 3], [0, -2.0, 0, 91], [0, 0, 2.0, -5], [0, 0, 0, 1]]))


def grid_of(shape: tuple[int, int, int], spacing: tuple[float, float, float] = (1, 1, 1)) -> Grid:
    return Grid(shape, np.diag([*spacing, 1.0]))


@pytest.mark.parametrize("orientation", ALL_ORIENTATIONS)
def test_reordered_axes_are_resampled_exactly(orientation: str) -> None:
    volume = Volume(RNG.random((5, 6, 7)).astype(np.float32), grid_of((5, 6, 7), (0.7, 1.1, 5.5)))
    listed_otherwise = volume.reoriented(orientation)

    linear = resample(listed_otherwise, volume.grid, IDENTITY, "linear")
    nearest = resample(listed_otherwise, volume.grid, IDENTITY, "nearest")

    np.testing.assert_allclose(linear.data, volume.data, atol=1e-6)
    np.testing.assert_array_equal(nearest.data, volume.data)


def test_linear_interpolation_is_exact_on_a_ramp_and_float32() -> None:
    volume = Volume(np.arange(10, dtype=np.int16)[:, None, None] * np.ones((1, 4, 4), np.int16), grid_of((10, 4, 4)))
    onto = Grid((9, 4, 4), np.array([[1.0, 0, 0, 0.25], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))

    out = resample(volume, onto, IDENTITY, "linear")

    assert out.data.dtype == np.float32
    np.testing.assert_allclose(out.data[:, 1, 1], np.arange(9) + 0.25, atol=1e-6)


def test_the_transform_goes_from_output_to_input() -> None:
    data = np.zeros((8, 8, 8), np.uint8)
    data[5, 3, 2] = 9
    shift = np.eye(4)
    shift[:3, 3] = (2, 0, 0)

    out = resample(Volume(data, grid_of((8, 8, 8))), grid_of((8, 8, 8)), Transform(shift), "nearest")

    assert np.argwhere(out.data).tolist() == [[3, 3, 2]]
    assert out.data.dtype == np.uint8


def test_thick_edge_slices_keep_their_outer_half_and_nothing_lies_beyond() -> None:
    volume = Volume(np.ones((2, 2, 4), np.float32), grid_of((2, 2, 4), (1, 1, 5)))
    column = Grid((1, 1, 30), np.array([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, -5], [0, 0, 0, 1]]))

    seen = np.flatnonzero(resample(volume, column, IDENTITY, "linear").data.ravel()) - 5

    assert (seen.min(), seen.max()) == (-2, 17)
    np.testing.assert_array_equal(field_of_view(volume.grid, column, IDENTITY).ravel().nonzero()[0] - 5, seen)


def test_masks_stay_boolean() -> None:
    mask = Volume(np.eye(4, dtype=bool)[:, :, None].repeat(3, axis=2), grid_of((4, 4, 3)))

    out = resample(mask, mask.grid, IDENTITY, "nearest")

    assert out.data.dtype == np.bool_
    np.testing.assert_array_equal(out.data, mask.data)


angles = st.tuples(*[st.floats(-35, 35) for _ in range(3)])
shifts = st.tuples(*[st.floats(-30, 30) for _ in range(3)])
spacings = st.sampled_from([(1.6, 1.6, 1.6), (1.2, 1.2, 5.0), (2.0, 4.5, 1.3), (0.9, 2.1, 3.0)])
placements = st.tuples(st.sampled_from(ALL_ORIENTATIONS), spacings, angles, angles, shifts)


def scan_grid(orientation: str, spacing: tuple[float, float, float], oblique: tuple[float, float, float]) -> Grid:
    """A grid of about 120 mm around the world's origin, its axes oblique and then listed in any order."""
    shape = tuple(round(120 / s) for s in spacing)
    straight = np.diag([*spacing, 1.0])
    straight[:3, 3] = [-s * (n - 1) / 2 for s, n in zip(spacing, shape, strict=True)]
    turn = turned_about(np.zeros(3), np.zeros(3), oblique).fixed_to_moving_ras_mm
    return Grid((shape[0], shape[1], shape[2]), turn @ straight).reoriented(orientation)


def marked_corner(grid: Grid, centre_ras_mm: np.ndarray) -> Volume:
    """A solid ball of 13 mm radius: the label of a corner of the head, seen through this grid."""
    world = grid.to_world(np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1))
    return Volume((np.linalg.norm(world - centre_ras_mm, axis=-1) < 13.0).astype(np.uint8), grid)


def centre(labels: Volume) -> np.ndarray:
    return labels.grid.to_world(np.argwhere(labels.data > 0)).mean(axis=0)


@settings(max_examples=30)
@given(st.lists(placements, min_size=2, max_size=4))
def test_a_marked_corner_returns_to_its_world_position(drawn: list) -> None:
    """Orientations, obliqueness and spacing differ between the sequences of one case, as they do in clinics."""
    corner = SMALL_ATLAS.centre_ras_mm() + np.array((14.0, -17.0, 11.0))
    to_scan, scans = {}, {}
    for name, (orientation, spacing, oblique, turn, shift) in zip(SEQUENCES, drawn, strict=False):
        to_scan[name] = turned_about(SMALL_ATLAS.centre_ras_mm(), np.array(shift) / 3, turn)
        scans[name] = marked_corner(scan_grid(orientation, spacing, oblique), to_scan[name].apply(corner))
    images = {
        name: resample(scan.with_data(scan.data.astype(np.float32)), SMALL_ATLAS, to_scan[name], "linear")
        for name, scan in scans.items()
    }
    reference = next(iter(scans))
    whole = Volume(np.ones(SMALL_ATLAS.shape, bool), SMALL_ATLAS)
    case = AlignedCase("x", images, whole, HeadState.FULL, scans[reference].grid, reference, to_scan)

    for name, image in images.items():
        tolerance_mm = 0.35 * max(scans[name].grid.spacing_mm)
        np.testing.assert_allclose(centre(Volume(image.data > 0.5, SMALL_ATLAS)), corner, atol=tolerance_mm)
    back = to_native(marked_corner(SMALL_ATLAS, corner), case)

    assert back.grid == scans[reference].grid
    assert back.data.dtype == np.uint8
    truth = scans[reference]
    tolerance_mm = 0.25 * max(back.grid.spacing_mm)
    np.testing.assert_allclose(centre(back), to_scan[reference].apply(corner), atol=tolerance_mm)
    assert 2 * (back.data & truth.data).sum() / (back.data.sum() + truth.data.sum()) > 0.85


def ball(grid: Grid, centre_mm: tuple[float, float, float], radius_mm: float) -> np.ndarray:
    points = grid.to_world(np.argwhere(np.ones(grid.shape, bool)))
    return (np.linalg.norm(points - np.array(centre_mm), axis=1) <= radius_mm).reshape(grid.shape)


def layered(grid: Grid) -> Volume:
    """A ball of label 4 with a ball of label 2 in it, in it one of label 1."""
    data = np.zeros(grid.shape, np.uint8)
    for value, radius in ((4, 14.0), (2, 9.0), (1, 5.0)):
        data[ball(grid, (20.3, 19.6, 21.1), radius)] = value
    return Volume(data, grid)


@pytest.mark.parametrize("orientation", ALL_ORIENTATIONS[::7])
def test_labels_on_their_own_voxel_centres_stay_as_they_are(orientation: str) -> None:
    labels = layered(grid_of((40, 40, 40)))
    out = resample_labels(labels.reoriented(orientation), labels.grid, IDENTITY)
    np.testing.assert_array_equal(out.data, labels.data)
    assert out.data.dtype == np.uint8


@pytest.mark.parametrize("spacing", [(0.5, 0.5, 0.5), (0.94, 0.94, 3.0), (0.45, 0.9, 1.5)])
def test_labels_turned_onto_another_grid_lie_nearer_the_truth_than_the_nearest_voxel(
    spacing: tuple[float, float, float],
) -> None:
    labels = layered(grid_of((40, 40, 40)))
    shape = tuple(int(40 / s) for s in spacing)
    turn = turned_about(np.array([20.0, 20, 20]), np.array([20.0, 20, 20]), (11, -8, 6))
    onto = Grid((shape[0], shape[1], shape[2]), turn.fixed_to_moving_ras_mm @ np.diag([*spacing, 1.0]))
    truth = layered(onto).data

    linear = resample_labels(labels, onto, IDENTITY).data
    nearest = resample(labels, onto, IDENTITY, "nearest").data

    assert (linear != truth).mean() < (nearest != truth).mean()
    for value in (1, 2, 4):
        expected = float((truth == value).sum())
        assert (linear == value).sum() == pytest.approx(expected, rel=0.04)
        assert set(np.unique(linear)) == {0, 1, 2, 4}


def test_labels_that_the_grid_does_not_reach_are_gone_and_no_label_is_invented() -> None:
    labels = layered(grid_of((40, 40, 40)))
    away = np.eye(4)
    away[:3, 3] = (500, 0, 0)
    assert not resample_labels(labels, grid_of((10, 10, 10)), Transform(away)).data.any()
    assert not resample_labels(labels.with_data(np.zeros_like(labels.data)), labels.grid, IDENTITY).data.any()


def test_a_label_at_the_edge_of_the_volume_reaches_half_a_voxel_further() -> None:
    data = np.zeros((6, 6, 3), np.uint8)
    data[:, :, 0] = 3
    thick = Volume(data, Grid((6, 6, 3), np.diag([1.0, 1, 6, 1])))
    fine = Grid((6, 6, 12), np.array([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, -4], [0, 0, 0, 1]]))
    found = resample_labels(thick, fine, IDENTITY).data[2, 2]
    np.testing.assert_array_equal(np.flatnonzero(found), [1, 2, 3, 4, 5, 6])  # z of -3 to 2 mm; at 3 mm background ties


def test_a_mask_keeps_its_type() -> None:
    labels = layered(grid_of((40, 40, 40)))
    mask = labels.with_data(labels.data > 0)
    out = resample_labels(mask, labels.grid, IDENTITY)
    assert out.data.dtype == np.bool_
    np.testing.assert_array_equal(out.data, mask.data)


@pytest.mark.parametrize("angles", [(0, 0, 0), (90, 0, 0), (13, -8, 21), (0, 0, 45)])
def test_the_field_of_view_is_what_every_voxel_says_for_itself(angles: tuple[float, float, float]) -> None:
    grid, onto = grid_of((9, 14, 5), (1.3, 0.7, 4.0)), grid_of((16, 15, 20))
    transform = turned_about(np.array([7.0, 7, 9]), np.array([5.2, 4.9, 8.1]), angles)

    seen = field_of_view(grid, onto, transform)

    voxels = grid.to_voxel(transform.apply(onto.to_world(np.argwhere(np.ones(onto.shape)))))
    each = ((voxels >= -0.5 - 1e-6) & (voxels <= np.array(grid.shape) - 0.5 + 1e-6)).all(axis=1)
    assert 0 < each.sum() < each.size
    np.testing.assert_array_equal(seen.ravel(), each)


@pytest.mark.parametrize("order", ["linear", "nearest"])
@pytest.mark.parametrize("orientation", ["RAS", "LPS", "SAR", "IRP"])
@pytest.mark.parametrize("shift", [(0, 0, 0), (3, -2, 1), (-4, 5, 0), (50, 0, 0)])
def test_whole_steps_give_what_interpolation_gives(
    order: str, orientation: str, shift: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = Volume(RNG.random((7, 9, 5)).astype(np.float32), grid_of((7, 9, 5))).reoriented(orientation)
    moved = np.eye(4)
    moved[:3, 3] = shift
    onto = grid_of((8, 6, 10))

    stepped = resample(volume, onto, Transform(moved), order)  # type: ignore[arg-type]
    monkeypatch.setattr("hope.stages.resample._whole_steps", lambda to_voxel: None)
    interpolated = resample(volume, onto, Transform(moved), order)  # type: ignore[arg-type]

    assert stepped.data.any() == (shift[0] != 50)
    np.testing.assert_array_equal(stepped.data, interpolated.data)
