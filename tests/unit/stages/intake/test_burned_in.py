"""Burned-in text: what headers state and what is drawn on every slice is said, and anatomy is not taken for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from hope.domain.grid import ALL_ORIENTATIONS
from hope.domain.volume import Volume
from hope.stages.intake.burned_in import drawing_flags
from hope.stages.intake.case_finding import find_cases
from hope.stages.intake.intake import load_case
from hope.testing.dicom_series import SeriesRecipe, write_series
from hope.testing.head import HEAD_GRID, head_scan

GRID = HEAD_GRID.with_spacing((3.0, 3.0, 7.0))


def with_text(scan: Volume, value: float, words: str = "JOHN DOE") -> Volume:
    """The same words in a corner of every slice k."""
    page = Image.new("L", scan.grid.shape[:2])
    ImageDraw.Draw(page).text((2, 1), words, fill=255)
    data = scan.data.copy()
    data[np.asarray(page).T > 128] = value
    return Volume(data, scan.grid)


@pytest.mark.parametrize("orientation", ALL_ORIENTATIONS[::7])
@pytest.mark.parametrize("noise", [True, False])
def test_text_on_every_slice_is_found_and_a_head_is_not_taken_for_it(orientation: str, noise: bool) -> None:
    scan = head_scan(1, background_noise=noise)
    assert not drawing_flags(scan.reoriented(orientation), "t1c")
    (flag,) = drawing_flags(with_text(scan, 900).reoriented(orientation), "t1c")
    assert (flag.code, flag.severity, flag.sequence) == ("burned_in_text", "caution", "t1c")


def test_padding_a_constant_image_and_few_slices_are_no_text() -> None:
    scan = head_scan(1)
    padded = scan.data.copy()
    padded[:6] = 12.0
    assert not drawing_flags(Volume(padded, scan.grid), "t2w"), "darker than tissue"
    assert not drawing_flags(
        Volume(np.full((20, 20, 20), 5, np.float32), HEAD_GRID.cropped((0, 0, 0), (20, 20, 20))), "t2w"
    )
    few = HEAD_GRID.cropped((0, 0, 0), (60, 66, 9))
    assert not drawing_flags(with_text(Volume(scan.data[:, :, :9], few), 900), "t2w")


def test_what_headers_state_is_a_remark_of_the_case(tmp_path: Path) -> None:
    stated = {"BurnedInAnnotation": "YES"}
    write_series(head_scan(2, grid=GRID), tmp_path / "in" / "t2", SeriesRecipe(3, "t2", "t2", tags=stated))
    free = {"BurnedInAnnotation": "NO"}
    write_series(head_scan(3, grid=GRID), tmp_path / "in" / "fl", SeriesRecipe(4, "flair", "flair", tags=free))
    (tmp_path / "scratch").mkdir()
    (source,) = find_cases([tmp_path / "in"], {})
    case = load_case(source, preprocessed=None, scratch=tmp_path / "scratch")
    (flag,) = (flag for flag in case.flags if flag.code == "burned_in_text")
    assert flag.sequence == "t2w" and "24 of 24 DICOM images" in flag.reason
