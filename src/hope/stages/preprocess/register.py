"""Rigid registration of two scans of a head: several starts, one search, one engine (greedy), guarded results."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from picsl_greedy import Greedy3D

from hope.domain.errors import StageError
from hope.domain.transform import Transform
from hope.domain.volume import Volume
from hope.formats.itk import to_itk
from hope.stages.masks import box_around, cropped
from hope.stages.preprocess.align_check import Agreement, Probe, ProbePoints, clipped, coarsened
from hope.stages.preprocess.bias import head_threshold
from hope.stages.preprocess.coarse_search import CoarseSearch

_WORK_SPACING_MM = 1.5
_CROP_MARGIN_MM = 6.0
_ITERATIONS = "30x10"
_SEED = 20240
_TRIED_STARTS = 4
_SAME_PLACE_MM = 3.0
_FIRST_START_BONUS = 1.02
"""The first start (scanner coordinates) wins ties: one session, one frame, unless the images say otherwise."""

_LARGEST_ROTATION_DEG = 45.0
_LARGEST_SHIFT_MM = 80.0
"""How far the optimiser may go from its start before the result counts as a runaway."""

_NOT_WORSE = 0.95
"""The probe is coarser than the optimiser: of two fine alignments it cannot tell which is the better one."""

_LOW_NMI = 1.03
_LOW_OVERLAP = 0.6

_stdout_lock = threading.Lock()


@dataclass(frozen=True)
class RigidFit:
    """A rigid alignment and what speaks for it.

    Attributes:
        transform: fixed world to moving world, a proper rotation and a shift.
        start: name of the start that it grew from.
        before: agreement at the first start (scanner coordinates, where there are such).
        after: agreement of the result.
        cautions: what speaks against the result, one clause each; empty if nothing does.
    """

    transform: Transform
    start: str
    before: Agreement
    after: Agreement
    cautions: tuple[str, ...] = ()

    @property
    def rotation_deg(self) -> float:
        """Angle of the rotation."""
        return rotation_deg(self.transform)


def register_rigid(
    fixed: Volume,
    moving: Volume,
    starts: Mapping[str, Transform],
    mask: Volume | None = None,
) -> RigidFit:
    """Find the rigid transform under which ``moving`` matches ``fixed`` (normalised mutual information).

    Args:
        fixed: float32 scan, any orientation; its world is the transform's fixed side.
        moving: float32 scan, any orientation and contrast.
        starts: where to begin, most trusted first; fixed world to moving world.
        mask: on fixed's grid: where the match counts. Without it the whole head counts.

    Raises:
        StageError: if no start leads to a believable alignment.
    """
    return FixedImage(fixed, mask).register(moving, starts)


class FixedImage:
    """A scan that others are registered to; what registration needs of it is made once.

    Args:
        fixed: float32 scan, any orientation; its world is the transforms' fixed side.
        mask: on fixed's grid: where the match counts. Without it the whole head counts.
    """

    def __init__(self, fixed: Volume, mask: Volume | None = None) -> None:
        self._points = ProbePoints.of(fixed, mask)
        self._engine = _Engine(fixed, mask)

    def register(self, moving: Volume, starts: Mapping[str, Transform]) -> RigidFit:
        """Find the rigid transform under which ``moving`` matches, as `register_rigid` does."""
        probe = self._points.against(moving)
        chosen = _promising(probe, starts)
        search = CoarseSearch(probe)
        coarse = {name: as_rigid(search.nearest(start).fixed_to_moving_ras_mm) for name, start in chosen.items()}
        sound = {name: t for name, t in coarse.items() if not _ran_away(chosen[name], t, probe)}
        if not sound:
            raise StageError("the optimiser ran away from every start")
        first = next(iter(starts))
        scores = {n: probe.agreement(t).score * (_FIRST_START_BONUS if n == first else 1.0) for n, t in sound.items()}
        best = max(scores, key=lambda name: scores[name])
        result = self._engine.refined(moving, sound[best])
        fit = RigidFit(result, best, probe.agreement(starts[first]), probe.agreement(result))
        if _ran_away(chosen[best], result, probe) or fit.after.score < _NOT_WORSE * probe.agreement(sound[best]).score:
            fit = replace(fit, transform=sound[best], after=probe.agreement(sound[best]))
        cautions = _cautions(fit, sound, scores, probe)
        if fit.after.score < _NOT_WORSE * fit.before.score:
            fit = replace(fit, transform=starts[first], start=first, after=fit.before)
        return replace(fit, cautions=cautions)


def rotation_deg(transform: Transform) -> float:
    """Angle of a rigid transform's rotation, degrees."""
    trace = float(np.trace(transform.fixed_to_moving_ras_mm[:3, :3]))
    return float(np.degrees(np.arccos(np.clip((trace - 1.0) / 2.0, -1.0, 1.0))))


