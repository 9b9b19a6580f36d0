"""Signs in a network's probabilities that go along with a good or a poor answer (``hope.domain.expected_quality``)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

import cc3d
import numpy as np
import numpy.typing as npt

from hope.domain.case import SEQUENCES, MRSequence
from hope.domain.expected_quality import logit
from hope.domain.labels import REGIONS

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
        tumour with its mirror image), ``core`` (share of the core in the whole), ``whole`` (the whole tumour's
        ``own``), ``distance`` (logarithm), and 1 or 0 for each sequence that is missing.
    """
    answer = probability.argmax(axis=0)
    shared = {f"without {s}": float(s in missing) for s in SEQUENCES}
    shared["distance"] = float(np.log(min(max(distance, 0.1), 10.0))) if distance is not None else 0.0
    whole_mask = answer > 0
    if not whole_mask.any():
        return {}
    found: dict[str, dict[str, float]] = {}
    for region in REGION_NAMES:
        values = list(REGIONS[region])
        mask = np.isin(answer, values)
        if mask.any():
            found[region] = _shape_signs(probability[values].sum(axis=0), mask, spacing_mm) | shared
    size = float(whole_mask.sum())
    core = float(np.isin(answer, REGIONS["TC"]).sum()) / size
    mirrored = float((whole_mask & whole_mask[::-1]).sum()) / size
    for signs in found.values():
        signs |= {"whole": found["WT"]["own"], "core": core, "mirrored": mirrored}
    return found


def _shape_signs(belief: Probability, mask: npt.NDArray[np.bool_], spacing_mm: float) -> dict[str, float]:
    promised = 2 * float(belief[mask].sum()) / (float(belief.sum()) + float(mask.sum()))
    possible = float((belief >= POSSIBLE).sum())
    parts = np.bincount(cc3d.connected_components(mask.astype(np.uint8), connectivity=26).ravel())[1:]
    ml = float(mask.sum()) * spacing_mm**3 / 1000
    return {
        "own": logit(promised),
        "ml": float(np.log10(0.1 + ml)),
        "sharp": float((belief >= SURE).sum()) / max(possible, 1.0),
        "main": float(parts.max()) / float(parts.sum()),
    }
