"""Which scan is registered onto which: the session's scans onto the reference, the reference onto the atlas."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hope.domain.case import MRSequence
from hope.domain.errors import StageError
from hope.domain.grid import Grid
from hope.domain.progress import Progress
from hope.domain.qc import QCFlag, Severity
from hope.domain.transform import Transform
from hope.domain.volume import Volume
from hope.formats.atlas import atlas_brain, atlas_t1
from hope.stages.masks import grown, mask_ml
from hope.stages.preprocess.register import FixedImage, RigidFit, register_rigid
from hope.stages.preprocess.starts import centre_of_ras_mm, session_starts, tilted_starts

HEAD_MARGIN_MM = 12.0
"""Registration looks at the brain and this much around it: skull helps, jaw and neck move on their own."""

_SAME_SIZE = 0.06
_MOVED_MM = 5.0
_COVERED_SHARE = 0.95
_EVERY = 50
"""Voxels of a mask that stand for it: one in fifty."""


def to_reference(
    scans: Mapping[MRSequence, Volume], reference: MRSequence, brain: Volume | None, progress: Progress
) -> tuple[dict[MRSequence, Transform], list[QCFlag]]:
    """Register each scan to the reference scan: reference world to that scan's world.

    Args:
        scans: bias-corrected copies, each on its own grid.
        reference: the scan that stays where it is.
        brain: bool mask on the reference's grid, if there is one to believe.
        progress: called for each scan.

    Raises:
        StageError: if a scan cannot be aligned.
    """
    fixed = scans[reference]
    region = grown(brain, HEAD_MARGIN_MM) if brain else None
    found = {reference: Transform.identity()}
    flags: list[QCFlag] = []
    others = [name for name in scans if name is not reference]
    if not others:
        return found, flags
    target = FixedImage(fixed, region)
    for step, name in enumerate(others):
        progress(f"preprocess: register {name} to {reference}", step / len(others))
        try:
            fit = target.register(scans[name], session_starts(fixed, scans[name]))
        except StageError as error:
            raise StageError(f"{name} could not be aligned to {reference}: {error}") from error
        found[name] = fit.transform
        flags += _cautions(fit, name, str(reference)) + _motion(fit, name, reference, region or fixed)
    return found, flags


def to_atlas(scan: Volume, name: MRSequence, brain: Volume | None) -> tuple[Transform, list[QCFlag]]:
    """Register the reference scan to the atlas: atlas world to the scan's world.

    Args:
        scan: bias-corrected copy.
        name: which sequence it is.
        brain: bool mask on its grid; without one, the whole head is laid around the atlas brain, less surely.

    Raises:
        StageError: if the scan cannot be aligned.
    """
    try:
        fit = _brain_on_atlas(scan, brain) if brain else _head_on_atlas(scan)
    except StageError as error:
        raise StageError(f"{name} could not be aligned to the atlas: {error}") from error
    return fit.transform, _cautions(fit, name, "the atlas")


def _brain_on_atlas(scan: Volume, brain: Volume) -> RigidFit:
    """Lay the brain on the adult atlas brain; a child's is also tried at adult size.

    A small brain can tilt and slide inside a large one, so size is taken out while rotation and shift are
    sought. The scaling keeps the brain's centre where it is: what remains is rigid and lays centre on centre.
    """
    alone = scan.with_data(np.where(brain.data, scan.data, np.float32(0.0)))
    region = grown(atlas_brain(), HEAD_MARGIN_MM)
    centre = centre_of_ras_mm(brain)
    starts = tilted_starts(centre_of_ras_mm(atlas_brain()), centre, "brain centres")
    target = FixedImage(atlas_t1(), region)
    fit = target.register(alone, starts)
    scale = (mask_ml(atlas_brain()) / mask_ml(brain)) ** (1 / 3)
    if abs(scale - 1.0) <= _SAME_SIZE:
        return fit
    enlarge = np.diag([scale, scale, scale, 1.0])
    enlarge[:3, 3] = (1.0 - scale) * centre
    at_adult_size = Volume(alone.data, Grid(alone.grid.shape, enlarge @ alone.grid.affine_ras_mm))
    try:
        sized = target.register(at_adult_size, starts)
    except StageError:
        return fit  # the plain fit stands, with its own remarks
    # A brain that the field of view cuts is small as well, but gains nothing from being enlarged.
    return sized if sized.after.score > fit.after.score else fit


def _head_on_atlas(scan: Volume) -> RigidFit:
    starts = session_starts(atlas_t1(), scan)
    del starts["scanner coordinates"]  # the atlas was never in this scanner
    return register_rigid(atlas_t1(), scan, starts, atlas_brain())


def coverage(
    grids: Mapping[MRSequence, Grid], to_scan: Mapping[MRSequence, Transform], brain_volume_ml: float
) -> list[QCFlag]:
    """Flag scans whose field of view misses part of where a brain of this volume lies in the atlas."""
    atlas = atlas_brain()
    points = atlas.grid.to_world(np.argwhere(atlas.data)[::_EVERY])
    size = min(1.0, brain_volume_ml / mask_ml(atlas)) ** (1 / 3)
    centre = points.mean(axis=0)
    points = centre + size * (points - centre)
    flags = []
    for name, grid in grids.items():
        voxels = grid.to_voxel(to_scan[name].apply(points))
        share = float(((voxels >= -0.5) & (voxels <= np.array(grid.shape) - 0.5)).all(axis=1).mean())
        if share < _COVERED_SHARE:
            reason = f"the field of view of {name} covers {share:.0%} of the brain's place: nothing is known beyond it"
            flags.append(QCFlag("brain_not_covered", Severity.WARNING, reason, str(name)))
    return flags


def _cautions(fit: RigidFit, name: MRSequence, onto: str) -> list[QCFlag]:
    return [
        QCFlag("registration_uncertain", Severity.WARNING, f"{name} may not lie on {onto}: {caution}", str(name))
        for caution in fit.cautions
    ]


def _motion(fit: RigidFit, name: MRSequence, reference: MRSequence, where: Volume) -> list[QCFlag]:
    points = where.grid.to_world(np.argwhere(where.data > 0)[::_EVERY])
    moved_mm = fit.transform.largest_difference_mm(Transform.identity(), points) if len(points) else 0.0
    if moved_mm <= _MOVED_MM:
        return []
    reason = (
        f"{name} was moved by up to {moved_mm:.0f} mm and turned by {fit.rotation_deg:.1f} degrees to lie on "
        f"{reference}: the scanner's coordinates alone do not align them"
    )
    return [QCFlag("moved_between_scans", Severity.INFO, reason, str(name))]
