"""hope doctor: what it finds, and what it says where a setting cannot be met."""

from __future__ import annotations

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
