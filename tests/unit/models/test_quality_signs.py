"""What is measured in a network's probabilities."""

from __future__ import annotations

import numpy as np
import pytest

from hope.domain.case import MRSequence
from hope.domain.labels import CC, ED, ET, NET
from hope.models.quality_signs import quality_signs
from hope.training.quality_fit import SIGNS


def answer(sure: float = 0.95, second: bool = False) -> np.ndarray:
    """A cube of oedema with a core, said with one probability; the rest is background with what is left."""
    labels = np.zeros((24, 20, 16), int)
    labels[2:10, 4:12, 4:12] = ED
    labels[4:8, 6:10, 6:10] = NET
    labels[5:7, 7:9, 7:9] = ET
    if second:
        labels[14:22, 4:12, 4:12] = ED  # the mirror image of the first
    left = (1 - sure) / 4
    probability = np.full((5, *labels.shape), left)
    np.put_along_axis(probability, labels[None], sure, axis=0)
    return probability


def test_every_sign_that_a_rule_looks_at_is_measured_and_finite() -> None:
    found = quality_signs(answer(), 2.0, (MRSequence.T2F,), 1.3)
    assert set(found) == {"WT", "TC", "ET"}
    for region, names in SIGNS.items():
        assert set(names) <= set(found[region])
        assert np.isfinite(list(found[region].values())).all()
    assert found["WT"]["without t2f"] == 1.0
    assert found["WT"]["without t1c"] == 0.0
    assert found["WT"]["ml"] == pytest.approx(np.log10(0.1 + 8**3 * 0.008))
    assert found["WT"]["core"] == pytest.approx(4**3 / 8**3)
    assert found["ET"]["whole"] == found["WT"]["own"]


def test_an_unsure_answer_promises_less() -> None:
    sure, unsure = (quality_signs(answer(p), 2.0, (), None)["WT"] for p in (0.99, 0.5))
    assert sure["own"] > unsure["own"]
    assert sure["sharp"] > unsure["sharp"]


def test_scattered_and_symmetric_answers_are_seen() -> None:
    one, two = (quality_signs(answer(second=second), 2.0, (), None)["WT"] for second in (False, True))
    assert (one["main"], one["mirrored"]) == (1.0, 0.0)
    assert (two["main"], two["mirrored"]) == (0.5, 1.0)


def test_regions_without_a_voxel_have_no_signs() -> None:
    probability = answer()
    probability[NET] += probability[ET]
    probability[ET] = 0
    assert set(quality_signs(probability, 2.0, (), None)) == {"WT", "TC"}
    nothing = np.zeros((5, 4, 4, 4))
    nothing[0] = 1
    assert quality_signs(nothing, 2.0, (), None) == {}


def test_net_that_enhancement_does_not_enclose_lies_apart() -> None:
    labels = np.zeros((40, 40, 40), int)
    place = np.indices(labels.shape) - 20
    radius = np.sqrt((place**2).sum(axis=0))
    labels[radius < 8] = ET
    labels[radius < 6] = NET  # enclosed by a ring of 4 mm
    assert quality_signs(one_hot(labels), 2.0, (), None)["TC"]["apart"] == 0
    enclosed = (labels == NET).sum() + (labels == ET).sum()
    labels[2:8, 2:8, 2:8] = NET  # far from the ring
    found = quality_signs(one_hot(labels), 2.0, (), None)["TC"]["apart"]
    assert found == pytest.approx(6**3 / (6**3 + enclosed))
    labels[2:8, 2:8, 2:8] = CC  # fluid is no oedema
    assert quality_signs(one_hot(labels), 2.0, (), None)["TC"]["apart"] == 0
    assert quality_signs(one_hot(labels), 1.0, (), None)["TC"]["apart"] == 0
    labels[labels == ET] = ED
    assert quality_signs(one_hot(labels), 2.0, (), None)["TC"]["apart"] > 0.5


def one_hot(labels: np.ndarray) -> np.ndarray:
    return np.stack([(labels == value) * 1.0 for value in range(5)])
