"""Preprocessing end to end on small heads: exact for preprocessed input, right within a millimetre for raw input."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from scipy import ndimage

from hope.domain.case import AlignedCase, HeadState, MRSequence, UploadedCase
from hope.domain.errors import InputError
from hope.domain.grid import ALL_ORIENTATIONS, ATLAS_GRID, Grid
from hope.domain.transform import Transform
from hope.domain.volume import Volume
from hope.formats.atlas import atlas_brain, atlas_t1
from hope.stages.preprocess import preprocess as stage
from hope.stages.preprocess.align import coverage, to_atlas
from hope.stages.preprocess.deface import FACE_NORMAL_RAS, deface, face_region
from hope.stages.preprocess.preprocess import preprocess, to_native
from hope.stages.preprocess.register import rotation_deg
from hope.stages.preprocess.starts import turned_about
from hope.stages.resample import resample
from hope.testing.fakes import FakeBrainExtractor

T1N, T1C, T2W, T2F = MRSequence


def uploaded(scans: Mapping[MRSequence, Volume], preprocessed: bool, head: HeadState) -> UploadedCase:
    return UploadedCase("case", scans, preprocessed, head, dict.fromkeys(scans, "0"))


def codes(case: AlignedCase) -> set[str]:
    return {flag.code for flag in case.flags}


@pytest.fixture
def tiny_atlas(monkeypatch: pytest.MonkeyPatch) -> Grid:
    """A stand-in for the atlas grid: exactness does not depend on size."""
    grid = Grid((12, 10, 7), np.array([[-1.0, 0, 0, 0], [0, -1.0, 0, 9], [0, 0, 1.0, 0], [0, 0, 0, 1]]))
    monkeypatch.setattr(stage, "ATLAS_GRID", grid)
    monkeypatch.setattr(stage, "place_flags", lambda *_: [])
    return grid


def _preprocessed(moved_mm: float = 0.0, size: float = 1.0, orientation: str = "LPS") -> UploadedCase:
    """The atlas head as somebody's preprocessed scan: moved, smaller, or listed otherwise than its header says."""
    centre = np.argwhere(atlas_brain().data).mean(axis=0)
    where = np.eye(4)
    where[:3, :3] /= size
    where[:3, 3] = ATLAS_GRID.to_world(centre) * (1 - 1 / size) - np.array([0, moved_mm, 0])
    brain = resample(atlas_t1().with_data(atlas_t1().data * atlas_brain().data), ATLAS_GRID, Transform(where), "linear")
    voxels = brain.reoriented(orientation).data
    scan = Volume(np.ascontiguousarray(voxels, dtype=np.float32), ATLAS_GRID)
    return uploaded({T1C: scan}, True, HeadState.BRAIN)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({}, ""),
        ({"size": 0.8}, ""),
        ({"moved_mm": 10.0}, ""),
        ({"moved_mm": 45.0}, "shares only"),
        ({"orientation": "RAS"}, "turned or mirrored it fits"),
        ({"orientation": "RAS", "size": 0.8}, "turned or mirrored it fits"),
        ({"orientation": "PLS"}, "turned or mirrored it fits"),
    ],
)
def test_a_brain_that_is_not_on_the_atlas_is_said(how: dict[str, object], said: str) -> None:
    aligned = preprocess(_preprocessed(**how), HeadState.BRAIN, FakeBrainExtractor())  # type: ignore[arg-type]
    found = [flag.reason for flag in aligned.flags if flag.code == "not_on_atlas"]
    assert len(found) == bool(said)
    assert all(said in reason for reason in found)


@pytest.mark.parametrize("start", range(0, 48, 4))
def test_preprocessed_voxels_come_over_and_go_back_exactly(tiny_atlas: Grid, start: int) -> None:
    """All 48 file orders, four in a case, under headers that put the head anywhere in the world."""
    rng = np.random.default_rng(start)
    stored, scans = {}, {}
    for step, name in enumerate(MRSequence):
        affine = np.diag([-1.0, -1.0, 1.0, 1.0])
        affine[:3, 3] = rng.uniform(-200, 200, 3)
        stored[name] = rng.uniform(1, 9, tiny_atlas.shape).astype(np.float32)
        upright = Volume(stored[name], Grid(tiny_atlas.shape, affine))
        scans[name] = upright.reoriented(ALL_ORIENTATIONS[start + step])

    aligned = preprocess(uploaded(scans, True, HeadState.BRAIN), HeadState.BRAIN, FakeBrainExtractor())

    for name in MRSequence:
        np.testing.assert_array_equal(aligned.images[name].data, stored[name])
        assert aligned.images[name].grid == tiny_atlas
    labels = np.random.default_rng(9).integers(0, 5, tiny_atlas.shape).astype(np.uint8)
    native = to_native(Volume(labels, tiny_atlas), aligned)
    assert native.grid == scans[T1C].grid
    np.testing.assert_array_equal(native.reoriented("LPS").data, labels)


