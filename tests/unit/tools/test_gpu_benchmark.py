"""The GPU's prepared command, in small on the CPU, and what it says where something is missing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import gpu
import pytest
import torch

COMMAND = Path(gpu.__file__)


def test_the_command_runs_in_small_on_the_cpu() -> None:
    words = [sys.executable, str(COMMAND), "--device", "cpu", "--small", "--networks", "nnunet"]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, capture_output=True, text=True, timeout=240, env=one_thread)
    assert done.returncode == 0, done.stderr
    figures = (
        r"loading [\d.]+ s, case [\d., ]+ s; [\d.e-]+ TFLOP, [\d.e-]+ TFLOP/s, \d+ % of the matrix peak; memory [\d.]+"
    )
    for part in ("starter, fp32", r"2 networks, fp32, mirrored"):
        assert re.search(rf"^{part}: {figures}", done.stdout, re.MULTILINE), done.stdout
    assert re.search(r"^matrix peak torch\.float32: [\d.]+ TFLOP/s", done.stdout, re.MULTILINE), done.stdout
    assert re.search(r"^published flow, nnunet: one fold [\d.]+ s", done.stdout, re.MULTILINE), done.stdout


def test_a_part_that_cannot_run_says_why(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(gpu.NEEDED, "starter", ("scipy", "no_such_library"))  # type: ignore[arg-type]
    begun: list[str] = []
    report = gpu.Report(torch.device("cpu"), limit=60)
    report.part("starter", "starter", lambda: begun.append("starter"))
    report.part("flow", "swinunetr", lambda: begun.append("flow"))
    assert begun == ["flow"]
    assert capsys.readouterr().out == "starter: not measured, these libraries are missing: no_such_library\n"


def test_a_part_that_comes_too_late_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    report = gpu.Report(torch.device("cpu"), limit=-1)
    report.part("flow", "swinunetr", lambda: pytest.fail("begun after the limit"))
    assert capsys.readouterr().out.startswith("flow: not measured, 0 s are gone")


def test_arithmetic_is_counted() -> None:
    assert gpu.tflop_of(lambda: torch.ones(8, 16) @ torch.ones(16, 32)) == pytest.approx(2 * 8 * 16 * 32 / 1e12)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_what_to_do() -> None:
    with pytest.raises(SystemExit, match="--device cpu --small"):
        gpu.main([])
