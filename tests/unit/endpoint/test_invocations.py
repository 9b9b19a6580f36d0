"""What one call may do to the folder of another, and what is said of a store or a model that cannot be used."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.unit.endpoint.harness import SCANS

from hope.domain.errors import InputError
from hope.endpoint.inputs import Limits
from hope.endpoint.invocation import Invocations, Models
from hope.endpoint.payload import parse
from hope.endpoint.problems import Problem, UnknownModelError
from hope.endpoint.readiness import BROKEN, READY, Readiness
from hope.endpoint.results import commit, new_run_id, prior_result
from hope.jobs.scratch import Scratch
from hope.models.bundle import HARMONIZER, SEGMENTER

CALL = {"input_location": "s3://bucket/case", "output_location": "s3://bucket/out", "job_id": "j"}


class Memory:
    """A store in a dictionary; ``refused`` are beginnings of locations that must not be read."""

    def __init__(self, content: Mapping[str, bytes], refused: tuple[str, ...] = ()) -> None:
        self.content, self.refused = dict(content), refused

    def list(self, location: str) -> Iterator[Any]:
        for key in sorted(key for key in self.content if key.startswith(location)):
            yield SimpleNamespace(key=key.removeprefix(location), bytes=len(self.content[key]))

    def _read(self, location: str) -> bytes | None:
        if location.startswith(self.refused or "-"):
            raise ConnectionError("the object store refused: AccessDenied")
        return self.content.get(location)

    def upload(self, path: Path, to: str, sha256: str) -> None:
        self.content[to] = path.read_bytes()

    def download(self, location: str, to: Path, sha256: str | None, max_bytes: int | None = None) -> str:
        to.write_bytes(self._read(location) or b"")
        return "0" * 64

    def put_json(self, location: str, content: Mapping[str, Any]) -> None:
        self.content[location] = json.dumps(content).encode()

    def put_new_json(self, location: str, content: Mapping[str, Any]) -> bool:
        new = location not in self.content
        if new:
            self.put_json(location, content)
        return new

    def get_json(self, location: str) -> Any:
        raw = self._read(location)
        return None if raw is None else json.loads(raw)

    def delete(self, location: str) -> None:
        self.content.pop(location, None)

    def delete_prefix(self, location: str) -> tuple[int, int]:
        gone = [key for key in self.content if key.startswith(location)]
        for key in gone:
            del self.content[key]
        return len(gone), 0


class Registry:
    """One bundle of each kind."""

    sha256 = "1" * 64

    def list(self, kind: str | None = None) -> list[Any]:
        kinds = {"starter": SEGMENTER, "smoother": HARMONIZER}
        facts = {"version": "1", "sha256": self.sha256, "missing": lambda present: ()}
        return [SimpleNamespace(id=name, **facts) for name, its in kinds.items() if kind in (None, its)]

    def problems(self) -> dict[str, str]:
        return {}


class Child:
    """Waits until it is told to end."""

    def __init__(self) -> None:
        self.begun, self.end = asyncio.Event(), asyncio.Event()

    async def run(self, job: Mapping[str, Any]) -> dict[str, Any]:
        self.begun.set()
        await self.end.wait()
        (Path(job["out"]) / "result.json").write_text("{}")
        return {"files": ["result.json"], "facts": {}}


def scans() -> dict[str, bytes]:
    return {f"s3://bucket/case/{name}.nii.gz": name.encode() for name in SCANS}


def invocations(store: Any, child: Any, folder: Path) -> Invocations:
    return Invocations(store, Models(Registry(), "starter"), child, Scratch(folder / "scratch"), Limits(1000, 1000))


def test_a_wrong_call_does_not_end_the_wait_for_a_job_in_work(tmp_path: Path) -> None:
    store = Memory(scans())

    async def both() -> Any:
        child = Child()
        endpoint = invocations(store, child, tmp_path)
        first = asyncio.create_task(endpoint.invoke(json.dumps(CALL).encode(), ""))
        await child.begun.wait()
        wrong = await endpoint.invoke(json.dumps({**CALL, "colour": 1}).encode(), "")
        assert isinstance(wrong, Problem)
        assert wrong.status == 400
        assert not [key for key in store.content if key.endswith("failure.json")]
        child.end.set()
        return await first

    assert asyncio.run(both())["state"] == "done"


@pytest.mark.parametrize("place", ["s3://bucket/out/", "s3://bucket/case/t1c"])
def test_what_the_role_may_not_read_is_the_callers_to_mend(tmp_path: Path, place: str) -> None:
    store = Memory(scans(), refused=(place,))

    async def call() -> Any:
        return await invocations(store, Child(), tmp_path).invoke(json.dumps(CALL).encode(), "")

    problem = asyncio.run(call())
    assert problem.status == 422
    assert "AccessDenied" in problem.detail


@pytest.mark.parametrize("named", [True, False])
def test_a_new_model_answers_a_call_that_names_no_job(tmp_path: Path, named: bool) -> None:
    store, registry = Memory(scans()), Registry()
    call = CALL if named else {name: value for name, value in CALL.items() if name != "job_id"}

    async def twice() -> list[Any]:
        child = Child()
        child.end.set()
        endpoint = Invocations(
            store,
            Models(registry, "starter"),
            child,
            Scratch(tmp_path / "scratch"),
            Limits(1000, 1000),  # type: ignore[arg-type]
        )
        answers = []
        for registry.sha256 in ("1" * 64, "2" * 64):
            answers.append(await endpoint.invoke(json.dumps(call).encode(), ""))
        return answers

    first, second = asyncio.run(twice())
    assert second["model"]["sha256"] == ("1" if named else "2") * 64
    assert (first == second) is named
    assert {key for key in store.content if "/runs/" in key} == {f"s3://bucket/{f['key']}" for f in second["files"]}


def test_only_models_that_segment_are_models() -> None:
    models = Models(Registry(), "starter")
    assert models.get(None).id == "starter"
    with pytest.raises(UnknownModelError, match=r"one of starter\)$"):
        models.get("smoother")


def test_what_is_not_an_earlier_attempts_is_never_deleted(tmp_path: Path) -> None:
    mine, stray, foreign = new_run_id(), new_run_id(), "s3://bucket/out/j/runs/2026/weights.pt"
    store = Memory({foreign: b"w", f"s3://bucket/out/j/runs/{stray}/half": b"h", "s3://bucket/out/j1/runs/x": b"o"})
    file = tmp_path / "result.json"
    file.write_text("{}")
    payload = parse(CALL, "")
    facts = {"input_sha256": "0" * 64, "files": {"result.json": {"bytes": 2, "sha256": "0" * 64}}}
    manifest = commit(store, payload, mine, [file], facts)
    assert foreign in store.content
    assert "s3://bucket/out/j1/runs/x" in store.content
    assert not [key for key in store.content if stray in key]
    assert prior_result(store, payload) == manifest


def test_a_self_test_that_fails_in_an_unforeseen_way_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hope.endpoint.readiness.FIRST_PAUSE_SECONDS", 0.01)

    class Once:
        answers = iter([ValueError("no JSON"), InputError("no device"), {}])

        async def run(self, job: Mapping[str, Any]) -> Any:
            if isinstance(answer := next(self.answers), Exception):
                raise answer
            return answer

    async def until_ready() -> None:
        readiness = Readiness(Once(), Scratch(tmp_path), asyncio.Semaphore(), 1, "starter")  # type: ignore[arg-type]
        task = asyncio.create_task(readiness.keep())
        async with asyncio.timeout(30):
            while readiness.state != READY:
                assert not task.done()
                await asyncio.sleep(0.01)
        task.cancel()

    asyncio.run(until_ready())


async def until_broken(processes: Any, folder: Path) -> None:
    """Keep the self-test of an endpoint until it has failed once."""
    readiness = Readiness(processes, Scratch(folder), asyncio.Semaphore(), 1, "starter")
    task = asyncio.create_task(readiness.keep())
    async with asyncio.timeout(30):
        while readiness.state != BROKEN:
            await asyncio.sleep(0.01)
    task.cancel()


def test_a_self_test_that_takes_too_long_says_so_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("hope.endpoint.readiness.TEST_SECONDS", 0.05)

    class Slow:
        async def run(self, job: Mapping[str, Any]) -> Any:
            await asyncio.sleep(60)

    asyncio.run(until_broken(Slow(), tmp_path))
    assert "the self-test failed: it took longer than 0.05 s; trying again in 1 s" in caplog.text


def test_a_time_limit_within_the_self_test_is_not_taken_for_that_of_the_test(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Refusing:
        async def run(self, job: Mapping[str, Any]) -> Any:
            raise TimeoutError

    asyncio.run(until_broken(Refusing(), tmp_path))
    assert "the self-test failed: TimeoutError; trying again in 1 s" in caplog.text
