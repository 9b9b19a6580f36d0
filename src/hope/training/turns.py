"""Small random rotations of a case."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def small_turn(rng: np.random.Generator, degrees: float) -> npt.NDArray[np.float64]:
    """A (3, 3) rotation about each axis in turn, by up to ``degrees`` either way."""
    turn = np.eye(3)
    for (one, other), angle in zip(
        ((1, 2), (0, 2), (0, 1)), np.deg2rad(rng.uniform(-degrees, degrees, 3)), strict=True
    ):
        step = np.eye(3)
        step[one, one] = step[other, other] = np.cos(angle)
        step[one, other], step[other, one] = -np.sin(angle), np.sin(angle)
        turn = turn @ step
    return turn
