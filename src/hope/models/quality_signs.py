"""Signs in a network's probabilities that go along with a good or a poor answer (``hope.domain.expected_quality``)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

import cc3d
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hope.domain.box import box_of
from hope.domain.case import SEQUENCES, MRSequence
from hope.domain.core_apart import ENCLOSED_WITHIN_MM
from hope.domain.expected_quality import logit, sign_of_volume
from hope.domain.labels import ET, NET, REGIONS

REGION_NAMES: Final = ("WT", "TC", "ET")
SURE, POSSIBLE = 0.9, 0.1

Probability = npt.NDArray[np.floating[Any]]


def quality_signs(
    probability: Probability, spacing_mm: float, missing: Collection[MRSequence], distance: float | None
) -> dict[str, dict[str, float]]:
    """Measure the signs of every region that is marked.

    Args:
        probability: (5, i, j, k) of background and the peds labels on the model's grid, axes RAS; sums to 1.
        spacing_mm: isotropic voxel size.
        missing: sequences that the model had to do without.
        distance: how far the input lies from the training, about 1 for an ordinary one; None if that is not known.

    Returns:
        Region to sign to value; a region without a voxel is left out. Signs are ``own`` (logit of the Dice that the
        probabilities themselves promise), ``ml`` (decadic logarithm of the volume), ``sharp`` (surely marked voxels
        over possibly marked ones), ``main`` (share of the largest component), ``mirrored`` (overlap of the whole
        tumour with its mirror image), ``core`` (share of the core in the whole), ``apart`` (share of the core that
        is NET and not enclosed by enhancement), ``whole`` (the whole tumour's ``own``), ``distance``
        (logarithm), and 1 or 0 for each sequence that is missing.
    """
    labels = probability.argmax(axis=0)
    shared = {f"without {s}": float(s in missing) for s in SEQUENCES}
    shared["distance"] = float(np.log(min(max(distance, 0.1), 10.0))) if distance is not None else 0.0
    whole_mask = labels > 0
    if not whole_mask.any():
        return {}
    found: dict[str, dict[str, float]] = {}
    for region in REGION_NAMES:
        values = list(REGIONS[region])
        mask = np.isin(labels, values)
        if mask.any():
            found[region] = _shape_signs(probability[values].sum(axis=0), mask, spacing_mm) | shared
    size = float(whole_mask.sum())
    core = float(np.isin(labels, REGIONS["TC"]).sum()) / size
    mirrored = float((whole_mask & whole_mask[::-1]).sum()) / size
    apart = _share_apart(labels, spacing_mm)
    for signs in found.values():
        signs |= {"whole": found["WT"]["own"], "core": core, "mirrored": mirrored, "apart": apart}
    return found


def _share_apart(labels: npt.NDArray[np.integer[Any]], spacing_mm: float) -> float:
    """Share of the core that is NET outside what the enhancing part encloses; 0 where there is no core."""
    core = np.isin(labels, REGIONS["TC"])
    if not core.any():
        return 0.0
    box = box_of(core, 1)
    steps = max(1, round(ENCLOSED_WITHIN_MM / spacing_mm))
    enhancing = np.pad(labels[box] == ET, steps + 1)
    closed = ndimage.binary_fill_holes(ndimage.binary_closing(enhancing, iterations=steps))
    inner = (slice(steps + 1, -steps - 1),) * 3
    return float(((labels[box] == NET) & ~closed[inner]).sum()) / float(core.sum())


def _shape_signs(belief: Probability, mask: npt.NDArray[np.bool_], spacing_mm: float) -> dict[str, float]:
    promised = 2 * float(belief[mask].sum()) / (float(belief.sum()) + float(mask.sum()))
    possible = float((belief >= POSSIBLE).sum())
    parts = np.bincount(cc3d.connected_components(mask.astype(np.uint8), connectivity=26).ravel())[1:]
    ml = float(mask.sum()) * spacing_mm**3 / 1000
    return {
        "own": logit(promised),
        "ml": sign_of_volume(ml),
        "sharp": float((belief >= SURE).sum()) / max(possible, 1.0),
        "main": float(parts.max()) / float(parts.sum()),
    }
