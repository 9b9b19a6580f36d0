"""Our scores against the official package of the challenges, run in a process of its own.

The package (brats-evaluation, AGPL-3) is a development tool: nothing in src/hope imports it. It answers here as a user
would call it, through its two console commands.
"""

from __future__ import annotations

import csv
import importlib.util
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from hope.domain.grid import Grid
from hope.domain.volume import Volume
from hope.evaluation.evaluate import RegionScores, evaluate
from hope.formats.nifti import write_labels

Mask = npt.NDArray[np.uint8]
Pair = tuple[Mask, Mask, Grid]

SHAPE = (48, 44, 40)
TOLERANCE = 1e-6
OFFICIAL_PENALTY_MM = 373.0  # ours is the 374 of the challenges up to 2025
HEADER_TOLERANCE = 1e-4  # a NIfTI header keeps spacing in single precision
SCORE_COLUMNS = ("global_dsc", "global_hd95", "lesionwise_dsc_mean", "lesionwise_hd95_mean")
PEDS_NAMES = {"ET": "et", "NET": "netc", "CC": "cc", "ED": "ed", "TC": "tc", "WT": "wt"}
ADULT_NAMES = {"ET": "et", "NET": "netc", "ED": "snfh", "TC": "tc", "WT": "wt"}

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("brats_evaluation") is None and not os.environ.get("CI"),
    reason="the official package brats-evaluation is not installed (it is in the dev extra)",
)


def grid_of(spacing: tuple[float, ...]) -> Grid:
    return Grid(SHAPE, np.diag([-spacing[0], -spacing[1], spacing[2], 1.0]))


UNIT_GRID = grid_of((1.0, 1.0, 1.0))


def box(mask: Mask, start: tuple[int, int, int], size: tuple[int, int, int], value: int) -> None:
    mask[tuple(slice(a, a + n) for a, n in zip(start, size, strict=True))] = value


def random_pair(rng: np.random.Generator, labels: int) -> tuple[Mask, Mask]:
    """A truth of a few balls of all labels, and a prediction that moves, drops, adds and mislabels some."""
    truth, prediction = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    where = np.indices(SHAPE)
    for _ in range(rng.integers(2, 9)):
        centre, radius = rng.uniform(3, np.array(SHAPE) - 3), rng.uniform(1.2, 7)
        value = rng.integers(1, labels + 1)
        inner = rng.integers(1, labels + 1)
        for mask, moved, kept in ((truth, 0.0, 1.0), (prediction, rng.uniform(0, 2.5), 0.85)):
            if rng.uniform() > kept:
                continue
            distance = np.linalg.norm(where - (centre + moved * rng.normal(size=3))[:, None, None, None], axis=0)
            mask[distance < radius] = value if rng.uniform() < 0.9 else rng.integers(1, labels + 1)
            mask[distance < radius / 2] = inner
    for _ in range(rng.integers(0, 4)):
        box(prediction, tuple(rng.integers(0, 34, 3)), tuple(rng.integers(1, 6, 3)), int(rng.integers(1, labels + 1)))
    return prediction, truth


def edge_pairs() -> list[Pair]:
    """Pairs at the corners of the definition."""

    def empty() -> Mask:
        return np.zeros(SHAPE, np.uint8)

    lesion = empty()
    box(lesion, (5, 5, 5), (10, 10, 10), 1)
    pairs = [(empty(), empty()), (empty(), lesion), (lesion, empty()), (lesion, lesion.copy())]
    for extra in (0, 1):  # a missed and a false lesion of exactly 50 and of 51 voxels
        ours, theirs = np.roll(lesion, 1, axis=2), lesion.copy()
        box(theirs, (30, 30, 30), (5, 5, 2), 1)
        box(ours, (30, 5, 30), (5, 5, 2), 1)
        theirs[30, 30, 32] = ours[30, 5, 32] = extra
        pairs.append((ours, theirs))
    two, joined = lesion.copy(), lesion.copy()
    box(two, (5, 5, 17), (10, 10, 12), 1)
    box(joined, (5, 5, 5), (10, 10, 24), 1)
    pairs += [(joined, two), (two, joined)]
    touching = lesion.copy()  # two labels face to face: one lesion of TC, two of their labels
    box(touching, (15, 5, 5), (6, 10, 10), 2)
    corner = lesion.copy()  # joined through a corner only
    box(corner, (15, 15, 15), (5, 5, 5), 1)
    border = empty()
    box(border, (0, 0, 0), (6, 7, 5), 4)
    pairs += [(np.roll(touching, 2, axis=0), touching), (corner, touching), (np.roll(border, 1, axis=1), border)]
    ours, theirs = empty(), lesion.copy()  # two halves compete for one lesion, the larger one must win
    box(ours, (5, 5, 5), (10, 10, 3), 1)
    box(ours, (5, 5, 9), (10, 10, 6), 1)
    return [(*pair, UNIT_GRID) for pair in (*pairs, (ours, theirs))]


