"""Pictures of a comparison show no whole head: only what lies near the labels, unless the scans are of brain alone."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.unit.longitudinal.test_targets import at_date, in_place

from hope.contract.comparison import Comparison
from hope.domain.grid import Grid
from hope.domain.volume import Volume
from hope.formats.nifti import write_labels, write_scan
from hope.longitudinal import compare
from hope.longitudinal.compare import Overlay
from hope.longitudinal.pictures import HEADER, MARGIN, draw_overlay
from hope.longitudinal.report import write_comparison
from hope.longitudinal.visits import read_visit
from hope.stages.report.face_free import NEAR_LABELS_MM
from hope.testing.stored_results import labelled, write_stored_result

__all__ = ["in_place"]

WIDE = Grid((50, 50, 50), np.array([[2.0, 0, 0, -50], [0, 2, 0, -50], [0, 0, 2, -50], [0, 0, 0, 1]]))
FIRST, SECOND = (-20.0, 0.0, 0.0), (20.0, 0.0, 0.0)


def drawn(tmp_path: Path, brain_only: tuple[bool, bool]) -> tuple[Comparison, Overlay]:
    """Two dates with a lesion each, in two places, on scans without a voxel of 0."""
    visits = [at_date(tmp_path / name, [(centre, (6, 6, 6))], WIDE) for name, centre in (("a", FIRST), ("b", SECOND))]
    return compare.compare_visits(
        [replace(visit, brain_only=brain) for visit, brain in zip(visits, brain_only, strict=True)]
    )


@pytest.mark.usefixtures("in_place")
def test_scans_are_shown_near_the_labels_of_either_date_and_the_report_says_so(tmp_path: Path) -> None:
    comparison, overlay = drawn(tmp_path, (False, False))
    grid = overlay.earlier.grid
    world = grid.to_world(np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1))
    distance_mm = np.minimum(*(np.linalg.norm(world - centre, axis=-1) for centre in (FIRST, SECOND)))
    for image in (overlay.earlier, overlay.later):
        assert not image.data[distance_mm > 6 + NEAR_LABELS_MM + 2].any()
        assert image.data[distance_mm < 6 + NEAR_LABELS_MM - 2].all(), "near both, whichever date it is"
    with Image.open(io.BytesIO(draw_overlay(overlay))) as picture:
        assert picture.convert("RGB").getpixel((MARGIN + 4, HEADER + 4)) == (0, 0, 0)
    write_comparison(comparison, overlay, tmp_path / "out")
    assert "within 20 mm of the labels only" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


@pytest.mark.usefixtures("in_place")
def test_scans_of_brain_alone_are_shown_whole(tmp_path: Path) -> None:
    comparison, overlay = drawn(tmp_path, (True, True))
    assert overlay.earlier.data.all() and overlay.later.data.all()
    write_comparison(comparison, overlay, tmp_path / "out")
    assert "of the labels only" not in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


@pytest.mark.usefixtures("in_place")
def test_one_date_with_a_head_is_enough_to_cut_it(tmp_path: Path) -> None:
    _, overlay = drawn(tmp_path, (True, False))
    assert overlay.near_labels_only and overlay.earlier.data.all() and not overlay.later.data.all()


@pytest.mark.parametrize("whole_head", [True, False])
def test_a_directory_is_of_brain_only_where_its_scan_shows_that(tmp_path: Path, whole_head: bool) -> None:
    world = WIDE.to_world(np.stack(np.meshgrid(*map(np.arange, WIDE.shape), indexing="ij"), axis=-1))
    brain = np.linalg.norm(world, axis=-1) < 38
    scan = np.where(brain, 100.0, 7.0 + (np.arange(50) % 3) if whole_head else 0.0).astype(np.float32)
    write_scan(Volume(scan, WIDE), tmp_path / "x-t1c.nii.gz")
    write_labels(Volume((world[..., 0] > 30).astype(np.uint8), WIDE), tmp_path / "x-seg.nii.gz")
    assert read_visit(tmp_path, "EARLIER").brain_only is not whole_head


@pytest.mark.parametrize(
    ("scans", "wanted", "brain_only"), [("full", "full", False), ("full", "brain", True), ("brain", "full", True)]
)
def test_a_result_is_of_brain_only_by_its_facts(tmp_path: Path, scans: str, wanted: str, brain_only: bool) -> None:
    folder = tmp_path / "result"
    report = write_stored_result(folder, labelled(Grid((20, 20, 20), np.eye(4))))
    facts = report.to_json()
    facts["input"]["head_state"], facts["model"]["head_state"] = scans, wanted
    facts["transforms"] = {"t1c": {"atlas_to_native_ras_mm": np.eye(4).tolist()}}
    (folder / "result.json").write_text(type(report).model_validate(facts).text(), encoding="utf-8")
    assert read_visit(folder, "EARLIER").brain_only is brain_only
