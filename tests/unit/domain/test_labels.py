from __future__ import annotations

import numpy as np
import pytest

from hope.domain.labels import BRATS2021, BRATS2023, PEDS, REGIONS, SCHEMAS, region_mask


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
