"""What is saved is kept: corrections that overlap, scans that come later, assignments beside a run."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import threading
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.unit.web.fakes import Gateway, nifti

from hope.contract.job import CaseRecord
from hope.domain.errors import FullError, OutputError
from hope.testing import short_stages

pytestmark = pytest.mark.anyio


@pytest.fixture
async def client(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with gateway.client() as opener:
        token = (await opener.post("/api/session")).json()["token"]
    async with gateway.client(token) as client:
        yield client


@pytest.fixture
async def case_id(client: httpx.AsyncClient) -> str:
    made: str = (await client.post("/api/cases")).json()["id"]
    return made


def scan(number: int) -> bytes:
    return nifti(voxels=bytes((number + at) % 251 for at in range(240)))


async def sequences(client: httpx.AsyncClient, case_id: str) -> dict[str, str | None]:
    return {s["key"]: s["sequence"] for s in (await client.get(f"/api/cases/{case_id}")).json()["series"]}


async def stored(client: httpx.AsyncClient, case_id: str, key: str) -> bytes:
    """The voxels under a key."""
    answer = await client.get(f"/api/cases/{case_id}/series/{key}")
    assert answer.status_code == 200, answer.text
    return answer.content[-240:]


def study(numbers: Mapping[str, int]) -> Any:
    """A task that finds these scans in any archive: key -> number of the scan, assigned if the key is a sequence."""

    def body(job: Mapping[str, Any]) -> dict[str, Any]:
        series = []
        for key, number in numbers.items():
            (Path(job["out"]) / f"{key}.nii").write_bytes(scan(number))
            sequence = None if key.startswith("series-") else key
            series.append({"key": key, "sequence": sequence, "file": f"{key}.nii", "warnings": []})
        return {"result": {"series": series, "problem": ""}}

    return body


ZIP = b"PK\x05\x06" + bytes(18)


async def send(gateway: Gateway, client: httpx.AsyncClient, case_id: str, numbers: Mapping[str, int]) -> dict[str, Any]:
    usual, gateway.tasks.body = gateway.tasks.body, study(numbers)
    answer = await client.put(f"/api/cases/{case_id}/dicom", content=ZIP)
    gateway.tasks.body = usual
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_corrections_that_overlap_are_all_fetched_under_the_names_that_were_answered(
    gateway: Gateway, client: httpx.AsyncClient, case_id: str
) -> None:
    await client.post(f"/api/cases/{case_id}/sample")
    await client.post(f"/api/cases/{case_id}/run")
    gateway.finish(gateway.store.case(case_id))
    together = threading.Barrier(2)

    def body(job: dict[str, Any]) -> dict[str, Any]:
        with contextlib.suppress(threading.BrokenBarrierError):  # fewer at once are no fault
            together.wait(3)
        return short_stages.run(job, lambda message, share: None)

    gateway.tasks.body = body
    masks = [nifti((4, 4, 4), datatype=2, itemsize=1, voxels=bytes([number]) * 64) for number in range(4)]
    answers = await asyncio.gather(*(client.put(f"/api/cases/{case_id}/segmentation", content=m) for m in masks))
    assert [answer.status_code for answer in answers] == [200] * 4
    assert sorted(answer.json()["version"] for answer in answers) == [1, 2, 3, 4]
    for answer, mask in zip(answers, masks, strict=True):
        said = answer.json()
        assert said["name"] == f"case-{case_id[:8]}-seg-v{said['version']}.nii.gz"
        fetched = await client.get(f"/api/cases/{case_id}/files/{said['name']}")
        assert gzip.decompress(fetched.content) == mask


async def test_a_second_study_replaces_nothing(gateway: Gateway, client: httpx.AsyncClient, case_id: str) -> None:
    await send(gateway, client, case_id, {"t2f": 1, "series-1": 2})
    await client.put(f"/api/cases/{case_id}/assignments", json={"t1c": "series-1"})
    found = await send(gateway, client, case_id, {"t2f": 3, "t1n": 4, "series-1": 5})
    assert [(s["key"], s["sequence"]) for s in found["series"]] == [
        ("t2f-2", None),
        ("t1n", "t1n"),
        ("series-2", None),
    ]
    assert "t2f-2" in found["problem"]
    assert await sequences(client, case_id) == {
        "t1n": "t1n", "series-1": "t1c", "t2f": "t2f", "t2f-2": None, "series-2": None
    }  # fmt: skip
    kept = {"t2f": 1, "series-1": 2, "t2f-2": 3, "t1n": 4, "series-2": 5}
    for key, number in kept.items():
        assert await stored(client, case_id, key) == scan(number)[-240:]


async def test_the_same_study_twice_is_there_once(gateway: Gateway, client: httpx.AsyncClient, case_id: str) -> None:
    first = await send(gateway, client, case_id, {"t2f": 1, "series-1": 2})
    files = gateway.blob_files()
    assert await send(gateway, client, case_id, {"t2f": 1, "series-1": 2}) == first
    assert gateway.blob_files() == files


async def test_a_scan_that_was_assigned_elsewhere_stays_when_its_keys_sequence_is_sent(
    gateway: Gateway, client: httpx.AsyncClient, case_id: str
) -> None:
    await client.put(f"/api/cases/{case_id}/series/t1c", content=scan(1))
    await client.put(f"/api/cases/{case_id}/assignments", json={"t1n": "t1c"})
    answer = (await client.put(f"/api/cases/{case_id}/series/t1c", content=scan(2))).json()
    assert (answer["key"], answer["sequence"], "replaced" in answer) == ("t1c-2", "t1c", False)
    assert await sequences(client, case_id) == {"t1c": "t1n", "t1c-2": "t1c"}
    assert await stored(client, case_id, "t1c") == scan(1)[-240:]
    assert len(gateway.blob_files()) == 2


async def test_what_is_replaced_is_said(gateway: Gateway, client: httpx.AsyncClient, case_id: str) -> None:
    first = (await client.put(f"/api/cases/{case_id}/series/t1c", content=scan(1))).json()
    second = (await client.put(f"/api/cases/{case_id}/series/t1c", content=scan(2))).json()
    assert second["key"] == "t1c"
    assert {name: second["replaced"][name] for name in ("key", "sequence", "sha256")} == {
        "key": "t1c", "sequence": "t1c", "sha256": first["sha256"]
    }  # fmt: skip
    assert len(gateway.blob_files()) == 1
    await send(gateway, client, case_id, {"series-1": 3})
    await client.put(f"/api/cases/{case_id}/assignments", json={"t1c": "series-1"})
    third = (await client.put(f"/api/cases/{case_id}/series/t1c", content=scan(4))).json()
    assert (third["key"], third["unassigned"]) == ("t1c-2", ["series-1"])
    assert await stored(client, case_id, "series-1") == scan(3)[-240:]


async def test_a_scan_is_replaced_by_its_etag(gateway: Gateway, client: httpx.AsyncClient, case_id: str) -> None:
    await send(gateway, client, case_id, {"series-1": 1})
    etag = (await client.get(f"/api/cases/{case_id}/series/series-1")).headers["etag"]
    path = f"/api/cases/{case_id}/series/t2w"
    answer = (await client.put(path, content=scan(2), headers={"If-Match": etag})).json()
    assert (answer["key"], answer["replaced"]["key"]) == ("series-1", "series-1")
    stale = await client.put(path, content=scan(3), headers={"If-Match": etag})
    assert stale.status_code == 412 and stale.json()["type"] == "/problems/changed"
    assert await stored(client, case_id, "series-1") == scan(2)[-240:]
    assert len(gateway.blob_files()) == 1


async def test_one_scan_is_deleted_by_its_key_and_the_key_is_not_given_again(
    gateway: Gateway, client: httpx.AsyncClient, case_id: str
) -> None:
    await client.put(f"/api/cases/{case_id}/series/t1c", content=scan(1))
    await client.put(f"/api/cases/{case_id}/assignments", json={"t1n": "t1c"})
    await client.put(f"/api/cases/{case_id}/series/t1c", content=scan(2))
    left = await client.delete(f"/api/cases/{case_id}/series/t1c")
    assert left.status_code == 200
    assert [(s["key"], s["sequence"]) for s in left.json()["series"]] == [("t1c-2", "t1c")]
    assert len(gateway.blob_files()) == 1
    assert (await client.delete(f"/api/cases/{case_id}/series/t1c")).status_code == 422
    assert (await client.put(f"/api/cases/{case_id}/series/t1n", content=scan(3))).json()["key"] == "t1n"
    await client.delete(f"/api/cases/{case_id}/series/t1c-2")
    assert (await client.put(f"/api/cases/{case_id}/series/t1c", content=scan(4))).json()["key"] == "t1c-3"
    await client.post(f"/api/cases/{case_id}/run")
    assert (await client.delete(f"/api/cases/{case_id}/series/t1n")).status_code == 409


async def test_a_study_is_stored_whole_or_not_at_all(
    gateway: Gateway, client: httpx.AsyncClient, case_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third of four scans does not fit on the disk any more."""
    put, count = gateway.context.blobs.put_file, iter(range(9))

    def full(*arguments: Any) -> None:
        if next(count) == 2:
            raise OutputError("cannot write a file of the store: the disk is full; free some space")
        put(*arguments)

    monkeypatch.setattr(gateway.context.blobs, "put_file", full)
    gateway.tasks.body = study({"t1n": 1, "t1c": 2, "t2w": 3, "series-1": 4})
    answer = await client.put(f"/api/cases/{case_id}/dicom", content=ZIP)
    assert answer.status_code == 507
    assert await sequences(client, case_id) == {} and gateway.blob_files() == []


