"""Tiny ensembles and cases for the tests of this folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.torch import save_file
from tests.checkpoints import random_like
from torch import Tensor

from hope.domain.case import SEQUENCES, AlignedCase, HarmonizedCase, HeadState, MRSequence
from hope.domain.grid import Grid
from hope.domain.transform import Transform
from hope.domain.volume import Volume
from hope.models.bundle import ENSEMBLE_FORMAT, Bundle, write_manifest
from hope.models.ensemble.spec import Average, Group, Method, Outside, Preprocessing, Tiles, Tiling
from hope.models.networks import build_network, convert_state

UNET: dict[str, Any] = {"channels": 4, "classes": 5, "widths": [4, 8], "blocks": [1, 1], "decoder_blocks": [1]}
CHANNELS = tuple(str(s) for s in SEQUENCES)
ZSCORE = Preprocessing(Method.NNUNET, schemes=("ZScoreNormalization",) * 4, nonzero_only=(True,) * 4)


def group(name: str = "unet", folds: int = 2, **changes: Any) -> Group:
    """A group of tiny U-Nets; ``changes`` replace its fields."""
    fields: dict[str, Any] = {
        "name": name,
        "weight": 1.0,
        "architecture": "UNet",
        "arguments": UNET,
        "classes": (0, 1, 2, 3, 4),
        "channels": CHANNELS,
        "preprocessing": ZSCORE,
        "tiling": Tiling((8, 8, 8), mirror_axes=(0, 1, 2)),
        "fold_mean": Average.PROBABILITIES,
        "outside": Outside.BACKGROUND,
        "members": tuple(f"{name}-{fold}.safetensors" for fold in range(folds)),
        "member_names": tuple(f"fold {fold}" for fold in range(folds)),
    }
    return Group(**{**fields, **changes})


MONAI_GROUP: dict[str, Any] = {
    "preprocessing": Preprocessing(Method.NONZERO_CHANNEL, axes="xyz"),
    "tiling": Tiling((8, 8, 8), step=0.375, tiles=Tiles.MONAI),
}


def write_bundle(
    folder: Path, groups: Sequence[Group], states: Mapping[str, Mapping[str, Tensor]] | None = None
) -> Bundle:
    """A bundle of these groups; seeded random weights for members that ``states`` does not give."""
    folder.mkdir(parents=True, exist_ok=True)
    seed = 0
    for one in groups:
        for member in one.members:
            seed += 1
            published = (states or {}).get(member)
            if published is None:
                published = random_like(build_network(one.architecture, one.arguments).state_dict(), seed)
            save_file(convert_state(one.architecture, one.arguments, published), folder / member)
    manifest = {
        "format": ENSEMBLE_FORMAT,
        "id": "tiny",
        "version": "1",
        "licence": "none",
        "label_schema": "peds",
        "architecture": {"name": "ensemble", "arguments": {}},
        "input": {
            "sequences": list(CHANNELS),
            "optional": [],
            "max_missing": 0,
            "spacing_mm": 1.0,
            "head_state": "full",
            "normalisation": "per group",
        },
        "patch": list(groups[0].tiling.patch),
        "groups": [one.to_json() for one in groups],
    }
    return write_manifest(folder, json.loads(json.dumps(manifest)))


def blob_images(shape: Sequence[int], seed: int = 0) -> npt.NDArray[np.float32]:
    """Four channels (4, *shape): an off-centre textured ellipsoid with a hole of zeros, zero outside."""
    rng = np.random.default_rng(seed)
    middle = np.array([0.52, 0.45, 0.5]) * np.array(shape)
    distance = sum(((x - m) / (0.42 * n)) ** 2 for x, m, n in zip(np.indices(shape), middle, shape, strict=True))
    inside = (distance < 1) & (distance > 0.02)
    smooth = np.sin(np.indices(shape).sum(axis=0) / 5.0)
    channels = [100 * (c + 1) + 20 * smooth * (c + 1) + 15 * rng.standard_normal(shape) for c in range(4)]
    return (np.stack(channels) * inside).astype(np.float32)


def case_of(
    images: npt.NDArray[np.float32], spacing: Sequence[float] = (1, 1, 1), orientation: str = "LPS"
) -> HarmonizedCase:
    """A case from arrays (4, x, y, z) in LPS order."""
    affine = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
    grid = Grid(images.shape[1:], affine)
    volumes: Mapping[MRSequence, Volume] = {
        s: Volume(image, grid).reoriented(orientation) for s, image in zip(SEQUENCES, images, strict=True)
    }
    mask = Volume((images != 0).any(axis=0), grid).reoriented(orientation)
    own = {s: Transform.identity() for s in volumes}
    aligned = AlignedCase("c", volumes, mask, HeadState.FULL, mask.grid, MRSequence.T1C, own)
    return HarmonizedCase(aligned, volumes)


def soft(prediction: Any) -> npt.NDArray[np.float32]:
    """Probabilities (4, x, y, z) of the four labels, in the case's order."""
    return np.stack([prediction.region_probability[key].astype(np.float32) for key in ("ET", "NET", "CC", "ED")])
