"""In which arithmetic networks are trained."""

from __future__ import annotations

import torch

_BFLOAT16 = ("avx512_bf16", "amx_bf16", "arm_bf16", "bf16")
"""PyTorch's names of processor features that multiply bfloat16."""


def half_precision(device: str) -> torch.autocast:
    """Autocast to bfloat16 where the device multiplies it in hardware; a context that changes nothing elsewhere.

    A processor without bfloat16 can run it too, but a step takes many times as long (docs/decisions/0011).
    """
    features = torch.cpu.get_capabilities()
    enabled = device != "cpu" or any(features.get(name) for name in _BFLOAT16)
    return torch.autocast(device, dtype=torch.bfloat16, enabled=enabled)
