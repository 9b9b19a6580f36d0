"""The wheel alone: an environment that has nothing of ours but the wheel segments by command and by one Python call."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from hope.domain.case import SEQUENCES

ROOT = Path(__file__).parents[2]

CALL = """
import sys
from pathlib import Path
import hope, nibabel
t1n, t1c, t2w, t2f, out = sys.argv[1:]
result = hope.segment(t1n=t1n, t1c=t1c, t2w=t2w, t2f=t2f, model="tiny", device="cpu")
print(hope.__file__)
print(result.volumes_ml)
nibabel.save(result.labels, out)
"""


def run(*command: str | Path, cwd: Path, **more: str) -> str:
    """What a program of the environment prints; nothing of the checkout is on its path, nor a relative path of make."""
    ours = ("PYTHON", "HOPE_", "VIRTUAL", "PIP_CONSTRAINT", "PIP_BUILD_CONSTRAINT")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    done = subprocess.run(command, cwd=cwd, env=environment | more, text=True, capture_output=True, timeout=400)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel installed; what it depends on comes from the tests' own environment."""
    folder = tmp_path_factory.mktemp("wheel")
    constraint = {
        "PIP_CONSTRAINT": str(ROOT / "constraints.txt"),
        "PIP_BUILD_CONSTRAINT": str(ROOT / "constraints.txt"),
    }
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, ROOT, cwd=folder, **constraint)
    (wheel,) = folder.glob("hope_platform-*.whl")
    run(sys.executable, "-m", "venv", "--without-pip", folder / "env", cwd=folder)
    python = folder / "env" / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", wheel, cwd=folder)
    packages = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip())
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "env"


def test_the_wheel_brings_the_models_the_page_and_the_types(environment: Path, tmp_path: Path) -> None:
    listed = run(environment / "bin" / "hope", "models", "list", cwd=tmp_path)
    assert "mixed" in listed and "starter" in listed and "hail-starter" in listed
    (package,) = environment.glob("lib/python*/site-packages/hope")
    assert (package / "py.typed").is_file() and (package / "web" / "static" / "index.html").is_file()
    (notice,) = package.parent.glob("hope_platform-*.dist-info/licenses/NOTICE")
    assert "CC BY 4.0" in notice.read_text(encoding="utf-8"), "the weights in the wheel ask for it"


def test_one_call_gives_the_labels_of_the_command_line(
    environment: Path, preprocessed_case_dir: Path, models_dir: Path, tmp_path: Path
) -> None:
    scans = [preprocessed_case_dir / f"{preprocessed_case_dir.name}-{sequence}.nii.gz" for sequence in SEQUENCES]
    by_call, models = tmp_path / "by-call.nii.gz", {"HOPE_MODELS_DIR": str(models_dir)}
    printed = run(environment / "bin" / "python", "-c", CALL, *scans, by_call, cwd=tmp_path, **models)
    where, volumes = printed.strip().splitlines()
    assert Path(where).is_relative_to(environment) and "WT" in volumes
    hope = environment / "bin" / "hope"
    run(
        hope,
        "segment",
        preprocessed_case_dir,
        "-o",
        "out",
        "--model",
        "tiny",
        "--device",
        "cpu",
        cwd=tmp_path,
        **models,
    )
    case = preprocessed_case_dir.name
    one, other = nib.load(by_call), nib.load(tmp_path / "out" / case / f"{case}-seg.nii.gz")
    assert np.array_equal(np.asanyarray(one.dataobj), np.asanyarray(other.dataobj))
    assert np.allclose(one.affine, other.affine, atol=1e-5)
