"""Progress over Server-Sent Events: nothing is missed, nothing told to the wrong one, nothing held open in vain."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.unit.web.fakes import Gateway, nifti
from tests.unit.web.test_api import done_case, new_case

from hope.contract.job import CaseEvent, EventKind, SeriesRecord
from hope.contract.options import RunOptions
from hope.domain.case import MRSequence
from hope.web import events
from hope.web.events import EventHub

pytestmark = pytest.mark.anyio


def parsed(text: str) -> list[dict[str, Any]]:
    """Events of a stream's text."""
    found = []
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if line and not line.startswith(":"))
        if "event" in lines:
            found.append({"id": int(lines.get("id", 0)), "event": lines["event"], "data": json.loads(lines["data"])})
    return found


@pytest.fixture
def case(gateway: Gateway) -> tuple[str, str]:
    """A session's id and its case's."""
    session = gateway.store.create_session("a" * 64, "local")
    return session.id, gateway.store.create_case(session.id).id


def happen(gateway: Gateway, case_id: str, key: str = "t1c") -> None:
    """Something happens to the case."""
    gateway.store.put_series(case_id, SeriesRecord(MRSequence.T1C, key, f"cases/{case_id}/x", 1, "0" * 64))


async def collect(stream: AsyncIterator[str], count: int, seconds: float = 30.0) -> list[dict[str, Any]]:
    """The first ``count`` events."""
    found: list[dict[str, Any]] = []

    async def take() -> None:
        async for text in stream:
            found.extend(parsed(text))
            if len(found) >= count:
                return

    await asyncio.wait_for(take(), seconds)
    return found


async def test_a_run_is_replayed_in_order_and_from_any_point(gateway: Gateway) -> None:
    async with gateway.client() as client:
        await client.post("/api/session")
        case_id = await done_case(gateway, client)
        path = f"/api/cases/{case_id}/events"
        answer = await client.get(path, params={"follow": "false"})
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        reported = parsed(answer.text)
        assert [e["data"]["state"] for e in reported if e["event"] == "state"] == ["queued", "running", "done"]
        assert [e["id"] for e in reported] == sorted({e["id"] for e in reported})
        assert all(e["data"]["case_id"] == case_id and e["data"]["at"] > 0 for e in reported)
        middle = reported[len(reported) // 2]["id"]
        rest = [e for e in reported if e["id"] > middle]
        for again in (
            await client.get(path, params={"follow": "false", "after": str(middle)}),
            await client.get(path, params={"follow": "false"}, headers={"Last-Event-ID": str(middle)}),
        ):
            assert parsed(again.text) == rest
        odd = await client.get(path, params={"follow": "false"}, headers={"Last-Event-ID": "x' OR 1"})
        assert parsed(odd.text) == reported
        huge = await client.get(path, params={"follow": "false"}, headers={"Last-Event-ID": "9" * 300})
        assert huge.status_code == 200 and parsed(huge.text) == []


async def test_what_was_missed_comes_first_then_what_happens(gateway: Gateway, case: tuple[str, str]) -> None:
    session_id, case_id = case
    hub = EventHub(gateway.store, 0.02)
    happen(gateway, case_id, "series-1")
    stream = hub.stream(case_id, session_id, 0)
    reading = asyncio.create_task(collect(stream, 4))
    for number in range(2, 5):
        await asyncio.sleep(0.1)
        await asyncio.to_thread(happen, gateway, case_id, f"series-{number}")
    assert [e["data"]["key"] for e in await reading] == [f"series-{n}" for n in range(1, 5)]
    await stream.aclose()
    assert hub.listeners == 0


async def test_nobody_hears_of_another_case(gateway: Gateway, case: tuple[str, str]) -> None:
    session_id, mine = case
    other_session = gateway.store.create_session("b" * 64, "local")
    other = gateway.store.create_case(other_session.id).id
    hub = EventHub(gateway.store, 0.02)
    streams = [hub.stream(mine, session_id, 0), hub.stream(other, other_session.id, 0)]
    reading = [asyncio.create_task(collect(stream, 2)) for stream in streams]
    await asyncio.sleep(0.1)
    for number in range(2):
        for case_id in (other, mine):
            await asyncio.to_thread(happen, gateway, case_id, f"series-{number}")
    for case_id, task in zip((mine, other), reading, strict=True):
        assert {e["data"]["case_id"] for e in await task} == {case_id}
    for stream in streams:
        await stream.aclose()


async def test_many_listeners_cost_one_poll_and_none_cost_nothing(
    gateway: Gateway, case: tuple[str, str], monkeypatch: Any
) -> None:
    session_id, case_id = case
    asked: list[int] = []
    ask = type(gateway.store).events

    def counting(self: Any, case_ids: Any, after: int, limit: int = 500) -> list[CaseEvent]:
        asked.append(len(case_ids))
        return ask(self, case_ids, after, limit)

    monkeypatch.setattr(type(gateway.store), "events", counting)
    hub = EventHub(gateway.store, 0.05)
    streams = [hub.stream(case_id, session_id, 0) for _ in range(20)]
    reading = [asyncio.create_task(collect(stream, 1)) for stream in streams]
    await asyncio.sleep(0.2)
    asked.clear()
    await asyncio.sleep(0.5)
    assert 2 <= len(asked) <= 11 and set(asked) == {1}
    await asyncio.to_thread(happen, gateway, case_id)
    assert all(len(found) == 1 for found in await asyncio.gather(*reading))
    for stream in streams:
        await stream.aclose()
    await asyncio.sleep(0.2)
    asked.clear()
    await asyncio.sleep(0.3)
    assert asked == []


async def test_an_idle_stream_says_that_it_lives(gateway: Gateway, case: tuple[str, str], monkeypatch: Any) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_SECONDS", 1.0)
    stream = EventHub(gateway.store, 0.05).stream(case[1], case[0], 0)
    assert await anext(stream) == "retry: 1000\n\n"
    assert await asyncio.wait_for(anext(stream), 30) == ": alive\n\n"
    await stream.aclose()


async def test_a_deleted_case_ends_its_stream(gateway: Gateway, case: tuple[str, str], monkeypatch: Any) -> None:
    session_id, case_id = case
    hub = EventHub(gateway.store, 0.05)
    stream = hub.stream(case_id, session_id, 0)
    reading = asyncio.create_task(collect(stream, 1))
    await asyncio.sleep(0.2)
    gateway.store.delete_case(case_id)
    hub.forget(case_id)
    assert [e["event"] for e in await reading] == ["gone"]
    assert [text async for text in stream] == []
    assert hub.listeners == 0


async def test_a_session_that_another_process_ended_ends_the_stream(
    gateway: Gateway, case: tuple[str, str], monkeypatch: Any
) -> None:
    monkeypatch.setattr(events, "SESSION_CHECK_SECONDS", 0.5)
    session_id, case_id = case
    stream = EventHub(gateway.store, 0.05).stream(case_id, session_id, 0)
    reading = asyncio.create_task(collect(stream, 1))
    await asyncio.sleep(0.2)
    gateway.store.close_session(session_id)
    assert [e["event"] for e in await reading] == ["gone"]


async def test_a_slow_client_is_cut_off_and_misses_nothing(
    gateway: Gateway, case: tuple[str, str], monkeypatch: Any
) -> None:
    monkeypatch.setattr(events, "_WAITING", 5)
    session_id, case_id = case
    hub = EventHub(gateway.store, 0.02)
    stream = hub.stream(case_id, session_id, 0)
    await anext(stream)
    first = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0.1)
    for number in range(30):
        await asyncio.to_thread(happen, gateway, case_id, f"series-{number}")
    await asyncio.sleep(0.3)
    reported = parsed(await first)
    async for text in stream:  # what it was sent before; then the stream ends by itself
        reported += parsed(text)
    assert 1 <= len(reported) < 30 and hub.listeners == 0
    rest = [text async for text in hub.stream(case_id, session_id, reported[-1]["id"], follow=False)]
    reported += parsed("".join(rest))
    assert [e["data"]["key"] for e in reported] == [f"series-{n}" for n in range(30)]


