"""Masks for 3D Slicer and ITK-SNAP, read back as those programs read them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from click.testing import CliRunner

from hope.cli import main
from hope.domain.grid import Grid
from hope.testing.stored_results import labelled, write_stored_result

AFFINE = np.array([[0.6, -2.4, 0.3, 10], [0.9, 1.5, -0.2, -20], [-0.1, 0.5, 3.0, 30], [0, 0, 0, 1.0]])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("result") / "case"
    write_stored_result(folder, labelled(orthogonal(), (1, 3, 4)))
    return folder


def orthogonal() -> Grid:
    """A turned and flipped grid of unequal voxels."""
    axes, _ = np.linalg.qr(AFFINE[:3, :3])
    affine = AFFINE.copy()
    affine[:3, :3] = axes @ np.diag([1.1, -0.8, 3.0])
    return Grid((14, 16, 13), affine)


def run(*words: object) -> str:
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exit_code == 0, done.stderr
    return done.stdout


def test_a_correction_that_is_not_exported_is_named(folder: Path, tmp_path: Path) -> None:
    result = Path(shutil.copytree(folder, tmp_path / "case"))
    words = ["export", str(result), "--slicer", "-o", str(tmp_path / "out")]
    assert CliRunner().invoke(main, words).stderr == ""
    (result / "result-v1.json").write_text("{}")
    said = CliRunner().invoke(main, [*words, "--replace"])
    assert said.exit_code == 0 and said.stderr == (
        "note: case-0a1b was corrected by hand (result-v*.json), but the run (result.json) is taken\n"
    )


def test_slicer_file_is_the_mask_with_names_and_terminology(folder: Path, tmp_path: Path) -> None:
    run("export", folder, "--slicer", "-o", tmp_path)

    image = sitk.ReadImage(str(tmp_path / "case-0a1b.seg.nrrd"))
    mask = labelled(orthogonal(), (1, 3, 4))
    assert np.array_equal(sitk.GetArrayFromImage(image).transpose(2, 1, 0), mask.data)
    for voxel in ((0, 0, 0), (13, 2, 7)):
        lps = np.array(image.TransformIndexToPhysicalPoint(voxel))
        assert np.allclose(lps * [-1, -1, 1], mask.grid.to_world(voxel), atol=1e-5)
    segments = {
        image.GetMetaData(f"Segment{n}_Name"): (
            image.GetMetaData(f"Segment{n}_LabelValue"),
            image.GetMetaData(f"Segment{n}_Color"),
            image.GetMetaData(f"Segment{n}_Tags"),
        )
        for n in range(4)
    }
    value, colour, tags = segments["CC Cystic component"]
    assert value == "3"
    assert [round(float(part) * 255) for part in colour.split()] == [0x00, 0x9E, 0x73]
    assert "SCT^367643001^Cyst" in tags


def test_itksnap_descriptions_name_every_label(folder: Path, tmp_path: Path) -> None:
    run("export", folder, "--itksnap", "-o", tmp_path)

    lines = (tmp_path / "case-0a1b-labels.txt").read_text().splitlines()
    rows = [line.split(maxsplit=7) for line in lines if not line.startswith("#")]
    assert [int(row[0]) for row in rows] == [0, 1, 2, 3, 4]
    assert rows[1][1:4] == ["213", "94", "0"]
    assert rows[4][7] == '"ED Peritumoural oedema"'


def test_a_viewer_has_to_be_named(folder: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["export", str(folder), "-o", str(tmp_path / "out")])

    assert done.exit_code == 2
    assert "no viewer was named" in done.stderr
    assert not (tmp_path / "out").exists()
