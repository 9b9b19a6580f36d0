"""Words of the running platform: sessions, cases in work, stages, attempts, events. Plain facts, no technology.

A *case* is run; each run passes the four *stages* in order; each try of a stage is an *attempt* with an unguessable
token. Only the attempt that is current when it commits counts, whatever else still runs somewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Final

from hope.contract.options import RunOptions
from hope.contract.outputs import OutputFile
from hope.contract.stages import Stage
from hope.domain.case import SEQUENCES, MRSequence
from hope.domain.errors import HopeError

PIPELINE_QUEUE = "pipeline"
"""The queue of whole runs, which gateways serve; each stage's own queue has the stage's name."""

USUAL_PRIORITY = 10
"""Of a session's first case in work; 1 is served first."""


class CaseState(StrEnum):
    """How far a case is."""

    NEW = "new"
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def in_work(self) -> bool:
        """Whether the platform still has something to do for it."""
        return self in (CaseState.QUEUED, CaseState.RUNNING)


class StageState(StrEnum):
    """How far a stage of the current run is."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class EventKind(StrEnum):
    """What `case_events` tell. The data of each kind is documented at `CaseEvent`."""

    SERIES = "series"
    STATE = "state"
    STAGE = "stage"
    PROGRESS = "progress"
    SEGMENTATION = "segmentation"


class GoneError(HopeError):
    """The session or case does not exist for whoever asks: unknown, another's, or deleted. Never says which."""


class FencedError(HopeError):
    """An attempt that is no longer current wanted to write: its outcome must not count."""


class DamagedError(HopeError):
    """Stored bytes are not those that were stored: the hash differs, or they are missing."""


class ConflictError(HopeError):
    """The call does not fit the case's state, such as uploading while it runs."""


@dataclass(frozen=True)
class Session:
    """A user's session. Whoever holds its token may do everything in it, nobody else anything.

    Attributes:
        id: random, not secret by itself.
        owner: who opened it: ``local``, ``token:NAME`` or ``oidc:HASH``; no e-mail address, no name of a person.
        created_at: seconds since 1970, UTC.
        seen_at: when it was last used.
        close_with_page: the user wants it deleted when the page closes.
        notify: where key steps are told: ``{"webhook": URL, "email": ADDRESS}``, both optional. Deleted with it.
        left_at: when the page said goodbye, None while it is open.
    """

    id: str
    owner: str
    created_at: float
    seen_at: float
    close_with_page: bool = False
    notify: Mapping[str, str] = field(default_factory=dict)
    left_at: float | None = None


@dataclass(frozen=True)
class SeriesRecord:
    """One stored scan of a case. No file name, no name, no date: those never enter the store.

    Attributes:
        sequence: which of the four, or None for a DICOM series that nobody has assigned yet.
        key: ``t1n``, ``t1c-2``, ``series-1`` and so on; unique within the case, and never given to another scan unless
            the user replaces this one by name.
        blob_key: where the bytes lie: an uncompressed NIfTI file with a clean header.
        bytes: their number.
        sha256: their hash.
        facts: what the upload answers: shape, spacing_mm, orientation, warnings, and for a zip confidence, reason,
            dicom, whether it was given as such, and whose, marks by which scans of this case alone can be compared.
    """

    sequence: MRSequence | None
    key: str
    blob_key: str
    bytes: int
    sha256: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Artifact:
    """One file that a stage left behind.

    Attributes:
        name: file name, unique within stage and run.
        kind: what it is, in words; empty for what only stages read.
        blob_key: where the bytes lie.
        bytes: their number.
        sha256: their hash.
        stage: who made it; None for a segmentation that the user corrected.
        version: 0 for what the pipeline made; 1, 2, ... for corrections.
        public: whether the user can list and download it.
        output: which file of the case it is; None for what an earlier version left between stages.
    """

    name: str
    kind: str
    blob_key: str
    bytes: int
    sha256: str
    stage: Stage | None
    version: int = 0
    public: bool = False
    output: OutputFile | None = None


@dataclass(frozen=True)
class StageStatus:
    """One stage of the current run.

    Attributes:
        stage: which one.
        state: how far it is.
        share: 0 to 1.
        message: what is being done, in plain words.
        started_at: seconds since 1970, None if it waits.
        ended_at: the same, None while it runs.
        attempts: how often it was begun.
        seen_at: last sign of life of the process that works on it.
    """

    stage: Stage
    state: StageState = StageState.WAITING
    share: float = 0.0
    message: str = ""
    started_at: float | None = None
    ended_at: float | None = None
    attempts: int = 0
    seen_at: float | None = None


