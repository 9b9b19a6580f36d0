"""Grid and Volume over all 48 orientations and oblique ones: relisting voxels never moves them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hope.domain.grid import ALL_ORIENTATIONS, ATLAS_GRID, CORNER_TOLERANCE_MM, Grid
from hope.domain.volume import Volume

orientations = st.sampled_from(ALL_ORIENTATIONS)


def _rotation(degrees: tuple[float, float, float]) -> np.ndarray:
    rx, ry, rz = np.radians(degrees)
    about_x = np.array([[1, 0, 0], [0, np.cos(rx), -np.sin(rx)], [0, np.sin(rx), np.cos(rx)]])
    about_y = np.array([[np.cos(ry), 0, np.sin(ry)], [0, 1, 0], [-np.sin(ry), 0, np.cos(ry)]])
    about_z = np.array([[np.cos(rz), -np.sin(rz), 0], [np.sin(rz), np.cos(rz), 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    shape = tuple(draw(st.integers(2, 6)) for _ in range(3))
    spacing = [draw(st.floats(0.4, 7)) for _ in range(3)]
    angle = st.one_of(st.just(0.0), st.floats(-40, 40))
    affine = np.eye(4)
    affine[:3, :3] = _rotation((draw(angle), draw(angle), draw(angle))) @ np.diag(spacing)
    affine[:3, 3] = [draw(st.floats(-200, 200)) for _ in range(3)]
    return Grid(shape, affine).reoriented(draw(orientations))


def _numbered(grid: Grid) -> Volume:
    """Every voxel holds another number, so that any flip or swap shows."""
    return Volume(np.arange(grid.voxel_count, dtype=np.float32).reshape(grid.shape), grid)


@given(grids(), orientations)
def test_relisting_keeps_every_voxel_where_it_was(grid: Grid, orientation: str) -> None:
    volume = _numbered(grid)
    other = volume.reoriented(orientation)
    assert other.grid.orientation == orientation
    index = np.argwhere(np.ones(grid.shape, dtype=bool))
    where = {float(volume.data[tuple(i)]): w for i, w in zip(index, grid.to_world(index), strict=True)}
    index = np.argwhere(np.ones(other.grid.shape, dtype=bool))
    for i, world in zip(index, other.grid.to_world(index), strict=True):
        assert np.allclose(world, where[float(other.data[tuple(i)])], atol=1e-6)


@given(grids(), orientations)
def test_relisting_round_trips(grid: Grid, orientation: str) -> None:
    volume = _numbered(grid)
    back = volume.reoriented(orientation).reoriented(grid.orientation)
    assert back.same_as(volume)
    assert np.allclose(back.grid.affine_ras_mm, grid.affine_ras_mm, atol=1e-9)


@given(grids())
def test_world_and_voxel_are_inverse_and_spacing_makes_the_volume(grid: Grid) -> None:
    points = np.array([[0, 0, 0], [1, 0.5, 1.5]])
    assert np.allclose(grid.to_voxel(grid.to_world(points)), points, atol=1e-6)
    assert grid.voxel_volume_ml == pytest.approx(np.prod(grid.spacing_mm) / 1000)


@pytest.mark.parametrize("orientation", ALL_ORIENTATIONS)
def test_all_48_orientations_name_themselves(orientation: str) -> None:
    assert ATLAS_GRID.reoriented(orientation).orientation == orientation
    assert len(set(ALL_ORIENTATIONS)) == 48


# Turned by 60 degrees about the diagonal, or by 45 about z, an axis lies as near to one world axis as to the next.
_DIAGONAL = np.array([[2.0, -1.0, 2.0], [2.0, 2.0, -1.0], [-1.0, 2.0, 2.0]]) / 3


@pytest.mark.parametrize("turn", [_DIAGONAL, _rotation((0, 0, 45)), _rotation((45, 0, 0)), _rotation((-40, -40, -40))])
@pytest.mark.parametrize("orientation", ALL_ORIENTATIONS)
def test_axes_that_fit_two_directions_alike_are_named_alike_however_they_are_listed(
    orientation: str, turn: np.ndarray
) -> None:
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([1.0, 2.0, 3.0])
    grid = Grid((3, 4, 5), affine)
    other = grid.reoriented(orientation)
    assert other.orientation == orientation
    assert other.reoriented("RAS").same_as(grid.reoriented("RAS"))


def test_grid_equality_turns_false_with_each_field() -> None:
    affine = np.diag([1.0, 2.0, 3.0, 1.0])
    grid = Grid((4, 5, 6), affine)
    assert grid == Grid((4, 5, 6), affine.copy())
    assert hash(grid) == hash(Grid((4, 5, 6), affine.copy()))
    assert grid != Grid((4, 5, 7), affine)
    assert grid != "a grid"
    for row in range(3):
        for column in range(4):
            changed = affine.copy()
            changed[row, column] += 0.125
            assert grid != Grid((4, 5, 6), changed), (row, column)


def test_same_as_has_a_tolerance_at_the_corners() -> None:
    grid = Grid((10, 10, 10), np.eye(4))
    shifted = np.eye(4)
    shifted[0, 3] = CORNER_TOLERANCE_MM * 0.9
    assert grid.same_as(Grid((10, 10, 10), shifted))
    shifted[0, 3] = CORNER_TOLERANCE_MM * 1.1
    assert not grid.same_as(Grid((10, 10, 10), shifted))
    assert grid.largest_corner_distance_mm(Grid((10, 10, 11), np.eye(4))) == float("inf")


def test_volume_equality_turns_false_with_data_and_grid() -> None:
    volume = _numbered(Grid((2, 3, 4), np.eye(4)))
    assert volume.same_as(volume.with_data(volume.data.copy()))
    changed = volume.data.copy()
    changed[1, 2, 3] += 1
    assert not volume.same_as(volume.with_data(changed))
    assert not volume.same_as(Volume(volume.data, Grid((2, 3, 4), np.diag([1, 1, 1.5, 1]))))


@pytest.mark.parametrize(
    ("shape", "affine"),
    [
        ((2, 2), np.eye(4)),
        ((2, 2, 0), np.eye(4)),
        ((2, 2, 2), np.eye(3)),
        ((2, 2, 2), np.diag([1.0, 0, 1, 1])),
        ((2, 2, 2), np.diag([1.0, np.nan, 1, 1])),
        ((2, 2, 2), np.diag([1.0, 1, 1, 2])),
    ],
)
def test_grids_that_describe_no_volume_are_refused(shape: tuple[int, ...], affine: np.ndarray) -> None:
    with pytest.raises(ValueError, match="grid"):
        Grid(shape, affine)


def test_volume_refuses_another_shape_and_unknown_orientation() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        Volume(np.zeros((2, 2, 2)), Grid((2, 2, 3), np.eye(4)))
    with pytest.raises(ValueError, match="48 axis codes"):
        Grid((2, 2, 2), np.eye(4)).reoriented("RAR")


@given(grids(), st.floats(0.5, 3))
def test_with_spacing_keeps_the_field_of_view(grid: Grid, wanted: float) -> None:
    other = grid.with_spacing([wanted] * 3)
    extent = np.array(grid.shape) * grid.spacing_mm
    assert np.allclose(np.array(other.shape) * other.spacing_mm, extent)
    assert np.allclose(other.centre_ras_mm(), grid.centre_ras_mm(), atol=1e-6)


@given(grids())
def test_cropped_keeps_positions(grid: Grid) -> None:
    inner = grid.cropped((1, 0, 1), grid.shape)
    assert np.allclose(inner.to_world([0, 0, 0]), grid.to_world([1, 0, 1]))
    assert inner.shape == (grid.shape[0] - 1, grid.shape[1], grid.shape[2] - 1)
