"""A tiny random model and small cases, so that the whole command line runs in seconds."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.browser import browser, browser_without_webgl, chromium  # noqa: F401
from tests.once import Once
from tests.page_result import address, case, result  # noqa: F401

from hope.cli import main
from hope.domain.case import SEQUENCES, MRSequence
from hope.domain.volume import Volume
from hope.formats.nifti import write_scan
from hope.models.bundle import MANIFEST
from hope.testing.head import atlas_scan, head_scan
from hope.training.config import TrainingConfig
from hope.training.export import export_bundle
from hope.training.loop import start

CASE = "BraTS-PED-00002-000"


@pytest.fixture(scope="session")
def models_dir(once: Once) -> Path:
    """A models directory with ``tiny``: a 4 mm UNet with random weights that needs t2w and may miss one other."""

    def make(folder: Path) -> None:
        config = TrainingConfig(
            spacing_mm=4.0,
            patch=(32, 32, 32),
            tile=(32, 32, 32),
            widths=(4, 8),
            blocks=(1, 1),
            decoder_blocks=(1,),
            seed=5,
        )
        export_bundle(start(config), config, folder / "tiny", "tiny")
        manifest = json.loads((folder / "tiny" / MANIFEST).read_text())
        manifest["input"] |= {"optional": ["t1n", "t1c", "t2f"], "max_missing": 1}
        (folder / "tiny" / MANIFEST).write_text(json.dumps(manifest))

    return once.folder("models", make)


@dataclass(frozen=True)
class Outcome:
    """What a call of ``hope`` gave."""

    status: int
    out: str
    err: str


@pytest.fixture
def hope(models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """Call the command line in this process, with the tiny model among the models."""
    monkeypatch.setenv("HOPE_MODELS_DIR", str(models_dir))

    def call(*arguments: object) -> Outcome:
        done = CliRunner().invoke(main, [str(a) for a in arguments])
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return Outcome(done.exit_code, done.stdout, done.stderr)

    return call


@pytest.fixture(scope="session")
def heads() -> dict[MRSequence, Volume]:
    """Four small raw scans of one crude head."""
    return {s: head_scan(i, enhanced=s is MRSequence.T1C) for i, s in enumerate(SEQUENCES)}


@pytest.fixture
def raw_case_dir(tmp_path: Path, heads: dict[MRSequence, Volume]) -> Path:
    """A case directory with BraTS 2023 names."""
    folder = tmp_path / "in" / "BraTS-PED-00001-000"
    folder.mkdir(parents=True)
    for sequence, scan in heads.items():
        write_scan(scan, folder / f"{folder.name}-{sequence}.nii.gz")
    return folder


@pytest.fixture(scope="session")
def preprocessed_case_dir(once: Once) -> Path:
    """A case that is on the atlas grid already, as a BraTS release holds it; to be read, never changed."""

    def make(folder: Path) -> None:
        (folder / CASE).mkdir()
        for number, sequence in enumerate(SEQUENCES):
            scan = atlas_scan(number, enhanced=sequence is MRSequence.T1C)
            write_scan(scan, folder / CASE / f"{CASE}-{sequence}.nii.gz")

    return once.folder("preprocessed", make) / CASE


@pytest.fixture(scope="session")
def tiny_result(models_dir: Path, preprocessed_case_dir: Path, once: Once) -> Path:
    """What `hope segment` with the tiny model writes for the preprocessed case; to be read, never changed."""

    def make(out: Path) -> None:
        arguments = ["segment", str(preprocessed_case_dir), "-o", str(out), "--model", "tiny", "--device", "cpu"]
        done = CliRunner().invoke(main, arguments, env={"HOPE_MODELS_DIR": str(models_dir)})
        assert done.exit_code == 0, done.stderr
        assert [p.name for p in out.iterdir()] == [CASE], "a private folder was left behind"

    return once.folder("tiny-result", make) / CASE