async def test_what_is_kept_by_a_commit_whose_answer_is_lost_can_be_fetched(
    gateway: Gateway, client: httpx.AsyncClient, case_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def committed_and_not_answered(name: str) -> None:
        write = getattr(gateway.store, name)

        def call(*arguments: Any, **more: Any) -> None:
            write(*arguments, **more)
            raise ConnectionError("the database does not answer")

        monkeypatch.setattr(gateway.store, name, call)

    for name in ("put_series", "add_segmentation"):
        committed_and_not_answered(name)
    there = f"/api/cases/{case_id}"
    assert (await client.put(f"{there}/series/t1c", content=scan(1))).status_code == 503
    assert await stored(client, case_id, "t1c") == scan(1)[-240:]
    await client.post(f"{there}/run")
    gateway.finish(gateway.store.case(case_id))
    mask = nifti((4, 4, 4), datatype=2, itemsize=1)
    assert (await client.put(f"{there}/segmentation", content=mask)).status_code == 503
    kept = [file for file in (await client.get(f"{there}/files")).json()["files"] if file["version"] == 1]
    assert kept
    for file in kept:
        assert (await client.get(f"{there}/files/{file['name']}")).status_code == 200


async def test_assignments_beside_a_run_are_all_made_or_none(gateway: Gateway, client: httpx.AsyncClient) -> None:
    """The run has the scans that the answer to the assignments speaks of."""
    for _ in range(15):
        case_id = (await client.post("/api/cases")).json()["id"]
        for number, key in enumerate(("t1n", "t1c", "t2w", "t2f")):
            await client.put(f"/api/cases/{case_id}/series/{key}", content=scan(number))
        wanted = {"t1n": "t2f", "t1c": "t1n", "t2w": None, "t2f": "t1c"}
        assigned, run = await asyncio.gather(
            client.put(f"/api/cases/{case_id}/assignments", json=wanted), client.post(f"/api/cases/{case_id}/run")
        )
        assert run.status_code == 202 and assigned.status_code in (200, 409)
        after = await sequences(client, case_id)
        untouched = {key: key for key in ("t1n", "t1c", "t2w", "t2f")}
        changed = {"t2f": "t1n", "t1n": "t1c", "t1c": "t2f", "t2w": None}
        assert after == (changed if assigned.status_code == 200 else untouched)
        assert {s["key"]: s["sequence"] for s in run.json()["series"]} == after
        current: CaseRecord = gateway.store.case(case_id)
        assert json.loads(json.dumps({s.key: s.sequence for s in current.series})) == after
        gateway.store.cancel_case(case_id)


async def test_two_assignments_at_once_end_as_one_of_them(client: httpx.AsyncClient) -> None:
    for _ in range(20):
        case_id = (await client.post("/api/cases")).json()["id"]
        for number, key in enumerate(("t1n", "t1c")):
            await client.put(f"/api/cases/{case_id}/series/{key}", content=scan(number))
        wanted = [{"t1n": "t1c", "t1c": "t1n"}, {"t2w": "t1n", "t2f": "t1c", "t1n": None, "t1c": None}]
        answers = await asyncio.gather(*(client.put(f"/api/cases/{case_id}/assignments", json=one) for one in wanted))
        assert [answer.status_code for answer in answers] == [200, 200]
        assert await sequences(client, case_id) in ({"t1c": "t1n", "t1n": "t1c"}, {"t1n": "t2w", "t1c": "t2f"})


async def test_a_full_disk_is_said_before_anything_is_stored_and_reading_goes_on(
    gateway: Gateway, client: httpx.AsyncClient, case_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await client.put(f"/api/cases/{case_id}/series/t1c", content=scan(1))
    usual = gateway.context.blobs.free_bytes
    monkeypatch.setattr(gateway.context.blobs, "free_bytes", lambda: 1000)
    files = gateway.blob_files()
    for method, path in (("PUT", "series/t1n"), ("PUT", "dicom"), ("POST", "sample")):
        answer = await client.request(method, f"/api/cases/{case_id}/{path}", content=ZIP)
        assert answer.status_code == 507 and "the disk is full" in answer.json()["detail"], answer.text
    ready = await client.get("/readyz")
    assert ready.status_code == 503 and ready.json()["detail"] == "disk is full"
    assert await stored(client, case_id, "t1c") == scan(1)[-240:]
    assert gateway.blob_files() == files and gateway.scratch_files() == []
    monkeypatch.setattr(gateway.context.blobs, "free_bytes", usual)
    assert (await client.get("/readyz")).status_code == 200


@pytest.mark.parametrize("task", ["dicom", "sample", "segmentation"])
async def test_a_task_that_meets_a_full_disk_is_a_507(
    gateway: Gateway, client: httpx.AsyncClient, case_id: str, task: str
) -> None:
    await client.post(f"/api/cases/{case_id}/sample")
    await client.post(f"/api/cases/{case_id}/run")
    gateway.finish(gateway.store.case(case_id))
    gateway.app.state.components.intake._sample = None

    def body(job: dict[str, Any]) -> dict[str, Any]:
        raise FullError(f"{job['do']}: the disk is full; free some space, then it goes on")

    gateway.tasks.body = body
    method, content = ("POST", b"") if task == "sample" else ("PUT", ZIP)
    answer = await client.request(method, f"/api/cases/{case_id}/{task}", content=content)
    assert answer.status_code == 507 and "the disk is full" in answer.json()["detail"], answer.text


async def test_a_download_does_not_fail_for_an_audit_row_that_cannot_be_written(
    gateway: Gateway, client: httpx.AsyncClient, case_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await client.put(f"/api/cases/{case_id}/series/t1c", content=scan(1))

    def full(*_: Any) -> None:
        raise FullError("the database cannot be written: the disk is full; free some space")

    with monkeypatch.context() as patch:
        patch.setattr(gateway.store, "append_audit", full)
        assert await stored(client, case_id, "t1c") == scan(1)[-240:]
    await stored(client, case_id, "t1c")
    said = [(entry.action, entry.outcome) for entry in gateway.store.audit()][-2:]
    assert said == [("file.download", "ok (written late)"), ("file.download", "ok")]


async def test_an_upload_has_not_ended_while_its_folder_cannot_be_deleted(
    gateway: Gateway, client: httpx.AsyncClient, case_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A converter that was killed may write on; a receipt must not say that nothing is left then."""
    monkeypatch.setattr("hope.web.uploads.CLOSE_SECONDS", 0.05)
    with monkeypatch.context() as patch:
        patch.setattr("hope.jobs.scratch.shutil.rmtree", lambda *_, **__: None)
        assert (await client.put(f"/api/cases/{case_id}/series/t1c", content=scan(1))).status_code == 200
        assert gateway.scratch_files() != []
        assert gateway.store.open_uploads(case_id) == 1
    assert (await client.put(f"/api/cases/{case_id}/series/t2w", content=scan(2))).status_code == 200
    assert gateway.scratch_files() == []
    assert gateway.store.open_uploads(case_id) == 0
