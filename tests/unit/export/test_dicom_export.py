"""DICOM objects of a result: where they lie, whose they are, and what they do not tell."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import pytest
from click.testing import CliRunner
from pydicom.charset import convert_encodings
from pydicom.valuerep import PersonName
from tests.earlier_output import WORK, call, refused

from hope.cli import main
from hope.domain.errors import InputError, OutputError
from hope.domain.grid import Grid
from hope.domain.volume import Volume
from hope.export.dicom import export_objects
from hope.export.stored_result import FACTS, read_result
from hope.formats.dicom import convert_series, read_series
from hope.stages.intake.intake import hash_volume
from hope.testing.dicom_series import PATIENT_ID, SeriesRecipe, write_series
from hope.testing.enhanced_series import EnhancedRecipe, write_enhanced
from hope.testing.stored_results import MODEL_SHA256, labelled, write_stored_result

SHAPE = (24, 20, 12)
NAME = "MÜLLERMARK^GIVENMARK"
TAGS = {"SpecificCharacterSet": "ISO_IR 100", "PatientName": NAME, "PatientSex": "0000"}


def oblique(flips: tuple[int, int, int]) -> Grid:
    """A grid that is turned about two axes, its slices 3 mm apart, with flipped axes."""
    a, b = np.radians(17.0), np.radians(-9.0)
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    turn = turn @ np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([0.9 * flips[0], 1.1 * flips[1], 3.0 * flips[2]])
    affine[:3, 3] = (-11.0, 23.0, -37.0)
    return Grid(SHAPE, affine)


@dataclass(frozen=True)
class Case:
    """A DICOM series and the result that was made on it."""

    series: Path
    result: Path
    mask: Volume


def make_case(folder: Path, grid: Grid, labels: tuple[int, ...] = (1, 3, 4), *, shuffled: bool = False) -> Case:
    rng = np.random.default_rng(3)
    scan = Volume(rng.integers(0, 900, SHAPE).astype(np.float32), grid)
    files = write_series(scan, folder / "dicom", SeriesRecipe(4, "t1", tags=TAGS))
    if shuffled:
        for place, file in zip(rng.permutation(len(files)), files, strict=True):
            file.rename(file.with_name(f"x{place:03d}.dcm"))
    (series,) = read_series(folder / "dicom")
    volume, _ = convert_series(series, folder, "t1c")
    # What dcm2niix makes lists its axes in an order of its own: the mask follows it, as in a run.
    mask = labelled(volume.grid, labels)
    write_stored_result(folder / "result", mask, scan_sha256=hash_volume(volume), from_dicom=True)
    return Case(folder / "dicom", folder / "result", mask)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return make_case(tmp_path_factory.mktemp("case"), oblique((1, -1, 1)))


def points_of(segmentation: pydicom.Dataset) -> set[tuple[str, tuple[int, ...]]]:
    """Label text and place in LPS (tenths of a mm) of each labelled voxel, from the standard's own formula."""
    names = {int(s.SegmentNumber): str(s.SegmentLabel) for s in segmentation.SegmentSequence}
    pixels = segmentation.pixel_array.reshape(-1, segmentation.Rows, segmentation.Columns)
    shared = segmentation.SharedFunctionalGroupsSequence[0]
    spacing = [float(v) for v in shared.PixelMeasuresSequence[0].PixelSpacing]
    found = set()
    for frame, groups in zip(pixels, segmentation.PerFrameFunctionalGroupsSequence, strict=True):
        plane = shared if "PlaneOrientationSequence" in shared else groups
        cosines = np.array(plane.PlaneOrientationSequence[0].ImageOrientationPatient, dtype=float)
        corner = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
        stated = groups.get("SegmentIdentificationSequence")
        for row, column in np.argwhere(frame):
            place = corner + cosines[:3] * spacing[1] * column + cosines[3:] * spacing[0] * row
            number = int(stated[0].ReferencedSegmentNumber) if stated else int(frame[row, column])
            found.add((names[number], tuple(np.rint(place * 10).astype(int).tolist())))
    return found


