"""The deepbet wrapper: file order in, file order out, plain words when no brain is found."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from hope.domain.errors import StageError
from hope.domain.grid import ALL_ORIENTATIONS, Grid
from hope.domain.volume import Volume
from hope.models.brain_deepbet import DeepbetExtractor


class Network:
    """Stands in for deepbet's networks: bright is brain; refuses images that are not upright."""

    def run(self, image: Any) -> tuple[Any, Any, float]:
        assert nib.aff2axcodes(image.affine) == ("R", "A", "S")
        data = np.asarray(image.dataobj)
        assert data.max() > 1, "Not enough foreground to calculate bounding box"
        return image, nib.Nifti1Image((data > 5).astype(np.uint8), image.affine), 0.0


def extractor() -> DeepbetExtractor:
    wrapped = DeepbetExtractor()
    wrapped._network = Network()
    return wrapped


@pytest.mark.parametrize("orientation", ALL_ORIENTATIONS)
def test_the_mask_has_the_scans_own_file_order(orientation: str) -> None:
    data = np.random.default_rng(3).uniform(0, 10, (4, 5, 6)).astype(np.float32)
    scan = Volume(data, Grid((4, 5, 6), np.diag([1.0, 2.0, 5.5, 1.0]))).reoriented(orientation)

    mask = extractor().extract(scan)

    assert mask.dtype == np.bool_
    np.testing.assert_array_equal(mask, scan.data > 5)


class NetworkWithBox(Network):
    """Keeps what it found in itself until it has answered, as deepbet does."""

    def run(self, image: Any) -> tuple[Any, Any, float]:
        self.found = super().run(image)
        time.sleep(0.05)
        return self.found


def test_scans_of_two_threads_are_not_mixed_up() -> None:
    """Cases whose steps overlap share one extractor."""
    scans = [Volume(np.full((4, 4, 4), 2.0, np.float32), Grid((4, 4, 4), np.eye(4))) for _ in range(2)]
    for number, scan in enumerate(scans):
        scan.data[number] = 9.0
    shared = extractor()
    shared._network = NetworkWithBox()

    with ThreadPoolExecutor(2) as threads:
        masks = list(threads.map(shared.extract, scans))

    for scan, mask in zip(scans, masks, strict=True):
        np.testing.assert_array_equal(mask, scan.data > 5)


def test_no_brain_is_said_in_plain_words() -> None:
    empty = Volume(np.zeros((4, 4, 4), np.float32), Grid((4, 4, 4), np.eye(4)))
    dim = empty.with_data(np.full((4, 4, 4), 2.0, np.float32))

    for scan in (empty, dim):
        with pytest.raises(StageError, match=r"deepbet \d.* found no brain in this scan"):
            extractor().extract(scan)


def test_the_name_carries_the_version() -> None:
    assert DeepbetExtractor().name == "deepbet 1.0.2"
