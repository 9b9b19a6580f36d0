"""Which device a network runs on."""

from __future__ import annotations

import torch

from hope.domain.errors import InputError


def choose_device(wanted: str) -> torch.device:
    """``auto`` takes a CUDA GPU where there is one; ``mps`` is the CPU, see `device_note`.

    Raises:
        InputError: if a CUDA GPU is asked for and there is none.
    """
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if wanted == "mps":
        return torch.device("cpu")
    if wanted == "cuda" and not torch.cuda.is_available():
        raise InputError("no CUDA GPU can be used here", expected="--device cpu or auto", got="--device cuda")
    return torch.device(wanted)


def device_note(wanted: str) -> str:
    """Why another device is used than was asked for; empty where it is not."""
    if wanted != "mps":
        return ""
    return "Apple's GPU (mps) is not used, for no result of it has been checked; the network runs on the CPU"
