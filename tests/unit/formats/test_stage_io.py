"""What a stage leaves must come back bit for bit, whatever the orientation, and any difference must be seen."""

from __future__ import annotations

import json
import tempfile
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hope.domain.case import (
    SEQUENCES,
    AlignedCase,
    CleanUp,
    HarmonizedCase,
    HeadState,
    MRSequence,
    Prediction,
    UploadedCase,
)
from hope.domain.errors import OutputError, StageError
from hope.domain.expected_quality import ExpectedQuality, RegionQuality
from hope.domain.grid import ALL_ORIENTATIONS, Grid
from hope.domain.intervals import IntervalRule
from hope.domain.qc import QCFlag, Severity
from hope.domain.transform import Transform
from hope.domain.volume import Volume
from hope.formats import stage_io

T1N, T1C, T2W, T2F = SEQUENCES
REGIONS = ("ET", "NET", "CC", "ED", "TC", "WT")


def a_grid(rng: np.random.Generator, orientation: str = "RAS", shape: tuple[int, int, int] = (7, 6, 5)) -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = np.diag(rng.uniform(0.5, 5, 3)) + rng.uniform(-0.05, 0.05, (3, 3))
    affine[:3, 3] = rng.normal(0, 80, 3)
    return Grid(shape, affine).reoriented(orientation)


def some_flags(word: str) -> tuple[QCFlag, ...]:
    return (QCFlag("thick_slices", Severity.WARNING, f"{word}: größer 3 mm", "t1c"), QCFlag("x", Severity.INFO, word))


def an_image(rng: np.random.Generator, grid: Grid, order: str = "C") -> Volume:
    """Noise in a box, zero around it, in either memory order or as a view of another array."""
    data = np.zeros(grid.shape, np.float32, order="F" if order == "F" else "C")
    inside = tuple(slice(1, max(2, n - 1)) for n in grid.shape)
    data[inside] = rng.normal(0, 1e3, data[inside].shape)
    return Volume(data[::-1] if order == "view" else data, grid)


def a_transform(rng: np.random.Generator) -> Transform:
    return Transform(np.vstack([np.eye(3, 4) + rng.normal(0, 0.1, (3, 4)), [0, 0, 0, 1]]))


def an_uploaded_case(rng: np.random.Generator, orientations: list[str]) -> UploadedCase:
    scans = {s: an_image(rng, a_grid(rng, o)) for s, o in zip(SEQUENCES, orientations, strict=False)}
    return UploadedCase(
        "case-0000000a",
        scans,
        False,
        HeadState.DEFACED,
        {s: f"{s}-hash" for s in scans},
        some_flags("uploaded"),
        {s: {"confidence": 0.1 + 0.2, "reason": "because"} for s in list(scans)[:1]},
        ({"series": 3, "taken_as": "t1n"}, {"series": None, "taken_as": None}),
    )


def an_aligned_case(rng: np.random.Generator, orientation: str = "LPS", order: str = "C") -> AlignedCase:
    grid = a_grid(rng, orientation)
    return AlignedCase(
        "case-0000000a",
        {s: an_image(rng, grid, order) for s in SEQUENCES},
        Volume(rng.random(grid.shape) > 0.5, grid),
        HeadState.BRAIN,
        a_grid(rng, "PIR", (9, 8, 3)),
        T1C,
        {s: a_transform(rng) for s in SEQUENCES},
        some_flags("aligned"),
    )


def a_prediction(rng: np.random.Generator, orientation: str = "LPS") -> Prediction:
    grid = a_grid(rng, orientation)
    return Prediction(
        Volume(rng.integers(0, 5, grid.shape).astype(np.uint8), grid),
        {region: rng.random(grid.shape).astype(np.float16) for region in REGIONS},
        "starter",
        "a" * 64,
        (T2F,),
        some_flags("predicted"),
        {region: rng.random(grid.shape).astype(np.float16) for region in REGIONS},
        {"format": "hope-postprocess/1", "clusters": {"centers": [[0.1, 0.2]]}},
        IntervalRule({"WT": (0.95, 0.05), "ET": (0.998, 0.1)}, 0.9, 80, "synthetic cases"),
        CleanUp.UNSURE,
        ExpectedQuality({"WT": RegionQuality(0.81, 0.6, 0.93, 0.21)}, "synthetic cases"),
    )


