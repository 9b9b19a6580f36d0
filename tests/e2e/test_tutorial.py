"""Every fenced command of the tutorial runs, in the tutorial's order, in one directory that a newcomer would have.

What is replaced is listed in ``INSTEAD``: fewer and smaller cases, so that it ends in a minute, and the platform with
stages that answer at once. ``make demo`` and ``make up`` are what every clean clone's check and the page's tests run.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hope.testing.fleet import Fleet, small_scan

REPOSITORY = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
BLOCKS = FENCE.findall((REPOSITORY / "docs" / "tutorial.md").read_text(encoding="utf-8"))
INSTEAD = {
    "make demo": "true",  # `.ci/run` runs it
    "make up ": "true ",  # the fixture's platform stands in
    "source .venv/bin/activate": "true",
    "hope synth 3 ": "hope synth 1 --preprocessed ",
    # The model that ships does the reader's first case and the call from Python.
    "hope segment path/to/case ": "hope segment path/to/case --model tiny ",
    "--t2f d.nii.gz ": "--t2f d.nii.gz --model tiny ",
}
SECONDS = 300


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, preprocessed_case_dir: Path) -> Path:
    """Where the reader works: a case of the reader's own, its scans under any names, and `hope` on the path."""
    folder = tmp_path_factory.mktemp("tutorial")
    (folder / "bin").mkdir()
    program = folder / "bin" / "hope"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m hope.cli "$@"\n')
    program.chmod(0o755)
    shutil.copytree(preprocessed_case_dir, folder / "path" / "to" / "case")
    for letter, sequence in zip("abcd", ("t1n", "t1c", "t2w", "t2f"), strict=True):
        source = next(preprocessed_case_dir.glob(f"*-{sequence}.nii.gz"))
        (folder / f"{letter}.nii.gz").symlink_to(source)
    (folder / "t1c.nii.gz").write_bytes(gzip.compress(small_scan()))
    return folder


def run(command: list[str], place: Path, **more: str) -> str:
    environment = {**os.environ, **more, "PATH": f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        command, cwd=place, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"
    return done.stdout


def commands(block: str) -> Iterator[str]:
    for line in block.splitlines():
        for written, instead in INSTEAD.items():
            line = line.replace(written, instead)
        yield line


def test_the_tutorial_has_the_blocks_that_this_test_knows() -> None:
    assert [language for language, _ in BLOCKS] == ["sh"] * 5 + ["python"] + ["sh"] * 2
    text = "".join(block for _, block in BLOCKS)
    assert all(written in text for written in INSTEAD)


@pytest.mark.slow
def test_commands_and_python_run_in_order(place: Path, models_dir: Path) -> None:
    for language, block in BLOCKS:
        if "curl" in block:
            continue
        if language == "sh":
            said = run(["bash", "-ec", "\n".join(commands(block))], place, HOPE_MODELS_DIR=str(models_dir))
            if "evaluate" in block:
                assert "WT" in said
        else:
            assert "'WT'" in run([sys.executable, "-c", block], place)
    results = {path.parent.name for path in (place / "results").glob("*/result.json")}
    assert {"synth-0001", "BraTS-PED-00002-000"} <= results


@pytest.mark.slow
def test_the_five_calls_of_a_program_do_a_case(place: Path, tmp_path: Path) -> None:
    fleet = Fleet(tmp_path / "platform", {"HOPE_SHORT_SECONDS": "0.05"})
    (block,) = [block for _, block in BLOCKS if "curl" in block]
    known: dict[str, str] = {}
    try:
        fleet.start("up")
        fleet.wait_ready()
        for line in block.splitlines():
            command = line.split("  #")[0].replace("localhost:8080", fleet.url)
            for name, value in known.items():
                command = command.replace(f"${name}", value)
            assert "$" not in command
            if "/files " in command:
                wait_done(fleet, known)
            said = json.loads(run(["bash", "-ec", f"{command.strip()} --fail-with-body"], place))
            if "token" in said:
                known["TOKEN"] = said["token"]
            elif "id" in said and "ID" not in known:
                known["ID"] = said["id"]
        assert said["unconfirmed"] == []
    finally:
        fleet.stop()


def wait_done(fleet: Fleet, known: dict[str, str]) -> None:
    client = fleet.client()
    client.http.headers["Authorization"] = f"Bearer {known['TOKEN']}"
    assert client.wait(known["ID"], 60) == "done"
