"""The small deployment: what is provisioned, and the policy in a kit; `make federated` runs the real processes."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hope.federated import poc
from hope.federated.jobs import SITE_CLASSES
from hope.federated.poc import end_jobs, free_port, project_of, protect, wait_for_session


def test_the_project_has_a_server_the_sites_and_one_administrator() -> None:
    project = project_of(["site-1", "site-2"], 8002)
    kinds = [(one["name"], one["type"]) for one in project["participants"]]
    assert kinds == [
        ("localhost", "server"), ("site-1", "client"), ("site-2", "client"), ("admin@hope.example", "admin")
    ]  # fmt: skip
    assert project["participants"][0]["fed_learn_port"] == 8002


def test_a_kit_keeps_its_components_and_gets_the_policy(tmp_path: Path) -> None:
    kept = {"components": [{"id": "process_launcher"}], "class_allow_list": ["nvflare.other"]}
    (tmp_path / "resources.json.default").write_text(json.dumps({**kept, "allow_log_streaming": True}))
    protect(tmp_path)
    resources = json.loads((tmp_path / "resources.json").read_text())
    assert resources["components"] == kept["components"] and "nvflare.other" not in resources["class_allow_list"]
    assert set(SITE_CLASSES) <= set(resources["class_allow_list"])
    assert resources["class_list_enforcement_mode"] == "enforce" and resources["allow_log_streaming"] is False
    assert (tmp_path / "privacy.json").is_file() and (tmp_path / "authorization.json").is_file()


def test_a_free_port_can_be_bound() -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", free_port()))


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="the system has no /proc")
def test_a_job_in_a_session_of_its_own_ends_with_its_deployment(tmp_path: Path) -> None:
    sleep = [sys.executable, "-c", "import time; time.sleep(600)", "nvflare.private.fed.app.client.worker_process"]
    jobs = [
        subprocess.Popen([*sleep, str(tmp_path / name / "kits")], start_new_session=True) for name in ("own", "own2")
    ]
    try:
        end_jobs(tmp_path / "own")
        assert jobs[0].wait(60) < 0 and jobs[1].poll() is None
    finally:
        for job in jobs:
            job.kill()
            job.wait()


def test_a_session_whose_server_died_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poc, "LEAVE_SECONDS", 0.3)
    server = subprocess.Popen([sys.executable, "-c", "raise SystemExit(1)"])
    session = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        began = time.monotonic()
        wait_for_session(session, server)
        assert time.monotonic() - began < 30
        assert session.poll() is None, "whoever started it ends it"
    finally:
        session.kill()
        session.wait()
        server.wait()


def test_a_session_that_ends_is_waited_for_while_its_server_lives() -> None:
    server = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    session = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1)"])
    try:
        wait_for_session(session, server)
        assert session.poll() == 0
    finally:
        server.kill()
        server.wait()
