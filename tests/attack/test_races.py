"""Two calls at once on one case, in all pairs: every answer is true afterwards, and nothing is left.

ATTACK_LONG=1 does 100 rounds of each pair instead of one, ATTACK_ROUNDS as many as it says; ATTACK_SEED
chooses another order.
"""

from __future__ import annotations

import gzip
import itertools
import os
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from tests.unit.web.fakes import nifti

from hope.testing.fleet import Fleet, SessionClient, small_scan
from hope.testing.live_files import files_below

ROUNDS = int(os.environ.get("ATTACK_ROUNDS") or (100 if os.environ.get("ATTACK_LONG") else 1))
SEED = int(os.environ.get("ATTACK_SEED") or 18)
ACTIONS = ("correct", "assign", "run", "cancel", "delete", "upload", "kill")
PAIRS = tuple(itertools.combinations_with_replacement(ACTIONS, 2))
SIDE_BY_SIDE = 4

AsyncResult = tuple[str, int, httpx.Response]


class Round:
    """One case in a session of its own, in a state in which both actions can be wanted."""

    def __init__(self, fleet: Fleet, pair: tuple[str, str], seed: int) -> None:
        self.pair, self.random = pair, random.Random(seed)
        self.client: SessionClient = fleet.client(120)
        self.http = self.client.http
        self.case = self.client.new_case({"t1n": small_scan(1), "t1c": small_scan(2)})
        self.path = f"/api/cases/{self.case}"
        if "correct" in pair:
            self.client.run(self.case)
            assert self.client.wait(self.case) == "done"
        elif "cancel" in pair:
            self.client.run(self.case)
        self.answers: list[AsyncResult] = []

    def act(self, action: str, number: int) -> AsyncResult:
        """Do one of the two, a moment later or not."""
        time.sleep(self.random.choice((0, 0, 0.003, 0.02, 0.1)))
        calls: dict[str, Callable[[], httpx.Response]] = {
            "correct": lambda: self.http.put(f"{self.path}/segmentation", content=mask(number)),
            "assign": lambda: self.http.put(f"{self.path}/assignments", json=wanted(number)),
            "run": lambda: self.http.post(f"{self.path}/run", json={}),
            "cancel": lambda: self.http.post(f"{self.path}/cancel"),
            "delete": lambda: self.http.delete(self.path),
            "upload": lambda: self.http.put(f"{self.path}/series/t1c", content=small_scan(10 + number)),
            "kill": lambda: self.http.delete("/api/session"),
        }
        return action, number, calls[action]()

    def check(self, answers: list[AsyncResult]) -> None:
        """Look at everything that was said, when all has come to rest."""
        said = [(action, answer.status_code) for action, _, answer in answers]
        ok = [action for action, status in said if status in (200, 202)]
        for action, status in said:
            assert status in (200, 202, 401, 404, 409), (said, [answer.text for _, _, answer in answers])
            if status in (401, 404):
                assert {"delete", "kill"} & set(ok), said
            if status == 409:
                assert action in ("correct", "assign", "run", "upload") and {"run", "cancel"} & set(self.pair), said
        if "kill" in ok:
            assert self.http.get("/api/session").status_code == 401
            return
        if "delete" in ok:
            assert self.http.get(self.path).status_code == 404
            return
        assert ok, said
        case = self.rest()
        self.answers = answers
        for action, number, answer in answers:
            if answer.status_code in (200, 202):
                getattr(self, f"_after_{action}")(case, number, answer, ok)

    def accepted(self, action: str) -> list[AsyncResult]:
        """The answers that say it was done."""
        return [one for one in self.answers if one[0] == action and one[2].status_code in (200, 202)]

    def rest(self) -> dict[str, object]:
        """The case when nothing works on it any more."""
        self.client.wait(self.case, 180, ("new", "done", "failed", "cancelled"))
        found: dict[str, object] = self.client.call("GET", self.path)
        return found

    def _after_correct(self, case: dict[str, object], number: int, answer: httpx.Response, ok: list[str]) -> None:
        name = answer.json()["name"]
        fetched = self.http.get(f"{self.path}/files/{name}")
        if "run" in ok and fetched.status_code == 404:
            return  # the run came after it and replaced the result that it corrects
        assert gzip.decompress(fetched.content) == mask(number), (name, fetched.status_code)

    def _after_assign(self, case: dict[str, object], number: int, answer: httpx.Response, ok: list[str]) -> None:
        if "upload" in ok:
            return  # which of the two was first is nobody's promise; `_after_upload` looks
        possible = [wanted(other) for other in ((0, 1) if ok.count("assign") == 2 else (number,))]
        assert {s["sequence"]: s["key"] for s in series(case) if s["sequence"]} in possible, series(case)

    def _after_run(self, case: dict[str, object], number: int, answer: httpx.Response, ok: list[str]) -> None:
        mine, runs = answer.json()["run"], [other.json()["run"] for _, _, other in self.accepted("run")]
        assert len(set(runs)) == len(runs), "a run begins once"
        if mine != max(runs):
            return  # it had ended when the other was asked for, on a machine that stood still for as long
        assert case["run"] == mine
        assert case["state"] in (("done", "cancelled") if "cancel" in ok else ("done",)), case
        assert [(s["key"], s["sequence"], s["sha256"]) for s in series(case)] == [
            (s["key"], s["sequence"], s["sha256"]) for s in answer.json()["series"]
        ] or {"assign", "upload"} & set(ok)

    def _after_cancel(self, case: dict[str, object], number: int, answer: httpx.Response, ok: list[str]) -> None:
        if "run" not in ok:
            assert case["state"] == answer.json()["state"]

    def _after_upload(self, case: dict[str, object], number: int, answer: httpx.Response, ok: list[str]) -> None:
        stored = {s["key"]: s for s in series(case)}
        reported = answer.json()
        if ok.count("upload") == 1:
            assert stored[reported["key"]]["sha256"] == reported["sha256"]
            content = self.http.get(f"{self.path}/series/{reported['key']}").content
            assert content[352:] == small_scan(10 + number)[352:]
        assert sum(s["sequence"] == "t1c" for s in series(case)) <= 1


