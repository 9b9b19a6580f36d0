"""Server processes on the loopback address that die with whoever started them: moto's server, the endpoint."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from hope.domain.errors import OutputError
from hope.domain.extras import require_extras

STOP_SECONDS = 30.0
"""Between SIGTERM and SIGKILL, as SageMaker gives a container."""

_LONGEST_PAUSE = 5.0
_FALSE_STARTS = 3
_NOT_PASSED_ON = ("AWS_PROFILE", "AWS_SESSION_TOKEN")  # the user's own account must not be reached by accident

# Asks the kernel for a signal when the parent dies, and becomes the program. In a process of its own: between fork and
# exec of a process with threads no Python may run.
_LAUNCH = (
    "import ctypes, os, sys\n"
    "if sys.platform == 'linux':\n"
    "    ctypes.CDLL(None).prctl(1, 15, 0, 0, 0)\n"
    "    os.getppid() == int(sys.argv[1]) or sys.exit(1)\n"
    "os.execv(sys.argv[2], sys.argv[2:])\n"
)


class ServerProcess:
    """One program that serves HTTP, started again when it ends by itself, as SageMaker does with a container.

    Args:
        command: program and arguments; the program is a path.
        environment: the whole environment.
        log: file to which its output is appended.
        responds: whether it serves; asked again and again by `wait_ready`.
        restart: start it again when it ends.

    Processes are started by a thread of their own that lives as long as they may: the kernel's signal to orphans
    comes with the end of the *thread* that started them.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        responds: Callable[[], bool],
        *,
        restart: bool = False,
    ) -> None:
        self._command, self._environment, self._log = list(command), dict(environment), log
        self._responds, self._restart = responds, restart
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping, self._started = threading.Event(), threading.Event()
        self.starts = 0
        self._thread = threading.Thread(target=self._keep, name=f"watch of {log.stem}", daemon=True)

    @property
    def pid(self) -> int:
        """The process that runs now, or ran last; 0 before the first."""
        return self._process.pid if self._process else 0

    @property
    def alive(self) -> bool:
        """Whether it runs now."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it; returns at once."""
        self._thread.start()
        self._started.wait()

    def wait_ready(self, seconds: float) -> None:
        """Return when it answers.

        Raises:
            OutputError: if it ends again and again or does not answer in time; with its last lines.
        """
        deadline = time.monotonic() + seconds
        starts = self.starts
        while time.monotonic() < deadline and (self.alive or (self._restart and self.starts < starts + _FALSE_STARTS)):
            if self._responds():
                return
            time.sleep(0.05)
        raise OutputError(f"{self._log.stem} did not start within {seconds:g} s; it said: {self.last_output()}")

    def last_output(self) -> str:
        """The end of its output."""
        return self._log.read_text(errors="replace")[-2000:].strip() if self._log.exists() else ""

    def kill(self) -> None:
        """Kill -9; if it is to be started again, it will be."""
        self._signal(signal.SIGKILL)

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """End it politely, then by force; returns when it is dead."""
        self._stopping.set()
        if not self._thread.is_alive():
            return
        self._signal(signal.SIGTERM)
        self._thread.join(seconds)
        if self._thread.is_alive():
            self.kill()
            self._thread.join()

    def _signal(self, number: signal.Signals) -> None:
        if self._process and self._process.poll() is None:
            self._process.send_signal(number)

    def _keep(self) -> None:
        pause = 0.1
        while True:
            begin = time.monotonic()
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-S", "-c", _LAUNCH, str(os.getpid()), *self._command],
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    # Ctrl+C in the terminal is ours to pass on, in order.
                    start_new_session=True,
                )
            self.starts += 1
            self._started.set()
            if self._stopping.is_set():  # stop() may have looked a moment too early
                self._signal(signal.SIGTERM)
            self._process.wait()
            if self._stopping.is_set() or not self._restart:
                return
            pause = 0.1 if time.monotonic() - begin > 10 else min(2 * pause, _LONGEST_PAUSE)
            if self._stopping.wait(pause):
                return


def moto_server(port: int, folder: Path) -> ServerProcess:
    """Moto's server, not yet started: S3, SNS and SQS of a made-up account, in memory.

    Raises:
        InputError: if moto's server is not installed.
    """
    require_extras("the local AWS", "aws-local")
    url = f"http://127.0.0.1:{port}/moto-api/"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    return ServerProcess(command, environment, folder / "aws.log", lambda: _status(url) == 200)


def endpoint_server(port: int, folder: Path, environment: Mapping[str, str]) -> ServerProcess:
    """`hope endpoint`, not yet started, started again when it dies. It is ready when /ping answers 200.

    Args:
        port: where it serves /ping and /invocations.
        folder: its log goes there.
        environment: variables besides those of this process.
    """
    command = [sys.executable, "-m", "hope.cli", "endpoint", "--port", str(port)]
    own = {name: value for name, value in os.environ.items() if name not in _NOT_PASSED_ON}
    whole = {**own, "SAGEMAKER_BIND_TO_PORT": str(port), "PYTHONUNBUFFERED": "1", **environment}
    url = f"http://127.0.0.1:{port}/ping"
    return ServerProcess(command, whole, folder / "endpoint.log", lambda: _status(url) == 200, restart=True)


def _status(url: str) -> int:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=2)
    try:
        connection.request("GET", parts.path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def free_port() -> int:
    """A TCP port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def is_free(port: int) -> bool:
    """Whether nobody listens on a port of the loopback address now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