def points_of_mask(mask: Volume) -> set[tuple[str, tuple[int, ...]]]:
    names = {1: "Enhancing tumour", 2: "Non-enhancing tumour", 3: "Cystic component", 4: "Peritumoural oedema"}
    places = np.argwhere(mask.data)
    world = mask.grid.to_world(places) * [-1.0, -1.0, 1.0]
    return {
        (names[int(mask.data[tuple(voxel)])], tuple(np.rint(lps * 10).astype(int).tolist()))
        for voxel, lps in zip(places, world, strict=True)
    }


def near(found: set[tuple[str, tuple[int, ...]]], expected: set[tuple[str, tuple[int, ...]]]) -> bool:
    """Whether both hold the same places to 0.2 mm: values at a rounding edge may fall on either side."""
    a, b = sorted(found), sorted(expected)
    if len(a) != len(b):
        return False
    steps = np.array([place for _, place in a]), np.array([place for _, place in b])
    for name in {name for name, _ in b}:
        of_a = steps[0][[n == name for n, _ in a]]
        of_b = steps[1][[n == name for n, _ in b]]
        distance = np.abs(of_a[:, None, :] - of_b[None, :, :]).max(axis=2)
        if len(of_a) != len(of_b) or distance.min(axis=0).max() > 2 or distance.min(axis=1).max() > 2:
            return False
    return True


@pytest.mark.parametrize(
    ("flips", "shuffled", "labelmap"),
    [((1, 1, 1), False, False), ((1, -1, 1), True, False), ((-1, 1, -1), True, True), ((-1, -1, -1), False, True)],
)
def test_the_segmentation_lies_where_the_mask_does(
    tmp_path: Path, flips: tuple[int, int, int], shuffled: bool, labelmap: bool
) -> None:
    case = make_case(tmp_path, oblique(flips), shuffled=shuffled)

    written = export_objects(read_result(case.result), case.series, tmp_path / "out", labelmap=labelmap)

    segmentation = pydicom.dcmread(written.files[0])
    assert near(points_of(segmentation), points_of_mask(case.mask))
    assert str(segmentation.SegmentationType) == ("LABELMAP" if labelmap else "BINARY")


def test_each_frame_refers_to_the_image_at_its_place(case: Case, tmp_path: Path) -> None:
    images = {str(i.SOPInstanceUID): i for i in (pydicom.dcmread(f) for f in case.series.iterdir())}

    written = export_objects(read_result(case.result), case.series, tmp_path)

    segmentation = pydicom.dcmread(written.files[0])
    one = next(iter(images.values()))
    assert segmentation.FrameOfReferenceUID == one.FrameOfReferenceUID
    assert segmentation.ReferencedSeriesSequence[0].SeriesInstanceUID == one.SeriesInstanceUID
    for groups in segmentation.PerFrameFunctionalGroupsSequence:
        (source,) = groups.DerivationImageSequence[0].SourceImageSequence
        image = images[str(source.ReferencedSOPInstanceUID)]
        corner = groups.PlanePositionSequence[0].ImagePositionPatient
        assert np.allclose(np.array(corner, float), np.array(image.ImagePositionPatient, float), atol=0.01)


def test_the_segmentation_names_codes_model_and_patient(case: Case, tmp_path: Path) -> None:
    written = export_objects(read_result(case.result), case.series, tmp_path)

    segmentation, report = (pydicom.dcmread(path) for path in written.files)
    codes = {
        (int(s.SegmentNumber), str(s.SegmentLabel), str(s.SegmentedPropertyTypeCodeSequence[0].CodeValue))
        for s in segmentation.SegmentSequence
    }
    assert codes == {
        (1, "Enhancing tumour", "108369006"),
        (2, "Cystic component", "367643001"),
        (3, "Peritumoural oedema", "79654002"),
    }
    first = segmentation.SegmentSequence[0]
    assert first.SegmentAlgorithmType == "AUTOMATIC"
    how = first.SegmentationAlgorithmIdentificationSequence[0]
    assert (how.AlgorithmName, how.AlgorithmVersion) == ("starter", "3")
    assert MODEL_SHA256 in str(how.AlgorithmParameters)
    for made in (segmentation, report):
        assert str(made.PatientName) == NAME
        assert made.PatientID == PATIENT_ID
        assert str(made.SOPInstanceUID).startswith("2.25.")


