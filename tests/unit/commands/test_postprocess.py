"""hope postprocess with a cluster model: images in, the cluster told, everything that was done said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from hope.commands.postprocess import postprocess
from hope.domain.case import SEQUENCES
from hope.domain.errors import InputError, StageError
from hope.domain.grid import ATLAS_GRID, Grid
from hope.domain.labels import ED, ET, NET
from hope.domain.volume import Volume
from hope.formats.nifti import read_labels, write_labels, write_scan
from hope.models.bundle import POSTPROCESS, write_manifest
from hope.stages.postprocess.postprocess import count_voxels

SHAPE = (12, 10, 8)
GRID = Grid(SHAPE, ATLAS_GRID.affine_ras_mm)
RULES: dict[str, Any] = {
    "format": "hope-postprocess-rules",
    "format_version": 1,
    "name": "mine",
    "redefine_to": "NET",
    "order": ["ET", "CC", "ED"],
    "clusters": [{"minimum_voxels": {"ET": 5}}, {"redefine_below_share": {"ED": 0.25}}],
}
CLUSTERS: dict[str, Any] = {
    "format": "hope-clusters/1",
    "name": "tiny",
    "features": ["a", "b"],
    "normalisation": {"kind": "l2"},
    "pca": {"mean": [0.0, 0.0], "components": [[1.0, 0.0], [0.0, 1.0]]},
    "centers": [[1.0, 0.0], [0.0, 1.0]],
    "note": "",
}
RECORD = {"format": "hope-postprocess/1", "rules": RULES, "clusters": CLUSTERS}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A mask, its images in case/, rules.json and a features function that says cluster 1."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[0, 0, :4], labels[4], labels[6, 0, :8] = ET, NET, ED
    write_labels(Volume(labels, GRID), tmp_path / "in.nii.gz")
    (tmp_path / "case").mkdir()
    for sequence in SEQUENCES:
        image = Volume(np.ones(SHAPE, np.float32), GRID).reoriented("RAS")
        write_scan(image, tmp_path / "case" / f"c1-{sequence}-atlas.nii.gz")
    (tmp_path / "rules.json").write_text(json.dumps(RECORD), encoding="utf-8")
    monkeypatch.setattr(
        "hope.stages.postprocess.radiomics.tumour_features", lambda images, labels: {"a": 0.5, "b": 3.0}
    )
    monkeypatch.setenv("HOPE_MODELS_DIR", str(tmp_path / "models"))
    return tmp_path


def run(place: Path, *words: object) -> str:
    arguments = [str(place / "in.nii.gz"), str(place / "out.nii.gz"), *map(str, words)]
    outcome = CliRunner().invoke(postprocess, arguments, catch_exceptions=False)
    assert outcome.exit_code == 0, outcome.output
    return outcome.output


def install(place: Path, record: dict[str, Any] | None) -> None:
    folder = place / "models" / "ours"
    folder.mkdir(parents=True)
    (folder / "weights.safetensors").write_bytes(b"x")
    if record is not None:
        (folder / POSTPROCESS).write_text(json.dumps(record), encoding="utf-8")
    manifest = {
        "format": "hope-bundle/1",
        "id": "ours",
        "version": "1",
        "licence": "none",
        "architecture": {"name": "UNet", "arguments": {}},
        "input": {
            "sequences": ["t1n", "t1c", "t2w", "t2f"],
            "optional": [],
            "max_missing": 0,
            "spacing_mm": 1.0,
            "head_state": "brain",
            "normalisation": "zscore",
        },
        "patch": [16, 16, 16],
        "label_schema": "peds",
    }
    write_manifest(folder, manifest)


def test_a_file_with_a_cluster_model_tells_the_cluster_from_images(place: Path) -> None:
    output = run(place, "--rules", place / "rules.json", "--case", place / "case", "--json", place / "facts.json")
    assert "mine cluster 1" in output
    assert "cluster model tiny; next is cluster 0" in output
    assert "ED         0.008       0.000" in output
    assert count_voxels(read_labels(place / "out.nii.gz").data)["NET"] == 88
    facts = json.loads((place / "facts.json").read_text())
    assert (facts["cluster"], facts["renamed_ml"], facts["removed_ml"]) == (1, {"ED": 0.008}, {})


def test_images_may_be_named_one_by_one(place: Path) -> None:
    named = [word for s in SEQUENCES for word in (f"--{s}", place / "case" / f"c1-{s}-atlas.nii.gz")]
    assert "mine cluster 1" in run(place, "--rules", place / "rules.json", *named)
    with pytest.raises(InputError, match="no t2f"):
        run(place, "--rules", place / "rules.json", *named[:-2])


def test_a_mask_in_the_numbers_of_adults_is_told(place: Path) -> None:
    assert "scheme do" not in run(place, "--rules", place / "rules.json", "--cluster", 0)
    distance = np.linalg.norm(np.indices((40, 40, 40)) - 20, axis=0)
    adult = np.select([distance < 6, distance < 9, distance < 15], [1, 4, 2], 0).astype(np.uint8)
    write_labels(Volume(adult, Grid((40, 40, 40), ATLAS_GRID.affine_ras_mm)), place / "in.nii.gz")
    assert "those of the brats2021 scheme do" in run(
        place, "--rules", place / "rules.json", "--cluster", 0, "--replace"
    )


def test_a_named_cluster_needs_no_image(place: Path) -> None:
    output = run(place, "--rules", place / "rules.json", "--cluster", 0, "--json", place / "facts.json")
    assert "cluster chosen by: --cluster" in output
    assert json.loads((place / "facts.json").read_text())["removed_ml"] == {"ET": 0.004}
    with pytest.raises(InputError, match="nothing to tell"):
        run(place, "--rules", place / "rules.json", "--cluster", 0, "--case", place / "case")


@pytest.mark.parametrize("lost", ["in.nii.gz", "out.nii.gz", "case/c1-t2f-atlas.nii.gz"])
def test_no_file_of_the_user_is_written_over(place: Path, lost: str) -> None:
    before = {path: path.read_bytes() for path in place.rglob("*.nii.gz")}
    images = ["--rules", place / "rules.json", "--case", place / "case"]
    with pytest.raises(InputError, match="--json names a file that is the input or the output"):
        run(place, *images, "--json", place / lost)
    if lost != "out.nii.gz":
        words = map(str, (place / "in.nii.gz", place / lost, *images))
        with pytest.raises(InputError, match="the same file"):
            CliRunner().invoke(postprocess, list(words), catch_exceptions=False)
    assert {path: path.read_bytes() for path in place.rglob("*.nii.gz")} == before


def test_a_bundle_brings_its_rules_and_its_cluster_model(place: Path) -> None:
    install(place, RECORD)
    assert "mine cluster 1" in run(place, "--model", "ours", "--case", place / "case")
    (place / "own.json").write_text(json.dumps({**RULES, "name": "others"}), encoding="utf-8")
    assert "others cluster 1" in run(place, "--rules", place / "own.json", "--model", "ours", "--case", place / "case")
    with pytest.raises(InputError, match="do not belong together"):
        run(place, "--rules", "hope-peds-2024", "--model", "ours", "--case", place / "case")


def test_a_bundle_without_post_processing_is_refused(place: Path) -> None:
    install(place, None)
    with pytest.raises(InputError, match="no post-processing of its own"):
        run(place, "--model", "ours", "--case", place / "case")


def test_what_is_missing_is_said(place: Path) -> None:
    with pytest.raises(InputError, match="no rules were named"):
        run(place)
    with pytest.raises(InputError, match=r"four images .*--case DIR.*--cluster 0\.\.1"):
        run(place, "--rules", place / "rules.json")
    with pytest.raises(InputError, match=r"no cluster model.*--model ID.*--cluster 0\.\.8"):
        run(place, "--rules", "hope-peds-2024", "--case", place / "case")
    (place / "empty").mkdir()
    with pytest.raises(InputError, match="holds no image"):
        run(place, "--rules", place / "rules.json", "--case", place / "empty")
    assert not (place / "out.nii.gz").exists()


def test_images_of_another_grid_are_refused(place: Path) -> None:
    write_scan(
        Volume(np.ones((12, 10, 9), np.float32), Grid((12, 10, 9), np.eye(4))), place / "case/c1-t2w-atlas.nii.gz"
    )
    with pytest.raises(InputError, match="t2w does not lie on the grid of the mask"):
        run(place, "--rules", place / "rules.json", "--case", place / "case")


def test_where_the_cluster_cannot_be_told_nothing_is_written(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hope.stages.postprocess.radiomics.tumour_features", lambda images, labels: {"a": 0.5})
    with pytest.raises(StageError, match=r"not applied.*not computed: b; nothing was written"):
        run(place, "--rules", place / "rules.json", "--case", place / "case")
    assert not (place / "out.nii.gz").exists()
