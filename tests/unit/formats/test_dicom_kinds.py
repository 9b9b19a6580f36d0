"""Kinds of DICOM that public bug reports describe: each is read as it is, refused, or left out by name."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

from hope.domain.errors import InputError
from hope.domain.grid import Grid
from hope.domain.volume import Volume
from hope.formats.dicom import convert_series, read_series
from hope.formats.dicom_files import CUT, EMPTY, NO_PIXELS, NOT_DICOM, UNLISTED, walk_files
from hope.formats.dicom_grouping import REGROUPED
from hope.formats.dicom_series import DUPLICATES, parted, read_study
from hope.formats.reading import NOT_FETCHED
from hope.formats.series import read_tags
from hope.testing.dicom_series import PATIENT_ID, SeriesRecipe, write_series
from hope.testing.enhanced_series import EnhancedRecipe, write_enhanced


def _volume(slices: int = 10) -> Volume:
    affine = np.diag([2.0, 2.5, 5.0, 1.0])
    affine[:3, 3] = [-20, 30, -10]
    grid = Grid((16, 14, slices), affine)
    return Volume(np.random.default_rng(3).integers(1, 900, grid.shape).astype(np.float32), grid)


def _same(one: Volume, two: Volume) -> bool:
    a, b = one.reoriented("RAS"), two.reoriented("RAS")
    return a.grid.same_as(b.grid) and bool(np.allclose(a.data, b.data, atol=1e-3))


def _edit(files: list[Path], change: Callable[[FileDataset, int], None]) -> None:
    for number, file in enumerate(files):
        image = pydicom.dcmread(file)
        change(image, number)
        image.save_as(file)


def _object_without_pixels(path: Path, sop_class: str, modality: str) -> None:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = UID(sop_class), ExplicitVRLittleEndian
    meta.MediaStorageSOPInstanceUID = generate_uid()
    item = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    item.SOPClassUID, item.SOPInstanceUID = sop_class, meta.MediaStorageSOPInstanceUID
    item.StudyInstanceUID, item.SeriesInstanceUID, item.Modality = generate_uid(), generate_uid(), modality
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, item, enforce_file_format=True)


# --- copies, cycles, what is left out -------------------------------------------------------------------------------


@pytest.mark.parametrize("duplicates", [1, 2])
@pytest.mark.parametrize("enhanced", [False, True])
def test_identical_instances_are_dropped(tmp_path: Path, duplicates: int, enhanced: bool) -> None:
    if enhanced:
        write_enhanced(_volume(), tmp_path / "a", EnhancedRecipe(3, "t1"))
    else:
        write_series(_volume(), tmp_path / "a", SeriesRecipe(3, "t1"))
    for number in range(duplicates):
        shutil.copytree(tmp_path / "a", tmp_path / f"a ({number + 1})")
    (series,), left_out = read_study(tmp_path)
    assert series.fault == "" and _same(convert_series(series, tmp_path / "x", "t1c")[0], _volume())
    assert left_out == {DUPLICATES: duplicates * (1 if enhanced else 10)}


def test_a_copy_with_some_slices_and_a_renewed_header_is_a_copy(tmp_path: Path) -> None:
    files = write_series(_volume(), tmp_path / "a", SeriesRecipe(3, "t1"))
    (tmp_path / "b").mkdir()
    for file in files[2:5]:
        image = pydicom.dcmread(file)
        image.InstitutionName = "exported again, with a longer header"
        image.save_as(tmp_path / "b" / file.name)
    (series,), left_out = read_study(tmp_path)
    assert series.slices == 10 and left_out == {DUPLICATES: 3}


def test_one_instance_uid_on_different_images_loses_none(tmp_path: Path) -> None:
    files = write_series(_volume(), tmp_path / "a", SeriesRecipe(3, "t1"))
    _edit(files, lambda image, _: setattr(image, "SOPInstanceUID", "1.2.3"))
    (series,), left_out = read_study(tmp_path)
    assert series.slices == 10 and not left_out and series.fault == ""


def test_links_to_directories_are_followed_once(tmp_path: Path) -> None:
    write_series(_volume(), tmp_path / "store" / "t1", SeriesRecipe(3, "t1"))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "series").symlink_to(tmp_path / "store" / "t1")
    (tmp_path / "in" / "again").symlink_to(tmp_path / "store" / "t1")
    (tmp_path / "in" / "up").symlink_to("..")
    assert len(list(walk_files(tmp_path / "in"))) == 10
    (series,), left_out = read_study(tmp_path / "in")
    assert series.slices == 10 and not left_out


@pytest.mark.parametrize(("kept", "at"), [(0.9, 3), (0.5, 9), (0.97, 0)])
def test_a_file_cut_within_its_pixels_faults_its_series(tmp_path: Path, kept: float, at: int) -> None:
    files = write_series(_volume(), tmp_path / "a", SeriesRecipe(3, "t1"))
    write_series(_volume(), tmp_path / "b", SeriesRecipe(4, "t2"))
    raw = files[at].read_bytes()
    files[at].write_bytes(raw[: int(len(raw) * kept)])
    found = read_series(tmp_path)
    assert [s.fault for s in found] == ["1 of its 10 files is cut short", ""]
    with pytest.raises(InputError, match=r"t1c: .* 1 of its 10 files is cut short"):
        convert_series(found[0], tmp_path / "x", "t1c")


@pytest.mark.parametrize("size", [400, 700, 900, 1000])
@pytest.mark.parametrize("ends", [(9,), (0, 1)])
def test_a_file_cut_within_its_header_faults_its_series(tmp_path: Path, size: int, ends: tuple[int, ...]) -> None:
    files = write_series(_volume(), tmp_path / "a", SeriesRecipe(3, "t1"))
    for end in ends:
        files[end].write_bytes(files[end].read_bytes()[:size])
    (series,) = read_series(tmp_path)
    assert series.fault == f"{len(ends)} of its 10 files {'is' if len(ends) == 1 else 'are'} cut short"


def test_cut_files_of_nobody_are_listed(tmp_path: Path) -> None:
    files = write_series(_volume(), tmp_path / "a", SeriesRecipe(3, "t1"))
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x").write_bytes(files[0].read_bytes()[:400])
    (series,), left_out = read_study(tmp_path)
    assert series.fault == "" and left_out == {CUT: 1}


def test_a_cut_enhanced_file_is_refused(tmp_path: Path) -> None:
    for compressed in (False, True):
        folder = tmp_path / str(compressed)
        (file,) = write_enhanced(_volume(), folder, EnhancedRecipe(3, "t1", compressed=compressed))
        file.write_bytes(file.read_bytes()[:-700])
        (series,) = read_series(folder)
        assert series.fault == "1 of its 1 file is cut short"


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda d: (d / "x.dcm").symlink_to(d / "nowhere"), NOT_FETCHED),
        (lambda d: (d / "IM9").symlink_to(".git/annex/objects/ab/cd"), NOT_FETCHED),
        (lambda d: (d / "y.dcm").write_text("/annex/objects/MD5E-s123--abc.dcm\n"), NOT_FETCHED),
        (lambda d: (d / "z").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\n"), NOT_FETCHED),
        (lambda d: (d / "e.dcm").touch(), EMPTY),
        (lambda d: (d / "n.ima").write_text("no image at all"), NOT_DICOM),
    ],
)
def test_what_should_be_an_image_and_is_none_is_listed(
    tmp_path: Path, make: Callable[[Path], object], reason: str
) -> None:
    write_series(_volume(), tmp_path, SeriesRecipe(3, "t1"))
    (tmp_path / "notes.txt").symlink_to("gone.txt")
    make(tmp_path)
    (series,), left_out = read_study(tmp_path)
    assert series.slices == 10 and left_out == {reason: 1}


@pytest.mark.parametrize(
    ("sop_class", "modality"),
    [
        ("1.2.840.10008.5.1.4.1.1.88.22", "SR"),
        ("1.2.840.10008.5.1.4.1.1.11.1", "PR"),
        ("1.2.840.10008.5.1.4.1.1.88.59", "KO"),
        ("1.2.840.10008.5.1.4.1.1.481.3", "RTSTRUCT"),
    ],
)
def test_objects_without_pixels_are_no_series(tmp_path: Path, sop_class: str, modality: str) -> None:
    write_series(_volume(), tmp_path / "a", SeriesRecipe(3, "t1"))
    _object_without_pixels(tmp_path / "b" / "1.dcm", sop_class, modality)
    (series,), left_out = read_study(tmp_path)
    assert series.number == 3 and left_out == {NO_PIXELS: 1}


def test_a_dicomdir_tells_what_is_missing(tmp_path: Path) -> None:
    files = write_series(_volume(), tmp_path / "IMAGES", SeriesRecipe(3, "t1"))
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID("1.2.840.10008.1.3.10")
    meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID = generate_uid(), ExplicitVRLittleEndian
    index = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    records = []
    for name in [*(file.name for file in files), "GONE"]:
        record = pydicom.Dataset()
        record.DirectoryRecordType, record.ReferencedFileID = "IMAGE", ["IMAGES", name]
        records.append(record)
    index.DirectoryRecordSequence = records
    pydicom.dcmwrite(tmp_path / "DICOMDIR", index, enforce_file_format=True)
    (series,), left_out = read_study(tmp_path)
    assert series.slices == 10 and left_out == {UNLISTED: 1}


# --- whose series they are ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tags", "groups"),
    [
        ({"PatientID": "4712"}, 2),
        ({"StudyDate": "20210202"}, 2),
        ({"PatientID": None, "PatientName": "OTHER^ONE"}, 2),
        ({"PatientName": "SURNAMEMARK^GIVENMARK^M"}, 1),
        ({"PatientName": None, "PatientID": None, "PatientBirthDate": None}, 1),
        ({"StudyDate": None}, 1),
    ],
)
def test_series_are_parted_by_patient_and_day(tmp_path: Path, tags: dict[str, object], groups: int) -> None:
    write_series(_volume(), tmp_path, SeriesRecipe(3, "t1"))
    write_series(_volume(), tmp_path, SeriesRecipe(4, "t2", tags=tags))
    assert len(parted(read_series(tmp_path))) == groups


def test_no_identity_is_kept_in_words(tmp_path: Path) -> None:
    write_series(_volume(), tmp_path, SeriesRecipe(3, "t1"))
    (series,) = read_series(tmp_path)
    assert "SURNAME" not in repr(series.identity) and PATIENT_ID not in repr(series.identity)
    assert "20200102" not in repr(series.identity)


@pytest.mark.parametrize("numbered", [True, False])
def test_an_anonymiser_that_gave_every_image_a_uid_of_its_own(tmp_path: Path, numbered: bool) -> None:
    files = [
        *write_series(_volume(), tmp_path / "a", SeriesRecipe(3, "t1", "T1")),
        *write_series(_volume(), tmp_path / "b", SeriesRecipe(4, "t2", "T2")),
    ]

    def renew(image: FileDataset, number: int) -> None:
        image.SOPInstanceUID = image.SeriesInstanceUID = generate_uid()
        image.StudyInstanceUID = generate_uid()
        if not numbered:
            del image.SeriesNumber

    _edit(files, renew)
    found = read_series(tmp_path)
    assert len(found) == 2 and len(parted(found)) == 1
    for series in found:
        assert series.fault == "" and series.notes == (REGROUPED,)
        assert _same(convert_series(series, tmp_path / "x", "t1c")[0], _volume())


def test_an_anonymiser_that_gave_all_series_one_uid(tmp_path: Path) -> None:
    files = [
        *write_series(_volume(), tmp_path / "a", SeriesRecipe(3, "t1", "T1")),
        *write_series(_volume(), tmp_path / "b", SeriesRecipe(4, "t2", "T2")),
        *write_series(_volume(), tmp_path / "c", SeriesRecipe(5, "flair", "FLAIR")),
    ]
    _edit(files, lambda image, _: setattr(image, "SeriesInstanceUID", "1.2.3"))
    found = read_series(tmp_path)
    assert [(s.number, s.slices, s.fault) for s in found] == [(3, 10, ""), (4, 10, ""), (5, 10, "")]


# --- kinds of images ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tags", "says"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]}, "mosaic"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"]}, "phase, real or imaginary"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "PHASE MAP", "P_FFE"]}, "phase, real or imaginary"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "in colour"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "in colour"),
        ({"PhotometricInterpretation": "MONOCHROME1"}, "stored inverted"),
    ],
)
def test_images_that_are_no_plain_magnitude_are_named(tmp_path: Path, tags: dict[str, object], says: str) -> None:
    write_series(_volume(), tmp_path / "in", SeriesRecipe(3, "t1", tags=tags))
    (series,) = read_series(tmp_path / "in")
    assert read_tags(series).weighting == "other" and says in read_tags(series).reason
    with pytest.raises(InputError, match=says):
        convert_series(series, tmp_path, "t1c")


def test_a_classic_time_series_is_refused_by_name(tmp_path: Path) -> None:
    for time in (1, 2, 3):
        recipe = SeriesRecipe(3, "t1", tags={"TemporalPositionIdentifier": time})
        files = write_series(_volume(), tmp_path / str(time), recipe)
        _edit(files, lambda image, _: setattr(image, "SOPInstanceUID", generate_uid()))
    (series,) = read_series(tmp_path)
    with pytest.raises(InputError, match=r"lies there 3 times .3 points in time"):
        convert_series(series, tmp_path / "x", "t1c")


@pytest.mark.parametrize("shear", [0.3, 0.8, 2.0])
def test_gantry_tilt_is_refused_by_name(tmp_path: Path, shear: float) -> None:
    write_series(_volume(), tmp_path / "in", SeriesRecipe(3, "t1", shear_mm=shear))
    (series,) = read_series(tmp_path / "in")
    with pytest.raises(InputError, match=r"sheared by .* degrees .gantry tilt"):
        convert_series(series, tmp_path, "t1c")


def test_private_scale_slopes_keep_slices_comparable(tmp_path: Path) -> None:
    # Philips stores each slice with a rescale slope RS and a private scale slope SS: true value = stored / SS here.
    truth = _volume()
    slopes = [1.0 + 0.25 * k for k in range(10)]
    stored = truth.with_data(np.stack([truth.data[:, :, k] * s for k, s in enumerate(slopes)], axis=2))
    files = write_series(stored, tmp_path / "in", SeriesRecipe(3, "t1", tags={"Manufacturer": "Philips"}))

    def scale(image: FileDataset, k: int) -> None:
        image.RescaleSlope, image.RescaleIntercept = "2.0", "0"
        image.add_new((0x2005, 0x0010), "LO", "Philips MR Imaging DD 001")
        image.add_new((0x2005, 0x100E), "FL", slopes[k])

    _edit(files, scale)
    (series,) = read_series(tmp_path / "in")
    got, _ = convert_series(series, tmp_path, "t1c")
    ratio = got.reoriented("RAS").data / truth.reoriented("RAS").data
    per_slice = np.median(ratio, axis=(0, 1))
    assert per_slice.max() / per_slice.min() < 1.02, "every slice is on one scale"


def test_a_derived_series_says_how_to_use_it(tmp_path: Path) -> None:
    for number, kind in enumerate((["DERIVED", "SECONDARY", "MPR"], ["DERIVED", "SECONDARY"]), start=3):
        write_series(_volume(), tmp_path / str(number), SeriesRecipe(number, "t1", tags={"ImageType": kind}))
    for series in read_series(tmp_path):
        reading = read_tags(series)
        assert reading.weighting == "other" and reading.would_be == "t1"
        assert "name it by its flag" in reading.reason
        assert _same(convert_series(series, tmp_path / "x", "t1c")[0], _volume()), "it can be read where it is named"
