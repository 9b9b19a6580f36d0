"""Where a model runs: here or at an endpoint, as settings and command line say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from hope.adapters.blobs_s3 import S3Blobs
from hope.adapters.predict_local import LocalPredictor
from hope.adapters.predict_sagemaker import SageMakerPredictor
from hope.cli import main
from hope.domain.errors import InputError
from hope.jobs import bodies
from hope.models.bundle import DEFAULT_MODEL
from hope.services import Services, StagingLocation
from hope.settings import Settings


def services(**variables: str) -> Services:
    return Services(Settings.from_environment({f"HOPE_{name}": value for name, value in variables.items()}))


@pytest.mark.parametrize(
    ("variables", "where", "elsewhere"),
    [
        ({}, None, False),
        ({"PREDICTOR": "sagemaker"}, None, True),
        ({"PREDICTOR": "sagemaker", "SAGEMAKER_MODELS": f"big, {DEFAULT_MODEL}"}, None, True),
        ({"PREDICTOR": "sagemaker", "SAGEMAKER_MODELS": "big"}, None, False),
        ({"SAGEMAKER_MODELS": DEFAULT_MODEL}, None, False),
        ({"PREDICTOR": "sagemaker"}, "local", False),
        ({"SAGEMAKER_MODELS": "big"}, "sagemaker", True),
    ],
)
def test_settings_choose_and_the_call_overrules(variables: dict[str, str], where: str | None, elsewhere: bool) -> None:
    for model in (None, DEFAULT_MODEL):
        predictor = services(**variables).predictor(model, where=where)
        assert isinstance(predictor, SageMakerPredictor if elsewhere else LocalPredictor)
        assert predictor.describe()["id"] == DEFAULT_MODEL
        assert predictor.head_state == services().predictor().head_state


@pytest.mark.parametrize("choice", [{"device": "cuda"}, {"precision": "bf16"}, {"mirroring": False}])
def test_an_endpoint_has_its_own_device(choice: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="--predictor local"):
        services().predictor(where="sagemaker", **choice)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PREDICTOR", "cloud", "one of local, sagemaker"),
        ("SAGEMAKER_TIMEOUT_SECONDS", "soon", "a number"),
        ("SAGEMAKER_TIMEOUT_SECONDS", "0", "above 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(name: str, value: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        services(**{name: value})


def test_the_platforms_copies_lie_in_the_proxy_bucket() -> None:
    assert services().staging is None
    assert isinstance(services(SAGEMAKER_BUCKET="s3://bucket/proxy").staging, S3Blobs)
    with pytest.raises(InputError, match="HOPE_SAGEMAKER_BUCKET"):
        _ = services(SAGEMAKER_BUCKET="https://elsewhere").staging


def test_a_stage_keeps_its_copies_where_the_platform_can_find_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wanted: list[StagingLocation | None] = []

    def predictor(self: Services, model: str | None, copy: StagingLocation | None = None) -> None:
        wanted.append(copy)

    monkeypatch.setattr(Services, "predictor", predictor)
    monkeypatch.setattr(bodies, "_services", lambda: services(PREDICTOR="sagemaker"))
    job = {"choice": {"model": None}, "copies": "cases/a/1/segment/t/", "scratch": str(tmp_path)}
    bodies._predictor(job)
    assert wanted == [StagingLocation("cases/a/1/segment/t/", tmp_path)]


def test_the_command_line_says_what_is_not_set(tmp_path: Path) -> None:
    scan = tmp_path / "a-t1c.nii.gz"
    scan.write_bytes(b"never read")
    words = ["segment", "--t1c", str(scan), "-o", str(tmp_path / "out"), "--predictor", "sagemaker"]
    result = CliRunner().invoke(main, words, env={"HOPE_SAGEMAKER_ENDPOINT": "", "HOPE_SAGEMAKER_BUCKET": ""})
    assert result.exit_code == 2
    assert "HOPE_SAGEMAKER_ENDPOINT is not set" in result.output


def test_the_doctor_shows_the_settings_without_secrets() -> None:
    variables = {"SAGEMAKER_BUCKET": "s3://bucket/x", "SAGEMAKER_ENDPOINT_URL": "https://me:secret@host"}
    shown = services(PREDICTOR="sagemaker", **variables).settings.to_json()
    assert shown["HOPE_PREDICTOR"] == "sagemaker"
    assert shown["HOPE_SAGEMAKER_BUCKET"] == "s3://bucket/x"
    assert "secret" not in str(shown)
