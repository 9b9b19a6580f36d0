"""Fates and targets of lesions over two dates in one place, which need no registration: also out of view."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hope.contract.comparison import Comparison
from hope.contract.report import VolumeMl
from hope.domain.grid import Grid
from hope.domain.lesion_size import MeasureRule
from hope.domain.sequence import MRSequence
from hope.domain.transform import Transform
from hope.domain.volume import Volume
from hope.formats.nifti import write_scan
from hope.longitudinal import compare
from hope.longitudinal.report import describe_targets
from hope.longitudinal.response import ResponseRules, with_response
from hope.longitudinal.visits import Visit
from hope.stages.postprocess.postprocess import count_voxels
from hope.stages.preprocess.align_check import Agreement
from hope.stages.preprocess.register import RigidFit

Ball = tuple[tuple[float, float, float], tuple[float, float, float]]
"""Centre and half axes, millimetres."""

Compared = Callable[..., Comparison]
"""Lesions of both dates, and for each its grid."""
SMALL = Grid((96, 96, 20), np.array([[0.5, 0, 0, -24], [0, 0.5, 0, -24], [0, 0, 2.0, -20], [0, 0, 0, 1]]))


def at_date(folder: Path, balls: Sequence[Ball], grid: Grid = SMALL) -> Visit:
    """A date with these lesions; its scan is the mask."""
    world = grid.to_world(np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1))
    inside = np.zeros(grid.shape, dtype=np.uint8)
    for centre, axes in balls:
        inside[(((world - centre) / axes) ** 2).sum(axis=-1) <= 1] = 1
    folder.mkdir()
    write_scan(Volume(100 + 50 * inside.astype(np.float32), grid), folder / "x-t1c.nii.gz")
    ml = {key: VolumeMl(ml=count * grid.voxel_volume_ml) for key, count in count_voxels(inside).items()}
    return Visit(folder.name, Volume(inside, grid), {MRSequence.T1C: folder / "x-t1c.nii.gz"}, Transform.identity(), ml)


@pytest.fixture
def in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """The heads of both dates lie in one place."""
    still = RigidFit(Transform.identity(), "as they are", Agreement(1.5, 1.0), Agreement(1.5, 1.0))
    monkeypatch.setattr(compare, "register_rigid", lambda *_: still)


@pytest.fixture
def compared(in_place: None, tmp_path: Path) -> Compared:
    def made(earlier: Sequence[Ball], later: Sequence[Ball], grids: tuple[Grid, Grid] = (SMALL, SMALL)) -> Comparison:
        visits = [at_date(tmp_path / "first", earlier, grids[0]), at_date(tmp_path / "second", later, grids[1])]
        return compare.compare_visits(visits, rule=MeasureRule(targets=3))[0]

    return made


def judged(comparison: Comparison, repository: Path, **changes: object) -> tuple[str | None, str]:
    """Category and reason by the published example."""
    text = (repository / "docs/reference/response-rules.example.json").read_text(encoding="utf-8")
    rules = ResponseRules.model_validate({**json.loads(text), "example": False, **changes})
    response = with_response(comparison, rules).response
    assert response is not None
    return response.category, response.reason


def test_a_target_that_shrinks_below_the_limit_keeps_its_product(compared: Compared, repository: Path) -> None:
    comparison = compared([((0, 0, 0), (6.5, 5.5, 6))], [((0, 0, 0), (5.875, 4.875, 5))])
    assert not comparison.visits[1].measurements.lesions[0].measurable
    (step,) = comparison.steps
    assert step.sum_of_products_percent == pytest.approx(-20, abs=4)
    assert judged(comparison, repository)[0] == "less"
    assert "earlier targets (1)" in describe_targets(step)


def test_growth_of_what_was_no_target_has_no_category(compared: Compared, repository: Path) -> None:
    comparison = compared([((0, 0, 0), (4, 4, 4))], [((0, 0, 0), (21, 21, 12))])
    (step,) = comparison.steps
    assert comparison.visits[1].measurements.sum_of_products_mm2 == pytest.approx(1774, rel=0.05)
    assert (step.sum_of_products_percent, step.targets) == (None, [])
    category, reason = judged(comparison, repository)
    assert category is None and "no target at the earlier date" in reason
    assert "no target at the earlier date" in describe_targets(step)


def test_without_a_volume_before_a_table_of_volumes_gives_no_category(compared: Compared, repository: Path) -> None:
    comparison = compared([], [((0, 0, 0), (8, 8, 8))])
    category, reason = judged(comparison, repository, quantity="volume")
    assert category is None and "nothing of TC at the earlier date" in reason


def test_a_new_lesion_adds_nothing_to_the_sum(compared: Compared) -> None:
    stays: Ball = ((-12, 0, 0), (8, 7, 7))
    (step,) = compared([stays], [stays, ((12, 0, 0), (10, 9, 9))]).steps
    assert step.sum_of_products_percent == 0
    assert [(t.earlier, t.later) for t in step.targets] == [([1], [2])]


def test_what_is_gone_is_0_and_what_is_split_is_added_up(compared: Compared) -> None:
    gone: Ball = ((-14, -14, 0), (6, 6, 6))
    whole: Ball = ((8, 8, 0), (9, 12, 9))
    pieces: list[Ball] = [((8, 0, 0), (6, 4, 5)), ((8, 14, 0), (6, 5, 5))]
    comparison = compared([gone, whole], pieces)
    (step,) = comparison.steps
    products = [lesion.planes[0].product_mm2 for lesion in comparison.visits[1].measurements.lesions]
    assert {t.fate: t.later_mm2 for t in step.targets} == {
        "split": pytest.approx(sum(products)),
        "gone": 0,
    }
    assert step.targets_note == ""


def test_what_merged_is_counted_once_and_said_to_be_shared(compared: Compared) -> None:
    comparison = compared([((0, -9, 0), (7, 7, 7)), ((0, 9, 0), (7, 7, 7))], [((0, 0, 0), (8, 16, 8))])
    (step,) = comparison.steps
    (target,) = step.targets
    assert (target.earlier, target.later, target.shared) == ([1, 2], [1], True)
    assert target.later_mm2 == comparison.visits[1].measurements.lesions[0].planes[0].product_mm2
    assert "merged" in step.targets_note and "shared" in step.targets_note


STAYS: Ball = ((0, 0, -10), (7, 7, 6))
ABOVE: Ball = ((0, 0, 11), (6, 6, 6))
HALF = SMALL.cropped((0, 0, 0), (96, 96, 12))
"""The lower part: it ends at z = 3 mm."""


@pytest.mark.parametrize("later_is_short", [False, True])
def test_a_lesion_outside_the_other_scan_is_neither_new_nor_gone(compared: Compared, later_is_short: bool) -> None:
    whole, half = [STAYS, ABOVE], [STAYS]
    comparison = compared(whole, half, (SMALL, HALF)) if later_is_short else compared(half, whole, (HALF, SMALL))
    (step,) = comparison.steps
    facts = {match.fate: (match.earlier, match.later) for match in step.lesions}
    number = next(
        lesion.number
        for lesion in comparison.visits[0 if later_is_short else 1].measurements.lesions
        if lesion.centre_ras_mm[2] > 0
    )
    assert facts.keys() == {"same", "outside the other scan"}
    assert facts["outside the other scan"] == (([number], []) if later_is_short else ([], [number]))
    assert any("outside of the" in text and "is not known" in text for text in comparison.cautions)
    if later_is_short:
        assert step.sum_of_products_percent is None and "does not show target" in step.targets_note


@pytest.mark.parametrize(
    ("grown", "category"), [(1.0, None), (0.6, None), (1.4, "more")], ids=["same", "smaller", "larger"]
)
def test_no_table_says_that_none_is_new_where_nobody_looked(
    compared: Compared, repository: Path, grown: float, category: str | None
) -> None:
    later: Ball = (STAYS[0], (7 * grown, 7 * grown, 6))
    comparison = compared([STAYS], [later, ABOVE], (HALF, SMALL))
    said, reason = judged(comparison, repository)
    assert said == category
    assert "0 new lesions; 1 outside of the other scan" in reason
    assert judged(comparison, repository, quantity="volume")[0] is None


def test_a_new_lesion_within_both_scans_is_new(compared: Compared, repository: Path) -> None:
    comparison = compared([STAYS], [STAYS, ABOVE])
    assert sorted(match.fate for match in comparison.steps[0].lesions) == ["new", "same"]
    assert judged(comparison, repository)[0] == "more"


def test_a_lesion_that_the_other_scan_cuts_off_is_cautioned(compared: Compared) -> None:
    comparison = compared([((0, 0, 1), (7, 7, 7))], [((0, 0, 1), (7, 7, 7))], (HALF, SMALL))
    assert [match.fate for match in comparison.steps[0].lesions] == ["same"]
    assert any("may cut off its change" in text for text in comparison.cautions)


def test_every_measured_lesion_stands_in_one_match_however_thin(in_place: None, tmp_path: Path) -> None:
    fine = Grid((200, 200, 8), np.array([[0.2, 0, 0, -20], [0, 0.2, 0, -20], [0, 0, 0.2, 0], [0, 0, 0, 1]]))
    first, second = at_date(tmp_path / "first", []), at_date(tmp_path / "second", [], fine)
    sheet = np.zeros(fine.shape, dtype=np.uint8)
    sheet[20:180, 20:180, 3] = 1
    comparison, _ = compare.compare_visits([first, replace(second, labels=Volume(sheet, fine))])
    assert comparison.visits[1].measurements.lesions
    assert [(match.fate, match.later) for match in comparison.steps[0].lesions] == [("new", [1])]
