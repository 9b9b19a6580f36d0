"""What a child works on for too long is named as what it is: an upload, what an archive sends, a comparison."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hope.domain.errors import InputError
from hope.domain.limits import DEFAULT_LIMITS
from hope.web.reading import UploadReader

pytestmark = pytest.mark.anyio


async def _for_ever(_job: dict[str, Any]) -> dict[str, Any]:
    await asyncio.Event().wait()
    return {}


@pytest.mark.parametrize(
    ("task", "upload_bytes", "said", "fix"),
    [
        ("dicom", 5, "the upload takes longer", "fewer or smaller scans"),
        ("archive-pull", None, "what the archive sends takes longer", "smaller study"),
        ("comparison", None, "the comparison takes longer", "hope compare"),
        ("comparison", 5, "the comparison takes longer", "hope compare"),
    ],
)
async def test_the_sentence_says_what_took_too_long(
    tmp_path: Path, task: str, upload_bytes: int | None, said: str, fix: str
) -> None:
    settings = SimpleNamespace(reading_limits=replace(DEFAULT_LIMITS, seconds=0.0))
    reader = UploadReader(SimpleNamespace(settings=settings, tasks=SimpleNamespace(run=_for_ever)))  # type: ignore[arg-type]
    with pytest.raises(InputError, match=said) as caught:
        await reader.run({"do": task}, tmp_path, upload_bytes)
    assert fix in caught.value.fix


async def test_the_child_is_told_the_same_words(tmp_path: Path) -> None:
    """It is the child that notices that its memory does not suffice."""
    jobs: list[dict[str, Any]] = []

    async def done(job: dict[str, Any]) -> dict[str, Any]:
        jobs.append(job)
        return {}

    settings = SimpleNamespace(reading_limits=DEFAULT_LIMITS)
    reader = UploadReader(SimpleNamespace(settings=settings, tasks=SimpleNamespace(run=done)))  # type: ignore[arg-type]
    await reader.run({"do": "comparison"}, tmp_path, 5)
    await reader.run({"do": "dicom"}, tmp_path, 5)
    assert [job["called"][0] for job in jobs] == ["the comparison", "the upload"]
