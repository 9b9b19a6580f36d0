"""Brain extraction by deepbet: a U-Net for T1-weighted heads whose weights come inside its wheel (no network)."""

from __future__ import annotations

import threading
from importlib.metadata import version
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt

from hope.domain.errors import StageError
from hope.domain.volume import Volume


class DeepbetExtractor:
    """A ``ports.BrainExtractor``; the network is read at the first use and kept. Threads that ask at once take turns.

    Args:
        device: ``cpu``, or ``auto`` for an accelerator where there is one.
    """

    def __init__(self, device: str = "cpu") -> None:
        self.name = f"deepbet {version('deepbet')}"
        self._device = device
        self._network: Any = None
        # deepbet keeps where it found the brain in itself while it runs: two at once would mix up their scans.
        self._turn = threading.Lock()

    def extract(self, scan: Volume) -> npt.NDArray[np.bool_]:
        """Brain mask (i, j, k) of a T1-weighted scan, in the scan's own file order.

        Raises:
            StageError: if no brain is found.
        """
        upright = scan.reoriented("RAS")
        make_image: Any = nib.Nifti1Image
        image = make_image(np.ascontiguousarray(upright.data, dtype=np.float32), upright.grid.affine_ras_mm)
        try:
            with self._turn:
                _, mask, _ = self._loaded().run(image)
        except (AssertionError, ValueError, IndexError) as error:
            # deepbet asserts, or takes the largest of no components, when its first network sees no brain.
            raise StageError(f"{self.name} found no brain in this scan") from error
        found = Volume(np.asarray(mask.dataobj) > 0, upright.grid)
        if not found.data.any():
            raise StageError(f"{self.name} found no brain in this scan")
        return np.ascontiguousarray(found.reoriented(scan.grid.orientation).data)

    def _loaded(self) -> Any:
        if self._network is None:
            # Here, not at the top: pandas and torch take seconds, and not every run extracts a brain.
            from deepbet import BrainExtraction

            self._network = BrainExtraction(no_gpu=self._device == "cpu")
        return self._network
