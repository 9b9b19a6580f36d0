"""Bad uploads: each a 4xx problem in one sentence, with disk and memory back to where they were."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from tests.unit.web.conftest import MakeGateway
from tests.unit.web.fakes import Gateway, chunks_of, nifti, packed
from tests.unit.web.test_api import done_case, new_case, problem_of

from hope.domain.errors import OutputError
from hope.jobs import scan_task
from hope.web import uploads

pytestmark = pytest.mark.anyio

MIB = 2**20
MARK = "Surnamemark"


def _patched(offset: int, kind: str, *values: Any, **given: Any) -> bytes:
    raw = bytearray(nifti(**given))
    struct.pack_into("<" + kind, raw, offset, *values)
    return bytes(raw)


def _zip(**files: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def _nan_affine() -> bytes:
    return _patched(280, "4f", float("nan"), 0, 0, 0)


BAD: dict[str, tuple[bytes, int]] = {
    "empty": (b"", 422),
    "one byte": (b"\x1f", 415),
    "text": (b"Name: Surnamemark\n" * 30, 415),
    "html": (b"<html>Surnamemark</html>" * 30, 415),
    "png": (b"\x89PNG\r\n\x1a\n" + bytes(400), 415),
    "zip": (_zip(a=nifti()), 415),
    "zip in gzip": (packed(_zip(a=nifti())), 415),
    "dicom": (bytes(128) + b"DICM" + bytes(600), 415),
    "gzip of nothing": (packed(b""), 415),
    "gzip of gzip": (packed(packed(nifti())), 415),
    "gzip cut": (packed(nifti((40, 40, 40)))[:3000], 422),
    "cut in header": (nifti()[:200], 422),
    "cut in voxels": (nifti((40, 40, 40))[:5000], 422),
    "zero bomb with a small header": (packed(nifti() + bytes(80 * MIB)), 422),
    "bomb with an honest header": (packed(nifti((500, 500, 500), voxels=bytes(250 * 10**6))), 413),
    "larger than may be unpacked": (packed(nifti((350, 350, 350))), 413),
    "10^12 voxels": (nifti((10000, 10000, 10000), voxels=b""), 422),
    "10^12 voxels in gzip": (packed(nifti((10000, 10000, 10000), voxels=b"")), 422),
    "32767^3 voxels of 8 bytes": (nifti((32767, 32767, 32767), datatype=64, itemsize=8, voxels=b""), 422),
    "4D": (nifti((4, 5, 6, 3), voxels=bytes(720)), 422),
    "2D": (nifti((40, 50), voxels=bytes(4000)), 422),
    "7D": (nifti((4, 5, 6, 1, 2, 1, 2), voxels=bytes(960)), 422),
    "negative size": (nifti((4, -5, 6), voxels=bytes(240)), 422),
    "zero size": (nifti((0, 5, 6), voxels=b"x"), 422),
    "rgb": (nifti(datatype=128, itemsize=3), 422),
    "rgba": (nifti(datatype=2304, itemsize=4), 422),
    "complex": (nifti(datatype=32, itemsize=8), 422),
    "unknown type": (nifti(datatype=77), 422),
    "no orientation": (nifti(sform=False), 422),
    "nan orientation": (_nan_affine(), 422),
    "zero spacing": (_patched(80, "3f", 0, 0, 0), 422),
    "voxels before the header ends": (_patched(108, "f", 12.0), 422),
    "voxels a gigabyte away": (_patched(108, "f", 1e9), 422),
    "two-file half": (nifti().replace(b"n+1\0", b"ni1\0"), 422),
    "all voxels 0": (nifti(voxels=bytes(240)), 422),
}


@pytest.fixture
async def client(new_gateway: MakeGateway) -> AsyncIterator[tuple[Gateway, httpx.AsyncClient, str]]:
    """A gateway with limits that a test can reach, a client with a session, and its case."""
    gateway = new_gateway(max_upload_mb=96, max_unpacked_mb=80)
    async with gateway.client() as own:
        await own.post("/api/session")
        yield gateway, own, await new_case(own)


def _clean(gateway: Gateway) -> bool:
    return gateway.blob_files() == [] and gateway.scratch_files() == []


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_scan_is_one_sentence_and_leaves_nothing(
    client: tuple[Gateway, httpx.AsyncClient, str], name: str
) -> None:
    gateway, own, case_id = client
    content, status = BAD[name]
    before = psutil.Process().memory_info().rss
    answer = await own.put(f"/api/cases/{case_id}/series/t1c", content=chunks_async(content))
    body = problem_of(answer, status)
    assert MARK not in answer.text and str(gateway.folder) not in answer.text
    assert body["detail"].count("\n") == 0 and 20 < len(body["detail"]) < 400
    assert "t1c" in body["detail"]
    assert _clean(gateway) and gateway.store.case(case_id).series == ()
    assert psutil.Process().memory_info().rss - before < 24 * MIB


async def chunks_async(content: bytes) -> AsyncIterator[bytes]:
    """Chunked encoding: no Content-Length."""
    for chunk in chunks_of(content):
        yield chunk


async def test_the_table_of_bad_scans_is_not_just_refused_as_such(
    client: tuple[Gateway, httpx.AsyncClient, str],
) -> None:
    """What the bad ones are made from is accepted: so their refusals mean what they say."""
    gateway, own, case_id = client
    for content in (nifti(), packed(nifti()), nifti((4, 5, 6, 1)), nifti(datatype=64, itemsize=8)):
        answer = await own.put(f"/api/cases/{case_id}/series/t1c", content=chunks_async(content))
        assert answer.status_code == 200, answer.text
    assert len(gateway.blob_files()) == 1 and gateway.scratch_files() == []


async def test_too_much_is_refused_before_and_while_it_comes(
    client: tuple[Gateway, httpx.AsyncClient, str],
) -> None:
    gateway, own, case_id = client
    path = f"/api/cases/{case_id}/series/t1c"
    declared = await own.put(path, content=b"x", headers={"Content-Length": str(97 * MIB)})
    assert problem_of(declared, 413)["expected"] == "at most 96 MiB"
    before = psutil.Process().memory_info().rss
    streamed = await own.put(path, content=endless())
    assert problem_of(streamed, 413)["expected"] == "at most 96 MiB"
    assert psutil.Process().memory_info().rss - before < 24 * MIB
    assert _clean(gateway)


async def endless() -> AsyncIterator[bytes]:
    """More than any limit."""
    chunk = bytes(65536)
    for _ in range(10 * 16 * 1024):
        yield chunk


@pytest.mark.parametrize("length", ["10", "100000"])
async def test_a_lying_length_is_a_400(client: tuple[Gateway, httpx.AsyncClient, str], length: str) -> None:
    gateway, own, case_id = client
    answer = await own.put(
        f"/api/cases/{case_id}/series/t1c", content=nifti((20, 20, 20)), headers={"Content-Length": length}
    )
    assert "Content-Length" in problem_of(answer, 400)["detail"]
    assert _clean(gateway)


@pytest.mark.parametrize("length", ["-1", "1e3", "٣", "9" * 30, ""])
async def test_an_odd_length_is_a_400(client: tuple[Gateway, httpx.AsyncClient, str], length: str) -> None:
    gateway, own, case_id = client
    answer = await own.put(
        f"/api/cases/{case_id}/series/t1c",
        content=b"",
        headers=[(b"Content-Length", length.encode())],
    )
    assert answer.status_code in (400, 413, 422)
    assert _clean(gateway)


@pytest.mark.parametrize("name", ["../../etc/passwd", f"{MARK}^Givenmark.nii.gz", "a\\b.nii", "con"])
async def test_no_file_name_is_taken_from_anywhere(client: tuple[Gateway, httpx.AsyncClient, str], name: str) -> None:
    gateway, own, case_id = client
    answer = await own.put(
        f"/api/cases/{case_id}/series/t1c",
        content=nifti(text=MARK.encode() * 9, offset=800),
        headers={"Content-Disposition": f'attachment; filename="{name}"', "X-File-Name": name},
    )
    assert answer.status_code == 200
    everything = b"".join(path.read_bytes() for path in gateway.folder.rglob("*") if path.is_file())
    names = " ".join(str(path) for path in gateway.folder.rglob("*"))
    assert MARK.encode() not in everything and MARK not in names and "passwd" not in names
    for sequence in ("..%2f..%2fx", "t1c.nii", "t1C", "%00"):
        problem = await own.put(f"/api/cases/{case_id}/series/{sequence}", content=nifti())
        assert problem.status_code in (404, 405, 422)
        problem_of(problem, problem.status_code)


async def test_nobody_else_can_read_an_upload_in_flight(
    client: tuple[Gateway, httpx.AsyncClient, str], monkeypatch: Any
) -> None:
    _, own, case_id = client
    seen: list[int] = []
    clean = scan_task.clean_nifti

    def watching(source: Path, *rest: Any) -> Any:
        seen.extend(path.stat().st_mode & 0o077 for path in (source, source.parent))
        return clean(source, *rest)

    monkeypatch.setattr(scan_task, "clean_nifti", watching)
    assert (await own.put(f"/api/cases/{case_id}/series/t1c", content=nifti())).status_code == 200
    assert seen == [0, 0]


async def test_a_full_disk_is_a_507_and_leaves_nothing(
    client: tuple[Gateway, httpx.AsyncClient, str], monkeypatch: Any
) -> None:
    gateway, own, case_id = client

    class Full(io.BytesIO):
        def write(self, _: Any) -> int:
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(uploads, "_open_private", lambda path: Full())
        answer = await own.put(f"/api/cases/{case_id}/series/t1c", content=nifti())
        assert "disk is full" in problem_of(answer, 507)["detail"]
    assert _clean(gateway)

    def refuse(*_: Any) -> None:
        raise OutputError("cannot write a file of the store: the disk is full; free some space")

    monkeypatch.setattr(gateway.context.blobs, "put_file", refuse)
    answer = await own.put(f"/api/cases/{case_id}/series/t1c", content=nifti())
    assert "disk is full" in problem_of(answer, 507)["detail"]
    assert _clean(gateway)


async def test_a_client_that_goes_away_leaves_nothing(client: tuple[Gateway, httpx.AsyncClient, str]) -> None:
    gateway, own, case_id = client
    token = dict(own.cookies)["hope_session"]
    sent: list[dict[str, Any]] = []
    messages = iter(
        [{"type": "http.request", "body": nifti((40, 40, 40))[:60000], "more_body": True}, {"type": "http.disconnect"}]
    )

    async def receive() -> dict[str, Any]:
        return next(messages)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "PUT",
        "scheme": "http",
        "path": f"/api/cases/{case_id}/series/t1c",
        "raw_path": b"",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"127.0.0.1:8080"), (b"authorization", f"Bearer {token}".encode())],
        "client": ("127.0.0.1", 5),
        "server": ("127.0.0.1", 8080),
    }
    await gateway.app(scope, receive, send)  # type: ignore[arg-type]
    assert sent[0]["status"] == 400
    assert _clean(gateway)


async def test_a_client_that_falls_silent_is_let_go(
    client: tuple[Gateway, httpx.AsyncClient, str], monkeypatch: Any
) -> None:
    import anyio

    gateway, own, case_id = client
    monkeypatch.setattr(uploads, "IDLE_SECONDS", 0.1)

    async def silent() -> AsyncIterator[bytes]:
        yield nifti()[:300]
        await anyio.sleep(5)
        yield b"late"

    answer = await own.put(f"/api/cases/{case_id}/series/t1c", content=silent())
    problem_of(answer, 408)
    assert _clean(gateway)


async def test_a_session_that_ends_during_an_upload_keeps_nothing(
    client: tuple[Gateway, httpx.AsyncClient, str], monkeypatch: Any
) -> None:
    gateway, own, case_id = client
    session_id = gateway.store.case(case_id).session_id
    put = gateway.context.blobs.put_file

    def kill_before(*arguments: Any) -> None:
        gateway.store.close_session(session_id)
        gateway.store.delete_session_rows(session_id)
        put(*arguments)

    monkeypatch.setattr(gateway.context.blobs, "put_file", kill_before)
    problem_of(await own.put(f"/api/cases/{case_id}/series/t1c", content=nifti()), 404)
    assert _clean(gateway)


ARCHIVES = {
    "no zip": (nifti(), 415),
    "text": (b"hello " * 100, 415),
    "empty": (b"", 422),
    "cut zip": (_zip(a=bytes(5000))[:-30], 415),
}


@pytest.mark.parametrize("name", ARCHIVES)
async def test_what_is_no_archive_never_reaches_a_child(
    client: tuple[Gateway, httpx.AsyncClient, str], name: str
) -> None:
    gateway, own, case_id = client
    content, status = ARCHIVES[name]
    problem_of(await own.put(f"/api/cases/{case_id}/dicom", content=content), status)
    assert gateway.tasks.jobs == [] and _clean(gateway)


async def test_the_real_archive_task_refuses_tricks(client: tuple[Gateway, httpx.AsyncClient, str]) -> None:
    """Through the task that the child runs: entries that climb out, links, bombs, nothing inside."""
    from hope.jobs.tasks import dicom

    gateway, own, case_id = client
    gateway.tasks.body = lambda job: dicom(job, lambda message, share: None)
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(200 * MIB))
    link = io.BytesIO()
    with zipfile.ZipFile(link, "w") as archive:
        entry = zipfile.ZipInfo("link")
        entry.external_attr = 0o120777 << 16
        archive.writestr(entry, "/etc/passwd")
    tricks = {
        "climb": _zip(**{"../../../outside": b"x"}),
        "absolute": _zip(**{"/outside": b"x"}),
        "backslash": _zip(**{"..\\..\\outside": b"x"}),
        "bomb": bomb.getvalue(),
        "link": link.getvalue(),
        "nothing": _zip(**{"readme.txt": b"hello"}),
    }
    for name, content in tricks.items():
        answer = await own.put(f"/api/cases/{case_id}/dicom", content=content)
        assert answer.status_code in (413, 415, 422), (name, answer.text)
        problem_of(answer, answer.status_code)
        assert _clean(gateway), name
    assert not list(gateway.folder.parent.rglob("outside"))


async def test_an_archive_gives_series_to_assign(client: tuple[Gateway, httpx.AsyncClient, str]) -> None:
    from hope.jobs.tasks import dicom

    gateway, own, case_id = client
    gateway.tasks.body = lambda job: dicom(job, lambda message, share: None)
    files = {
        f"{MARK}-t1c.nii.gz": packed(nifti((40, 40, 40), spacing_mm=5.0)),
        "other.nii": nifti((41, 40, 40), spacing_mm=5.0),
    }
    answer = await own.put(f"/api/cases/{case_id}/dicom", content=_zip(**files))
    assert answer.status_code == 200, answer.text
    found = {series["key"]: series["sequence"] for series in answer.json()["series"]}
    assert set(found.values()) == {"t1c", None}
    assert MARK not in answer.text and MARK not in json.dumps(str(gateway.store.case(case_id)))
    spare = next(key for key, sequence in found.items() if sequence is None)
    assigned = await own.put(f"/api/cases/{case_id}/assignments", json={"t2w": spare})
    assert {s["key"]: s["sequence"] for s in assigned.json()["series"]}[spare] == "t2w"
    assert len(gateway.blob_files()) == 2 and gateway.scratch_files() == []


async def test_a_mask_on_another_grid_is_refused(gateway: Gateway) -> None:
    from hope.jobs.tasks import segmentation

    async with gateway.client() as own:
        await own.post("/api/session")
        case_id = await done_case(gateway, own)
        stored = len(gateway.blob_files())
        gateway.tasks.body = lambda job: segmentation(job, lambda message, share: None)
        path = f"/api/cases/{case_id}/segmentation"
        good = nifti((4, 4, 4), datatype=2, itemsize=1, voxels=bytes([0, 1, 2, 3] * 16), spacing_mm=1.0)
        good = (
            good[:280]
            + b"".join(struct.pack("<4f", *(float(r == c) for c in range(3)), 0) for r in range(3))
            + good[328:]
        )
        bad = {
            "grid": nifti((5, 4, 4), datatype=2, itemsize=1),
            "place": nifti((4, 4, 4), datatype=2, itemsize=1, voxels=bytes(64), spacing_mm=1.0),
            "labels": good[:352] + bytes([9] * 64),
            "voxels": nifti((10000, 10000, 10000), voxels=b""),
            "text": b"no mask" * 80,
            "cut": packed(good)[:60],
        }
        for name, content in bad.items():
            answer = await own.put(path, content=content)
            assert answer.status_code == 422, (name, answer.text)
            problem_of(answer, 422)
            assert len(gateway.blob_files()) == stored and gateway.scratch_files() == [], name
        answer = await own.put(path, content=good)
        assert answer.status_code == 200, answer.text
        assert answer.json()["volumes_ml"]["ET"]["ml"] == pytest.approx(0.016)
