"""Scans without what a person could be recognised by: for pictures, and for images that are delivered."""

from __future__ import annotations

import numpy as np

from hope.domain.case import AlignedCase, HeadState, UploadedCase
from hope.domain.volume import Volume
from hope.stages.masks import grown
from hope.stages.preprocess.deface import face_region
from hope.stages.resample import resample

BRAIN_MARGIN_MM = 3.0
"""Shown around the brain in pictures: the skull's inner side at most, so that no edge lies near the skin."""

BRAIN_ONLY = "brain and tumour only"
WHOLE_HEAD = "the whole head, its face included"
"""What the listing of a result says of its picture and report."""

LABEL_MARGIN_MM = 5.0
"""Shown around every label, so that a tumour of orbit or optic nerve stays where it is, with what surrounds it."""

NEAR_LABELS_MM = 20.0
"""Shown around the labels where a picture is made without the brain's outline: corrections, measures, comparisons."""

SHOWN_NEAR_LABELS = f"within {NEAR_LABELS_MM:g} mm of the labels only"
"""How such a picture shows a scan."""


def shown_scan(case: UploadedCase, aligned: AlignedCase, labels: Volume) -> Volume:
    """The reference scan for pictures: 0 outside of brain and labels, with a margin; as it is where it has no face.

    Args:
        case: the scans on their own grids.
        aligned: the same on the atlas grid, with the brain.
        labels: peds labels on the reference scan's grid.
    """
    scan = case.scans[case.reference]
    if case.head_state is not HeadState.FULL:
        return scan
    to_atlas = aligned.atlas_to_native[case.reference].inverse()
    brain = resample(aligned.brain_mask, scan.grid, to_atlas, "nearest")
    return scan.with_data(np.where(_kept(brain, labels), scan.data, np.zeros((), scan.data.dtype)))


def near_labels(scan: Volume, labels: Volume) -> Volume:
    """The scan within ``NEAR_LABELS_MM`` of a label, 0 elsewhere: for pictures where nothing says what is brain.

    Args:
        scan: on the grid of the labels.
        labels: peds labels.
    """
    near = grown(labels.with_data(labels.data > 0), NEAR_LABELS_MM).data
    return scan.with_data(np.where(near, scan.data, np.zeros((), scan.data.dtype)))


def without_face(image: Volume, brain: Volume, labels: Volume) -> Volume:
    """A delivered image without the face: what is in front of and below the brain is 0, but for labels.

    The plane of `face_region` leaves cheekbones and brow, so what lies before the brain's middle and below its middle
    goes as well. Brain and labels stay, with a margin.

    Args:
        image: float32, on the atlas grid.
        brain: bool, on the same grid.
        labels: peds labels on the same grid; what lies within 5 mm of one stays.

    Raises:
        StageError: if there is no brain.
    """
    face = face_region(brain)
    centre = brain.grid.to_world(np.argwhere(brain.data)).mean(axis=0)
    # World is a sum over the axes, so no array of all positions is needed.
    for_axis = [
        np.arange(n)[:, None] * step
        for n, step in zip(brain.grid.shape, brain.grid.affine_ras_mm[:3, :3].T, strict=True)
    ]
    y, z = (
        for_axis[0][:, None, None, axis]
        + for_axis[1][:, None, axis]
        + for_axis[2][:, axis]
        + brain.grid.affine_ras_mm[axis, 3]
        for axis in (1, 2)
    )
    face |= (y > centre[1]) & (z < centre[2])
    face &= ~_kept(brain, labels)
    return image.with_data(np.where(face, np.zeros((), image.data.dtype), image.data))


def _kept(brain: Volume, labels: Volume) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Brain and labels, each with its margin."""
    near_brain = grown(brain, BRAIN_MARGIN_MM).data
    near_label = grown(labels.with_data(labels.data > 0), LABEL_MARGIN_MM).data
    return np.asarray(near_brain | near_label)
