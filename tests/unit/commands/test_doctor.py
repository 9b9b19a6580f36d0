"""hope doctor: what it finds, and what it says where a setting cannot be met."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from hope.cli import main


@pytest.fixture(autouse=True)
def _settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOPE_MODELS_DIR", str(tmp_path))
    monkeypatch.setenv("HOPE_DEVICE", "cpu")


def test_it_says_how_the_networks_run() -> None:
    done = CliRunner().invoke(main, ["doctor"], env={"HOPE_PRECISION": "auto"})
    assert done.exit_code == 0, done.output
    assert "ok         networks: on cpu, an ensemble's in fp32, with mirroring\n" in done.output
    assert "ok         torch " in done.output
    assert "ok         extra [ensemble]\n" in done.output


def test_an_absent_extra_is_listed_and_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hope.domain.extras.find_spec", lambda name: None if name == "boto3" else name)
    done = CliRunner().invoke(main, ["doctor"])
    assert done.exit_code == 0, done.output
    assert "absent     extra [aws]: boto3\n" in done.output


def test_a_precision_that_cannot_be_had_is_said_before_a_case_is_run() -> None:
    done = CliRunner().invoke(main, ["doctor"], env={"HOPE_PRECISION": "fp16", "HOPE_MIRRORING": "off"})
    assert done.exit_code == 2
    assert "BROKEN     this CPU cannot multiply in fp16" in done.output
    assert "ok         model starter" in done.output, "the rest is looked at all the same"


def test_without_torch_it_says_so_and_looks_at_the_rest() -> None:
    """As in the gateway's image, in a process in which torch can neither be found nor imported."""
    program = (
        "import importlib.metadata, sys\n"
        "sys.modules['torch'] = None\n"
        "known = importlib.metadata.version\n"
        "def version(name):\n"
        "    if name == 'torch':\n"
        "        raise importlib.metadata.PackageNotFoundError(name)\n"
        "    return known(name)\n"
        "importlib.metadata.version = version\n"
        "from hope.cli import main\n"
        "main(['doctor'], prog_name='hope')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stderr == ""
    assert "MISSING    torch: reinstall hope-platform, unless this is the gateway's image\n" in done.stdout
    assert "BROKEN     networks: none runs without torch\n" in done.stdout
    assert "ok         atlas\n" in done.stdout
    assert "ok         model starter" in done.stdout
