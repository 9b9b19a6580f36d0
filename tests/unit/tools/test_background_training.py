"""The background run: lowest priority, paused while somebody needs the machine, never left paused by one who died."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "tools" / "background_training.sh"
WORK = """#!{python}
import os, sys, time
path = os.path.join(os.getcwd(), "said")
open(path, "a").write(" ".join(sys.argv[3:]) + "\\n")
while True:
    time.sleep(0.05)
"""

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the script reads /proc")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "training"
    (folder / "tree" / "src" / "hope").mkdir(parents=True)  # as if the tree had been copied
    return folder


@pytest.fixture
def tool(folder: Path, tmp_path: Path) -> Iterator[Callable[..., str]]:
    work = tmp_path / "work"
    work.write_text(WORK.format(python=sys.executable))
    work.chmod(0o755)
    environment = {**os.environ, "HOPE_TRAINING_DIR": str(folder), "HOPE_TRAINING_PYTHON": str(work)}

    def call(*arguments: str) -> str:
        return subprocess.run(
            [str(SCRIPT), *arguments], env=environment, capture_output=True, text=True, check=True, timeout=60
        ).stdout

    yield call
    call("stop")


def said(folder: Path) -> list[str]:
    path = folder / "said"
    return path.read_text().splitlines() if path.is_file() else []


def process(folder: Path) -> int:
    return int((folder / "process").read_text().split()[0])


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


def until(condition: Callable[[], bool], seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_it_runs_once_at_the_lowest_priority_with_one_thread(tool: Callable[..., str], folder: Path) -> None:
    assert "not running" in tool("status")
    assert "running" in tool("start")
    pid = process(folder)
    assert os.getpriority(os.PRIO_PROCESS, pid) == 19
    assert os.getpgid(pid) == pid != os.getpgid(0)
    group = Path(f"/proc/{pid}/autogroup")
    assert not os.access(group, os.W_OK) or group.read_text().endswith(" nice 19\n")
    assert until(lambda: len(said(folder)) == 1)
    assert "--threads 1" in said(folder)[0]
    assert f"already running (process {pid})" in tool("start")
    assert process(folder) == pid
    tool("stop")
    assert not Path(f"/proc/{pid}").exists()


def test_it_waits_while_somebody_holds_it_and_no_longer(tool: Callable[..., str], folder: Path) -> None:
    tool("start")
    pid = process(folder)
    holders = [subprocess.Popen(["sleep", "60"]) for _ in range(2)]
    try:
        for holder in holders:
            tool("pause", str(holder.pid))
        tool("pause")
        assert until(lambda: state(pid) == "T")
        assert "paused" in tool("status")
        tool("resume")
        assert state(pid) == "T", "two others still need the machine"
        holders[0].kill()
        holders[0].wait()
        time.sleep(2.5)
        assert state(pid) == "T", "one of them is left"
        holders[1].send_signal(signal.SIGKILL)  # it cannot say that it is done
        holders[1].wait()
        assert until(lambda: state(pid) != "T")
    finally:
        for holder in holders:
            holder.kill()
            holder.wait()


def test_after_a_kill_start_goes_on_in_the_same_folder(tool: Callable[..., str], folder: Path) -> None:
    tool("start")
    first = process(folder)
    assert until(lambda: len(said(folder)) == 1)
    os.killpg(first, signal.SIGKILL)
    assert until(lambda: not Path(f"/proc/{first}").exists())
    assert "not running" in tool("status")
    tool("pause")
    tool("resume")
    tool("start")
    assert process(folder) != first
    assert until(lambda: len(said(folder)) == 2)
    first_call, second_call = said(folder)
    assert first_call == second_call


def test_real_cases_are_kept_in_mind(tool: Callable[..., str], folder: Path, tmp_path: Path) -> None:
    cases = tmp_path / "real cases"
    cases.mkdir()
    tool("start", str(cases))
    assert until(lambda: len(said(folder)) == 1)
    tool("stop")
    tool("start")
    assert until(lambda: len(said(folder)) == 2)
    for call in said(folder):
        assert f"--cases {cases} --scheme brats2023 --folds {folder}/tree/benchmarks/folds.json" in call


def test_a_benchmark_pauses_it(tool: Callable[..., str], folder: Path) -> None:
    tool("start")
    pid = process(folder)
    environment = {**os.environ, "HOPE_TRAINING_DIR": str(folder)}
    program = "import machine, sys; print(machine.machine(), flush=True); sys.stdin.read()"
    benchmark = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT / "benchmarks",
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert benchmark.stdout is not None
    assert "cores" in benchmark.stdout.readline()
    assert until(lambda: state(pid) == "T")
    benchmark.communicate("")
    assert until(lambda: state(pid) != "T")


def test_nobody_knows_what_to_do_without_a_word(tool: Callable[..., str]) -> None:
    with pytest.raises(subprocess.CalledProcessError) as error:
        tool("dance")
    assert error.value.returncode == 2
    assert "pause" in error.value.stderr
