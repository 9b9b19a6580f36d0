"""Thumbnails of raw scans: an axial slice whatever the scanner's plane, and nothing of the head's surface."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from scipy import ndimage

from hope.domain.grid import Grid
from hope.domain.volume import Volume
from hope.stages.report.thumbnail import SIDE, SKIN_MM, thumbnail

GRID = Grid((88, 100, 84), np.array([[2.0, 0, 0, -88], [0, 2.2, 0, -105], [0, 0, 2.5, -125], [0, 0, 0, 1.0]]))


def ball(centre: tuple[float, float, float], radii: tuple[float, float, float]) -> npt.NDArray[np.bool_]:
    world = GRID.to_world(np.moveaxis(np.indices(GRID.shape), 0, -1))
    return np.asarray((((world - centre) / radii) ** 2).sum(axis=-1) < 1)


@pytest.fixture(scope="module")
def head() -> Volume:
    """A head with a bright skin, a nose, bright eyes, and a mark in the left front of the brain."""
    skin = ball((0, -5, 15), (75, 92, 70)) | ball((0, 25, -55), (55, 62, 55)) | ball((0, 92, -42), (11, 16, 22))
    data = np.where(skin, 300.0 + 20 * (np.indices(GRID.shape).sum(axis=0) % 7), 0.0)
    data[skin & ~ndimage.binary_erosion(skin, iterations=2)] = 600.0
    data[ball((-32, 68, -30), (13, 13, 12)) | ball((32, 68, -30), (13, 13, 12))] = 5000.0
    data[ball((-30, 40, 30), (14, 14, 14))] = 900.0
    return Volume(data.astype(np.float32), GRID)


def pixels(content: bytes) -> npt.NDArray[np.uint8]:
    with Image.open(io.BytesIO(content)) as image:
        assert image.format == "WEBP"
        return np.asarray(image.convert("L"))


@pytest.mark.parametrize("axes", ["RAS", "LPI", "PSR", "SRA", "ILP"])
def test_it_is_an_axial_slice_above_the_eyes_whatever_the_plane(head: Volume, axes: str) -> None:
    grey = pixels(thumbnail(head.reoriented(axes)))
    assert max(grey.shape) == SIDE and grey.shape[0] > grey.shape[1]  # a head is longer than it is wide
    bright = np.argwhere(grey > 200)
    # The mark is in front (above the middle) and on the patient's left (right of the middle); the eyes are not seen.
    assert len(bright) > 50
    assert (bright[:, 0] < grey.shape[0] / 2).all() and (bright[:, 1] > grey.shape[1] / 2).all()


def test_nothing_of_the_skin_is_shown_unless_there_is_no_face(head: Volume) -> None:
    depth_mm = ndimage.distance_transform_edt(head.data > 0, sampling=GRID.spacing_mm)
    other = np.where((depth_mm > 0) & (depth_mm < SKIN_MM - 2.5), 1.4 * head.data, head.data)  # half a voxel's diagonal
    skins = [head, Volume(other.astype(np.float32), GRID)]
    assert np.count_nonzero(other != head.data) > 50_000
    # What a skin looks like makes no difference to the picture.
    assert thumbnail(skins[0]) == thumbnail(skins[1])
    assert thumbnail(skins[0], has_face=False) != thumbnail(skins[1], has_face=False)
    assert (pixels(thumbnail(head)) > 20).mean() > 0.3


def test_nothing_is_shown_where_noise_as_bright_as_the_head_hides_its_outline(head: Volume) -> None:
    noise = np.random.default_rng(0).uniform(0, 600, head.data.shape)
    noisy = Volume(np.where(head.data > 0, head.data, noise).astype(np.float32), GRID)
    assert pixels(thumbnail(noisy)).max() == 0
    # A head that the field of view cuts on two sides is shown.
    cut = Volume(head.data[20:-20], GRID.cropped((20, 0, 0), (GRID.shape[0] - 20, *GRID.shape[1:])))
    assert (pixels(thumbnail(cut)) > 20).mean() > 0.3


def test_a_scan_of_nothing_gives_a_black_picture() -> None:
    empty = Volume(np.zeros((6, 5, 4), np.float32), Grid((6, 5, 4), np.eye(4)))
    assert pixels(thumbnail(empty)).max() == 0
    one = Volume(np.ones((1, 1, 1), np.float32), Grid((1, 1, 1), np.eye(4)))
    assert pixels(thumbnail(one)).max() == 0
