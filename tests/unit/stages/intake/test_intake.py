"""From what the user points at to checked scans: every way in, and every refusal."""

from __future__ import annotations

import errno
import os
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from hope.domain.case import SEQUENCES, HeadState, MRSequence, UploadedCase
from hope.domain.errors import AmbiguousInputError, InputError
from hope.domain.grid import ALL_ORIENTATIONS, ATLAS_GRID, Grid
from hope.domain.limits import CASE_LIMITS
from hope.domain.volume import Volume
from hope.formats.budget import Budget, reading_within
from hope.formats.nifti import write_labels, write_scan
from hope.stages.intake.intake import CaseSource, find_cases, hash_volume, is_atlas_shaped, load_case
from hope.stages.intake.scan_reading import resolve
from hope.testing.dicom_series import IDENTITY, SeriesRecipe, write_series
from hope.testing.head import HEAD_GRID, head_scan

T1N, T1C, T2W, T2F = SEQUENCES
BRATS2021 = {T1N: "_t1", T1C: "_t1ce", T2W: "_t2", T2F: "_flair"}


@cache
def _scan(sequence: MRSequence, grid: Grid = HEAD_GRID) -> Volume:
    # Both T1 share a texture, as they do in a head.
    return head_scan({T1N: 1, T1C: 1, T2W: 2, T2F: 3}[sequence], grid=grid, enhanced=sequence is T1C)


def _write_case(directory: Path, prefix: str, suffixes: Mapping[MRSequence, str] | None = None) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for sequence, suffix in (suffixes or {s: f"-{s}" for s in SEQUENCES}).items():
        write_scan(_scan(sequence), directory / f"{prefix}{suffix}.nii.gz")
    return directory


def _load(source: CaseSource, tmp_path: Path, preprocessed: bool | None = None) -> UploadedCase:
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    return load_case(source, preprocessed=preprocessed, scratch=scratch)


def _refusal(files: Mapping[MRSequence, Path], tmp_path: Path, preprocessed: bool | None = None) -> str:
    with pytest.raises(InputError) as caught:
        _load(CaseSource("case-1", files), tmp_path, preprocessed)
    assert str(tmp_path) not in str(caught.value)
    return str(caught.value)


def _save(volume: Volume, path: Path) -> Path:
    write_scan(volume, path)
    return path


# --- ways in ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prefix", "suffixes"),
    [
        ("BraTS-PED-00001-000", None),
        ("BraTS2021_00000", BRATS2021),
        ("sub-01_ses-02", {T1N: "_T1w", T1C: "_ce-gadolinium_T1w", T2W: "_T2w", T2F: "_FLAIR"}),
    ],
)
def test_case_directory_in_three_naming_schemes(
    tmp_path: Path, prefix: str, suffixes: Mapping[MRSequence, str] | None
) -> None:
    directory = _write_case(tmp_path / "in", prefix, suffixes)
    write_labels(Volume(np.ones(HEAD_GRID.shape, dtype=np.uint8), HEAD_GRID), directory / f"{prefix}-seg.nii.gz")
    (source,) = find_cases([directory], {})
    assert source.case_id == prefix
    case = _load(source, tmp_path)
    assert list(case.scans) == [T1N, T1C, T2W, T2F]
    for sequence in SEQUENCES:
        assert case.scans[sequence].same_as(_scan(sequence))
    assert [flag.code for flag in case.flags] == ["treated_as_raw"]
    assert (case.preprocessed, case.head_state, case.reference) == (False, HeadState.FULL, T1C)
    assert all(0.8 <= float(str(s["confidence"])) <= 1 for s in case.sources.values())


def test_bids_tree_gives_a_case_per_session(tmp_path: Path) -> None:
    for session in ("01", "02"):
        stem = f"sub-01_ses-{session}"
        _write_case(tmp_path / "sub-01" / f"ses-{session}" / "anat", stem, {T1N: "_T1w", T2W: "_T2w"})
        func = tmp_path / "sub-01" / f"ses-{session}" / "func"
        _write_case(func, stem, {T1N: "_task-rest_bold"})
    assert [s.case_id for s in find_cases([tmp_path], {})] == ["sub-01_ses-01", "sub-01_ses-02"]


