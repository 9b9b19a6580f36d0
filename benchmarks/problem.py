"""The case and the checkpoints that `ensemble.py` and `gpu.py` measure: random, made from a seed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

SEQUENCES = ("t1n", "t1c", "t2w", "t2f")
AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Size:
    """How large a problem is.

    Attributes:
        shape: of the case.
        radius: of the head in it, as a share of half the shape.
        folds: of each architecture.
        networks: arguments of the makers in tests/checkpoints.py, by architecture; nothing stands for their defaults.
    """

    shape: tuple[int, int, int]
    radius: tuple[float, float, float]
    folds: int
    networks: Mapping[str, Mapping[str, Any]]


SMALL = Size(
    (128, 128, 96),
    (0.95, 0.95, 0.95),
    3,
    {
        "nnunet": {"features": (8, 16, 32, 64, 80), "patch": (64, 96, 96)},
        "mednext": {"width": 8, "patch": (64, 96, 96)},
        "swinunetr": {"feature_size": 12, "roi": (96, 96, 64)},
    },
)
TINY = Size(
    (40, 44, 36),
    (0.95, 0.95, 0.95),
    2,
    {"nnunet": {}, "mednext": {"patch": (32, 16, 16)}, "swinunetr": {"roi": (32, 64, 32)}},
)


def full_size() -> Size:
    """The published sizes, and a head of 140x171x137 voxels in the published volume."""
    from tests import checkpoints as made

    sizes = {"nnunet": made.NNUNET_SIZE, "mednext": made.MEDNEXT_SIZE, "swinunetr": made.SWINUNETR_SIZE}
    return Size((240, 240, 155), (0.58, 0.71, 0.88), 5, sizes)


def make_images(size: Size) -> Iterator[tuple[str, Any]]:
    """Name and float32 voxels of four sequences of a head of noise, one after another."""
    rng = np.random.default_rng(7)
    inside = ((_place(size.shape) / np.array(size.radius)) ** 2).sum(axis=-1) < 1
    for name in SEQUENCES:
        image = 300 + 2000 * gaussian_filter(rng.standard_normal(size.shape), 3) + 20 * rng.standard_normal(size.shape)
        yield name, (np.abs(image) * inside).astype(np.float32)


def _place(shape: tuple[int, int, int]) -> Any:
    """Where every voxel lies (i, j, k, 3), from -1 to 1."""
    return np.moveaxis(np.indices(shape), 0, -1) / (np.array(shape) - 1) * 2 - 1


def make_problem(folder: Path, networks: list[str], size: Size) -> None:
    """Write the case, the checkpoints, and `problem.json`, which says what there is."""
    import nibabel as nib
    from tests import checkpoints as made

    for name, image in make_images(size):
        nib.save(nib.Nifti1Image(image, AFFINE), folder / f"{name}.nii.gz")
    # nnU-Net's own predictor runs MedNeXt, and takes everything but the network from an nnU-Net folder.
    for name in dict.fromkeys([*networks, *(["nnunet"] if "mednext" in networks else [])]):
        make = {"nnunet": made.make_nnunet_folder, "mednext": made.make_mednext_folder}.get(
            name, made.make_swinunetr_folder
        )
        make(folder / name, range(size.folds), **size.networks[name])
    (folder / "problem.json").write_text(json.dumps({"architectures": networks, "folds": size.folds}))


def draw_tumour(folder: Path, size: Size) -> None:
    """Write a tumour of large and of scattered small components, and the rules that clean it up."""
    import nibabel as nib

    from hope.stages.postprocess.postprocess_rules import PostprocessRules

    rng = np.random.default_rng(7)
    drawn, place = np.zeros(size.shape, np.uint8), _place(size.shape)
    for label, radius in ((4, 0.35), (3, 0.12), (2, 0.25), (1, 0.15)):
        drawn[((place - 0.05 * label) ** 2).sum(axis=-1) < radius**2] = label
    for _ in range(120):
        i, j, k = (int(rng.integers(4, n - 4)) for n in size.shape)
        edge = int(rng.integers(1, 5))
        drawn[i : i + edge, j : j + edge, k : k + edge] = rng.integers(1, 5)
    nib.save(nib.Nifti1Image(drawn, AFFINE), folder / "drawn.nii.gz")
    rules = PostprocessRules.by_name("hope-peds-2024").for_cluster(0)
    facts = {
        "minimum_voxels": {str(k): v for k, v in rules.minimum_voxels.items()},
        "redefine_below_share": {str(k): v for k, v in rules.redefine_below_share.items()},
    }
    (folder / "rules.json").write_text(json.dumps(facts))