async def test_a_database_that_is_away_for_a_while_ends_nothing(
    gateway: Gateway, case: tuple[str, str], monkeypatch: Any, caplog: Any
) -> None:
    session_id, case_id = case
    hub = EventHub(gateway.store, 0.02)
    stream = hub.stream(case_id, session_id, 0)
    reading = asyncio.create_task(collect(stream, 1, 10))
    await asyncio.sleep(0.1)

    def fail(*_: Any) -> None:
        raise ConnectionError("Surnamemark")

    with monkeypatch.context() as broken:
        broken.setattr(type(gateway.store), "events", fail)
        await asyncio.sleep(0.2)
    await asyncio.to_thread(happen, gateway, case_id)
    assert len(await reading) == 1
    assert any("events could not be read" in record.getMessage() for record in caplog.records)
    await stream.aclose()


async def test_the_end_of_the_server_ends_every_stream(gateway: Gateway, case: tuple[str, str]) -> None:
    hub = EventHub(gateway.store, 0.05)
    stream = hub.stream(case[1], case[0], 0)
    reading = asyncio.create_task(collect(stream, 99))
    await asyncio.sleep(0.2)
    hub.close()
    assert await asyncio.wait_for(reading, 30) == []


async def test_events_tell_what_the_contract_says(gateway: Gateway) -> None:
    async with gateway.client() as client:
        await client.post("/api/session")
        case_id = await new_case(client)
        await client.put(f"/api/cases/{case_id}/series/t1c", content=nifti())
        queued = gateway.store.queue_case(case_id, RunOptions(), 3)
        gateway.finish(queued)
        await client.put(f"/api/cases/{case_id}/segmentation", content=nifti((4, 4, 4), datatype=2, itemsize=1))
        reported = parsed((await client.get(f"/api/cases/{case_id}/events?follow=false")).text)
    kinds: dict[str, list[dict[str, Any]]] = {}
    for event in reported:
        kinds.setdefault(event["event"], []).append(event["data"])
    assert set(kinds) <= set(EventKind)
    assert kinds["series"][0]["sequence"] == "t1c" and kinds["series"][0]["key"] == "t1c"
    assert {data["run"] for data in kinds["state"]} == {1}
    stages = [(data["stage"], data["state"]) for data in kinds["stage"]]
    assert stages.index(("preprocess", "done")) < stages.index(("segment", "running"))
    assert kinds["segmentation"][0]["version"] == 1
