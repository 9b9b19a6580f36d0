"""How the endpoint is started: by which words, with which models, on which port; and what it does not import."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hope import cli
from hope.domain.errors import InputError
from hope.endpoint.server import _scratch_root, port_of, use_model_folder


def bundle(folder: Path, name: str) -> None:
    folder.mkdir(parents=True)
    (folder / "model.json").write_text(json.dumps({"id": name}))


@pytest.mark.parametrize("said", [[], ["serve"], ["serve", "serve"]])
def test_serve_is_the_endpoint_for_the_whole_container(said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[tuple[str, int]] = []
    monkeypatch.setattr("hope.endpoint.server.serve_endpoint", lambda host, port: called.append((host, port)))
    monkeypatch.setattr("hope.web.middleware.logs.configure_logging", lambda level: None)
    monkeypatch.setattr("os.umask", lambda mask: 0)
    monkeypatch.setattr(sys, "argv", ["serve", *said])
    monkeypatch.setenv("SAGEMAKER_BIND_TO_PORT", "8123")
    with pytest.raises(SystemExit) as left:
        cli.serve()
    assert left.value.code == 0
    assert called == [("0.0.0.0", 8123)]  # noqa: S104


@pytest.mark.parametrize("port", ["0", "65536", "x", "-1", "8080.0"])
def test_a_port_that_is_none_is_refused(port: str) -> None:
    with pytest.raises(InputError, match="SAGEMAKER_BIND_TO_PORT"):
        port_of({"SAGEMAKER_BIND_TO_PORT": port})
    assert port_of({}) == 8080


def test_sagemakers_model_folder_is_used_if_it_holds_bundles(tmp_path: Path) -> None:
    empty = {"HOPE_MODELS_DIR": "mine", "HOPE_PREDICTOR": "sagemaker"}
    use_model_folder(empty, tmp_path / "none")
    assert empty == {"HOPE_MODELS_DIR": "mine", "HOPE_PREDICTOR": "local"}

    alone: dict[str, str] = {}
    bundle(tmp_path / "ml" / "model", "net")
    use_model_folder(alone, tmp_path / "ml" / "model")
    assert alone["HOPE_MODELS_DIR"] == str(tmp_path / "ml")
    assert alone["HOPE_ENDPOINT_MODEL"] == "net"

    one, folder = {"HOPE_ENDPOINT_MODEL": "chosen"}, tmp_path / "many"
    bundle(folder / "a", "a")
    use_model_folder(one, folder)
    assert one["HOPE_MODELS_DIR"] == str(folder)
    assert one["HOPE_ENDPOINT_MODEL"] == "chosen"

    several: dict[str, str] = {}
    bundle(folder / "b", "b")
    use_model_folder(several, folder)
    assert "HOPE_ENDPOINT_MODEL" not in several


def test_the_folder_for_temporary_files_is_ours_alone(tmp_path: Path) -> None:
    root = _scratch_root(str(tmp_path / "deep" / "scratch"))
    assert root.stat().st_mode & 0o777 == 0o700
    (tmp_path / "link").symlink_to(root)
    with pytest.raises(InputError, match="HOPE_ENDPOINT_SCRATCH"):
        _scratch_root(str(tmp_path / "link"))


def test_the_process_that_answers_ping_never_loads_torch() -> None:
    program = (
        "import sys, hope.endpoint.server, hope.endpoint.bodies\n"
        "from hope.services import Services\nfrom hope.settings import Settings\n"
        "services = Services(Settings.from_environment())\nservices.objects(), services.models.list()\n"
        "loaded = sorted({'torch', 'scipy', 'nibabel', 'SimpleITK', 'monai'} & set(sys.modules))\n"
        "sys.exit(f'loaded: {loaded}' if loaded else 0)\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
