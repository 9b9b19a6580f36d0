"""The published ensemble, vector by vector: its mean probabilities and labels on made-up members.

The vectors lie beside the repository (../shared/golden) and never in it. Three architectures of two folds each; the
files of the third hold its crop alone, in half precision, and it says 0 for every class outside.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from hope.models.ensemble.combine import Combined, Place, ProbabilityAccumulator
from hope.models.ensemble.spec import Outside

GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "golden" / "ensemble"
VECTORS = sorted(GOLDEN.glob("*.npz"))
EXPECTED_VECTORS = 4
FOLDS = (0, 1)
CLASSES = (0, 1, 2, 3, 4)
LARGEST_DIFFERENCE = 2e-6
SMALLEST_MARGIN = 1e-5
XYZ, ZYX = (0, 1, 2), (2, 1, 0)

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not VECTORS, reason="the golden vectors (../shared/golden/ensemble) are not on this machine"),
]


class Watched(ProbabilityAccumulator):
    """Keeps the mean probabilities, which the engine only tells in half precision."""

    def finish(self, weight: float) -> Combined:
        self.mean = (self._probability / weight).numpy()
        return super().finish(weight)


def whole(probability: npt.NDArray[np.float32]) -> tuple[slice, slice, slice]:
    i, j, k = (slice(0, n) for n in probability.shape[1:])
    return i, j, k


def test_the_vectors_are_complete() -> None:
    assert len(VECTORS) == EXPECTED_VECTORS


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_published_ensemble_is_reproduced(path: Path) -> None:
    with np.load(path) as vector:
        arrays = dict(vector)
    expected, labels = arrays["expected_prob"], arrays["expected"]
    accumulator = Watched(labels.shape, torch.device("cpu"))
    for name, weight in zip(("swinunetr", "nnunet", "mednext"), arrays["weights"].tolist(), strict=True):
        for fold in FOLDS:
            probability = arrays[f"{name}_f{fold}"].astype(np.float32)
            box, outside = whole(probability), Outside.BACKGROUND
            if name == "mednext":
                i, j, k = (slice(low, high) for low, high in arrays[f"mednext_bbox_f{fold}"].tolist())
                box, outside = (i, j, k), Outside.ZERO
                assert tuple(arrays[f"mednext_origsize_f{fold}"]) == labels.shape[::-1]
            place = Place(XYZ if name == "swinunetr" else ZYX, box, CLASSES)
            accumulator.add(torch.from_numpy(probability), place, weight / len(FOLDS), outside)
            accumulator.vote(torch.from_numpy(probability), place, weight / len(FOLDS))
    combined = accumulator.finish(float(arrays["weights"].sum()))

    assert np.abs(accumulator.mean - expected).max() < LARGEST_DIFFERENCE
    sharp = np.diff(np.sort(expected, axis=0)[-2:], axis=0)[0] > SMALLEST_MARGIN
    assert sharp.mean() > 0.999
    assert combined.labels.dtype == np.uint8
    assert np.array_equal(combined.labels[sharp], labels[sharp])
    assert np.allclose(combined.probability["WT"], expected[1:].sum(axis=0), atol=1e-3)
    assert all(share.min() >= 0 and share.max() <= 1 for share in combined.agreement.values())
