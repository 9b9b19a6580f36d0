"""Synthetic cases: reproducible, labelled as their kind promises, and true about where they lie."""

from __future__ import annotations

import numpy as np
import pytest
from tests.once import SyntheticPatient

from hope.domain.case import SEQUENCES
from hope.domain.labels import CC, ED, ET, NET
from hope.synthesis.case import training_sample
from hope.synthesis.fields import FieldMaker, blur, thicken
from hope.synthesis.tumours import KINDS


def test_same_seed_same_case_other_index_other_case() -> None:
    first, again, other = training_sample(3, 1), training_sample(3, 1), training_sample(3, 2)
    assert np.array_equal(first.images, again.images)
    assert np.array_equal(first.labels, again.labels)
    assert not np.array_equal(first.images, other.images)


@pytest.mark.parametrize("kind", [*KINDS, "multifocal"])
def test_every_kind_draws_a_tumour_inside_the_brain(kind: str) -> None:
    sample = training_sample(11, 4, kind)
    assert sample.labels.any()
    assert set(np.unique(sample.labels)) <= {0, ET, NET, CC, ED}
    assert (sample.images[:, sample.labels > 0] > 0).mean() > 0.99
    if kind == "multifocal":
        assert len(sample.kinds) > 1


def test_no_tumour_means_no_label() -> None:
    sample = training_sample(11, 4, "none")
    assert not sample.labels.any()
    assert sample.kinds == ()


def test_parts_look_like_themselves() -> None:
    """ET is brighter on t1c than on t1n relative to the brain; CC is bright on t2w; ED is bright on t2f."""
    t1n, t1c, t2w, t2f = range(4)
    et, cc, ed = [], [], []
    for index in range(10):
        sample = training_sample(21, index, "rim_enhancing" if index % 2 else "cystic_with_nodule")
        brain = (sample.images > 0).any(axis=0) & (sample.labels == 0)
        level = [np.median(image[brain]) for image in sample.images]
        relative = [image / middle for image, middle in zip(sample.images, level, strict=True)]
        for part, value, scores in ((ET, relative[t1c] / np.maximum(relative[t1n], 0.05), et),
                                    (CC, relative[t2w], cc), (ED, relative[t2f], ed)):  # fmt: skip
            if (sample.labels == part).sum() > 20:
                scores.append(np.median(value[sample.labels == part]))
    assert np.median(et) > 1.15
    assert np.median(cc) > 1.2
    assert np.median(ed) > 1.1


def test_pontine_tumours_grow_in_the_pons() -> None:
    """The pons of the atlas frame lies low, in the middle, in front of the cerebellum."""
    centres = []
    for index in range(6):
        sample = training_sample(31, index, "pontine")
        centres.append(sample.grid.to_world(np.argwhere((sample.labels > 0) & (sample.labels < ED)).mean(axis=0)))
    middle = np.median(centres, axis=0)
    brain = training_sample(31, 0, "none")
    inside = brain.grid.to_world(np.argwhere((brain.images > 0).any(axis=0)))
    low, high = inside.min(axis=0), inside.max(axis=0)
    share = (middle - low) / (high - low)
    assert 0.35 < share[0] < 0.65
    assert 0.3 < share[1] < 0.6
    assert share[2] < 0.4


def test_thick_slices_keep_the_mean_and_lose_detail() -> None:
    image = np.random.default_rng(0).random((12, 12, 40), dtype=np.float32)
    thick = thicken(image, 4, 2)
    assert thick.shape == image.shape
    assert thick.mean() == pytest.approx(image.mean(), rel=0.02)
    assert np.diff(thick, axis=2).std() < 0.4 * np.diff(image, axis=2).std()
    assert np.allclose(thicken(np.ones((4, 4, 20), np.float32), 5, 2), 1, atol=1e-5)


def test_fields_have_the_promised_spread() -> None:
    fields = FieldMaker(np.random.default_rng(1), (30, 40, 50), 1.0)
    field = fields.fractal(10)
    assert field.mean() == pytest.approx(0, abs=1e-3)
    assert field.std() == pytest.approx(1, abs=1e-3)
    assert blur(field, 0.1, 1.0) is field


@pytest.mark.slow
def test_a_raw_case_is_true_about_where_it_lies(synthetic_patient: SyntheticPatient) -> None:
    """Through the true transforms, the t2w scan lies on the t1c scan, however each file is oriented."""
    case = synthetic_patient.case
    assert set(case.scans) == set(SEQUENCES)
    assert len({scan.grid.orientation for scan in case.scans.values()}) > 1
    t1c, t2w = case.scans["t1c"], case.scans["t2w"]
    assert case.labels.grid.same_as(t1c.grid)
    assert case.labels.data.any()
    assert case.brain.data[case.labels.data > 0].mean() > 0.95
    to_t2w = case.scan_to_head["t1c"].then(case.scan_to_head["t2w"].inverse())
    brain = np.argwhere(case.brain.data)[::997]
    there = np.rint(t2w.grid.to_voxel(to_t2w.apply(t1c.grid.to_world(brain)))).astype(int)
    inside = ((there >= 0) & (there < t2w.grid.shape)).all(axis=1)
    assert inside.mean() > 0.99
    air = np.percentile(t2w.data, 20)
    assert (t2w.data[tuple(there[inside].T)] > 3 * air).mean() > 0.95
    where = np.linalg.norm(case.scan_to_head["t2w"].apply(np.zeros(3)) - case.scan_to_head["t1c"].apply(np.zeros(3)))
    assert where > 1, "misaligned cases must really be misaligned"
