"""In which arithmetic networks are trained."""

from __future__ import annotations

import torch

from hope.models.execution import cpu_has_bf16


def half_precision(device: str) -> torch.autocast:
    """Autocast to bfloat16 where the device multiplies it in hardware; a context that changes nothing elsewhere.

    A processor without bfloat16 can run it too, but a step takes two hundred times as long.
    """
    enabled = device != "cpu" or cpu_has_bf16()
    return torch.autocast(device, dtype=torch.bfloat16, enabled=enabled)
