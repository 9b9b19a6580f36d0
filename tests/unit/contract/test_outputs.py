"""The table of files: names and kinds are those of earlier versions, and a name tells its role."""

from __future__ import annotations

import json

import pytest
from tests.unit.contract.test_report import old

from hope.contract.outputs import LISTED, Audience, OutputFile, Role, Space
from hope.domain.case import SEQUENCES
from hope.domain.labels import PEDS

CASES = ("case-0123abcd", "a", "x-seg", "case-t1c", "BraTS-PED-00001-000", "t1c-harmonized")


def every_file() -> list[OutputFile]:
    found = []
    for role in LISTED:
        for space, place in role.spec.places.items():
            sequences = SEQUENCES if "{sequence}" in place.file else ("",)
            labels = [label.key for label in PEDS.labels] if "{label}" in place.file else [""]
            found += [OutputFile(role, str(s), label, space) for s in sequences for label in labels]
    return found


@pytest.mark.parametrize("case", CASES)
def test_names_are_unique_and_tell_the_file(case: str) -> None:
    files = every_file()
    names = [output.name(case, version=3) for output in files]
    assert len(set(names)) == len(names)
    assert [OutputFile.of_name(name) for name in names] == files


def test_names_and_kinds_are_those_of_earlier_results() -> None:
    for entry in old()["files"]:
        output = OutputFile.of_name(entry["name"])
        assert output is not None
        assert (output.name(old()["case_id"]), output.kind) == (entry["name"], entry["kind"])


def test_what_is_not_a_file_of_a_case_has_no_role() -> None:
    for name in ("aligned.json", "aligned-t1c.npy", "notes.txt", "case-seg.nii", "seg.nii.gz"):
        assert OutputFile.of_name(name) is None


@pytest.mark.parametrize("output", every_file(), ids=lambda output: output.name("case"))
def test_it_survives_json(output: OutputFile) -> None:
    assert OutputFile.from_json(json.loads(json.dumps(output.to_json()))) == output


def test_rows_without_a_role_or_of_a_newer_version_have_none() -> None:
    for values in ({}, {"role": "invented"}, {"role": "segmentation", "space": "mars"}):
        assert OutputFile.from_json(values) is None


def test_words() -> None:
    image = OutputFile.of(Role.IMAGE, sequence="t2f")
    assert image.kind == "t2f on the atlas grid"
    assert image.title({"t2f": "T2 FLAIR"}) == "T2 FLAIR in atlas space"
    assert (
        OutputFile.of(Role.UNCERTAINTY, detail="share of x").kind == "uncertainty on the atlas grid, 0 to 1: share of x"
    )
    with pytest.raises(ValueError, match="too many values"):
        OutputFile.of(Role.SEGMENTATION)


def test_what_only_stages_read_is_never_listed() -> None:
    kept = [role for role in Role if role.audience is Audience.STAGES]
    assert kept == [Role.UPLOADED, Role.ALIGNED, Role.HARMONIZED, Role.PREDICTION, Role.NOTES]
    for role in kept:
        assert not OutputFile(role).listed
        assert OutputFile(role).kind == ""
    assert OutputFile(Role.SEGMENTATION, space=Space.ATLAS).listed