def figures_of(report: pydicom.Dataset) -> list[tuple[str, str, float, str]]:
    """Tracking identifier, concept, value and unit of each number in the report."""
    found = []

    def walk(item: pydicom.Dataset, group: str) -> None:
        for child in item.get("ContentSequence", []):
            name = child.ConceptNameCodeSequence[0].CodeMeaning if "ConceptNameCodeSequence" in child else ""
            if name == "Tracking Identifier":
                group = str(child.TextValue)
            if child.ValueType == "NUM":
                value = child.MeasuredValueSequence[0]
                unit = str(value.MeasurementUnitsCodeSequence[0].CodeValue)
                found.append((group, str(name), float(value.NumericValue), unit))
            walk(child, group)

    walk(report, "")
    return found


def test_the_report_states_volumes_with_intervals_and_the_expected_quality(case: Case, tmp_path: Path) -> None:
    result = read_result(case.result)

    written = export_objects(result, case.series, tmp_path)

    report = pydicom.dcmread(written.files[1])
    figures = figures_of(report)
    for key, name in (("ET", "HOPE ET"), ("CC", "HOPE CC"), ("WT", "HOPE Whole tumour")):
        stated = {concept: (value, unit) for group, concept, value, unit in figures if group == name}
        volume = result.report.volumes_ml[key]
        assert volume.low_ml is not None
        assert volume.high_ml is not None
        assert stated["Volume"] == (pytest.approx(volume.ml, abs=1e-4), "cm3")
        above = stated["+, range of upper measurement uncertainty"]
        assert above == (pytest.approx(volume.high_ml - volume.ml, abs=1e-4), "cm3")
        below = stated["-, range of lower measurement uncertainty"]
        assert below == (pytest.approx(volume.ml - volume.low_ml, abs=1e-4), "cm3")
    assert ("HOPE Whole tumour", "Expected Dice against an expert's outline", 0.81, "1") in figures
    assert "Expected quality of the outline" in report.to_json()
    assert not [figure for figure in figures if figure[0] == "HOPE NET"]


def with_remarks(folder: Path, *remarks: tuple[str, str, str]) -> None:
    facts = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    facts["qc"] = [{"code": c, "severity": s, "sequence": "", "reason": r} for c, s, r in remarks]
    (folder / "result.json").write_text(json.dumps(facts), encoding="utf-8")


@pytest.mark.parametrize("labels", [(1, 2, 3, 4), ()])
def test_warnings_of_the_result_go_with_its_figures(labels: tuple[int, ...], tmp_path: Path) -> None:
    case = make_case(tmp_path, oblique((1, 1, 1)), labels=labels)
    with_remarks(case.result)
    before = [pydicom.dcmread(f) for f in export_objects(read_result(case.result), case.series, tmp_path / "a").files]
    assert all("WARNING" not in one.SeriesDescription for one in before)
    with_remarks(
        case.result,
        ("thick_slices", "info", "slices lie far apart"),
        ("saturated", "caution", "t2f: bright parts are saturated"),
        ("different_patients", "warning", "t1n and t1c are of different patients"),
    )

    written = export_objects(read_result(case.result), case.series, tmp_path / "b")

    made = [pydicom.dcmread(path) for path in written.files]
    assert all("1 WARNING (" in one.SeriesDescription for one in made)
    groups = [
        [item.TextValue for item in group.ContentSequence if item.ValueType == "TEXT"]
        for part in made[-1].ContentSequence
        for group in part.get("ContentSequence", ())
        if group.ValueType == "CONTAINER"
    ]
    said = ["Warning: t1n and t1c are of different patients", "Caution: t2f: bright parts are saturated"]
    assert groups and all(texts[-2:] == said for texts in groups)
    assert any("different_patients" in note for note in written.notes)
    assert not {one.SOPInstanceUID for one in made} & {one.SOPInstanceUID for one in before}


def test_no_tumour_gives_the_report_alone(tmp_path: Path) -> None:
    case = make_case(tmp_path, oblique((1, 1, 1)), labels=())

    written = export_objects(read_result(case.result), case.series, tmp_path / "out")

    assert [path.name for path in written.files] == ["case-0a1b-sr.dcm"]
    report = pydicom.dcmread(written.files[0])
    text = report.to_json()
    assert "HOPE: no tumour found" in text
    assert "Absent" in text
    assert report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence


