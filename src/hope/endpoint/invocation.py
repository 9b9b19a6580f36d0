"""Invocations: download, let a child process do the work, upload, manifest last. Whatever happens, nothing stays here.

This process answers at once at any time: it never imports torch, and all that blocks is done in threads.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hope.contract.job import ConflictError, DamagedError
from hope.domain.errors import BundleError, FullError, HopeError, InputError, StageError
from hope.domain.ids import reference_of
from hope.endpoint.inputs import (
    LIST,
    PREDICTION,
    Limits,
    NothingThereError,
    Plan,
    check_sequences,
    input_digest,
    plan_input,
)
from hope.endpoint.payload import Payload, folder_of, parse, read_json
from hope.endpoint.problems import BusyError, Problem, UnknownModelError, blamed_on, problem_of
from hope.endpoint.results import commit, new_run_id, prior_result, tell_failure
from hope.endpoint.store import Store
from hope.formats.hashing import hash_file
from hope.jobs.processes import StageProcesses
from hope.jobs.scratch import Scratch
from hope.jobs.waiting import in_thread

DOWNLOADS = 4
"""Files of one case that are downloaded at once."""

SEGMENTER = "segmenter"
"""The kind of bundle that a payload may name."""

TELL_SECONDS = 2.0
"""How long a failure is tried to be told to the bucket when this process has to end."""

InvocationResult = dict[str, Any] | Problem
"""A manifest, or why there is none."""

log = logging.getLogger("hope.endpoint")


class WithdrawnError(HopeError):
    """The caller has deleted the input meanwhile: it wants no result any more."""


class Models:
    """Which bundles there are.

    Args:
        registry: a `hope.models.registry.ModelRegistry`.
        default: id of the bundle that is used if a payload names none.
    """

    def __init__(self, registry: Any, default: str) -> None:
        self._registry, self.default = registry, default

    def get(self, model_id: str | None) -> Any:
        """A bundle.

        Raises:
            UnknownModelError: if there is none of that id, listing those there are.
            BundleError: if it is not usable.
        """
        known = {bundle.id: bundle for bundle in self._registry.list(SEGMENTER)}
        wanted = model_id or self.default
        if wanted in known:
            return known[wanted]
        if reason := self._registry.problems().get(wanted):
            raise BundleError(f"model {wanted}: {reason}")
        raise UnknownModelError("there is no such model here", expected=f"one of {', '.join(known) or 'none'}")


@dataclass
class _Running:
    """A job in work: its task, the payload that it belongs to, and whether it has a child or waits for one."""

    payload: Payload
    task: asyncio.Task[InvocationResult]
    begun: bool = False


class Invocations:
    """All invocations of this process; for one event loop.

    Args:
        objects: where inputs lie and results go.
        models: which bundles there are.
        processes: where the work is done; its module is `hope.endpoint.bodies` or a stand-in.
        scratch: private folders.
        limits: most that is downloaded for one case.
        at_once: cases in work at once, one child each.
        waiting: more of them that may wait.
        timeout_seconds: longest time for one, waiting included.
    """

    def __init__(
        self,
        objects: Store,
        models: Models,
        processes: StageProcesses,
        scratch: Scratch,
        limits: Limits,
        *,
        at_once: int = 1,
        waiting: int = 4,
        timeout_seconds: float = 3500.0,
    ) -> None:
        self._objects, self._models, self._processes, self._scratch = objects, models, processes, scratch
        self._limits, self._most, self._timeout = limits, at_once + waiting, timeout_seconds
        self._running: dict[str, _Running] = {}
        self.gate = asyncio.Semaphore(at_once)
        self.failed: Callable[[], None] = lambda: None
        """Called when a child failed for another reason than its input."""
        self.closed = ""
        """Why nothing is taken now; empty if it is."""

    async def invoke(self, raw: bytes, inference_id: str) -> InvocationResult:
        """Do what the body of a call asks for, or join it if it is being done already.

        Args:
            raw: the body.
            inference_id: SageMaker's header; empty if there is none.
        """
        folder: str | None = None
        try:
            content = read_json(raw)
            folder = folder_of(content, inference_id)
            payload = parse(content, inference_id)
            folder = payload.folder
            task = self._begin(payload)
        except Exception as error:
            problem = problem_of(error)
            _log(problem, folder or "", 0.0)
            # Whoever waits for a job in work must not take another call's mistake for its end.
            if folder and folder not in self._running and not isinstance(error, ConflictError):
                await in_thread(tell_failure, self._objects, folder, problem)
            return problem
        # If the caller goes away the work goes on: the retry finds its result.
        return await asyncio.shield(task)

    async def leave(self, grace_seconds: float) -> None:
        """Take nothing more, and return when what runs has ended, by itself or killed after the grace."""
        self.closed = "the endpoint is shutting down"
        for job in list(self._running.values()):
            if not job.begun:
                job.task.cancel()
        if tasks := [job.task for job in self._running.values()]:
            _, late = await asyncio.wait(tasks, timeout=grace_seconds)
            for task in late:
                task.cancel()
            await asyncio.wait(tasks, timeout=2 * TELL_SECONDS)

    def _begin(self, payload: Payload) -> asyncio.Task[InvocationResult]:
        """The task of a job: a new one, or that of the same call delivered before."""
        if self.closed:
            raise BusyError(f"{self.closed}; call again")
        if job := self._running.get(payload.folder):
            if job.payload.sha256 != payload.sha256:
                raise ConflictError("another payload is in work under this job_id; use another one for another call")
            return job.task
        if len(self._running) >= self._most:
            raise BusyError(f"{len(self._running)} cases are in work or waiting, which is all that fits; call again")
        task = asyncio.create_task(self._result(payload))
        self._running[payload.folder] = _Running(payload, task)
        task.add_done_callback(lambda _: self._running.pop(payload.folder, None))
        return task

    async def _result(self, payload: Payload) -> InvocationResult:
        """Work; every error becomes an answer, and word of it goes to the bucket."""
        begin = time.monotonic()
        try:
            async with asyncio.timeout(self._timeout):
                manifest = await self._work(payload)
            _log(None, payload.folder, time.monotonic() - begin, manifest)
            return {**manifest, "output_location": payload.output_location}
        except asyncio.CancelledError:
            if not self.closed:
                raise
            problem, silent = problem_of(BusyError("the endpoint is shutting down; call again")), False
        except Exception as error:
            problem = problem_of(error)
            # A store that is away cannot be told; whoever deleted the input wants nothing more to appear.
            silent = isinstance(error, ConflictError | ConnectionError | WithdrawnError | NothingThereError)
            if problem.status >= 500:
                log.error("an invocation failed", exc_info=error)
        _log(problem, payload.folder, time.monotonic() - begin)
        if not silent:
            try:
                async with asyncio.timeout(TELL_SECONDS if self.closed else None):
                    await asyncio.to_thread(tell_failure, self._objects, payload.folder, problem)
            except TimeoutError:
                log.warning("a failure could not be told in time")
        return problem

    async def _work(self, payload: Payload) -> dict[str, Any]:
        """From a checked payload to a manifest."""
        bundle = await in_thread(self._models.get, payload.model_id)
        prior = await in_thread(prior_result, self._objects, payload)
        if prior and not payload.named and prior.get("model", {}).get("sha256") != bundle.sha256:
            prior = None  # nobody asked for that very job again, but for what the model says that is here now
        try:
            plan = await in_thread(plan_input, self._objects, payload, self._limits)
        except NothingThereError:
            if prior:
                return prior
            raise
        if plan.kind == PREDICTION:
            _refuse_case_options(payload)
        check_sequences(plan, bundle.missing)
        with self._scratch.folder() as folder:
            if prior:
                if await self._input_digest(payload, plan, folder / "in") == prior.get("input_sha256"):
                    return prior
                if payload.named:
                    raise ConflictError("the input has changed since this job_id was done; use another job_id for it")
            async with self.gate:
                self._running[payload.folder].begun = True
                return await self._run(payload, plan, bundle, folder)

    async def _run(self, payload: Payload, plan: Plan, bundle: Any, folder: Path) -> dict[str, Any]:
        begin, run_id = time.monotonic(), new_run_id()
        digest = await self._input_digest(payload, plan, folder / "in")
        paths = {name: folder / name for name in ("in", "out", "scratch")}
        for name in ("out", "scratch"):
            paths[name].mkdir(mode=0o700)
        done = await self._in_child(payload, plan, bundle.id, paths)
        files = [paths["out"] / name for name in done["files"]]
        hashes = {path.name: await in_thread(hash_file, path) for path in files}
        if plan.kind == PREDICTION and not await in_thread(self._objects.get_json, payload.input_location + LIST):
            raise WithdrawnError("the input was deleted meanwhile: its caller wants no result any more")
        facts: Mapping[str, Any] = {
            "kind": plan.kind,
            "input_sha256": digest,
            "model": {"id": bundle.id, "version": bundle.version, "sha256": bundle.sha256},
            **done["facts"],
            "seconds": round(time.monotonic() - begin, 2),
            "files": {name: {"bytes": size, "sha256": sha256} for name, (sha256, size) in hashes.items()},
        }
        return await in_thread(commit, self._objects, payload, run_id, files, facts)

    async def _in_child(
        self, payload: Payload, plan: Plan, model_id: str, paths: Mapping[str, Path]
    ) -> Mapping[str, Any]:
        job = {
            "do": plan.kind,
            **{name: str(path) for name, path in paths.items()},
            "model": model_id,
            "options": payload.options.to_json(),
            "outputs": payload.outputs or "all",
        }
        try:
            return await self._processes.run(job)
        except (StageError, FullError):
            self.failed()
            raise

    async def _input_digest(self, payload: Payload, plan: Plan, into: Path) -> str:
        """Download what is not there yet, and give one hash for all of it."""
        turn = asyncio.Semaphore(DOWNLOADS)

        async def fetch(number: int) -> str:
            wanted, to = plan.files[number], into.joinpath(plan.files[number].to)
            if to.exists():
                return (await in_thread(hash_file, to))[0]
            to.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            async with turn:
                return await in_thread(
                    self._objects.download, payload.input_location + wanted.key, to, wanted.sha256, wanted.bytes
                )

        tasks = [asyncio.create_task(fetch(number)) for number in range(len(plan.files))]
        try:
            return input_digest(await asyncio.gather(*tasks))
        except DamagedError as error:
            raise InputError(f"the input cannot be used: {error}", fix="copy it again, then invoke again") from error
        except ConnectionError as error:
            if theirs := blamed_on(error, "input_location"):
                raise theirs from error
            raise
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def _refuse_case_options(payload: Payload) -> None:
    given = [*payload.options.chosen(), *(["outputs"] if payload.outputs is not None else [])]
    if given:
        raise InputError(f"{', '.join(given)} cannot be chosen for a case with {LIST}", fix="leave it out")


def _log(problem: Problem | None, folder: str, seconds: float, manifest: Mapping[str, Any] | None = None) -> None:
    """One line for each invocation: no location, no name; the job's id only as a hash that leads nowhere else."""
    facts: dict[str, Any] = {"status": problem.status if problem else 200, "ms": round(seconds * 1000, 1)}
    if folder:
        facts["run"] = reference_of(folder.rpartition("/")[2])
    if problem:
        facts["stage"] = problem.name
    if manifest:
        facts |= {"count": len(manifest["files"]), "bytes": sum(entry["bytes"] for entry in manifest["files"])}
    log.log(logging.INFO if facts["status"] < 500 else logging.WARNING, "invocation", extra=facts)
