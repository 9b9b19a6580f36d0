"""A gateway for tests: the real store on SQLite, real blobs in a folder, tasks in this process, a queue that waits."""

from __future__ import annotations

import gzip
import hashlib
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from anyio import to_thread
from fastapi import FastAPI
from tests.empty_database import sqlite_with_tables

from hope.adapters.blobs_local import LocalBlobs
from hope.adapters.cases_sql import SqlCaseStore
from hope.contract.job import MADE_ON, Artifact, CaseRecord, StageJob
from hope.contract.outputs import OutputFile
from hope.contract.stages import STAGES
from hope.domain.ids import new_id
from hope.domain.progress import silent
from hope.jobs.lifecycle import CaseLifecycle
from hope.settings import PlatformSettings, Settings
from hope.testing import short_stages
from hope.web.app import create_app
from hope.web.context import WebContext


class WaitingQueue:
    """A ``JobQueue`` that runs nothing and remembers what it was told."""

    def __init__(self) -> None:
        self.enqueued: list[tuple[str, str, int, int]] = []
        self.cancelled: list[tuple[str, int]] = []
        self.wrong: Exception | None = None

    def enqueue(self, case_id: str, session_id: str, run: int, priority: int) -> None:
        self.enqueued.append((case_id, session_id, run, priority))

    def cancel(self, case_id: str, run: int) -> None:
        self.cancelled.append((case_id, run))

    def forget(self, case_id: str, runs: int) -> None:
        """Nothing is kept."""

    def held(self) -> dict[str, int]:
        return {}

    def has_ended(self, case_id: str, run: int) -> bool | None:
        return None

    def recover(self, executors: list[str]) -> int:
        return 0

    def check(self) -> None:
        if self.wrong is not None:
            raise self.wrong


class ShortTasks:
    """``Tasks`` that let the short stand-ins work in a thread."""

    def __init__(self) -> None:
        self.jobs: list[dict[str, Any]] = []
        self.body: Callable[[dict[str, Any]], dict[str, Any]] = lambda job: short_stages.run(job, silent)

    async def run(self, job: dict[str, Any], reported: Callable[[str, float], None] = silent) -> dict[str, Any]:
        self.jobs.append(job)
        return await to_thread.run_sync(self.body, job)


