"""A whole gateway under uploads that cost more than their bytes: memory, words, other users, and senders that leave."""

from __future__ import annotations

import asyncio
import io
import signal
import socket
import struct
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from hope.domain.errors import InputError, StageError
from hope.domain.limits import ReadingLimits
from hope.jobs.processes import ProcessEndedError, StageProcesses
from hope.jobs.slots import FairSlots
from hope.testing import hostile_dicom as hostile
from hope.testing.fleet import Fleet, SessionClient
from hope.testing.live_files import files_below

MIB = 2**20


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A gateway with the real bodies, warm."""
    platform = Fleet(tmp_path_factory.mktemp("fleet"), bodies="hope.jobs.bodies")
    try:
        platform.start("gateway")
        platform.wait_ready()
        assert put(platform.client(120), ordinary()).status_code == 200
        yield platform
    finally:
        platform.stop()


def ordinary(count: int = 16) -> bytes:
    """A small study."""
    return hostile.zipped([hostile.file_of(hostile.image(n)) for n in range(1, count + 1)])


def laborious() -> bytes:
    """Legal headers that take ten seconds and more to turn into values."""
    element = hostile.ITEM + struct.pack("<I", 10) + b"\x18\x00\x10\x10CS\x02\x00NO"
    item = hostile.element(0x00201208, b"SQ", element * 9)
    groups = hostile.element(0x52009230, b"SQ", (hostile.ITEM + struct.pack("<I", len(item)) + item) * 1_150)
    return hostile.zipped([hostile.file_of(hostile.image(n, extra={0x52009230: groups})) for n in range(1, 13)])


def put(client: SessionClient, raw: bytes) -> httpx.Response:
    case_id = client.call("POST", "/api/cases")["id"]
    return client.http.put(f"/api/cases/{case_id}/dicom", content=raw)


def leavings(platform: Fleet) -> list[Path]:
    """Files of uploads in flight."""
    return [p for p in files_below(platform.folder / "data" / "scratch") if p.name.startswith("upload-")]


@contextmanager
def watched(platform: Fleet) -> Iterator[list[int]]:
    """Sample the memory of the gateway and all its children; gives what it grew by, in the end."""
    gateway = psutil.Process(platform.processes[0].pid)

    def used() -> int:
        total = 0
        for process in (gateway, *gateway.children(recursive=True)):
            try:
                total += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        return total

    idle, most, done = used(), [0], threading.Event()

    def look() -> None:
        while not done.wait(0.02):
            most[0] = max(most[0], used() - idle)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield most
    finally:
        done.set()
        watcher.join()


def _bombs() -> dict[str, bytes]:
    def study(syntax: str = hostile.EXPLICIT, count: int = 12, **given: Any) -> bytes:
        return hostile.zipped([hostile.file_of(hostile.image(n, **given), syntax) for n in range(1, count + 1)])

    listing = struct.pack("<4s6H3I5H2I", b"PK\x01\x02", *([0] * 16))
    rle = hostile.encapsulated(hostile.rle_frame(8192**2 // 64))
    volume = hostile.encapsulated(hostile.rle_frame(600**2))
    zeros = hostile.element(0x00291010, b"OB", bytes(64 * MIB))
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, len(listing) * 200_000, 0, 0)
    inner = hostile.file_of(hostile.image(extra={0x00291010: zeros * 8}), hostile.DEFLATED)
    return {
        "five million empty items": study(count=1, extra={0x52009230: hostile.empty_items(0x52009230, 5_000_000)}),
        "deflated transfer syntax": hostile.zipped([inner]),
        "JPEG 2000 16384^2 x 12": study(hostile.JPEG_2000, size=(16384, 16384), pixels=hostile.encapsulated(bytes(99))),
        "RLE 8192^2 x 12": study(hostile.RLE, size=(8192, 8192), pixels=rle),
        "RLE 600^3": study(hostile.RLE, 600, size=(600, 600), pixels=volume),
        "200,000 entries": listing * 200_000 + end,
    }


BOMBS = (
    *("five million empty items", "deflated transfer syntax", "JPEG 2000 16384^2 x 12"),
    *("RLE 8192^2 x 12", "RLE 600^3", "200,000 entries"),
)


@pytest.fixture(scope="module")
def bombs() -> dict[str, bytes]:
    made = _bombs()
    assert set(made) == set(BOMBS)
    return made


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_in_words_and_takes_little(fleet: Fleet, bombs: dict[str, bytes], name: str) -> None:
    with watched(fleet) as grew:
        answer = put(fleet.client(120), bombs[name])
    assert answer.status_code == 422, answer.text
    assert len(answer.json()["detail"]) > 20
    assert grew[0] <= 1024 * MIB, f"{grew[0] / MIB:.0f} MiB above idle"
    assert not leavings(fleet)


BAD_ZIPS: dict[str, tuple[str, ...]] = {
    "an empty name": ("",),
    "a long name": ("n" * 300,),
    "a file that is a directory": ("a", "a/b"),
}


@pytest.mark.parametrize("name", BAD_ZIPS)
def test_a_bad_zip_is_the_sender_s_fault(fleet: Fleet, name: str) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for entry in BAD_ZIPS[name]:
            archive.writestr(zipfile.ZipInfo(entry), b"x")
    answer = put(fleet.client(120), stream.getvalue())
    assert answer.status_code == 422, answer.text
    assert not leavings(fleet)


def _usual_seconds(fleet: Fleet) -> float:
    begun = time.monotonic()
    assert put(fleet.client(120), ordinary()).status_code == 200
    return time.monotonic() - begun


@pytest.mark.alone
def test_another_user_does_not_wait_for_laborious_headers(fleet: Fleet) -> None:
    """One session fills every slot that it may have; another's study is read at once."""
    usual, raw, attacker = _usual_seconds(fleet), laborious(), fleet.client(120)
    threads = [threading.Thread(target=put, args=(attacker, raw), daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(1.0)
    begun = time.monotonic()
    assert put(fleet.client(120), ordinary()).status_code == 200
    seconds = time.monotonic() - begun
    attacker.http.delete("/api/session").raise_for_status()
    assert seconds <= 2.0 + 5 * usual, f"{seconds:.1f} s, {usual:.1f} s without the attack"


@pytest.mark.alone
def test_children_end_when_their_senders_hang_up(fleet: Fleet) -> None:
    usual, raw, attacker = _usual_seconds(fleet), laborious(), fleet.client(120)
    gateway = psutil.Process(fleet.processes[0].pid)
    sockets = []
    for _ in range(2):
        case_id = attacker.call("POST", "/api/cases")["id"]
        head = (
            f"PUT /api/cases/{case_id}/dicom HTTP/1.1\r\nHost: 127.0.0.1:{fleet.port}\r\n"
            f"Authorization: Bearer {attacker.token}\r\nContent-Length: {len(raw)}\r\n\r\n"
        )
        sockets.append(socket.create_connection(("127.0.0.1", fleet.port)))
        sockets[-1].sendall(head.encode() + raw)
    time.sleep(1.5)
    busy = [child for child in gateway.children(recursive=True) if child.cpu_percent(0.2) > 5]
    for connection in sockets:
        connection.close()
    assert busy, "nothing was read: the test shows nothing"
    _, alive = psutil.wait_procs(busy, timeout=30)
    assert not alive
    deadline = time.monotonic() + 30
    while leavings(fleet) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not leavings(fleet)
    assert _usual_seconds(fleet) <= 2.0 + 5 * usual


def _job(folder: Path, limits: ReadingLimits, raw: bytes) -> dict[str, Any]:
    for name in ("in", "out", "scratch"):
        (folder / name).mkdir(parents=True)
    (folder / "in" / "upload.zip").write_bytes(raw)
    places = {name: str(folder / name) for name in ("in", "out", "scratch")}
    return {"do": "dicom", "max_bytes": 2**33, "limits": asdict(limits), "upload_bytes": len(raw), **places}


def test_a_child_that_may_not_have_the_memory_says_so_and_serves_the_next(tmp_path: Path) -> None:
    async def work() -> None:
        children = StageProcesses("hope.jobs.bodies")
        try:
            with pytest.raises(InputError, match="more memory"):
                await children.run(_job(tmp_path / "one", ReadingLimits(memory_mb=8), laborious()))
            done = await children.run(_job(tmp_path / "two", ReadingLimits(), ordinary()))
            assert len(done["result"]["series"]) == 1
        finally:
            await children.close()

    asyncio.run(work())


def test_a_crash_is_told_from_a_kill() -> None:
    assert ProcessEndedError(-signal.SIGSEGV).by_its_input and ProcessEndedError(-signal.SIGABRT).by_its_input
    assert not ProcessEndedError(-signal.SIGKILL).by_its_input and not ProcessEndedError(1).by_its_input
    assert isinstance(ProcessEndedError(-signal.SIGKILL), StageError)


def test_one_owner_never_holds_all_slots() -> None:
    async def main() -> list[str]:
        slots, order, hold = FairSlots(3, 2), [], asyncio.Event()

        async def take(owner: str) -> None:
            async with slots.slot(owner):
                order.append(owner)
                await hold.wait()

        tasks = [asyncio.create_task(take("greedy")) for _ in range(8)]
        await asyncio.sleep(0)
        tasks += [asyncio.create_task(take("other")) for _ in range(2)]
        await asyncio.sleep(0.01)
        assert order == ["greedy", "greedy", "other"]
        tasks[5].cancel()  # one that waits leaves the line
        tasks[0].cancel()  # one that works gives its slot to whoever holds fewest
        await asyncio.sleep(0.01)
        assert order[3:] == ["greedy"] or order[3:] == ["other"]
        hold.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        return order

    order = asyncio.run(main())
    assert order.count("greedy") == 7 and order.count("other") == 2


def test_the_policy_is_set_by_the_environment() -> None:
    from hope.settings import Settings

    given = {"HOPE_READING_MEMORY_MB": "100", "HOPE_READING_CHILDREN_PER_SESSION": "9", "HOPE_MAX_UNPACKED_MB": "50"}
    limits = Settings.from_environment(given).reading_limits
    assert (limits.memory_mb, limits.session_children, limits.expanded_mb) == (100, 2, 50)
    with pytest.raises(InputError, match="HOPE_READING_SECONDS"):
        Settings.from_environment({"HOPE_READING_SECONDS": "0"})
