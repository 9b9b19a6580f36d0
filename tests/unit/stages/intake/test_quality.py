"""Each gate opens for its doubt, says the figures, and stays shut for a plain head."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hope.domain.case import HeadState
from hope.domain.grid import ALL_ORIENTATIONS, Grid
from hope.domain.volume import Volume
from hope.formats.nifti import NiftiFacts
from hope.stages.intake.quality import compare_pair, contrast_flags, head_state_of, scan_flags, shows_brain_only
from hope.testing.head import HEAD_GRID, head_scan

SOUND = NiftiFacts(0, 0, "float32", False, None)


def _codes(scan: Volume, facts: NiftiFacts = SOUND) -> list[str]:
    return [flag.code for flag in scan_flags(scan, facts, "t1c")]


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "PIR", "SAL"])
def test_a_plain_head_has_no_flags(orientation: str) -> None:
    assert _codes(head_scan(1).reoriented(orientation)) == []


def test_not_finite_says_how_many() -> None:
    (flag,) = scan_flags(head_scan(1), NiftiFacts(17, 5, "float32", False, None), "t2w")
    assert flag.code == "not_finite"
    assert "17 NaN and 5 infinite" in flag.reason
    assert flag.sequence == "t2w"
    assert flag.to_json()["severity"] == "info"
    (many,) = scan_flags(head_scan(1), NiftiFacts(170_000, 5, "float32", False, None), "t2w")
    assert many.to_json()["severity"] == "caution"


def test_thick_slices_in_any_axis() -> None:
    thick = head_scan(1, grid=HEAD_GRID.with_spacing((3.0, 3.0, 6.0)))
    for orientation in ("RAS", "SRA", "ASR"):
        flags = scan_flags(thick.reoriented(orientation), SOUND, "t1n")
        assert [f.code for f in flags] == ["thick_slices"]
        assert "6.0 mm" in flags[0].reason


def test_saturation() -> None:
    scan = head_scan(1)
    clipped = scan.with_data(np.minimum(scan.data, 400))
    (flag,) = scan_flags(clipped, SOUND, "t1n")
    assert flag.code == "saturated"
    assert "400" in flag.reason
    top = scan.data.copy()
    top[30, 30, 20:36] = 32767
    assert "saturated" in _codes(scan.with_data(top))


def test_low_dynamic_range() -> None:
    scan = head_scan(1)
    coarse = scan.with_data((np.round(scan.data / 30) * 30).astype(np.float32))
    assert "low_dynamic_range" in _codes(coarse)


@pytest.mark.parametrize(
    ("start", "stop", "side"),
    [
        ((0, 0, 0), (60, 66, 36), "superior"),
        ((18, 0, 0), (60, 66, 56), "left"),
        ((0, 0, 0), (44, 66, 56), "right"),
        ((0, 0, 0), (60, 48, 56), "anterior"),
        ((0, 20, 0), (60, 66, 56), "posterior"),
    ],
)
@pytest.mark.parametrize("orientation", ["RAS", "LPI", "ASL"])
def test_head_outside_the_field_of_view(
    start: tuple[int, int, int], stop: tuple[int, int, int], side: str, orientation: str
) -> None:
    whole = head_scan(1)
    cut = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    part = Volume(whole.data[cut], whole.grid.cropped(start, stop)).reoriented(orientation)
    flags = [f for f in scan_flags(part, SOUND, "t1n") if f.code == "head_outside_field_of_view"]
    assert any(side in flag.reason and "%" in flag.reason for flag in flags)


def test_a_slab_that_covers_too_little() -> None:
    whole = head_scan(1)
    slab = Volume(whole.data[:, :, 10:36], whole.grid.cropped((0, 0, 10), (60, 66, 36)))
    found = [flag for flag in scan_flags(slab, SOUND, "t1n") if "78 mm from foot to head" in flag.reason]
    assert [str(flag.severity) for flag in found] == ["warning"]


def test_enhancement_is_seen_across_grids_and_swaps() -> None:
    native = head_scan(1)
    other_grid = HEAD_GRID.with_spacing((4.0, 3.0, 5.0)).reoriented("PSL")
    enhanced = head_scan(1, grid=other_grid, enhanced=True)
    assert compare_pair(native, enhanced).asymmetry > 0.5
    assert compare_pair(enhanced, native).asymmetry < -0.5
    assert contrast_flags(native, enhanced) == []
    (flag,) = contrast_flags(enhanced, native)
    assert flag.code == "t1_contrast_odd"
    assert "swapped" in flag.reason


def test_a_t1c_without_contrast_is_said() -> None:
    native = head_scan(1)
    rng = np.random.default_rng(0)
    again = native.with_data((native.data * 1.1 + rng.normal(0, 1, native.data.shape)).astype(np.float32))
    (flag,) = contrast_flags(native, again)
    assert "perhaps no contrast was given" in flag.reason


def test_pairs_that_do_not_meet_give_no_evidence() -> None:
    away = Grid(HEAD_GRID.shape, HEAD_GRID.affine_ras_mm + np.array([[0, 0, 0, 900.0]] + [[0] * 4] * 3))
    far = Volume(head_scan(1).data, away)
    assert compare_pair(head_scan(1), far).voxels == 0
    assert contrast_flags(head_scan(1), far) == []


def _brain(seed: int) -> Volume:
    head = head_scan(seed, background_noise=False)
    index = np.moveaxis(np.indices(head.grid.shape), 0, -1)
    x, y, z = np.moveaxis(head.grid.to_world(index), -1, 0)
    keep = (x / 62) ** 2 + (y / 72) ** 2 + ((z + 5) / 58) ** 2 < 1
    return head.with_data(np.where(keep, head.data, 0).astype(np.float32))


@given(st.sampled_from(ALL_ORIENTATIONS))
@settings(max_examples=12)
def test_brain_only_is_told_in_every_orientation(orientation: str) -> None:
    assert shows_brain_only(_brain(1).reoriented(orientation))
    assert not shows_brain_only(head_scan(1).reoriented(orientation))


def test_head_state_needs_all_scans_to_agree() -> None:
    assert head_state_of([_brain(1), _brain(2)]) == (HeadState.BRAIN, False)
    assert head_state_of([head_scan(1), head_scan(2)]) == (HeadState.FULL, False)
    assert head_state_of([_brain(1), head_scan(2)]) == (HeadState.FULL, True)


def _cautions(scan: Volume) -> set[str]:
    return {flag.code for flag in scan_flags(scan, SOUND, "t1n") if str(flag.severity) != "info"}


@pytest.mark.parametrize("size", [0.62, 0.8, 1.0, 1.15])
def test_heads_of_all_sizes_are_whole(size: float) -> None:
    whole = head_scan(1)
    affine = np.diag([size, size, size, 1.0]) @ whole.grid.affine_ras_mm
    assert _cautions(Volume(whole.data, Grid(whole.grid.shape, affine))) == set()


@pytest.mark.parametrize("inside_only", [True, False])
@pytest.mark.parametrize("stripped", [True, False])
def test_normalised_scans_are_whole(inside_only: bool, stripped: bool) -> None:
    data = head_scan(1, background_noise=not stripped).data.astype(np.float64)
    if stripped:
        data = np.where(data > 100, data, 0)
    inside = data > 100
    chosen = data[inside] if inside_only else data
    scaled = (data - chosen.mean()) / chosen.std()
    if stripped and inside_only:
        scaled[~inside] = 0
    assert _cautions(Volume(scaled.astype(np.float32), head_scan(1).grid)) == set()


@pytest.mark.parametrize("millimetres", [3.5, 4.0, 6.0])
def test_thick_slices_are_a_fact_and_no_alarm(millimetres: float) -> None:
    whole = head_scan(1)
    grid = whole.grid.with_spacing((whole.grid.spacing_mm[0], whole.grid.spacing_mm[1], millimetres))
    flags = scan_flags(head_scan(1, grid=grid), SOUND, "t1n")
    assert [(flag.code, str(flag.severity)) for flag in flags] == [("thick_slices", "info")]


@pytest.mark.parametrize("factor", [80, 100, 200])
def test_values_that_overflowed_are_told(factor: int) -> None:
    scan = head_scan(1)
    sound = scan.with_data(np.rint(scan.data * 60))
    wrapped = scan.with_data(
        (scan.data * factor).astype(np.int64).astype(np.uint16).astype(np.int16).astype(np.float32)
    )
    normalised = scan.with_data((scan.data - scan.data.mean()) / scan.data.std())
    whole = NiftiFacts(0, 0, "int16", True, None)
    for fine, facts in ((scan, SOUND), (sound, whole), (normalised, SOUND)):
        assert "values_overflowed" not in {flag.code for flag in scan_flags(fine, facts, "t1c")}
    for wrong, facts in (
        (wrapped, whole),
        (scan.with_data(-scan.data), SOUND),
        (scan.with_data(scan.data - 1e6), SOUND),
    ):
        (flag,) = [flag for flag in scan_flags(wrong, facts, "t1c") if flag.code == "values_overflowed"]
        assert str(flag.severity) == "warning" and flag.sequence == "t1c"
