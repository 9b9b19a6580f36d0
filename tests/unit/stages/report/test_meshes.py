"""Surfaces enclose what the mask marks, where it marks it, and face outwards in every orientation."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hope.domain.grid import ALL_ORIENTATIONS, Grid
from hope.domain.transform import Transform
from hope.domain.volume import Volume
from hope.stages.report.meshes import MAX_FACES, Mesh, label_mesh, write_mz3

STILL = Transform.identity()


def ball(grid: Grid, centre_mm: tuple[float, float, float], radius_mm: float, value: int = 1) -> Volume:
    places = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1))
    inside = ((places - centre_mm) ** 2).sum(-1) < radius_mm**2
    return Volume(np.where(inside, value, 0).astype(np.uint8), grid)


def grid_1mm(orientation: str = "RAS", size: int = 48) -> Grid:
    affine = np.eye(4)
    affine[:3, 3] = (-30, 5, 100)
    return Grid((size, size, size), affine).reoriented(orientation)


@settings(max_examples=48)
@given(st.sampled_from(ALL_ORIENTATIONS), st.sampled_from([-1.0, 1.0]))
def test_a_ball_keeps_place_and_volume_and_faces_outwards(orientation: str, mirror: float) -> None:
    """Off centre along every axis, so that a flip would move it; a mirroring transform must not turn it inside out."""
    move = Transform(np.array([[mirror, 0, 0, 3], [0, 1, 0, -20], [0, 0, 1, 5], [0, 0, 0, 1.0]]))
    labels = ball(grid_1mm(orientation), (-15, 20, 130), 9, value=3)
    mesh = label_mesh(labels, 3, move)
    assert mesh is not None
    middle = np.array([-15 * mirror + 3, 0, 135])
    assert np.abs(mesh.points_ras_mm.mean(0) - middle).max() < 0.3
    distance = np.linalg.norm(mesh.points_ras_mm - middle, axis=1)
    assert 8 < distance.min() <= distance.max() < 10
    assert mesh.volume_ml == pytest.approx(4 / 3 * np.pi * 9**3 / 1000, rel=0.05)
    normals = np.cross(*(mesh.points_ras_mm[mesh.faces[:, k]] - mesh.points_ras_mm[mesh.faces[:, 0]] for k in (1, 2)))
    outwards = mesh.points_ras_mm[mesh.faces].mean(1) - middle
    assert ((normals * outwards).sum(1) > 0).mean() > 0.99


def test_it_is_closed_even_at_the_edge_of_the_volume() -> None:
    data = np.zeros((20, 20, 20), np.uint8)
    data[:6, 8:, :5] = 2
    mesh = label_mesh(Volume(data, Grid(data.shape, np.eye(4))), 2, STILL)
    assert mesh is not None
    edges = np.sort(np.vstack([mesh.faces[:, [a, b]] for a, b in ((0, 1), (1, 2), (2, 0))]), axis=1)
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()
    assert mesh.volume_ml == pytest.approx(6 * 12 * 5 / 1000, rel=0.15)


def test_other_labels_are_not_in_it_and_an_absent_one_has_none() -> None:
    labels = ball(grid_1mm(), (-10, 25, 120), 6, value=1)
    labels.data[ball(grid_1mm(), (0, 35, 135), 5).data > 0] = 4
    small = label_mesh(labels, 4, STILL)
    assert small is not None
    assert small.volume_ml == pytest.approx(4 / 3 * np.pi * 125 / 1000, rel=0.08)
    assert label_mesh(labels, 2, STILL) is None


@pytest.mark.parametrize("voxels", [1, 2, 3])
def test_a_speck_still_has_a_surface(voxels: int) -> None:
    data = np.zeros((8, 8, 8), np.uint8)
    data[3, 3, 3 : 3 + voxels] = 1
    mesh = label_mesh(Volume(data, Grid(data.shape, np.eye(4))), 1, STILL)
    assert mesh is not None
    assert len(mesh.faces) >= 8
    assert np.abs(mesh.points_ras_mm.mean(0) - [3, 3, 3 + (voxels - 1) / 2]).max() < 0.3


def test_a_large_and_rough_one_is_thinned_out() -> None:
    rng = np.random.default_rng(1)
    data = (rng.random((90, 90, 90)) > 0.5).astype(np.uint8)
    mesh = label_mesh(Volume(data, Grid(data.shape, np.eye(4))), 1, STILL)
    assert mesh is not None
    assert 1000 < len(mesh.faces) <= MAX_FACES


def test_mz3_is_what_its_description_says(tmp_path: Path) -> None:
    mesh = label_mesh(ball(grid_1mm(), (-10, 25, 120), 12), 1, STILL)
    assert mesh is not None
    write_mz3(mesh, tmp_path / "m.mz3")
    packed = (tmp_path / "m.mz3").read_bytes()
    assert 5_000 < len(packed) < 400_000
    content = gzip.decompress(packed)
    magic, kind, faces, points, skip = struct.unpack_from("<2H3I", content)
    assert (magic, kind, skip) == (23117, 3, 0)
    assert len(content) == 16 + 12 * faces + 12 * points
    read = Mesh(
        np.frombuffer(content, "<f4", 3 * points, 16 + 12 * faces).reshape(-1, 3),
        np.frombuffer(content, "<i4", 3 * faces, 16).reshape(-1, 3),
    )
    assert read.faces.max() == points - 1
    assert read.volume_ml == mesh.volume_ml
    write_mz3(mesh, tmp_path / "again.mz3")
    assert (tmp_path / "again.mz3").read_bytes() == packed
