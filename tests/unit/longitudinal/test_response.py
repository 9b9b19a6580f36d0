"""Categories of response come from a site's table only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from hope.contract.comparison import Comparison
from hope.contract.measurements import Measurements
from hope.domain.change import MeasuredVolume
from hope.domain.errors import InputError
from hope.longitudinal.compare import _change
from hope.longitudinal.response import json_schema, read_rules, with_response
from hope.longitudinal.targets import follow_targets, percent_of


@pytest.fixture
def example(repository: Path) -> dict[str, Any]:
    text = (repository / "docs/reference/response-rules.example.json").read_text(encoding="utf-8")
    values: dict[str, Any] = json.loads(text)
    return values


def written(values: dict[str, Any], folder: Path) -> Path:
    path = folder / "response-rules.json"
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


def sizes(product_mm2: float) -> Measurements:
    """One target with this product."""
    rule = {"region": "TC", "cysts": "outer", "three_planes": False, "least_mm": 10, "least_ml": 0.05, "targets": 3}
    chord = {"mm": 10, "low_mm": 9, "high_mm": 11, "ends_ras_mm": [[0, 0, 0], [10, 0, 0]]}
    plane = {"plane": "axial", "file_axis": 2, "slice_index": 0, "long": chord, "short": chord}
    lesion = {"number": 1, "ml": 1, "centre_ras_mm": [0, 0, 0], "measurable": True, "near_limit": False, "target": True}
    planes = [{**plane, "product_mm2": product_mm2}]
    return Measurements.model_validate({"rule": rule, "lesions": [{**lesion, "planes": planes}]})


def comparison(products: tuple[float, float], core_ml: float = 3.0, fates: tuple[str, ...] = ("same",)) -> Comparison:
    rule = {"region": "TC", "cysts": "outer", "three_planes": False, "least_mm": 10, "least_ml": 0.05, "targets": 3}
    volumes = {"TC": {"ml": core_ml}}
    change = {
        **{"earlier_ml": 4.0, "later_ml": core_ml, "change_ml": core_ml - 4, "percent": 25 * (core_ml - 4)},
        **{"low_ml": None, "high_ml": None, "direction": "uncertainty unknown"},
    }
    fit = {"sequence": "t1c", "rotation_deg": 1, "shift_mm": 1, "mutual_information": 1.2, "overlap": 1}
    visits = [
        {"case_id": "x", "volumes_ml": volumes, "measurements": {"rule": rule, "sum_of_products_mm2": product}}
        for product in products
    ]
    step = {
        **{"earlier": 0, "later": 1, "registration": fit, "changes": {"TC": change}},
        "lesions": [{"fate": f, "earlier": [1], "later": [1], "earlier_ml": 0, "later_ml": 0} for f in fates],
        "sum_of_products_percent": 100 * (products[1] / products[0] - 1) if products[0] else None,
    }
    return Comparison.model_validate({"visits": visits, "steps": [step]})


def test_the_example_shows_the_form_and_is_refused(example: dict[str, Any], tmp_path: Path, repository: Path) -> None:
    published = json.loads((repository / "docs/reference/response-rules.schema.json").read_text(encoding="utf-8"))
    assert published == json_schema(), "run `make docs`"
    jsonschema.validate(example, published)
    with pytest.raises(InputError, match="marked as an example"):
        with_response(comparison((100, 100)), read_rules(written(example, tmp_path)))


@pytest.mark.parametrize(
    ("products", "core_ml", "fates", "category"),
    [
        ((100.0, 111.0), 3.0, ("same",), "more"),
        ((100.0, 110.0), 3.0, ("same",), "about the same"),
        ((100.0, 80.0), 3.0, ("same",), "less"),
        ((100.0, 80.0), 3.0, ("same", "new"), "more"),
        ((100.0, 0.0), 0.0, ("gone",), "nothing left"),
        ((0.0, 50.0), 3.0, ("same",), None),
        ((0.0, 50.0), 3.0, ("new",), None),
    ],
)
def test_the_first_category_that_holds_is_said(
    example: dict[str, Any],
    tmp_path: Path,
    products: tuple[float, float],
    core_ml: float,
    fates: tuple[str, ...],
    category: str | None,
) -> None:
    rules = read_rules(written({**example, "example": False}, tmp_path))
    response = with_response(comparison(products, core_ml, fates), rules).response
    assert response is not None
    assert (response.category, response.imaging_part_only) == (category, True)
    assert "source: made up" in response.reason


@pytest.mark.parametrize(
    ("quantity", "later", "limits", "category"),
    [
        ("volume", 119.96, {"least_percent": 20}, "about the same"),
        ("volume", 120.0, {"least_percent": 20}, "more"),
        ("volume", 80.04, {"most_percent": -20}, "about the same"),
        ("volume", 80.0, {"most_percent": -20}, "more"),
        ("sum_of_products", 119.96, {"least_percent": 20}, "about the same"),
        ("sum_of_products", 120.0, {"least_percent": 20}, "more"),
    ],
)
def test_a_limit_is_held_against_the_unrounded_change(
    example: dict[str, Any], tmp_path: Path, quantity: str, later: float, limits: dict[str, float], category: str
) -> None:
    changes = {"example": False, "quantity": quantity, "categories": [{"name": "more", **limits}]}
    rules = read_rules(written({**example, **changes}, tmp_path))
    made = comparison((100.0, 100.0))
    targets = follow_targets(sizes(100.0), sizes(later), made.steps[0].lesions)
    change = _change(MeasuredVolume(100.0), MeasuredVolume(later), 1.0)
    step = made.steps[0].model_copy(
        update={"sum_of_products_percent": percent_of(targets), "targets": targets, "changes": {"TC": change}}
    )
    response = with_response(made.model_copy(update={"steps": [step]}), rules).response
    assert response is not None
    assert response.category == category
    assert f"{later - 100:+.2f}".rstrip("0").rstrip(".") in response.reason
    # What is written stays rounded.
    stored = step.model_dump(mode="json")
    assert stored["changes"]["TC"]["percent"] == stored["sum_of_products_percent"] == round(later - 100, 1)
    assert stored["targets"][0]["later_mm2"] == round(later, 1)


def test_a_change_that_is_a_limit_but_for_arithmetic_reaches_it(example: dict[str, Any], tmp_path: Path) -> None:
    change = _change(MeasuredVolume(4.0), MeasuredVolume(4.8), 1.0)
    assert change.percent is not None and change.percent < 20
    changes = {"example": False, "quantity": "volume", "categories": [{"name": "more", "least_percent": 20}]}
    made = comparison((100.0, 100.0))
    step = made.steps[0].model_copy(update={"changes": {"TC": change}})
    rules = read_rules(written({**example, **changes}, tmp_path))
    response = with_response(made.model_copy(update={"steps": [step]}), rules).response
    assert response is not None and response.category == "more"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sequence": "t2f"}, "another sequence"),
        ({"quantity": "feeling"}, "quantity"),
        ({"categories": [{"name": "x"}]}, "no condition"),
        ({"extra": 1}, "extra"),
        ({"source": ""}, "source"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(
    example: dict[str, Any], tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        with_response(comparison((1, 1)), read_rules(written({**example, "example": False, **change}, tmp_path)))
