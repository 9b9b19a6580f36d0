"""Whose scans lie in a directory, and what of it is left out: never joined, never dropped without a word."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid

from hope.domain.case import SEQUENCES, MRSequence
from hope.domain.errors import AmbiguousInputError, InputError
from hope.domain.grid import Grid
from hope.domain.volume import Volume
from hope.formats.nifti import write_scan
from hope.stages.intake.case_finding import find_all, find_cases
from hope.stages.intake.intake import load_case
from hope.stages.intake.scan_reading import resolve_all
from hope.testing.dicom_series import SeriesRecipe, write_series
from hope.testing.enhanced_series import EnhancedRecipe, write_enhanced
from hope.testing.head import HEAD_GRID, head_scan

T1N, T1C, T2W, T2F = SEQUENCES


def _volume(seed: int = 3) -> Volume:
    affine = np.diag([8.0, 8.0, 12.0, 1.0])
    grid = Grid((24, 24, 12), affine)
    return Volume(np.random.default_rng(seed).integers(0, 900, grid.shape).astype(np.float32), grid)


def _nifti(directory: Path, *names: str) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        write_scan(_volume(number), directory / f"{name}.nii.gz")
    return directory


def _dicom(root: Path, *recipes: SeriesRecipe, flat: bool = False) -> Path:
    for number, recipe in enumerate(recipes):
        files = write_series(_volume(), root / f"s{number}", recipe)
        if flat:
            for file in files:
                file.rename(root / f"{number}{file.name}")
            (root / f"s{number}").rmdir()
    return root


AGENT = {"ContrastBolusAgent": "Gadovist"}


def _exam(first: int, study: str = "1", **tags: object) -> list[SeriesRecipe]:
    return [
        SeriesRecipe(first, "t1", "t1", study, tags=tags),
        SeriesRecipe(first + 1, "t2", "t2", study, tags=tags),
        SeriesRecipe(first + 2, "t1", "t1 km", study, tags={**AGENT, **tags}),
    ]


# --- whose ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "cases"),
    [
        (
            [f"BraTS-PED-0000{n}-000-{s}" for n in (1, 2) for s in ("t1n", "t2w")],
            ["BraTS-PED-00001-000", "BraTS-PED-00002-000"],
        ),
        ([f"sub-01_ses-0{n}_{s}" for n in (1, 2) for s in ("T1w", "FLAIR")], ["sub-01_ses-01", "sub-01_ses-02"]),
        ([f"sub-0{n}_{s}" for n in (1, 2, 3) for s in ("T1w", "T2w")], ["sub-01", "sub-02", "sub-03"]),
    ],
)
def test_two_patients_or_dates_in_one_directory_are_two_cases(
    tmp_path: Path, names: list[str], cases: list[str]
) -> None:
    sources = find_cases([_nifti(tmp_path / "in", *names)], {})
    assert [source.case_id for source in sources] == cases
    assert all(len(source.files) == 2 for source in sources)
    for source in sources:
        assert {path.name.split("-t")[0].rpartition("_")[0] or source.case_id for path in source.files.values()}


@pytest.mark.parametrize(
    "names",
    [
        ["BraTS-PED-00001-000-t1n", "BraTS-PED-00001-000-t1c", "BraTS-PED-00002-000-t2w"],
        ["sub-01_ses-01_T1w", "sub-01_ses-02_T2w", "sub-01_ses-02_FLAIR"],
        ["Givenmark_t1n", "Givenmark_t1c", "Surnamemark_t2w", "Surnamemark_flair"],
    ],
)
def test_where_one_of_them_has_too_little_both_are_named(tmp_path: Path, names: list[str]) -> None:
    with pytest.raises(AmbiguousInputError, match=r"2 patients or dates: .* and ") as caught:
        find_cases([_nifti(tmp_path / "in", *names)], {})
    assert "mark" not in str(caught.value)


@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize(
    "other",
    [
        {"study": "2"},
        {"PatientID": "4712", "PatientName": "OTHER"},
        {"StudyDate": "20210202"},
    ],
)
def test_two_examinations_in_one_dicom_directory_are_two_cases(
    tmp_path: Path, other: dict[str, str], flat: bool
) -> None:
    _dicom(tmp_path / "in", *_exam(2), *_exam(12, **other), flat=flat)
    sources = find_cases([tmp_path / "in"], {})
    assert len(sources) == 2 and len({s.case_id for s in sources}) == 2
    for source, numbers in zip(sources, ([2, 4, 3], [12, 14, 13]), strict=True):
        resolved = resolve_all(source, tmp_path / "x")
        origins = [resolved.found[s].origin for s in (T1N, T1C, T2W)]
        assert [getattr(origin, "number", None) for origin in origins] == numbers
        assert [flag.code for flag in source.flags] == ["examinations_parted"]
        assert "4712" not in repr(source) and "OTHER" not in repr(source)


@pytest.mark.parametrize(
    "other",
    [
        [SeriesRecipe(12, "t2", "t2", tags={"StudyDate": "20210202"})],
        [SeriesRecipe(12, "t1", "t1 km", tags={**AGENT, "PatientID": "4712"})],
        [SeriesRecipe(12, "t1", "t1", "2"), SeriesRecipe(13, "t1", "t1 km", "2", tags=AGENT)],
    ],
)
def test_an_examination_with_too_little_is_never_joined(tmp_path: Path, other: list[SeriesRecipe]) -> None:
    _dicom(tmp_path / "in", *_exam(2), *other)
    with pytest.raises(AmbiguousInputError, match=r"2 studies.*series 2 .T1., 3 .T2., 4 .T1. and .*series 12"):
        find_cases([tmp_path / "in"], {})


@pytest.mark.parametrize("description", ["localizer", "dwi b1000", "spine survey"])
def test_an_examination_without_any_sequence_is_listed(tmp_path: Path, description: str) -> None:
    _dicom(tmp_path / "in", *_exam(2), SeriesRecipe(12, "t2", description, "2"))
    (source,) = find_cases([tmp_path / "in"], {})
    assert "1 series of other examinations" in source.flags[0].reason
    assert set(resolve_all(source, tmp_path / "x").found) == {T1N, T1C, T2W}


def test_patients_in_directories_of_their_own_stay_cases(tmp_path: Path) -> None:
    for patient in ("a", "b"):
        _dicom(tmp_path / "in" / patient, *_exam(2, PatientID=patient, StudyInstanceUID=generate_uid()))
    sources = find_cases([tmp_path / "in"], {})
    assert [source.dicom for source in sources] == [tmp_path / "in" / "a", tmp_path / "in" / "b"]


# --- what is left out -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.symlink_to("../.git/annex/objects/ab/cd/x.nii.gz"),
        lambda path: path.write_text("/annex/objects/MD5E-s99--0123.nii.gz\n"),
        lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"),
    ],
)
def test_a_scan_that_was_not_fetched_refuses_its_case(tmp_path: Path, make: Callable[[Path], object]) -> None:
    _nifti(tmp_path / "in" / "sub-01", "sub-01_T1w", "sub-01_T2w")
    _nifti(tmp_path / "in" / "sub-02", "sub-02_T1w")
    make(tmp_path / "in" / "sub-02" / "sub-02_T2w.nii.gz")
    good, bad = find_cases([tmp_path / "in"], {})
    assert good.problem is None and bad.case_id == "sub-02"
    assert "t2w is a link to content that was not fetched" in str(bad.problem) and "datalad get" in str(bad.problem)
    with pytest.raises(InputError, match="not fetched"):
        find_cases([tmp_path / "in" / "sub-02"], {})


def test_a_whole_subject_that_was_not_fetched_is_no_silence(tmp_path: Path) -> None:
    _nifti(tmp_path / "in" / "sub-01", "sub-01_T1w", "sub-01_T2w")
    (tmp_path / "in" / "sub-02").symlink_to("nowhere")
    (tmp_path / "in" / "sub-03" / "anat").mkdir(parents=True)
    (tmp_path / "in" / "sub-03" / "anat" / "sub-03_T1w.nii.gz").symlink_to("nowhere")
    (tmp_path / "in" / "sub-04").mkdir()
    (tmp_path / "in" / "README.md").symlink_to("nowhere")
    found = find_all([tmp_path / "in"], {})
    problems = {source.case_id: str(source.problem) for source in found.sources}
    assert problems["sub-01"] == "None"
    assert all("not fetched" in problems[name] for name in ("sub-02", "sub-03"))
    assert set(problems) == {"sub-01", "sub-02", "sub-03"}
    assert [(k.split(" (")[0], n) for k, n in found.skipped.items()] == [("empty directories", 1)]


@pytest.mark.parametrize("name", ["x_t1c.nrrd", "x_t1c.mha", "x_t1c.mgz", "x_t1c.img"])
def test_images_in_other_formats_are_listed(tmp_path: Path, name: str) -> None:
    _nifti(tmp_path / "in" / "sub-01", "sub-01_T1w", "sub-01_T2w")
    (tmp_path / "in" / "sub-01" / name).write_bytes(b"x" * 2000)
    (source,) = find_cases([tmp_path / "in"], {})
    assert [flag.reason for flag in source.flags] == ["left out: 1 image in a format that is not read"]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / name).write_bytes(b"x")
    with pytest.raises(InputError, match=r"holds no scan.*1 image in a format that is not read"):
        find_cases([tmp_path / "other"], {})


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        (["sub-01_ADC", "sub-01_T2starw"], "2 scans that are none of the four sequences (adc, t2star)"),
        (["sub-01_UNIT1"], "1 scan that is none of the four sequences (unit1)"),
        (["sub-01_acq-x_rec-y_T2w_bias"], "1 file whose name says a sequence less exactly"),
    ],
)
def test_what_is_known_and_not_wanted_is_listed(tmp_path: Path, extra: list[str], says: str) -> None:
    (source,) = find_cases([_nifti(tmp_path / "in", "sub-01_T1w", "sub-01_T2w", *extra)], {})
    assert set(source.files) == {T1N, T2W}
    assert says in "; ".join(flag.reason for flag in source.flags)


@pytest.mark.parametrize("names", [["sub-01_ADC"], ["x_swi", "x_t2_star"], ["sub-01_UNIT1", "x_t1c-atlas"]])
def test_directories_of_other_maps_are_no_cases(tmp_path: Path, names: list[str]) -> None:
    _nifti(tmp_path / "in" / "sub-01", "sub-01_T1w", "sub-01_T2w")
    _nifti(tmp_path / "in" / "maps", *names)
    found = find_all([tmp_path / "in"], {})
    assert [source.case_id for source in found.sources] == ["sub-01"]
    assert list(found.skipped.values()) == [len(names)]


def test_dicom_beside_nifti_is_listed(tmp_path: Path) -> None:
    _nifti(tmp_path / "in", "sub-01_T1w", "sub-01_T2w")
    for file in write_series(_volume(), tmp_path / "in", SeriesRecipe(4, "flair")):
        assert file.parent == tmp_path / "in"
    (source,) = find_cases([tmp_path / "in"], {})
    assert [flag.reason for flag in source.flags] == ["left out: 12 DICOM files beside the NIfTI files"]


@pytest.mark.parametrize("name", ["T1_T1_SE_extrp_20061201141645_601", "t1_gd_301", "converted"])
def test_a_conversion_beside_its_dicom_files_is_no_case(tmp_path: Path, name: str) -> None:
    _dicom(tmp_path / "in", *_exam(2))
    _nifti(tmp_path / "in" / "s0", name)
    (source,) = find_cases([tmp_path / "in"], {})
    assert source.dicom == tmp_path / "in"
    assert [flag.reason for flag in source.flags] == ["left out: 1 NIfTI file beside the DICOM files"]


@pytest.mark.parametrize("all_of_them", [False, True])
def test_dicom_that_was_cut_short_is_a_warning_or_a_refusal(tmp_path: Path, all_of_them: bool) -> None:
    _dicom(tmp_path / "in", *_exam(2))
    (tmp_path / "in" / "more").mkdir()
    raw = next((tmp_path / "in" / "s0").iterdir()).read_bytes()
    (tmp_path / "in" / "more" / "x").write_bytes(raw[:400])
    if all_of_them:
        for name in ("s0", "s1", "s2"):
            shutil.rmtree(tmp_path / "in" / name)
        with pytest.raises(InputError, match=r"no DICOM image can be read.*1 DICOM file that is cut short"):
            find_cases([tmp_path / "in"], {})
        return
    (source,) = find_cases([tmp_path / "in"], {})
    assert [(f.code, str(f.severity)) for f in source.flags] == [("left_out", "warning")]


def test_a_chosen_series_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    _dicom(tmp_path / "in", *_exam(2))
    file = sorted((tmp_path / "in" / "s1").iterdir())[-1]
    file.write_bytes(file.read_bytes()[:-50])
    (source,) = find_cases([tmp_path / "in"], {})
    (tmp_path / "x").mkdir()
    with pytest.raises(InputError, match=r"t2w: .*1 of its 12 files is cut short"):
        load_case(source, preprocessed=None, scratch=tmp_path / "x")


# --- copies and cycles ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("link", ["../in", ".", "sub-01", "../in/sub-02"])
def test_links_make_no_case_twice(tmp_path: Path, link: str) -> None:
    for case in ("sub-01", "sub-02"):
        _nifti(tmp_path / "in" / case, f"{case}_T1w", f"{case}_T2w")
    (tmp_path / "in" / "loop").symlink_to(link)
    assert sorted(s.case_id for s in find_cases([tmp_path / "in"], {})) == ["sub-01", "sub-02"]


def test_a_dicomdir_stands_for_its_directory(tmp_path: Path) -> None:
    _dicom(tmp_path / "in" / "IMAGES", *_exam(2))
    (tmp_path / "in" / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    (source,) = find_cases([tmp_path / "in" / "DICOMDIR"], {})
    assert set(resolve_all(source, tmp_path / "x").found) == {T1N, T1C, T2W}


# --- enhanced and classic through one way ---------------------------------------------------------------------------


def test_an_enhanced_study_is_a_case_like_a_classic_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The phantom's contrasts are made up, so its voxels say nothing true about which sequence is which.
    monkeypatch.setattr("hope.stages.intake.intake.check_sequences", lambda _scans: None)
    scans = {s: head_scan(n, grid=HEAD_GRID, enhanced=s is T1C) for n, s in enumerate(SEQUENCES, start=1)}
    kinds: dict[MRSequence, tuple[str, dict[str, object]]] = {
        T1N: ("t1", {"administered": "NO"}),
        T1C: ("t1", {"agent": "Gadovist", "layout": "single"}),
        T2W: ("t2", {"groups": "frame"}),
        T2F: ("flair", {"order": list(range(HEAD_GRID.shape[2]))[::-1]}),
    }
    for number, (sequence, (kind, more)) in enumerate(kinds.items(), start=2):
        rounded = scans[sequence].with_data(np.rint(np.clip(scans[sequence].data, 0, None)))
        write_enhanced(rounded, tmp_path / "in" / str(number), EnhancedRecipe(number, kind, **more))  # type: ignore[arg-type]
    write_enhanced(_volume(), tmp_path / "in" / "dwi", EnhancedRecipe(9, "t2", b_values=[0.0, 1000.0], planar="YES"))
    (source,) = find_cases([tmp_path / "in"], {})
    (tmp_path / "x").mkdir()
    case = load_case(source, preprocessed=None, scratch=tmp_path / "x")
    for sequence in SEQUENCES:
        want, got = scans[sequence].reoriented("RAS"), case.scans[sequence].reoriented("RAS")
        assert got.grid.same_as(want.grid) and np.abs(got.data - np.clip(want.data, 0, None)).max() <= 0.5
    assert {row["series"]: row["taken_as"] for row in case.selection} == {
        **{2: "t1n", 3: "t1c", 4: "t2w", 5: "t2f"},
        9: None,
    }


def test_equal_files_of_two_exports_are_one_case(tmp_path: Path) -> None:
    _dicom(tmp_path / "in", *_exam(2))
    shutil.copytree(tmp_path / "in" / "s2", tmp_path / "in" / "s2 (1)")
    for file in (tmp_path / "in" / "s2 (1)").iterdir():
        image = pydicom.dcmread(file)
        image.StationName = "exported again"
        image.save_as(file)
    (source,) = find_cases([tmp_path / "in"], {})
    assert set(resolve_all(source, tmp_path / "x").found) == {T1N, T1C, T2W}
    assert "12 copies of DICOM images" in source.flags[0].reason


# --- scans that flags bring together ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tags", "code", "said"),
    [
        ({"PatientID": "4712"}, "different_patients", "t1n and t1c are of different patients"),
        ({"PatientID": None, "PatientName": "OTHER^NAME"}, "different_patients", "of different patients"),
        ({"StudyDate": "20210203"}, "different_examinations", "t1n and t1c are of different days or examinations"),
        ({}, "", ""),
    ],
)
def test_named_series_of_other_patients_or_days_are_said(
    tmp_path: Path, tags: dict[str, object], code: str, said: str
) -> None:
    volume = head_scan(1, grid=HEAD_GRID)
    usual = {"PatientID": None} if "PatientID" in tags and tags["PatientID"] is None else {}
    write_series(volume, tmp_path / "one", SeriesRecipe(1, "t1", "t1", tags=usual))
    write_series(head_scan(1, enhanced=True), tmp_path / "two", SeriesRecipe(2, "t1", "t1 km", tags={**AGENT, **tags}))
    (source,) = find_cases([], {T1N: tmp_path / "one", T1C: tmp_path / "two"})
    (tmp_path / "x").mkdir()
    flags = load_case(source, preprocessed=None, scratch=tmp_path / "x").flags
    found = [flag for flag in flags if flag.code.startswith("different_")]
    assert [flag.code for flag in found] == ([code] if code else [])
    assert all(said in flag.reason and "OTHER" not in flag.reason and "471" not in flag.reason for flag in found)


# --- a way on that works --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "sequence"), [("t1", T1C), ("flair", T2F), ("t1", T1N)])
def test_a_derived_series_says_how_to_use_it_and_that_works(tmp_path: Path, kind: str, sequence: MRSequence) -> None:
    derived = {"ImageType": ["DERIVED", "SECONDARY", "MPR"]}
    _dicom(tmp_path / "in", SeriesRecipe(2, "t2", "t2"), SeriesRecipe(5, kind, "", tags=derived))
    (source,) = find_cases([tmp_path / "in"], {})
    (tmp_path / "x").mkdir()
    resolved = resolve_all(source, tmp_path / "x")
    assert set(resolved.found) == {T2W}
    said = [flag.reason for flag in resolved.flags if flag.sequence == sequence]
    assert len(said) == 1 and f"--{sequence} DIRECTORY#5" in said[0]
    named = Path(f"{tmp_path / 'in'}#5")
    (source,) = find_cases([tmp_path / "in"], {sequence: named})
    assert set(resolve_all(source, tmp_path / "x").found) == {T2W, sequence}


@pytest.mark.parametrize("whole", [True, False])
def test_one_directory_of_single_uids_can_be_named(tmp_path: Path, whole: bool) -> None:
    for file in write_series(_volume(), tmp_path / "in", SeriesRecipe(5, "t1", "T1")):
        image = pydicom.dcmread(file)
        image.SeriesInstanceUID = image.StudyInstanceUID = generate_uid()
        if not whole:
            del image.SeriesNumber
        image.save_as(file)
    (source,) = find_cases([], {T1C: tmp_path / "in"})
    (tmp_path / "x").mkdir()
    case = load_case(source, preprocessed=None, scratch=tmp_path / "x")
    assert case.scans[T1C].data.shape[2] == 12
