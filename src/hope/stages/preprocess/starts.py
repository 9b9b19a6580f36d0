"""Where registration begins: headers, centres of heads, tilts of the head."""

from __future__ import annotations

import numpy as np

from hope.domain.grid import FloatArray
from hope.domain.transform import Transform
from hope.domain.volume import Volume
from hope.stages.preprocess.bias import head_threshold

_TILT_DEG = 18.0


def session_starts(fixed: Volume, moving: Volume) -> dict[str, Transform]:
    """Starts for two scans of one session: as the headers say, then head on head, then middle on middle."""
    fixed_head, moving_head = head_centre_ras_mm(fixed), head_centre_ras_mm(moving)
    starts = {"scanner coordinates": Transform.identity()}
    starts |= tilted_starts(fixed_head, moving_head, "head centres")
    starts["image centres"] = turned_about(fixed.grid.centre_ras_mm(), moving.grid.centre_ras_mm(), (0.0, 0.0, 0.0))
    return starts


def tilted_starts(fixed_centre: FloatArray, moving_centre: FloatArray, name: str) -> dict[str, Transform]:
    """One centre on the other, upright and tilted by 18 degrees either way about each axis (7 starts)."""
    starts = {name: turned_about(fixed_centre, moving_centre, (0.0, 0.0, 0.0))}
    for axis, word in enumerate(("nodding", "rolling", "turning")):
        for sign in (-1.0, 1.0):
            angles = [0.0, 0.0, 0.0]
            angles[axis] = sign * _TILT_DEG
            turn = (angles[0], angles[1], angles[2])
            starts[f"{name}, {word} {sign * _TILT_DEG:+.0f} degrees"] = turned_about(fixed_centre, moving_centre, turn)
    return starts


def turned_about(
    fixed_centre: FloatArray, moving_centre: FloatArray, angles_deg: tuple[float, float, float]
) -> Transform:
    """The rigid map that takes one centre to the other and turns about it (x, then y, then z axis)."""
    rotation = np.eye(3)
    for axis, angle in enumerate(np.radians(angles_deg)):
        a, b = (axis + 1) % 3, (axis + 2) % 3
        step = np.eye(3)
        step[a, a] = step[b, b] = np.cos(angle)
        step[b, a], step[a, b] = np.sin(angle), -np.sin(angle)
        rotation = step @ rotation
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    matrix[:3, 3] = np.asarray(moving_centre) - rotation @ np.asarray(fixed_centre)
    return Transform(matrix)


def head_centre_ras_mm(scan: Volume) -> FloatArray:
    """(3,) middle of what is brighter than air, world RAS+ mm."""
    return centre_of_ras_mm(scan.with_data(scan.data > head_threshold(scan.data)))


def centre_of_ras_mm(mask: Volume) -> FloatArray:
    """(3,) centre of mass of a mask, world RAS+ mm; the grid's middle if the mask is empty."""
    inside = mask.data.astype(bool, copy=False)
    count = np.count_nonzero(inside)
    if not count:
        return mask.grid.centre_ras_mm()
    layers = [np.count_nonzero(inside, axis=axes) for axes in ((1, 2), (0, 2), (0, 1))]
    return mask.grid.to_world([float(np.arange(len(n)) @ n) / count for n in layers])
