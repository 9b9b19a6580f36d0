"""JSON files of users: a key that stands twice is refused, whatever the file is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hope.cohort.apply import read_model
from hope.cohort.table import read_dictionary
from hope.domain.errors import BundleError, InputError
from hope.domain.json_text import RepeatedKeyError, loads, refuse_repeated_keys
from hope.domain.style import Style
from hope.longitudinal.response import read_rules
from hope.models.bundle import read_bundle
from hope.models.importers import thresholds
from hope.stages.postprocess.postprocess_rules import PostprocessRules
from hope.training.schedule import Folds

FILES: dict[str, tuple[str, str, Callable[[Path], object]]] = {
    "a data dictionary": (
        '{"shoe": {"description": "size", "kind": "number", "least": 1, "most": 50}, '
        '"shoe": {"description": "size", "kind": "category", "values": ["a", "b"]}}',
        "shoe",
        read_dictionary,
    ),
    "a part of a column": (
        '{"shoe": {"description": "size", "kind": "number", "least": 1, "most": 50, "most": 500}}',
        "most",
        read_dictionary,
    ),
    "response categories": (
        '{"format": "hope-response-rules/1", "name": "x", "source": "y", "quantity": "volume", "region": "TC", '
        '"sequence": "t1c", "targets": 3, "reference": "first", "otherwise": "z", '
        '"categories": [{"name": "more", "least_percent": 20, "least_percent": 25}]}',
        "least_percent",
        read_rules,
    ),
    "folds": ('{"folds": [["a"], ["b"]], "folds": [["a", "b"]]}', "folds", Folds.read),
    "a style": (
        '{"format": "hope-style/1", "format": "hope-style/1"}',
        "format",
        lambda p: Style.from_json(p.read_bytes()),
    ),
    "rules of post-processing": ('{"a": 1, "a": 2}', "a", PostprocessRules.from_file),
    "a survival model": ('{"format": "x", "cases": 1, "cases": 2}', "cases", read_model),
    "published thresholds": ('{"a": 1, "a": 2}', "a", thresholds.read_own_rules),
    "a bundle": ('{"id": "a", "id": "b"}', "id", lambda path: read_bundle(path.parent)),
}


@pytest.mark.parametrize("name", FILES)
def test_a_key_twice_is_refused_in_one_sentence(name: str, tmp_path: Path) -> None:
    text, key, read = FILES[name]
    path = tmp_path / "model.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises((InputError, BundleError)) as refused:
        read(path)
    said = str(refused.value)
    assert f'expected each key once in an object, got the key "{key}" twice in one object' in said
    assert str(tmp_path) not in said and "\n" not in said


def test_the_values_are_those_of_json() -> None:
    text = '{"a": {"x": 1}, "b": [{"x": 2}, {"x": null}], "c": 1.5}'
    assert loads(text) == loads(text.encode()) == {"a": {"x": 1}, "b": [{"x": 2}, {"x": None}], "c": 1.5}


@pytest.mark.parametrize("text", ['{"a": 1, "\\u0061": 2}', '[{"b": {"a": 1, "a": 1}}]'])
def test_a_key_is_found_wherever_it_stands(text: str) -> None:
    with pytest.raises(RepeatedKeyError, match='the key "a" twice'):
        refuse_repeated_keys(text)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, b"\xff\xfe\xfd", '{"a": 1}'])
def test_what_else_is_wrong_is_left_to_the_other_parser(text: str | bytes) -> None:
    refuse_repeated_keys(text)
