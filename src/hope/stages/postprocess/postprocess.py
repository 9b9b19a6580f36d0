"""Post-processing of label volumes: small components go, labels with a small share are renamed. Nothing is silent.

Every function that changes a result returns the volumes before and after, because adaptive rules can remove a whole
class and a clinician must see that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import cc3d
import numpy as np
import numpy.typing as npt

from hope.domain.box import EVERYTHING, Box, bounding_box
from hope.domain.case import MRSequence
from hope.domain.labels import CC, ED, ET, NET, PEDS, REGIONS
from hope.domain.volume import Volume
from hope.stages.postprocess.enclosed import LEAST_ML, LEAST_WALL, enclosed_fluid
from hope.stages.postprocess.postprocess_rules import PostprocessRules
from hope.stages.postprocess.symmetric import PAIRED_MEAN, symmetric_components

LabelArray = npt.NDArray[np.uint8]

SMALL_WT_ML = 2.0
SURE_PROBABILITY = 0.98
DEFAULT_MINIMUM_WT_ML = 0.1
"""Whole-tumour specks smaller than this are dropped by default: 100 voxels of 1 mm, a ball of 5.8 mm across.

Twice the 50 voxels below which the challenge metrics ignore a lesion, and far below anything that can be measured in
two diameters; a larger spot is left for the reader to judge.
"""

MINIMUM_PART_ML = 0.1
"""Components of the core below this are called ED, and such components of its enhancing part NET. Of such core
components one in five was core, of such enhancing ones one in five was enhancing (docs/benchmarks.md, Clean-up)."""

MIRRORED, ENCLOSED = "mirrored_removed", "enclosed_fluid"
"""Codes of the remarks on what the clean-up changed."""

VOLUME_KEYS: tuple[str, ...] = (*(label.key for label in PEDS.labels), "TC", "WT")
"""Labels first, then the regions that combine them."""

CONNECTIVITY: Final = 26
"""Voxels that share a face, an edge or a corner belong together."""


@dataclass(frozen=True)
class PostprocessOutcome:
    """A post-processed mask, and what the post-processing did to it.

    Attributes:
        labels: uint8 peds labels on the grid of the input.
        method: name of the rules that were applied.
        before_voxels: voxel count per key of ``VOLUME_KEYS`` in the input.
        after_voxels: the same in the output.
        removed_voxels: of adaptive rules, per label key the voxels that became background; None for other methods.
        renamed_voxels: likewise the voxels that became another label.
        details: of adaptive rules, plain JSON values on the cluster: ``cluster`` (None where none was used),
            ``chosen_by``, and ``reason`` where the rules could not be applied.
        warning: a sentence for the reader where the rules that were asked for could not be applied; else empty.
        notes: code of a remark -> a sentence on what was changed for a reason that may be wrong.
    """

    labels: Volume
    method: str
    before_voxels: Mapping[str, int]
    after_voxels: Mapping[str, int]
    removed_voxels: Mapping[str, int] | None = None
    renamed_voxels: Mapping[str, int] | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    warning: str = ""
    notes: Mapping[str, str] = field(default_factory=dict)

    @property
    def before_ml(self) -> dict[str, float]:
        """Volumes in millilitres before, per key."""
        return {key: count * self.labels.grid.voxel_volume_ml for key, count in self.before_voxels.items()}

    @property
    def after_ml(self) -> dict[str, float]:
        """Volume per key in millilitres after."""
        return {key: count * self.labels.grid.voxel_volume_ml for key, count in self.after_voxels.items()}

    @property
    def changed(self) -> bool:
        """Whether anything was removed or renamed."""
        if self.removed_voxels is not None and self.renamed_voxels is not None:
            return bool(self.removed_voxels or self.renamed_voxels)
        return dict(self.before_voxels) != dict(self.after_voxels)

    def to_json(self) -> dict[str, object]:
        """Plain JSON values for result.json; what concerns adaptive rules only where they were wanted."""
        facts: dict[str, object] = {
            "rules": self.method,
            "changed": self.changed,
            "before_ml": self._rounded_ml(self.before_voxels),
            "after_ml": self._rounded_ml(self.after_voxels),
        }
        if self.removed_voxels is not None and self.renamed_voxels is not None:
            facts["removed_ml"] = self._rounded_ml(self.removed_voxels)
            facts["renamed_ml"] = self._rounded_ml(self.renamed_voxels)
        return {**facts, **self.details}

    def _rounded_ml(self, voxels: Mapping[str, int]) -> dict[str, float]:
        return {key: round(count * self.labels.grid.voxel_volume_ml, 4) for key, count in voxels.items()}


def count_voxels(labels: LabelArray) -> dict[str, int]:
    """Voxels per key of ``VOLUME_KEYS`` in a peds mask of any shape."""
    counts = {label.value: int(np.count_nonzero(labels == label.value)) for label in PEDS.labels}
    single = {label.key: counts[label.value] for label in PEDS.labels}
    return single | {key: sum(counts[value] for value in REGIONS[key]) for key in ("TC", "WT")}


def remove_small_components(labels: LabelArray, minimum_voxels: Mapping[int, int]) -> LabelArray:
    """Turn every component that is smaller than its label's minimum into background.

    A component is a set of voxels of one label joined through faces, edges or corners; one labelling pass finds those
    of all labels. A component of exactly the minimum stays.

    Args:
        labels: (i, j, k) uint8 mask.
        minimum_voxels: label value to the least size that stays; absent means 0.

    Returns:
        A new (i, j, k) uint8 mask.
    """
    cleaned = labels.copy()
    box = bounding_box(labels > 0)
    if box is None or not any(minimum_voxels.values()):
        return cleaned
    inside = labels[box]
    components = cc3d.connected_components(inside, connectivity=CONNECTIVITY)
    foreground = inside > 0
    ids, values = components[foreground], inside[foreground]
    size = np.bincount(ids)
    label_of = np.zeros(size.size, dtype=np.uint8)
    label_of[ids] = values
    minimum = np.zeros(256, dtype=np.int64)
    for value, least in minimum_voxels.items():
        minimum[value] = least
    keep = size >= minimum[label_of]
    cleaned[box] = np.where(keep[components], inside, np.uint8(0))
    return cleaned


def redefine(labels: LabelArray, below_share: Mapping[int, float], to: int, order: Sequence[int]) -> LabelArray:
    """Rename each label whose share of the whole tumour is below its threshold.

    The share is counted in double precision as voxels of the label over all tumour voxels, at its turn in the order
    and so after earlier renamings; of an empty whole tumour it is 1. A share equal to the threshold stays.

    Args:
        labels: (i, j, k) uint8 mask.
        below_share: label value to threshold, 0 to 1; absent means 0, which never fires.
        to: the value that renamed labels take.
        order: the label values in the order in which they are looked at.

    Returns:
        A new (i, j, k) uint8 mask.
    """
    counts = np.bincount(labels.ravel(order="K"), minlength=256)
    whole = int(counts[1:].sum())
    table = np.arange(256, dtype=np.uint8)
    for value in order:
        share = int(counts[value]) / whole if whole else 1.0
        if value != to and share < below_share.get(value, 0.0):
            counts[to] += counts[value]
            counts[value] = 0
            table[table == value] = to
    return table[labels]


def apply_rules(labels: Volume, rules: PostprocessRules, cluster: int) -> PostprocessOutcome:
    """Adaptive post-processing: first the components, then the renaming.

    Args:
        labels: uint8 peds labels; the published sizes count voxels of the 1 mm atlas grid.
        rules: the rules.
        cluster: which cluster of the rules the case belongs to.

    Raises:
        InputError: if the rules have no such cluster.
    """
    chosen = rules.for_cluster(cluster)
    kept = remove_small_components(labels.data, chosen.minimum_voxels)
    renamed = redefine(kept, chosen.redefine_below_share, rules.redefine_to, rules.order)
    outcome = _outcome(labels, renamed, f"{rules.name} cluster {cluster}")
    before, kept_voxels = outcome.before_voxels, count_voxels(kept)
    removed = {label.key: before[label.key] - kept_voxels[label.key] for label in PEDS.labels}
    lost = {label.key: kept_voxels[label.key] - outcome.after_voxels[label.key] for label in PEDS.labels}
    # The label that the others take only grows in the second step.
    return replace(
        outcome,
        removed_voxels={key: count for key, count in removed.items() if count},
        renamed_voxels={key: count for key, count in lost.items() if count > 0},
    )


def default_cleanup(labels: Volume, minimum_wt_ml: float = DEFAULT_MINIMUM_WT_ML) -> PostprocessOutcome:
    """Drop specks: 26-connected components of the whole tumour that are smaller than ``minimum_wt_ml``.

    Args:
        labels: uint8 peds labels on any grid.
        minimum_wt_ml: least volume in millilitres that stays.
    """
    least = _voxels(minimum_wt_ml, labels)
    whole = remove_small_components((labels.data > 0).astype(np.uint8), {1: least})
    return _outcome(labels, labels.data * whole, f"whole-tumour components below {minimum_wt_ml:g} ml removed")


def rename_small_parts(labels: Volume, minimum_ml: float = MINIMUM_PART_ML) -> LabelArray:
    """Call components of the core (ET, NET, CC) below ``minimum_ml`` ED, then such components of ET NET.

    A model that is unsure where a part ends draws small pieces of it; the whole tumour stays as it is. In a component
    of the whole tumour below ``SMALL_WT_ML`` nothing is renamed: the parts of a small lesion are small.

    Args:
        labels: uint8 peds labels on any grid.
        minimum_ml: least volume in millilitres that keeps its name.

    Returns:
        A new (i, j, k) uint8 mask.
    """
    renamed, least = labels.data.copy(), _voxels(minimum_ml, labels)
    tumour = renamed[bounding_box(renamed) or EVERYTHING]  # a view
    whole = (tumour > 0).astype(np.uint8)
    large_tumour = remove_small_components(whole, {1: _voxels(SMALL_WT_ML, labels)}) > 0
    for values, name in ((REGIONS["TC"], ED), ((ET,), NET)):
        part = np.isin(tumour, values)
        large = remove_small_components(part.astype(np.uint8), {1: least})
        tumour[part & large_tumour & (large == 0)] = name
    return np.asarray(renamed)


def _in_place(part: npt.NDArray[Any], box: Box, like: Volume) -> npt.NDArray[Any]:
    """The values of a box where it lies in a volume of zeros."""
    whole = np.zeros(like.data.shape, dtype=part.dtype)
    whole[box] = part
    return whole


def _voxels(ml: float, labels: Volume) -> int:
    # The tiny allowance keeps a component of exactly the minimum in spite of rounding in ml / (ml per voxel).
    return int(np.ceil(ml / labels.grid.voxel_volume_ml - 1e-6))


def drop_unsure(
    labels: Volume,
    wt_probability: npt.NDArray[np.floating],
    brain: Volume | None = None,
    images: Mapping[MRSequence, Volume] | None = None,
) -> PostprocessOutcome:
    """The clean-up of single networks: ``default_cleanup``, and small components where the model is nowhere sure.

    A component of the whole tumour below ``SMALL_WT_ML`` stays only if some voxel in it reaches a whole-tumour
    probability of ``SURE_PROBABILITY``: a small lesion that is clearly seen is kept, a smudge is not. Both constants
    were chosen on the validation split of the pool (docs/model-cards/starter.md). Faint components that mirror each
    other go as well (``symmetric_components``). What stays goes through ``rename_small_parts``, and fluid that its core
    encloses becomes CC (``enclosed_fluid``).

    Args:
        labels: uint8 peds labels on any grid.
        wt_probability: (i, j, k) probability of the whole tumour on the same grid.
        brain: what is brain, on the same grid; without it nothing is compared with its mirror image.
        images: scans on the same grid; without them and the brain no fluid is looked for.

    Raises:
        ValueError: if the shapes differ.
    """
    if wt_probability.shape != labels.data.shape:
        raise ValueError(
            f"probability of shape {wt_probability.shape} does not fit labels of shape {labels.data.shape}"
        )
    kept = default_cleanup(labels).labels
    box = bounding_box(kept.data) or EVERYTHING
    small, belief = kept.data[box], wt_probability[box]
    parts = cc3d.connected_components((small > 0).astype(np.uint8), connectivity=CONNECTIVITY)
    size_ml = np.bincount(parts.ravel()) * labels.grid.voxel_volume_ml
    peak = np.zeros(len(size_ml))
    inside = parts > 0
    np.maximum.at(peak, parts[inside], belief[inside].astype(np.float64))
    stays = (size_ml >= SMALL_WT_ML) | (peak >= SURE_PROBABILITY)
    stays[0] = False
    notes = {}
    if brain is not None:
        pairs = stays & symmetric_components(_in_place(parts, box, kept), wt_probability, brain)
        stays &= ~pairs
        if pairs.any():
            notes[MIRRORED] = (
                f"{int(pairs.sum())} faint components of {size_ml[pairs].sum():.1f} ml together were removed, because "
                "they mirror each other, as normal brain on both sides does; without post-processing they stay"
            )
    method = (
        f"whole-tumour components removed below {DEFAULT_MINIMUM_WT_ML:g} ml, and below {SMALL_WT_ML:g} ml where the "
        f"model is nowhere surer than {SURE_PROBABILITY:g}"
        + (f"; mirrored pairs whose mean probability is below {PAIRED_MEAN:g} removed" if brain is not None else "")
        + f"; core components below {MINIMUM_PART_ML:g} ml in larger tumours called ED, and then enhancing ones NET"
    )
    sure = _in_place(np.asarray(small * stays[parts], dtype=np.uint8), box, kept)
    named = rename_small_parts(kept.with_data(sure))
    cysts = enclosed_fluid(images, brain, kept.with_data(named)) if brain is not None and images else None
    if cysts is not None:
        ml = float(cysts.sum()) * labels.grid.voxel_volume_ml
        named[cysts] = CC
        method += f"; fluid of at least {LEAST_ML:g} ml of whose surface the core covers {LEAST_WALL:.0%} called CC"
        notes[ENCLOSED] = (
            f"fluid of {ml:.1f} ml that the core encloses was called cyst (CC), which the model had left unmarked; "
            "without post-processing it stays unmarked"
        )
    return replace(_outcome(labels, named, method), notes=notes)


def _outcome(before: Volume, after: LabelArray, method: str) -> PostprocessOutcome:
    return PostprocessOutcome(before.with_data(after), method, count_voxels(before.data), count_voxels(after))