def same(one: Any, two: Any) -> bool:
    """Equal to the last bit and in the same memory order; mappings in the same order too."""
    if isinstance(one, np.ndarray):
        layout = one.flags.f_contiguous and not one.flags.c_contiguous
        return (
            one.dtype == two.dtype
            and one.shape == two.shape
            and one.tobytes() == two.tobytes()
            and layout == (two.flags.f_contiguous and not two.flags.c_contiguous)
        )
    if isinstance(one, dict):
        return list(one) == list(two) and all(same(one[key], two[key]) for key in one)
    if isinstance(one, Volume | Transform | UploadedCase | AlignedCase | HarmonizedCase | Prediction):
        return type(one) is type(two) and all(same(getattr(one, f.name), getattr(two, f.name)) for f in fields(one))
    return type(one) is type(two) and one == two


def round_trip(case: Any) -> Any:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if isinstance(case, UploadedCase):
            names = stage_io.save_uploaded(case, folder)
            back: Any = stage_io.load_uploaded(folder, dict(reversed(case.scans.items())))
        elif isinstance(case, AlignedCase):
            names, back = stage_io.save_aligned(case, folder), stage_io.load_aligned(folder)
        elif isinstance(case, HarmonizedCase):
            names, back = stage_io.save_harmonized(case, folder), stage_io.load_harmonized(folder, case.aligned)
        else:
            names, back = stage_io.save_prediction(case, folder), stage_io.load_prediction(folder)
        assert sorted(names) == sorted(path.name for path in folder.iterdir())
        return back


@given(st.integers(0, 2**32), st.lists(st.sampled_from(ALL_ORIENTATIONS), min_size=1, max_size=4))
def test_an_uploaded_case_comes_back(seed: int, orientations: list[str]) -> None:
    case = an_uploaded_case(np.random.default_rng(seed), orientations)
    assert same(round_trip(case), case)


@given(st.integers(0, 2**32), st.sampled_from(ALL_ORIENTATIONS), st.sampled_from(["C", "F"]))
def test_an_aligned_case_comes_back(seed: int, orientation: str, order: str) -> None:
    case = an_aligned_case(np.random.default_rng(seed), orientation, order)
    assert same(round_trip(case), case)


@given(st.integers(0, 2**32), st.sampled_from(ALL_ORIENTATIONS))
def test_a_prediction_comes_back(seed: int, orientation: str) -> None:
    prediction = a_prediction(np.random.default_rng(seed), orientation)
    assert same(round_trip(prediction), prediction)


@pytest.mark.parametrize("what", ["zeros", "minus zero", "nan", "one voxel", "view", "empty labels"])
def test_odd_voxels_come_back(what: str) -> None:
    rng = np.random.default_rng(3)
    case = an_aligned_case(rng, order="view" if what == "view" else "C")
    data = np.zeros(case.grid.shape, np.float32)
    data[2, 3, 1] = {"minus zero": -0.0, "nan": np.nan, "one voxel": 1e-45}.get(what, 0.0)
    if what != "view":
        case = replace(case, images={T1C: Volume(data, case.grid)})
    back = round_trip(case)
    for sequence, image in case.images.items():
        assert back.images[sequence].data.tobytes() == image.data.tobytes()
    empty = Volume(np.zeros(case.grid.shape, bool), case.grid)
    assert not round_trip(replace(case, brain_mask=empty)).brain_mask.data.any()


def test_harmonisation_that_changes_nothing_copies_nothing(tmp_path: Path) -> None:
    aligned = an_aligned_case(np.random.default_rng(1))
    names = stage_io.save_harmonized(HarmonizedCase(aligned, aligned.images, "none", some_flags("h")), tmp_path)
    assert names == ["harmonized.json"]
    assert (tmp_path / names[0]).stat().st_size < 2000
    back = stage_io.load_harmonized(tmp_path, aligned)
    assert all(back.images[s] is aligned.images[s] for s in SEQUENCES)
    assert back.flags == some_flags("h")


