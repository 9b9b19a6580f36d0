"""The body of an invocation: what is allowed in it, and what is not, in one sentence."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hope.contract.options import RunOptions
from hope.domain.errors import InputError

MOST_BYTES = 2**20
"""A body is a few hundred bytes."""

REQUIRED = ("input_location", "output_location")
CASE_OPTIONS = tuple(name for name in RunOptions.model_fields if name != "model")
"""What can be chosen for a whole case; the model is named by ``model_id``."""

OPTIONAL = ("job_id", "model_id", *CASE_OPTIONS, "outputs")
OUTPUTS = ("segmentation", "all")

_JOB_ID = re.compile(r"(?!\.+$)[A-Za-z0-9._-]{1,128}")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
"""What no key can hold: control characters, and halves of characters, which JSON can spell."""

_LONGEST_PREFIX = 700
"""Bytes of a prefix, so that the keys below it stay within the 1024 that S3 allows."""


class PayloadError(InputError):
    """The body of the call is wrong, whatever lies in the bucket."""


@dataclass(frozen=True)
class Payload:
    """One invocation.

    Attributes:
        input_location: ``s3://bucket/prefix/`` of one case, with a slash at its end.
        output_location: ``s3://bucket/prefix`` for results, without one.
        job_id: the folder below it.
        named: whether the caller chose the job's id; else it is made from the payload.
        model_id: a bundle; None for the endpoint's own.
        options: what is chosen for a whole case; the model is not named there.
        outputs: ``all`` or ``segmentation``; None if not said.
    """

    input_location: str
    output_location: str
    job_id: str
    named: bool
    model_id: str | None = None
    options: RunOptions = field(default_factory=RunOptions)
    outputs: str | None = None

    @property
    def folder(self) -> str:
        """Where this job's results go, without a slash at its end."""
        return f"{self.output_location}/{self.job_id}"

    @property
    def sha256(self) -> str:
        """Of all that decides the answer; an option that is left out adds nothing, so that a new one changes none."""
        return _digest(
            {
                "harmonize": None,
                "preprocessed": None,
                **self.options.chosen(),
                "input": self.input_location,
                "output": self.output_location,
                "model": self.model_id,
                "outputs": self.outputs or "all",
            }
        )


def read_json(raw: bytes) -> dict[str, Any]:
    """The body as a JSON object.

    Raises:
        PayloadError: if it is none.
    """
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError):
        raise PayloadError("the body is not valid JSON", expected=_allowed()) from None
    if not isinstance(content, dict):
        raise PayloadError("the body is no JSON object", expected=_allowed())
    return content


def parse(content: Mapping[str, Any], inference_id: str) -> Payload:
    """Check a body.

    Args:
        content: the JSON object.
        inference_id: what SageMaker's header says; used as the job's id if it can be and none is given.

    Raises:
        PayloadError: naming the first thing that is wrong and what is allowed.
    """
    given = {name: value for name, value in content.items() if value is not None}
    if unknown := sorted(set(content) - {*REQUIRED, *OPTIONAL}):
        names = ", ".join(json.dumps(name[:40]) for name in unknown[:5])
        raise PayloadError(f"the body has unknown keys: {names}", expected=_allowed())
    if absent := [name for name in REQUIRED if name not in given]:
        raise PayloadError(f"the body lacks {' and '.join(absent)}", expected=_allowed())
    source, target = (checked_location(given[name], name) for name in REQUIRED)
    if source == target:
        raise PayloadError("input_location and output_location are the same", fix="let results go to a prefix below it")
    if "model_id" in given and not (isinstance(given["model_id"], str) and given["model_id"]):
        raise PayloadError("model_id is not usable", expected="the id of a model bundle")
    payload = Payload(
        input_location=f"{source}/",
        output_location=target,
        job_id=_job_id(given, inference_id) or "",
        named=True,
        model_id=given.get("model_id"),
        options=_options(given),
        outputs=_outputs(given.get("outputs")),
    )
    if payload.job_id:
        return payload
    return Payload(**{**payload.__dict__, "job_id": f"payload-{payload.sha256[:32]}", "named": False})


def folder_of(content: Mapping[str, Any], inference_id: str) -> str | None:
    """Where a failure can be told even if the body is wrong elsewhere; None if that place is not clear either."""
    try:
        target = checked_location(content.get("output_location"), "output_location")
        job_id = _job_id(content, inference_id)
    except PayloadError:
        return None
    return f"{target}/{job_id}" if job_id else None


def checked_location(location: object, name: str) -> str:
    """``s3://bucket/prefix`` without a slash at its end.

    Raises:
        PayloadError: if it is anything else; what was given is not repeated.
    """
    expected = "s3://BUCKET/PREFIX"
    if not isinstance(location, str) or not location.startswith("s3://"):
        raise PayloadError(f"{name} is not usable", expected=expected, got="something else")
    bucket, _, prefix = location.removeprefix("s3://").partition("/")
    prefix = prefix.removesuffix("/")
    if not _BUCKET.fullmatch(bucket):
        raise PayloadError(f"{name} is not usable", expected=expected, got="a bucket's name that cannot be one")
    if not prefix:
        raise PayloadError(f"{name} is not usable", expected=expected, got="a whole bucket")
    if _CONTROL.search(prefix) or any(part in ("", ".", "..") for part in prefix.split("/")):
        raise PayloadError(f"{name} is not usable", expected=expected, got="a prefix with empty or dotted parts")
    if len(prefix.encode("utf-8", "replace")) > _LONGEST_PREFIX:
        raise PayloadError(f"{name} is too long", expected=f"at most {_LONGEST_PREFIX} bytes")
    return f"s3://{bucket}/{prefix}"


def _job_id(given: Mapping[str, Any], inference_id: str) -> str | None:
    job_id = given.get("job_id")
    if job_id is None:
        return inference_id if _JOB_ID.fullmatch(inference_id) else None
    if not isinstance(job_id, str) or not _JOB_ID.fullmatch(job_id):
        expected = "1 to 128 letters, digits, dots, dashes and underscores, not dots alone"
        raise PayloadError("job_id is not usable", expected=expected)
    return job_id


def _options(given: Mapping[str, Any]) -> RunOptions:
    try:
        return RunOptions.checked({name: given[name] for name in CASE_OPTIONS if name in given})
    except InputError as error:
        raise PayloadError(error.what, expected=error.expected) from None


def _outputs(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 1 or value[0] not in OUTPUTS:
        raise PayloadError("outputs is not usable", expected=" or ".join(f'["{name}"]' for name in OUTPUTS))
    return str(value[0])


def _allowed() -> str:
    return f"{', '.join(REQUIRED)} and if need be {', '.join(OPTIONAL)}"


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
