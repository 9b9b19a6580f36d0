"""``import hope``: the same labels as the command line, whatever form the scans have, and nothing left behind."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch

import hope as door
from hope.domain.case import SEQUENCES
from hope.formats.nifti import read_scan

VOLATILE = ("stages", "files", "case_id")


@pytest.fixture(scope="module", autouse=True)
def tiny(models_dir: Path) -> Iterator[None]:
    """The tiny model among the models."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOPE_MODELS_DIR", str(models_dir))
        yield


@pytest.fixture(scope="module")
def scans(preprocessed_case_dir: Path) -> dict[str, Path]:
    return {str(s): preprocessed_case_dir / f"{preprocessed_case_dir.name}-{s}.nii.gz" for s in SEQUENCES}


@pytest.fixture(scope="module")
def by_command(tiny_result: Path) -> Path:
    """What the command line writes for the case."""
    return tiny_result


@dataclass(frozen=True)
class Together:
    """What two threads that called at the same time were given.

    Attributes:
        by_call: for the directory.
        in_memory: for images in memory, on Apple's GPU.
        reported: the progress of the second.
        warned: what was warned of.
        left: temporary files that are still there.
        changed: settings of the caller that are no longer what they were.
    """

    by_call: door.Result
    in_memory: door.Result
    reported: list[tuple[str, float]]
    warned: list[str]
    left: list[Path]
    changed: list[str]


def callers_settings() -> dict[str, object]:
    """What belongs to the caller and not to us."""
    return {
        "logging": (logging.getLogger().level, list(logging.getLogger().handlers)),
        "threads": (torch.get_num_threads(), sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()),
        "environment": dict(os.environ),
    }


