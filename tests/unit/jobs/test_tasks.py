"""Archives give clean scans with a sequence where it is certain; masks are checked before they count."""

from __future__ import annotations

import base64
import csv
import gzip
import io
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.jobs.driving import job_in

from hope.contract.report import CaseReport
from hope.domain.case import MRSequence
from hope.domain.errors import InputError, StageError
from hope.domain.grid import ALL_ORIENTATIONS, Grid
from hope.domain.progress import silent
from hope.domain.volume import Volume
from hope.formats.nifti import read_labels, read_scan, write_labels, write_scan
from hope.jobs import tasks
from hope.synthesis import raw
from hope.synthesis import sample as sample_case
from hope.testing.dicom_series import IDENTITY, PATIENT_ID, SeriesRecipe, write_series
from hope.testing.head import head_scan

T1N = SeriesRecipe(2, "t1", "t1_se_tra SURNAMEMARK", tags={"ContrastBolusAgent": "NONE"})
T1C = SeriesRecipe(7, "t1", "t1 tra", tags={"ContrastBolusAgent": "GADO"})
T2 = SeriesRecipe(3, "t2", "t2_tse_tra")
FLAIR = SeriesRecipe(4, "flair", "flair tra")
SCOUT = SeriesRecipe(1, "none", "localizer")
ODD = SeriesRecipe(5, "none", "study of SURNAMEMARK")


def volume_of(number: int) -> Volume:
    affine = np.array([[-2.0, 0, 0, 60], [0, -2.0, 0, 55], [0, 0, 5.0, -45], [0, 0, 0, 1]])
    rng = np.random.default_rng(number)
    return Volume(rng.integers(0, 1000, (60, 56, 18)).astype(np.float32), Grid((60, 56, 18), affine))


def dicom_zip(folder: Path, *recipes: SeriesRecipe) -> Path:
    for recipe in recipes:
        write_series(volume_of(recipe.number), folder / "study" / str(recipe.number), recipe)
    return zipped(folder, sorted((folder / "study").rglob("*")), folder / "study")


def zipped(folder: Path, files: list[Path], root: Path) -> Path:
    (folder / "in").mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / "in" / "upload.zip", "w") as archive:
        for path in files:
            if path.is_file():
                archive.write(path, path.relative_to(root))
    return folder


def dicom(folder: Path, **more: Any) -> dict[str, Any]:
    job = job_in(folder, "dicom", max_bytes=2**30, **more)
    done = tasks.dicom(job, silent)
    files = {entry["file"] for entry in done["result"]["series"]}
    assert files == {entry["name"] for entry in done["artifacts"]} == {p.name for p in Path(job["out"]).iterdir()}
    return done["result"]


def test_a_clear_study_is_assigned_and_keeps_every_voxel_in_place(tmp_path: Path) -> None:
    result = dicom(dicom_zip(tmp_path, T1N, T1C, T2, FLAIR, SCOUT))
    by_key = {entry["key"]: entry for entry in result["series"]}
    assert set(by_key) == {"t1n", "t1c", "t2w", "t2f"}
    assert all(entry["sequence"] == key for key, entry in by_key.items())
    assert result["problem"] == ""
    for key, number in (("t1n", 2), ("t1c", 7), ("t2w", 3), ("t2f", 4)):
        scan, facts = read_scan(tmp_path / "out-dicom" / f"{key}.nii", key)
        original = volume_of(number).reoriented(scan.grid.orientation)
        assert scan.grid.same_as(original.grid, 0.01)
        assert np.array_equal(scan.data, original.data)
        assert facts.dtype == "int16"
        assert by_key[key]["shape"] == list(scan.grid.shape)
        assert by_key[key]["confidence"] > 0.6
        assert f"axial, series {number}" in by_key[key]["reason"]
    assert "contrast agent is named" in by_key["t1c"]["reason"]


def test_what_is_not_certain_is_left_to_the_user_and_the_rest_is_assigned(tmp_path: Path) -> None:
    silent_t1 = [SeriesRecipe(n, "t1", "t1") for n in (2, 7)]
    result = dicom(dicom_zip(tmp_path, *silent_t1, T2, FLAIR, ODD))
    assert [entry["sequence"] for entry in result["series"]].count(None) == 3
    assert {entry["sequence"] for entry in result["series"]} == {None, "t2w", "t2f"}
    assert {entry["key"] for entry in result["series"]} == {"t2w", "t2f", "series-1", "series-2", "series-3"}
    assert "contrast" in result["problem"]
    assert "series 2" in result["problem"]
    assert "series 7" in result["problem"]
    assert "--" not in result["problem"]