@dataclass
class Gateway:
    """A gateway and everything behind it."""

    app: FastAPI
    context: WebContext
    folder: Path
    tasks: ShortTasks
    queue: WaitingQueue

    @property
    def store(self) -> SqlCaseStore:
        store = self.context.store
        assert isinstance(store, SqlCaseStore)
        return store

    def client(self, token: str | None = None) -> httpx.AsyncClient:
        """A program's client, with a session's token if there is one."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080", headers=headers, timeout=60)

    def blob_files(self) -> list[Path]:
        """Every stored file."""
        return sorted(path for path in (self.folder / "blobs").rglob("*") if path.is_file())

    def scratch_files(self) -> list[Path]:
        """Everything in the scratch folder but the cached sample."""
        return sorted(p for p in self.context.scratch.iterdir() if p.name != "sample")

    def finish(self, case: CaseRecord) -> CaseRecord:
        """Do what workers would: the four stages of the current run with the short stand-ins."""
        name = f"case-{case.id[:8]}"
        inputs = self.folder / f"stages-{new_id()}"
        inputs.mkdir()
        for stage in STAGES:
            attempt = self.store.begin_attempt(StageJob(case.id, case.session_id, case.run, stage), "test")
            out = self.folder / f"out-{new_id()}"
            out.mkdir()
            job = {"do": str(stage), "in": str(inputs), "out": str(out), "scratch": str(out), "case": name}
            done = short_stages.run(job, silent)
            artifacts = []
            for facts in done["artifacts"]:
                path = out / facts["name"]
                raw = path.read_bytes()
                (inputs / facts["name"]).write_bytes(raw)
                key = f"cases/{case.id}/{case.run}/{stage}/{attempt.token[:12]}/{facts['name']}"
                digest = hashlib.sha256(raw).hexdigest()
                self.context.blobs.put_file(key, path, digest)
                artifacts.append(
                    Artifact(
                        facts["name"],
                        facts["kind"],
                        key,
                        len(raw),
                        digest,
                        stage,
                        public=facts["public"],
                        output=OutputFile.from_json(facts),
                    )
                )
            result = done["result"]
            made_on = {MADE_ON: self.store.case(case.id).scans}
            self.store.commit_attempt(attempt, artifacts, result if result is None else {**result, **made_on})
            self.store.end_attempt(attempt)
        return self.store.case(case.id)


def make_gateway(folder: Path, **changes: Any) -> Gateway:
    """A gateway on loopback whose data lie below ``folder``; ``changes`` are fields of PlatformSettings."""
    chosen = {"requests_per_minute": 10**6, **changes}
    platform = PlatformSettings(sqlite_with_tables(folder / "hope.sqlite"), (folder / "blobs").as_uri(), **chosen)
    settings = Settings(folder, folder / "models", "cpu", platform=platform)
    scratch = folder / "scratch"
    scratch.mkdir()
    store, blobs, queue, tasks = (
        SqlCaseStore(platform.database_url),
        LocalBlobs(folder / "blobs"),
        WaitingQueue(),
        ShortTasks(),
    )
    sessions = CaseLifecycle(  # type: ignore[arg-type]
        store, blobs, queue, platform.max_cases_in_work, sweep_seconds=platform.deletion_wait_seconds
    )
    models = [{"id": "starter", "title": "Starter", "licence": "Apache-2.0", "default": True, "optional": ["t1n"]}]
    context = WebContext(settings, store, blobs, queue, sessions, tasks, lambda: models, scratch)  # type: ignore[arg-type]
    return Gateway(create_app(context), context, folder, tasks, queue)


def nifti(
    shape: tuple[int, ...] = (4, 5, 6),
    *,
    datatype: int = 4,
    itemsize: int = 2,
    voxels: bytes | None = None,
    sform: bool = True,
    offset: int = 352,
    spacing_mm: float = 40.0,
    text: bytes = b"",
) -> bytes:
    """A NIfTI-1 file, as honest as its arguments; ``text`` fills every text field and an extension."""
    count = int(np.prod(shape[:3], dtype=np.int64))
    header = bytearray(348)
    struct.pack_into("<i", header, 0, 348)
    dims = [len(shape), *shape, *[1] * (7 - len(shape))]
    struct.pack_into("<8h", header, 40, *dims)
    struct.pack_into("<2h", header, 70, datatype, 8 * itemsize)
    struct.pack_into("<8f", header, 76, 1, *[spacing_mm] * 3, 0, 0, 0, 0)
    struct.pack_into("<3f", header, 108, offset, 1, 0)
    header[123] = 2
    if sform:
        struct.pack_into("<2h", header, 252, 0, 1)
        for row in range(3):
            values = [spacing_mm * (row == column) for column in range(3)]
            struct.pack_into("<4f", header, 280 + 16 * row, *values, -10.0 * row)
    for place, length in ((4, 10), (14, 18), (148, 80), (228, 24), (328, 16)):
        header[place : place + length] = text[:length].ljust(length, b"\0")
    header[344:348] = b"n+1\0"
    extension = b""
    if offset > 352:
        body = text.ljust(offset - 360, b"\0")[: offset - 360]
        extension = b"\1\0\0\0" + struct.pack("<2i", offset - 352, 6) + body
    else:
        extension = bytes(4)
    if voxels is None:
        voxels = np.random.default_rng(1).integers(0, 255, count * itemsize, np.uint8).tobytes()
    return bytes(header) + extension + voxels


def chunks_of(content: bytes, size: int = 65536) -> Iterator[bytes]:
    """The content in pieces, as a client sends it with chunked encoding."""
    for start in range(0, len(content), size):
        yield content[start : start + size]


def packed(content: bytes) -> bytes:
    """Gzip without a name or time; what is large is packed fast."""
    return gzip.compress(content, 6 if len(content) < 2**20 else 1, mtime=0)
