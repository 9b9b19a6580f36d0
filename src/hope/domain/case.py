"""A case on its way through the stages. The type says how far it has come.

UploadedCase -> AlignedCase -> HarmonizedCase -> Prediction -> CaseResult
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from hope.domain.expected_quality import ExpectedQuality
from hope.domain.grid import CORNER_TOLERANCE_MM, Grid
from hope.domain.intervals import IntervalRule
from hope.domain.qc import QCFlag
from hope.domain.sequence import SEQUENCES as SEQUENCES
from hope.domain.sequence import MRSequence as MRSequence
from hope.domain.transform import Transform
from hope.domain.volume import Volume


class HeadState(StrEnum):
    """What of the head an image shows, and what a model wants to see."""

    FULL = "full"
    DEFACED = "defaced"
    BRAIN = "brain"


class CleanUp(StrEnum):
    """What becomes of a prediction whose model brings no post-processing rules of its own."""

    SPECKS = "drop-specks"
    """Small components of the whole tumour go."""
    UNSURE = "drop-unsure"
    """They go, and so do larger ones where the model is nowhere sure."""


@dataclass(frozen=True)
class UploadedCase:
    """Scans as they came, freed of identity and checked one by one.

    Attributes:
        case_id: a name that carries no identity.
        scans: each sequence on its own grid, float32, finite.
        preprocessed: the scans already share one atlas-shaped grid and need no registration.
        head_state: what the scans show.
        input_sha256: hash of each sequence's voxels and grid (never of a file name).
        flags: remarks so far.
        sources: per sequence how it was identified: ``{"confidence": ..., "reason": ...}``.
        selection: every DICOM series that was looked at: what it shows, what it was taken as, and why or why not.
    """

    case_id: str
    scans: Mapping[MRSequence, Volume]
    preprocessed: bool
    head_state: HeadState
    input_sha256: Mapping[MRSequence, str]
    flags: tuple[QCFlag, ...] = ()
    sources: Mapping[MRSequence, Mapping[str, object]] = field(default_factory=dict)
    selection: tuple[Mapping[str, object], ...] = ()

    @property
    def reference(self) -> MRSequence:
        """The sequence whose native grid carries the result: t1c, else the first one given."""
        return MRSequence.T1C if MRSequence.T1C in self.scans else next(s for s in SEQUENCES if s in self.scans)


@dataclass(frozen=True)
class AlignedCase:
    """All sequences on the atlas grid, skull handled as the model wants it.

    Attributes:
        case_id: a name that carries no identity.
        images: float32 volumes, all on one grid.
        brain_mask: (i, j, k) bool on the same grid.
        head_state: what the images show now.
        native_grid: the grid of the reference scan, where the labels go back to.
        reference: the sequence that native_grid belongs to.
        atlas_to_native: per sequence, atlas world to that scan's own world (the saved transforms).
        flags: remarks so far.

    Raises:
        ValueError: if the images do not share one grid.
    """

    case_id: str
    images: Mapping[MRSequence, Volume]
    brain_mask: Volume
    head_state: HeadState
    native_grid: Grid
    reference: MRSequence
    atlas_to_native: Mapping[MRSequence, Transform]
    flags: tuple[QCFlag, ...] = ()

    @classmethod
    def in_place(cls, case_id: str, images: Mapping[MRSequence, Volume], brain_mask: Volume) -> AlignedCase:
        """A stripped case whose scans lie on the atlas grid as they are, so that nothing has to go back elsewhere.

        Args:
            case_id: a name that carries no identity.
            images: float32 volumes; the reference is t1c, or the first where there is none.
            brain_mask: (i, j, k) bool on the same grid.
        """
        reference = MRSequence.T1C if MRSequence.T1C in images else next(iter(images))
        unmoved = dict.fromkeys(images, Transform.identity())
        return cls(case_id, images, brain_mask, HeadState.BRAIN, brain_mask.grid, reference, unmoved)

    def __post_init__(self) -> None:
        for name, volume in self.images.items():
            distance = volume.grid.largest_corner_distance_mm(self.brain_mask.grid)
            if distance > CORNER_TOLERANCE_MM:
                raise ValueError(
                    f"{name} grid differs from the brain mask's by {distance:.2f} mm at a corner "
                    f"(limit {CORNER_TOLERANCE_MM}); align first"
                )

    @property
    def grid(self) -> Grid:
        """The common grid."""
        return self.brain_mask.grid


@dataclass(frozen=True)
class HarmonizedCase:
    """An aligned case whose intensities were, or were not, brought to one style.

    Attributes:
        aligned: the case before.
        images: what the model is shown; an image that was passed on is the aligned case's own object.
        method: what changed the images: "hail", "histogram", or "none" if all were passed on.
        flags: remarks of harmonisation.
        details: the style, the check's figures of each sequence and why one was passed on, as plain JSON values.
    """

    aligned: AlignedCase
    images: Mapping[MRSequence, Volume]
    method: str = "none"
    flags: tuple[QCFlag, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Prediction:
    """What the model said, on the atlas grid.

    Attributes:
        labels: uint8 volume in peds values.
        region_probability: per region or label key, float16 (i, j, k) probability on the same grid.
        model_id: the bundle's id.
        model_sha256: the bundle's hash.
        missing: sequences that the model had to do without.
        flags: remarks so far.
        agreement: of an ensemble, per region or label key the share of its members (by weight, 0 to 1) that say so at
            each voxel, float16 (i, j, k) on the same grid; empty for a single network.
        postprocess: the model's own post-processing as its bundle gives it (``hope-postprocess/1``), or None.
        intervals: the model's own thresholds for the interval beside a volume, or None.
        cleanup: the clean-up that its bundle states; None where an earlier version made the prediction.
        expected_quality: how good the answer is expected to be; None where the model's bundle has no rule for it.
    """

    labels: Volume
    region_probability: Mapping[str, npt.NDArray[np.float16]]
    model_id: str
    model_sha256: str
    missing: tuple[MRSequence, ...] = ()
    flags: tuple[QCFlag, ...] = ()
    agreement: Mapping[str, npt.NDArray[np.float16]] = field(default_factory=dict)
    postprocess: Mapping[str, Any] | None = None
    intervals: IntervalRule | None = None
    cleanup: CleanUp | None = None
    expected_quality: ExpectedQuality | None = None
