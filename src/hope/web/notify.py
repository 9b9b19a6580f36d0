"""Tells users by webhook and e-mail when their cases start, finish or fail. Nothing told names a patient.

The notifier watches the store's events, because the process that finishes a case may be on another machine. Each
gateway watches for itself: with several of them a step is told more than once, with the same event id, so that
receivers can drop doubles. What happens while no gateway runs is not told afterwards.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, Protocol

from anyio import CapacityLimiter, to_thread

from hope.contract.job import CaseEvent, CaseRecord, CaseState, EventKind, Session
from hope.settings import PlatformSettings, Settings
from hope.web.middleware.logs import error_facts
from hope.web.middleware.security import is_public
from hope.web.outboxes import Outboxes, Receiver
from hope.web.webhooks import post, send_mail

POLL_SECONDS: Final = 1.0
BACK_OFF_SECONDS: Final = (2.0, 10.0, 60.0)
"""Pauses after the first, second and third failure in a row, and after each later one."""

MOST_REMEMBERED: Final = 1000
MAILS_AT_ONCE: Final = 8
_PAGE: Final = 500
_LATE_SECONDS: Final = 5.0
"""A look may come so long after somebody has asked to be told."""
_QUIET_POLLS: Final = 3
"""While nobody wants to be told, the pause is so many times as long; it must stay below that."""

_WORDS: Final = {
    CaseState.RUNNING: "has started",
    CaseState.DONE: "is done",
    CaseState.FAILED: "has failed",
}

log = logging.getLogger(__name__)


class EventStore(Protocol):
    """The part of `hope.ports.CaseStore` that the notifier needs."""

    def now(self) -> float:
        """Seconds since 1970 by the clock that events are written by."""
        ...

    def sessions(self) -> list[Session]:
        """All living sessions."""
        ...

    def cases(self, session_id: str) -> list[CaseRecord]:
        """All cases of a session."""
        ...

    def events(self, case_ids: Collection[str], after: int, limit: int = 500) -> list[CaseEvent]:
        """Events in order."""
        ...


@dataclass(frozen=True)
class Notice:
    """One thing to tell one user.

    Attributes:
        event_id: the same wherever and however often it is sent; leads back to nothing.
        case_number: 1, 2, ... within the session.
        state: running, done or failed.
        at: seconds since 1970.
        targets: ``webhook``, ``email`` or both.
    """

    event_id: str
    case_number: int
    state: CaseState
    at: float
    targets: Mapping[str, str]


class Notifier:
    """Background work of a gateway: `run` it as a task, and cancel that to stop.

    Args:
        settings: what the environment chose.
        store: whose events are watched; its calls block and run in threads.
        poll_seconds: pause between two looks while somebody wants to be told.
        back_off_seconds: pauses between tries.
        webhook: sends one webhook; replaced in tests.
        mail: sends one e-mail, blocking; replaced in tests.
    """

    def __init__(
        self,
        settings: Settings,
        store: EventStore,
        *,
        poll_seconds: float = POLL_SECONDS,
        back_off_seconds: tuple[float, ...] = BACK_OFF_SECONDS,
        webhook: Callable[..., Awaitable[None]] = post,
        mail: Callable[[PlatformSettings, str, str, str, str], None] = send_mail,
    ) -> None:
        self._platform, self._store = settings.platform, store
        self._poll_seconds = poll_seconds
        self._webhook, self._mail = webhook, mail
        self._outboxes: Outboxes[Notice] = Outboxes(self._send, back_off_seconds)
        # Threads of their own, so that neither waits behind other calls, nor they behind a server that hangs.
        self._looking, self._mailing = CapacityLimiter(1), CapacityLimiter(MAILS_AT_ONCE)
        self._found: deque[tuple[str, Notice]] = deque()
        self._after = 0
        self._since: dict[str, float] = {}
        self._announced: OrderedDict[str, None] = OrderedDict()

    @property
    def waiting(self) -> int:
        """Receivers for which notices wait or are being sent."""
        return len(self._outboxes)

    async def run(self) -> None:
        """Watch and send until cancelled; whatever goes wrong is logged and the next look taken."""
        try:
            while True:
                try:
                    await to_thread.run_sync(self._look, limiter=self._looking)
                except Exception as error:
                    _log_failure("notifications could not be looked up", error)
                else:
                    self._outboxes.keep(self._since.keys())
                while self._found:
                    session_id, notice = self._found.popleft()
                    for way, target in notice.targets.items():
                        self._outboxes.put(Receiver(session_id, way, target), notice)
                await asyncio.sleep(self._poll_seconds * (1 if self._since else _QUIET_POLLS))
        finally:
            await self._outboxes.close()

    def _look(self) -> None:
        """Find what has happened since the last look to the cases of sessions that want to be told. Blocks."""
        wanting = [session for session in self._store.sessions() if session.notify]
        # Steps from before somebody asked are not told.
        now = self._store.now() if any(s.id not in self._since for s in wanting) else 0.0
        self._since = {s.id: self._since.get(s.id, now - _LATE_SECONDS) for s in wanting}
        owners = {case.id: (case, session) for session in wanting for case in self._store.cases(session.id)}
        while owners:
            page = self._store.events(list(owners), self._after, _PAGE)
            for event in page:
                self._after = max(self._after, event.number)
                notice = self._notice(event, *owners[event.case_id])
                if notice is not None:
                    self._found.append((owners[event.case_id][1].id, notice))
            if len(page) < _PAGE:
                break

    def _notice(self, event: CaseEvent, case: CaseRecord, session: Session) -> Notice | None:
        if event.kind is not EventKind.STATE or event.at < self._since[session.id]:
            return None
        state = event.data.get("state")
        if state not in _WORDS:
            return None
        identity = f"hope-event:{event.case_id}:{event.data.get('run')}:{state}"
        event_id = hashlib.sha256(identity.encode()).hexdigest()[:32]
        # A stage that is tried again may say "running" again.
        if event_id in self._announced:
            return None
        self._announced[event_id] = None
        while len(self._announced) > MOST_REMEMBERED:
            self._announced.popitem(last=False)
        return Notice(event_id, case.number, CaseState(state), event.at, session.notify)

    async def _send(self, receiver: Receiver, notice: Notice) -> None:
        platform, target = self._platform, receiver.target
        if receiver.way == "webhook":
            await self._webhook(target, self._body(notice), notice.event_id, public=is_public(platform))
        elif receiver.way == "email" and platform.smtp_url:
            subject, text = self._letter(notice)
            mail = partial(self._mail, platform, target, subject, text, notice.event_id)
            await to_thread.run_sync(mail, abandon_on_cancel=True, limiter=self._mailing)

    def _body(self, notice: Notice) -> dict[str, Any]:
        body = {"case_number": notice.case_number, "state": str(notice.state), "at": notice.at}
        return {**body, "url": self._platform.public_url} if self._platform.public_url else body

    def _letter(self, notice: Notice) -> tuple[str, str]:
        message = f"Case {notice.case_number} {_WORDS[notice.state]}"
        at = datetime.fromtimestamp(notice.at, UTC).strftime("%Y-%m-%d %H:%M UTC")
        lines = [f"{message} ({at}).", ""]
        if self._platform.public_url:
            lines += [f"Open {self._platform.public_url} in the browser in which you started it.", ""]
        lines += [
            "You asked for this message. It ends with your session.",
            "Research use only. Not a medical device.",
            "",
        ]
        return f"HOPE: {message[0].lower()}{message[1:]}", "\n".join(lines)


def _log_failure(event: str, error: Exception) -> None:
    """No address and no URL: types and places only."""
    kind, where = error_facts(error)
    log.error(event, extra={"error": kind, "where": where})
