"""Categories of response come from a site's table only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from hope.contract.comparison import Comparison
from hope.domain.errors import InputError
from hope.longitudinal.response import json_schema, read_rules, with_response


@pytest.fixture
def example(repository: Path) -> dict[str, Any]:
    text = (repository / "docs/reference/response-rules.example.json").read_text(encoding="utf-8")
    values: dict[str, Any] = json.loads(text)
    return values


def written(values: dict[str, Any], folder: Path) -> Path:
    path = folder / "response-rules.json"
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


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
        "lesions": [{"fate": f, "earlier": [], "later": [], "earlier_ml": 0, "later_ml": 0} for f in fates],
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
