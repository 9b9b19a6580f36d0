"""No picture and no defaced image shows a face: measured on a head with a nose and orbits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from hope.domain.case import AlignedCase, HeadState, MRSequence, UploadedCase
from hope.domain.grid import Grid
from hope.domain.transform import Transform
from hope.domain.volume import Volume
from hope.stages.report.face_free import LABEL_MARGIN_MM, shown_scan, without_face

GRID = Grid((72, 88, 84), np.array([[2.5, 0, 0, -88], [0, 2.5, 0, -100], [0, 0, 2.5, -125], [0, 0, 0, 1.0]]))
MOVED = np.array([[0.995, -0.0998, 0, 4.0], [0.0998, 0.995, 0, -3.0], [0, 0, 1, 6.0], [0, 0, 0, 1]])


@dataclass(frozen=True)
class Head:
    """A head with a face; bool and float32 volumes on one grid, upright in RAS."""

    scan: Volume
    brain: Volume
    tumour: Volume
    face: npt.NDArray[np.bool_]


def ball(centre: tuple[float, float, float], radii: tuple[float, float, float]) -> npt.NDArray[np.bool_]:
    world = GRID.to_world(np.moveaxis(np.indices(GRID.shape), 0, -1))
    return np.asarray((((world - centre) / radii) ** 2).sum(axis=-1) < 1)


@pytest.fixture(scope="module")
def head() -> Head:
    """Brain in a skull under skin; jaw, nose and two orbits in front; a tumour of the left optic nerve."""
    brain = ball((0, -5, 15), (62, 78, 56))
    skin = ball((0, -5, 15), (75, 92, 70)) | ball((0, 25, -55), (55, 62, 55))
    nose, eyes = (
        ball((0, 92, -42), (11, 16, 22)),
        ball((-32, 68, -30), (13, 13, 12)) | ball((32, 68, -30), (13, 13, 12)),
    )
    skull = ball((0, -5, 15), (68, 84, 62)) & ~brain
    head = skin | nose
    data = np.where(head, 400.0, 0.0)
    data[eyes], data[skull], data[brain] = 900.0, 60.0, 500.0
    tumour = ball((-28, 45, -26), (9, 12, 8))  # behind the eye
    data[tumour] = 700.0
    # The face: skin that looks forward, from the brow to the chin.
    surface = head & ~ndimage.binary_erosion(head)
    outward = -np.stack(np.gradient(ndimage.gaussian_filter(head.astype(np.float32), 2.0)))
    forward = outward[1] > 0.5 * np.linalg.norm(outward, axis=0)
    height = GRID.to_world(np.moveaxis(np.indices(GRID.shape), 0, -1))[..., 2]
    face = surface & forward & (height < -15)
    labels = np.where(tumour, 2, 0).astype(np.uint8)
    scan = data.astype(np.float32)
    return Head(Volume(scan, GRID), Volume(brain, GRID), Volume(labels, GRID), face)


def edge_share(image: npt.NDArray[np.float32], face: npt.NDArray[np.bool_]) -> float:
    """The share of the face's surface that has an image edge within 3 mm."""
    gradient = ndimage.gaussian_gradient_magnitude(image.astype(np.float32), 0.7)
    edges = gradient > 40.0
    distance = ndimage.distance_transform_edt(~edges, sampling=GRID.spacing_mm) if edges.any() else np.inf
    return float((np.broadcast_to(distance, image.shape)[face] <= 3.0).mean())


def case_of(head: Head, state: HeadState) -> tuple[UploadedCase, AlignedCase]:
    """The head as a scan that lies elsewhere in its own world than on the atlas."""
    moved = Grid(GRID.shape, MOVED @ GRID.affine_ras_mm)
    t1c = MRSequence.T1C
    scan = Volume(head.scan.data, moved)
    uploaded = UploadedCase("case-1", {t1c: scan}, preprocessed=False, head_state=state, input_sha256={t1c: "0"})
    to_native = {t1c: Transform(MOVED)}
    aligned = AlignedCase("case-1", {t1c: head.scan}, head.brain, HeadState.FULL, moved, t1c, to_native)
    return uploaded, aligned


def test_the_picture_shows_brain_and_tumour_and_no_face(head: Head) -> None:
    uploaded, aligned = case_of(head, HeadState.FULL)
    labels = Volume(head.tumour.data, aligned.native_grid)

    shown = shown_scan(uploaded, aligned, labels)

    assert edge_share(head.scan.data, head.face) >= 0.8
    assert edge_share(shown.data, head.face) <= 0.05
    kept = head.brain.data | (labels.data > 0)
    assert np.array_equal(shown.data[kept], head.scan.data[kept])
    around = ndimage.distance_transform_edt(labels.data == 0, sampling=GRID.spacing_mm) <= LABEL_MARGIN_MM
    assert np.array_equal(shown.data[around], head.scan.data[around])
    assert shown.grid is uploaded.scans[MRSequence.T1C].grid


def test_a_scan_without_a_face_is_shown_as_it_is(head: Head) -> None:
    for state in (HeadState.DEFACED, HeadState.BRAIN):
        uploaded, aligned = case_of(head, state)
        labels = Volume(head.tumour.data, aligned.native_grid)
        assert shown_scan(uploaded, aligned, labels) is uploaded.scans[MRSequence.T1C]


def test_a_delivered_image_loses_the_face_and_nothing_of_brain_or_labels(head: Head) -> None:
    defaced = without_face(head.scan, head.brain, head.tumour)

    assert edge_share(defaced.data, head.face) <= 0.05
    kept = head.brain.data | (head.tumour.data > 0)
    assert np.array_equal(defaced.data[kept], head.scan.data[kept])
    # The back of the head stays, which a picture of the brain alone would not show.
    back = (
        (head.scan.data > 0)
        & ~head.brain.data
        & (GRID.to_world(np.moveaxis(np.indices(GRID.shape), 0, -1))[..., 1] < -60)
    )
    assert np.array_equal(defaced.data[back], head.scan.data[back])
