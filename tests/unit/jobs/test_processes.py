"""Stage processes: warm between jobs, dead when cancelled, and what a child's end looks like from outside."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from hope.contract.stages import Stage
from hope.domain.errors import InputError, StageError
from hope.jobs.processes import StageProcesses

SHORT = "hope.testing.short_stages"


@pytest.fixture
def job(tmp_path: Path) -> Callable[[str], dict[str, Any]]:
    def make(name: str) -> dict[str, Any]:
        folders = {part: tmp_path / name / part for part in ("in", "out", "scratch")}
        for folder in folders.values():
            folder.mkdir(parents=True, exist_ok=True)
        return {"do": name, "case": "case-1", "choice": {}, **{part: str(path) for part, path in folders.items()}}

    return make


def in_loop(work: Callable[[StageProcesses], Awaitable[Any]], module: str = SHORT, **pool: Any) -> Any:
    async def main() -> Any:
        processes = StageProcesses(module, **pool)
        try:
            return await work(processes)
        finally:
            await processes.close()

    return asyncio.run(main())


def test_a_job_is_done_and_progress_is_told(job: Callable[[str], dict[str, Any]]) -> None:
    reported: list[tuple[str, float]] = []

    async def work(processes: StageProcesses) -> dict[str, Any]:
        return await processes.run(job("preprocess"), lambda message, share: reported.append((message, share)))

    done = in_loop(work)
    assert {entry["role"] for entry in done["artifacts"]} == set(Stage.PREPROCESS.spec.writes)
    assert reported[-1][1] == 1.0


def test_the_same_child_serves_the_next_job(job: Callable[[str], dict[str, Any]]) -> None:
    async def work(processes: StageProcesses) -> list[list[int]]:
        seen = []
        for _ in range(2):
            await processes.run(job("preprocess"))
            seen.append(processes.pids)
        return seen

    first, second = in_loop(work)
    assert first == second
    assert len(first) == 1


def test_an_idle_child_is_ended_after_a_while(job: Callable[[str], dict[str, Any]]) -> None:
    async def work(processes: StageProcesses) -> list[int]:
        await processes.run(job("preprocess"))
        await asyncio.sleep(0.05)
        await processes.trim()
        return processes.pids

    assert in_loop(work, keep_seconds=0.01) == []


def test_cancelling_kills_a_stubborn_child_at_once(
    job: Callable[[str], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOPE_SHORT_SECONDS", "60")
    monkeypatch.setenv("HOPE_SHORT_STUBBORN", "1")

    async def work(processes: StageProcesses) -> tuple[float, list[int], list[int]]:
        running = asyncio.ensure_future(processes.run(job("preprocess")))
        while not processes.pids:
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.5)
        before = processes.pids
        start = time.monotonic()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        return time.monotonic() - start, before, processes.pids

    seconds, before, after = in_loop(work)
    assert len(before) == 1
    assert after == []
    assert not Path(f"/proc/{before[0]}").exists()
    assert seconds < 1.0


def test_wrong_input_is_an_input_error_and_the_child_goes_on(
    job: Callable[[str], dict[str, Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOPE_SHORT_FAIL", "preprocess:1:input")
    monkeypatch.setenv("HOPE_SHORT_DIR", str(tmp_path))

    async def work(processes: StageProcesses) -> tuple[list[int], list[int]]:
        with pytest.raises(InputError, match="told to find the input wrong"):
            await processes.run(job("preprocess"))
        before = processes.pids
        await processes.run(job("preprocess"))
        return before, processes.pids

    before, after = in_loop(work)
    assert before == after != []


def test_a_child_that_dies_is_a_stage_error_that_says_how(
    job: Callable[[str], dict[str, Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOPE_SHORT_CRASH", "preprocess:1")
    monkeypatch.setenv("HOPE_SHORT_DIR", str(tmp_path))

    async def work(processes: StageProcesses) -> dict[str, Any]:
        with pytest.raises(StageError, match="SIGKILL"):
            await processes.run(job("preprocess"))
        return await processes.run(job("preprocess"))

    assert in_loop(work)["artifacts"]


def test_a_module_that_cannot_be_loaded_is_a_stage_error(job: Callable[[str], dict[str, Any]]) -> None:
    async def work(processes: StageProcesses) -> None:
        with pytest.raises(StageError):
            await processes.run(job("preprocess"))
        assert processes.pids == []

    in_loop(work, module="hope.testing.no_such_module")
