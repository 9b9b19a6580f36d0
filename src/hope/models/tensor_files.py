"""Files of tensors, looked at before a library reads them."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import TYPE_CHECKING

from hope.domain.errors import BundleError

if TYPE_CHECKING:
    from torch import Tensor

SUFFIX = ".safetensors"

MAX_HEADER_BYTES = 4 * 2**20
"""Longest header; the largest published networks take a fiftieth of it."""

MAX_TENSORS = 20_000
"""Most tensors in one file."""


def check_tensor_file(path: Path) -> None:
    """Look at the header of a safetensors file, and at nothing else.

    Raises:
        BundleError: if it is none, or holds far more names than a network.
        OSError: if it cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= size - 8:
            raise BundleError(f"{path.name} is no safetensors file, or is cut short")
        if length > MAX_HEADER_BYTES:
            most = MAX_HEADER_BYTES // 2**20
            raise BundleError(f"{path.name} has a header of {length / 2**20:.0f} MiB (expected at most {most} MiB)")
        try:
            names = json.loads(file.read(length))
        except (ValueError, RecursionError) as error:
            raise BundleError(f"{path.name} has a header that cannot be read") from error
    if not isinstance(names, dict) or len(names) > MAX_TENSORS:
        raise BundleError(f"{path.name} holds far more tensors than a network (expected at most {MAX_TENSORS})")


def load_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, after `check_tensor_file`.

    Raises:
        BundleError: as there, and if a tensor holds a number that is not finite.
        OSError, safetensors.SafetensorError: as the library.
    """
    from safetensors.torch import load_file

    check_tensor_file(path)
    tensors = load_file(path)
    for name, tensor in tensors.items():
        # The ends tell of all values: a number that is not finite is one of them, or makes both of them NaN.
        if tensor.is_floating_point() and tensor.numel() and not all(end.isfinite() for end in tensor.aminmax()):
            raise BundleError(f"{path.name}: the tensor {name[:80]} holds numbers that are not finite")
    return tensors
