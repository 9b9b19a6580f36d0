"""Kill -9 gateways and workers at random moments while pipelines of short stages run; count what is lost or doubled.

python benchmarks/platform_faults.py [--pipelines 100] [--kills 20] [--database sqlite|postgres|URL] [--seed N]
    [--seconds N] [--burners 2]
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from database import database
from fault_waits import Death, attempts, breakdown, burners, executor_of, noticed, waits
from machine import machine

from hope.testing.fleet import Fleet, SessionClient, small_scan

LIMIT_SECONDS = 600.0


def campaign(
    folder: Path, pipelines: int, kills: int, database_url: str, seed: int, seconds: float = math.inf
) -> dict[str, Any]:
    """Run the pipelines, kill processes meanwhile, and report what came of it. After ``seconds`` none is begun."""
    environment = {"HOPE_SHORT_SECONDS": "0.3", "HOPE_MAX_CASES_IN_WORK": "1000"}
    if database_url != "sqlite":
        environment["HOPE_DATABASE_URL"] = database_url
    fleet = Fleet(folder, environment)
    rng = random.Random(seed)  # noqa: S311 - which process dies is no secret
    roles = [("gateway",), ("worker", "--slots", "2"), ("worker", "--slots", "2")]
    running = [fleet.start(*role) for role in roles]
    fleet.wait_ready(300)
    clients = [fleet.client() for _ in range(4)]
    cases: list[tuple[SessionClient, str]] = []
    scan = small_scan()
    begin = time.monotonic()
    kills_done: list[Death] = []
    starts: list[float] = []
    try:
        for number in range(pipelines):
            if time.monotonic() - begin > seconds:
                break
            client = clients[number % len(clients)]
            cases.append((client, persist(lambda c=client: start_case(c, scan))))
            if len(kills_done) < kills and rng.random() < 1.3 * kills / pipelines:
                which = rng.randrange(len(roles))
                time.sleep(rng.random() * 0.5)
                executor, at = executor_of(running[which].pid), time.time()
                fleet.kill(running[which])
                kills_done.append(Death(at, roles[which][0], executor))
                running[which] = fleet.start(*roles[which])
                if roles[which] == ("gateway",):
                    fleet.wait_ready(300)
                    starts.append(time.time() - kills_done[-1].at)
        states = Counter(persist(lambda c=client, i=case: c.wait(i, LIMIT_SECONDS)) for client, case in cases)
        took = time.monotonic() - begin
        events = [all_events(client, case) for client, case in cases]
        problems = [e["problem"] for one in events for e in one if e.get("problem")]
        fleet.stop()
        time.sleep(0.5)
        parts, undead = waits(attempts(folder, database_url), kills_done, noticed(folder))
        return {
            "pipelines": len(cases),
            "kills": Counter(death.role for death in kills_done),
            "states": dict(states),
            "problems": problems,
            "lost": len(cases) - states["done"],
            "finished twice": sum(doubled(e) for e in events),
            "orphan processes": len(fleet.survivors()),
            "stages begun again": sum(len(recoveries(e, kills_done)) for e in events),
            "begun again, worker alive": undead,
            "after a worker's death": summary([wait for e in events for wait in recoveries(e, kills_done)]),
            "after a gateway's death": summary(takeovers(events, kills_done)),
            "a gateway starts in": summary(starts),
            "where the waits went": "; ".join(breakdown(parts)),
            "seconds": round(took, 1),
        }
    finally:
        fleet.stop()


def start_case(client: SessionClient, scan: bytes) -> str:
    """Upload and start; a case whose run was accepted before the gateway died answers 409, which is as good."""
    case = client.new_case({"t1c": scan})
    response = client.http.post(f"/api/cases/{case}/run", json={})
    if response.status_code not in (202, 409):
        response.raise_for_status()
    return case


def persist(call: Any) -> Any:
    """What a client does while the gateway is being restarted: try again."""
    import httpx

    deadline = time.monotonic() + 60
    while True:
        try:
            return call()
        except (httpx.TransportError, httpx.HTTPStatusError) as error:
            if time.monotonic() > deadline or (
                isinstance(error, httpx.HTTPStatusError) and error.response.status_code not in (409, 429, 503)
            ):
                raise
            time.sleep(0.1)


def all_events(client: SessionClient, case: str) -> list[dict[str, Any]]:
    """The case's history, from its diagnostics."""
    return list(client.call("GET", f"/api/cases/{case}/diagnostics")["events"])


def doubled(events: list[dict[str, Any]]) -> int:
    """How many stages or runs were finished more than once, visibly."""
    done = Counter(
        (e["kind"], e.get("stage", ""), e.get("run"))
        for e in events
        if e["kind"] in ("stage", "state") and e["state"] == "done"
    )
    return sum(count - 1 for count in done.values())


