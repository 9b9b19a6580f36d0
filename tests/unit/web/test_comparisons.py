"""Comparing over the REST interface: with whose case, of which mask, and nothing of it is kept."""

from __future__ import annotations

import asyncio
import io
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.unit.web.fakes import Gateway, nifti

from hope.contract.outputs import OutputFile, Role, Space
from hope.domain.ids import new_id
from hope.formats.hashing import sha256_of

pytestmark = pytest.mark.anyio

ZIP = b"PK\x05\x06" + bytes(18)


@pytest.fixture
async def owner(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with gateway.client() as client:
        token = (await client.post("/api/session")).json()["token"]
    async with gateway.client(token) as client:
        yield client


@pytest.fixture
def seen(gateway: Gateway) -> list[dict[str, Any]]:
    """What each comparison was given."""
    given: list[dict[str, Any]] = []
    usual = gateway.tasks.body

    def looking(job: dict[str, Any]) -> dict[str, Any]:
        if job["do"] == "comparison":
            folder = Path(job["in"])
            files = {p.name: sorted(q.name for q in p.iterdir()) for p in sorted(folder.iterdir()) if p.is_dir()}
            limited = job["limits"]["seconds"] > 0
            hashes = {f"{p.parent.name}/{p.name}": sha256_of(p) for p in folder.rglob("*") if p.is_file()}
            more = {"days": job["days"], "sequences": job["sequences"], "limited": limited, "hashes": hashes}
            given.append({"files": files, **more})
        return usual(job)

    gateway.tasks.body = looking
    return given


async def done_case(gateway: Gateway, client: httpx.AsyncClient) -> str:
    case_id: str = (await client.post("/api/cases")).json()["id"]
    await client.post(f"/api/cases/{case_id}/sample")
    await client.post(f"/api/cases/{case_id}/run")
    gateway.finish(gateway.store.case(case_id))
    return case_id


def stored(gateway: Gateway, case_id: str) -> list[tuple[str, str]]:
    """Hashes of the mask on the scan's own grid and of its facts: of the run, then of each correction."""
    files = gateway.store.artifacts(case_id, public=True)
    of = {(file.output, file.version): file.sha256 for file in files}
    found = [(of[OutputFile(Role.SEGMENTATION, space=Space.NATIVE), 0], of[OutputFile.of(Role.FACTS), 0])]
    roles = (Role.CORRECTED_SEGMENTATION, Role.CORRECTED_FACTS)
    for version in range(1, gateway.store.case(case_id).version + 1):
        mask, facts = (of[OutputFile.of(role), version] for role in roles)
        found.append((mask, facts))
    return found


async def test_two_cases_of_a_session_are_compared_and_nothing_stays(
    gateway: Gateway, owner: httpx.AsyncClient, seen: list[dict[str, Any]]
) -> None:
    earlier, later = await done_case(gateway, owner), await done_case(gateway, owner)
    blobs = gateway.blob_files()
    answer = await owner.post(f"/api/cases/{later}/comparison", json={"earlier": earlier, "days": 92})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-disposition"] == f'attachment; filename="case-{later[:8]}-comparison.zip"'
    assert "no-store" in answer.headers["cache-control"]
    with zipfile.ZipFile(io.BytesIO(answer.content)) as made:
        assert made.namelist() == ["comparison.json"]
    (job,) = seen
    assert set(job["files"]) == {"earlier", "later"} and job["days"] == 92 and job["limited"]
    for date, files in job["files"].items():
        images = [f"{sequence}.nii.gz" for sequence in job["sequences"][date]]
        assert images and files == sorted(["mask.nii.gz", "result.json", *images])
    assert gateway.blob_files() == blobs and gateway.scratch_files() == []
    assert [entry.action for entry in gateway.store.audit()][-1] == "case.compare"


async def test_an_earlier_result_is_uploaded_and_not_kept(
    gateway: Gateway, owner: httpx.AsyncClient, seen: list[dict[str, Any]]
) -> None:
    later = await done_case(gateway, owner)
    blobs = gateway.blob_files()
    answer = await owner.post(f"/api/cases/{later}/comparison/upload?days=30", content=ZIP)
    assert answer.status_code == 200, answer.text
    (job,) = seen
    assert job["files"]["earlier"] == ["upload.zip"] and job["days"] == 30 and set(job["sequences"]) == {"later"}
    assert gateway.blob_files() == blobs and gateway.scratch_files() == []


async def test_a_correction_without_facts_is_not_given_up(
    gateway: Gateway, owner: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Corrections of earlier versions have none; a new run would take the correction's place."""
    earlier, later = await done_case(gateway, owner), await done_case(gateway, owner)
    mask = nifti((4, 4, 4), datatype=2, itemsize=1)
    assert (await owner.put(f"/api/cases/{earlier}/segmentation", content=mask)).status_code == 200
    every = gateway.store.artifacts

    def without_facts(*given: Any, **named: Any) -> list[Any]:
        return [file for file in every(*given, **named) if file.output != OutputFile.of(Role.CORRECTED_FACTS)]

    monkeypatch.setattr(gateway.store, "artifacts", without_facts)
    answer = await owner.post(f"/api/cases/{later}/comparison", json={"earlier": earlier})
    assert answer.status_code == 422
    assert "save the corrected mask once more" in answer.text and "run it again" not in answer.text


async def test_the_current_mask_of_each_case_counts(
    gateway: Gateway, owner: httpx.AsyncClient, seen: list[dict[str, Any]]
) -> None:
    earlier, later = await done_case(gateway, owner), await done_case(gateway, owner)
    usual = gateway.tasks.body

    def correcting(job: dict[str, Any]) -> dict[str, Any]:
        if job["do"] == "segmentation":
            (Path(job["out"]) / "result.json").write_bytes((Path(job["in"]) / "result.json").read_bytes() + b" ")
        return usual(job)

    gateway.tasks.body = correcting
    for side in (4, 5):
        mask = nifti((side, 4, 4), datatype=2, itemsize=1)
        saved = await owner.put(f"/api/cases/{earlier}/segmentation", content=mask)
        assert saved.status_code == 200, saved.text
    answer = await owner.post(f"/api/cases/{later}/comparison", json={"earlier": earlier})
    assert answer.status_code == 200, answer.text
    ((run_mask, run_facts), *corrections), (later_files,) = stored(gateway, earlier), stored(gateway, later)
    assert len({run_mask, *(mask for mask, _ in corrections)}) == 3, "equal masks would prove nothing"
    hashes = seen[0]["hashes"]
    assert (hashes["earlier/mask.nii.gz"], hashes["earlier/result.json"]) == corrections[-1]
    assert corrections[-1][1] != run_facts
    assert (hashes["later/mask.nii.gz"], hashes["later/result.json"]) == later_files


async def test_what_cannot_be_compared_is_told_before_anything_is_copied(
    gateway: Gateway, owner: httpx.AsyncClient, seen: list[dict[str, Any]]
) -> None:
    later = await done_case(gateway, owner)
    new: str = (await owner.post("/api/cases")).json()["id"]
    async with gateway.client() as other:
        token = (await other.post("/api/session")).json()["token"]
    async with gateway.client(token) as stranger:
        foreign = await done_case(gateway, stranger)
    path = f"/api/cases/{later}/comparison"
    for body, status in (
        ({"earlier": new}, 409),
        ({"earlier": later}, 422),
        ({"earlier": foreign}, 404),
        ({"earlier": new_id()}, 404),
        ({"earlier": "../x"}, 404),
        ({"earlier": new, "days": 0}, 422),
        ({"earlier": new, "days": "92"}, 422),
        ({"earlier": new, "more": 1}, 422),
        ({}, 422),
    ):
        assert (await owner.post(path, json=body)).status_code == status, body
    assert (await owner.post(f"/api/cases/{new}/comparison", json={"earlier": later})).status_code == 409
    assert (await owner.post(f"{path}/upload", content=b"no zip")).status_code == 415
    assert (await owner.post(f"{path}/upload?days=-3", content=ZIP)).status_code == 422
    assert (await owner.post(f"/api/cases/{new}/comparison/upload", content=ZIP)).status_code == 409
    assert seen == [] and gateway.scratch_files() == []
    assert "case.compare" not in [entry.action for entry in gateway.store.audit()]
    # Neither id tells whether it is another session's or none at all.
    answers = [(await owner.post(path, json={"earlier": one})).content for one in (foreign, new_id())]
    assert answers[0] == answers[1]


@pytest.mark.parametrize("which", ["earlier", "later"])
async def test_a_comparison_ends_with_either_of_its_cases(
    gateway: Gateway, owner: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    cases = {name: await done_case(gateway, owner) for name in ("earlier", "later")}
    monkeypatch.setattr("hope.web.case_watch.WATCH_SECONDS", 0.05)
    begun, ended = asyncio.Event(), asyncio.Event()

    async def endless(job: dict[str, Any], reported: Any = None) -> dict[str, Any]:
        begun.set()
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()
        return {}

    monkeypatch.setattr(gateway.tasks, "run", endless)
    path = f"/api/cases/{cases['later']}/comparison"
    comparing = asyncio.create_task(owner.post(path, json={"earlier": cases["earlier"]}))
    await asyncio.wait_for(begun.wait(), 60)
    assert len(gateway.scratch_files()) == 1
    receipt = (await owner.delete(f"/api/cases/{cases[which]}")).json()
    assert receipt["unconfirmed"] == []
    assert (await asyncio.wait_for(comparing, 60)).status_code == 404
    assert ended.is_set() and gateway.scratch_files() == []
