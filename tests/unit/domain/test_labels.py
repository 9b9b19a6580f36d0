from __future__ import annotations

import numpy as np
import pytest

from hope.domain.labels import (
    BRATS2021,
    BRATS2023,
    CC,
    ED,
    ET,
    NET,
    PEDS,
    REGIONS,
    SCHEMAS,
    first_of_sets,
    label_set,
    region_mask,
    surely_in,
    undecided,
)


def test_peds_values_are_the_published_ones() -> None:
    assert {label.key: label.value for label in PEDS.labels} == {"ET": 1, "NET": 2, "CC": 3, "ED": 4}
    assert REGIONS["TC"] == (1, 2, 3)
    assert REGIONS["WT"] == (1, 2, 3, 4)


def test_adult_schemes_map_to_the_closest_meaning() -> None:
    assert BRATS2021.convert_to_peds(np.array([0, 1, 2, 4])).tolist() == [0, 2, 4, 1]
    assert BRATS2023.convert_to_peds(np.array([0, 1, 2, 3])).tolist() == [0, 2, 4, 1]
    assert PEDS.convert_to_peds(np.array([[0, 1], [2, 3]])).tolist() == [[0, 1], [2, 3]]


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_every_value_of_a_scheme_has_a_peds_value(name: str) -> None:
    schema = SCHEMAS[name]
    assert set(schema.to_peds) == set(schema.values)
    assert set(schema.to_peds.values()) <= set(PEDS.values)
    assert schema.convert_to_peds(np.array(schema.values)).dtype == np.uint8


def test_unknown_values_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"\[3\].*brats2021"):
        BRATS2021.convert_to_peds(np.array([0, 1, 3]))


def test_regions_and_labels_by_key() -> None:
    mask = np.array([0, 1, 2, 3, 4])
    assert region_mask(mask, "WT").tolist() == [False, True, True, True, True]
    assert region_mask(mask, "TC").tolist() == [False, True, True, True, False]
    assert region_mask(mask, "ED").tolist() == [False, False, False, False, True]
    with pytest.raises(ValueError, match="unknown region"):
        region_mask(mask, "XX")


@pytest.mark.parametrize(
    ("scheme", "mask", "sets"),
    [
        ("peds", [0, 1, 2, 3, 4], [{0}, {1}, {2}, {3}, {4}]),
        ("brats2023", [0, 1, 2, 3], [{0}, {NET, CC}, {ED}, {ET}]),
        ("brats2021", [0, 1, 2, 4], [{0}, {NET, CC}, {ED}, {ET}]),
    ],
)
def test_a_label_of_another_scheme_is_the_set_of_ours_that_it_may_be(
    scheme: str, mask: list[int], sets: list[set[int]]
) -> None:
    found = SCHEMAS[scheme].label_sets(np.array(mask))
    assert [{value for value in range(8) if int(code) >> value & 1} for code in found] == sets
    with pytest.raises(ValueError, match=r"\[9\]"):
        SCHEMAS[scheme].label_sets(np.array([0, 9]))
    for schema in SCHEMAS.values():
        for value, peds in schema.to_peds.items():
            assert peds in schema.may_be.get(value, (peds,)), "the closest meaning is one of those possible"


def test_regions_of_sets_are_decided_or_not() -> None:
    sets = np.array([label_set(0), label_set(NET), label_set(NET, CC), label_set(ED), label_set(0, ED)], np.uint8)
    assert surely_in(sets, (NET,)).tolist() == [False, True, False, False, False]
    assert undecided(sets, (NET,)).tolist() == [False, False, True, False, False]
    assert surely_in(sets, REGIONS["TC"]).tolist() == [False, True, True, False, False]
    assert not undecided(sets, REGIONS["TC"]).any()
    assert undecided(sets, REGIONS["WT"]).tolist() == [False, False, False, False, True]
    assert first_of_sets(sets).tolist() == [0, NET, NET, ED, 0]