@pytest.fixture(scope="module")
def together(
    tiny: None, scans: dict[str, Path], preprocessed_case_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Together:
    """The Python call twice at once, which most tests here look at: for the directory, and for images in memory."""
    makers: list[Callable[[Path], Any]] = [
        nib.load,
        lambda path: sitk.ReadImage(str(path)),
        lambda path: read_scan(path, "scan")[0],
        lambda path: nib.Nifti1Image(np.asanyarray(nib.load(path).dataobj), nib.load(path).affine),
    ]
    given = {s: makers[number](path) for number, (s, path) in enumerate(scans.items())}
    reported: list[tuple[str, float]] = []
    temporary, before = tmp_path_factory.mktemp("temp"), callers_settings()
    with (
        pytest.MonkeyPatch.context() as patch,
        warnings.catch_warnings(record=True) as warned,
        ThreadPoolExecutor(2) as pool,
    ):
        warnings.simplefilter("always")
        patch.setattr(tempfile, "tempdir", str(temporary))
        first = pool.submit(door.segment, preprocessed_case_dir, model="tiny", device="cpu")
        second = pool.submit(
            door.segment,
            **given,
            model="tiny",
            device="mps",
            progress=lambda text, share: reported.append((text, share)),
        )
        by_call, in_memory = first.result(), second.result()
    after = callers_settings()
    changed = [name for name in before if before[name] != after[name]]
    return Together(by_call, in_memory, reported, [str(w.message) for w in warned], list(temporary.iterdir()), changed)


@pytest.fixture(scope="module")
def by_call(together: Together) -> door.Result:
    """What the Python call returns for the directory."""
    return together.by_call


@pytest.fixture
def private_temp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go, to be looked at afterwards."""
    (tmp_path / "temp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temp"))
    return tmp_path / "temp"


def same_labels(result: door.Result, folder: Path) -> bool:
    """Whether labels and places are the command line's."""
    pairs = ((result.labels, "seg"), (result.atlas_labels, "seg-atlas"))
    files = [(image, nib.load(folder / f"{folder.name}-{ending}.nii.gz")) for image, ending in pairs]
    return all(
        np.array_equal(np.asanyarray(image.dataobj), np.asanyarray(file.dataobj))
        and np.allclose(image.affine, file.affine, atol=1e-5)
        for image, file in files
    )


def test_the_call_gives_the_command_lines_labels(by_call: door.Result, by_command: Path) -> None:
    facts = json.loads((by_command / "result.json").read_text())
    assert same_labels(by_call, by_command)
    assert by_call.volumes_ml == {key: entry["ml"] for key, entry in facts["volumes_ml"].items()}
    assert by_call.case_id in repr(by_call) and "ml" in repr(by_call)


def test_images_in_memory_give_the_same_labels_and_apples_gpu_is_named_and_not_used(
    together: Together, by_command: Path, tmp_path: Path
) -> None:
    result = together.in_memory
    assert any(re.search(r"Apple's GPU \(mps\) is not used.*runs on the CPU", said) for said in together.warned)
    assert same_labels(result, by_command)
    assert together.reported[-1] == ("done", 1.0)
    assert together.left == [], "nothing stays on disk"
    assert result.report.model.device == "cpu"
    assert "mps" in str(result.report.model.remark)
    assert "mps" in result.save(tmp_path / "saved").joinpath("report.html").read_text()


def test_threads_wait_for_each_other_and_the_callers_settings_stay(together: Together, by_command: Path) -> None:
    assert same_labels(together.by_call, by_command)
    assert same_labels(together.in_memory, by_command)
    assert together.changed == []


def test_saved_files_are_the_command_lines_and_a_case_that_was_read_is_not_read_again(
    by_call: door.Result, by_command: Path, preprocessed_case_dir: Path, tmp_path: Path
) -> None:
    moved = shutil.copytree(preprocessed_case_dir, tmp_path / preprocessed_case_dir.name)
    case = door.read_case(moved)
    assert case.case_id == preprocessed_case_dir.name and case.reference == "t1c" and case.preprocessed
    assert case.scans["t2w"].grid.shape == (240, 240, 155) and case.scans["t2w"].data.dtype == np.float32
    assert "t1n 240x240x155" in repr(case)
    shutil.rmtree(moved)
    saved = by_call.save(tmp_path / "saved")
    direct = door.segment(case, model="tiny", device="cpu", out=tmp_path / "direct")
    assert same_labels(direct, by_command)
    for folder in (saved, tmp_path / "direct" / direct.case_id):
        assert folder.name == by_command.name
        assert {p.name for p in folder.iterdir()} == {p.name for p in by_command.iterdir()}
        for path in by_command.iterdir():
            if path.name.endswith((".nii.gz", ".png")):
                assert (folder / path.name).read_bytes() == path.read_bytes(), path.name
        ours, theirs = (json.loads((f / "result.json").read_text()) for f in (folder, by_command))
        assert {k: v for k, v in ours.items() if k not in VOLATILE} == {
            k: v for k, v in theirs.items() if k not in VOLATILE
        }
    again = direct.save(tmp_path / "again")
    assert {p.name for p in again.iterdir()} == {p.name for p in by_command.iterdir()}
    shutil.rmtree(tmp_path / "direct")
    with pytest.raises(door.InputError, match="no longer where they were written"):
        _ = direct.picture
    with pytest.raises(door.InputError, match="takes no further scans"):
        door.segment(case, t1c=case.scans["t1c"])
    with pytest.raises(door.InputError, match=r"read otherwise \(got read as preprocessed\)"):
        door.segment(case, preprocessed=False)


def test_a_notebook_shows_doubts_first_and_no_markup_of_the_input(scans: dict[str, Path], by_call: door.Result) -> None:
    result = door.segment(**{s: p for s, p in scans.items() if s != "t2f"}, model="tiny", device="cpu")
    page = result._repr_html_()
    assert page.index("t2f") < page.index("data:image/png") < page.index("<table>")
    assert "Not a medical device" in page
    reasons = {flag.reason for flag in result.report.qc}
    assert result.warnings and set(result.warnings) <= reasons
    assert by_call.picture.startswith(b"\x89PNG")


def test_errors_are_the_command_lines_sentences(
    tmp_path: Path, preprocessed_case_dir: Path, scans: dict[str, Path], hope: Callable, private_temp: Path
) -> None:
    done = hope("segment", tmp_path / "nowhere", "-o", tmp_path / "out")
    with pytest.raises(door.InputError) as caught:
        door.segment(tmp_path / "nowhere")
    assert done.err.strip() == f"hope: {caught.value}"
    batch = tmp_path / "batch"
    for name in ("sub-01", "sub-02"):
        (batch / name).mkdir(parents=True)
        for sequence, path in scans.items():
            shutil.copy(path, batch / name / f"{name}-{sequence}.nii.gz")
    with pytest.raises(door.InputError, match=r"several cases \(expected one, got 2 \(sub-01, sub-02\)\)"):
        door.segment(batch)
    for wrong, words in (
        ({"case": 3}, "the case cannot be used"),
        ({"case": nib.load(scans["t1c"])}, "name single images: t1c=image"),
        ({"case": batch / "sub-01", "device": "tpu"}, "there is no such device"),
        ({"case": batch / "sub-01", "model": 5}, "model is not usable"),
        ({"case": batch / "sub-01", "model": "unknown"}, "unknown"),
        ({"case": batch / "sub-01", "progress": "yes"}, "progress is not usable"),
        ({"case": batch / "sub-01", "out": 5}, "out is not usable"),
        ({"t1c": np.zeros((9, 9, 9))}, "t1c is no image"),
        ({}, "no input was given"),
    ):
        with pytest.raises(door.HopeError, match=words):
            door.segment(**wrong)
    assert list(private_temp.iterdir()) == []


def test_a_bar_is_drawn_on_request(preprocessed_case_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    door.read_case(preprocessed_case_dir, progress=True)
    assert "100%" in capsys.readouterr().err
    door.read_case(preprocessed_case_dir)
    shown = capsys.readouterr()
    assert shown.err == shown.out == ""


BLOCKED = """
import builtins, os, sys
real = builtins.__import__
def guarded(name, *rest, **more):
    level = rest[3] if len(rest) > 3 else more.get("level", 0)
    importer = (rest[0] if rest else more.get("globals") or {}).get("__name__", "") if level == 0 else ""
    if name.partition(".")[0] in {"fcntl", "resource", "pwd", "grp"} and importer.partition(".")[0] == "hope":
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    return real(name, *rest, **more)
builtins.__import__ = guarded
def without(name):
    function = getattr(os, name)
    def called(*arguments, **options):
        if sys._getframe(1).f_globals.get("__name__", "").partition(".")[0] == "hope":
            raise AttributeError(f"module 'os' has no attribute {name!r}")
        return function(*arguments, **options)
    setattr(os, name, called)
for missing in "fork forkpty killpg getuid geteuid getgid setsid nice sysconf fchmod chown".split():
    without(missing)
"""


def run_blocked(code: str, models_dir: Path) -> subprocess.CompletedProcess[str]:
    """Run Python without what only POSIX has."""
    environment = {**os.environ, "HOPE_MODELS_DIR": str(models_dir)}
    return subprocess.run(
        [sys.executable, "-c", BLOCKED + code],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
        check=False,
    )


def test_nothing_that_only_posix_has_is_needed(preprocessed_case_dir: Path, models_dir: Path, tmp_path: Path) -> None:
    """Windows lacks these modules and functions: command line and Python call do without."""
    folder = tmp_path / "mit Leerzeichen und Ümläut ß"
    shutil.copytree(preprocessed_case_dir, folder / preprocessed_case_dir.name)
    case = str(folder / preprocessed_case_dir.name)
    code = [
        "import hope",
        f"print(hope.read_case({case!r}))",
        "from hope.cli import main",
        f"main(['segment', {case!r}, '-o', {str(folder / 'cli')!r}, '--model', 'tiny'])",
    ]
    done = run_blocked("\n".join(code), models_dir)
    assert done.returncode == 0, done.stderr
    assert preprocessed_case_dir.name in done.stdout
    assert (folder / "cli" / preprocessed_case_dir.name / "result.json").is_file()


@pytest.mark.parametrize("name", ["a b c", "Grüße-ñ-日本語", "x" * 200])
def test_odd_file_names_work(name: str, scans: dict[str, Path], tmp_path: Path) -> None:
    given = {s: Path(shutil.copy(p, tmp_path / f"{name[: 200 - len(s)]}{s}.nii.gz")) for s, p in scans.items()}
    case = door.read_case(**given)
    assert set(case.scans) == set(SEQUENCES)
    assert name not in case.case_id


def test_import_is_light() -> None:
    """A stated bound is 0.1 s; here it is counted what is loaded, which does not depend on the machine's load."""
    heavy = {"numpy", "torch", "nibabel", "pydantic", "scipy"}
    code = f"import sys, hope; print(sorted({heavy} & set(sys.modules)), dir(hope))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("[] "), done.stdout
    assert all(f"'{name}'" in done.stdout for name in door.__all__)
    for name in door.__all__:
        assert getattr(door, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'segmnt'"):
        _ = door.segmnt


@pytest.mark.slow
def test_the_notebook_of_the_tutorial_runs(
    preprocessed_case_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repository: Path
) -> None:
    """Every code cell in order, as a kernel would run them, on a case with a truth and the model that ships."""
    case = shutil.copytree(preprocessed_case_dir, tmp_path / "cases" / preprocessed_case_dir.name)
    scan = nib.load(case / f"{case.name}-t1c.nii.gz")
    truth = np.zeros(scan.shape, np.uint8)
    truth[100:120, 100:120, 60:80] = 1
    nib.save(nib.Nifti1Image(truth, scan.affine), case / f"{case.name}-seg.nii.gz")
    monkeypatch.chdir(tmp_path)
    cells = json.loads((repository / "docs" / "notebooks" / "python.ipynb").read_text())["cells"]
    names: dict[str, Any] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [], "the notebook ships without outputs"
            exec("".join(cell["source"]), names)  # noqa: S102 - our own file
    assert names["result"].case_id == case.name
    assert (tmp_path / "results" / case.name / "result.json").is_file()
