"""Two hosts that share Postgres and S3 only: one vanishes, another keeps the platform's locks, clocks are 30 s apart.

python benchmarks/platform_hosts.py [--pipelines 60] [--skew 30] [--seed N]        (root; Debian: iproute2)

A host is a network namespace with a line of its own to the stores and folders of its own. Gateway and a worker run on
the first, a worker on the second. A host vanishes when its line is cut: its processes live on and hear nothing. The
second host's clock is the wall clock of its Python processes (`time.time`) plus the offset; libfaketime is not used,
because the interpreter's sleeps fail under it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from machine import machine
from platform_faults import LIMIT_SECONDS, all_events, doubled, persist, start_case

from hope.testing.fleet import Fleet, SessionClient, small_scan
from hope.web.auth.api_tokens import new_api_token

NETWORK = "10.213.0.0/16"
AHEAD = """
import sys, time
wall, ahead = time.time, float(sys.argv.pop(1))
time.time = lambda: wall() + ahead
from hope.cli import main
sys.exit(main())
"""
HOLDER = """
import sys, time
from hope.adapters.cases_sql.database import LOCK_EVENTS, Database
with Database(sys.argv[1]).write() as transaction:
    transaction.alone(LOCK_EVENTS)
    print("held", flush=True)
    time.sleep(3600)
"""


def ip(*words: str) -> None:
    """One command of iproute2."""
    subprocess.run(["ip", *words], check=True, capture_output=True)


@dataclass
class Host:
    """A network namespace and its line.

    Attributes:
        number: 1 or 2; part of its addresses and names.
        skew: seconds that its clock is ahead.
    """

    number: int
    skew: float = 0.0
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.name = f"hope-{os.getpid()}-{self.number}"
        self.near, self.far = f"hp{os.getpid() % 100000}n{self.number}", f"hp{os.getpid() % 100000}f{self.number}"
        self.stores, self.address = f"10.213.{self.number}.1", f"10.213.{self.number}.2"

    @contextmanager
    def there(self) -> Iterator[Host]:
        """Made, and taken away."""
        ip("netns", "add", self.name)
        try:
            ip("link", "add", self.near, "type", "veth", "peer", "name", self.far, "netns", self.name)
            ip("addr", "add", f"{self.stores}/24", "dev", self.near)
            ip("link", "set", self.near, "up")
            for device, address in ((self.far, f"{self.address}/24"), ("lo", "")):
                if address:
                    ip("-n", self.name, "addr", "add", address, "dev", device)
                ip("-n", self.name, "link", "set", device, "up")
            yield self
        finally:
            ip("netns", "del", self.name)

    def cut(self) -> None:
        """Nothing comes in or goes out any more."""
        ip("link", "set", self.near, "down")

    def restore(self) -> None:
        """The line is whole again."""
        ip("link", "set", self.near, "up")

    def program(self, *words: str) -> list[str]:
        """A Python program as it is started here."""
        return ["ip", "netns", "exec", self.name, sys.executable, *words]

    def hope(self) -> list[str]:
        """What stands for ``hope`` on this host."""
        return self.program("-c", AHEAD, str(self.skew)) if self.skew else self.program("-m", "hope.cli")


class Two:
    """The platform on two hosts."""

    def __init__(self, folder: Path, hosts: list[Host], postgres: str, s3_port: int, bucket: str) -> None:
        self.hosts, self._postgres, self._s3_port = hosts, postgres, s3_port
        self.token, line = new_api_token("campaign")
        (folder / "tokens").write_text(line + "\n")
        (folder / "tokens").chmod(0o600)
        self.fleet = Fleet(folder, {"HOPE_SHORT_SECONDS": "0.5", "HOPE_MAX_CASES_IN_WORK": "1000"})
        self.fleet.host = hosts[0].address
        self.fleet.environment |= {
            "HOPE_HOST": hosts[0].address,
            "HOPE_API_TOKENS_FILE": str(folder / "tokens"),
            "HOPE_BLOBS_URL": bucket,
            "AWS_ACCESS_KEY_ID": "x",
            "AWS_SECRET_ACCESS_KEY": "x",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def url(self, host: Host) -> str:
        """The database, as a host finds it."""
        return self._postgres.replace("127.0.0.1", host.stores)

    def start(self, host: Host, *words: str) -> None:
        """Start ``hope WORDS`` on a host."""
        place = {
            "HOPE_DATA_DIR": str(self.fleet.folder / f"host-{host.number}" / f"{words[0]}-{len(host.processes)}"),
            "HOPE_DATABASE_URL": self.url(host),
            "HOPE_S3_ENDPOINT_URL": f"http://{host.stores}:{self._s3_port}",
        }
        host.processes.append(self.fleet.start(*words, environment=place, program=host.hope()))

    def wait_alive(self, processes: int) -> None:
        """Wait until so many processes hold a lease."""
        import psycopg

        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            with psycopg.connect(self._postgres.replace("+psycopg", "")) as connection:
                query = "SELECT count(*) FROM leases WHERE deadline > extract(epoch from now())"
                if int(connection.execute(query).fetchone()[0]) >= processes:  # type: ignore[index]
                    return
            time.sleep(0.2)
        raise TimeoutError(self.fleet.logs())

    def kill(self, host: Host) -> None:
        """End all processes of a host, as a power cut does."""
        for process in host.processes:
            self.fleet.kill(process)
        host.processes.clear()

    def client(self) -> SessionClient:
        """A client that is signed in."""
        return self.fleet.client(api_token=self.token)


@contextmanager
def two_hosts(folder: Path, skew: float) -> Iterator[Two]:
    """Stores on this machine, and two hosts that reach them and nothing else."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    import boto3
    from tests.servers import postgres_server, s3_server

    _sweep()
    with ExitStack() as stack:
        hosts = [stack.enter_context(Host(number, skew * (number - 1)).there()) for number in (1, 2)]
        postgres = stack.enter_context(stack.enter_context(postgres_server(NETWORK)).database())
        s3 = stack.enter_context(s3_server("0.0.0.0"))  # noqa: S104 - for as long as the campaign lasts
        keys = {"aws_access_key_id": "x", "aws_secret_access_key": "x", "region_name": "us-east-1"}
        boto3.client("s3", endpoint_url=s3, **keys).create_bucket(Bucket="hope")
        two = Two(folder, hosts, postgres, int(s3.rpartition(":")[2]), "s3://hope/platform")
        stack.callback(two.fleet.stop)
        yield two


