"""What an ensemble bundle says about its networks: plain facts, read from and written to model.json without torch.

A *group* is one architecture with its folds (members), which share preprocessing and tiling. The answer of the ensemble
is, per voxel and class, the weighted mean over groups of the mean over each group's members.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from hope.domain.case import SEQUENCES
from hope.domain.errors import BundleError
from hope.domain.ranges import MODEL_SPACING_MM, MODEL_WEIGHT, PATCH_EDGE_VOXELS, PATCH_VOXELS

SCHEMES = ("ZScoreNormalization", "CTNormalization", "NoNormalization", "RescaleTo01Normalization")
"""Normalisations of a channel, by nnU-Net's names."""
INTENSITIES = ("mean", "std", "percentile_00_5", "percentile_99_5")
"""What CTNormalization has to know of the training data, by nnU-Net's names."""


class Method(StrEnum):
    """How images become network input.

    NNUNET: crop to the box of all nonzero voxels, normalise each channel, resample to the plans' spacing; v1 and v2 of
    nnU-Net differ in the order of the last two, which ``Preprocessing.normalise_first`` says.
    NONZERO_CHANNEL: whole volume, each channel to zero mean and unit deviation over its own nonzero voxels.
    """

    NNUNET = "nnunet"
    NONZERO_CHANNEL = "nonzero-channel"


class Average(StrEnum):
    """What is averaged: the network's raw output, or its softmax."""

    LOGITS = "logits"
    PROBABILITIES = "probabilities"


class Outside(StrEnum):
    """What a group says outside of the box that its preprocessing cropped to."""

    BACKGROUND = "background"
    """Background with probability 1 (nnU-Net v2)."""
    ZERO = "zero"
    """0 for every class, background too: the published treatment of MedNeXt, so the sum over classes drops there."""


class Tiles(StrEnum):
    """Where tiles begin and how they are weighted."""

    NNUNET = "nnunet"
    """Evenly spread with at most ``step`` of a patch between them; Gaussian weights; both as nnU-Net computes them.

    Where logits are averaged (nnU-Net v2), weights and sums are kept in half precision as there; that shows at the
    edges of the box, where weights are tiny, and is kept so that the same checkpoint gives the same answer. Where
    probabilities are averaged (nnU-Net v1, MedNeXt), they are kept in single precision, as there.
    """
    MONAI = "monai"
    """A fixed stride of ``step`` of a patch, the last tile moved back inside; constant weights."""


@dataclass(frozen=True)
class Resampling:
    """Parameters of nnU-Net's default resampling.

    Attributes:
        order: spline order in plane.
        order_z: order along an axis that is treated separately.
        force_separate_z: True, False, or None to decide by the anisotropy (3 and above is separate).
    """

    order: int = 3
    order_z: int = 0
    force_separate_z: bool | None = None


@dataclass(frozen=True)
class Preprocessing:
    """From images on the atlas grid to network input.

    Attributes:
        method: see `Method`.
        axes: ``zyx`` or ``xyz``: order of the array's axes, of a file stored in LPS order (x fastest).
        transpose: order of those axes that the plans want (nnU-Net's transpose_forward).
        spacing_mm: voxel size of the network's grid, in the order after ``transpose``; empty for no resampling.
        normalise_first: normalise before resampling (nnU-Net v2) or after (v1).
        schemes: per channel, name of the normalisation: ZScoreNormalization, CTNormalization, NoNormalization,
            RescaleTo01Normalization (nnU-Net's names).
        nonzero_only: per channel, whether statistics and result are limited to the nonzero mask.
        intensities: per channel number as text, nnU-Net's foreground_intensity_properties (CTNormalization needs mean,
            std, percentile_00_5 and percentile_99_5).
        images: how images are resampled.
        outputs: how network output is resampled back; at most linearly.
    """

    method: Method
    axes: str = "zyx"
    transpose: tuple[int, int, int] = (0, 1, 2)
    spacing_mm: tuple[float, ...] = ()
    normalise_first: bool = True
    schemes: tuple[str, ...] = ()
    nonzero_only: tuple[bool, ...] = ()
    intensities: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    images: Resampling = Resampling()
    outputs: Resampling = Resampling(order=1)


@dataclass(frozen=True)
class Tiling:
    """How a network is slid over its grid.

    Attributes:
        patch: tile in voxels, in the order of the network's axes.
        step: share of a patch between neighbouring tiles (0.5 overlaps by half; MONAI's overlap is 1 - step).
        tiles: see `Tiles`.
        mirror_axes: spatial axes (0, 1, 2) that test-time mirroring may flip; all combinations are averaged.
        mean: what is averaged over mirrorings and overlapping tiles.
    """

    patch: tuple[int, int, int]
    step: float = 0.5
    tiles: Tiles = Tiles.NNUNET
    mirror_axes: tuple[int, ...] = ()
    mean: Average = Average.LOGITS


