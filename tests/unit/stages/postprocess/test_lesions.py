"""Measurements of a mask: one form for result.json, files and tables; and the command that writes them."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from hope.cli import main
from hope.contract.measurements import Measurements, describe_lesion, json_schema
from hope.domain.grid import Grid
from hope.domain.labels import CC, ED, ET
from hope.domain.lesion_size import CystRule, MeasureRule
from hope.domain.volume import Volume
from hope.formats.nifti import write_labels, write_scan
from hope.stages.postprocess.lesions import measure_lesions, rule_of
from hope.stages.report.lesion_section import lesion_section
from hope.stages.report.lesion_views import MARGIN, TILE


def two_lesions() -> Volume:
    """A cystic ball of 24 mm, a small ball, a speck and oedema, in LPS order at 1 x 1 x 3 mm."""
    grid = Grid((60, 50, 14), np.array([[-1.0, 0, 0, 30], [0, -1, 0, 20], [0, 0, 3, -9], [0, 0, 0, 1]]))
    voxels = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1)
    distance = np.linalg.norm((voxels - (20, 25, 7)) * grid.spacing_mm, axis=-1)
    labels = np.zeros(grid.shape, dtype=np.uint8)
    labels[distance <= 15], labels[distance <= 12], labels[distance <= 7] = ED, ET, CC
    labels[np.linalg.norm((voxels - (48, 20, 4)) * grid.spacing_mm, axis=-1) <= 4.2] = ET
    labels[55, 45, 12] = ET
    return Volume(labels, grid)


def test_the_largest_lesion_comes_first_and_specks_are_counted() -> None:
    labels = two_lesions()
    found = measure_lesions(labels)
    first, second = found.lesions
    assert (first.measurable, second.measurable, found.smaller) == (True, False, 1)
    assert first.axial and first.axial.file_axis == 2 and first.axial.slice_index == 7
    assert first.ml == pytest.approx(4 / 3 * np.pi * 12**3 / 1000, rel=0.05)
    ends = labels.grid.to_voxel(np.array(first.axial.long.ends_ras_mm))
    assert np.abs(ends[:, 2] - 7).max() < 0.01, "positions are the file's, not the cut-out's"
    assert np.abs(ends.mean(axis=0) - (20, 25, 7)).max() < 1.5
    assert found.sum_of_products_mm2 == first.axial.product_mm2
    assert "not measurable" in describe_lesion(second)
    for rule in (MeasureRule(), MeasureRule("ET", CystRule.SOLID, True, 8.0, 0.1, 2)):
        assert rule_of(measure_lesions(labels, rule).rule) == rule


def test_text_table_and_schema_hold_the_same(repository: Path) -> None:
    found = measure_lesions(two_lesions())
    published = json.loads((repository / "docs/reference/measurements.schema.json").read_text(encoding="utf-8"))
    assert published == json_schema(), "run `make docs`"
    jsonschema.validate(json.loads(found.text()), published)
    assert Measurements.model_validate_json(found.text()).text() == found.text()
    assert Measurements.model_validate_json(found.text()).csv() == found.csv()
    rows = list(csv.DictReader(io.StringIO(found.csv())))
    assert [row["measurable"] for row in rows] == ["yes", "no"]
    assert found.lesions[0].axial and float(rows[0]["long_mm"]) == found.lesions[0].axial.long.mm


def test_no_tumour_is_nothing_to_measure() -> None:
    empty = two_lesions()
    found = measure_lesions(empty.with_data(np.zeros_like(empty.data)))
    assert (found.lesions, found.smaller, lesion_section(found, b"")) == ([], 0, "")


def test_the_report_says_the_rule_and_the_range() -> None:
    html = lesion_section(measure_lesions(two_lesions()), b"png")
    for words in ("outer contour", "near the limit", "1 (target)", "data:image/png;base64"):
        assert words in html


def test_the_command_writes_one_form_and_draws(tmp_path: Path) -> None:
    labels = two_lesions()
    write_labels(labels, tmp_path / "seg.nii.gz")
    turned = labels.with_data(labels.data.astype(np.float32) * 50 + 20).reoriented("PIR")
    write_scan(turned, tmp_path / "t1c.nii.gz")
    run = CliRunner().invoke(
        main, ["measure", f"{tmp_path}/seg.nii.gz", "--image", f"{tmp_path}/t1c.nii.gz", "-o", f"{tmp_path}/out"]
    )
    assert run.exit_code == 0, run.output
    assert "outer contour" in run.output and "components below 0.05 ml that were not measured: 1" in run.output
    written = json.loads((tmp_path / "out" / "measurements.json").read_text(encoding="utf-8"))
    stated = {name: value for name, value in written.items() if name not in ("input", "files")}
    assert stated == json.loads(measure_lesions(labels).text())
    assert list(written["files"]) == ["measurements.csv", "measurements.png"]
    with Image.open(tmp_path / "out" / "measurements.png") as picture:
        assert picture.width > picture.height > 400
    # Another mask's measurements take the place of all of it, if asked: no picture of the first stays beside them.
    write_labels(labels.with_data(np.zeros_like(labels.data)), tmp_path / "seg.nii.gz")
    run = CliRunner().invoke(main, ["measure", f"{tmp_path}/seg.nii.gz", "-o", f"{tmp_path}/out"])
    assert run.exit_code == 2 and "measurements.json was made from other masks" in run.output
    assert (tmp_path / "out" / "measurements.png").is_file()
    run = CliRunner().invoke(main, ["measure", f"{tmp_path}/seg.nii.gz", "-o", f"{tmp_path}/out", "--replace"])
    assert run.exit_code == 0 and "no lesion to measure" in run.output
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"measurements.json", "measurements.csv"}


def test_the_picture_of_the_command_shows_the_scan_near_the_labels_only(tmp_path: Path) -> None:
    grid = Grid((80, 80, 10), np.diag([1.0, 1.0, 3.0, 1.0]))
    labels = np.zeros(grid.shape, dtype=np.uint8)
    labels[34:46, 34:46, 4:6] = 1
    write_labels(Volume(labels, grid), tmp_path / "seg.nii.gz")
    head = np.random.default_rng(1).uniform(50, 100, grid.shape).astype(np.float32)
    brain = np.where((np.hypot(*np.ogrid[-40:40, -40:40]) < 38)[..., None], head, 0)
    brain[..., [0, -1]] = 0
    corners = {}
    for name, scan in (("head", head), ("brain", brain)):
        write_scan(Volume(scan, grid), tmp_path / "t1c.nii.gz")
        arguments = ["measure", f"{tmp_path}/seg.nii.gz", "--image", f"{tmp_path}/t1c.nii.gz", "-o", f"{tmp_path}/out"]
        run = CliRunner().invoke(main, arguments)
        assert run.exit_code == 0, run.output
        assert ("within 20 mm of the labels only" in run.output) is (name == "head")
        with Image.open(tmp_path / "out" / "measurements.png") as picture:
            # 30 mm beside the middle of the tile, whose field is 60 mm: 24 mm from the label.
            corners[name] = picture.convert("RGB").getpixel((MARGIN + 3, MARGIN + TILE // 2))
    assert corners["head"] == (0, 0, 0) != corners["brain"]


def test_an_image_on_another_grid_and_adult_labels_are_refused(tmp_path: Path) -> None:
    labels = two_lesions()
    write_labels(labels, tmp_path / "seg.nii.gz")
    write_scan(labels.with_data(labels.data.astype(np.float32)).reoriented("RAS"), tmp_path / "same.nii.gz")
    moved = Grid(labels.grid.shape, labels.grid.affine_ras_mm + np.eye(4, k=3) * 5)
    write_scan(Volume(labels.data.astype(np.float32), moved), tmp_path / "other.nii.gz")
    run = CliRunner().invoke(main, ["measure", f"{tmp_path}/seg.nii.gz", "--image", f"{tmp_path}/other.nii.gz"])
    assert run.exit_code == 2 and "another grid" in run.output and "5.0 mm off" in run.output
    write_labels(labels.with_data(labels.data * 2), tmp_path / "adult.nii.gz")
    run = CliRunner().invoke(main, ["measure", f"{tmp_path}/adult.nii.gz", "-o", f"{tmp_path}/none"])
    assert run.exit_code == 2 and "not of the peds scheme" in run.output
    assert not (tmp_path / "none").exists()
