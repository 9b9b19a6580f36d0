"""Enhanced multi-frame MR: every form of one volume gives its voxels and places, or is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hope.domain.errors import InputError
from hope.domain.grid import Grid
from hope.domain.volume import Volume
from hope.formats.dicom import convert_series, read_series
from hope.formats.series import read_tags
from hope.testing.dicom_series import PATIENT_ID, SeriesRecipe, write_series
from hope.testing.enhanced_series import EnhancedRecipe, write_enhanced


def _volume(slices: int = 10, orientation: str = "LPS") -> Volume:
    affine = np.diag([2.0, 2.5, 5.0, 1.0])
    c, s = np.cos(0.15), np.sin(0.15)
    affine[:3, :3] = np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ affine[:3, :3]
    affine[:3, 3] = [-20, 30, -10]
    grid = Grid((16, 14, slices), affine).reoriented(orientation)
    return Volume(np.random.default_rng(3).integers(0, 900, grid.shape).astype(np.float32), grid)


def _same(one: Volume, two: Volume) -> bool:
    a, b = one.reoriented("RAS"), two.reoriented("RAS")
    return a.grid.same_as(b.grid) and bool(np.allclose(a.data, b.data, atol=1e-3))


SHUFFLED = [7, 2, 9, 0, 4, 1, 8, 3, 6, 5]
FORMS: dict[str, dict[str, Any]] = {
    "one file, shared groups": {},
    "one file, groups frame by frame": {"groups": "frame"},
    "a file a slice": {"layout": "single"},
    "a file a slice, groups frame by frame": {"layout": "single", "groups": "frame"},
    "shuffled frames": {"order": SHUFFLED},
    "shuffled files": {"order": SHUFFLED, "layout": "single"},
    "from the other end": {"order": list(range(9, -1, -1))},
    "stored values are scaled": {"rescale": (0.5, -4.0)},
    "compressed": {"compressed": True},
    "compressed and shuffled": {"compressed": True, "order": SHUFFLED, "groups": "frame"},
    "stacks that together are one": {"stacks": dict.fromkeys(range(5, 10), "2")},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("orientation", ["LPS", "RAI", "PSR"])
def test_every_form_gives_the_volume_that_classic_files_give(tmp_path: Path, form: str, orientation: str) -> None:
    volume = _volume(orientation=orientation)
    if volume.grid.shape[2] != 10 and "order" in FORMS[form]:
        form_changes = {**FORMS[form], "order": list(range(volume.grid.shape[2]))[::-1]}
    else:
        form_changes = FORMS[form]
    write_series(volume, tmp_path / "classic", SeriesRecipe(5, "t1"))
    (classic,) = read_series(tmp_path / "classic")
    write_enhanced(volume, tmp_path / "in", EnhancedRecipe(5, "t1", **form_changes))
    (series,) = read_series(tmp_path / "in")
    assert series.fault == ""
    assert (series.slices, series.tr_ms, series.te_ms) == (classic.slices, classic.tr_ms, classic.te_ms)
    assert series.voxel_mm == pytest.approx(classic.voxel_mm)
    converted, _ = convert_series(series, tmp_path, "t1c")
    assert _same(converted, convert_series(classic, tmp_path, "t1c")[0]) and _same(converted, volume)
    assert {p.name for p in tmp_path.iterdir()} == {"in", "classic"}


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(10)), groups=st.sampled_from(["shared", "frame"]), single=st.booleans())
def test_frames_are_ordered_by_their_place(tmp_path: Path, order: list[int], groups: Any, single: bool) -> None:
    folder = tmp_path / str(abs(hash((tuple(order), groups, single))))
    recipe = EnhancedRecipe(5, "t2", order=order, groups=groups, layout="single" if single else "one")
    write_enhanced(_volume(), folder / "in", recipe)
    (series,) = read_series(folder / "in")
    assert _same(convert_series(series, folder, "t2w")[0], _volume())


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"order": [0, 1, 2, 3, 5, 6, 7, 8, 9]}, "missing or uneven: 5.0 to 10.0 mm"),
        ({"order": [0, 1, 2, 6, 7, 8, 9], "stacks": dict.fromkeys(range(6, 10), "2")}, "it holds 2 stacks"),
        ({"order": [0, 1, 4, 5, 8, 9], "layout": "single"}, "missing or uneven"),
        ({"order": [*range(10), 4, 5]}, "2 slices lie where another one lies"),
        ({"times": 3}, "lies there 3 times .3 points in time"),
        ({"times": 2, "layout": "single"}, "lies there 2 times"),
        ({"b_values": [0.0, 1000.0]}, "lies there 2 times"),
    ],
)
@pytest.mark.parametrize("groups", ["shared", "frame"])
def test_what_is_no_even_stack_is_refused_by_name(
    tmp_path: Path, changes: dict[str, Any], says: str, groups: Any
) -> None:
    write_enhanced(_volume(), tmp_path / "in", EnhancedRecipe(1, "t1", groups=groups, **changes))
    (series,) = read_series(tmp_path / "in")
    with pytest.raises(InputError, match=says):
        convert_series(series, tmp_path, "t1c")


def test_stacks_of_several_orientations_are_refused(tmp_path: Path) -> None:
    for number, orientation in enumerate(("LPS", "PSR", "LSA")):
        files = write_enhanced(
            _volume(orientation=orientation), tmp_path / "x", EnhancedRecipe(1, "t1", layout="single")
        )
        for file in files:
            file.rename(tmp_path / "x" / f"o{number}{file.name}")
    # Their instance numbers collide, as they do where a localiser of three planes was exported frame by frame.
    (series,) = read_series(tmp_path / "x")
    assert "several orientations" in series.fault or "several sizes" in series.fault


def test_echoes_are_two_stacks_and_each_is_read(tmp_path: Path) -> None:
    write_enhanced(_volume(), tmp_path / "in", EnhancedRecipe(4, "t2", echoes=(20.0, 95.0)))
    found = read_series(tmp_path / "in")
    assert sorted(s.te_ms or 0 for s in found) == [20, 95]
    assert all(_same(convert_series(s, tmp_path, "t2w")[0], _volume()) for s in found)
    assert sorted(read_tags(s).weighting for s in found) == ["other", "t2"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"b_values": [1000.0]}, "diffusion"),
        ({"planar": "YES"}, "diffusion or echo planar"),
        ({"tags": {"AcquisitionContrast": "PERFUSION"}}, "perfusion"),
        ({"tags": {"ComplexImageComponent": "PHASE"}}, "phase"),
    ],
)
@pytest.mark.parametrize("groups", ["shared", "frame"])
def test_functional_groups_tell_what_is_no_input(
    tmp_path: Path, changes: dict[str, Any], says: str, groups: Any
) -> None:
    write_enhanced(_volume(), tmp_path, EnhancedRecipe(1, "t2", groups=groups, **changes))
    (series,) = read_series(tmp_path)
    reading = read_tags(series)
    assert reading.weighting == "other" and says in reading.reason


@pytest.mark.parametrize("groups", ["shared", "frame"])
def test_functional_groups_tell_the_weighting(tmp_path: Path, groups: Any) -> None:
    for number, kind in enumerate(("t1", "t2", "flair"), start=1):
        write_enhanced(_volume(), tmp_path / kind, EnhancedRecipe(number, kind, groups=groups))
    assert [read_tags(s).weighting for s in read_series(tmp_path)] == ["t1", "t2", "t2f"]


@pytest.mark.parametrize(
    ("changes", "given"),
    [
        ({"agent": "Gadovist"}, True),
        ({"agent": "None"}, False),
        ({"administered": "YES"}, True),
        ({"administered": "NO", "agent": "Gadovist"}, False),
        ({}, None),
    ],
)
@pytest.mark.parametrize("groups", ["shared", "frame"])
def test_functional_groups_tell_of_the_agent(
    tmp_path: Path, changes: dict[str, Any], given: bool | None, groups: Any
) -> None:
    write_enhanced(_volume(), tmp_path, EnhancedRecipe(1, "t1", groups=groups, **changes))
    (series,) = read_series(tmp_path)
    assert series.contrast_agent is given


def test_a_file_with_fewer_groups_than_frames_is_refused(tmp_path: Path) -> None:
    write_enhanced(_volume(), tmp_path, EnhancedRecipe(1, "t1", tags={"PerFrameFunctionalGroupsSequence": []}))
    (series,) = read_series(tmp_path)
    with pytest.raises(InputError, match="does not say where it lies"):
        convert_series(series, tmp_path, "t1c")


def test_a_classic_file_of_several_frames_is_refused_by_name(tmp_path: Path) -> None:
    files = write_enhanced(_volume(), tmp_path, EnhancedRecipe(1, "t1"))
    image = pydicom.dcmread(files[0])
    del image.SharedFunctionalGroupsSequence, image.PerFrameFunctionalGroupsSequence
    image.save_as(files[0])
    (series,) = read_series(tmp_path)
    with pytest.raises(InputError, match="several images in one file without saying where each lies"):
        convert_series(series, tmp_path, "t1c")


def test_nothing_of_identity_is_copied_for_the_conversion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_enhanced(_volume(), tmp_path / "in", EnhancedRecipe(1, "t1", "T1 SURNAMEMARK"))
    (series,) = read_series(tmp_path / "in")
    seen: list[bytes] = []

    def keep(_series: object, source: Path, *_: object) -> None:
        seen.extend(path.read_bytes() for path in source.iterdir())

    monkeypatch.setattr("hope.formats.dicom.run_dcm2niix", keep)
    with pytest.raises(InputError):
        convert_series(series, tmp_path, "t1c")
    assert len(seen) == 10 and not any(b"SURNAMEMARK" in raw or PATIENT_ID.encode() in raw for raw in seen)
