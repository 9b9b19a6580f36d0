"""Weights and inputs by formula: the same numbers wherever they are made, so that only answers need to be stored.

The formula is splitmix64 (Steele et al. 2014) of the CRC-32 of a tensor's name and the index within it: integers alone,
so it depends on no library's random generator and on no rounding.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

STRIDE = 211
"""Of an answer, flattened, every 211th value is stored: no divisor of any axis, so all channels and edges have some."""


def uniform(name: str, shape: Sequence[int]) -> npt.NDArray[np.float64]:
    """Values in [-1, 1) that depend on name and index alone."""
    z = np.arange(1, math.prod(shape) + 1, dtype=np.uint64) + (np.uint64(zlib.crc32(name.encode())) << np.uint64(32))
    z = z * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return ((z >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1.0).reshape(tuple(shape))


def formula_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Formula values for every floating tensor of a state: kernels of unit gain, scales near 1, offsets near 0."""
    made = {}
    for name, tensor in state.items():
        values = uniform(name, tensor.shape)
        if tensor.ndim > 1:
            values *= math.sqrt(3.0 / math.prod(tensor.shape[1:]))
        else:
            values = 0.3 * values + (1.0 if name.endswith("weight") else 0.0)
        made[name] = torch.from_numpy(values).to(torch.float32) if tensor.is_floating_point() else tensor
    return made


def formula_input(shape: Sequence[int]) -> Tensor:
    """A batch of inputs, as float32 in [-2, 2)."""
    return torch.from_numpy(2 * uniform("input", shape)).to(torch.float32)


def sample(answer: Tensor) -> npt.NDArray[np.float32]:
    """What is stored of an answer."""
    return answer.detach().numpy().astype(np.float32).ravel()[::STRIDE]
