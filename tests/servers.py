"""Real servers for tests: Postgres in a private cluster, and an S3 server. They die with whoever starts them."""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import psycopg
import pytest

START_SECONDS = 60.0
HOW_TO_INSTALL = "run tools/system-packages.sh"


def missing(what: str) -> NoReturn:
    """A server that a test needs is not there: in CI that is a failure, elsewhere a skip that says what to do."""
    sentence = f"{what} is not installed; {HOW_TO_INSTALL}"
    if os.environ.get("CI"):
        pytest.fail(sentence, pytrace=False)
    pytest.skip(sentence)


def free_port() -> int:
    """A TCP port of the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class PostgresServer:
    """A cluster of its own, without passwords, reachable from this machine only."""

    port: int
    _names: Iterator[int]

    def url(self, database: str) -> str:
        """What SQLAlchemy connects to."""
        return f"postgresql+psycopg://hope@127.0.0.1:{self.port}/{database}"

    @contextmanager
    def database(self) -> Iterator[str]:
        """The URL of a fresh database, dropped afterwards whoever is still connected."""
        name = f"hope_{next(self._names)}"
        self._do(f"CREATE DATABASE {name}")
        try:
            yield self.url(name)
        finally:
            self._do(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def _do(self, statement: str) -> None:
        with self.connect() as connection:
            connection.execute(statement.encode())

    def connect(self, database: str = "postgres") -> psycopg.Connection[tuple[object, ...]]:
        """A connection as the cluster's owner, outside any transaction."""
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user="hope", dbname=database, autocommit=True, connect_timeout=5
        )


@contextmanager
def postgres_server(network: str = "") -> Iterator[PostgresServer]:
    """Start a cluster; what the programs said is in the message if they refuse.

    Args:
        network: whose addresses may connect as well, `10.0.0.0/8`; none if empty.
    """
    programs = postgres_programs()
    # Postgres refuses root, and its user must be able to reach its folder: so not below pytest's private one.
    user = _unprivileged_user()
    place = Path("/tmp" if user else tempfile.gettempdir())  # noqa: S108
    _sweep(place)
    folder = Path(tempfile.mkdtemp(prefix=f"hope-pg-{os.getpid()}-", dir=place))
    try:
        if user:
            os.chown(folder, user.pw_uid, user.pw_gid)
        data = folder / "data"
        initdb = [
            str(programs / "initdb"),
            "-D",
            str(data),
            "-U",
            "hope",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
            "-N",
        ]
        made = subprocess.run([*_as(user), *initdb], capture_output=True, text=True, cwd=folder, check=False)
        if made.returncode:
            pytest.fail(f"initdb refused: {made.stdout}{made.stderr}", pytrace=False)
        if network:
            with (data / "pg_hba.conf").open("a", encoding="utf-8") as rules:
                rules.write(f"host all all {network} trust\n")
        listen = "*" if network else "127.0.0.1"

        def command(port: int) -> list[str]:
            return _run_postgres(programs, data, user, port, listen)

        with running(command, _postgres_answers, signal.SIGQUIT) as port:
            yield PostgresServer(port, itertools.count(1))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(place: Path) -> None:
    """Remove what earlier runs left that were killed; their servers died with them."""
    for folder in place.glob("hope-pg-*-*"):
        if not Path("/proc", folder.name.split("-")[2]).exists() and Path("/proc/self").exists():
            shutil.rmtree(folder, ignore_errors=True)


def _run_postgres(programs: Path, data: Path, user: pwd.struct_passwd | None, port: int, listen: str) -> list[str]:
    settings = {
        "listen_addresses": listen,
        "port": port,
        "unix_socket_directories": "",
        "max_connections": 200,
        # It lives as long as the tests: nothing has to survive a power cut.
        "fsync": "off",
        "synchronous_commit": "off",
        "full_page_writes": "off",
    }
    options = itertools.chain.from_iterable(("-c", f"{name}={value}") for name, value in settings.items())
    return [*_as(user), str(programs / "postgres"), "-D", str(data), *options]


def _postgres_answers(port: int) -> bool:
    try:
        PostgresServer(port, itertools.count()).connect().close()
    except psycopg.OperationalError:
        return False
    return True


def postgres_programs() -> Path:
    """Where the newest initdb, postgres and pg_dump lie; Debian keeps them off the search path."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name.partition(".")[0]))
    found = shutil.which("initdb")
    folders = [*reversed(debian), *([Path(found).resolve().parent] if found else [])]
    whole = (path for path in folders if (path / "initdb").exists() and (path / "postgres").exists())
    return next(whole, None) or missing("PostgreSQL (initdb, postgres)")


def _unprivileged_user() -> pwd.struct_passwd | None:
    """Who Postgres runs as if we are root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    return missing("an unprivileged user (postgres or nobody)")


def _as(user: pwd.struct_passwd | None) -> list[str]:
    """Run what follows as the user, and let it die with us even if we are killed."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        return [] if user is None else missing("setpriv (package util-linux)")
    identity = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"] if user else []
    return [setpriv, "--pdeathsig=QUIT", *identity, "--"]


def dying_with_us() -> list[str]:
    """What stands before the command of a server that ends with this process."""
    return _as(None)


@dataclass(frozen=True)
class S3Place:
    """A fresh bucket on an S3 server."""

    url: str
    endpoint: str


@contextmanager
def s3_server(listen: str = "127.0.0.1") -> Iterator[str]:
    """Start moto's server on an address; yields where this machine finds it."""
    try:
        import moto.server  # noqa: F401
    except ImportError:
        missing("moto[server] (a development requirement)")

    def command(port: int) -> list[str]:
        return [*_as(None), sys.executable, "-m", "moto.server", "-H", listen, "-p", str(port)]

    with running(command, _listens, signal.SIGTERM) as port:
        yield f"http://127.0.0.1:{port}"


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def running(command: Callable[[int], list[str]], answers: Callable[[int], bool], stop: signal.Signals) -> Iterator[int]:
    """Run a server on a free port until the block ends. Somebody may take the port before it does: then try another."""
    said = ""
    for _ in range(3):
        port = free_port()
        with (
            tempfile.TemporaryFile() as log,
            subprocess.Popen(command(port), stdout=log, stderr=log, cwd="/") as process,
        ):
            try:
                if _wait(process, lambda port=port: answers(port)):
                    yield port
                    return
            finally:
                _end(process, stop)
                log.seek(0)
                said = log.read().decode(errors="replace")[-2000:]
    pytest.fail(f"the server did not start: {said}", pytrace=False)


def _wait(process: subprocess.Popen[bytes], answers: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        if answers():
            return True
        time.sleep(0.05)
    return False


def _end(process: subprocess.Popen[bytes], stop: signal.Signals) -> None:
    process.send_signal(stop)
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
