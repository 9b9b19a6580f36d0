"""Durable pipelines on DBOS Transact: the same code on SQLite in one process and on Postgres over many machines.

Two kinds of workflow: a *pipeline* for each run of a case, on the gateways' queue, enqueues one *stage* after the other
on that stage's queue by name and waits. Only ids travel. What a stage does is the caller's (`start`). DBOS leaves it to
the vendor's closed product to notice dead processes; `recover` is what our lease table calls instead.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import sqlalchemy as sa
from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer, WorkflowHandleAsync
from dbos._error import DBOSAwaitedWorkflowCancelledError
from sqlalchemy import event

from hope.adapters import dbos_patience, dbos_threads, postgres_connection, queue_bell
from hope.adapters.database_errors import worded
from hope.adapters.endings import UNFINISHED, Endings
from hope.contract.job import PIPELINE_QUEUE, StageJob
from hope.contract.stages import STAGES, Stage

PROTOCOL_VERSION: Final = "1"
"""Processes of different protocols do not take each other's work. Raised on breaking changes only."""

PIPELINES_AT_ONCE = 48
"""Pipelines that one gateway waits for; a waiting one costs a thread and a poll."""

SECONDS_BETWEEN_POLLS = 0.02
"""All pipelines of a process together look for answers at most this often."""

LOST_NEWS_SECONDS = 1.0
"""A pipeline that is sure to be told looks so seldom: whoever should tell it may die before."""

MAX_RECOVERIES = 50

GONE: Final = "gone"
"""What a pipeline makes of a stage that was deleted while it waited: it ends."""

T = TypeVar("T")
RunStage = Callable[[StageJob], Awaitable[str]]

log = logging.getLogger(__name__)
_run_stage: RunStage | None = None
_poll_seconds = 0.1
_waiting = 0
_bell = queue_bell.Bell()
_tell: Callable[[str], None] = _bell.ring
_endings = Endings()
_tell_peers: Callable[[str], None] | None = None


@DBOS.step(name="stage_body", preemptible=True)
async def _stage_body(job: dict[str, Any]) -> str:
    if _run_stage is None:
        raise RuntimeError("a process that runs no stages was given one")
    return await _run_stage(StageJob(job["case"], job["session"], job["run"], Stage(job["stage"]), job["priority"]))


@DBOS.workflow(name="stage", max_recovery_attempts=MAX_RECOVERIES)
async def _stage(job: dict[str, Any]) -> str:
    _when_over(job["stage"], _stage_id(job["case"], job["run"], Stage(job["stage"])))
    return await _stage_body(job)


@DBOS.workflow(name="pipeline", max_recovery_attempts=MAX_RECOVERIES)
async def _pipeline(job: dict[str, Any]) -> str:
    """Run the stages in turn; a stage that does not answer ``done`` ends the run, and says so in the store itself."""
    _when_over(PIPELINE_QUEUE)
    return await _run_stages(job)


def _when_over(queue: str, workflow_id: str = "") -> None:
    """Once the engine has noted the outcome of this workflow: there is room for one more, and who waits is told.

    A done callback, because the engine notes it in the same task after the workflow has returned.
    """

    def over(_: asyncio.Task[Any]) -> None:
        _bell.ring(queue)
        _endings.tell(workflow_id)
        if workflow_id and _tell_peers:
            asyncio.get_running_loop().run_in_executor(None, _tell_peers, workflow_id)

    if task := asyncio.current_task():
        task.add_done_callback(over)


async def _run_stages(job: dict[str, Any]) -> str:
    outcome = "done"
    for stage in STAGES:
        handle = await DBOS.enqueue_workflow_with_options_async(
            {
                "workflow_name": "stage",
                "queue_name": str(stage),
                "workflow_id": _stage_id(job["case"], job["run"], stage),
                "priority": job["priority"],
            },
            {**job, "stage": str(stage)},
        )
        await asyncio.to_thread(_tell, str(stage))
        outcome = await _result(handle)
        if outcome != "done":
            break
    return outcome


