"""What a run of the harmonizer's training is made of."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

_OLD_NAMES = {
    "glances": "voxel_sample_steps",
    "glances_batch": "voxel_samples_per_step",
    "voxels_per_exercise": "voxels_per_pair",
}
"""Names in checkpoints of version 0.1; read for one version."""


@dataclass(frozen=True)
class HarmonizerConfig:
    """Settings of one run; equal settings see the same pairs in the same order.

    Attributes:
        steps: optimiser steps in all; the learning rate falls to zero at the last.
        voxel_sample_steps: the first of these; they learn styles and curves from single voxels, which is quick.
        voxel_samples_per_step: samples per step in them.
        batch: pairs per step after them, in which shading is learnt and the rest refined.
        learning_rate: peak in either part, after a short warm-up.
        seed: of everything random.
        groups: groups in the pool.
        anatomies, styles: of each group.
        voxels: voxels kept of each anatomy.
        voxels_per_pair: of these, how many a pair compares.
        curve_strength: deviation of the logarithm of the slopes of further curves, which vary the pool's styles.
        drop: probability that a source or a target lacks sequences.
        held_out: pairs that are only looked at, of groups that are not in the pool.
        code, width, widths: see ``HailNetwork``.
    """

    steps: int = 6000
    voxel_sample_steps: int = 1000
    voxel_samples_per_step: int = 12
    batch: int = 4
    learning_rate: float = 3e-3
    seed: int = 1
    groups: int = 80
    anatomies: int = 3
    styles: int = 2
    voxels: int = 12000
    voxels_per_pair: int = 4000
    curve_strength: float = 0.2
    drop: float = 0.25
    held_out: int = 4
    code: int = 16
    width: int = 48
    widths: tuple[int, int] = (32, 48)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> HarmonizerConfig:
        """Back from ``to_json``, of this version or of 0.1."""
        near, each = values["widths"]
        known = {_OLD_NAMES.get(name, name): value for name, value in values.items()}
        return cls(**{**known, "widths": (near, each)})

    def network_arguments(self) -> dict[str, Any]:
        """Arguments of the network."""
        return {"code": self.code, "width": self.width, "widths": list(self.widths)}