def test_the_true_grid_works_and_says_where_the_result_belongs() -> None:
    data = np.zeros(ATLAS_GRID.shape, np.float32)
    data[60:180, 40:200, 10:140] = 5.0
    scans = {T2W: Volume(data, ATLAS_GRID).reoriented("SAL"), T2F: Volume(data * 2, ATLAS_GRID)}

    aligned = preprocess(uploaded(scans, True, HeadState.BRAIN), HeadState.FULL, FakeBrainExtractor())

    assert aligned.reference is T2W
    assert aligned.native_grid == scans[T2W].grid
    assert aligned.head_state is HeadState.BRAIN
    assert codes(aligned) == {"head_state_differs"}
    np.testing.assert_array_equal(aligned.brain_mask.data, data > 0)
    labels = Volume((data > 0).astype(np.uint8), ATLAS_GRID)
    np.testing.assert_array_equal(to_native(labels, aligned).data, scans[T2W].data > 0)


def test_preprocessed_input_of_another_shape_is_refused_with_figures() -> None:
    scan = Volume(np.ones((18, 21, 18), np.float32), Grid((18, 21, 18), np.eye(4)))

    with pytest.raises(InputError, match=r"t1c .*expected 240x240x155 voxels of 1 mm, got 18x21x18") as caught:
        preprocess(uploaded({T1C: scan}, True, HeadState.BRAIN), HeadState.BRAIN, FakeBrainExtractor())

    assert "--preprocessed" in caught.value.fix


def raw_scan(
    motion: Transform,
    spacing_mm: tuple[float, float, float],
    oblique: float,
    orientation: str,
    head: Volume | None = None,
) -> Volume:
    """A head, the atlas by default, as a scanner gives it: thick slices, oblique, elsewhere, in another file order."""
    shape = tuple(round(200 / s) for s in spacing_mm)
    straight = np.diag([*spacing_mm, 1.0])
    straight[:3, 3] = [-s * (n - 1) / 2 for s, n in zip(spacing_mm, shape, strict=True)]
    turn = turned_about(np.zeros(3), np.zeros(3), (oblique, oblique / 2, 0.0))
    centre = motion.apply(ATLAS_GRID.to_world(np.argwhere(atlas_brain().data).mean(axis=0)))
    straight = turn.fixed_to_moving_ras_mm @ straight
    straight[:3, 3] += centre
    grid = Grid((shape[0], shape[1], shape[2]), straight).reoriented(orientation)
    return resample(head or atlas_t1(), grid, motion.inverse(), "linear")


MOTIONS = {
    T1C: turned_about(np.zeros(3), np.array([110.0, -90, -60]), (6, 3, -8)),
    T2F: turned_about(np.zeros(3), np.array([118.0, -84, -62]), (9, 2, -3)),
}


@pytest.fixture(scope="module")
def raw_case() -> UploadedCase:
    """Two scans of one head between which the patient moved; t2f is bright where T1 is dark."""
    t1c = raw_scan(MOTIONS[T1C], (1.8, 1.8, 5.0), 12.0, "LAS")
    t2f = raw_scan(MOTIONS[T2F], (2.0, 4.0, 2.0), -8.0, "PIR")
    inverted = np.where(t2f.data > 20, 260.0 - t2f.data, 0.0).astype(np.float32)
    return uploaded({T1C: t1c, T2F: t2f.with_data(inverted)}, False, HeadState.FULL)


@pytest.fixture(scope="module")
def steps() -> list[tuple[str, float]]:
    return []


@pytest.fixture(scope="module")
def aligned_raw(raw_case: UploadedCase, steps: list[tuple[str, float]]) -> AlignedCase:
    return preprocess(raw_case, HeadState.BRAIN, FakeBrainExtractor(), lambda text, share: steps.append((text, share)))


def edge_points() -> np.ndarray:
    return ATLAS_GRID.to_world(np.argwhere(atlas_brain().data)[::2000])


def test_raw_scans_of_a_moved_head_reach_the_atlas(aligned_raw: AlignedCase) -> None:
    for name, motion in MOTIONS.items():
        assert aligned_raw.atlas_to_native[name].largest_difference_mm(motion, edge_points()) < 1.5
    between = aligned_raw.atlas_to_native[T1C].inverse().then(aligned_raw.atlas_to_native[T2F])
    truth = MOTIONS[T1C].inverse().then(MOTIONS[T2F])
    assert between.largest_difference_mm(truth, MOTIONS[T1C].apply(edge_points())) < 1.0
    assert not {"registration_uncertain", "sequence_misplaced"} & codes(aligned_raw)
    assert "moved_between_scans" in codes(aligned_raw)


def test_a_raw_scan_that_is_stored_as_its_mirror_image_is_told() -> None:
    """Registration lays a mirrored head on the others without a word; its labels would be of the other side."""
    folds = ndimage.gaussian_filter(np.random.default_rng(5).normal(size=(80, 80, 52)), 1)
    folds = ndimage.zoom(folds / folds.max(), 3, order=1)[:, :, :155]  # the atlas is nearly its own mirror image
    t1 = atlas_t1()
    one = t1.with_data(np.where(t1.data > 20, t1.data * (1 + folds), 0).astype(np.float32))
    scans = {
        name: raw_scan(MOTIONS[name], spacing, 5.0, "LAS", one)
        for name, spacing in ((T1C, (1.8, 1.8, 5.0)), (T2F, (2.0, 2.0, 4.0)))
    }
    mirror = np.array(scans[T2F].grid.affine_ras_mm)
    mirror[0] *= -1
    odd = {**scans, T2F: Volume(scans[T2F].data, Grid(scans[T2F].grid.shape, mirror))}

    aligned = preprocess(uploaded(odd, False, HeadState.FULL), HeadState.BRAIN, FakeBrainExtractor())

    (flag,) = [flag for flag in aligned.flags if flag.code == "sequence_misplaced"]
    assert "t1c and t2f do not lie alike: mirrored left to right" in flag.reason


