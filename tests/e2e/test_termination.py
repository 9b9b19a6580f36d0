"""SIGTERM in the middle of work: nothing half-made stays behind."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.alone


def test_a_terminated_command_leaves_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    program = (
        "import sys, time; import hope.synthesis.raw as raw\n"
        "import hope.stages.report.write_results as written\n"
        "from contextlib import contextmanager\n"
        "whole = written.result_folder\n"
        "@contextmanager\n"
        "def slow(*a, **k):\n"
        "    with whole(*a, **k) as folder:\n"
        "        print('inside', flush=True); time.sleep(60); yield folder\n"
        "written.result_folder = slow\n"
        "raw.preprocessed_case = lambda *a: ({}, None, ())\n"
        "from hope.cli import main; main()"
    )
    call = [sys.executable, "-c", program, "synth", "1", "-o", str(out), "--preprocessed"]
    process = subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "inside"
    assert list(out.iterdir()), "the private folder should exist now"
    started = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=20)
    assert process.returncode == 128 + signal.SIGTERM
    assert time.monotonic() - started < 10
    assert not out.exists()