async def _result(handle: WorkflowHandleAsync[str]) -> str:
    """Wait for a stage's answer. The more pipelines wait, the less often each looks: a look costs milliseconds.

    One that was deleted meanwhile, with its case, never answers; the engine would wait for it for ever.
    """
    global _waiting
    _waiting += 1
    try:
        if await _endings.until(handle.workflow_id, partial(_outside, _status), _pause_seconds) is None:
            return GONE
        return await handle.get_result(polling_interval_sec=_pause_seconds())
    finally:
        _waiting -= 1


def _pause_seconds() -> float:
    """How long a pipeline waits for news before it looks."""
    return max(LOST_NEWS_SECONDS if _bell.reaches_all else _poll_seconds, SECONDS_BETWEEN_POLLS * _waiting)


def _status(workflow_id: str) -> str | None:
    """What the engine says of a workflow; None if it does not know it."""
    status = DBOS.get_workflow_status(workflow_id)
    return None if status is None else str(status.status)


async def _outside(function: Callable[[str], T], argument: str) -> T:
    """Call in a thread that does not belong to a workflow: within one, each look would be noted as a step of it."""
    context = contextvars.Context()
    return await asyncio.get_running_loop().run_in_executor(None, context.run, function, argument)


def _pipeline_id(case_id: str, run: int) -> str:
    return f"{case_id}:{run}"


def _stage_id(case_id: str, run: int, stage: Stage) -> str:
    return f"{case_id}:{run}:{stage}"


def _all_ids(case_id: str, run: int) -> list[str]:
    return [_pipeline_id(case_id, run), *(_stage_id(case_id, run, stage) for stage in STAGES)]


def _worth_saying(record: logging.LogRecord) -> bool:
    """Leave out what the engine logs, some as errors with a traceback, whenever a run is cancelled as asked."""
    error = record.exc_info[1] if record.exc_info else None
    return not (
        isinstance(error, DBOSAwaitedWorkflowCancelledError)
        or "was cancelled during execution" in record.getMessage()
        or "is no longer owned by this execution" in record.getMessage()
    )


