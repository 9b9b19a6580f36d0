"""Synthetic patients with known growth: volumes, matches, files; and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner
from scipy import ndimage
from tests.earlier_output import call, holds_rule, refused

import hope
from hope.cli import main
from hope.contract.comparison import Comparison
from hope.domain.errors import OutputError, StageError
from hope.domain.grid import Grid
from hope.domain.lesion_matching import match_lesions
from hope.domain.lesion_size import MeasureRule
from hope.domain.transform import Transform
from hope.domain.volume import Volume
from hope.formats.nifti import write_labels, write_scan
from hope.longitudinal.compare import _cautions
from hope.longitudinal.visits import Visit
from hope.stages.postprocess.lesions import numbered_lesions
from hope.stages.resample import resample_labels
from hope.synthesis.raw import rigid
from hope.synthesis.timeline import Growth, draw_growth, masks_in_scanners
from hope.synthesis.tumours import TumourSpec

PATIENTS = 200
FATES = ("same", "new", "gone", "split", "merged")


def lesion(centre_mm: tuple[float, float, float], radius_mm: float, factors: tuple[float, float]) -> Growth:
    spec = TumourSpec("ball", np.array(centre_mm), np.full(3, radius_mm), np.eye(3), "anywhere")
    return Growth(spec, factors, False, 0.0)


def patient(fate: str, rng: np.random.Generator) -> list[Growth]:
    """A lesion that stays, and one or two with the fate; pairs touch while a bridge between them is there."""
    radius = float(rng.uniform(7, 9))
    apart = (0.0, 0.0, radius + 4.0)
    low, high = (-18.0, -12.0, -apart[2]), (-18.0, -12.0, apart[2])
    stays = lesion((20, 14, float(rng.uniform(-6, 6))), float(rng.uniform(6, 10)), (1.0, float(rng.uniform(0.8, 1.25))))
    grown = float(rng.uniform(0.9, 1.1))
    if fate == "same":
        return [stays, lesion(low, radius, (1.0, grown))]
    if fate in ("new", "gone"):
        return [stays, lesion(low, radius, (0.0, 1.0) if fate == "new" else (1.0, 0.0))]
    bridge = lesion((-18.0, -12.0, 0.0), 7.0, (1.0, 0.0) if fate == "split" else (0.0, 1.0))
    return [stays, lesion(low, radius, (1.0, grown)), lesion(high, radius, (1.0, grown)), bridge]


def on_one_grid(dates: list[tuple[Volume, np.ndarray]]) -> list[np.ndarray]:
    """Numbers of the lesions of each date on one grid, laid on each other by the known poses."""
    common = Grid((48, 43, 43), np.array([[1.8, 0, 0, -43], [0, 1.8, 0, -38], [0, 0, 1.8, -38], [0, 0, 0, 1]]))
    return [
        resample_labels(numbered_lesions(mask, MeasureRule()), common, Transform(pose).inverse()).data
        for mask, pose in dates
    ]


def test_fates_of_200_patients_are_named_right() -> None:
    rng = np.random.default_rng(23)
    wrong = []
    for number in range(PATIENTS):
        fate = FATES[number % len(FATES)]
        dates = masks_in_scanners(patient(fate, rng), 2, rng, (36, 33, 33), 2.4)
        found = sorted(str(match.fate) for match in match_lesions(*on_one_grid(dates)))
        if found != sorted(["same", fate]):
            wrong.append((number, fate, found))
    assert not wrong


def test_growth_of_true_masks_is_within_three_percent() -> None:
    rng = np.random.default_rng(5)
    for _ in range(5):
        lesions = draw_growth(rng, [np.zeros(3)], 2)
        first, second = (mask for mask, _ in masks_in_scanners(lesions, 2, rng, (80, 80, 80), 1.0))
        core = [float(np.isin(m.data, (1, 2, 3)).sum()) * m.grid.voxel_volume_ml for m in (first, second)]
        true = lesions[0].factors[1] ** 3
        assert core[1] / core[0] == pytest.approx(true, rel=0.03)


@pytest.fixture(scope="module")
def visits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A head of noise blobs with a tumour that grows, in two scanners: 2 mm, turned by some degrees, moved."""
    folder = tmp_path_factory.mktemp("visits")
    rng = np.random.default_rng(7)
    head = Grid((88, 104, 88), np.array([[2.0, 0, 0, -88], [0, 2, 0, -104], [0, 0, 2, -88], [0, 0, 0, 1]]))
    voxels = np.stack(np.meshgrid(*map(np.arange, head.shape), indexing="ij"), axis=-1)
    world = head.to_world(voxels)
    inside = ((world / (68, 84, 66)) ** 2).sum(axis=-1) < 1
    texture = ndimage.gaussian_filter(rng.normal(size=head.shape), 3)
    texture = np.where(inside, 300 + 900 * texture / np.abs(texture).max(), 0)
    paths = []
    for date, radius_mm in enumerate((14.0, 17.0)):
        labels = (np.linalg.norm(world - (24, 10, 6), axis=-1) < radius_mm).astype(np.uint8)
        image = np.where(labels, 900, texture) + rng.normal(0, 10, head.shape)
        pose = rigid(rng, 8, 10, (0, 0, 0)) if date else Transform.identity()
        # The voxels stay; the header says that the head lies turned and moved in the second scanner.
        grid = Grid(head.shape, pose.fixed_to_moving_ras_mm @ head.affine_ras_mm)
        path = folder / f"date{date}"
        path.mkdir()
        write_scan(Volume(image.astype(np.float32), grid).reoriented("PIR" if date else "LPS"), path / "x-t1c.nii.gz")
        write_labels(Volume(labels, grid).reoriented("RAS"), path / "x-seg.nii.gz")
        paths.append(path)
    return paths[0], paths[1]


