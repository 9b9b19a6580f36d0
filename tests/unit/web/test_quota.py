"""What a session takes up is counted from the first byte: uploads under way, what they unpack to, what is stored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.unit.web.conftest import MakeGateway
from tests.unit.web.fakes import Gateway, nifti, packed

pytestmark = pytest.mark.anyio

MIB = 2**20


async def opened(gateway: Gateway) -> tuple[httpx.AsyncClient, str]:
    """A client with a session, and a case of it."""
    async with gateway.client() as opener:
        token = (await opener.post("/api/session")).json()["token"]
    client = gateway.client(token)
    return client, (await client.post("/api/cases")).json()["id"]


async def cut_off(sent: int, go_on: asyncio.Event) -> AsyncIterator[bytes]:
    """A body that stops after so many bytes, and ends there when it may go on."""
    yield bytes(sent)
    await go_on.wait()


def noise(voxels: int) -> bytes:
    data = bytes(voxels * 32 * 32 * 2 - 2) + b"\1\2"
    return nifti((voxels, 32, 32), voxels=data, spacing_mm=1.0)


async def test_uploads_that_have_not_ended_count_from_their_first_byte(new_gateway: MakeGateway) -> None:
    gateway = new_gateway(max_upload_mb=8, max_session_mb=12)
    client, case_id = await opened(gateway)
    go_on = asyncio.Event()
    held = [
        asyncio.create_task(
            client.put(
                f"/api/cases/{case_id}/series/{sequence}",
                content=cut_off(10, go_on),
                headers={"Content-Length": str(5 * MIB)},
            )
        )
        for sequence in ("t1n", "t1c")
    ]
    while gateway.store.open_uploads(case_id) < 2:
        await asyncio.sleep(0.02)
    refused = await client.put(f"/api/cases/{case_id}/series/t2f", content=bytes(3 * MIB))
    assert refused.status_code == 413 and refused.json()["expected"] == "at most 12 MiB", refused.text
    other, other_case = await opened(gateway)
    assert (await other.put(f"/api/cases/{other_case}/series/t2f", content=noise(32))).status_code == 200
    go_on.set()
    assert {answer.status_code for answer in await asyncio.gather(*held)} == {400}
    assert gateway.store.open_uploads(case_id) == 0 and gateway.scratch_files() == []
    stored = await client.put(f"/api/cases/{case_id}/series/t2f", content=noise(32))
    assert stored.status_code == 200, stored.text


async def test_an_upload_without_a_length_counts_as_it_grows(new_gateway: MakeGateway) -> None:
    gateway = new_gateway(max_upload_mb=64, max_session_mb=8)
    client, case_id = await opened(gateway)

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield bytes(MIB)

    answer = await client.put(f"/api/cases/{case_id}/series/t1c", content=endless())
    assert answer.status_code == 413 and "8 MiB" in answer.text
    assert gateway.scratch_files() == [] and gateway.store.open_uploads(case_id) == 0


async def test_a_session_has_only_so_many_uploads_at_once(new_gateway: MakeGateway) -> None:
    gateway = new_gateway(max_session_uploads=3)
    client, case_id = await opened(gateway)
    go_on = asyncio.Event()
    headers = {"Content-Length": "1000"}
    held = [
        asyncio.create_task(client.put(f"/api/cases/{case_id}/dicom", content=cut_off(10, go_on), headers=headers))
        for _ in range(3)
    ]
    while gateway.store.open_uploads(case_id) < 3:
        await asyncio.sleep(0.02)
    refused = await client.put(f"/api/cases/{case_id}/series/t2f", content=nifti())
    assert refused.status_code == 429 and refused.headers["retry-after"], refused.text
    other, other_case = await opened(gateway)
    assert (await other.put(f"/api/cases/{other_case}/series/t2f", content=nifti())).status_code == 200
    go_on.set()
    await asyncio.gather(*held)
    assert (await client.put(f"/api/cases/{case_id}/series/t2f", content=nifti())).status_code == 200


async def test_a_small_file_may_unpack_to_what_the_session_may_hold_and_no_more(new_gateway: MakeGateway) -> None:
    gateway = new_gateway(max_session_mb=4)
    client, case_id = await opened(gateway)
    large = packed(noise(4 * 1024))  # 8 MiB of zeros
    assert len(large) < 100_000
    answer = await client.put(f"/api/cases/{case_id}/series/t1c", content=large)
    assert answer.status_code == 413, answer.text
    assert gateway.blob_files() == [] and gateway.scratch_files() == []


async def test_what_a_task_unpacks_counts_while_it_does(new_gateway: MakeGateway, monkeypatch: Any) -> None:
    """A zip of padded gzips: 0.1 MiB sent, and as much on the disk as nobody stops."""
    monkeypatch.setattr("hope.web.case_watch.WATCH_SECONDS", 0.05)
    gateway = new_gateway(max_session_mb=16)
    client, case_id = await opened(gateway)
    most = [0]

    async def run(job: dict[str, Any], reported: Any = None) -> dict[str, Any]:
        assert job["max_bytes"] <= 16 * MIB
        try:
            for number in range(200):
                (Path(job["scratch"]) / f"{number}").write_bytes(bytes(MIB))
                most[0] = number + 1
                await asyncio.sleep(0.02)
        except asyncio.CancelledError:
            most.append(-1)
            raise
        return {"result": {"series": [], "problem": ""}}

    monkeypatch.setattr(gateway.tasks, "run", run)
    answer = await client.put(f"/api/cases/{case_id}/dicom", content=b"PK\x05\x06" + bytes(18))
    assert answer.status_code == 413 and answer.json()["expected"] == "at most 16 MiB", answer.text
    assert most[-1] == -1 and most[0] < 40
    assert gateway.scratch_files() == [] and gateway.store.open_uploads(case_id) == 0


async def test_all_sessions_together_leave_the_disk_some_room(new_gateway: MakeGateway, monkeypatch: Any) -> None:
    gateway = new_gateway(keep_free_mb=1)
    client, case_id = await opened(gateway)
    monkeypatch.setattr(gateway.context.blobs, "free_bytes", lambda: 3 * MIB)
    headers = {"Content-Length": str(3 * MIB)}
    answer = await client.put(f"/api/cases/{case_id}/series/t1c", content=bytes(3 * MIB), headers=headers)
    assert answer.status_code == 507 and "disk is full" in answer.text
    assert (await client.put(f"/api/cases/{case_id}/series/t1c", content=nifti())).status_code == 200


async def test_a_deletion_waits_for_uploads_to_be_gone(gateway: Gateway) -> None:
    client, case_id = await opened(gateway)
    go_on = asyncio.Event()
    held = asyncio.create_task(
        client.put(f"/api/cases/{case_id}/dicom", content=cut_off(10, go_on), headers={"Content-Length": "1000"})
    )
    while gateway.store.open_uploads(case_id) < 1:
        await asyncio.sleep(0.02)
    receipt = (await client.delete("/api/session")).json()
    assert receipt["unconfirmed"] == [] and gateway.scratch_files() == []
    assert (await held).status_code == 404


async def test_an_upload_of_a_gateway_that_died_is_named_in_the_receipt(new_gateway: MakeGateway) -> None:
    gateway = new_gateway(deletion_wait_seconds=0.3)
    client, case_id = await opened(gateway)
    limits = gateway.app.state.components.uploads.claims.limits
    gateway.store.begin_upload(case_id, "a gateway that died", 1000, limits)
    [sentence] = (await client.delete("/api/session")).json()["unconfirmed"]
    assert sentence.startswith("1 upload(s) had not ended")
    gateway.store.end_attempts_of("a gateway that died")
    assert gateway.store.open_uploads(case_id) == 0