MADE_ON: Final = "made_on"
"""What a worker adds to the facts of a result: sequence -> SHA-256 of the scan that it was made on."""


@dataclass(frozen=True)
class CaseRecord:
    """A case as the store knows it.

    Attributes:
        id: random.
        session_id: whose it is.
        number: 1, 2, ... within the session, for people to read.
        state: how far it is.
        created_at: seconds since 1970.
        run: how often it was started; 0 before the first time.
        choice: what the user chose for the current run.
        problem: why it failed, one sentence; empty otherwise.
        problem_is_ours: whether the fault is the platform's and not the input's.
        stages: the stages of the current run, in order; empty before the first run.
        result: the facts of result.json once done, without what only machines read.
        series: the stored scans.
        label: what the user calls it; empty where it has no name.
        correction: ``version`` and ``volumes_ml`` of the corrected mask that is current; empty while the model's is.
    """

    id: str
    session_id: str
    number: int
    state: CaseState
    created_at: float
    run: int = 0
    choice: RunOptions = field(default_factory=RunOptions)
    problem: str = ""
    problem_is_ours: bool = False
    stages: tuple[StageStatus, ...] = ()
    result: Mapping[str, Any] = field(default_factory=dict)
    series: tuple[SeriesRecord, ...] = ()
    label: str = ""
    correction: Mapping[str, Any] = field(default_factory=dict)

    @property
    def scans(self) -> dict[str, str]:
        """Sequence -> SHA-256 of the scan that is it now."""
        return {str(scan.sequence): scan.sha256 for scan in self.series if scan.sequence is not None}

    @property
    def changed_scans(self) -> list[str]:
        """Sequences that were added, replaced or removed since the result was made; those before 0.2 cannot say."""
        made_on = self.result.get(MADE_ON)
        if made_on is None:
            return []
        now = self.scans
        return [sequence for sequence in map(str, SEQUENCES) if now.get(sequence) != made_on.get(sequence)]

    @property
    def version(self) -> int:
        """Which version of the mask is current: 0 for the model's."""
        return int(self.correction.get("version", 0))

    @property
    def sequences(self) -> tuple[MRSequence, ...]:
        """Sequences that were uploaded or assigned, in channel order."""
        there = {record.sequence for record in self.series}
        return tuple(sequence for sequence in SEQUENCES if sequence in there)


@dataclass(frozen=True)
class CaseEvent:
    """One entry of the progress contract.

    Attributes:
        number: grows by time over the whole store; what Last-Event-ID repeats.
        case_id: of which case.
        at: seconds since 1970.
        kind: ``series`` {sequence, key}; ``state`` {state, run, problem?}; ``stage`` {stage, state, run, seconds?,
            problem?}; ``progress`` {stage, share, message, run}; ``segmentation`` {version}.
        data: plain JSON values.
    """

    number: int
    case_id: str
    at: float
    kind: EventKind
    data: Mapping[str, Any]


@dataclass(frozen=True)
class StageJob:
    """One stage of one run of one case: what travels through the queue."""

    case_id: str
    session_id: str
    run: int
    stage: Stage
    priority: int = USUAL_PRIORITY


@dataclass(frozen=True)
class Attempt:
    """The right to write the outcome of a stage, until somebody else begins it.

    Attributes:
        token: unguessable.
        job: which stage of which case.
        executor: which worker process.
        number: 1 for the first try.
        choice: what the user chose.
    """

    token: str
    job: StageJob
    executor: str
    number: int
    choice: RunOptions


@dataclass(frozen=True)
class DeletionReceipt:
    """What was deleted, told to the user and kept nowhere but in the audit log.

    Attributes:
        reference: the hash under which the audit log knows the session.
        cases: number of cases.
        files: number of stored files.
        bytes: their size.
        stopped: number of running stages that were stopped.
        at: when it was complete, seconds since 1970.
        reason: ``user``, ``expired``, ``page closed``, ``interrupted`` (finished later) or ``case deleted``.
        unconfirmed: sentences that say what may still be there for a while, and until when; empty if all is gone.
    """

    reference: str
    cases: int
    files: int
    bytes: int
    stopped: int
    at: float
    reason: str
    unconfirmed: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)
