"""Background work of the engine that nothing here has a use for: it is not begun, so that it costs nothing.

No workflow here has a delay, a deadline or a schedule, and none sends the engine's own messages. Looking for them takes
a connection that is held for good, and wakes the process a dozen times a second. The functions that are replaced are
private to the engine, and another version may have found other work for them: there they are left as they are.
"""

from __future__ import annotations

from typing import Any

from hope.adapters import dbos_version


def _nothing(*_: Any) -> None:
    """Stand for a thread's function, and end at once."""


def install() -> None:
    """Leave that work out in this process. Call it before the engine is launched; again and again is fine."""
    if not dbos_version.is_tested():
        return
    from dbos import _dbos, _sys_db, _sys_db_postgres  # private: other versions may lack them

    # It holds a transaction open as long as it rests: the server ends one that is idle for 5 s.
    setattr(_dbos, "background_jobs_thread", _nothing)  # noqa: B010 - private names of the engine
    setattr(_dbos, "dynamic_scheduler_loop", _nothing)  # noqa: B010
    setattr(_sys_db.SystemDatabase, "run_notification_listener", _nothing)  # noqa: B010
    setattr(_sys_db_postgres.PostgresSystemDatabase, "run_notifier", _nothing)  # noqa: B010