def official_scores(folder: Path, config: str, pairs: list[Pair]) -> list[dict[str, float]]:
    """Run the official commands on the pairs; a row of columns per pair."""
    for sub in ("ref", "pred"):
        (folder / sub).mkdir()
    for number, (prediction, truth, grid) in enumerate(pairs):
        write_labels(Volume(prediction, grid), folder / "pred" / f"BraTS-PED-{number:05d}-000.nii.gz")
        write_labels(Volume(truth, grid), folder / "ref" / f"BraTS-PED-{number:05d}-000.nii.gz")
    commands = Path(sys.executable).parent
    summary, table = folder / "summary.json", folder / "table.csv"
    folders = ["--ref_path", folder / "ref", "--pred_path", folder / "pred"]
    for call in (
        ["brats-evaluate", "--config", config, *folders, "--summary_json", summary],
        ["brats-parse-metrics", "seg", "--json_path", summary, "--output_csv_path", table],
    ):
        subprocess.run([commands / call[0], *call[1:]], check=True, capture_output=True, timeout=300)
    with table.open(encoding="utf-8", newline="") as file:
        rows = {row.pop("subject_id"): row for row in csv.DictReader(file)}
    found = [rows[f"BraTS-PED-{number:05d}-000.nii.gz"] for number in range(len(pairs))]
    return [{key: float(cell or "nan") for key, cell in row.items()} for row in found]


def largest_differences(pairs: list[Pair], theirs: list[dict[str, float]], scheme: str) -> dict[str, float]:
    """Largest absolute difference per column over all pairs and regions; undefined and infinite must match exactly."""
    worst: dict[str, float] = {}
    for number, ((prediction, truth, grid), row) in enumerate(zip(pairs, theirs, strict=True)):
        ours = evaluate(Volume(prediction, grid), Volume(truth, grid), scheme, scheme)
        for region, name in (PEDS_NAMES if scheme == "peds" else ADULT_NAMES).items():
            for column, mine in expected_columns(ours["regions"][region]).items():
                official = row[f"{column}_{name}"]
                if math.isfinite(official) and math.isfinite(mine):
                    worst[column] = max(worst.get(column, 0.0), abs(mine - official))
                else:
                    assert str(mine) == str(official), f"pair {number} {region} {column}"
    return worst


def expected_columns(scores: RegionScores) -> dict[str, float]:
    """What the official table should say, from our scores and the known differences of convention."""
    lesions = scores["lesionwise"]["brats-evaluation"]
    counts = {
        "all_instance_tp": float(lesions["found"]),
        "all_instance_fn": float(lesions["missed"]),
        "all_instance_fp": float(lesions["false"]),
    }
    if scores["truth_ml"] == 0 and scores["prediction_ml"] == 0:
        # Nothing in both is undefined there, and agreement (1 and 0 mm) here.
        assert (scores["dice"], scores["hd95_mm"]) == (1.0, 0.0)
        assert (lesions["dice"], lesions["hd95_mm"]) == (None, None)
        return counts | dict.fromkeys(SCORE_COLUMNS, math.nan)
    assert lesions["dice"] is not None
    return counts | {
        "global_dsc": scores["dice"],
        # Masks that share no voxel score the penalty there; here the distance between them, unless one is empty.
        "global_hd95": scores["hd95_mm"] if scores["dice"] else OFFICIAL_PENALTY_MM,
        "lesionwise_dsc_mean": lesions["dice"],
        "lesionwise_hd95_mean": math.inf if lesions["hd95_mm"] is None else lesions["hd95_mm"],
    }


def test_children_agree_on_edge_cases_and_random_ones(tmp_path: Path) -> None:
    rng = np.random.default_rng(20261122)
    pairs = edge_pairs() + [(*random_pair(rng, 4), UNIT_GRID) for _ in range(25)]
    worst = largest_differences(pairs, official_scores(tmp_path, "ped", pairs), "peds")
    assert set(worst) >= set(SCORE_COLUMNS)
    assert max(worst.values()) < TOLERANCE, worst


def test_adults_agree_and_uneven_spacing_differs_for_a_known_reason(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    spacing = (0.9, 1.1, 3.0)
    masks = [random_pair(rng, 3) for _ in range(6)]
    pairs = [(*pair, UNIT_GRID) for pair in masks[:4]] + [(*pair, grid_of(spacing)) for pair in masks[4:]]
    theirs = official_scores(tmp_path, "gli", pairs)
    worst = largest_differences(pairs[:4], theirs[:4], "brats2023")
    assert max(worst.values()) < TOLERANCE, worst

    # On uneven voxels version 0.0.10 measures lesions with the spacing of the axes in reverse, and whole masks in
    # voxels; challenge data has 1 mm voxels, where neither shows. Ours must equal theirs once told the same untruth.
    reverse = [(*pair, grid_of(spacing[::-1])) for pair in masks[4:]]
    lesions = largest_differences(reverse, theirs[4:], "brats2023")
    assert {name: value for name, value in lesions.items() if value > HEADER_TOLERANCE}.keys() == {"global_hd95"}
    voxels = largest_differences([(*pair, UNIT_GRID) for pair in masks[4:]], theirs[4:], "brats2023")
    assert voxels["global_hd95"] < TOLERANCE


def test_the_package_never_reaches_the_product() -> None:
    source = Path(__file__).resolve().parents[2] / "src" / "hope"
    for path in source.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert "brats_evaluation" not in text and "panoptica" not in text, path.name