def series(case: dict[str, object]) -> list[dict[str, str]]:
    found = case["series"]
    assert isinstance(found, list)
    return found


def wanted(number: int) -> dict[str, str]:
    return {"t1n": "t1c", "t1c": "t1n"} if number else {"t2w": "t1n", "t2f": "t1c"}


def mask(number: int) -> bytes:
    return nifti((4, 4, 4), datatype=2, itemsize=1, voxels=bytes([1 + number]) * 64)


def one_round(fleet: Fleet, pair: tuple[str, str], seed: int) -> Counter[str]:
    """Both at once; returns what they answered."""
    play = Round(fleet, pair, seed)
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(play.act, pair, (0, 1)))
    try:
        play.check(answers)
    except AssertionError as error:
        reported = [(action, answer.status_code, answer.text[:400]) for action, _, answer in answers]
        raise AssertionError(f"{pair} with seed {seed}: {error}; {reported}") from error
    play.http.delete("/api/session")
    return Counter(f"{action} {answer.status_code}" for action, _, answer in answers)


def left_behind(data: Path) -> list[str]:
    """Files and rows of sessions that are all deleted."""
    files = [str(path) for path in files_below(data / "blobs")]
    directories = [p for p in files_below(data / "scratch") if p.suffix != ".lock"]
    rows = []
    with sqlite3.connect(data / "hope.sqlite") as connection:
        for table in ("sessions", "cases", "series", "stages", "attempts", "artifacts", "events", "uploads"):
            count = connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608 - names of our own
            rows += [f"{count} rows of {table}"] if count else []
    with sqlite3.connect(data / "hope-engine.sqlite") as connection:
        count = connection.execute("SELECT count(*) FROM workflow_status").fetchone()[0]
        rows += [f"{count} workflows"] if count else []
    return [*files, *map(str, directories), *rows]


@pytest.mark.slow
@pytest.mark.timeout(max(600, 28 * ROUNDS * 10))
def test_two_calls_at_once_tell_the_truth_and_leave_nothing(tmp_path: Path) -> None:
    # All sessions come from one address: the limit of calls and of refused tokens is for another test.
    environment = {"HOPE_SHORT_SECONDS": "0.02", "HOPE_WORKERS": "4", "HOPE_REQUESTS_PER_MINUTE": "1000000"}
    fleet = Fleet(tmp_path, environment)
    try:
        fleet.start("up")
        fleet.wait_ready()
        plan = [(pair, SEED * 10**6 + turn * 100 + place) for turn in range(ROUNDS) for place, pair in enumerate(PAIRS)]
        random.Random(SEED).shuffle(plan)
        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            answers = sum(pool.map(lambda one: one_round(fleet, *one), plan), Counter[str]())
        print(f"{len(plan)} rounds of {len(PAIRS)} pairs: {dict(sorted(answers.items()))}")  # noqa: T201
        deadline = time.monotonic() + 60
        while (left := left_behind(tmp_path / "data")) and time.monotonic() < deadline:
            time.sleep(0.5)  # the engine may note the end of what it was just told to forget; the keeper clears that
        assert left == []
        assert len({name.partition(" ")[0] for name in answers}) == len(ACTIONS)
    finally:
        fleet.stop()
