"""The child process: one answer a job, nothing else on stdout, and dead with its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.unit.jobs.driving import child

ODD = "odd_bodies"
FINE = {"done": {"artifacts": [], "result": None}}


def gone(pid: int, seconds: float = 5.0) -> bool:
    """Whether the process ends in time (a zombie has ended)."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.02)
    return False


def test_what_libraries_print_is_no_answer(tmp_path: Path) -> None:
    with child(ODD, tmp_path / "err") as driven:
        answer, _ = driven.answer({"do": "prints"})
        assert answer == {"done": {"artifacts": [], "result": {"stdin": ""}}}
        answer, _ = driven.answer({"do": "tells"})
        assert answer == FINE
    log = (tmp_path / "err").read_text()
    assert "by a library" in log
    assert "straight to descriptor 1" in log
    assert "from a process of its own" in log


def test_modules_are_imported_before_the_first_job(tmp_path: Path) -> None:
    for ahead in ((), ("no_such_module", "colorsys")):
        with child(ODD, tmp_path / "err", ahead=ahead) as driven:
            answer, _ = driven.answer({"do": "modules"})
        assert answer["done"]["result"] == {"imported": bool(ahead)}
    assert "ModuleNotFoundError" in (tmp_path / "err").read_text()


def test_progress_is_told_but_does_not_flood() -> None:
    with child(ODD) as driven:
        _, reported = driven.answer({"do": "tells"})
    shares = [line["share"] for line in reported]
    assert all(line["message"] == "work" for line in reported)
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    assert 50 <= len(shares) <= 210


def test_signs_of_life_come_while_working() -> None:
    with child(ODD) as driven:
        driven.send({"do": "sleeps"})
        assert driven.line()["message"] == "asleep"
        begin = time.monotonic()
        assert driven.line() == {"alive": True}
        assert driven.line() == {"alive": True}
        assert 3.0 < time.monotonic() - begin < 8.0


@pytest.mark.parametrize(
    ("do", "kind", "sentence"),
    [
        ("wrong_input", "input", "t1c is an empty image (got every voxel is 0); export the scan again"),
        ("bundle", "ours", "it is like this"),
        ("output", "ours", "it is like this"),
        ("wraps", "ours", "registration diverged"),
        ("hungry", "ours", "this machine's memory does not suffice for hungry"),
        ("full", "full", "full: the disk is full; free some space, then it goes on"),
        ("quotes", "ours", "quotes failed: an unforeseen ValueError, see the worker's log"),
        ("not_json", "ours", "a stage answered with something that is not plain JSON"),
        ("unknown", "ours", "unknown failed: an unforeseen KeyError, see the worker's log"),
    ],
)
def test_errors_become_one_sentence_and_the_child_goes_on(do: str, kind: str, sentence: str, tmp_path: Path) -> None:
    with child(ODD, tmp_path / "err") as driven:
        answer, _ = driven.answer({"do": do})
        assert {key: answer["error"][key] for key in ("kind", "message")} == {"kind": kind, "message": sentence}
        assert ("parts" in answer["error"]) == (kind == "input")
        answer, _ = driven.answer({"do": "tells"})
        assert answer == FINE
    log = (tmp_path / "err").read_text()
    assert "SURNAMEMARK" not in log
    if do in ("quotes", "wraps"):
        assert "in quotes" in log
        assert "ValueError" in log


def test_temporary_files_lie_in_the_jobs_own_folder(tmp_path: Path) -> None:
    """Of Python's libraries and of programs that a job starts; the next job's lie in the next job's folder."""
    with child(ODD) as driven:
        for name in ("first", "second"):
            (tmp_path / name).mkdir()
            answer, _ = driven.answer({"do": "litters", "scratch": str(tmp_path / name)})
            places = {Path(path).parent for path in answer["done"]["result"].values()}
            assert places == {tmp_path / name}


def test_a_line_that_is_no_job_is_answered_too() -> None:
    with child(ODD) as driven:
        for line in (b"not json\n", b"[1]\n", b"{}\n", b"\xff\n"):
            answer, _ = driven.answer(line)
            assert answer["error"]["kind"] == "ours"
        assert driven.answer({"do": "tells"})[0] == FINE


def test_a_module_that_cannot_be_imported_is_said(tmp_path: Path) -> None:
    with child("no_such_module", tmp_path / "err", ready=False) as driven:
        assert driven.line()["error"]["kind"] == "ours"
        assert driven.process.wait(10) == 1
    assert "ModuleNotFoundError" in (tmp_path / "err").read_text()


@pytest.mark.parametrize("do", ["", "sleeps", "deaf"])
def test_the_end_of_stdin_ends_it_even_at_work(do: str) -> None:
    with child(ODD) as driven:
        if do:
            driven.send({"do": do})
            driven.line()
        assert driven.process.stdin is not None
        driven.process.stdin.close()
        assert driven.process.wait(20) == 0


def test_sigterm_ends_it_at_once() -> None:
    with child(ODD) as driven:
        driven.send({"do": "sleeps"})
        driven.line()
        begin = time.monotonic()
        driven.process.terminate()
        assert driven.process.wait(20) == -signal.SIGTERM
        assert time.monotonic() - begin < 10.0, "it sleeps for a minute"


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's signal at the parent's death is Linux's own")
def test_a_killed_parent_takes_it_along_though_the_pipe_stays_open() -> None:
    """The pipe is held open here, so that only the kernel's signal can end the child."""
    read, write = os.pipe()
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import subprocess, sys, time\n"
            "p = subprocess.Popen([sys.executable, '-m', 'hope.jobs.child', 'hope.testing.short_stages'],\n"
            "    stdin=0, stdout=subprocess.PIPE, start_new_session=True)\n"
            "p.stdout.readline(); print(p.pid, flush=True); time.sleep(60)",
        ],
        stdin=read,
        stdout=subprocess.PIPE,
    )
    try:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert not gone(pid, 0.2)
        parent.kill()
        parent.wait()
        assert gone(pid)
    finally:
        parent.kill()
        parent.wait()
        os.close(read)
        os.close(write)
