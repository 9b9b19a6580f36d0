"""DICOM objects of a result as the gateway's child makes them: for whose series, of which mask, and what is refused."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from hope.contract.report import CaseReport
from hope.domain.errors import InputError
from hope.domain.grid import Grid
from hope.domain.progress import silent
from hope.domain.volume import Volume
from hope.formats.dicom import convert_series, read_series
from hope.formats.nifti import read_labels, write_labels
from hope.jobs import bodies
from hope.stages.intake.intake import hash_volume
from hope.stages.report.correction import corrected_report
from hope.testing.dicom_series import SeriesRecipe, write_series
from hope.testing.stored_results import labelled, write_stored_result

SHAPE = (24, 20, 12)
NAME = "SURNAMEMARK^GIVENMARK"


@pytest.fixture
def job(tmp_path: Path) -> dict[str, Any]:
    """A job of a result whose t1c is one of two series on one grid; both are in the zip."""
    rng = np.random.default_rng(3)
    affine = np.diag([0.9, -1.1, 3.0, 1.0])
    for number, description in ((4, "t1"), (7, "t1c")):
        scan = Volume(rng.integers(0, 900, SHAPE).astype(np.float32), Grid(SHAPE, affine))
        recipe = SeriesRecipe(number, "t1", description, tags={"PatientName": NAME})
        write_series(scan, tmp_path / "study" / str(number), recipe)
    for name in ("in", "out", "scratch"):
        (tmp_path / name).mkdir()
    series = next(one for one in read_series(tmp_path / "study") if one.number == 7)
    volume, _ = convert_series(series, tmp_path / "scratch", "t1c")
    write_stored_result(tmp_path / "result", labelled(volume.grid), scan_sha256=hash_volume(volume))
    shutil.copy(tmp_path / "result" / "result.json", tmp_path / "in")
    shutil.copy(tmp_path / "result" / "case-0a1b-seg.nii.gz", tmp_path / "in" / "mask.nii.gz")
    send(tmp_path)
    folders = {name: str(tmp_path / name) for name in ("in", "out", "scratch")}
    return {"do": "dicom-objects", "case": "case-0a1b", "max_bytes": 2**28, **folders}


def send(folder: Path) -> None:
    """Zip the study as the page would."""
    shutil.make_archive(str(folder / "in" / "upload"), "zip", folder / "study")


def test_another_series_on_the_same_grid_is_refused_where_the_scan_was_dicom(
    job: dict[str, Any], tmp_path: Path
) -> None:
    shutil.rmtree(tmp_path / "study" / "7")
    send(tmp_path)
    with pytest.raises(InputError, match="no series that was given has the voxels"):
        bodies.run(job | {"as_dicom": ["t1c"]}, silent)
    assert not (tmp_path / "out" / "objects.zip").exists()


def test_a_scan_that_was_nifti_takes_the_series_at_its_place_and_says_so(job: dict[str, Any], tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "study" / "7")
    send(tmp_path)
    assert b"only its geometry was compared" in made_by(job | {"as_dicom": ["t2w"]})["notes.txt"]


def made_by(job: dict[str, Any]) -> dict[str, bytes]:
    bodies.run(job, silent)
    with zipfile.ZipFile(Path(job["out"]) / "objects.zip") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def read(content: bytes) -> pydicom.Dataset:
    return pydicom.dcmread(io.BytesIO(content))


def test_objects_are_of_the_series_that_the_result_was_made_on(job: dict[str, Any]) -> None:
    made = made_by(job)
    assert set(made) == {"case-0a1b-seg.dcm", "case-0a1b-sr.dcm", "notes.txt"}
    assert made["notes.txt"] == b"HOPE_SITE_SECRET is not set, so tracking UIDs will differ from those of other dates\n"
    segmentation, report = read(made["case-0a1b-seg.dcm"]), read(made["case-0a1b-sr.dcm"])
    source = pydicom.dcmread(next((Path(job["in"]).parent / "study" / "7").iterdir()))
    assert segmentation.ReferencedSeriesSequence[0].SeriesInstanceUID == source.SeriesInstanceUID
    assert segmentation.PatientName == report.PatientName == NAME
    assert {str(one.SegmentAlgorithmType) for one in segmentation.SegmentSequence} == {"AUTOMATIC"}


def test_a_corrected_mask_is_told_as_one(job: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOPE_SITE_SECRET", "a secret of the site")
    folder = Path(job["in"])
    first = made_by(job)
    report = CaseReport.stored(json.loads((folder / "result.json").read_bytes()))
    mask = labelled(read_labels(folder / "mask.nii.gz", "mask").grid, (1, 4))
    write_labels(mask, folder / "mask.nii.gz")
    volumes = {key: {"ml": volume.ml} for key, volume in report.volumes_ml.items()}
    (folder / "result.json").write_text(corrected_report(report, volumes, mask).text())
    shutil.rmtree(job["scratch"])
    Path(job["scratch"]).mkdir()
    second = made_by(job)
    assert "notes.txt" not in second
    before, after = read(first["case-0a1b-seg.dcm"]), read(second["case-0a1b-seg.dcm"])
    assert [str(one.SegmentLabel) for one in after.SegmentSequence] == ["Enhancing tumour", "Peritumoural oedema"]
    assert {str(one.SegmentAlgorithmType) for one in after.SegmentSequence} == {"SEMIAUTOMATIC"}
    assert before.SOPInstanceUID != after.SOPInstanceUID
    # How good the model's mask is expected to be is not said of a corrected one.
    dice = "Expected Dice", "expected quality"
    told = [str(read(one["case-0a1b-sr.dcm"])) for one in (first, second)]
    assert [any(word.lower() in text.lower() for word in dice) for text in told] == [True, False]


def test_another_series_is_refused_and_nothing_is_left(job: dict[str, Any]) -> None:
    folder = Path(job["in"]).parent
    shutil.rmtree(folder / "study")
    scan = Volume(np.ones((9, 9, 5), np.float32), Grid((9, 9, 5), np.eye(4)))
    write_series(scan, folder / "study", SeriesRecipe(1, "t1", "t1", tags={"PatientName": NAME}))
    send(folder)
    with pytest.raises(InputError) as caught:
        bodies.run(job, silent)
    assert "no series that was given has the grid of the mask" in str(caught.value)
    assert "--" not in str(caught.value) and "MARK" not in str(caught.value)
    assert not list(Path(job["out"]).iterdir())
