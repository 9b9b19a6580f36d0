"""What of an input location is taken: one case by its names, never junk, results or another case."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.endpoint.harness import case

from hope.contract.job import DamagedError
from hope.domain.errors import InputError
from hope.endpoint.inputs import LIST, Limits, NothingThereError, Plan, check_sequences, input_digest, plan_input
from hope.endpoint.payload import parse

LIMITS = Limits(file=1000, total=3000)
AT = "s3://bucket/case/"


@dataclass(frozen=True)
class Entry:
    key: str
    bytes: int


class Shelf:
    """A store that can only be looked at."""

    def __init__(self, sizes: Mapping[str, int], listed: object = None) -> None:
        self._sizes, self._listed = sizes, listed

    def list(self, location: str) -> Iterator[Entry]:
        assert location == AT
        yield from (Entry(key, self._sizes[key]) for key in sorted(self._sizes))

    def get_json(self, location: str) -> Any:
        assert location == AT + LIST
        if isinstance(self._listed, Exception):
            raise self._listed
        return self._listed

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} was called: only names may be looked at")


def plan(names: Any, output: str = "s3://bucket/case/results", listed: object = None) -> Plan:
    sizes = names if isinstance(names, dict) else dict.fromkeys(names, 10)
    payload = parse({"input_location": AT, "output_location": output, "job_id": "j"}, "")
    return plan_input(Shelf(sizes, listed), payload, LIMITS)


def taken(names: Any, **more: Any) -> dict[str, str]:
    return {wanted.key: str(wanted.to) for wanted in plan(names, **more).files}


CASE = list(case())
JUNK = ["junk.bin", "notes.txt", "x-seg.nii.gz", "x-t1c-atlas.nii.gz", "a-mask.nii.gz", "model.pt", "other.nii.gz"]


@pytest.mark.parametrize(
    "names",
    [
        CASE,
        ["A_t1.nii.gz", "A_t1ce.nii.gz", "A_t2.nii.gz", "A_flair.nii.gz"],
        ["sub-01_T1w.nii.gz", "sub-01_ce-gad_T1w.nii.gz", "sub-01_T2w.nii.gz", "sub-01_FLAIR.nii.gz"],
        ["t1n.nii", "t1c.nii", "t2w.nii", "t2f.nii"],
    ],
    ids=["brats-2023", "brats-2021", "bids", "plain"],
)
def test_scans_are_found_by_every_way_of_naming_them(names: list[str]) -> None:
    assert set(taken([*names, *JUNK, "study.zip"])) == set(names)
    assert set(taken([f"sub-01/anat/{name}" for name in names])) == {f"sub-01/anat/{name}" for name in names}


def test_a_folder_keeps_a_name_that_is_no_persons() -> None:
    assert set(taken(["BraTS-PED-00001-000/t1c.nii", "BraTS-PED-00001-000/t2w.nii"]).values()) == {
        "BraTS-PED-00001-000/t1c.nii",
        "BraTS-PED-00001-000/t2w.nii",
    }
    assert set(taken(["Anna Muster/t1c.nii"]).values()) == {"case/t1c.nii"}
    assert taken(["Anna Muster.zip"]) == {"Anna Muster.zip": "case.zip"}


@pytest.mark.parametrize(
    "aside",
    [
        "results/j/runs/r/B-t1c.nii.gz",
        "derivatives/sub-01_T1w.nii.gz",
        ".cache/B-t1c.nii.gz",
        "../B-t1c.nii.gz",
        "a//B-t1c.nii.gz",
        "a/b/c/d/e/f/g/h/B-t1c.nii.gz",
        "B" * 300 + "-t1c.nii.gz",
        "B\x07-t1c.nii.gz",
        "study.zip",
    ],
)
def test_what_lies_aside_is_left_there(aside: str) -> None:
    assert set(taken([f"raw/{name}" for name in CASE] + [aside])) == {f"raw/{name}" for name in CASE}


@given(junk=st.lists(st.text(min_size=1, max_size=30).filter(lambda name: "nii" not in name.lower())))
def test_junk_of_any_name_changes_nothing(junk: list[str]) -> None:
    assert set(taken([*CASE, *junk])) == set(CASE)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], "holds no scan"),
        (JUNK, "holds no scan"),
        ([*CASE, "BraTS-PED-00001-000_t1ce.nii.gz"], "2 files are named as t1c"),
        ([f"{place}/{name}" for place in ("a", "b") for name in CASE], "2 folders"),
        (["one.zip", "two.zip"], "2 zip archives"),
        (["x_t1.nii.gz", "x_t2.nii.gz"], "only t1"),
        ({**dict.fromkeys(CASE, 10), CASE[0]: 1001}, "too large"),
        (dict.fromkeys(CASE, 900), "too large"),
    ],
    ids=["nothing", "junk", "two-of-one", "two-cases", "two-zips", "bare-t1", "large-file", "large-case"],
)
def test_what_is_no_case_is_refused_in_words_that_fit_a_bucket(names: Any, words: str) -> None:
    with pytest.raises(InputError) as caught:
        plan(names)
    assert words in str(caught.value)
    assert "--" not in str(caught.value)
    assert isinstance(caught.value, NothingThereError) is ("no scan" in words)


def test_an_input_inside_the_output_is_refused() -> None:
    payload = parse({"input_location": "s3://bucket/out/in", "output_location": "s3://bucket/out"}, "")
    store: Any = Shelf({})
    store.get_json = lambda location: None
    with pytest.raises(InputError, match="lies inside output_location"):
        plan_input(store, payload, LIMITS)


def test_an_output_beside_the_input_is_no_part_of_it() -> None:
    assert set(taken(CASE, output="s3://bucket/case-results")) == set(CASE)
    assert set(taken(CASE, output="s3://other/case/results")) == set(CASE)


def test_missing_sequences_are_refused_by_name_alone() -> None:
    def missing(present: Any) -> None:
        raise InputError("the model cannot work without t1c", got=", ".join(sorted(present)), fix="add --t1c FILE")

    with pytest.raises(InputError, match=r"without t1c \(got t1n, t2f, t2w\); name the scans"):
        check_sequences(plan([name for name in CASE if "t1c" not in name]), missing)
    check_sequences(plan(["study.zip"]), missing)  # nobody knows yet what is in it


FILE = {"name": "aligned.json", "bytes": 2, "sha256": "a" * 64}
BOTH = [FILE, {**FILE, "name": "harmonized.json"}]


def test_a_harmonized_case_is_what_its_list_says() -> None:
    listed = {"format": "hope-input/1", "case": "c", "files": [*BOTH, {**FILE, "name": "aligned-t1c.npy", "bytes": 99}]}
    found = plan(CASE, listed=listed)
    assert found.kind == "prediction"
    assert found.sequences is None
    assert [(w.key, w.bytes, w.sha256) for w in found.files][-1] == ("aligned-t1c.npy", 99, "a" * 64)


@pytest.mark.parametrize(
    "listed",
    [
        {"format": "hope-input/2", "files": BOTH},
        {"format": "hope-input/1"},
        {"format": "hope-input/1", "files": []},
        {"format": "hope-input/1", "files": [FILE]},
        {"format": "hope-input/1", "files": BOTH * 40},
        {"format": "hope-input/1", "files": [*BOTH, 7]},
        *(
            {"format": "hope-input/1", "files": [*BOTH, {**FILE, **change}]}
            for change in (
                {"name": "../x.json"},
                {"name": ".x.json"},
                {"name": "x.pkl"},
                {"name": 7},
                {"bytes": 0},
                {"bytes": "2"},
                {"sha256": "a"},
                {"sha256": None},
                {"bytes": 10**12},
            )
        ),
        DamagedError("no JSON"),
    ],
    ids=lambda listed: json.dumps(listed, default=str)[-40:],
)
def test_a_list_that_cannot_be_is_refused(listed: object) -> None:
    with pytest.raises(InputError):
        plan([], listed=listed)


@given(st.lists(st.text("0123456789abcdef", min_size=64, max_size=64), min_size=1, max_size=5))
def test_one_hash_for_all_files_in_any_order(hashes: list[str]) -> None:
    assert input_digest(hashes) == input_digest(reversed(hashes))
    assert input_digest(hashes) != input_digest([*hashes, "0" * 64])
