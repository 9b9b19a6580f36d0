"""``hope`` with short periods: ``python -m hope.testing.short_periods up`` lives through a day in 40 minutes.

What happens again and again, and how long something is kept, is divided by HOPE_SHORT_PERIODS (36 if it is not set). A
pause is never shorter than ``LEAST_SECONDS``, or the processor would do nothing else. Limits that a good run never
meets stay as they are: divided, they would only say that a machine is slow. For the same reason a lease lasts as long
as the settings say, and is renewed so many times as often. How long a session is kept is a setting
(HOPE_SESSION_HOURS).
"""

from __future__ import annotations

import importlib
import os
import runpy
import sys
from types import FunctionType, ModuleType
from typing import Any, Final

DIVISOR: Final = 36.0
LEAST_SECONDS: Final = 0.02

PERIODS: Final = {
    "hope.adapters.cases_sql.database": ("RECYCLE_SECONDS",),
    "hope.adapters.cases_sql.sessions": ("SEEN_EVERY_SECONDS",),
    "hope.adapters.queue_bell": ("LIVELY_SECONDS", "RESTING_SECONDS", "_PROOF_SECONDS"),
    "hope.commands.serve": ("READER_KEEP_SECONDS",),
    "hope.jobs.maintenance": (
        "LEAVE_SECONDS",
        "ORPHAN_SECONDS",
        "PAUSE_SECONDS",
        "PRUNE_SECONDS",
        "STAGING_SECONDS",
    ),
    "hope.jobs.processes": ("KEEP_SECONDS",),
    "hope.jobs.scratch": ("LOOK_SECONDS", "SWEEP_SECONDS", "TOUCH_SECONDS"),
    "hope.jobs.worker": ("HEARTBEAT_SECONDS",),
    "hope.web.case_watch": ("WATCH_SECONDS",),
    "hope.web.connections": ("_TICK_SECONDS",),
    "hope.web.events": (
        "HEARTBEAT_SECONDS",
        "LONGEST_SECONDS",
        "LOOK_SECONDS",
        "POLL_SECONDS",
        "SESSION_CHECK_SECONDS",
    ),
    "hope.web.middleware.repeated_lines": ("WINDOW_SECONDS",),
    "hope.web.notify": ("POLL_SECONDS",),
}
"""Module -> its constants that are divided."""

LIMITS: Final = {
    "hope.adapters.cases_sql.database": ("BUSY_SECONDS", "SCRUB_SECONDS"),
    "hope.adapters.dbos_patience": ("LONGEST_PAUSE_SECONDS",),
    "hope.adapters.queue_bell": ("_AGAIN_SECONDS", "_PROOF_WAIT_SECONDS"),
    "hope.adapters.queue_dbos": ("LOST_NEWS_SECONDS",),
    "hope.jobs.child": ("HEARTBEAT_SECONDS",),  # of a process that does not come through here
    "hope.jobs.lifecycle": ("DEATH_SECONDS", "POLL_SECONDS"),
    "hope.jobs.maintenance": ("INTERRUPTED_SECONDS", "RECONCILE_SECONDS"),
    "hope.jobs.node": ("_STALE_SECONDS",),
    "hope.jobs.processes": ("READY_SECONDS", "SILENCE_SECONDS"),
    "hope.jobs.scratch": ("CLOSE_SECONDS", "SILENT_SECONDS", "_GAP_SECONDS"),
    "hope.jobs.waiting": ("AWAY_SECONDS",),
    "hope.jobs.worker": ("FULL_SECONDS",),
    "hope.web.auth.oidc": ("FLOW_SECONDS", "LOGIN_SECONDS", "TIMEOUT_SECONDS"),
    "hope.web.connections": ("LINGER_SECONDS",),
    "hope.web.errors": ("_AWAY_SECONDS",),
    "hope.web.middleware.stopping": ("RETRY_SECONDS",),
    "hope.web.notify": ("_LATE_SECONDS",),
    "hope.web.outboxes": ("ATTEMPT_SECONDS", "DEADLINE_SECONDS"),
    "hope.web.reading": ("LOOK_SECONDS",),
    "hope.web.routes.service": ("READY_SECONDS",),
    "hope.web.uploads": ("IDLE_SECONDS",),
    "hope.web.webhooks": ("TIMEOUT_SECONDS",),
}
"""Those that are not: limits, and pauses while something is wrong. A test wants every constant in one of the two."""


def shorten(divisor: float) -> None:
    """Divide all periods in this process. Call it before anything is made that keeps one."""
    for module in PERIODS:
        importlib.import_module(module)
    for module, names in PERIODS.items():
        for name in names:
            _replace(sys.modules[module], name, divisor)
    maintenance = sys.modules["hope.jobs.maintenance"]
    setattr(maintenance, "RENEWALS", round(getattr(maintenance, "RENEWALS") * divisor))  # noqa: B009, B010


def _replace(module: ModuleType, name: str, divisor: float) -> None:
    """Change a constant where it is, where it was imported to, and where it is the default of a parameter."""
    old = getattr(module, name)
    new = max(LEAST_SECONDS, old / divisor)
    for other in [one for key, one in sys.modules.items() if key.startswith("hope.")]:
        if getattr(other, name, None) is old and (other is module or isinstance(old, float)):
            setattr(other, name, new)
    for function in _functions(module):
        function.__defaults__ = tuple(new if value is old else value for value in function.__defaults__ or ()) or None
        function.__kwdefaults__ = {
            key: new if value is old else value for key, value in (function.__kwdefaults__ or {}).items()
        }


def _functions(module: ModuleType) -> list[FunctionType]:
    """Functions of a module, and methods of its classes."""
    found: list[Any] = []
    for value in vars(module).values():
        if getattr(value, "__module__", None) == module.__name__:
            found += vars(value).values() if isinstance(value, type) else [value]
    return [value for value in found if isinstance(value, FunctionType)]


def main() -> None:
    """Run ``hope`` with short periods."""
    shorten(float(os.environ.get("HOPE_SHORT_PERIODS") or DIVISOR))
    runpy.run_module("hope.cli", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