def test_no_tumour_leaves_no_segmentation_of_an_earlier_export(tmp_path: Path) -> None:
    earlier = make_case(tmp_path / "earlier", oblique((1, 1, 1)))
    later = make_case(tmp_path / "later", oblique((1, 1, 1)), labels=())
    out = tmp_path / "out"
    export_objects(read_result(earlier.result), earlier.series, out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    with pytest.raises(OutputError, match="segmentation of an earlier export"):
        export_objects(read_result(later.result), later.series, out)

    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_objects_of_another_mask_or_series_and_files_of_the_user_stay(tmp_path: Path) -> None:
    first, second = (
        make_case(tmp_path / name, oblique((1, 1, 1)), labels) for name, labels in (("a", (1, 3)), ("b", (1,)))
    )
    out = tmp_path / "out"
    words, other = (["dicom", "export", c.result, "--series", c.series, "-o", out] for c in (first, second))
    assert call(words)[0] == call(words)[0] == call([*words, "--labelmap"])[0] == 0
    made = sorted(out.iterdir())
    refused(other, made)
    for path in made:
        kept = path.read_bytes()
        path.write_bytes(WORK)
        refused(words, made)
        path.write_bytes(kept)
    assert call([*other, "--replace"])[0] == call(other)[0] == 0


def tracking_of(path: Path) -> dict[str, str]:
    return {str(s.SegmentLabel): str(s.TrackingUID) for s in pydicom.dcmread(path).SegmentSequence}


def test_tracking_uids_are_equal_on_every_date_of_a_patient_and_need_the_secret(case: Case, tmp_path: Path) -> None:
    later = shutil.copytree(case.series, tmp_path / "later")
    for file in later.iterdir():
        image = pydicom.dcmread(file)
        image.StudyDate, image.StudyInstanceUID, image.SeriesInstanceUID = "20210304", "2.25.5", "2.25.6"
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = f"2.25.7{image.InstanceNumber}"
        image.save_as(file)
    result = read_result(case.result)

    def tracked(series: Path, secret: str, name: str) -> dict[str, str]:
        return tracking_of(export_objects(result, series, tmp_path / name, secret=secret).files[0])

    first = tracked(case.series, "of the site", "a")
    assert not export_objects(result, case.series, tmp_path / "f", secret="of the site").notes  # noqa: S106 - made up
    assert tracked(later, "of the site", "b") == first
    assert set(tracked(case.series, "of another", "c").values()).isdisjoint(first.values())
    assert tracked(later, "", "d") != tracked(case.series, "", "e")
    assert len(set(first.values())) == 3


@pytest.mark.parametrize(
    ("number", "name", "born"),
    [("", "", ""), ("", NAME, "20110203"), ("ANONYMOUS", "", ""), ("ANONYMOUS", "Anonymous^", "")],
)
def test_patients_who_cannot_be_told_apart_share_no_tracking_uid(
    case: Case, tmp_path: Path, number: str, name: str, born: str
) -> None:
    found = []
    for study in ("2.25.11", "2.25.12"):
        series = shutil.copytree(case.series, tmp_path / study)
        for file in series.iterdir():
            image = pydicom.dcmread(file)
            image.PatientID, image.PatientName, image.PatientBirthDate = number, name, born
            image.StudyInstanceUID = study
            image.save_as(file)
        written = export_objects(read_result(case.result), series, tmp_path / "out", secret="of the site")  # noqa: S106
        assert [note for note in written.notes if "not stable over dates" in note]
        found.append(tracking_of(written.files[0]))

    assert set(found[0].values()).isdisjoint(found[1].values())


def test_the_same_export_gives_the_same_instance(case: Case, tmp_path: Path) -> None:
    result = read_result(case.result)
    uids = [
        [str(pydicom.dcmread(path).SOPInstanceUID) for path in export_objects(result, case.series, tmp_path / n).files]
        for n in ("a", "b")
    ]
    assert uids[0] == uids[1]
    assert len(set(uids[0])) == 2


def drop_a_slice(series: Path) -> None:
    sorted(series.iterdir())[5].unlink()


def other_voxels(series: Path) -> None:
    for file in series.iterdir():
        image = pydicom.dcmread(file)
        image.PixelData = bytes(len(image.PixelData))
        image.save_as(file)


def other_place(series: Path) -> None:
    for file in series.iterdir():
        image = pydicom.dcmread(file)
        image.ImagePositionPatient = [float(v) + 1.0 for v in image.ImagePositionPatient]
        image.save_as(file)


def no_uid(series: Path) -> None:
    for file in series.iterdir():
        image = pydicom.dcmread(file)
        image.StudyInstanceUID = ""
        image.save_as(file)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (drop_a_slice, "slices are missing or uneven"),
        (other_voxels, "no series that was given has the voxels"),
        (other_place, "no series that was given has the grid of the mask"),
        (no_uid, "no valid StudyInstanceUID"),
    ],
)
def test_what_is_not_the_original_series_is_refused(
    case: Case, tmp_path: Path, spoil: Callable[[Path], None], said: str
) -> None:
    series = shutil.copytree(case.series, tmp_path / "series")
    spoil(series)

    with pytest.raises(InputError, match=said):
        export_objects(read_result(case.result), series, tmp_path / "out")

    assert not (tmp_path / "out").exists()


