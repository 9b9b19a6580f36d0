"""What version 0.1 wrote or took under another name is read for one version."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from hope.contract.outputs import OutputFile, Role, Space
from hope.contract.report import CaseReport
from hope.domain.qc import OLD_CODES
from hope.training.harmonizer_config import HarmonizerConfig

STARTER = Path(__file__).resolve().parents[2] / "src/hope/resources/models/starter"


@pytest.mark.parametrize(("old", "new"), OLD_CODES.items())
def test_codes_in_results(old: str, new: str) -> None:
    flag = {"code": old, "severity": "warning", "reason": "it lies elsewhere"}
    report = CaseReport.stored({"format": "hope-result/1", "case_id": "c", "qc": [flag]})
    assert [read.code for read in report.qc] == [new]
    assert report.to_json()["qc"][0]["code"] == new


def test_the_map_of_uncertainty_by_its_name() -> None:
    old, new = (OutputFile.of_name(f"case-1-{word}-atlas.nii.gz") for word in ("doubt", "uncertainty"))
    assert old is not None and old == new
    assert (old.role, old.space) == (Role.UNCERTAINTY, Space.ATLAS)


def test_settings_in_checkpoints_of_the_harmonizer() -> None:
    now = HarmonizerConfig(voxel_sample_steps=7, voxel_samples_per_step=5, voxels_per_pair=3).to_json()
    old = {
        {
            "voxel_sample_steps": "glances",
            "voxel_samples_per_step": "glances_batch",
            "voxels_per_pair": "voxels_per_exercise",
        }.get(name, name): value
        for name, value in now.items()
    }
    assert old.keys() != now.keys()
    assert HarmonizerConfig.from_json(old) == HarmonizerConfig.from_json(now)


def test_the_shipped_bundle_keeps_its_file_and_its_hash(tmp_path: Path) -> None:
    from hope.models.bundle import read_bundle
    from hope.models.out_of_distribution import OLD_FILE, OUT_OF_DISTRIBUTION, OutOfDistributionScore

    assert OLD_FILE in json.loads((STARTER / "model.json").read_text())["files"]
    folder = shutil.copytree(STARTER, tmp_path / "starter")
    read_bundle(folder).verify()
    old = OutOfDistributionScore.read(folder)
    assert old is not None
    (folder / OLD_FILE).rename(folder / OUT_OF_DISTRIBUTION)
    new = OutOfDistributionScore.read(folder)
    assert new is not None and new.to_json() == old.to_json()