def test_directory_of_cases_keeps_the_good_beside_the_bad(tmp_path: Path) -> None:
    _write_case(tmp_path / "in" / "BraTS-PED-00001-000", "BraTS-PED-00001-000")
    _write_case(tmp_path / "in" / "BraTS-PED-00002-000", "BraTS-PED-00002-000", {T1N: "-t1n", T1C: "-contrast"})
    good, bad = find_cases([tmp_path / "in"], {})
    assert good.problem is None
    with pytest.raises(InputError, match="--t1c FILE"):
        _load(bad, tmp_path)
    with pytest.raises(InputError, match="--t1c FILE"):
        find_cases([tmp_path / "in" / "BraTS-PED-00002-000"], {})


def test_named_files_alone_and_over_a_directory(tmp_path: Path) -> None:
    directory = _write_case(tmp_path / "in", "x", {T1N: "-t1n", T2W: "-t2w", T1C: "-strange"})
    strange = directory / "x-strange.nii.gz"
    (source,) = find_cases([directory], {T1C: strange, T2F: _save(_scan(T2F), tmp_path / "f.nii")})
    case = _load(source, tmp_path)
    assert set(case.scans) == set(SEQUENCES)
    assert case.sources[T1C] == {"confidence": 1.0, "reason": "named by the caller"}
    (alone,) = find_cases([], {T1C: strange})
    assert set(_load(alone, tmp_path).scans) == {T1C}


def test_zip_of_nifti(tmp_path: Path) -> None:
    directory = _write_case(tmp_path / "in", "x")
    with zipfile.ZipFile(tmp_path / "Givenmark.zip", "w") as target:
        for file in directory.iterdir():
            target.write(file, f"folder/{file.name}")
    (source,) = find_cases([tmp_path / "Givenmark.zip"], {})
    assert source.case_id.startswith("case-")
    assert set(_load(source, tmp_path).scans) == set(SEQUENCES)


def _zip(directory: Path, target: Path) -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        for file in sorted(f for f in directory.rglob("*") if f.is_file()):
            archive.write(file, file.relative_to(directory))
    return target


def test_zip_of_nifti_with_an_odd_name_beside_a_named_scan(tmp_path: Path) -> None:
    directory = _write_case(tmp_path / "in", "x", {T1N: "-t1n", T2W: "-t2w", T2F: "-t2f", T1C: "-strange"})
    archive = _zip(directory, tmp_path / "a.zip")
    outside = _save(_scan(T1C), tmp_path / "contrast.nii")
    (source,) = find_cases([archive], {T1C: outside})
    (tmp_path / "scratch").mkdir()
    found = resolve(source, tmp_path / "scratch")
    assert set(found) == set(SEQUENCES) and found[T1C].origin == outside
    assert [flag.code for f in found.values() for flag in f.flags] == ["files_ignored"]
    (source,) = find_cases([archive], {})
    with pytest.raises(InputError, match=r"t1c is missing.*; unpack the zip archive, then name"):
        _load(source, tmp_path)


@pytest.mark.parametrize("images", [True, False])
def test_zip_within_a_zip(tmp_path: Path, images: bool) -> None:
    (tmp_path / "outer").mkdir()
    directory = _write_case(tmp_path / "in", "x", {T1C: "-t1c"})
    if not images:
        (directory / "x-t1c.nii.gz").rename(directory / "notes.txt")
    _zip(directory, tmp_path / "outer" / "inner.zip")
    (source,) = find_cases([_zip(tmp_path / "outer", tmp_path / "a.zip")], {})
    with pytest.raises(InputError, match=r"holds another archive .*; unpack it first"):
        _load(source, tmp_path)


def test_our_own_results_are_no_cases(tmp_path: Path) -> None:
    _write_case(tmp_path / "in" / "BraTS-PED-00001-000", "BraTS-PED-00001-000", {T1C: "-t1c"})
    made = _write_case(tmp_path / "in" / "results" / "case-12", "case-12", {T1C: "-t1c-atlas"})
    (made / "result.json").write_text("{}")
    labels = Volume(np.ones(HEAD_GRID.shape, dtype=np.uint8), HEAD_GRID)
    write_labels(labels, made / "case-12-seg-atlas.nii.gz")
    aligned = _write_case(tmp_path / "in" / "aligned" / "case-13", "case-13", {T1C: "-t1c"})
    (aligned / "preprocess.json").write_text("{}")
    write_labels(labels, aligned / "case-13-brain-mask.nii.gz")
    assert [s.case_id for s in find_cases([tmp_path / "in"], {})] == ["BraTS-PED-00001-000"]
    # What was preprocessed is an input where the user points at it, alone or as a directory of them.
    for given in (aligned, aligned.parent):
        (source,) = find_cases([given], {})
        assert source.case_id == "case-13" and list(source.files) == [T1C] and source.problem is None
    with pytest.raises(InputError, match="holds no scan"):
        find_cases([made.parent], {})


