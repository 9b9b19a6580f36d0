"""Registration finds known motion, from any file order, repeatably, and refuses what is no rotation."""

from __future__ import annotations

import numpy as np
import pytest

from hope.domain.errors import StageError
from hope.domain.grid import Grid
from hope.domain.transform import Transform
from hope.domain.volume import Volume
from hope.formats.atlas import atlas_brain, atlas_t1
from hope.stages.masks import box_around, cropped
from hope.stages.preprocess.align_check import Probe, coarsened
from hope.stages.preprocess.coarse_search import CoarseSearch
from hope.stages.preprocess.register import FixedImage, as_rigid, register_rigid, rotation_deg
from hope.stages.preprocess.starts import session_starts, turned_about

LIMIT_MM = 1.0


@pytest.fixture(scope="module")
def head() -> Volume:
    """The atlas brain at 2 mm."""
    return coarsened(cropped(atlas_t1(), box_around(atlas_brain(), 12.0)), 2.0)


@pytest.fixture(scope="module")
def small_head(head: Volume) -> Volume:
    """The atlas brain at 4 mm, for what needs no precision."""
    return coarsened(head, 4.0)


@pytest.fixture(scope="module")
def edge_ras_mm(head: Volume) -> np.ndarray:
    """Points all over the brain, its edge among them."""
    return head.grid.to_world(np.argwhere(head.data > 20)[::40])


def moved(head: Volume, motion: Transform, orientation: str) -> Volume:
    """The same head elsewhere in the scanner, in another contrast (fluid bright, as in T2), listed otherwise."""
    inverted = np.where(head.data > 20, 260.0 - head.data, 0.0).astype(np.float32)
    grid = Grid(head.grid.shape, motion.fixed_to_moving_ras_mm @ head.grid.affine_ras_mm)
    return Volume(inverted, grid).reoriented(orientation)


@pytest.mark.parametrize(
    ("turn_deg", "shift_mm", "orientation"),
    [((0, 0, 10), (15, 0, 0), "RAS"), ((8, -4, 5), (-6, 15, 4), "PIR"), ((-9, 3, 0), (60, -45, 70), "LSA")],
    ids=["turned", "nodded, sagittal file", "other scanner frame, coronal file"],
)
def test_known_motion_is_recovered_within_a_millimetre(
    head: Volume,
    edge_ras_mm: np.ndarray,
    turn_deg: tuple[float, float, float],
    shift_mm: tuple[float, float, float],
    orientation: str,
) -> None:
    middle = head.grid.centre_ras_mm()
    motion = turned_about(middle, middle + np.array(shift_mm), turn_deg)
    moving = moved(head, motion, orientation)

    fit = register_rigid(head, moving, session_starts(head, moving))

    assert fit.transform.largest_difference_mm(motion, edge_ras_mm) < LIMIT_MM
    assert fit.cautions == ()
    assert fit.after.score > fit.before.score
    assert np.linalg.det(fit.transform.fixed_to_moving_ras_mm[:3, :3]) == pytest.approx(1.0, abs=1e-12)


def test_the_same_input_gives_the_same_transform_to_the_bit(small_head: Volume) -> None:
    moving = moved(small_head, turned_about(np.zeros(3), np.array([3.0, 2.0, 1.0]), (2, 1, 0)), "LPS")
    starts = {"scanner coordinates": Transform.identity()}

    first, second = (register_rigid(small_head, moving, starts).transform for _ in range(2))

    np.testing.assert_array_equal(first.fixed_to_moving_ras_mm, second.fixed_to_moving_ras_mm)


def test_unrelated_images_are_doubted(small_head: Volume) -> None:
    noise = np.random.default_rng(0).normal(100, 20, small_head.grid.shape).astype(np.float32)

    try:
        fit = register_rigid(small_head, small_head.with_data(noise), {"scanner coordinates": Transform.identity()})
    except StageError:
        return  # refusing outright is as good

    assert fit.cautions


def test_the_engine_writes_nothing_to_standard_output(small_head: Volume, capfd: pytest.CaptureFixture[str]) -> None:
    register_rigid(small_head, small_head, {"scanner coordinates": Transform.identity()})

    assert capfd.readouterr() == ("", "")


def faint(head: Volume, motion: Transform) -> Volume:
    """The same head in thick slices and so noisy that the images share little, as T1 and T2 of some scanners do."""
    noisy = moved(head, motion, "RAS")
    noise = np.random.default_rng(3).normal(0, 150, noisy.grid.shape).astype(np.float32)
    return coarsened(noisy.with_data(noisy.data + noise), 3.0)


@pytest.mark.parametrize("turn_deg", [(0, 0, 0), (18, 0, 0), (0, -18, 0), (0, 0, 18)])
def test_the_search_comes_near_from_far_where_the_images_share_little(
    head: Volume, edge_ras_mm: np.ndarray, turn_deg: tuple[float, float, float]
) -> None:
    middle = head.grid.centre_ras_mm()
    motion = turned_about(middle, middle + np.array([6.0, -12.0, 4.0]), (4, -3, 6))
    probe = Probe.between(head, faint(head, motion), head.with_data(head.data > 20))
    assert probe.agreement(motion).nmi < 1.06, "it shall be hard"
    start = turned_about(middle, middle, turn_deg)
    assert start.largest_difference_mm(motion, edge_ras_mm) > 15.0
    assert CoarseSearch(probe).nearest(start).largest_difference_mm(motion, edge_ras_mm) < 4.0


def test_a_fixed_image_gives_each_moving_one_what_it_would_get_alone(small_head: Volume) -> None:
    target, starts = FixedImage(small_head), {"scanner coordinates": Transform.identity()}
    for shift_mm in (2.0, -5.0):
        moving = moved(small_head, turned_about(np.zeros(3), np.array([shift_mm, 0.0, 1.0]), (1, 0, 2)), "RAS")
        alone = register_rigid(small_head, moving, starts)
        together = target.register(moving, starts)
        np.testing.assert_array_equal(together.transform.fixed_to_moving_ras_mm, alone.transform.fixed_to_moving_ras_mm)


def test_agreement_falls_when_the_head_moves_away(head: Volume) -> None:
    probe = Probe.between(head, head)
    here, near, far = (
        probe.agreement(turned_about(np.zeros(3), np.array([x, 0.0, 0.0]), (0, 0, 0))) for x in (0.0, 5.0, 40.0)
    )

    assert here.score > near.score > far.score
    assert probe.agreement(turned_about(np.zeros(3), np.array([900.0, 0, 0]), (0, 0, 0))).score == 0.0


@pytest.mark.parametrize(
    "matrix", [np.diag([-1.0, 1, 1, 1]), np.diag([1.1, 1, 1, 1]), np.full((4, 4), np.nan), np.eye(3)]
)
def test_what_is_no_rotation_is_refused(matrix: np.ndarray) -> None:
    with pytest.raises(StageError):
        as_rigid(matrix)


def test_turned_about_turns_about_its_centre() -> None:
    transform = turned_about(np.array([1.0, 2, 3]), np.array([4.0, 5, 6]), (30, 0, 0))

    np.testing.assert_allclose(transform.apply([1, 2, 3]), [4, 5, 6])
    assert rotation_deg(transform) == pytest.approx(30)
    np.testing.assert_allclose(transform.apply([1, 3, 3]) - [4, 5, 6], [0, np.cos(np.pi / 6), 0.5], atol=1e-12)
