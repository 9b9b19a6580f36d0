"""Doubles for ports, for tests here and in other people's adapters."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hope.domain.errors import StageError
from hope.domain.volume import Volume


class FakeBrainExtractor:
    """A ``ports.BrainExtractor`` that calls everything bright enough brain: for images without a skull.

    Args:
        share_of_maximum: voxels above this share of the scan's largest value are brain.
        finds_nothing: fail as a real extractor does on a scan that shows no brain.
    """

    name = "fake threshold 1"

    def __init__(self, share_of_maximum: float = 0.1, finds_nothing: bool = False) -> None:
        self._share = share_of_maximum
        self._finds_nothing = finds_nothing
        self.seen: list[Volume] = []

    def extract(self, scan: Volume) -> npt.NDArray[np.bool_]:
        """Threshold mask (i, j, k) in file order; remembers the scan in ``seen``.

        Raises:
            StageError: if told to find nothing, or if nothing is bright enough.
        """
        self.seen.append(scan)
        mask: npt.NDArray[np.bool_] = scan.data > self._share * float(scan.data.max())
        if self._finds_nothing or not mask.any():
            raise StageError(f"{self.name} found no brain in this scan")
        return mask
