"""What a training run is made of; stored in its checkpoint and in the bundle it makes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from hope.domain.case import SEQUENCES
from hope.domain.errors import InputError
from hope.models.bundle import Bundle
from hope.models.normalise import NORMALISATION


@dataclass(frozen=True)
class TrainingConfig:
    """Settings of one run. Two runs with equal settings see the same cases in the same order.

    Attributes:
        steps: optimiser steps in all; the learning rate falls to zero at the last.
        batch: patches per step.
        patch: patch size in voxels of the model's grid; multiples of 16.
        tile: what the finished network is shown at once; through its instance norms the answer depends on it.
        learning_rate: peak, after a short warm-up.
        seed: of cases, patches and augmentation.
        window: how many of the newest synthetic cases patches are drawn from.
        first_cases: synthetic cases made before the first step.
        new_cases_per_step: fresh synthetic cases per step after that.
        spacing_mm: the model's isotropic voxel size.
        widths, blocks, decoder_blocks: see ``hope.models.networks.UNet``.
        channel_dropout: probability that a patch loses one, two or three sequences.
        real_share: share of patches drawn from the given case directories, where there are any.
        held_out: synthetic cases that are only looked at, to follow the training.
        calibration_cases: synthetic cases on which the intervals beside the volumes are set at the end; 0 for none.
        recipe: name of what this configuration started from.
        scheme: label scheme of the given cases.
        real_cases: how many labelled cases were given.
        real_sha256: of their ids, so that a resumed run is known to get the same ones.
        base: id and hash of the bundle whose weights the run starts from; empty for random ones.
        base_synthetic: whether that bundle says that no real case trained it; true where there is no base.
    """

    steps: int = 2400
    batch: int = 2
    patch: tuple[int, int, int] = (64, 80, 64)
    tile: tuple[int, int, int] = (80, 96, 64)
    learning_rate: float = 2e-3
    seed: int = 1
    window: int = 400
    first_cases: int = 64
    new_cases_per_step: float = 0.2
    spacing_mm: float = 2.0
    widths: tuple[int, ...] = (16, 32, 64, 128, 192)
    blocks: tuple[int, ...] = (1, 2, 2, 2, 2)
    decoder_blocks: tuple[int, ...] = (1, 1, 2, 2)
    channel_dropout: float = 0.3
    real_share: float = 0.5
    held_out: int = 12
    calibration_cases: int = 80
    recipe: str = "starter"
    scheme: str = "peds"
    real_cases: int = 0
    real_sha256: str = ""
    base: str = ""
    base_synthetic: bool = True

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> TrainingConfig:
        """Back from ``to_json``."""
        names = ("patch", "tile", "widths", "blocks", "decoder_blocks")
        tuples = {key: tuple(values[key]) for key in names if key in values}
        return cls(**{**values, **tuples})

    def network_arguments(self) -> dict[str, Any]:
        """Arguments of the network this run trains: four sequences in, background and four labels out."""
        return {
            "channels": 4,
            "classes": 5,
            "widths": list(self.widths),
            "blocks": list(self.blocks),
            "decoder_blocks": list(self.decoder_blocks),
        }


RECIPES = {"starter": TrainingConfig()}

FINE_STEPS, FINE_RATE = 400, 5e-4
"""Of a run that starts from a trained model: fewer and smaller steps, so that it keeps what it knows."""


def hash_of_ids(case_ids: Sequence[str]) -> str:
    """Sha256 of the sorted ids; empty for none."""
    return hashlib.sha256("\n".join(sorted(case_ids)).encode()).hexdigest() if case_ids else ""


def config_of_recipe(
    recipe: str,
    steps: int | None,
    seed: int | None,
    real_share: float | None,
    scheme: str,
    case_ids: Sequence[str],
    base: Bundle | None = None,
) -> TrainingConfig:
    """A recipe's settings with what the user chose; None keeps the recipe's value.

    Raises:
        InputError: if ``base``, whose weights the run is to start from, is another network than the recipe's.
    """
    default = RECIPES[recipe] if base is None else _started_from(RECIPES[recipe], base)
    wanted = steps or default.steps
    return replace(
        default,
        steps=wanted,
        # A trial of a few steps need not wait for more cases than it can look at.
        first_cases=min(default.first_cases, wanted * default.batch),
        held_out=min(default.held_out, wanted),
        calibration_cases=_calibration_cases(wanted),
        seed=default.seed if seed is None else seed,
        real_share=default.real_share if real_share is None else real_share,
        scheme=scheme,
        real_cases=len(case_ids),
        real_sha256=hash_of_ids(case_ids),
    )


def _started_from(config: TrainingConfig, base: Bundle) -> TrainingConfig:
    wanted = {
        "architecture": ("UNet", base.architecture),
        "arguments": (config.network_arguments(), dict(base.arguments)),
        "voxels": (config.spacing_mm, base.spacing_mm),
        "sequences": (SEQUENCES, base.sequences),
        "normalisation": (NORMALISATION, base.normalisation),
    }
    if other := [f"other {what}" for what, (ours, theirs) in wanted.items() if ours != theirs]:
        raise InputError(
            f"training cannot start from the model {base.id}: it is another network than the recipe's",
            expected="a bundle that `hope train` made with the same recipe, such as starter",
            got=", ".join(other),
        )
    synthetic = base.licence == "Apache-2.0" and base.manifest.get("training", {}).get("only_synthetic") is True
    name = f"{base.id} {base.sha256}"
    return replace(config, base=name, base_synthetic=synthetic, steps=FINE_STEPS, learning_rate=FINE_RATE)


def continued(config: TrainingConfig, case_ids: Sequence[str], steps: int | None) -> TrainingConfig:
    """The settings of a resumed run, which has to get the cases it started with.

    Raises:
        InputError: if the cases differ; else a bundle could state wrongly what went into it.
    """
    if hash_of_ids(case_ids) != config.real_sha256:
        raise InputError(
            "a resumed run needs the cases that it was started with",
            expected=f"the same {config.real_cases} cases by --cases" if config.real_cases else "no --cases",
            got=f"{len(case_ids)} cases",
        )
    wanted = steps or config.steps
    return replace(config, steps=wanted, calibration_cases=_calibration_cases(wanted))


def _calibration_cases(steps: int) -> int:
    """As many as the recipe has, fewer for a trial, which need not wait for them."""
    return min(RECIPES["starter"].calibration_cases, steps // 10)
