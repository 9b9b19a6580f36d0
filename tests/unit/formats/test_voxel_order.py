"""Voxels are stored with i fastest, whatever order they lie in in memory."""

from __future__ import annotations

import numpy as np
import pytest

from hope.formats.voxel_order import in_file_order, in_index_order


@pytest.mark.parametrize("layout", ["C", "F", "turned", "every second"])
@pytest.mark.parametrize("dtype", ["<f4", "<i2", "u1"])
def test_bytes_are_those_of_fortran_order(layout: str, dtype: str) -> None:
    voxels = np.arange(5 * 6 * 7, dtype=np.float32).reshape(5, 6, 7)
    data = {
        "C": voxels,
        "F": np.asfortranarray(voxels),
        "turned": voxels[::-1, :, ::-1].transpose(1, 2, 0),
        "every second": voxels[::2],
    }[layout]

    stored, copied = in_file_order(data, np.dtype(dtype)), in_index_order(data, np.dtype(dtype))

    assert stored.flags.c_contiguous
    assert stored.tobytes() == data.astype(dtype).tobytes(order="F")
    assert copied.flags.c_contiguous
    assert copied.tobytes() == data.astype(dtype).tobytes(order="C")
