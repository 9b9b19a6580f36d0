"""The body of a call: what is taken, what is refused and how, and whose retry is whose."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hope.contract.options import RunOptions
from hope.endpoint.payload import PayloadError, folder_of, parse, read_json

PUBLISHED = {"input_location": "s3://bucket/case/", "output_location": "s3://bucket/case/results"}


def test_the_published_payload() -> None:
    payload = parse({**PUBLISHED, "job_id": "j.1-A_b", "model_id": "starter"}, "")
    assert payload.input_location == "s3://bucket/case/"
    assert payload.folder == "s3://bucket/case/results/j.1-A_b"
    assert (payload.model_id, payload.outputs, payload.options, payload.named) == ("starter", None, RunOptions(), True)


@pytest.mark.parametrize(
    ("inference_id", "job_id"), [("abc-1", "abc-1"), ("", ""), ("../up", ""), ("..", ""), ("a" * 129, ""), ("a/b", "")]
)
def test_without_a_job_id_the_inference_id_or_the_payload_gives_one(inference_id: str, job_id: str) -> None:
    payload = parse(PUBLISHED, inference_id)
    assert payload.job_id == (job_id or f"payload-{payload.sha256[:32]}")
    assert payload.named is bool(job_id)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"colour": 1}, '"colour" (expected input_location, output_location and if need be job_id, model_id'),
        ({"input_location": None}, "lacks input_location"),
        ({"input_location": 5}, "input_location is not usable"),
        ({"input_location": "https://bucket/x"}, "s3://BUCKET/PREFIX"),
        ({"input_location": "s3://bucket"}, "a whole bucket"),
        ({"input_location": "s3://bucket/"}, "a whole bucket"),
        ({"input_location": "s3://user:secret@bucket/x"}, "a bucket's name"),
        ({"input_location": "s3://bucket/a//b"}, "empty or dotted"),
        ({"output_location": "s3://bucket/../b"}, "empty or dotted"),
        ({"output_location": "s3://bucket/a\nb"}, "empty or dotted"),
        ({"input_location": "s3://bucket/a\ud800b"}, "empty or dotted"),
        ({"output_location": "s3://bucket/\udfff"}, "empty or dotted"),
        ({"output_location": "s3://bucket/" + "a" * 701}, "too long"),
        ({"output_location": "s3://bucket/case/"}, "are the same"),
        ({"job_id": "a/b"}, "job_id is not usable"),
        ({"job_id": ".."}, "job_id is not usable"),
        ({"job_id": ""}, "job_id is not usable"),
        ({"job_id": 7}, "job_id is not usable"),
        ({"model_id": ["x"]}, "model_id is not usable"),
        ({"harmonize": "yes"}, "harmonize is not usable"),
        ({"preprocessed": 1}, "preprocessed is not usable"),
        ({"postprocess": 0}, "postprocess is not usable"),
        ({"uncertainty_map": "x"}, "uncertainty_map is not usable"),
        ({"model": "starter"}, '"model" (expected'),
        ({"outputs": "all"}, '["segmentation"] or ["all"]'),
        ({"outputs": ["all", "all"]}, "outputs is not usable"),
        ({"outputs": [["all"]]}, "outputs is not usable"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(change: dict[str, Any], words: str) -> None:
    with pytest.raises(PayloadError) as caught:
        parse(PUBLISHED | change, "")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("raw", [b"", b"\xff", b"[]", b"null", b"{", b"[" * 100_000])
def test_what_is_no_json_object(raw: bytes) -> None:
    with pytest.raises(PayloadError):
        read_json(raw)


@pytest.mark.parametrize(
    "change",
    [
        {"input_location": "s3://bucket/other"},
        {"output_location": "s3://bucket/other"},
        {"model_id": "m"},
        {"harmonize": True},
        {"preprocessed": False},
        {"postprocess": False},
        {"uncertainty_map": True},
        {"outputs": ["segmentation"]},
    ],
)
def test_each_field_makes_another_payload(change: dict[str, Any]) -> None:
    assert parse(PUBLISHED | change, "").sha256 != parse(PUBLISHED, "").sha256


def test_the_same_call_written_otherwise_is_the_same() -> None:
    other = {"output_location": "s3://bucket/case/results/", "input_location": "s3://bucket/case", "outputs": ["all"]}
    assert parse(other | {"harmonize": None}, "").sha256 == parse(PUBLISHED, "x").sha256


def test_calls_of_earlier_versions_keep_their_hash() -> None:
    """A retry of a job that was done before options were added has to find its result."""
    old = {"input": "s3://bucket/case/", "output": "s3://bucket/case/results", "model": None, "outputs": "all"}
    known = hashlib.sha256(json.dumps({**old, "harmonize": True, "preprocessed": None}, sort_keys=True).encode())
    assert parse(PUBLISHED | {"harmonize": True}, "").sha256 == known.hexdigest()
    assert parse(PUBLISHED | {"harmonize": True, "postprocess": True}, "").sha256 == known.hexdigest()


def test_every_option_of_a_run_can_be_chosen() -> None:
    chosen = {"harmonize": False, "preprocessed": True, "postprocess": False, "uncertainty_map": True}
    chosen |= {"show_head": True, "deface": True}
    assert parse(PUBLISHED | chosen, "").options == RunOptions(**chosen)
    assert {*chosen, "model"} == set(RunOptions.model_fields)


def test_where_a_failure_can_be_told() -> None:
    assert folder_of(PUBLISHED | {"job_id": "j", "colour": 1}, "") == "s3://bucket/case/results/j"
    assert folder_of(PUBLISHED | {"colour": 1}, "") is None
    assert folder_of({"output_location": "nowhere", "job_id": "j"}, "") is None


VALUES = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda v: st.lists(v, max_size=3))


@given(content=st.dictionaries(st.sampled_from([*PUBLISHED, "job_id", "outputs", "model_id"]) | st.text(), VALUES))
def test_any_json_is_taken_or_refused_and_never_leads_outside(content: dict[str, Any]) -> None:
    given_json = read_json(json.dumps(PUBLISHED | content).encode())
    try:
        payload = parse(given_json, "")
    except PayloadError:
        return
    assert payload.folder.startswith(payload.output_location + "/")
    assert not {"", ".", ".."} & set(payload.folder.removeprefix("s3://").split("/"))
