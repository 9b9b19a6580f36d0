"""Harmonisation keeps the anatomy, whatever the method tries: what fails the check does not pass."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from tests.unit.stages.harmonize.heads import GRID, ball, head

from hope.domain.case import SEQUENCES, AlignedCase, MRSequence
from hope.domain.errors import InputError, StageError
from hope.domain.progress import Progress, silent
from hope.domain.style import PERCENTILES, SequenceStyle, Style
from hope.domain.volume import Volume
from hope.stages.harmonize import anatomy_check, lesion_prior
from hope.stages.harmonize import harmonize as stage
from hope.stages.harmonize.anatomy_check import LEAST_EDGE_SSIM, MOST_CONTRAST_CHANGE, guard, style_distance
from hope.stages.harmonize.harmonize import default_style, described, harmonize, learn_style, not_harmonized
from hope.stages.harmonize.histogram import CONTRAST_KEPT, SLOPES, HistogramHarmonizer, Lesion, fit
from hope.stages.harmonize.lesion_prior import healthy_brain, regions_of, suspected_lesion

T1N, T1C, T2W, T2F = SEQUENCES
LESION = ball((40, 36, 26), 6)
Change = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]


@dataclass
class Method:
    """A ``ports.Harmonizer`` that does to some sequences what it is told, and nothing to the others."""

    changes: Mapping[MRSequence, Change]
    method: str = "hail"

    def learn(self, case: AlignedCase) -> Style:
        raise AssertionError("nobody asked")

    def apply(self, case: AlignedCase, style: Style, progress: Progress) -> Mapping[MRSequence, Volume]:
        return {
            s: v.with_data(self.changes[s](v.data) if s in self.changes else v.data) for s, v in case.images.items()
        }

    def describe(self) -> Mapping[str, object]:
        return {"method": self.method}


@pytest.fixture(scope="module")
def ill() -> AlignedCase:
    return head(1, LESION)


@pytest.fixture(scope="module")
def style() -> Style:
    return HistogramHarmonizer().learn(head(2, gamma=1.2, scale=900.0))


# What is known


def test_regions_are_found_once_for_a_case_and_forgotten_with_it() -> None:
    case, known = head(1, LESION), len(lesion_prior._known)

    first, second = regions_of(case), regions_of(case)

    assert first is second
    assert len(lesion_prior._known) == known + 1
    del case
    gc.collect()
    assert len(lesion_prior._known) == known


def test_the_last_check_takes_what_the_guard_found_of_the_same_image_and_style(
    ill: AlignedCase, style: Style, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = ill.images[T2F]
    after = before.with_data(before.data * np.float32(1.1))
    passes = guard(ill, style)(T2F, after)
    fresh = anatomy_check._measured(anatomy_check._Before((before, regions_of(ill), style.sequences[T2F])), after)
    monkeypatch.setattr(anatomy_check, "_measured", lambda *given: pytest.fail("it was measured again"))

    found = anatomy_check.check_anatomy(before, after, regions_of(ill), style.sequences[T2F])

    assert found == fresh
    assert passes == (not found.reason)


def test_edges_are_measured_for_the_last_check_where_the_rest_says_no(
    ill: AlignedCase, style: Style, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = ill.images[T2F]
    after = before.with_data(without_lesion(before.data))
    regions, entry = regions_of(ill), style.sequences[T2F]
    fresh = anatomy_check.check_anatomy(before, after, regions, entry)
    assert "ratio to white matter" in fresh.reason
    looked: list[float] = []
    whole = anatomy_check.Edges.similarity

    def similarity(edges: anatomy_check.Edges, data: npt.NDArray[np.float32]) -> float:
        looked.append(whole(edges, data))
        return looked[-1]

    monkeypatch.setattr(anatomy_check.Edges, "similarity", similarity)
    assert not guard(ill, style)(T2F, after)
    assert not looked
    assert [anatomy_check.check_anatomy(before, after, regions, entry) for _ in range(2)] == [fresh, fresh]
    assert looked == [fresh.edge_ssim]


# The curve


percentile_values = st.lists(st.floats(0.001, 1.0), min_size=len(PERCENTILES), max_size=len(PERCENTILES)).map(
    lambda steps: SequenceStyle(PERCENTILES, tuple(float(x) for x in np.cumsum(steps) / np.cumsum(steps)[7]))
)


@settings(max_examples=60, deadline=None)
@given(percentile_values, percentile_values, st.floats(0.3, 4.0), st.floats(0.3, 4.0))
def test_a_curve_rises_within_bounds_and_keeps_the_lesions_ratio(
    own: SequenceStyle, wanted: SequenceStyle, lesion: float, white: float
) -> None:
    values = Lesion(np.full(50, lesion), np.full(50, white))
    curve = fit(own, wanted, values)
    x = np.linspace(0, 3 * max(own.values[-1], lesion), 400, dtype=np.float32)
    slopes = np.diff(curve(x)) / np.diff(x)
    assert slopes.min() > SLOPES[0] - 1e-2
    assert slopes.max() < SLOPES[1] + 1e-2
    assert curve(np.zeros(1, np.float32))[0] == 0
    before = lesion / white
    after = float(curve(np.float32([lesion]))[0] / curve(np.float32([white]))[0])
    assert abs(after / before - 1) < CONTRAST_KEPT + 0.03, (before, after)


def test_without_a_lesion_the_landmarks_are_met() -> None:
    own = SequenceStyle(PERCENTILES, tuple(np.linspace(0.4, 1.6, len(PERCENTILES))))
    wanted = SequenceStyle(PERCENTILES, tuple(np.linspace(0.4, 1.6, len(PERCENTILES)) ** 1.3))
    curve = fit(own, wanted)
    assert curve(np.float32(own.values)) == pytest.approx(wanted.values, abs=0.02)


# What is suspected


@pytest.mark.parametrize("centre", [(40, 36, 26), (24, 44, 24), (32, 24, 30), (36, 50, 28)])
def test_a_lesion_is_suspected_and_little_else(centre: tuple[int, int, int]) -> None:
    lesion = ball(centre, 6)
    found = suspected_lesion(head(3, lesion)).data
    assert found[lesion].mean() > 0.9
    assert found[~lesion & ~ndimage.binary_dilation(lesion, iterations=3)].mean() < 0.01


@pytest.mark.parametrize("kept", [(T2F,), (T1C,), (T1N, T1C), (T1N, T2W)])
def test_one_or_two_sequences_suffice_or_nothing_is_suspected(kept: tuple[MRSequence, ...]) -> None:
    found = suspected_lesion(head(3, LESION, kept)).data
    assert found[LESION].mean() > 0.8 if kept != (T1N, T2W) else not found.any()
    assert found[~LESION].mean() < 0.02


def test_a_healthy_head_and_an_empty_mask_raise_no_suspicion() -> None:
    healthy = head(4)
    assert suspected_lesion(healthy).data.mean() < 0.002
    nothing = replace(healthy, brain_mask=healthy.brain_mask.with_data(np.zeros(GRID.shape, bool)))
    assert not suspected_lesion(nothing).data.any()


@pytest.mark.parametrize("orientation", ["RAS", "SPL", "AIR"])
def test_suspicion_does_not_depend_on_the_order_of_voxels(ill: AlignedCase, orientation: str) -> None:
    turned = replace(
        ill,
        images={s: v.reoriented(orientation) for s, v in ill.images.items()},
        brain_mask=ill.brain_mask.reoriented(orientation),
    )
    found = suspected_lesion(turned).reoriented(GRID.orientation).data
    assert np.array_equal(found, suspected_lesion(ill).data)


# The method on whole cases


def test_another_scanner_is_brought_nearer_and_the_lesion_stays(ill: AlignedCase, style: Style) -> None:
    done = harmonize(ill, HistogramHarmonizer(), style)
    assert done.method == "histogram"
    assert not done.flags
    regions = regions_of(ill)
    for s, facts in done.details["sequences"].items():
        assert facts["changed"]
        assert facts["edge_ssim"] >= LEAST_EDGE_SSIM
        assert facts["distance_after"] < facts["distance_before"]
        assert facts["lesion_to_white_after"] == pytest.approx(
            facts["lesion_to_white_before"], rel=MOST_CONTRAST_CHANGE
        )
        entry = style.sequences[MRSequence(s)]
        assert style_distance(done.images[MRSequence(s)], regions, entry) == pytest.approx(
            facts["distance_after"], abs=1e-4
        )
        assert np.median(done.images[MRSequence(s)].data[regions.healthy]) == pytest.approx(entry.unit, rel=0.1)
        assert not done.images[MRSequence(s)].data[~regions.brain].any()
    again = harmonize(ill, HistogramHarmonizer(), style)
    assert all(np.array_equal(again.images[s].data, done.images[s].data) for s in SEQUENCES)


def test_landmarks_do_not_follow_the_tumour() -> None:
    """The style learnt from one head with and without a tumour is nearly the same."""
    with_it, without = (HistogramHarmonizer().learn(head(5, lesion)) for lesion in (ball((40, 36, 26), 9), None))
    for s in SEQUENCES:
        assert with_it.sequences[s].values == pytest.approx(without.sequences[s].values, abs=0.06)


@pytest.mark.parametrize("seed", range(12))
def test_a_lesion_is_never_removed_or_added(seed: int, style: Style) -> None:
    """Short form of the thousand trials of benchmarks/harmonize.py."""
    rng = np.random.default_rng(seed)
    where = ball(rng.uniform([20, 22, 18], [44, 50, 34]), rng.uniform(2.5, 8))
    case = head(seed, where if seed % 4 else None, gamma=float(rng.uniform(0.75, 1.3)))
    done = harmonize(case, HistogramHarmonizer(), style)
    white = case.images[T1N].data > np.percentile(case.images[T1N].data[case.brain_mask.data], 70)
    for s in SEQUENCES:
        before, after = case.images[s].data, done.images[s].data
        order = np.argsort(before, axis=None, kind="stable")
        assert (np.diff(after.ravel()[order]) >= 0).all(), "the brighter stays the brighter"
        ratio = [float(image[where].mean() / image[white & ~where].mean()) for image in (before, after)]
        assert ratio[1] == pytest.approx(ratio[0], rel=0.2)


def test_images_without_a_positive_scale_are_passed_on(ill: AlignedCase, style: Style) -> None:
    centred = {s: v.with_data(np.where(v.data != 0, v.data - 200, 0).astype(np.float32)) for s, v in ill.images.items()}
    done = harmonize(replace(ill, images=centred), HistogramHarmonizer(), style)
    assert done.method == "none"
    assert all(done.images[s] is centred[s] for s in SEQUENCES)
    assert {flag.sequence for flag in done.flags} == set(SEQUENCES)
    with pytest.raises(InputError, match="no style can be learnt"):
        HistogramHarmonizer().learn(replace(ill, images=centred))


# The check


def blurred(data: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.where(data != 0, ndimage.gaussian_filter(data, 1.5), 0).astype(np.float32)


def without_lesion(data: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.where(LESION, np.float32(100), data)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (blurred, "edges changed"),
        (without_lesion, "suspected lesion's ratio"),
        (lambda data: np.where(LESION, data * np.float32(1.3), data), "suspected lesion's ratio"),
        (lambda data: np.where(data != 0, 300 - data, 0).astype(np.float32), "suspected lesion"),
        (lambda data: data - np.float32(100) * (data != 0), "positive scale|ratio"),
        (lambda data: data * 0, "no positive scale"),
    ],
)
def test_what_harms_the_anatomy_does_not_pass(ill: AlignedCase, style: Style, change: Change, said: str) -> None:
    done = harmonize(ill, Method({T2F: change}), style)
    assert done.images[T2F] is ill.images[T2F]
    facts = done.details["sequences"]
    assert not facts["t2f"]["changed"]
    (flag,) = (flag for flag in done.flags if flag.sequence == "t2f")
    assert "original of t2f was passed on" in flag.reason
    assert re.search(said, flag.reason), flag.reason
    assert facts["t2w"]["changed"]
    assert "the originals of t2f were passed on" in described(done)["note"]


def test_what_goes_away_from_the_style_does_not_pass(style: Style) -> None:
    healthy = head(6, gamma=1.2)
    done = harmonize(healthy, Method({T2W: lambda data: (data**0.8).astype(np.float32)}), style)
    assert "no nearer to the style" in done.details["sequences"]["t2w"]["reason"]


def test_the_two_t1_are_changed_both_or_not_at_all(ill: AlignedCase, style: Style) -> None:
    done = harmonize(ill, Method({T1C: without_lesion}), style)
    assert done.images[T1N] is ill.images[T1N]
    assert done.details["sequences"]["t1n"]["reason"] == stage.TOGETHER
    alone = replace(ill, images={s: v for s, v in ill.images.items() if s is not T1N})
    assert harmonize(alone, Method({T1C: without_lesion}), style).details["sequences"]["t2f"]["changed"]


def test_a_style_that_does_not_know_a_sequence_leaves_it(ill: AlignedCase, style: Style) -> None:
    less = replace(style, sequences={s: e for s, e in style.sequences.items() if s is not T2W})
    done = harmonize(ill, HistogramHarmonizer(), less)
    assert done.images[T2W] is ill.images[T2W]
    assert done.details["sequences"]["t2w"] == {"changed": False, "reason": stage.NO_STYLE}
    assert done.details["sequences"]["t1c"]["changed"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: data.astype(np.float64), "not as float32"),
        (lambda data: np.where(data > 60, np.float32(np.nan), data), "no numbers"),
        (lambda data: data + np.float32(1), "where nothing was"),
    ],
)
def test_a_method_that_breaks_its_word_is_told_so(ill: AlignedCase, style: Style, change: Change, said: str) -> None:
    with pytest.raises(StageError, match=said):
        harmonize(ill, Method({T1N: change}), style)


def test_what_nobody_asked_for_is_not_done(ill: AlignedCase) -> None:
    done = not_harmonized(ill)
    assert all(done.images[s] is ill.images[s] for s in SEQUENCES)
    assert described(done) == {"method": "none", "note": stage.NOT_ASKED}


# Styles


def test_the_style_of_several_cases_is_their_mean() -> None:
    method = HistogramHarmonizer()
    cases = [head(7, scale=100), head(8, scale=400, sequences=(T1N, T1C))]
    mean = learn_style(iter(cases), method, "site", "two")
    one, other = (method.learn(case).sequences[T1C] for case in cases)
    assert mean.sequences[T1C].values == pytest.approx(np.mean([one.values, other.values], axis=0))
    assert mean.sequences[T1C].unit == pytest.approx(np.sqrt(one.unit * other.unit))
    assert mean.sequences[T2W].values == pytest.approx(method.learn(cases[0]).sequences[T2W].values)
    assert (mean.name, mean.note) == ("site", "two")
    with pytest.raises(InputError, match="no case"):
        learn_style([], method, "none")


def test_the_bundled_style_knows_all_sequences_and_fits_a_head(ill: AlignedCase) -> None:
    style = default_style()
    assert set(style.sequences) == set(SEQUENCES)
    assert "synthetic" in style.note
    assert harmonize(ill, HistogramHarmonizer(), style, silent).details["style"] == "default"


def test_a_method_without_a_bundled_style_says_so() -> None:
    with pytest.raises(InputError, match="no style comes with the method other"):
        default_style("other")


@pytest.mark.parametrize("change", [blurred, without_lesion])
def test_the_guard_says_what_the_check_would(ill: AlignedCase, style: Style, change: Change) -> None:
    passes = guard(ill, style)
    assert passes(T2F, HistogramHarmonizer().apply(ill, style)[T2F])
    assert not passes(T2F, ill.images[T2F].with_data(change(ill.images[T2F].data)))
    assert healthy_brain(ill)[LESION].mean() < 0.05
