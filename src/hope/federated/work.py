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
from hope.federated.responses import Difference, Refusal, Response, read_response
from hope.federated.site import CASES, DIFFERENCE, GIVEN, Request, respond
from hope.federated.weights import Array, Weights, read_arrays, write_arrays
from hope.formats.bounded_program import bounded_command
from hope.formats.private_directory import private_directory
from hope.settings import Settings

POLL_SECONDS: Final = 0.2
REQUEST, RESPONSE = "request.json", "response.json"


def work(request: Request, stopped: Callable[[], bool] = lambda: False) -> Response:
    """Respond to a request in a child process, whose temporary files go with it.

    Args:
        request: what is asked.
        stopped: says that the answer is not wanted any more; the child is killed then.
    """
    with private_directory() as private:
        return _work_in(private, request, stopped)


def train(
    request: Request, weights: Weights, cases: Path, stopped: Callable[[], bool] = lambda: False
) -> tuple[Response, dict[str, Array] | None]:
    """Respond to a task of a training; see ``work``.

    Args:
        request: what is asked.
        weights: the server's.
        cases: directory for the site's cases on the model's grid, which later tasks of the job use again.
        stopped: as of ``work``.

    Returns:
        the response, and the difference of the weights if it is one of training.
    """
    with private_directory() as private:
        folder = private
        write_arrays(folder / GIVEN, weights)
        (folder / CASES).symlink_to(cases, target_is_directory=True)
        given = _work_in(folder, request, stopped)
        try:
            return given, read_arrays(folder / DIFFERENCE) if isinstance(given, Difference) else None
        except InputError:
            return Refusal(code="failed"), None


def _work_in(folder: Path, request: Request, stopped: Callable[[], bool]) -> Response:
    (folder / REQUEST).write_text(request.model_dump_json(), encoding="utf-8")
    command = bounded_command([sys.executable, "-m", "hope.federated.work", str(folder)], {})
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
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
        given = respond(request, settings, folder)
    (folder / RESPONSE).write_text(given.model_dump_json(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
