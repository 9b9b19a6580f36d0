"""A user's file that calls `import hope` passes mypy's strict mode, and a wrong one does not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

RIGHT = """
from pathlib import Path

import hope


def report(step: str, share: float) -> None:
    print(step, share)


def volume_of(folder: Path) -> float:
    result: hope.Result = hope.segment(folder, progress=report)
    result.save("results")
    try:
        case = hope.read_case(t1n="a.nii.gz", t2f="b.nii.gz")
    except hope.InputError as error:
        raise SystemExit(str(error)) from error
    return hope.segment(case).volumes_ml["WT"]
"""
WRONG = "import hope\n\nnumber: int = hope.segment('case').case_id\n"


@pytest.mark.slow
def test_a_users_file_passes_strict(tmp_path: Path, repository: Path) -> None:
    (tmp_path / "right.py").write_text(RIGHT, encoding="utf-8")
    (tmp_path / "wrong.py").write_text(WRONG, encoding="utf-8")
    # The repository's settings and cache, so that the package is not checked anew.
    command = [sys.executable, "-m", "mypy", str(tmp_path / "right.py"), str(tmp_path / "wrong.py")]
    run = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    lines = [line for line in run.stdout.splitlines() if "error" in line and not line.startswith("Found")]
    assert len(lines) == 1, run.stdout + run.stderr
    assert "wrong.py:3" in lines[0] and "[assignment]" in lines[0]
