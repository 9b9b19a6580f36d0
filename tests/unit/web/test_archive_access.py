"""An archive in the page: what is asked of it, what is kept of the answer, and who may ask."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import numpy as np
import pydicom
import pytest
from tests.unit.web.fakes import Gateway, make_gateway

from hope.domain.errors import FullError
from hope.domain.grid import Grid
from hope.domain.progress import silent
from hope.domain.volume import Volume
from hope.jobs import bodies
from hope.jobs.disk_space import DiskSpace
from hope.testing.dicom_series import IDENTITY, PATIENT_ID, SeriesRecipe, write_series
from hope.web.app import create_app

pytestmark = pytest.mark.anyio

SHAPE = (40, 36, 12)
T1C = SeriesRecipe(7, "t1", "t1 SURNAMEMARK", tags={"ContrastBolusAgent": "GADO", "PatientName": "SURNAMEMARK"})
FLAIR = SeriesRecipe(4, "flair", "flair tra", tags={"PatientName": "SURNAMEMARK"})


@dataclass
class Archive:
    """A DICOMweb server with one study, which answers as Orthanc does.

    Attributes:
        series: series UID -> its files.
        study: StudyInstanceUID.
        asked: paths and queries that came.
        status: what every answer is, if not 200.
    """

    series: dict[str, list[bytes]]
    study: str
    asked: list[tuple[str, dict[str, list[str]]]] = field(default_factory=list)
    status: int = 200

    def answer(self, path: str) -> tuple[int, str, bytes]:
        """Status, content type and body."""
        place = urlsplit(path)
        self.asked.append((place.path, parse_qs(place.query)))
        parts = place.path.strip("/").split("/")
        if self.status != 200:
            return self.status, "text/plain", b"no"
        if parts == ["studies"]:
            count = sum(map(len, self.series.values()))
            facts = {"0020000D": self.study, "00080020": "20260301", "00201206": 2, "00201208": count}
            return 200, "application/dicom+json", _listed(facts | {"00100010": "SURNAMEMARK"})
        if parts[1] != self.study:
            return 404, "text/plain", b""
        if parts[2:] == ["series"]:
            series = [{"0020000E": uid, "00201209": len(files)} for uid, files in self.series.items()]
            return 200, "application/dicom+json", _listed(*series)
        body = b"".join(b"--XX\r\n\r\n" + one + b"\r\n" for one in self.series[parts[3]]) + b"--XX--\r\n"
        return 200, 'multipart/related; type="application/dicom"; boundary=XX', body


def _listed(*facts: dict[str, Any]) -> bytes:
    return json.dumps([{tag: {"Value": [value]} for tag, value in one.items()} for one in facts]).encode()


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    rng = np.random.default_rng(1)
    affine = np.diag([-2.0, -2.0, 6.0, 1.0])
    made: dict[str, list[bytes]] = {}
    study = ""
    for recipe in (T1C, FLAIR):
        scan = Volume(rng.integers(0, 900, SHAPE).astype(np.float32), Grid(SHAPE, affine))
        files = write_series(scan, tmp_path / "study" / str(recipe.number), recipe)
        header = pydicom.dcmread(files[0], stop_before_pixels=True)
        study = str(header.StudyInstanceUID)
        made[str(header.SeriesInstanceUID)] = [path.read_bytes() for path in files]
    there = Archive(made, study)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, kind, body = there.answer(self.path)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("HOPE_DICOMWEB_URL", f"http://127.0.0.1:{server.server_port}")
    yield there
    server.shutdown()
    server.server_close()
    thread.join(10)


@pytest.fixture
def served(archive: Archive, tmp_path: Path) -> Iterator[Gateway]:
    """A gateway whose operator has named the archive, and whose tasks are the real ones."""
    (tmp_path / "gateway").mkdir()
    gateway = make_gateway(tmp_path / "gateway")
    settings = gateway.context.settings
    dicom = replace(settings.dicom, dicomweb_url=os.environ["HOPE_DICOMWEB_URL"])
    context = replace(gateway.context, settings=replace(settings, dicom=dicom))
    gateway.app, gateway.context = create_app(context), context
    gateway.tasks.body = lambda job: bodies.run(job, silent)
    yield gateway
    gateway.store.close()


@pytest.fixture
async def client(served: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with served.client() as opener:
        token = (await opener.post("/api/session")).json()["token"]
    async with served.client(token) as client:
        yield client


async def test_a_study_is_found_and_its_scans_are_taken(
    archive: Archive, served: Gateway, client: httpx.AsyncClient
) -> None:
    assert "archive" in (await client.get("/api/vocabulary")).json()["features"]
    found = await client.post("/api/archive/studies", json={"patient_id": "NUMBERMARK", "date": "20260101-20260401"})
    assert found.status_code == 200, found.text
    assert found.json() == {"studies": [{"uid": archive.study, "date": "20260301", "series": 2, "images": 24}]}
    assert archive.asked[0][1]["PatientID"] == ["NUMBERMARK"]
    case_id = (await client.post("/api/cases")).json()["id"]
    taken = await client.post(f"/api/cases/{case_id}/archive", json={"study_uid": archive.study})
    assert taken.status_code == 200, taken.text
    assert sorted(series["sequence"] for series in taken.json()["series"]) == ["t1c", "t2f"]
    case = (await client.get(f"/api/cases/{case_id}")).json()
    assert {series["sequence"] for series in case["series"]} == {"t1c", "t2f"}
    # The stored scans are all that is left, and no name is in them, in an answer or in the audit log.
    assert served.scratch_files() == [] and len(served.blob_files()) == 2
    kept = b"".join(path.read_bytes() for path in served.folder.rglob("*") if path.is_file())
    shown = taken.text + found.text + json.dumps(case)
    for mark in (*IDENTITY.split("^"), PATIENT_ID, "NUMBERMARK"):
        assert mark.encode() not in kept and mark not in shown
    assert archive.study.encode() not in kept
    actions = [entry.action for entry in served.store.audit()]
    assert actions[-3:] == ["archive.search", "case.create", "archive.pull"]


@pytest.mark.parametrize(
    "body",
    [{}, {"patient_id": "A*"}, {"date": "2026"}, {"date": "20260101-"}, {"patient_id": "x" * 65}, {"name": "x"}, []],
)
async def test_a_search_that_is_no_search_asks_nothing(archive: Archive, client: httpx.AsyncClient, body: Any) -> None:
    assert (await client.post("/api/archive/studies", json=body)).status_code == 422
    assert archive.asked == []


async def test_an_archive_that_fails_is_told_without_its_address(
    archive: Archive, served: Gateway, client: httpx.AsyncClient
) -> None:
    case_id = (await client.post("/api/cases")).json()["id"]
    unknown = await client.post(f"/api/cases/{case_id}/archive", json={"study_uid": "1.2.3"})
    assert unknown.status_code == 422 and "no MR series" in unknown.json()["detail"]
    archive.status = 500
    for path, body in (
        ("/api/archive/studies", {"date": "20260301"}),
        (f"/api/cases/{case_id}/archive", {"study_uid": archive.study}),
    ):
        answer = await client.post(path, json=body)
        assert answer.status_code == 502 and "answers 500" in answer.json()["detail"], answer.text
        assert "127.0.0.1" not in answer.text and archive.study not in answer.text
    assert served.scratch_files() == [] and served.blob_files() == []
    asked = [entry.action for entry in served.store.audit()]
    assert asked == ["session.create", "case.create", "archive.pull", "archive.search", "archive.pull"]
    # None of them is said to have gone well.
    assert [entry.outcome for entry in served.store.audit()][2:] == ["asked"] * 3


async def test_only_a_session_may_ask_and_only_where_there_is_an_archive(
    archive: Archive, served: Gateway, gateway: Gateway, client: httpx.AsyncClient
) -> None:
    async with served.client() as nobody:
        assert (await nobody.post("/api/archive/studies", json={"date": "20260301"})).status_code == 401
    async with gateway.client() as opener:
        token = (await opener.post("/api/session")).json()["token"]
    async with gateway.client(token) as other:
        case_id = (await other.post("/api/cases")).json()["id"]
        assert "archive" not in (await other.get("/api/vocabulary")).json()["features"]
        for path, body in (
            ("/api/archive/studies", {"date": "20260301"}),
            (f"/api/cases/{case_id}/archive", {"study_uid": "1.2.3"}),
        ):
            answer = await other.post(path, json=body)
            assert answer.status_code == 409 and "HOPE_DICOMWEB_URL" in answer.json()["detail"]
        # A case of another gateway's session is not there, whatever is asked for it.
        strange = await client.post(f"/api/cases/{case_id}/archive", json={"study_uid": archive.study})
        assert strange.status_code == 404
    assert archive.asked == []


@pytest.mark.parametrize("why", ["the disk is full", "the case is deleted"])
async def test_a_pull_ends_with_its_case_and_before_it_fills_the_disk(
    archive: Archive, served: Gateway, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    monkeypatch.setattr("hope.web.case_watch.WATCH_SECONDS", 0.05)
    begun, ended = asyncio.Event(), asyncio.Event()

    async def endless(job: dict[str, Any], reported: Any = None) -> dict[str, Any]:
        (Path(job["scratch"]) / "image.dcm").write_bytes(b"SURNAMEMARK")
        begun.set()
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()
        return {}

    room = DiskSpace.check

    def filling(disk: DiskSpace, more_bytes: int = 0) -> None:
        if begun.is_set():
            raise FullError("the disk is full")
        room(disk, more_bytes)

    case_id = (await client.post("/api/cases")).json()["id"]
    monkeypatch.setattr(served.tasks, "run", endless)
    if "disk" in why:
        monkeypatch.setattr(DiskSpace, "check", filling)
    pull = asyncio.create_task(client.post(f"/api/cases/{case_id}/archive", json={"study_uid": archive.study}))
    await begun.wait()
    if "disk" in why:
        assert (await asyncio.wait_for(pull, 60)).status_code == 507
    else:
        receipt = (await client.delete(f"/api/cases/{case_id}")).json()
        assert receipt["unconfirmed"] == []
        assert (await asyncio.wait_for(pull, 60)).status_code == 404
    assert ended.is_set() and served.scratch_files() == [] and served.blob_files() == []