@dataclass(frozen=True)
class Group:
    """One architecture and its folds.

    Attributes:
        name: what a person calls it, unique in the bundle.
        weight: of the group in the ensemble's mean; any positive number.
        architecture, arguments: for `hope.models.networks.build_network`.
        classes: peds value (0 to 4) of each output channel.
        channels: sequence of each input channel (t1n, t1c, t2w, t2f).
        preprocessing, tiling: see there.
        fold_mean: what is averaged over members.
        outside: see `Outside`.
        members: safetensors files in the bundle's folder, one per fold.
        member_names: what they are called in messages ("fold 0").
    """

    name: str
    weight: float
    architecture: str
    arguments: Mapping[str, Any]
    classes: tuple[int, ...]
    channels: tuple[str, ...]
    preprocessing: Preprocessing
    tiling: Tiling
    fold_mean: Average
    outside: Outside
    members: tuple[str, ...]
    member_names: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values for model.json."""
        return {name: _plain(getattr(self, name)) for name in self.__dataclass_fields__}


def _plain(value: Any) -> Any:
    if isinstance(value, StrEnum):
        return str(value)
    if hasattr(value, "__dataclass_fields__"):
        return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value


def group_from_json(entry: Mapping[str, Any]) -> Group:
    """Read one group.

    Raises:
        BundleError: saying what is wrong with it.
    """
    try:
        group = _group(entry)
    except KeyError as error:
        raise BundleError(f"a group of the ensemble lacks {error}") from error
    except (TypeError, ValueError, ArithmeticError) as error:
        raise BundleError(f"a group of the ensemble is not usable: {error}") from error
    _check(group)
    return group


def _group(entry: Mapping[str, Any]) -> Group:
    prep, tiling = dict(entry["preprocessing"]), dict(entry["tiling"])
    x, y, z = (int(n) for n in tiling["patch"])
    i, j, k = (int(n) for n in prep["transpose"])
    return Group(
        name=str(entry["name"]),
        weight=float(entry["weight"]),
        architecture=str(entry["architecture"]),
        arguments=dict(entry["arguments"]),
        classes=tuple(int(n) for n in entry["classes"]),
        channels=tuple(str(s) for s in entry["channels"]),
        preprocessing=Preprocessing(
            method=Method(prep["method"]),
            axes=str(prep["axes"]),
            transpose=(i, j, k),
            spacing_mm=tuple(float(n) for n in prep["spacing_mm"]),
            normalise_first=bool(prep["normalise_first"]),
            schemes=tuple(str(n) for n in prep["schemes"]),
            nonzero_only=tuple(bool(n) for n in prep["nonzero_only"]),
            intensities={str(key): dict(value) for key, value in prep["intensities"].items()},
            images=Resampling(**prep["images"]),
            outputs=Resampling(**prep["outputs" if "outputs" in prep else "answers"]),
        ),
        tiling=Tiling(
            patch=(x, y, z),
            step=float(tiling["step"]),
            tiles=Tiles(tiling["tiles"]),
            mirror_axes=tuple(int(n) for n in tiling["mirror_axes"]),
            mean=Average(tiling["mean"]),
        ),
        fold_mean=Average(entry["fold_mean"]),
        outside=Outside(entry["outside"]),
        members=tuple(str(n) for n in entry["members"]),
        member_names=tuple(str(n) for n in entry["member_names"]),
    )


def _check(group: Group) -> None:
    prep, tiling = group.preprocessing, group.tiling
    wrong = {
        "weight": group.weight not in MODEL_WEIGHT,
        "members": not group.members or len(group.members) != len(group.member_names),
        "classes": sorted(set(group.classes) | {0}) != sorted(group.classes) or not set(group.classes) <= set(range(5)),
        "channels": not group.channels or not set(group.channels) <= set(SEQUENCES),
        "fold_mean": group.fold_mean is Average.LOGITS and tiling.mean is Average.PROBABILITIES,
        "axes": prep.axes not in ("zyx", "xyz"),
        "transpose": sorted(prep.transpose) != [0, 1, 2],
        "spacing_mm": len(prep.spacing_mm) not in (0, 3) or any(n not in MODEL_SPACING_MM for n in prep.spacing_mm),
        "outputs": not (0 <= prep.outputs.order <= 1 and 0 <= prep.outputs.order_z <= 1),
        "schemes": prep.method is Method.NNUNET
        and not (set(prep.schemes) <= set(SCHEMES) and len(prep.schemes) == len(group.channels)),
        "nonzero_only": prep.method is Method.NNUNET and len(prep.nonzero_only) != len(group.channels),
        "intensities": any(
            scheme == "CTNormalization" and not set(INTENSITIES) <= set(prep.intensities.get(str(number), ()))
            for number, scheme in enumerate(prep.schemes)
        )
        or not all(math.isfinite(n) for entry in prep.intensities.values() for n in map(float, entry.values())),
        "patch": any(n not in PATCH_EDGE_VOXELS for n in tiling.patch) or math.prod(tiling.patch) not in PATCH_VOXELS,
        "images": not (0 <= prep.images.order <= 5 and 0 <= prep.images.order_z <= 5),
        "step": not 0.01 <= tiling.step <= 1,
        "mirror_axes": not set(tiling.mirror_axes) <= {0, 1, 2},
    }
    for name, is_wrong in wrong.items():
        if is_wrong:
            raise BundleError(f"the group {group.name} of the ensemble has an unusable {name}")
