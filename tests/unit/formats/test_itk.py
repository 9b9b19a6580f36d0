"""The fast interpolation reads what the plain one reads, from any file order, through any rigid transform."""

from __future__ import annotations

import numpy as np
import pytest

from hope.domain.grid import ALL_ORIENTATIONS, Grid
from hope.domain.transform import Transform
from hope.domain.volume import Volume
from hope.formats.itk import interpolated
from hope.stages.preprocess.starts import turned_about
from hope.stages.resample import resample

ONTO = Grid((19, 23, 17), np.array([[-2.0, 0, 0, 20], [0, -2.0, 0, 21], [0, 0, 2.0, -16], [0, 0, 0, 1]]))


def scan() -> Volume:
    """Random voxels of 1.1 x 0.9 x 5.5 mm, oblique, that leave part of ``ONTO`` uncovered."""
    affine = np.eye(4)
    turn = turned_about(np.zeros(3), np.zeros(3), (12.0, -7.0, 5.0)).fixed_to_moving_ras_mm
    affine[:3, :3] = turn[:3, :3] @ np.diag([1.1, 0.9, 5.5])
    affine[:3, 3] = (-14.0, -17.0, -15.0)
    return Volume(np.random.default_rng(3).random((29, 31, 7)).astype(np.float32) + 1.0, Grid((29, 31, 7), affine))


@pytest.mark.parametrize("orientation", ALL_ORIENTATIONS[::7])
def test_it_reads_what_the_plain_interpolation_reads(orientation: str) -> None:
    motion = turned_about(np.array([1.0, 2, 3]), np.array([-2.0, 4, 1]), (4.0, 9.0, -6.0))
    volume = scan().reoriented(orientation)

    fast, plain = interpolated(volume, ONTO, motion), resample(volume, ONTO, motion, "linear")

    assert 0.2 < float((plain.data == 0).mean()) < 0.95
    assert fast.grid is ONTO
    assert fast.data.dtype == np.float32
    np.testing.assert_array_equal(fast.data == 0, plain.data == 0)
    np.testing.assert_allclose(fast.data, plain.data, atol=1e-4)


def test_an_edge_voxel_keeps_its_outer_half() -> None:
    volume = Volume(np.full((4, 4, 2), 7.0, dtype=np.float32), Grid((4, 4, 2), np.diag([1.0, 1.0, 5.0, 1.0])))
    onto = Grid((1, 1, 12), np.array([[1.0, 0, 0, 1], [0, 1, 0, 1], [0, 0, 1, -3.0], [0, 0, 0, 1]]))

    line = interpolated(volume, onto, Transform.identity()).data[0, 0]

    # Slices at 0 and 5 mm reach from -2.5 to 7.5 mm; samples lie at -3, -2, ... 8 mm.
    assert line.tolist() == [0.0] + [7.0] * 10 + [0.0]


def test_the_same_input_gives_the_same_bits() -> None:
    motion = turned_about(np.zeros(3), np.array([0.3, 0.2, 0.1]), (1.0, 2.0, 3.0))

    first, second = (interpolated(scan(), ONTO, motion).data for _ in range(2))

    np.testing.assert_array_equal(first, second)