def test_the_brain_is_what_the_atlas_calls_brain_and_nothing_else_is_shown(aligned_raw: AlignedCase) -> None:
    mask, truth = aligned_raw.brain_mask.data, atlas_brain().data
    assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) > 0.93
    assert aligned_raw.head_state is HeadState.BRAIN
    for image in aligned_raw.images.values():
        assert image.grid == ATLAS_GRID
        assert image.data.dtype == np.float32
        assert not image.data[~mask].any()


def test_labels_drawn_on_the_atlas_land_on_the_scan(aligned_raw: AlignedCase, raw_case: UploadedCase) -> None:
    spot = np.array([-95.0, 120.0, 90.0])
    world = ATLAS_GRID.to_world(np.argwhere(np.ones(ATLAS_GRID.shape, bool)))
    ball = (np.linalg.norm(world - spot, axis=1) < 12).reshape(ATLAS_GRID.shape).astype(np.uint8)

    native = to_native(Volume(ball, ATLAS_GRID), aligned_raw)

    assert native.grid == raw_case.scans[T1C].grid
    found = native.grid.to_world(np.argwhere(native.data)).mean(axis=0)
    assert np.linalg.norm(found - MOTIONS[T1C].apply(spot)) < 1.5
    assert native.data.sum() * native.grid.voxel_volume_ml == pytest.approx(ball.sum() / 1000, rel=0.1)


def test_progress_is_told_and_never_goes_back(aligned_raw: AlignedCase, steps: list[tuple[str, float]]) -> None:
    shares = [share for _, share in steps]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert any("register t2f to t1c" in text for text, _ in steps)


def test_without_a_brain_mask_the_atlas_steps_in_and_says_so(raw_case: UploadedCase) -> None:
    alone = uploaded({T2F: raw_case.scans[T2F]}, False, HeadState.FULL)

    aligned = preprocess(alone, HeadState.FULL, FakeBrainExtractor(finds_nothing=True))

    assert {"brain_extraction_failed", "brain_mask_from_atlas"} <= codes(aligned)
    np.testing.assert_array_equal(aligned.brain_mask.data, atlas_brain().data)
    assert aligned.atlas_to_native[T2F].largest_difference_mm(MOTIONS[T2F], edge_points()) < 4.0


def test_a_childs_small_brain_is_laid_upright_and_central() -> None:
    """Rigid registration of a brain of 0.7 times the size once tilted by 24 degrees inside the adult atlas."""
    scan = raw_scan(MOTIONS[T1C], (2.0, 2.0, 2.0), 0.0, "RAS")
    small = Volume(scan.data, Grid(scan.grid.shape, np.diag([0.7, 0.7, 0.7, 1.0]) @ scan.grid.affine_ras_mm))

    found, flags = to_atlas(small, T1C, small.with_data(small.data > 20))

    assert rotation_deg(MOTIONS[T1C].inverse().then(found)) < 1.0
    centre = atlas_brain().grid.to_world(np.argwhere(atlas_brain().data)).mean(axis=0)
    assert np.linalg.norm(found.apply(centre) - 0.7 * MOTIONS[T1C].apply(centre)) < 2.0
    assert not flags
    assert not coverage({T1C: small.grid}, {T1C: found}, 500.0)


def test_a_field_of_view_that_ends_in_the_brain_is_flagged() -> None:
    half = ATLAS_GRID.cropped((0, 0, 60), (240, 240, 155))

    (flag,) = coverage({T1C: half}, {T1C: Transform.identity()}, 1450.0)

    assert flag.code == "brain_not_covered"
    assert "t1c covers" in flag.reason


def test_defacing_clears_the_face_and_spares_the_brain() -> None:
    brain = atlas_brain()
    face = face_region(brain)
    nose = np.rint(ATLAS_GRID.to_voxel([-119.0, 215.0, 10.0])).astype(int)

    assert not (face & brain.data).any()
    assert face[tuple(nose)]
    assert 0.02 < face.mean() < 0.25
    np.testing.assert_allclose(np.linalg.norm(FACE_NORMAL_RAS), 1.0)
    shown = deface(brain.with_data(np.ones(ATLAS_GRID.shape, np.float32)), brain)
    np.testing.assert_array_equal(shown.data == 0, face)


def test_defacing_does_not_depend_on_the_file_order() -> None:
    small = atlas_brain().reoriented("SPR")

    np.testing.assert_array_equal(
        Volume(face_region(small), small.grid).reoriented("LPS").data, face_region(atlas_brain())
    )
