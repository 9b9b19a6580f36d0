"""A new stage, file, option or sequence is one entry: everything that shows them does so by itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def shown(repository: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.unit.contract.toy_platform"]
    run = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    answer: dict[str, Any] = json.loads(run.stdout)
    return answer


def test_the_toy_stage_is_in_progress(shown: dict[str, Any]) -> None:
    names = ["preprocess", "harmonize", "segment", "toy", "postprocess"]
    for when, state in (("queued", "waiting"), ("done", "done")):
        assert [stage["stage"] for stage in shown[when]] == names
        assert {stage["state"] for stage in shown[when]} == {state}
        assert sum(stage["weight"] for stage in shown[when]) == pytest.approx(1, abs=0.01)
    toy = shown["queued"][3]
    assert (toy["title"], toy["weight"] > 0.3) == ("Playing", True)
    assert shown["steps"].index("toy") == shown["steps"].index("segment") + 1
    assert '"stage":"toy"' in shown["events"].replace(" ", "")
    assert {"key": "toy", "title": "Playing", "usual_seconds": 100.0} in shown["words"]["stages"]


def test_the_toy_file_is_in_the_files_route(shown: dict[str, Any]) -> None:
    (toy,) = (file for file in shown["files"] if file.get("role") == "toy")
    assert toy["name"].endswith("-toy.nii.gz")
    assert (toy["title"], toy["kind"], toy["space"]) == ("A toy", "a toy on the atlas grid", "atlas")
    assert shown["toy"] == [200, toy["bytes"]]
    assert shown["words"]["kinds"]["a toy on the atlas grid"] == "A toy"


def test_both_are_in_the_report(shown: dict[str, Any]) -> None:
    assert "toy" in [stage["name"] for stage in shown["report"]["stages"]]
    assert "toy" in [file["role"] for file in shown["report"]["files"]]


def test_both_are_in_the_openapi_document(shown: dict[str, Any]) -> None:
    assert "toy" in shown["openapi"]["Stage"]["enum"]
    assert "toy" in shown["openapi"]["Role"]["enum"]


def test_the_toy_option_reaches_command_line_page_queue_and_endpoint(shown: dict[str, Any]) -> None:
    assert "--toy " in shown["help"]
    assert shown["choice"]["toy"] is True
    assert shown["payload"]["toy"] is True
    assert "toy" in shown["openapi"]["RunOptions"]["properties"]
    (option,) = (option for option in shown["words"]["options"] if option["key"] == "toy")
    assert (option["title"], option["form"], option["default"]) == ("Play first", "tick", False)


def test_a_fifth_sequence_can_be_named_uploaded_and_shown(shown: dict[str, Any]) -> None:
    assert "--toyseq F" in shown["help"]
    assert shown["scan"]["sequence"] == "toyseq"
    assert shown["openapi"]["MRSequence"]["enum"][-1] == "toyseq"
    assert shown["words"]["sequences"][-1] == {"key": "toyseq", "title": "Toy", "optional": False, "hint": "a toy"}
    assert shown["words"]["kinds"]["toyseq on the atlas grid"] == "Toy in atlas space"
