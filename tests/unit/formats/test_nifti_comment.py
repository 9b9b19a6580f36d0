"""A comment in a mask's header: others read the mask as ever, and a change of it shows."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from tests.earlier_output import edited

from hope.domain.grid import Grid
from hope.domain.volume import Volume
from hope.formats.nifti import read_labels, write_labels
from hope.formats.nifti_comment import read_comment

TEXT = '{"input": {"sequences": {"t1c": {"sha256": "' + "0" * 64 + '"}}}}'


def mask() -> Volume:
    turned = np.array([[0, -2.0, 0, 3.3], [1.1, 0, 0, -7.00005], [0, 0, 3, 11.00005], [0, 0, 0, 1]])
    return Volume(np.random.default_rng(1).integers(0, 5, (9, 7, 5)).astype(np.uint8), Grid((9, 7, 5), turned))


@pytest.mark.parametrize("name", ["mask.nii", "mask.nii.gz"])
def test_the_mask_is_the_same_to_every_reader(tmp_path: Path, name: str) -> None:
    plain, said = tmp_path / f"plain-{name}", tmp_path / name
    write_labels(mask(), plain)
    write_labels(mask(), said, TEXT)
    assert read_comment(said) == (TEXT, True)
    assert read_comment(plain) == ("", False)
    ours = read_labels(said)
    assert np.array_equal(ours.data, mask().data) and ours.grid.same_as(read_labels(plain).grid)
    for read in (nib.load, sitk.ReadImage):
        one, other = (read(str(path)) for path in (plain, said))
        voxels = (np.asarray(i.dataobj) if read is nib.load else sitk.GetArrayFromImage(i) for i in (one, other))
        assert np.array_equal(*voxels)
    assert np.array_equal(nib.load(said).affine, nib.load(plain).affine)


@pytest.mark.parametrize("name", ["mask.nii", "mask.nii.gz"])
def test_a_change_of_voxels_or_place_shows_and_packing_does_not(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write_labels(mask(), path, TEXT)
    kept = path.read_bytes()
    path.write_bytes(edited(path))
    assert read_comment(path) == (TEXT, False)
    path.write_bytes(kept)
    image = nib.load(path)
    moved = nib.Nifti1Image(np.asanyarray(image.dataobj), image.affine + np.eye(4, k=3), image.header)
    nib.save(moved, tmp_path / f"moved-{name}")
    assert read_comment(tmp_path / f"moved-{name}") == (TEXT, False)
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(gzip.decompress(kept), 9))
        assert read_comment(path) == (TEXT, True)


@pytest.mark.parametrize("at", [108, 348, 352, 356, 360, 400])
@pytest.mark.parametrize(
    "value", [b"\0\0\0\0", b"\xff\xff\xff\xff", struct.pack("<f", np.nan), struct.pack("<i", 2**31 - 1)]
)
def test_a_damaged_header_is_nobodys_comment(tmp_path: Path, at: int, value: bytes) -> None:
    path = tmp_path / "mask.nii"
    write_labels(mask(), path, TEXT)
    content = bytearray(path.read_bytes())
    content[at : at + 4] = value
    path.write_bytes(content)
    text, whole = read_comment(path)
    assert not (text == TEXT and whole)


@pytest.mark.parametrize("content", [b"", b"no mask", bytes(400), b"\x1f\x8b\x08broken"])
def test_other_files_hold_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "mask.nii.gz").write_bytes(content)
    assert read_comment(tmp_path / "mask.nii.gz") == ("", False)
