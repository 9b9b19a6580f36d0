"""What becomes of a study that is whole: it is handed out, or segmented and its objects go back to the archive."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import Final, Protocol

from hope.dicomnet.listener import Listener
from hope.dicomnet.spool import Spool
from hope.domain.errors import HopeError, OutputError, PeerError
from hope.domain.wording import counted
from hope.export.dicom import export_objects, warnings_of
from hope.export.stored_result import read_result
from hope.stages.intake.case_finding import find_all
from hope.stages.intake.intake import CaseSource

RETRY_SECONDS: Final = 60.0
"""Objects that the archive did not take are sent again after so long."""


_LOOK_SECONDS: Final = 0.1
_CLEAN_SECONDS: Final = 60.0


class Worker(Protocol):
    """What works on the studies that wait.

    Attributes:
        ended: how many studies are done with.
    """

    ended: int

    def turn(self) -> bool:
        """Do one piece of work, if there is any; returns whether there was."""


@dataclass
class Delivery:
    """Hand studies out as they came.

    Attributes:
        spool: where they wait, on the disk of ``out``.
        out: each goes into a directory of its own here.
        say: is told in one sentence, without a name, where each lies.
        ended: how many were handed out.
    """

    spool: Spool
    out: Path
    say: Callable[[str], None]
    ended: int = 0

    def turn(self) -> bool:
        """Hand out one study that waits; returns whether there was one."""
        waiting = self.spool.waiting()
        if waiting:
            folder = self.spool.hand_out(waiting[0], self.out)
            self.ended += 1
            self.say(f"{waiting[0]} is in the output directory: {sum(1 for _ in folder.iterdir())} images")
        return bool(waiting)


@dataclass
class HospitalLoop:
    """Work on the studies of a spool, one after another.

    Attributes:
        spool: where they wait.
        segment: segments one case and returns the directory of its result.
        send: sends objects back; None keeps results here and makes no objects.
        say: is told in one sentence, without a name, what was done and what went wrong.
        secret: HOPE_SITE_SECRET, for tracking UIDs.
        retry_seconds: objects that were not taken are sent again after so long.
        ended: how many studies are done with: segmented and sent, or failed.
    """

    spool: Spool
    segment: Callable[[CaseSource], Path]
    send: Callable[[Sequence[Path]], None] | None
    say: Callable[[str], None]
    secret: str = ""
    retry_seconds: float = RETRY_SECONDS
    ended: int = 0
    _next_try: dict[str, float] = field(default_factory=dict)

    def turn(self) -> bool:
        """Work on one study that waits, or send what waits to be sent; returns whether there was anything to do."""
        if waiting := self.spool.waiting():
            self._work(waiting[0])
            return True
        if self.send is None:
            return False
        due = [key for key in self.spool.unsent() if self._next_try.get(key, 0.0) <= monotonic()]
        for key in due:
            self._send(key)
        return bool(due)

    def _work(self, key: str) -> None:
        folder = self.spool.take(key)
        try:
            done = self._segment_all(key, folder)
        except Exception as error:  # one study must not end the service; which error it was is said
            self._deleted(key, self.spool.fail)
            self.ended += 1
            own = f"{type(error).__name__}, our own fault"
            self.say(f"{key} cannot be used: {error if isinstance(error, HopeError) else own}")
            return
        self._deleted(key, self.spool.done)
        self.say(f"{key} is segmented: {', '.join(done)}")
        if self.send is None:
            self.ended += 1
        else:
            self._send(key)

    def _segment_all(self, key: str, folder: Path) -> list[str]:
        """Segment every case of a study and make its objects; returns the names of the cases, with their warnings."""
        cases = []
        for source in find_all([folder], {}).sources:
            result = read_result(self.segment(source))
            warned = warnings_of(result.report)
            cases.append(f"{result.case_id} (warnings: {', '.join(warned)})" if warned else result.case_id)
            if self.send is not None:
                # What a loop that was killed left for this study is ours, of whatever version.
                export_objects(result, folder, self.spool.outgoing(key), secret=self.secret, replace=True)
        return cases

    def _send(self, key: str) -> None:
        assert self.send is not None  # noqa: S101 - objects are made only where they are sent
        files = sorted(self.spool.outgoing(key).glob("*.dcm"))
        try:
            self.send(files)
        except PeerError as error:
            self._next_try[key] = monotonic() + self.retry_seconds
            self.say(f"{key} waits to be sent: {error}; tried again in {self.retry_seconds:.0f} s")
            return
        self._next_try.pop(key, None)
        if not self._deleted(key, self.spool.sent):
            self._next_try[key] = monotonic() + self.retry_seconds  # what stays would be sent again at once
        self.ended += 1
        self.say(f"{key} is sent: {counted(len(files), 'objects')}")

    def _deleted(self, key: str, delete: Callable[[str], None]) -> bool:
        """Delete what is not needed any more; what cannot be deleted is said, and does not end the service."""
        try:
            delete(key)
        except OutputError as error:
            self.say(f"{key}: {error}")
            return False
        return True


def serve(listener: Listener, spool: Spool, worker: Worker, say: Callable[[str], None], studies: int = 0) -> None:
    """Close studies as they become whole and quiet, and let the worker do its work, until the process is ended.

    Args:
        listener: listens already.
        spool: where it puts images.
        worker: what is done with a study that is whole.
        say: is told in one sentence, without a name, what happens.
        studies: end after so many studies; 0 never ends.
    """
    reported: dict[str, str] = {}
    next_cleaning = monotonic()
    while not studies or worker.ended < studies:
        listener.end_associations()
        for key in spool.close_quiet():
            say(f"{key} is whole")
        held = dict(spool.held())
        for key, why in held.items():
            if reported.get(key) != why:
                say(f"{key} is held: {why}; send the study again")
        reported = held
        if monotonic() >= next_cleaning:
            next_cleaning = monotonic() + _CLEAN_SECONDS
            try:
                count = spool.clean()
            except OutputError as error:
                say(f"what lies in the spool too long: {error}")
            else:
                if count:
                    say(f"deleted from the spool, its time was up: {count}")
        if not worker.turn():
            sleep(_LOOK_SECONDS)
