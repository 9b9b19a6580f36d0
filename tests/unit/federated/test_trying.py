"""A job that is tried on this machine: what is refused before NVIDIA FLARE starts."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.earlier_output import WORK, contents

from hope.domain.errors import InputError, OutputError
from hope.federated import trying
from hope.federated.jobs import job_files, write_job
from hope.stages.report.result_folder import Destination


@pytest.fixture
def flare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Job and a site; the simulator answers at once."""
    write_job(tmp_path / "job", job_files("style", "", "", 1))
    (tmp_path / "site" / "case").mkdir(parents=True)
    (tmp_path / "site" / "case" / "scan.nii").write_bytes(b"1")

    def simulate(root: Path, names: Sequence[str], at_once: int) -> Path:
        found = root / trying.WORKSPACE / "out"
        found.mkdir(parents=True)
        (found / "result.json").write_text('{"sites": []}')
        (found / "table.csv").write_text("site\n")
        return found

    monkeypatch.setattr(trying, "_simulate", simulate)
    return [tmp_path / "job", tmp_path / "site"]


def test_results_of_other_cases_and_another_workspace_stay(flare: list[Path], tmp_path: Path) -> None:
    job, site = flare
    out, kept = tmp_path / "out", tmp_path / "kept"
    assert trying.try_job(job, [site], out, keep=kept) == ["result.json", "table.csv"]
    trying.try_job(job, [site], out, keep=kept)
    assert json.loads((out / "result.json").read_text())["input"]["sites"].keys() == {"job", "site-1"}
    (site / "case" / "scan.nii").write_bytes(b"2")
    before = contents([*out.iterdir(), *kept.rglob("*")])
    for place in ({"out": out}, {"out": tmp_path / "new", "keep": kept}):
        with pytest.raises(OutputError, match="made from other sites"):
            trying.try_job(job, [site], **place)
    assert contents([*out.iterdir(), *kept.rglob("*")]) == before
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "notes.txt").write_bytes(WORK)
    with pytest.raises(OutputError, match="holds something"):
        trying.try_job(job, [site], tmp_path / "new", keep=tmp_path / "own")
    assert not (tmp_path / "new").exists() and (tmp_path / "own" / "notes.txt").read_bytes() == WORK
    trying.try_job(job, [site], Destination(out, replace=True), keep=kept)


@pytest.mark.parametrize("same", [True, False])
def test_a_kept_workspace_is_of_one_run_and_loses_nothing_of_the_user(
    flare: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, same: bool
) -> None:
    job, site = flare
    kept, answer = tmp_path / "kept", trying._simulate
    run = iter(("first", "second"))

    def simulate(root: Path, names: Sequence[str], at_once: int) -> Path:
        logs = root / trying.WORKSPACE / "logs"
        logs.mkdir(parents=True)
        number = next(run)
        for name in (f"{number}.txt", "noted.txt"):
            (logs / name).write_text(number)
        (logs / "latest.txt").symlink_to(f"{number}.txt")
        (root / trying.WORKSPACE / number).symlink_to("logs")
        return answer(root, names, at_once)

    monkeypatch.setattr(trying, "_simulate", simulate)
    trying.try_job(job, [site], tmp_path / "out", keep=kept)
    logs = kept / trying.WORKSPACE / "logs"
    (logs / "own.txt").write_bytes(WORK)
    if not same:
        (site / "case" / "scan.nii").write_bytes(b"2")
    trying.try_job(job, [site], Destination(tmp_path / "out", replace=not same), keep=kept)
    assert {path.name: path.read_text() for path in logs.iterdir()} == {
        **dict.fromkeys(("second.txt", "noted.txt", "latest.txt"), "second"),
        "own.txt": WORK.decode(),
    }
    assert not os.path.lexists(kept / trying.WORKSPACE / "first")


@pytest.mark.parametrize("given", [".", "link"])
def test_a_job_fills_an_empty_directory_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there", target_is_directory=True)
    monkeypatch.chdir(tmp_path / "there" if given == "." else tmp_path)
    write_job(Path(given), job_files("style", "", "", 1))
    assert sorted(path.name for path in (tmp_path / "there").iterdir()) == ["app", "meta.json"]
    with pytest.raises(InputError, match="holds something"):
        write_job(Path(given), job_files("style", "", "", 1))


def test_a_job_that_cannot_be_written_whole_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Path.write_text

    def full(path: Path, *arguments: object, **more: object) -> int:
        if path.name == "config_fed_client.json":
            raise OSError(errno.ENOSPC, "no space")
        return whole(path, *arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OutputError, match="disk is full"):
        write_job(tmp_path / "job", job_files("style", "", "", 1))
    assert not list(tmp_path.iterdir())


def test_a_path_too_long_for_the_simulators_sockets_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    monkeypatch.setattr(trying, "kind_of_job", lambda job: "evaluate")
    with pytest.raises(InputError, match="too long for the simulator's sockets"):
        trying.try_job(tmp_path, [tmp_path], tmp_path / "out")
    assert not list(long.iterdir())
