"""What a training run is made of; stored in its checkpoint and in the bundle it makes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from hope.domain.case import SEQUENCES
from hope.domain.errors import InputError
from hope.domain.wording import counted
from hope.models.bundle import Bundle
from hope.models.combine import ARCHITECTURE as MEAN
from hope.models.normalise import NORMALISATION
from hope.synthesis.variety import Variety
from hope.training.augment import Augmentation


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
        augmentation: how patches are changed.
        variety: what synthetic cases show beside the first synthesis; None is that synthesis alone.
        cyst_share: share of the synthetic patches that are drawn from cases with a cyst; the others from all.
        shape_share: share of the synthetic cases that get the shape of a real tumour, where there are real cases.
        most_cases: synthetic cases in all; after that the run draws from those that are there.
        real_share: share of patches drawn from real cases with a tumour, where there are any.
        transplant_share: share of patches drawn from transplants of real tumours into other brains.
        tumour_free_share: share of patches drawn from real cases without a tumour, where there are any.
        real_copies: turned, scaled and mirrored copies that are made of each real case beside itself.
        keep: how much of the averaged weights a step keeps.
        blend: share of the weights that the run started from in the weights that it gives.
        look_every: steps between two looks at cases that are kept aside.
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
    augmentation: Augmentation = field(default_factory=Augmentation)
    variety: Variety | None = None
    cyst_share: float = 0.0
    shape_share: float = 0.0
    most_cases: int = 1_000_000
    real_share: float = 0.5
    transplant_share: float = 0.0
    tumour_free_share: float = 0.0
    real_copies: int = 0
    keep: float = 0.995
    blend: float = 0.0
    look_every: int = 250
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
        changed: dict[str, Any] = {key: tuple(values[key]) for key in names if key in values}
        kept = dict(values)
        if (dropout := kept.pop("channel_dropout", None)) is not None:  # a checkpoint of version 0.1.0
            changed["augmentation"] = Augmentation(fewer_sequences=float(dropout))
        if "augmentation" in kept:
            changed["augmentation"] = Augmentation(**kept["augmentation"])
        if kept.get("variety") is not None:
            changed["variety"] = Variety(**kept["variety"])
        return cls(**{**kept, **changed})

    @property
    def synthetic_share(self) -> float:
        """Share of patches drawn from synthetic cases, where there are real ones."""
        return max(0.0, 1 - self.real_share - self.transplant_share - self.tumour_free_share)

    def network_arguments(self) -> dict[str, Any]:
        """Arguments of the network this run trains: four sequences in, background and four labels out."""
        return {
            "channels": 4,
            "classes": 5,
            "widths": list(self.widths),
            "blocks": list(self.blocks),
            "decoder_blocks": list(self.decoder_blocks),
        }


STRONG = Augmentation(warp=0.35, smooth_fields=0.25, curves=0.25, thick_slices=0.15, fewer_sequences=0.35)

RECIPES: Mapping[str, TrainingConfig] = {
    "starter": TrainingConfig(),
    "synthetic": TrainingConfig(
        recipe="synthetic",
        steps=12_000,
        patch=(48, 64, 48),
        learning_rate=1.5e-3,
        variety=Variety(),
        augmentation=STRONG,
        window=1_000_000,
        first_cases=96,
        new_cases_per_step=0.25,
        most_cases=2_000,
        keep=0.998,
        look_every=500,
    ),
}
"""``starter`` made the bundle of that name. ``synthetic`` is the first phase of ``hope.training.schedule``."""

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
    arguments = dict(base.arguments)
    if base.architecture == MEAN:  # its members' mean is what the run starts from
        arguments.pop("members", None)
    wanted = {
        "architecture": (True, base.architecture in ("UNet", MEAN)),
        "arguments": (config.network_arguments(), arguments),
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
            got=counted(len(case_ids), "cases"),
        )
    wanted = steps or config.steps
    return replace(config, steps=wanted, calibration_cases=_calibration_cases(wanted))


def _calibration_cases(steps: int) -> int:
    """As many as the recipe has, fewer for a trial, which need not wait for them."""
    return min(TrainingConfig().calibration_cases, steps // 10)