def as_rigid(matrix: npt.ArrayLike) -> Transform:
    """A transform that is a proper rotation to the last digit.

    Raises:
        StageError: if the matrix is not a rotation and a shift to begin with (mirrored, scaled, not finite).
    """
    rigid = np.array(matrix, dtype=np.float64)
    if rigid.shape != (4, 4) or not np.isfinite(rigid).all():
        raise StageError("the optimiser returned no transform")
    u, _, v = np.linalg.svd(rigid[:3, :3])
    nearest = u @ v
    if np.linalg.det(nearest) < 0 or np.abs(nearest - rigid[:3, :3]).max() > 1e-3:
        raise StageError("the optimiser returned a transform that is not a rotation")
    rigid[:3, :3] = nearest
    return Transform(rigid)


class _Engine:
    """Greedy on isotropic, clipped copies: its pyramid halves voxels, which thick slices would not survive."""

    def __init__(self, fixed: Volume, mask: Volume | None) -> None:
        # The metric counts inside the mask alone, so voxels far from it would only cost time.
        counted = mask or fixed.with_data(fixed.data > head_threshold(fixed.data))
        box = box_around(counted, _CROP_MARGIN_MM)
        self._mask = to_itk(_prepared(cropped(counted, box))) > 0.5 if mask else None
        self._fixed = to_itk(_prepared(cropped(fixed, box)))

    def refined(self, moving: Volume, start: Transform) -> Transform:
        """Improve ``start``, which is a few millimetres off at most, at about 3 mm and then at about 1.5 mm."""
        # One thread and a seed: the same input gives the same transform, to the bit.
        command = f"-d 3 -a -dof 6 -m NMI -i fixed moving -ia-identity -n {_ITERATIONS} -o found -threads 1 -V 0"
        images = {"fixed": self._fixed, "moving": to_itk(_prepared(moving), world=start), "found": None}
        if self._mask is not None:
            command += " -gm mask"
            images["mask"] = self._mask
        greedy = Greedy3D()
        try:
            with _quiet_stdout():
                greedy.execute(f"{command} -seed {_SEED}", out=io.StringIO(), err=io.StringIO(), **images)
        except RuntimeError as error:
            raise StageError("the registration engine failed on these scans") from error
        return as_rigid(as_rigid(greedy["found"]).then(start).fixed_to_moving_ras_mm)


def _prepared(scan: Volume) -> Volume:
    smooth = coarsened(scan, max(_WORK_SPACING_MM, min(scan.grid.spacing_mm)))
    return smooth.with_data(clipped(smooth.data))


def _promising(probe: Probe, starts: Mapping[str, Transform]) -> dict[str, Transform]:
    """The first start and the best others, none of them at the place of another."""
    first, *others = starts
    others.sort(key=lambda name: probe.agreement(starts[name]).score, reverse=True)
    kept = {first: starts[first]}
    for name in others:
        apart = min(t.largest_difference_mm(starts[name], probe.points_ras_mm) for t in kept.values())
        if len(kept) < _TRIED_STARTS and apart > _SAME_PLACE_MM:
            kept[name] = starts[name]
    return kept


def _ran_away(start: Transform, result: Transform, probe: Probe) -> bool:
    middle = probe.points_ras_mm.mean(axis=0)
    step = start.inverse().then(result)
    return rotation_deg(step) > _LARGEST_ROTATION_DEG or (
        start.largest_difference_mm(result, middle) > _LARGEST_SHIFT_MM
    )


def _cautions(
    fit: RigidFit, found: Mapping[str, Transform], scores: Mapping[str, float], probe: Probe
) -> tuple[str, ...]:
    cautions = []
    if fit.after.score < _NOT_WORSE * fit.before.score:
        scores_text = f"agreement {fit.before.score:.3f}, then {fit.after.score:.3f}"
        cautions.append(f"no alignment was found that beats the start ({scores_text})")
    if fit.after.nmi < _LOW_NMI:
        cautions.append(f"the images share little (mutual information {fit.after.nmi:.3f}, usual above {_LOW_NMI})")
    if fit.after.overlap < _LOW_OVERLAP:
        cautions.append(f"only {fit.after.overlap:.0%} of the head lies in both fields of view")
    for name, other in found.items():
        apart_mm = other.largest_difference_mm(found[fit.start], probe.points_ras_mm)
        if name != fit.start and apart_mm > 4 * _SAME_PLACE_MM and scores[name] > 0.97 * scores[fit.start]:
            cautions.append(f"two alignments {apart_mm:.0f} mm apart explain the images almost equally well")
    return tuple(cautions)


@contextmanager
def _quiet_stdout() -> Iterator[None]:
    # The optimiser inside greedy writes to the C stream whatever verbosity says. Batch runs print paths there.
    with _stdout_lock:
        try:
            saved = os.dup(1)
        except OSError:  # no standard output at all, as in a service
            yield
            return
        try:
            with open(os.devnull, "w") as sink:  # noqa: PTH123
                os.dup2(sink.fileno(), 1)
                yield
        finally:
            os.dup2(saved, 1)
            os.close(saved)