def test_of_several_series_on_one_grid_the_one_with_the_voxels_is_taken(case: Case, tmp_path: Path) -> None:
    both = tmp_path / "both"
    scan = Volume(np.zeros(SHAPE, dtype=np.float32) + 7, oblique((1, -1, 1)))
    write_series(scan, both / "other", SeriesRecipe(2, "t1", tags=TAGS))
    shutil.copytree(case.series, both / "ours")
    uid = pydicom.dcmread(next(case.series.iterdir())).SeriesInstanceUID

    written = export_objects(read_result(case.result), both, tmp_path / "out")

    assert pydicom.dcmread(written.files[0]).ReferencedSeriesSequence[0].SeriesInstanceUID == uid


def test_a_scan_given_as_nifti_beside_a_dicom_study_is_known_by_its_place(case: Case, tmp_path: Path) -> None:
    result = shutil.copytree(case.result, tmp_path / "result")
    facts = json.loads((result / FACTS).read_bytes())
    facts["input"]["sequences"]["t1c"]["sha256"] = "1" * 64
    facts["series_selection"] = {"series": [{"series": 3, "taken_as": "t2w"}]}
    (result / FACTS).write_text(json.dumps(facts))

    written = export_objects(read_result(result), case.series, tmp_path / "out")

    assert len(written.files) == 2 and "only its geometry was compared" in written.notes[0]


def test_a_mask_that_was_changed_since_is_refused(case: Case, tmp_path: Path) -> None:
    result = shutil.copytree(case.result, tmp_path / "result")
    (result / "case-0a1b-seg.nii.gz").write_bytes(b"other")

    with pytest.raises(InputError, match="changed since it was measured"):
        export_objects(read_result(result), case.series, tmp_path / "out")