def test_a_foreign_result_json_hides_no_case(tmp_path: Path) -> None:
    directory = _write_case(tmp_path / "in" / "sub-01", "sub-01", {T1C: "-t1c"})
    (directory / "result.json").write_text("{}")
    assert [s.case_id for s in find_cases([tmp_path / "in"], {})] == ["sub-01"]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda d: d / "missing", "no such file or directory"),
        (lambda d: d, "holds no scan"),
        (lambda d: _save(_scan(T1N), d / "a.nii.gz"), "single file"),
        (lambda d: _touch(d / "empty"), "empty file"),
    ],
)
def test_inputs_that_are_no_case(tmp_path: Path, make: object, says: str) -> None:
    with pytest.raises(InputError, match=says):
        find_cases([make(tmp_path)], {})  # type: ignore[operator]


def _closed(monkeypatch: pytest.MonkeyPatch, name: str, step: str) -> None:
    """Let one step of `Path` fail for the paths of that name, as it does for those who may not read them."""
    real = getattr(Path, step)

    def refuse(path: Path, *words: object, **options: object) -> object:
        if path.name == name:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path, *words, **options)

    monkeypatch.setattr(Path, step, refuse)


def test_inputs_that_cannot_be_read_are_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("x" * 300)
    for inputs, named in (([long], {}), ([], {T1C: long})):
        with pytest.raises(InputError, match=r"cannot be read .got File name too long") as caught:
            find_cases(inputs, named)
        assert "xxx" not in str(caught.value)
    assert "t1c cannot be read" in _refusal({T1C: long}, tmp_path)
    scan = _save(_scan(T1C), tmp_path / "Surnamemark-t1c.nii.gz")
    _closed(monkeypatch, scan.name, "open")
    for inputs, named in (([tmp_path], {}), ([], {T1C: scan})):
        with pytest.raises(InputError, match=r"cannot be read .got Permission denied") as caught:
            find_cases(inputs, named)
        assert str(tmp_path) not in str(caught.value) and "Surnamemark" not in str(caught.value)
    directory = _write_case(tmp_path / "given", "x", {T1C: "-t1c"})
    _closed(monkeypatch, "given", "iterdir")
    assert "t1c cannot be read" in _refusal({T1C: directory}, tmp_path)


@pytest.mark.parametrize(
    ("name", "step"), [("bad", "iterdir"), ("Surnamemark-t1n.nii.gz", "open"), ("bad.zip", "open")]
)
def test_a_batch_goes_on_past_what_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, step: str
) -> None:
    _write_case(tmp_path / "in" / "sub-01", "sub-01", {T1C: "-t1c"})
    directory = _write_case(tmp_path / "in" / "bad", "Surnamemark", {T1N: "-t1n"})
    if name == "bad.zip":
        _zip(directory, tmp_path / "in" / "bad.zip")
    _closed(monkeypatch, name, step)
    found = {source.case_id: source for source in find_cases([tmp_path / "in"], {})}
    assert found["sub-01"].problem is None
    assert "cannot be read" in str(found["case-unreadable"].problem)
    with pytest.raises(InputError, match="cannot be read"):
        _load(found["case-unreadable"], tmp_path)


def test_a_closed_directory_inside_a_case_does_not_close_the_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write_case(tmp_path / "sub-01", "sub-01", {T1C: "-t1c"})
    (tmp_path / "sub-01" / "private").mkdir()
    _closed(monkeypatch, "private", "iterdir")
    (source,) = find_cases([tmp_path / "sub-01"], {})
    assert source.problem is None and [flag.code for flag in source.flags] == ["directories_ignored"]


def _touch(path: Path) -> Path:
    path.touch()
    return path