def test_harmonisation_that_changes_one_image_hands_over_that_one(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    aligned = an_aligned_case(rng)
    case = HarmonizedCase(aligned, {**aligned.images, T2W: an_image(rng, aligned.grid)}, "hail")
    assert same(round_trip(case), case)
    assert sorted(stage_io.save_harmonized(case, tmp_path)) == ["harmonized-t2w.npy", "harmonized.json"]


def other_value(value: Any, rng: np.random.Generator) -> Any:  # noqa: C901 - one branch per type
    """Something of the same type that is not the same."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, str) and not isinstance(value, CleanUp | HeadState | MRSequence):
        return value + "x"
    if isinstance(value, HeadState):
        return HeadState.FULL
    if isinstance(value, CleanUp):
        return CleanUp.SPECKS
    if isinstance(value, MRSequence):
        return T2F
    if isinstance(value, float):
        return np.nextafter(value, 1.0).item()
    if isinstance(value, tuple):
        return value[:-1]
    if isinstance(value, Volume):
        changed = value.data.copy()
        changed[3, 3, 3] = not changed[3, 3, 3] if changed.dtype == bool else changed[3, 3, 3] + 1
        return value.with_data(changed)
    if isinstance(value, IntervalRule):
        return replace(value, cases=value.cases + 1)
    if isinstance(value, ExpectedQuality):
        return replace(value, fitted_on=value.fitted_on + "x")
    if isinstance(value, Grid):
        return Grid(value.shape, value.affine_ras_mm + np.eye(4) * [1e-9, 0, 0, 0])
    if isinstance(value, dict):
        first = next(iter(value))
        if isinstance(value[first], Transform):
            return {**value, first: a_transform(rng)}
        if isinstance(value[first], np.ndarray):
            return {**value, first: value[first] + np.float16(1)}
        return {**value, first: other_value(value[first], rng)}
    raise AssertionError(f"no other value for {type(value)}")


@pytest.mark.parametrize("kind", [an_uploaded_case, an_aligned_case, a_prediction])
def test_a_change_in_any_field_arrives(kind: Any) -> None:
    """Each field in turn is changed: what comes back must be the changed case and not the first one."""
    rng = np.random.default_rng(5)
    case = kind(rng, ["RAS", "LPI"]) if kind is an_uploaded_case else kind(rng)
    for field in fields(case):
        if field.name in ("scans", "brain_mask"):
            continue  # the scans are given anew; the mask defines the grid of the images, see above
        changed = replace(case, **{field.name: other_value(getattr(case, field.name), rng)})
        back = round_trip(changed)
        assert same(back, changed), field.name
        assert not same(back, case), field.name


def test_other_scans_than_those_uploaded_are_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    case = an_uploaded_case(rng, ["RAS", "LPS"])
    stage_io.save_uploaded(case, tmp_path)
    with pytest.raises(StageError, match="missing or was added"):
        stage_io.load_uploaded(tmp_path, {T1N: case.scans[T1N]})
    with pytest.raises(StageError, match="t1c is not the one"):
        stage_io.load_uploaded(tmp_path, {**case.scans, T1C: case.scans[T1N]})


def test_damage_is_told_and_nothing_is_unpickled(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"aligned\.json"):
        stage_io.load_aligned(tmp_path)
    stage_io.save_aligned(an_aligned_case(np.random.default_rng(1)), tmp_path)
    image = tmp_path / "aligned-t2w.npy"
    whole = image.read_bytes()
    for bad in (b"", whole[:-5], whole[:40]):
        image.write_bytes(bad)
        with pytest.raises(StageError, match=r"aligned-t2w\.npy"):
            stage_io.load_aligned(tmp_path)
    np.save(image, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(StageError, match=r"aligned-t2w\.npy"):
        stage_io.load_aligned(tmp_path)
    image.write_bytes(whole)
    assert stage_io.load_aligned(tmp_path).images[T2W].data.any()
    facts = tmp_path / "aligned.json"
    facts.write_text(json.dumps({**json.loads(facts.read_text()), "format": "hope-handover/0"}))
    with pytest.raises(StageError, match="another version"):
        stage_io.load_aligned(tmp_path)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        stage_io.save_aligned(an_aligned_case(np.random.default_rng(1)), tmp_path / "nowhere")