def recoveries(events: list[dict[str, Any]], kills: Sequence[Death]) -> list[float]:
    """Seconds from a worker's death to the moment when a stage that it was doing is begun again.

    The death that counts is the first one after the stage was begun; it may have been the other worker's, hence another
    stage's, so the time is at least what it took.
    """
    begun: dict[tuple[int, str], float] = {}
    found = []
    for event in events:
        if event["kind"] != "stage" or event["state"] != "running":
            continue
        key = (event["run"], event["stage"])
        if key in begun:
            between = [d.at for d in kills if d.role == "worker" and begun[key] < d.at < event["at"]]
            found += [event["at"] - min(between)] if between else []
        begun[key] = event["at"]
    return found


def takeovers(cases: Sequence[list[dict[str, Any]]], kills: Sequence[Death]) -> list[float]:
    """For each gateway that was killed: seconds until a pipeline that it drove begins its next stage.

    A stage that was queued before the gateway's death does not count, as workers do it without a gateway.
    """
    steps = []
    for events in cases:
        stages = [e for e in events if e["kind"] == "stage"]
        first = min((e["at"] for e in stages), default=0.0)
        steps += [
            (first, a["at"], b["at"])
            for a, b in pairwise(stages)
            if a["state"] == "done" and b["state"] == "running" and a["stage"] != b["stage"]
        ]
    found = []
    for death in kills:
        later = [begin - death.at for first, end, begin in steps if first < death.at <= end]
        found += [min(later)] if death.role == "gateway" and later else []
    return found


def summary(seconds: Sequence[float]) -> str:
    """How many, median, 95th percentile and longest, in seconds."""
    if not seconds:
        return "none"
    ranked = sorted(seconds)
    p95 = ranked[math.ceil(0.95 * len(ranked)) - 1]
    return f"{len(ranked)}: median {statistics.median(ranked):.1f}, p95 {p95:.1f}, longest {ranked[-1]:.1f} s"


def one_recovery(folder: Path, role: str, database_url: str = "sqlite", lease_seconds: float = 5.0) -> float:
    """Kill one process while nothing else waits; seconds until the case goes on.

    For a worker, an idle peer takes over; a gateway, or the embedded platform, is started again at once.
    """
    environment = {
        "HOPE_SHORT_SECONDS": f"preprocess:{1.5 if role == 'gateway' else 8},harmonize:1",
        "HOPE_LEASE_SECONDS": str(lease_seconds),
        **({} if database_url == "sqlite" else {"HOPE_DATABASE_URL": database_url}),
    }
    fleet = Fleet(folder, environment)
    try:
        roles = [("up",)] if role == "up" else [("gateway",), ("worker",)]
        running = {index: fleet.start(*one) for index, one in enumerate(roles)}
        fleet.wait_ready()
        client = fleet.client()
        case = start_case(client, small_scan())
        client.wait(case, 60, ("running",))
        if role == "worker":
            fleet.start("worker")  # the idle peer
            time.sleep(4)
            busy = 1
        else:
            busy = 0
        fleet.kill(running[busy])
        killed = time.time()
        if role != "worker":
            fleet.start(*roles[busy])
        persist(lambda: client.wait(case, 120))
        events = all_events(client, case)
        begins = [e["at"] for e in events if e["kind"] == "stage" and e["state"] == "running"]
        return min(at - killed for at in begins if at > killed)
    finally:
        fleet.stop()


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pipelines", type=int, default=100)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--database", default="sqlite")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=math.inf, help="begin no pipeline after so long")
    parser.add_argument("--burners", type=int, default=0, help="loops that keep so many cores busy meanwhile")
    chosen = parser.parse_args()
    print(machine())
    with burners(chosen.burners):
        with database(chosen.database) as url, tempfile.TemporaryDirectory(prefix="hope-faults-") as folder:
            result = campaign(Path(folder), chosen.pipelines, chosen.kills, url, chosen.seed, chosen.seconds)
        for name, value in result.items():
            print(f"{name:<26}{value}")
        for role in ("worker", "gateway") if chosen.database != "sqlite" else ("worker", "gateway", "up"):
            with database(chosen.database) as url, tempfile.TemporaryDirectory(prefix="hope-faults-") as folder:
                print(f"alone: {role} killed, case goes on after {one_recovery(Path(folder), role, url):.1f} s")
    sys.exit(1 if result["lost"] or result["finished twice"] or result["orphan processes"] else 0)


if __name__ == "__main__":
    main()