def test_nothing_of_the_person_survives(tmp_path: Path) -> None:
    result = dicom(dicom_zip(tmp_path, T1N, T1C, T2, FLAIR, ODD))
    reported = json.dumps(result)
    files = b"".join(path.read_bytes() for path in (tmp_path / "out-dicom").iterdir())
    for mark in (*IDENTITY.split("^"), PATIENT_ID, "19700101", "20200102"):
        assert mark not in reported
        assert mark.encode() not in files


def test_a_series_with_missing_slices_is_left_out_and_named(tmp_path: Path) -> None:
    broken = SeriesRecipe(4, "flair", "flair", skip=(7, 8, 9))
    result = dicom(dicom_zip(tmp_path, T1N, T2, broken))
    assert {entry["key"] for entry in result["series"]} == {"t1n", "t2w"}
    assert "series 4" in result["problem"]


def test_two_studies_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="2 studies"):
        dicom(dicom_zip(tmp_path, T1N, SeriesRecipe(3, "t2", "t2", study="2")))


@pytest.mark.parametrize("recipes", [(SCOUT,), (SeriesRecipe(9, "none", "dwi"),)])
def test_a_study_without_anything_useful_says_what_it_holds(recipes: tuple[SeriesRecipe, ...], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no series that could be"):
        dicom(dicom_zip(tmp_path, *recipes))


@pytest.mark.parametrize(
    "names",
    [
        {"t1n": "BraTS-PED-00001-000-t1n.nii.gz", "t2f": "BraTS-PED-00001-000-t2f.nii.gz"},
        {"t1n": "sub-01/anat/sub-01_T1w.nii.gz", "t2f": "sub-01/anat/sub-01_FLAIR.nii.gz"},
    ],
)
def test_a_zip_of_named_nifti_works_too(names: dict[str, str], tmp_path: Path) -> None:
    heads = {key: head_scan(n) for n, key in enumerate(names)}
    for key, name in names.items():
        (tmp_path / "files" / name).parent.mkdir(parents=True, exist_ok=True)
        write_scan(heads[key], tmp_path / "files" / name)
    result = dicom(zipped(tmp_path, sorted((tmp_path / "files").rglob("*")), tmp_path / "files"))
    assert {entry["key"]: entry["sequence"] for entry in result["series"]} == {key: key for key in names}
    assert result["problem"] == ""
    for key, head in heads.items():
        assert read_scan(tmp_path / "out-dicom" / f"{key}.nii", key)[0].same_as(head)


def test_nifti_files_with_other_names_can_be_chosen(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    for number, name in enumerate(("SURNAMEMARK one.nii", "two.nii.gz", "scan_flair.nii.gz", "x-seg.nii.gz")):
        write_scan(head_scan(number), tmp_path / "files" / name)
    result = dicom(zipped(tmp_path, sorted((tmp_path / "files").iterdir()), tmp_path / "files"))
    assert {(entry["key"], entry["sequence"]) for entry in result["series"]} == {
        ("t2f", "t2f"),
        ("series-1", None),
        ("series-2", None),
    }
    assert "choose" in result["problem"]
    assert "SURNAMEMARK" not in json.dumps(result)


def test_several_cases_are_refused(tmp_path: Path) -> None:
    for case in ("BraTS-PED-00001-000", "BraTS-PED-00002-000"):
        (tmp_path / "files" / case).mkdir(parents=True)
        write_scan(head_scan(1), tmp_path / "files" / case / f"{case}-t1c.nii.gz")
    with pytest.raises(InputError, match="several cases"):
        dicom(zipped(tmp_path, sorted((tmp_path / "files").rglob("*")), tmp_path / "files"))


def test_an_archive_of_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("hello")
    with pytest.raises(InputError, match="holds no scan"):
        dicom(zipped(tmp_path, [tmp_path / "letter.txt"], tmp_path))
    (tmp_path / "in" / "upload.zip").write_bytes(b"PK\x03\x04 but no more")
    with pytest.raises(InputError, match="damaged"):
        dicom(tmp_path)


def test_the_limit_of_bytes_is_kept(tmp_path: Path) -> None:
    dicom_zip(tmp_path, T2)
    job = job_in(tmp_path, "dicom") | {"max_bytes": 100_000}
    with pytest.raises(InputError, match="unpacks to far more"):
        tasks.dicom(job, silent)
    assert not list(Path(job["out"]).iterdir())


class _Small:
    """A stand-in for the synthesis that counts how often it is asked."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self, seed: int, index: int, options: Any) -> Any:
        self.made += 1
        heads = {s: head_scan(n + seed) for n, s in enumerate(MRSequence)}
        return raw.RawCase(heads, heads[MRSequence.T1C], heads[MRSequence.T1C], {}, (options.kind,))


def test_the_sample_is_made_once_and_given_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = _Small()
    monkeypatch.setattr(raw, "raw_case", small)
    answers = []
    for name in ("a", "b"):
        job = job_in(tmp_path / name, "sample", cache=str(tmp_path / "cache"))
        answers.append(tasks.sample(job, silent))
        keys = [entry["key"] for entry in answers[-1]["result"]["series"]]
        assert keys == ["t1n", "t1c", "t2w", "t2f"]
        for key in keys:
            scan, facts = read_scan(Path(job["out"]) / f"{key}.nii", key)
            assert facts.dtype == "int16"
            assert scan.data.std() > 10
        assert sorted(p.name for p in Path(job["out"]).iterdir()) == ["t1c.nii", "t1n.nii", "t2f.nii", "t2w.nii"]
    assert small.made == 1
    assert answers[0] == answers[1]
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_a_broken_attempt_leaves_no_half_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = _Small()
    monkeypatch.setattr(raw, "raw_case", small)
    monkeypatch.setattr(sample_case, "clean_nifti", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
    job = job_in(tmp_path, "sample", cache=str(tmp_path / "cache"))
    with pytest.raises(OSError, match="full"):
        tasks.sample(job, silent)
    assert not list((tmp_path / "cache").iterdir())
    monkeypatch.undo()
    monkeypatch.setattr(raw, "raw_case", small)
    assert tasks.sample(job, silent)["result"]["series"]


REFERENCE = Grid((9, 7, 5), np.array([[-1.0, 0.02, 0, 50], [0.02, -1.2, 0, 60], [0, 0.1, 4.0, -30], [0, 0, 0, 1]]))


def a_mask() -> Volume:
    data = np.zeros(REFERENCE.shape, np.uint8)
    data[1:4, 2, 1:3] = 1
    data[5, 3:5, 4] = 4
    data[7, 1, 0] = 3
    return Volume(data, REFERENCE)


def correct(folder: Path, mask: Volume | None = None) -> dict[str, Any]:
    job = job_in(folder, "segmentation")
    if mask is not None:
        write_labels(mask, folder / "in" / "mask.nii.gz")
    if not (folder / "in" / "reference.json").is_file():
        write_scan(head_scan(1, grid=REFERENCE), folder / "in" / "reference.nii.gz")
    return tasks.segmentation(job, silent)["result"]


@settings(max_examples=20)
@given(st.sampled_from(ALL_ORIENTATIONS))
def test_a_mask_in_any_order_of_axes_comes_back_on_the_reference_grid(orientation: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        result = correct(folder, a_mask().reoriented(orientation))
        back = read_labels(folder / "out-segmentation" / "mask.nii.gz")
        assert back.same_as(a_mask())
    ml = REFERENCE.voxel_volume_ml
    expected = {"ET": 6, "NET": 0, "CC": 1, "ED": 2, "TC": 7, "WT": 9}
    assert {key: entry["ml"] for key, entry in result["volumes_ml"].items()} == {
        key: round(count * ml, 3) for key, count in expected.items()
    }
    assert result["warnings"] == []


def checked(folder: Path, scans: dict[str, Volume]) -> dict[str, Any]:
    job = job_in(folder, "checks")
    for sequence, scan in scans.items():
        write_scan(scan, folder / "in" / f"{sequence}.nii")
    return tasks.checks(job, silent)["result"]


def test_scans_are_checked_before_a_run_and_nothing_is_kept(tmp_path: Path) -> None:
    four = {s: head_scan(number, enhanced=s == "t1c") for number, s in enumerate(("t1n", "t1c", "t2w", "t2f"))}
    found = checked(tmp_path / "sound", four)
    assert found["problem"] == "" and {flag["code"] for flag in found["remarks"]} >= {"treated_as_raw"}
    assert not list((tmp_path / "sound" / "out-checks").iterdir())
    assert set(found["thumbnails"]) == set(four)
    assert all(base64.b64decode(picture)[8:12] == b"WEBP" for picture in found["thumbnails"].values())
    twice = checked(tmp_path / "twice", four | {"t2f": four["t2w"]})
    assert "t2w and t2f are the same image" in twice["problem"]
    assert set(twice["thumbnails"]) == set(four)  # most wanted where something is wrong
    mask = Volume((four["t2f"].data > 100).astype(np.float32), four["t2f"].grid)
    assert "t2f looks like a label volume or a mask" in checked(tmp_path / "mask", four | {"t2f": mask})["problem"]


def test_a_correction_has_a_report_a_picture_and_tables_of_its_own(tmp_path: Path) -> None:
    job_in(tmp_path, "segmentation")
    of_the_model = {"WT": {"ml": 99.0, "low_ml": 90.0, "high_ml": 110.0}}
    facts = {
        "case_id": "case-x", "volumes_ml": of_the_model, "interval_method": "by shares", "tumour_found": True,
        "input": {"reference": "t1c"}, "expected_quality": {"verdict": "check"},
    }  # fmt: skip
    (tmp_path / "in" / "result.json").write_text(json.dumps(facts))
    measured = correct(tmp_path, a_mask())["volumes_ml"]
    out = tmp_path / "out-segmentation"
    stored = CaseReport.stored(json.loads((out / "result.json").read_bytes()))
    assert stored.corrected and stored.millilitres() == measured and stored.interval_method is None
    rows = list(csv.DictReader((out / "volumes.csv").read_text().splitlines()))
    assert {row["part"]: float(row["ml"]) for row in rows} == {key: entry["ml"] for key, entry in measured.items()}
    html = (out / "report.html").read_text()
    assert "corrected by hand" in html and "Expected quality of the model&#x27;s result: check" in html.replace(
        "'", "&#x27;"
    )
    assert "99.0 ml" not in html
    assert (out / "preview.png").read_bytes().startswith(b"\x89PNG")
    assert (out / "quick-look.webp").read_bytes()[8:12] == b"WEBP"


def test_the_reference_may_be_told_as_json(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "reference.json").write_text(json.dumps(REFERENCE.to_json()))
    assert correct(tmp_path, a_mask())["volumes_ml"]["WT"]["ml"] > 0


def test_rounded_matrices_are_let_through_and_the_exact_grid_is_kept(tmp_path: Path) -> None:
    rounded = Volume(a_mask().data, Grid(REFERENCE.shape, np.round(REFERENCE.affine_ras_mm + 0.004, 2)))
    correct(tmp_path, rounded)
    assert read_labels(tmp_path / "out-segmentation" / "mask.nii.gz").grid.same_as(REFERENCE, 1e-4)


def test_a_mask_elsewhere_or_of_another_size_is_refused(tmp_path: Path) -> None:
    moved = REFERENCE.affine_ras_mm + np.eye(4, k=3) * 2.0
    with pytest.raises(InputError, match=r"lies elsewhere than the scan .* 2\.0 mm"):
        correct(tmp_path, Volume(a_mask().data, Grid(REFERENCE.shape, moved)))
    with pytest.raises(InputError, match="another grid"):
        correct(tmp_path, Volume(a_mask().data[:-1], REFERENCE.cropped((0, 0, 0), (8, 7, 5))))


@pytest.mark.parametrize(("value", "words"), [(5, "unknown labels"), (0.5, "not a label volume"), (-1, "not a label")])
def test_other_values_than_labels_are_refused(value: float, words: str, tmp_path: Path) -> None:
    data = a_mask().data.astype(np.float32)
    data[0, 0, 0] = value
    job_in(tmp_path, "segmentation")
    write_scan(Volume(data, REFERENCE), tmp_path / "in" / "mask.nii")
    with pytest.raises(InputError, match=words):
        correct(tmp_path)
    assert not list((tmp_path / "out-segmentation").iterdir())


def test_an_empty_mask_is_a_warning(tmp_path: Path) -> None:
    assert correct(tmp_path, a_mask().with_data(np.zeros_like(a_mask().data)))["warnings"]


def test_a_header_of_a_huge_volume_costs_nothing(tmp_path: Path) -> None:
    job_in(tmp_path, "segmentation")
    header = nib.Nifti1Header()
    header.set_data_dtype(np.uint8)
    header.set_data_shape((600, 600, 600))
    header.set_sform(np.eye(4), 1)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    stream = io.BytesIO()
    header.write_to(stream)
    (tmp_path / "in" / "mask.nii.gz").write_bytes(gzip.compress(stream.getvalue() + bytes(1000)))
    with pytest.raises(InputError, match="another grid"):
        correct(tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"", b"\x1f\x8b", b"junk" * 200, gzip.compress(b"x" * 100, mtime=0)[:-3]],
    ids=["empty", "two bytes", "no gzip", "cut gzip"],
)
def test_damaged_masks_are_refused(content: bytes, tmp_path: Path) -> None:
    job_in(tmp_path, "segmentation")
    (tmp_path / "in" / "mask.nii.gz").write_bytes(content)
    with pytest.raises(InputError):
        correct(tmp_path)


def test_what_the_gateway_forgot_is_our_fault(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="no mask"):
        correct(tmp_path)
    shutil.rmtree(tmp_path / "in")
    with pytest.raises(StageError, match="no reference"):
        tasks.segmentation(job_in(tmp_path, "segmentation"), silent)
