"""Everything that a user may install has a licence that the project allows, and the page of licences says which."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tools import make_licences as licences

REPOSITORY = Path(__file__).resolve().parents[2]
HOW = "run: python tools/make_licences.py"


@pytest.fixture(scope="module")
def found() -> list[licences.Package]:
    return licences.packages()


def rows() -> dict[str, str]:
    lines = licences.PAGE.read_text(encoding="utf-8").splitlines()
    cells = [line.split(" | ") for line in lines if line.startswith("| ") and " | " in line]
    return {row[0].removeprefix("| "): row[1] for row in cells[1:]}


def test_every_dependency_has_an_allowed_licence(found: list[licences.Package]) -> None:
    assert len(found) > 100
    assert {one.name: licences.refused(one.licence) for one in found if licences.refused(one.licence)} == {}


def test_the_page_says_what_is_installed(found: list[licences.Package]) -> None:
    """Another Python or system may install less than the one that wrote the page, and nothing that is not on it."""
    stated = rows()
    assert {one.name: one.licence for one in found if stated.get(one.name) != one.licence} == {}, HOW
    pinned = {re.sub(r"[-_.]+", "-", name).lower() for name in re.findall(r"(?m)^([\w.-]+)==", _constraints())}
    assert set(stated) - pinned <= {"setuptools"}, f"no longer a dependency; {HOW}"


def _constraints() -> str:
    return (REPOSITORY / "constraints.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("expression", "left"),
    [
        ("MIT", []),
        ("Apache-2.0 OR GPL-3.0-only", []),
        ("GPL-3.0-only", ["GPL-3.0-only"]),
        ("MIT AND AGPL-3.0-only", ["AGPL-3.0-only"]),
        ("none stated", ["none stated"]),
    ],
)
def test_a_licence_that_is_not_allowed_is_seen(expression: str, left: list[str]) -> None:
    assert licences.refused(expression) == left


def test_the_list_of_components_names_the_plain_set_with_versions(found: list[licences.Package]) -> None:
    made = json.loads(json.dumps(licences.sbom(found)))
    assert (made["bomFormat"], made["specVersion"]) == ("CycloneDX", "1.6")
    names = {one["name"]: one for one in made["components"]}
    assert names["numpy"]["purl"] == f"pkg:pypi/numpy@{names['numpy']['version']}"
    assert {"torch", "simpleitk"} <= set(names)
    assert not {"boto3", "dbos", "openvino"} & set(names)
    assert all(one["version"] and one["licenses"] for one in names.values())