def test_the_command_shows_no_name(case: Case, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    given = ["dicom", "export", str(case.result), "--series", str(case.series), "-o", str(tmp_path / "out")]

    done = CliRunner().invoke(main, given)

    assert done.exit_code == 0, done.stderr
    shown = done.stdout + done.stderr + caplog.text
    assert "GIVENMARK" not in shown
    assert PATIENT_ID not in shown
    assert "HOPE_SITE_SECRET is not set" in done.stderr
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["case-0a1b-seg.dcm", "case-0a1b-sr.dcm"]


JAPANESE = "Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B"


def rewritten(case: Case, folder: Path, character_set: str, raw: bytes) -> Path:
    """The series with a character set and a name's bytes as they shall lie in the files."""
    series = shutil.copytree(case.series, folder)
    terms = character_set.split("\\")
    for file in series.iterdir():
        image = pydicom.dcmread(file)
        image.SpecificCharacterSet = terms
        image.PatientName = [PersonName(part, convert_encodings(terms)) for part in raw.split(b"\\")]
        image.save_as(file)
        assert raw in file.read_bytes()
    return series


@pytest.mark.parametrize(
    ("character_set", "raw", "name", "stated"),
    [
        (r"\ISO 2022 IR 87", JAPANESE.encode("latin-1"), "Yamada^Tarou=山田^太郎", ["ISO 2022 IR 6", "ISO 2022 IR 87"]),
        ("ISO 2022 IR 100", "M\xdcLLER^X".encode("latin-1"), "MÜLLER^X", "ISO_IR 100"),
        ("", b"PLAIN^X", "PLAIN^X", None),
        ("ISO_IR 100", rb"FIRST^X\SECOND^Y", "FIRST^X", "ISO_IR 100"),
        (r"\ISO 2022 IR 149", b"Hong=\x1b$)C\xfb\xf3", "Hong=洪", ["ISO 2022 IR 6", "ISO 2022 IR 149"]),
    ],
)
def test_names_of_other_scripts_and_several_names_are_carried(
    case: Case, tmp_path: Path, character_set: str, raw: bytes, name: str, stated: object
) -> None:
    series = rewritten(case, tmp_path / "series", character_set, raw)

    written = export_objects(read_result(case.result), series, tmp_path / "out")

    for path in written.files:
        made = pydicom.dcmread(path)
        assert str(made.PatientName) == name
        assert made.get("SpecificCharacterSet") == stated


def test_what_the_library_refuses_is_one_sentence_without_a_name(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = rewritten(case, tmp_path / "odd", "ISO_IR 9999", b"GIVENMARK^X")
    with pytest.raises(InputError, match="character set that the standard does not have"):
        export_objects(read_result(case.result), odd, tmp_path / "out")

    def refuse(*_: object, **__: object) -> None:
        raise ValueError("PatientName GIVENMARK cannot be written")

    monkeypatch.setattr("hope.formats.dicom_seg.hd.seg.Segmentation", refuse)
    done = CliRunner().invoke(
        main, ["dicom", "export", str(case.result), "--series", str(case.series), "-o", str(tmp_path / "out")]
    )
    assert done.exit_code == 2
    assert "no DICOM object can be made" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "GIVENMARK" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_one_enhanced_file_is_referred_to_frame_by_frame(tmp_path: Path) -> None:
    scan = Volume(np.random.default_rng(5).integers(0, 900, SHAPE).astype(np.float32), oblique((1, -1, 1)))
    order = [7, 2, 0, 11, 4, 1, 9, 3, 10, 5, 8, 6]
    write_enhanced(scan, tmp_path / "dicom", EnhancedRecipe(4, "t1", order=order))
    volume, _ = convert_series(read_series(tmp_path / "dicom")[0], tmp_path, "t1c")
    mask = labelled(volume.grid)
    write_stored_result(tmp_path / "result", mask, scan_sha256=hash_volume(volume), from_dicom=True)

    written = export_objects(read_result(tmp_path / "result"), tmp_path / "dicom", tmp_path / "out")

    segmentation = pydicom.dcmread(written.files[0])
    assert near(points_of(segmentation), points_of_mask(mask))
    image = pydicom.dcmread(next((tmp_path / "dicom").iterdir()))
    for groups in segmentation.PerFrameFunctionalGroupsSequence:
        (source,) = groups.DerivationImageSequence[0].SourceImageSequence
        frame = image.PerFrameFunctionalGroupsSequence[int(source.ReferencedFrameNumber) - 1]
        expected = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float)
        assert np.allclose(np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float), expected, atol=0.01)


@pytest.mark.parametrize("labels", [(1, 2, 4), ()])
def test_dciodvfy_finds_no_error(tmp_path: Path, labels: tuple[int, ...]) -> None:
    program = shutil.which("dciodvfy")
    if program is None:
        assert not os.environ.get("CI"), "dciodvfy is missing: tools/system-packages.sh installs dicom3tools"
        pytest.skip("dciodvfy is not installed (Debian package dicom3tools)")
    case = make_case(tmp_path, oblique((1, -1, 1)), labels)

    for path in export_objects(read_result(case.result), case.series, tmp_path / "out").files:
        done = subprocess.run([program, "-new", path], capture_output=True, text=True, check=False)
        assert not [line for line in done.stderr.splitlines() if line.startswith("Error")], path.name
        assert done.stderr.rstrip().splitlines()  # it names the kind of object at least
