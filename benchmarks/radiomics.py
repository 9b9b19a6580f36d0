"""How long the radiomics of one case take, by the size of the tumour.

python benchmarks/radiomics.py [REPEATS]      (default 3; a made-up case on the atlas grid, tumours of 1, 30 and 150 ml)
"""

from __future__ import annotations

import sys
import time
from statistics import median

import numpy as np
from machine import machine

from hope.domain.case import SEQUENCES, MRSequence
from hope.domain.grid import ATLAS_GRID
from hope.domain.volume import Volume
from hope.stages.postprocess.radiomics import tumour_features

TUMOURS_ML = (1.0, 30.0, 150.0)
SETTINGS = {"as published": (25.0, True), "about 40 grey levels": (25.0, False)}


def made_up_case(tumour_ml: float) -> tuple[dict[MRSequence, Volume], Volume]:
    """Four noisy brains with zero background, and a lumpy tumour of about the wanted volume."""
    random = np.random.default_rng(4)
    i, j, k = np.indices(ATLAS_GRID.shape, sparse=True)
    brain = ((i - 120) / 70) ** 2 + ((j - 120) / 85) ** 2 + ((k - 78) / 65) ** 2 <= 1
    radius = (1000 * tumour_ml * 3 / (4 * np.pi)) ** (1 / 3)
    blobs = 1 + 0.15 * np.sin(i / 4) * np.sin(j / 5) * np.sin(k / 3)
    labels = np.sqrt((i - 135) ** 2 + (j - 105) ** 2 + (k - 80) ** 2) * blobs <= radius
    images = {}
    for sequence in SEQUENCES:
        picture = 400 + 150 * labels + 60 * random.standard_normal(ATLAS_GRID.shape, dtype=np.float32)
        picture += 200 * np.sin(i / 9) * np.cos(j / 11)
        images[sequence] = Volume(np.where(brain, picture, 0).astype(np.float32), ATLAS_GRID)
    return images, Volume(labels.astype(np.uint8), ATLAS_GRID)


def main() -> None:
    """Print the median and the slowest time per tumour and setting."""
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    print(machine())
    for tumour_ml in TUMOURS_ML:
        images, labels = made_up_case(tumour_ml)
        for words, (bin_width, normalise) in SETTINGS.items():
            seconds = []
            for _ in range(repeats):
                start = time.perf_counter()
                tumour_features(images, labels, bin_width, normalise)
                seconds.append(time.perf_counter() - start)
            voxels = int(np.count_nonzero(labels.data))
            print(f"{voxels / 1000:6.1f} ml, {words}: median {median(seconds):.2f} s, slowest {max(seconds):.2f} s")


if __name__ == "__main__":
    main()
