"""Whether a brain that is said to lie on the atlas lies there, or elsewhere, tilted, or listed along other axes."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np

from hope.domain.grid import FloatArray
from hope.domain.qc import QCFlag, Severity
from hope.domain.transform import Transform
from hope.domain.volume import Volume
from hope.formats.atlas import atlas_brain, atlas_t1
from hope.stages.preprocess.align_check import ProbePoints

LEAST_SHARED = 0.80
"""A brain shares at least this part of the smaller one with the atlas brain (34 adults: 0.88 and more; of the same with
an identity matrix as their header: 0.81 and less)."""

USUAL_SHARED = 0.92
"""From here on a brain lies on the atlas; between the two it is asked whether it fits better once turned."""

LEAST_GAIN = 1.15
"""A brain that fits the atlas so many times better once turned or mirrored does not lie on it (4 adults whose release
tilted them: 1.2 to 1.7 times, 0.82 to 0.90 shared; no other)."""


def place_flags(image: Volume, brain: Volume, sequence: str) -> list[QCFlag]:
    """A warning where a brain does not lie on the atlas brain, for scans that nobody registered to it.

    Files that were written with an identity matrix look like this, and scans of the grid's shape that were never
    registered: a model takes them as they come and marks something.

    Args:
        image: on the atlas grid.
        brain: its brain mask there.
        sequence: for the flag, such as ``t1c``.
    """
    atlas, mask = atlas_brain().data.astype(bool), brain.data.astype(bool)
    shared = np.count_nonzero(atlas & mask) / max(1, min(np.count_nonzero(atlas), np.count_nonzero(mask)))
    if shared >= USUAL_SHARED:
        return []
    gain = gain_by_turning(image.with_data(np.where(mask, image.data, np.float32(0.0))))
    if shared >= LEAST_SHARED and gain < LEAST_GAIN:
        return []
    better = f"; turned or mirrored it fits {min(gain, 99.0):.1f} times better" if gain >= LEAST_GAIN else ""
    reason = (
        f"the scans were taken as lying in atlas space, but the brain of {sequence} shares only {shared:.0%} of its "
        f"place with the atlas brain{better}: look whether headers name the right axes and the scans were registered"
    )
    return [QCFlag("not_on_atlas", Severity.WARNING, reason, sequence)]


def gain_by_turning(brain: Volume) -> float:
    """How many times better a brain fits the atlas once its axes are listed in another way; left and right are alike.

    Args:
        brain: on the atlas grid, 0 elsewhere.
    """
    probe = ProbePoints.of(atlas_t1(), atlas_brain()).against(brain)
    stated, turned = 0.0, 0.0
    for axes in _relistings():
        score = probe.agreement(_about_the_centre(axes, brain)).score
        if np.array_equal(np.abs(axes), np.eye(3)) and axes[1, 1] > 0 and axes[2, 2] > 0:
            stated = max(stated, score)
        else:
            turned = max(turned, score)
    return turned / max(stated, 1e-9)


def _relistings() -> list[FloatArray]:
    """The 48 ways to list the axes of a volume, as matrices."""
    return [
        np.eye(3)[list(order)] * np.array(signs, dtype=float)
        for order in permutations(range(3))
        for signs in product((1, -1), repeat=3)
    ]


def _about_the_centre(axes: FloatArray, image: Volume) -> Transform:
    centre = image.grid.centre_ras_mm()
    matrix = np.eye(4)
    matrix[:3, :3] = axes
    matrix[:3, 3] = centre - axes @ centre
    return Transform(matrix)