class DbosQueue:
    """The job queue of one process; there can be only one in a process.

    Args:
        database_url: SQLAlchemy URL; on SQLite a file of its own, because it is written to all the time.
        executor: id of this process, different for every start.
        poll_seconds: how often queues are looked at while there is work.
    """

    def __init__(self, database_url: str, executor: str, poll_seconds: float = 0.1) -> None:
        global _poll_seconds, _bell, _tell, _tell_peers
        _poll_seconds = poll_seconds
        self._poll = poll_seconds
        self._bell = _bell = queue_bell.Bell()
        self._engine = _engine(database_url)
        postgres = self._engine.dialect.name == "postgresql"
        self._listener = queue_bell.Listener(self._engine, self._bell, _endings) if postgres else None
        _tell = self._listener.tell if self._listener else self._bell.ring
        _tell_peers = self._listener.tell_end if self._listener else None
        queue_bell.install(self._bell)
        dbos_patience.install()
        dbos_threads.install()
        config: DBOSConfig = {
            "name": "hope",
            "application_version": PROTOCOL_VERSION,
            "executor_id": executor,
            "system_database_engine": self._engine,
            "system_database_url": database_url,
            "serializer": DBOSPortableJSONSerializer(),
            "log_level": "WARNING",
        }
        DBOS(config=config)
        engine_log = logging.getLogger("dbos")
        engine_log.addFilter(_worth_saying)
        # Its own handler would write ids in a form of its own: the program's handlers decide.
        engine_log.handlers.clear()
        engine_log.propagate = True

    def start(self, run_stage: RunStage | None, queues: Collection[str], slots: int, *, alone: bool = False) -> None:
        """Begin to work. Call it outside of an event loop: jobs then run in a loop of their own.

        Args:
            run_stage: does a stage and answers ``done``, ``failed`` or ``stopped``; None if no stage queue is served.
            queues: `PIPELINE_QUEUE` and names of stages.
            slots: stages of one kind that this process may have at once.
            alone: whether no other process adds work to this database.
        """
        global _run_stage
        _run_stage = run_stage
        DBOS.listen_queues(list(queues))
        DBOS.launch()
        # Limits live in the database and the last to register wins: who serves a queue registers it, nobody else.
        for name in queues:
            limit = PIPELINES_AT_ONCE if name == PIPELINE_QUEUE else slots
            DBOS.register_queue(
                name, worker_concurrency=limit, polling_interval_sec=self._poll, on_conflict="always_update"
            )
        if self._listener:
            self._listener.start()
        self._bell.rely(alone and not self._listener)

    def stop(self) -> None:
        """End the engine's threads; what was running is taken up by whoever recovers this executor."""
        self._bell.close()
        DBOS.destroy(workflow_completion_timeout_sec=0)

    def enqueue(self, case_id: str, session_id: str, run: int, priority: int) -> None:
        """Start the pipeline of a run; the same run twice runs once."""
        job = {"case": case_id, "session": session_id, "run": run, "priority": priority}
        with self._worded():
            DBOS.enqueue_workflow_with_options(
                {
                    "workflow_name": "pipeline",
                    "queue_name": PIPELINE_QUEUE,
                    "workflow_id": _pipeline_id(case_id, run),
                    "priority": priority,
                },
                job,
            )
        _tell(PIPELINE_QUEUE)

    def cancel(self, case_id: str, run: int) -> None:
        """Cancel the pipeline of a run and its stages."""
        with self._worded():
            DBOS.cancel_workflows(_all_ids(case_id, run))
        for stage in STAGES:
            _endings.tell(_stage_id(case_id, run, stage))

    def forget(self, case_id: str, runs: int) -> None:
        """Delete all that the engine's database holds about runs 1 to ``runs`` of a case."""
        ids = [one for run in range(1, runs + 1) for one in _all_ids(case_id, run)]
        if not ids:
            return
        with self._worded():
            DBOS.delete_workflows(ids)
        if self._engine.dialect.name == "sqlite":
            with self._engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def held(self) -> dict[str, int]:
        """Cases that the engine's database holds anything about, and their highest run."""
        runs: dict[str, int] = {}
        with self._worded():
            kept = DBOS.list_workflows(name=["pipeline", "stage"], load_input=False, load_output=False)
        for status in kept:
            case_id, run = status.workflow_id.split(":")[:2]
            runs[case_id] = max(runs.get(case_id, 0), int(run))
        return runs

    def has_ended(self, case_id: str, run: int) -> bool | None:
        """Whether the pipeline of a run has come to an end, whatever end; None if it was never enqueued."""
        with self._worded():
            status = _status(_pipeline_id(case_id, run))
        return None if status is None else status not in UNFINISHED

    def recover(self, executors: Sequence[str]) -> int:
        """Give the unfinished work of dead processes back to the queues; returns how many workflows."""
        # Private but idempotent: it moves rows from the dead executors back to their queues, and nothing else.
        recovered = len(DBOS._recover_pending_workflows(list(executors)))
        for name in (PIPELINE_QUEUE, *map(str, STAGES)) if recovered else ():
            _tell(name)
        return recovered

    @contextmanager
    def _worded(self) -> Iterator[None]:
        """A full disk, and a database that does not answer, in the words that everybody knows."""
        try:
            with dbos_patience.at_once():
                yield
        except (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError) as error:
            raise worded(error, self._engine.url) from error

    def check(self) -> None:
        """Raise if the engine's database does not answer."""
        with self._worded(), self._engine.connect() as connection:
            connection.execute(sa.text("select 1"))


def _engine(database_url: str) -> sa.Engine:
    url = sa.make_url(database_url)
    if url.get_backend_name() != "sqlite":
        args = dict(postgres_connection.CONNECT_ARGS)
        return postgres_connection.watch(
            sa.create_engine(url, pool_size=20, max_overflow=20, pool_pre_ping=True, connect_args=args)
        )
    if url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    engine = sa.create_engine(url, pool_size=20, max_overflow=20, connect_args={"timeout": 30})

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, record: Any) -> None:
        connection.isolation_level = "IMMEDIATE"
        pragmas: Mapping[str, str] = {
            "journal_mode": "WAL",
            "busy_timeout": "30000",
            "foreign_keys": "ON",
            "synchronous": "NORMAL",
            # What was deleted must not be readable in free pages.
            "secure_delete": "ON",
        }
        for name, value in pragmas.items():
            connection.execute(f"PRAGMA {name}={value}")

    return engine
