"""From published kinds of checkpoints to a result: imported, run, cleaned up by their own rules, as a user would."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tests.checkpoints import (
    make_cluster_pickle,
    make_mednext_folder,
    make_nnunet_folder,
    make_swinunetr_folder,
    make_threshold_files,
)

from hope.cli import main
from hope.domain.case import SEQUENCES
from hope.domain.grid import ATLAS_GRID
from hope.domain.volume import Volume
from hope.formats.nifti import read_labels, read_scan, write_scan
from hope.stages.postprocess.radiomics import FEATURE_NAMES

PATCH = (64, 64, 64)


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models directory with ``tiny`` (three architectures, five folds, rules and cluster model), and ``plain``."""
    folder = tmp_path_factory.mktemp("published")
    make_nnunet_folder(folder / "nnunet", (0, 1), patch=PATCH)
    make_mednext_folder(folder / "mednext", (0, 1), patch=PATCH)
    # Whole volumes in overlapping tiles, as published, would take minutes.
    make_swinunetr_folder(folder / "swinunetr", (0,), roi=PATCH, overlap=0.0)
    make_cluster_pickle(folder / "PEDS_cluster.pkl", FEATURE_NAMES)
    make_threshold_files(folder)
    models = tmp_path_factory.mktemp("models")
    for source, name in ((folder, "tiny"), (folder / "nnunet", "plain")):
        done = CliRunner().invoke(
            main, ["models", "add", str(source), "--id", name], env={"HOPE_MODELS_DIR": str(models)}
        )
        assert done.exit_code == 0, done.output
    return models


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small stripped "brain" of noise in atlas space, so that random networks have something to disagree about."""
    folder = tmp_path_factory.mktemp("cases") / "case-tiny"
    folder.mkdir()
    rng = np.random.default_rng(5)
    for sequence in SEQUENCES:
        data = np.zeros(ATLAS_GRID.shape, np.float32)
        data[80:150, 90:150, 50:110] = rng.normal(300, 60, (70, 60, 60))  # two tiles of the networks' patch
        write_scan(Volume(data, ATLAS_GRID), folder / f"case-tiny-{sequence}.nii.gz")
    return folder


@pytest.fixture(scope="module")
def result(models_dir: Path, case: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out")
    command = ["segment", str(case), "-o", str(out), "--model", "tiny", "--preprocessed", "--no-mirror", "--doubt-map"]
    done = CliRunner().invoke(main, command, env={"HOPE_MODELS_DIR": str(models_dir)})
    assert done.exit_code == 0, done.output
    return next(out.glob("case-*"))


def test_the_result_says_what_ran(result: Path) -> None:
    facts = json.loads((result / "result.json").read_text())
    assert facts["model"]["id"] == "tiny"
    assert facts["model"]["members"] == 5
    assert facts["model"]["mirroring"] is False
    assert "members" in facts["interval_method"]


def test_the_models_own_rules_were_applied_and_told(result: Path) -> None:
    cleaned = json.loads((result / "result.json").read_text())["postprocess"]
    assert cleaned["cluster"] in range(9)
    assert "cluster" in cleaned["rules"]
    assert cleaned["changed"] is True
    labels = read_labels(result / f"{result.name}-seg-atlas.nii.gz").data
    assert cleaned["after_ml"]["WT"] == pytest.approx(np.count_nonzero(labels) / 1000, abs=1e-3)


def test_the_interval_holds_the_volume_and_comes_from_disagreement(result: Path) -> None:
    volumes = json.loads((result / "result.json").read_text())["volumes_ml"]
    assert all(entry["low_ml"] <= entry["ml"] <= entry["high_ml"] for entry in volumes.values())
    assert any(entry["low_ml"] < entry["high_ml"] for entry in volumes.values())


def test_the_map_of_doubt_lies_on_the_atlas(result: Path) -> None:
    uncertainty = read_scan(result / f"{result.name}-uncertainty-atlas.nii.gz", "uncertainty")[0]
    assert uncertainty.grid.same_as(ATLAS_GRID)
    assert uncertainty.data.min() >= 0
    assert 0 < uncertainty.data.max() <= 1
    # Five members that were drawn at random disagree in steps of a member.
    assert len(np.unique(np.round(uncertainty.data, 2))) > 3


def test_one_architecture_alone_and_left_as_it_is(models_dir: Path, case: Path, tmp_path: Path) -> None:
    command = ["segment", str(case), "-o", str(tmp_path), "--model", "plain", "--preprocessed", "--no-mirror"]
    done = CliRunner().invoke(main, [*command, "--no-postprocess"], env={"HOPE_MODELS_DIR": str(models_dir)})
    assert done.exit_code == 0, done.output
    cleaned = json.loads(next(tmp_path.glob("case-*/result.json")).read_text())["postprocess"]
    assert (cleaned["rules"], cleaned["changed"]) == ("none", False)


def test_a_missing_sequence_is_refused_by_name(models_dir: Path, case: Path, tmp_path: Path) -> None:
    scans = [part for s in ("t1n", "t1c", "t2w") for part in (f"--{s}", str(case / f"case-tiny-{s}.nii.gz"))]
    command = ["segment", *scans, "-o", str(tmp_path / "out"), "--model", "plain", "--preprocessed"]
    done = CliRunner().invoke(main, command, env={"HOPE_MODELS_DIR": str(models_dir)})
    assert done.exit_code == 2
    assert "t2f" in done.output
    assert not (tmp_path / "out").exists()