def _sweep() -> None:
    """Take away namespaces of campaigns that were killed: their addresses are those of this one."""
    listed = subprocess.run(["ip", "-j", "netns", "list"], check=True, capture_output=True, text=True).stdout
    for name in (str(one["name"]) for one in json.loads(listed or "[]")):
        if (found := re.fullmatch(r"hope-(\d+)-[12]", name)) and not Path("/proc", found[1]).exists():
            ip("netns", "del", name)


def campaign(folder: Path, pipelines: int, skew: float, seed: int) -> dict[str, Any]:
    """Run pipelines while the second host is cut off, comes back, and loses its power; report what came of it."""
    rng = random.Random(seed)  # noqa: S311 - when a line is cut is no secret
    with two_hosts(folder, skew) as two:
        near, far = two.hosts
        two.start(near, "gateway")
        two.fleet.wait_ready(120)
        for host in two.hosts:
            two.start(host, "worker", "--slots", "2")
        two.wait_alive(3)
        clients, scan, begun = [two.client() for _ in range(4)], small_scan(), time.monotonic()
        cases: list[tuple[SessionClient, str]] = []
        cuts = {pipelines // 4: far.cut, pipelines // 2: far.restore, 3 * pipelines // 4: lambda: _power_cut(two, far)}
        for number in range(pipelines):
            client = clients[number % len(clients)]
            cases.append((client, persist(lambda c=client: start_case(c, scan))))
            if number in cuts:
                _until_busy(two, cases)
                time.sleep(rng.random())
                cuts[number]()
        states = Counter(persist(lambda c=client, i=case: c.wait(i, LIMIT_SECONDS)) for client, case in cases)
        seconds = time.monotonic() - begun
        events = [all_events(client, case) for client, case in cases]
        held = _with_the_lock_held(two, near, far, scan)
        return {
            "pipelines": pipelines,
            "clocks apart s": skew,
            "states": dict(states),
            "lost": pipelines - states["done"],
            "finished twice": sum(doubled(one) for one in events),
            "stages begun again": sum(_again(one) for one in events),
            "longest case s": round(max(_length(one) for one in events), 1),
            "goes on after the holder of a lock vanished s": round(held, 1),
            "seconds": round(seconds, 1),
        }


def _until_busy(two: Two, cases: list[tuple[SessionClient, str]]) -> None:
    """Wait until some case is in a stage, so that what happens next happens in the middle of something."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if any(persist(lambda c=client, i=case: c.state(i)) == "running" for client, case in cases[-4:]):
            return
        time.sleep(0.1)
    raise TimeoutError(two.fleet.logs())


def _power_cut(two: Two, host: Host) -> None:
    """The host is gone without a word, and starts anew half a minute later."""
    host.cut()
    two.kill(host)
    time.sleep(10)
    host.restore()
    two.start(host, "worker", "--slots", "2")


def _with_the_lock_held(two: Two, near: Host, far: Host, scan: bytes) -> float:
    """The far host vanishes in a transaction that keeps everybody from writing; seconds until a case is done."""
    client = two.client()
    words = far.program("-c", HOLDER, two.url(far))
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            if holder.stdout.readline().strip() != "held":
                raise SystemExit("the lock could not be taken")
            far.cut()
            begun = time.monotonic()
            case = persist(lambda: start_case(client, scan))
            persist(lambda: client.wait(case, LIMIT_SECONDS))
            return time.monotonic() - begun
        finally:
            holder.kill()
            far.restore()


def _again(events: list[dict[str, Any]]) -> int:
    begun = Counter((e["run"], e["stage"]) for e in events if e["kind"] == "stage" and e["state"] == "running")
    return sum(count - 1 for count in begun.values())


def _length(events: list[dict[str, Any]]) -> float:
    times = [float(event["at"]) for event in events]
    return max(times) - min(times)


def main() -> None:
    """Print the figures; fails if a case was lost or done twice."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pipelines", type=int, default=60)
    parser.add_argument("--skew", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    if os.geteuid() != 0:
        raise SystemExit("network namespaces need root")
    print(machine())
    with tempfile.TemporaryDirectory(prefix="hope-hosts-") as folder:
        result = campaign(Path(folder), chosen.pipelines, chosen.skew, chosen.seed)
    for name, value in result.items():
        print(f"{name:<46}{value}")
    sys.exit(1 if result["lost"] or result["finished twice"] else 0)


if __name__ == "__main__":
    main()
