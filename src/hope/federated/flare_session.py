"""Submits a job to a running FLARE server, waits for its end and fetches the result; a script for ``poc``.

Only ``flare``, ``flare_training`` and it import FLARE.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any, Final

from nvflare.fuel.flare_api.api_spec import NoConnection, TargetType
from nvflare.fuel.flare_api.flare_api import Session, new_secure_session

CONNECT_SECONDS: Final = 120.0
SHUTDOWN_SECONDS: Final = 30.0


def run_job(user: str, kit: Path, job: Path, sites: int, fetched: Path) -> None:
    """Run a job on a deployment and shut the deployment down.

    Args:
        user: name of the administrator whose kit it is.
        kit: the administrator's startup kit.
        job: directory of the job.
        sites: how many have to be connected before the job is submitted.
        fetched: the result goes there.
    """
    session = _connected(user, kit, sites)
    try:
        job_id = session.submit_job(str(job))
        session.wait_for_job(job_id)
        session.download_job_result(job_id, str(fetched))
    finally:
        session.shutdown(TargetType.ALL, wait=False, timeout=SHUTDOWN_SECONDS)
        session.close()


def _connected(user: str, kit: Path, sites: int) -> Any:
    """A session with a server that knows all sites; the last error if that takes too long."""
    limit = time.monotonic() + CONNECT_SECONDS
    while True:
        session: Session | None = None
        try:
            session = new_secure_session(user, str(kit))
            found = len(session.get_system_info().client_info)
            if found >= sites:
                return session
            raise NoConnection(f"{found} of {sites} sites are connected")
        except NoConnection:
            if session is not None:
                session.close()
            if time.monotonic() > limit:
                raise
        time.sleep(1.0)


if __name__ == "__main__":
    run_job(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5]))
