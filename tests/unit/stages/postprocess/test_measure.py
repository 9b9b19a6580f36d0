"""Volumes and their intervals on cubes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from hope.domain.case import Prediction
from hope.domain.expected_quality import ExpectedQuality, RegionQuality
from hope.domain.grid import Grid
from hope.domain.intervals import IntervalRule, SpreadRule
from hope.domain.labels import CC, ED, ET, NET
from hope.domain.volume import Volume
from hope.stages.postprocess.measure import interval_method, measure

SHAPE = (20, 20, 20)
ATLAS = Grid(SHAPE, np.eye(4))
NATIVE = Grid((20, 20, 4), np.diag([-1.0, 1.0, 5.0, 1.0]))


def prediction(labels: npt.NDArray[np.uint8], **probability: npt.NDArray[np.float32]) -> Prediction:
    given = {key: np.zeros(SHAPE, np.float16) for key in ("ET", "NET", "CC", "ED", "TC", "WT")}
    given |= {key: array.astype(np.float16) for key, array in probability.items()}
    return Prediction(Volume(labels, ATLAS), given, "test", "0" * 64)


def shells(centre: float, edge: float, far: float) -> npt.NDArray[np.float32]:
    """Probability: a core of 10x10x10, a slab of 200 more voxels and one of 400 more around it."""
    probability = np.zeros(SHAPE, np.float32)
    probability[0:10, 0:10, 0:10] = centre
    probability[10:12, 0:10, 0:10] = edge
    probability[12:16, 0:10, 0:10] = far
    return probability


def test_volumes_are_counted_on_the_native_grid() -> None:
    native = np.zeros(NATIVE.shape, np.uint8)
    native[0:10, 0:10, 0:2], native[10:12, 0:10, 0], native[0, 15, 0], native[0, 19, 3] = ET, NET, CC, ED
    volumes = measure(Volume(native, NATIVE), prediction(np.zeros(SHAPE, np.uint8)))
    assert list(volumes) == ["ET", "NET", "CC", "ED", "TC", "WT"]
    assert {key: value["ml"] for key, value in volumes.items()} == pytest.approx(
        {"ET": 1.0, "NET": 0.1, "CC": 0.005, "ED": 0.005, "TC": 1.105, "WT": 1.11}
    )


def test_the_interval_scales_with_the_native_volume() -> None:
    atlas = np.zeros(SHAPE, np.uint8)
    atlas[0:12, 0:10, 0:10] = ED  # 1200 voxels: 1000 of them sure, 400 more possible
    native = np.zeros(NATIVE.shape, np.uint8)
    native[0:12, 0:10, 0:2] = ED  # 1.2 ml
    native[12, 0:10, 0] = ED  # interpolation gave 0.05 ml more
    volumes = measure(Volume(native, NATIVE), prediction(atlas, ED=shells(0.9, 0.6, 0.3), WT=shells(0.9, 0.6, 0.3)))
    for key in ("ED", "WT"):
        assert volumes[key] == pytest.approx({"ml": 1.25, "low_ml": 1.25 * 1000 / 1200, "high_ml": 1.25 * 1600 / 1200})


def test_an_absent_label_has_zero_and_its_own_high_end() -> None:
    nothing = Volume(np.zeros(NATIVE.shape, np.uint8), NATIVE)
    volumes = measure(nothing, prediction(np.zeros(SHAPE, np.uint8), ET=shells(0.3, 0.1, 0.0)))
    assert volumes["ET"] == pytest.approx({"ml": 0.0, "low_ml": 0.0, "high_ml": 1.0})
    assert volumes["CC"] == {"ml": 0.0, "low_ml": 0.0, "high_ml": 0.0}


def test_low_never_exceeds_nor_high_falls_short_of_the_volume() -> None:
    atlas = np.zeros(SHAPE, np.uint8)
    atlas[0:2, 0:10, 0:10] = ET
    native = Volume((atlas[:, :, ::5]).astype(np.uint8), NATIVE)
    sure = measure(native, prediction(atlas, ET=shells(0.95, 0.9, 0.9)))["ET"]
    assert sure["low_ml"] == sure["ml"] < sure["high_ml"]
    unsure = measure(native, prediction(atlas))["ET"]
    assert unsure["low_ml"] == 0.0
    assert unsure["high_ml"] == unsure["ml"] > 0


def test_regions_without_their_own_probability_sum_their_labels() -> None:
    atlas = np.zeros(SHAPE, np.uint8)
    atlas[0:10, 0:10, 0:10] = ET
    given = prediction(atlas, ET=shells(0.5, 0.1, 0.0), NET=shells(0.4, 0.05, 0.0), ED=shells(0.0, 0.1, 0.0))
    labels_only = {key: given.region_probability[key] for key in ("ET", "NET", "CC", "ED")}
    native = Volume(atlas[:, :, ::5].copy(), NATIVE)
    volumes = measure(native, Prediction(given.labels, labels_only, "test", "0" * 64))
    assert volumes["ET"]["low_ml"] == 0.0
    assert volumes["TC"]["low_ml"] == pytest.approx(1.0)
    assert volumes["WT"]["high_ml"] == pytest.approx(1.2)
    with pytest.raises(ValueError, match="no probability for ET"):
        measure(native, Prediction(given.labels, {"WT": given.region_probability["WT"]}, "test", "0" * 64))


def test_the_method_admits_what_it_is() -> None:
    assert "probability of at least 0.8 (low)" in interval_method(prediction(np.zeros(SHAPE, np.uint8)))
    assert "not calibrated yet" in interval_method(prediction(np.zeros(SHAPE, np.uint8)))


def test_a_model_may_bring_its_own_thresholds() -> None:
    atlas = np.zeros(SHAPE, np.uint8)
    atlas[0:12, 0:10, 0:10] = ED
    alone = prediction(atlas, ED=shells(0.9, 0.6, 0.3), WT=shells(0.9, 0.6, 0.3))
    own = replace(alone, intervals=IntervalRule({"WT": (0.95, 0.5)}, 0.9, 80, "synthetic cases"))
    native = Volume(np.ascontiguousarray(atlas[:, :, ::5]), NATIVE)
    volumes = measure(native, own)
    assert volumes["WT"] == pytest.approx({"ml": 1.2, "low_ml": 0.0, "high_ml": 1.2})
    assert volumes["ED"] == measure(native, alone)["ED"], "a label without thresholds of its own takes the default's"
    assert "to hold 90% of the true volumes of 80 synthetic cases" in interval_method(own)


def test_of_an_ensemble_the_interval_comes_from_the_members_votes() -> None:
    labels = np.zeros(SHAPE, np.uint8)
    labels[0:12, 0:10, 0:10] = ED  # 1200 voxels; the probabilities would say that all of them are sure
    alone = prediction(labels, ED=shells(1.0, 1.0, 0.0), WT=shells(1.0, 1.0, 0.0))
    votes = {key: np.zeros(SHAPE, np.float16) for key in alone.region_probability}
    votes |= {key: shells(0.9, 0.6, 0.1).astype(np.float16) for key in ("ED", "WT")}
    ensemble = replace(alone, agreement=votes)
    native = Volume(labels, ATLAS)
    assert measure(native, alone)["ED"] == pytest.approx({"ml": 1.2, "low_ml": 1.2, "high_ml": 1.2})
    assert measure(native, ensemble)["ED"] == pytest.approx({"ml": 1.2, "low_ml": 1.0, "high_ml": 1.6})
    assert "at least 90% of the ensemble's networks mark (low)" in interval_method(ensemble)
    assert "members" in interval_method(ensemble)
    assert "not calibrated" in interval_method(ensemble)


def test_where_the_quality_is_expected_the_interval_comes_from_it() -> None:
    atlas = np.zeros(SHAPE, np.uint8)
    atlas[0:12, 0:10, 0:10] = ED
    native = np.zeros(NATIVE.shape, np.uint8)
    native[0:12, 0:10, 0:2] = ED  # 1.2 ml
    spread = SpreadRule({"WT": (-2.0, 1.0), "TC": (-2.0, 1.0)}, 0.9, 40, "40 adults' scans")
    rule = IntervalRule(dict.fromkeys(("ED", "WT"), (0.8, 0.2)), 0.9, 80, "synthetic cases", spread)
    shell = shells(0.9, 0.6, 0.3)
    plain = replace(prediction(atlas, ED=shell, WT=shell), intervals=rule)
    expected = ExpectedQuality({"WT": RegionQuality(0.5, 0.3, 0.7, 0.9)}, "40 adults' scans")
    given = replace(plain, expected_quality=expected)
    low, high = spread.interval("WT", 1.2, 0.5)
    volumes, before = measure(Volume(native, NATIVE), given), measure(Volume(native, NATIVE), plain)
    assert volumes["WT"] == pytest.approx({"ml": 1.2, "low_ml": low, "high_ml": high})
    assert volumes["ED"] == before["ED"] and before["WT"] != volumes["WT"]
    assert volumes["TC"] == before["TC"], "nothing is expected of a region that was not marked"
    assert "lay inside, measured on 40 adults' scans; of the other labels" in interval_method(given)
    assert "synthetic cases" in interval_method(given) and "40 adults" not in interval_method(plain)
    # What clean-up removed whole has the voxels that the model thinks possible as its high end, as ever.
    gone = measure(Volume(np.zeros(NATIVE.shape, np.uint8), NATIVE), given)
    assert gone["WT"]["ml"] == 0 and gone["WT"]["high_ml"] == pytest.approx(1.6)