def test_calls_that_make_no_sense(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no input"):
        find_cases([], {})
    for name in ("a", "b"):
        _write_case(tmp_path / "in" / name, name, {T1C: "-t1c"})
    with pytest.raises(InputError, match="several inputs"):
        find_cases([tmp_path / "in" / "a", tmp_path / "in" / "b"], {T1N: tmp_path / "x"})
    with pytest.raises(InputError, match="holds several"):
        find_cases([tmp_path / "in"], {T1N: tmp_path / "x"})


# --- identity -----------------------------------------------------------------------------------------------------


def test_a_personal_name_becomes_a_stable_hash(tmp_path: Path) -> None:
    one = _write_case(tmp_path / "Givenmark_Surnamemark", "Givenmark_Surnamemark")
    two = _write_case(tmp_path / "other", "x")
    (first,), (second,) = find_cases([one], {}), find_cases([two], {})
    assert first.case_id == second.case_id
    assert "givenmark" not in first.case_id.lower()
    assert [s.case_id for s in find_cases([one, two], {})] == [first.case_id, f"{first.case_id}-2"]
    case = _load(first, tmp_path)
    assert "Givenmark" not in repr((case.case_id, case.flags, case.sources, case.input_sha256))


def test_two_scans_that_begin_alike_have_two_names(tmp_path: Path) -> None:
    ids = []
    for number in (1, 2):
        data = np.zeros((40, 40, 200), dtype=np.float32)  # the first 640 kB are zeros, as where a skull was stripped
        data[20, 20, 150] = number
        (tmp_path / str(number)).mkdir()
        write_scan(Volume(data, Grid(data.shape, np.eye(4))), tmp_path / str(number) / "Surnamemark-t1c.nii")
        ids.append(find_cases([tmp_path / str(number)], {})[0].case_id)
    assert ids[0] != ids[1]


def test_hash_depends_on_voxels_and_grid_alone(tmp_path: Path) -> None:
    scan = _scan(T1N)
    assert hash_volume(scan) == hash_volume(Volume(np.ascontiguousarray(scan.data), scan.grid))
    changed = scan.data.copy()
    changed[3, 4, 5] += 1
    assert hash_volume(scan) != hash_volume(scan.with_data(changed))
    moved = np.array(scan.grid.affine_ras_mm)
    moved[2, 3] += 0.5
    assert hash_volume(scan) != hash_volume(Volume(scan.data, Grid(scan.grid.shape, moved)))


# --- DICOM --------------------------------------------------------------------------------------------------------

THICK = HEAD_GRID.with_spacing((3.0, 3.0, 7.0))


def _write_study(root: Path, contrast_known: bool = True) -> None:
    agent = {"ContrastBolusAgent": "Gadovist"} if contrast_known else {}
    write_series(_scan(T1N, THICK), root / "Surnamemark" / "t1", SeriesRecipe(2, "t1", "t1 tra SURNAMEMARK"))
    write_series(_scan(T1C, THICK), root / "Surnamemark" / "post", SeriesRecipe(6, "t1", "t1 tra", tags=agent))
    write_series(_scan(T2W, THICK), root / "Surnamemark" / "t2", SeriesRecipe(3, "t2", "t2 tra"))
    write_series(_scan(T2F, THICK), root / "Surnamemark" / "fl", SeriesRecipe(4, "flair", "flair"))
    localiser = Volume(_scan(T2W, THICK).data[:, :, :3], THICK.cropped((0, 0, 0), (*THICK.shape[:2], 3)))
    write_series(localiser, root / "Surnamemark", SeriesRecipe(1, "t2", "localizer"))
    (root / "Surnamemark" / "notes.txt").write_text(IDENTITY)


def test_dicom_study_directory_and_zip(tmp_path: Path) -> None:
    _write_study(tmp_path / "in")
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as target:
        for file in (f for f in (tmp_path / "in").rglob("*") if f.is_file()):
            target.write(file, file.relative_to(tmp_path / "in"))
    for given in (tmp_path / "in", tmp_path / "s.zip"):
        (source,) = find_cases([given], {})
        case = _load(source, tmp_path)
        for sequence in SEQUENCES:
            want, got = _scan(sequence, THICK).reoriented("RAS"), case.scans[sequence].reoriented("RAS")
            assert got.grid.same_as(want.grid)
            assert np.abs(got.data - want.data).max() <= 0.5
        assert case.sources[T1C]["reason"] == "series 6: TR 500 ms, TE 12 ms; a contrast agent is named"
        assert {f.code for f in case.flags} == {"thick_slices", "treated_as_raw", "identification_uncertain"}
        assert "SURNAMEMARK" not in repr((case.case_id, case.flags, case.sources)) and "Surnamemark" not in repr(
            case.case_id
        )


def test_two_silent_t1_are_told_apart_by_their_images(tmp_path: Path) -> None:
    _write_study(tmp_path / "in", contrast_known=False)
    case = _load(find_cases([tmp_path / "in"], {})[0], tmp_path)
    assert "series 6" in str(case.sources[T1C]["reason"]) and "brightest tissue" in str(case.sources[T1C]["reason"])
    assert sum(flag.code == "identification_uncertain" for flag in case.flags) == 2


def test_a_silent_t1_asks_until_it_is_named(tmp_path: Path) -> None:
    write_series(_scan(T1C, THICK), tmp_path / "in" / "a", SeriesRecipe(601, "t1", "T1"))
    write_series(_scan(T2W, THICK), tmp_path / "in" / "b", SeriesRecipe(301, "t2", "T2"))
    nib.save(nib.Nifti1Image(np.zeros((3, 3, 3)), np.eye(4)), tmp_path / "in" / "a" / "converted.nii.gz")
    (source,) = find_cases([tmp_path / "in"], {})
    with pytest.raises(AmbiguousInputError, match="--t1n SERIES_DIRECTORY or --t1c SERIES_DIRECTORY"):
        _load(source, tmp_path)
    first_file = sorted((tmp_path / "in" / "a").glob("0601*"))[0]
    for named in (tmp_path / "in" / "a", tmp_path / "in#601", first_file):
        (source,) = find_cases([tmp_path / "in"], {T1C: named})
        assert set(_load(source, tmp_path).scans) == {T1C, T2W}
    (source,) = find_cases([], {T1C: tmp_path / "in" / "a", T2W: tmp_path / "in" / "b"})
    assert set(_load(source, tmp_path).scans) == {T1C, T2W}
    with pytest.raises(AmbiguousInputError, match=r"2 DICOM series.*DIRECTORY#NUMBER"):
        _load(CaseSource("c", {T1C: tmp_path / "in"}), tmp_path)
    with pytest.raises(InputError, match="no series 7"):
        _load(CaseSource("c", {T1C: tmp_path / "in#7"}), tmp_path)


def test_studies_are_not_mixed(tmp_path: Path) -> None:
    for study in ("1", "2"):
        write_series(_scan(T2W, THICK), tmp_path / "in" / study, SeriesRecipe(3, "t2", "T2", study=study))
    assert len(find_cases([tmp_path / "in"], {})) == 2
    for file in (tmp_path / "in" / "2").iterdir():
        file.rename(tmp_path / "in" / "1" / f"x{file.name}")
    with pytest.raises(AmbiguousInputError, match=r"2 studies.*series 3 \(T2\) and examination 2 with series 3"):
        find_cases([tmp_path / "in" / "1"], {})


def test_a_closed_series_beside_a_study_leaves_the_study_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, name in ((3, "t2"), (4, "flair")):
        write_series(_scan(T2W, THICK), tmp_path / "in" / name, SeriesRecipe(number, name, name))
    (tmp_path / "in" / "closed").mkdir()
    _closed(monkeypatch, "closed", "iterdir")
    study, closed = find_cases([tmp_path / "in"], {})
    assert study.dicom == tmp_path / "in" and closed.problem is not None


def test_a_dicom_input_without_any_sequence(tmp_path: Path) -> None:
    write_series(_scan(T2W, THICK), tmp_path / "in", SeriesRecipe(3, "t2", "dwi"))
    with pytest.raises(InputError, match="no t1n, t1c, t2w or t2f series"):
        _load(find_cases([tmp_path / "in"], {})[0], tmp_path)


# --- refusals -----------------------------------------------------------------------------------------------------


def test_the_same_image_twice(tmp_path: Path) -> None:
    scan = _scan(T1N)
    one = _save(scan, tmp_path / "a.nii.gz")
    copies = [scan, scan.reoriented("PIL"), scan.with_data(scan.data * 2 + 3)]
    for index, copy in enumerate(copies):
        two = _save(copy, tmp_path / f"copy{index}.nii.gz")
        assert "t1n and t1c are the same image" in _refusal({T1N: one, T1C: two}, tmp_path)


@pytest.mark.parametrize(
    ("value", "says"),
    [(0.0, "every voxel is 0"), (7.0, "every voxel is 7"), (np.nan, "no number at all"), (np.inf, "no number")],
)
def test_empty_images(tmp_path: Path, value: float, says: str) -> None:
    path = tmp_path / "e.nii.gz"
    nib.save(nib.Nifti1Image(np.full(HEAD_GRID.shape, value, dtype=np.float32), HEAD_GRID.affine_ras_mm), path)
    assert says in _refusal({T2W: path}, tmp_path)


def test_a_label_volume_as_scan(tmp_path: Path) -> None:
    labels = (_scan(T1N).data > 300).astype(np.uint8) * 4
    write_labels(Volume(labels, HEAD_GRID), tmp_path / "l.nii.gz")
    assert "label volume" in _refusal({T1C: tmp_path / "l.nii.gz"}, tmp_path)


def test_fields_of_view_that_are_no_head(tmp_path: Path) -> None:
    for scale, size in ((0.2, "36 x 40 x 34"), (4.0, "720 x 792 x 672")):
        affine = np.diag([scale, scale, scale, 1.0]) @ HEAD_GRID.affine_ras_mm
        path = _save(Volume(_scan(T1N).data, Grid(HEAD_GRID.shape, affine)), tmp_path / "v.nii.gz")
        assert size in _refusal({T1N: path}, tmp_path)


def test_grids_that_cannot_be_one_head(tmp_path: Path) -> None:
    affine = np.array(HEAD_GRID.affine_ras_mm)
    affine[2, 3] += 150
    apart = _save(Volume(_scan(T2W).data, Grid(HEAD_GRID.shape, affine)), tmp_path / "t2.nii.gz")
    near = _save(_scan(T1C), tmp_path / "t1.nii.gz")
    assert "overlap by 9 %" in _refusal({T1C: near, T2W: apart}, tmp_path)
    affine[2, 3] -= 75
    _save(Volume(_scan(T2W).data, Grid(HEAD_GRID.shape, affine)), apart)
    case = _load(CaseSource("c", {T1C: near, T2W: apart}), tmp_path)
    assert "small_overlap" in {flag.code for flag in case.flags}


def test_what_the_reader_refuses_names_the_sequence(tmp_path: Path) -> None:
    (tmp_path / "x.nii.gz").write_text("no image")
    assert _refusal({T2F: tmp_path / "x.nii.gz"}, tmp_path).startswith("t2f is not a NIfTI")
    assert _refusal({T2F: tmp_path / "none.nii.gz"}, tmp_path).startswith("t2f: no such file")
    assert "none of the sequences" in _refusal({}, tmp_path)


# --- preprocessed or not ------------------------------------------------------------------------------------------


def _atlas_scan(sequence: MRSequence, orientation: str = "LPS", brats_2023_header: bool = False) -> Volume:
    # A coarse head blown up to the atlas grid: its voxels matter little here, its grid does.
    coarse = head_scan({T1N: 1, T1C: 1, T2W: 2, T2F: 3}[sequence], background_noise=False).data
    data = np.zeros(ATLAS_GRID.shape, dtype=np.float32)
    big = np.repeat(np.repeat(np.repeat(coarse[4:-4, 4:-4, 10:-10], 3, 0), 3, 1), 3, 2)
    data[40 : 40 + big.shape[0], 30 : 30 + big.shape[1], 20 : 20 + big.shape[2]] = big
    header = np.array([[1.0, 0, 0, 0], [0, 1.0, 0, 239], [0, 0, 1.0, 0], [0, 0, 0, 1.0]])
    grid = Grid(ATLAS_GRID.shape, header) if brats_2023_header else ATLAS_GRID
    return Volume(data, grid).reoriented(orientation)


def test_atlas_grids_are_taken_as_preprocessed_whatever_their_header(tmp_path: Path) -> None:
    files = {
        T1N: _save(_atlas_scan(T1N), tmp_path / "a.nii"),
        T2W: _save(_atlas_scan(T2W, "ASR", brats_2023_header=True), tmp_path / "b.nii"),
    }
    for asked in (None, True):
        case = _load(CaseSource("c", files), tmp_path, asked)
        assert case.preprocessed
        assert "treated_as_preprocessed" in {flag.code for flag in case.flags}
    assert case.scans[T2W].grid.orientation == "ASR"


def test_asking_for_preprocessed_is_checked(tmp_path: Path) -> None:
    files = {T1C: _save(_scan(T1C), tmp_path / "a.nii")}
    assert "not preprocessed" in _refusal(files, tmp_path, preprocessed=True)
    grid = np.array(ATLAS_GRID.affine_ras_mm)
    grid[0, 3] += 20
    apart = Volume(_atlas_scan(T2W).data, Grid(ATLAS_GRID.shape, grid))
    files = {T1C: _save(_atlas_scan(T1C), tmp_path / "b.nii"), T2W: _save(apart, tmp_path / "c.nii")}
    assert "t2w lies 20.0 mm from t1c" in _refusal(files, tmp_path, preprocessed=True)


@pytest.mark.parametrize("orientation", ALL_ORIENTATIONS)
def test_atlas_shape_is_told_in_all_orientations(orientation: str) -> None:
    assert is_atlas_shaped(ATLAS_GRID.reoriented(orientation))
    assert not is_atlas_shaped(HEAD_GRID.reoriented(orientation))


# --- real scans ---------------------------------------------------------------------------------------------------


@pytest.mark.real
def test_real_dicom_asks_for_the_t1(shared_data: Path, tmp_path: Path) -> None:
    study = shared_data / "raw" / "BRAINIX"
    with pytest.raises(
        AmbiguousInputError, match=r"series 601 .*t2w = series 301, t2f = series 401.*--t1n .* or --t1c"
    ):
        _load(find_cases([study], {})[0], tmp_path)
    case = _load(find_cases([study], {T1C: study / "T1"})[0], tmp_path)
    assert set(case.scans) == {T1C, T2W, T2F}
    assert case.scans[T1C].data.shape == (512, 512, 22)


@pytest.mark.real
def test_real_cases_have_no_spurious_warnings(shared_data: Path, tmp_path: Path) -> None:
    raw = _load(find_cases([shared_data / "raw" / "TCGA-FG-6692"], {})[0], tmp_path)
    assert {f.code for f in raw.flags} == {"directories_ignored", "thick_slices", "treated_as_raw"}
    assert raw.head_state is HeadState.FULL
    dev = next(s for s in find_cases([shared_data / "dev"], {}) if s.case_id == "BraTS2021_00000")
    case = _load(dev, tmp_path)
    assert case.preprocessed and case.head_state is HeadState.BRAIN
    assert [f.code for f in case.flags] == ["treated_as_preprocessed"]


def _what_it_expands(case: Path, tmp_path: Path) -> int:
    """Bytes that came out of compressed ones when the case was read."""
    with reading_within(Budget(CASE_LIMITS)) as budget:
        before = budget.left_bytes
        _load(find_cases([case], {})[0], tmp_path)
        return before - budget.left_bytes


def test_all_scans_of_a_case_count_towards_one_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = _write_case(tmp_path / "case", "case")
    expanded = _what_it_expands(case, tmp_path)
    one = replace(CASE_LIMITS, expanded_mb=expanded // 2**20)  # each scan alone is far below it
    monkeypatch.setattr("hope.formats.budget.CASE_LIMITS", one)
    with pytest.raises(InputError, match="unpacks to far more than it may"):
        _load(find_cases([case], {})[0], tmp_path)
    monkeypatch.setattr("hope.formats.budget.CASE_LIMITS", replace(one, expanded_mb=one.expanded_mb + 1))
    assert set(_load(find_cases([case], {})[0], tmp_path).scans) == set(SEQUENCES)
    assert list((tmp_path / "scratch").iterdir()) == []


def test_scans_that_were_read_leave_the_next_one_its_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory of a budget is what one scan costs more than the case holds already."""
    held = iter(range(0, 10**12, 2**30))
    monkeypatch.setattr("hope.formats.budget.resident_bytes", lambda: next(held))
    budget = Budget(replace(CASE_LIMITS, memory_mb=1500))
    assert budget.memory_left == 476 * 2**20
    assert budget.memory_left == 0
    budget.hold()
    assert budget.memory_left == 476 * 2**20
