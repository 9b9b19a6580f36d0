"""Weights of a network as plain arrays by name: in a file, and compared with those that they have to fit."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hope.domain.errors import InputError

Array = npt.NDArray[np.float32]
Weights = Mapping[str, Array]
"""Arrays of a network's parameters, by name."""

LARGEST: Final = 6e4
"""No weight and no difference has a greater magnitude: a bundle holds half precision, where more is infinite."""


def fits(given: Any, wanted: Weights) -> bool:
    """Whether arrays can stand for ``wanted``: same names and shapes, float32, finite, of a sane size.

    Args:
        given: anything that came over the network.
        wanted: what it has to fit.
    """
    if not isinstance(given, Mapping) or set(given) != set(wanted):
        return False
    return all(is_sound(given[name]) and given[name].shape == array.shape for name, array in wanted.items())


def is_sound(array: Any) -> bool:
    """Whether something is an array of finite float32 values of a sane size."""
    if not isinstance(array, np.ndarray) or array.dtype != np.float32:
        return False
    return bool(np.isfinite(array).all()) and bool((np.abs(array) <= LARGEST).all())


def write_arrays(path: Path, arrays: Weights) -> None:
    """Write arrays to a private file."""
    values: dict[str, Any] = dict(arrays)
    with path.open("wb") as stream:
        np.savez(stream, **values)


def read_arrays(path: Path) -> dict[str, Array]:
    """Read what ``write_arrays`` wrote; nothing is unpickled.

    Raises:
        InputError: if the file is missing or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {str(name): stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        raise InputError("the file of weights cannot be read") from None
