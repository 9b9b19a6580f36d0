"""What the images leave out of an installed environment, and what has to stay."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
TRIM = REPOSITORY / "containers" / "trim.py"

GOES = [
    "torch/include/ATen/ATen.h",
    "torch/lib/libx.a",
    "numpy/_core/tests/test_umath.py",
    "numpy/_core/tests/data/umath.csv",
    "numpy/__pycache__/version.cpython-311.pyc",
    "skimage/filters/_multiotsu.pyx",
    "pip/__init__.py",
    "pip-26.0.dist-info/METADATA",
]
STAYS = [
    "numpy/_core/tests/_natype.py",
    "numpy/testing/__init__.py",
    "torch/lib/libtorch.so",
    "skimage/__init__.pyi",
    "jinja2/tests.py",
    "pipeline/__init__.py",
    "nilearn/datasets/data/template.nii.gz",
]


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    packages = tmp_path / "lib" / "python3.11" / "site-packages"
    for name in GOES + STAYS:
        (packages / name).parent.mkdir(parents=True, exist_ok=True)
        (packages / name).write_text("x")
    (tmp_path / "include" / "site").mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    for name in ("pip", "pip3", "hope", "python"):
        (tmp_path / "bin" / name).write_text("x")
    return tmp_path


def trim(environment: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(TRIM), str(environment)], capture_output=True, text=True, check=False)


def test_only_what_no_image_needs_goes(environment: Path) -> None:
    done = trim(environment)
    assert done.returncode == 0, done.stderr
    packages = environment / "lib" / "python3.11" / "site-packages"
    assert {str(path.relative_to(packages)) for path in packages.rglob("*") if path.is_file()} == set(STAYS)
    assert {path.name for path in (environment / "bin").iterdir()} == {"hope", "python"}
    assert not (environment / "include").exists()
    assert trim(environment).returncode == 0, "a second time there is nothing to do"


def test_a_folder_that_is_no_environment_is_said(tmp_path: Path) -> None:
    done = trim(tmp_path)
    assert done.returncode == 1
    assert "is no virtual environment" in done.stderr
    assert "Traceback" not in done.stderr
