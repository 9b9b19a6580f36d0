"""hope aws local as its user meets it: a process that prints variables, serves, and ends without a trace."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner
from tests.earlier_output import refused

from hope.cli import main
from hope.localaws.aws_processes import free_port
from hope.testing.fleet import MARK

SECONDS = 60


def carriers(mark: str) -> list[int]:
    """Living processes that carry the mark in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if mark.encode() in (entry / "environ").read_bytes() and " Z " not in (entry / "stat").read_text():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="looks for orphans in /proc")
def test_serves_until_told_to_end_and_leaves_no_process(tmp_path: Path) -> None:
    port, mark = free_port(), f"aws-{os.getpid()}-{time.monotonic_ns()}"
    file = tmp_path / "aws.env"
    call = [sys.executable, "-m", "hope.cli", "aws", "local", "--port", str(port), "--env-file", str(file)]
    # The container never answers: the command must end tidily while it waits, too.
    call += ["--container", f"http://127.0.0.1:{free_port()}"]
    environment = {**os.environ, MARK: mark, "TMPDIR": str(tmp_path)}
    # Tests that run in the background have SIGINT ignored, and so would the command.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(call, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, before)
    with process:
        assert process.stderr
        deadline = time.monotonic() + SECONDS
        while "ready" not in process.stderr.readline():
            assert time.monotonic() < deadline
        assert httpx.get(f"http://127.0.0.1:{port}/local/invocations").json() == {"invocations": []}
        assert len(carriers(mark)) >= 2
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    assert carriers(mark) == []
    assert [path.name for path in tmp_path.iterdir()] == ["aws.env"]
    assert out == file.read_text()
    assert f"export HOPE_SAGEMAKER_ENDPOINT_URL=http://127.0.0.1:{port}\n" in out
    assert "export HOPE_PREDICTOR=sagemaker\n" in out


@pytest.mark.parametrize(
    "text", ["export PATH=/bin\n", "unset AWS_PROFILE AWS_SESSION_TOKEN\nrm -rf build\n", "\x7fELF"]
)
def test_a_file_of_other_lines_is_not_replaced(tmp_path: Path, text: str) -> None:
    own = tmp_path / "profile"
    own.write_text(text)
    refused(["aws", "local", "--env-file", own], [own])


def test_without_moto_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hope.domain.extras.find_spec", lambda name: None)
    result = CliRunner().invoke(main, ["aws", "local"])
    assert result.exit_code == 2
    assert "hope-platform[aws-local,server]" in result.stderr
    assert "Traceback" not in result.output


def test_a_port_in_use_is_one_sentence(s3_endpoint: str) -> None:
    port = s3_endpoint.rpartition(":")[2]
    result = CliRunner().invoke(main, ["aws", "local", "--port", port, "--container", "http://127.0.0.1:1"])
    assert result.exit_code == 2
    assert "--port" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
