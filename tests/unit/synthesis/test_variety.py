"""The switches of the synthesis: off they change nothing, on they show what they name, and labels stay honest."""

from __future__ import annotations

import hashlib
from dataclasses import fields, replace
from functools import cache

import numpy as np
import pytest

from hope.domain.case import MRSequence
from hope.domain.labels import CC, ED, NET, label_set
from hope.synthesis.anatomy import Anatomy, make_anatomy
from hope.synthesis.case import BRAIN_BLOCK_2MM, TrainingSample, training_sample
from hope.synthesis.cavities import with_cavity
from hope.synthesis.fields import FieldMaker
from hope.synthesis.lookalikes import choroid_plexus, demyelination, flow_voids, frontal_edges, periventricular_change
from hope.synthesis.shapes import LesionShape
from hope.synthesis.template import load_template
from hope.synthesis.variety import Variety, draw_kind, with_variety

OFF = Variety(**{field.name: 0.0 for field in fields(Variety)})
SHAPE, START = BRAIN_BLOCK_2MM


@cache
def anatomy(kind: str, seed: int = 1) -> Anatomy:
    return make_anatomy(load_template(2, SHAPE, START), np.random.default_rng(seed), kind)


def maker(seed: int) -> FieldMaker:
    return FieldMaker(np.random.default_rng(seed), SHAPE, 2.0)


def test_without_variety_cases_are_those_of_earlier_versions() -> None:
    """Seeds of the model card and of `hope synth` name the same cases for ever."""
    sample = training_sample(3, 1)
    assert hashlib.sha256(sample.labels.tobytes()).hexdigest()[:16] == "e6da62e069440c21"
    assert sample.images.mean() == pytest.approx(0.189009, rel=1e-4)


def test_all_switches_off_is_that_synthesis_too() -> None:
    plain, off = training_sample(11, 4, "rim_enhancing"), training_sample(11, 4, "rim_enhancing", variety=OFF)
    assert np.array_equal(plain.images, off.images)
    assert np.array_equal(plain.labels, off.labels)


@pytest.mark.parametrize(
    ("add", "where"),
    [
        (demyelination, "spots"),
        (periventricular_change, "spots"),
        (choroid_plexus, "vessels"),
        (flow_voids, "overlays"),
        (frontal_edges, "overlays"),
    ],
)
def test_a_lookalike_is_seen_inside_the_head_and_is_no_tumour(add: object, where: str) -> None:
    before = anatomy("none")
    seen = 0
    for seed in range(4):
        after = add(before, maker(seed))  # type: ignore[operator]
        assert not after.labels.any()
        if where == "overlays":
            weight = after.overlays[-1].weight
            assert set(after.overlays[-1].level) == set(MRSequence)
        else:
            weight = getattr(after, where) - getattr(before, where)
        assert weight.min() >= -1e-6
        assert weight.max() <= 1.2
        assert weight[before.brain < 0.01].sum() <= 0.02 * weight.sum()
        seen += bool((weight > 0.2).sum() > 10)
    assert seen >= 2


def test_change_along_the_ventricles_is_about_as_strong_on_both_sides() -> None:
    for seed in range(3):
        added = periventricular_change(anatomy("none"), maker(seed)).spots - anatomy("none").spots
        left, right = added[: SHAPE[0] // 2].sum(), added[SHAPE[0] // 2 :].sum()
        assert 0.4 < left / right < 2.5


@pytest.mark.parametrize("kind", ["none", "rim_enhancing"])
def test_a_cavity_is_fluid_and_no_tumour(kind: str) -> None:
    before = anatomy(kind)
    for seed in range(4):
        after = with_cavity(before, maker(seed))
        hole = (after.csf > 0.95) & (before.csf < 0.5)
        assert hole.any()
        assert not after.labels[hole].any()
        assert (after.labels[after.labels != before.labels] == 0).all(), "labels only go"
    if kind == "rim_enhancing":
        assert any(with_cavity(before, maker(seed)).labels.any() for seed in range(4)), "a remnant may stay"


def test_parts_are_named_as_in_children() -> None:
    always = replace(OFF, child_parts=1.0)
    ring, pons = anatomy("rim_enhancing", 7), anatomy("pontine", 3)
    assert not (with_variety(ring, maker(0), always).labels == CC).any()
    named = with_variety(pons, maker(0), always).labels
    assert not (named == ED).any()
    assert (named == NET).sum() >= (pons.labels == NET).sum()
    assert ((named > 0) == (pons.labels > 0)).all(), "the whole tumour stays"


def test_kinds_are_drawn_as_often_as_the_switches_say() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_kind(rng, replace(OFF, tumour_free=0.25)) for _ in range(2000)]
    assert 0.2 < drawn.count("none") / 2000 < 0.3
    assert "none" not in {draw_kind(rng, OFF) for _ in range(300)}
    assert {"pontine", "multifocal", "cystic_with_nodule"} <= set(drawn)


def test_a_real_shape_drives_the_synthesis() -> None:
    sets = np.full((30, 30, 30), label_set(0), np.uint8)
    sets[5:25, 8:22, 10:20] = label_set(ED)
    sets[10:20, 11:19, 12:18] = label_set(NET, CC)
    cores: set[int] = set()
    for index in range(4):
        sample: TrainingSample = training_sample(9, index, variety=OFF, lesion=LesionShape(sets, 2.0))
        found = set(np.unique(sample.labels).tolist()) - {0, ED}
        assert len(found) == 1, "the whole core is one of the labels that it may be"
        assert found <= {NET, CC}
        cores |= found
        volume = (sample.labels > 0).sum() / (sets != label_set(0)).sum()
        assert 0.1 < volume < 2.2
    assert sample.kinds
