from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hope.domain.errors import OutputError
from hope.domain.grid import ALL_ORIENTATIONS, Grid
from hope.domain.labels import ED, ET, PEDS
from hope.domain.volume import Volume
from hope.stages.report import preview
from hope.stages.report.preview import GAP, HEADER, MARGIN, PANEL, render_preview
from hope.stages.report.quick_look import write_quick_look

SPACING_MM = np.array([1.0, 1.5, 5.5])
VOLUMES_ML = {"ET": {"ml": 1.2, "low_ml": 1.0, "high_ml": 1.4}, "WT": {"ml": 1.2, "low_ml": 1.0, "high_ml": 1.4}}


def head(tumour_centre_mm: tuple[float, float, float] | None, value: int = ET) -> tuple[Volume, Volume]:
    """A bright ball of 100 x 120 x 110 mm in RAS, thick slices, and a tumour of 12 mm radius in it."""
    shape = (120, 90, 24)
    affine = np.diag([*SPACING_MM, 1.0])
    affine[:3, 3] = -(np.array(shape) - 1) / 2 * SPACING_MM
    grid = Grid(shape, affine)
    world = grid.to_world(np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1))
    scan = (np.linalg.norm(world / [50, 60, 55], axis=-1) < 1) * (100 + world[..., 0])
    labels = np.zeros(shape, dtype=np.uint8)
    if tumour_centre_mm is not None:
        labels[np.linalg.norm(world - np.array(tumour_centre_mm), axis=-1) < 12] = value
    return Volume(scan.astype(np.float32), grid), Volume(labels, grid)


def draw(image: Volume, labels: Volume, path: Path, notice: str = "") -> np.ndarray:
    render_preview(image, labels, VOLUMES_ML, "case-1  T1 with contrast", path, notice)
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB")).astype(int)


def panel(picture: np.ndarray, row: int, column: int) -> np.ndarray:
    top, left = HEADER + row * (PANEL + GAP), MARGIN + column * (PANEL + GAP)
    return picture[top : top + PANEL, left : left + PANEL]


def orange(pixels: np.ndarray) -> np.ndarray:
    """Where a grey picture took on ET's colour, (row, column) bool."""
    return pixels[..., 0] - pixels[..., 2] > 30


def test_sides_are_radiological_in_every_plane(tmp_path: Path) -> None:
    """A tumour at the patient's left, front and top has to be right, up and up."""
    picture = draw(*head((-25.0, 30.0, 20.0)), tmp_path / "p.png")
    for column, (across, down) in enumerate([(1, -1), (1, -1), (-1, -1)]):
        rows, columns = np.nonzero(orange(panel(picture, 1, column)))
        assert rows.size > 100
        assert np.sign(columns.mean() - PANEL / 2) == across
        assert np.sign(rows.mean() - PANEL / 2) == down


def test_the_upper_row_has_no_labels(tmp_path: Path) -> None:
    picture = draw(*head((-25.0, 30.0, 20.0)), tmp_path / "p.png")
    for column in range(3):
        assert not orange(panel(picture, 0, column)).any()


@pytest.mark.parametrize("orientation", ALL_ORIENTATIONS[:: len(ALL_ORIENTATIONS) // 6])
def test_orientation_in_the_file_changes_nothing(orientation: str, tmp_path: Path) -> None:
    image, labels = head((-25.0, 30.0, 20.0))
    expected = draw(image, labels, tmp_path / "ras.png")
    turned = draw(image.reoriented(orientation), labels.reoriented(orientation), tmp_path / "other.png")
    np.testing.assert_array_equal(turned, expected)


def test_thick_slices_keep_the_body_s_proportions(tmp_path: Path) -> None:
    """A ball stays as tall as it is wide, although its voxels are 5.5 mm high."""
    picture = draw(*head((0.0, 0.0, 0.0)), tmp_path / "p.png")
    for column in range(3):
        rows, columns = np.nonzero(orange(panel(picture, 1, column)))
        assert np.ptp(rows) == pytest.approx(np.ptp(columns), rel=0.2)


def test_colours_are_those_of_the_schema(tmp_path: Path) -> None:
    picture = draw(*head((-25.0, 30.0, 20.0), ED), tmp_path / "p.png")
    colour = next(label.colour for label in PEDS.labels if label.value == ED)
    outline = tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))
    assert (np.abs(panel(picture, 1, 0) - outline).max(axis=-1) < 8).sum() > 50


def test_no_tumour_is_said_in_words(tmp_path: Path) -> None:
    image, labels = head(None)
    said = draw(image, labels, tmp_path / "none.png")
    assert preview._state(labels.data, image.data).startswith("No tumour found")
    warned = (said[:HEADER] == preview.WARNING).all(axis=-1)
    assert warned.sum() > 100
    found = draw(*head((0.0, 0.0, 0.0)), tmp_path / "some.png")
    assert not (found[:HEADER] == preview.WARNING).all(axis=-1).any()


def test_a_notice_is_printed(tmp_path: Path) -> None:
    picture = draw(*head((0.0, 0.0, 0.0)), tmp_path / "p.png", notice="T2 FLAIR was missing")
    assert (picture[:HEADER] == preview.WARNING).all(axis=-1).sum() > 50


@pytest.mark.parametrize("fill", [0.0, 7.0, np.nan])
def test_a_flat_scan_is_drawn_without_complaint(fill: float, tmp_path: Path) -> None:
    image, labels = head(None)
    draw(image.with_data(np.full_like(image.data, fill)), labels, tmp_path / "flat.png")


def test_a_single_slice_is_drawn(tmp_path: Path) -> None:
    grid = Grid((30, 20, 1), np.diag([1.0, 1.0, 5.0, 1.0]))
    labels = np.zeros(grid.shape, dtype=np.uint8)
    labels[5:9, 5:9] = ET
    draw(Volume(np.ones(grid.shape, dtype=np.float32), grid), Volume(labels, grid), tmp_path / "thin.png")


def test_other_grids_are_refused(tmp_path: Path) -> None:
    image, labels = head((0.0, 0.0, 0.0))
    moved = np.array(labels.grid.affine_ras_mm)
    moved[0, 3] += 1.0
    with pytest.raises(ValueError, match="grid"):
        render_preview(image, Volume(labels.data, Grid(labels.grid.shape, moved)), {}, "t", tmp_path / "p.png")


def test_an_unwritable_place_is_an_output_error_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "p.png").mkdir()
    with pytest.raises(OutputError):
        render_preview(*head(None), {}, "t", tmp_path / "p.png")
    assert [p.name for p in tmp_path.iterdir()] == ["p.png"]


def test_the_quick_look_is_small_and_shows_the_row_with_labels(tmp_path: Path) -> None:
    image, labels = head((25.0, 10.0, 5.0))
    whole = draw(image, labels, tmp_path / "preview.png")
    write_quick_look(tmp_path / "preview.png", tmp_path / "quick-look.webp")
    with Image.open(tmp_path / "quick-look.webp") as shown:
        assert shown.format == "WEBP" and not shown.getexif()
        quick = np.asarray(shown.convert("RGB")).astype(int)
    assert quick.shape[1] == 1080 and (tmp_path / "quick-look.webp").stat().st_size < 60_000
    for column in range(3):
        large = orange(panel(whole, 1, column))
        third = quick[:, column * 360 : (column + 1) * 360]
        assert orange(third).mean() == pytest.approx(large.mean(), rel=0.35), "the tumour of each plane is there"