def test_the_command_compares_two_dates(visits: tuple[Path, Path], tmp_path: Path, repository: Path) -> None:
    out = tmp_path / "change"
    run = CliRunner().invoke(main, ["compare", *map(str, visits), "-o", str(out), "--days", "92"])
    assert run.exit_code == 0, run.output
    assert sorted(path.name for path in out.iterdir()) == [
        "changes.csv",
        "comparison.json",
        "comparison.png",
        "report.html",
    ]
    stored = json.loads((out / "comparison.json").read_text(encoding="utf-8"))
    published = json.loads((repository / "docs/reference/comparison.schema.json").read_text(encoding="utf-8"))
    jsonschema.validate(stored, published)
    comparison = Comparison.model_validate(stored)
    (step,) = comparison.steps
    assert [visit.days for visit in comparison.visits] == [0, 92]
    assert step.changes["WT"].percent == pytest.approx(100 * (17**3 / 14**3 - 1), abs=10), "2 mm voxels"
    assert [(match.fate, match.earlier, match.later) for match in step.lesions] == [("same", [1], [1])]
    assert step.registration.mutual_information > 1.1
    assert step.registration.rotation_deg > 3
    assert step.changes["WT"].direction == "uncertainty unknown", "these masks come without intervals"
    html = (out / "report.html").read_text(encoding="utf-8")
    for words in ("after surgery", "92 days", "<svg", "uncertainty unknown"):
        assert words in html
    assert not any("one and the same scan" in text for text in comparison.cautions)
    assert "same" in run.output and "not a medical device" in run.output.lower()


def test_a_comparison_of_other_dates_stays(visits: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "change"
    words = ["compare", *visits, "-o", out]
    files = [out / name for name in ("changes.csv", "comparison.png", "report.html")]
    holds_rule(words, ["compare", *reversed(visits), "-o", out], files)
    with pytest.raises(OutputError, match="made from other dates"):
        hope.compare(*visits, out=out)
    hope.compare(*visits, out=out, replace=True)
    assert call(["compare", *visits, visits[0], "-o", out])[0] == 0, "a further date"
    refused(words, sorted(out.iterdir()))


def test_three_dates_in_python_give_a_curve_and_leave_nothing(visits: tuple[Path, Path]) -> None:
    comparison = hope.compare(visits[0], visits[0], visits[0], days=[0, 30, 90])
    assert [(step.earlier, step.later) for step in comparison.steps] == [(0, 1), (1, 2), (0, 2)]
    for step in comparison.steps:
        assert step.registration.shift_mm < 0.2 and step.registration.rotation_deg < 0.2
        assert step.changes["TC"].change_ml == 0
    assert [text.partition(" are of one and the same scan")[0] for text in comparison.cautions[:3]] == [
        "dates 1 and 2",
        "dates 1 and 3",
        "dates 2 and 3",
    ]


def test_names_of_two_subjects_are_said() -> None:
    grid = Grid((2, 2, 2), np.eye(4))
    one = Visit("sub-01_ses-01", Volume(np.zeros((2, 2, 2), np.uint8), grid), {}, Transform.identity(), {})
    other = replace(one, case_id="sub-02_ses-02")
    assert _cautions([one, other], []) == ["the dates are named after different subjects: sub-01, sub-02"]
    assert _cautions([one, replace(one, case_id="sub-01_ses-02")], []) == []


def test_a_warning_of_one_date_stands_before_the_change() -> None:
    grid = Grid((2, 2, 2), np.eye(4))
    one = Visit("sub-01_ses-01", Volume(np.zeros((2, 2, 2), np.uint8), grid), {}, Transform.identity(), {})
    odd = replace(one, case_id="sub-01_ses-02", warnings=("the input is unlike the training",))
    assert _cautions([one, odd], []) == ["date 2: the input is unlike the training"]


def test_what_cannot_be_compared_is_refused_in_a_sentence(visits: tuple[Path, Path], tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "result.json").write_text("{}")
    first = str(visits[0])
    for arguments, words in (
        ([first], "two dates or more"),
        ([first, str(empty)], "0 masks and 0 scans"),
        ([first, str(broken)], "a file that hope segment wrote"),
        ([first, str(tmp_path / "none")], "is no directory"),
        ([first, first, "--days", "soon"], "whole numbers"),
        ([first, first, "--days", "0,0"], "do not rise"),
        ([first, first, "--days", "1,2,3"], "differ in number"),
        ([first, first, "--days", "5,97"], "0 for the first date"),
    ):
        run = CliRunner().invoke(main, ["compare", *arguments, "-o", str(tmp_path / "out")])
        assert run.exit_code == 2 and words in run.output, run.output
        assert not (tmp_path / "out").exists()


def test_dates_that_cannot_be_laid_on_each_other_are_the_inputs_fault(
    visits: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By REST that is 422 and no failure of the server's: most likely the scans are of two patients."""

    def run_away(*_: object) -> None:
        raise StageError("the optimiser ran away from every start")

    monkeypatch.setattr("hope.longitudinal.compare.register_rigid", run_away)
    run = CliRunner().invoke(main, ["compare", *map(str, visits), "-o", str(tmp_path / "out")])
    assert run.exit_code == 2
    assert "date 2 cannot be laid on date 1" in run.output
    assert "of one patient" in run.output
    assert not (tmp_path / "out").exists()


def test_a_lesion_that_is_not_there_has_no_voxel() -> None:
    rng = np.random.default_rng(1)
    gone = replace(lesion((0, 0, 0), 8.0, (1.0, 0.0)))
    (_, _), (second, _) = masks_in_scanners([gone], 2, rng, (20, 20, 20), 2.0)
    assert not second.data.any()
