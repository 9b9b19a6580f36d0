"""The work of a site in a process of its own: what libraries print or log there reaches nobody, and no error gets out.

FLARE's logs, some of which it can send to the server, therefore never hold a path or a file name of the site.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from hope.domain.errors import InputError
from hope.federated.responses import Refusal, Response, read_response
from hope.federated.site import Request, respond
from hope.formats.bounded_program import bounded_command
from hope.settings import Settings

POLL_SECONDS: Final = 0.2
REQUEST, RESPONSE = "request.json", "response.json"


def work(request: Request, stopped: Callable[[], bool] = lambda: False) -> Response:
    """Respond to a request in a child process, whose temporary files go with it.

    Args:
        request: what is asked.
        stopped: says that the answer is not wanted any more; the child is killed then.
    """
    with tempfile.TemporaryDirectory(prefix="hope-federated-") as private:
        folder = Path(private)
        (folder / REQUEST).write_text(request.model_dump_json(), encoding="utf-8")
        command = bounded_command([sys.executable, "-m", "hope.federated.work", private], {})
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            while child.poll() is None:
                if stopped():
                    return Refusal(code="stopped")
                time.sleep(POLL_SECONDS)
        finally:
            child.kill()
            child.wait()
        try:
            return read_response((folder / RESPONSE).read_bytes())
        except FileNotFoundError:
            return Refusal(code="failed")
        except InputError:
            return Refusal(code="withheld")


def main(folder: Path) -> None:
    """Respond to the request in a directory, into the same directory."""
    tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
    request = Request.model_validate_json((folder / REQUEST).read_bytes())
    try:
        settings = Settings.from_environment()
    except InputError:
        given: Response = Refusal(code="settings")
    else:
        given = respond(request, settings)
    (folder / RESPONSE).write_text(given.model_dump_json(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
