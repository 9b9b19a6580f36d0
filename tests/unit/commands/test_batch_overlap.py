"""Cases whose steps overlap: same lines as one after another, few at once, and nothing half-made after an interrupt."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

import click
import pytest

from hope.commands.batch import for_each_case
from hope.commands.batch_overlap import can_be_read_ahead, for_each_case_overlapping, has_spare_processor
from hope.domain.case import MRSequence
from hope.domain.errors import InputError, OutputError, StageError
from hope.domain.progress import Progress
from hope.stages.intake.sources import CaseSource
from hope.stages.report.result_folder import RESULT, output_directory, result_folder

Run = Callable[[Sequence[CaseSource], Callable[[CaseSource, Progress], Generator[None, None, None]]], None]


@pytest.fixture(autouse=True)
def _a_processor_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hope.commands.batch_overlap.has_spare_processor", lambda: True)


@pytest.mark.parametrize(
    ("processors", "threads", "free"), [(2, "", False), (2, "1", True), (2, "2", False), (8, "", True)]
)
def test_cases_overlap_where_the_network_leaves_a_processor_free(
    monkeypatch: pytest.MonkeyPatch, processors: int, threads: str, free: bool
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(processors)), raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    assert has_spare_processor() is free


def cases(count: int, dicom: Sequence[int] = ()) -> list[CaseSource]:
    """Sources named case-0, case-1 and so on, those of some numbers DICOM."""
    return [
        CaseSource(f"case-{n}", {}, dicom=Path("study"))
        if n in dicom
        else CaseSource(f"case-{n}", {MRSequence.T1C: Path(f"case-{n}-t1c.nii.gz")})
        for n in range(count)
    ]


def steps(source: CaseSource, progress: Progress) -> Generator[None, None, None]:
    """Three steps of 20 ms that fail where ``BREAKS`` says so, and print the case at the end."""
    for number, name in enumerate(("read", "compute", "write")):
        progress(f"{name} {source.case_id}", number / 3)
        time.sleep(0.02)
        if error := BREAKS.get((source.case_id, name)):
            raise error
        if name != "write":
            yield
    click.echo(f"result of {source.case_id}")


BREAKS = {
    ("case-1", "read"): InputError("no such scan"),
    ("case-3", "compute"): StageError("the network failed"),
    ("case-4", "write"): OSError(28, "No space left on device"),
    ("case-6", "read"): ZeroDivisionError(),
}


def in_turn(sources: Sequence[CaseSource], work: Callable[[CaseSource, Progress], Generator[None, None, None]]) -> None:
    for_each_case(sources, lambda source, progress: [None for _ in work(source, progress)] and None)


@pytest.mark.parametrize("dicom", [(), (0, 2, 5)], ids=["all read ahead", "some DICOM"])
def test_lines_and_status_are_those_of_one_after_another(
    dicom: tuple[int, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    seen = []
    ways: tuple[Run, ...] = (in_turn, for_each_case_overlapping)
    for way in ways:
        with pytest.raises(SystemExit) as ended:
            way(cases(8, dicom), steps)
        printed = capsys.readouterr()
        seen.append((ended.value.code, printed.out, re.sub(r"(?m)^( *\d+%) +\d+ s", r"\1", printed.err)))
    assert seen[0] == seen[1]
    assert seen[1][1].split() == [w for n in (0, 2, 5, 7) for w in ("result", "of", f"case-{n}")]
    assert "4 of 8 cases failed (case-1, case-3, case-4, case-6); 4 complete" in seen[1][2]


def test_a_single_case_fails_as_any_call(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="no such scan"):
        for_each_case_overlapping(cases(2)[1:], steps)
    for_each_case_overlapping(cases(1), steps)
    assert capsys.readouterr().out == "result of case-0\n"


def test_steps_overlap_with_one_network_and_three_cases_at_most() -> None:
    lock, now, most = (
        threading.Lock(),
        {"case": 0, "read": 0, "compute": 0, "write": 0},
        dict.fromkeys(("case", "read", "compute", "write"), 0),
    )
    together, threads = set(), set()

    def enter(name: str) -> None:
        with lock:
            now[name] += 1
            most[name] = max(most[name], now[name])
            together.update((name, other) for other in ("read", "compute", "write") if now[other] and other != name)

    def leave(name: str) -> None:
        with lock:
            now[name] -= 1

    def watched(source: CaseSource, progress: Progress) -> Generator[None, None, None]:
        enter("case")
        for name in ("read", "compute", "write"):
            enter(name)
            time.sleep(0.05 if name == "compute" else 0.03)
            if name == "compute":
                threads.add(threading.current_thread())
            leave(name)
            if name != "write":
                yield
        leave("case")

    for_each_case_overlapping(cases(6), watched)
    assert most == {"case": 3, "read": 1, "compute": 1, "write": 1}
    assert {("read", "compute"), ("compute", "read")} & together
    assert {("write", "compute"), ("compute", "write")} & together
    assert threads == {threading.main_thread()}
    now.update(dict.fromkeys(now, 0))
    most.update(dict.fromkeys(most, 0))
    together.clear()
    for_each_case_overlapping(cases(6, dicom=range(6)), watched)
    assert most["case"] == 1, "what reading DICOM takes is counted as the memory of the process"


@pytest.mark.parametrize("ending", [KeyboardInterrupt(), SystemExit(143)], ids=["Ctrl-C", "terminated"])
def test_an_interrupt_leaves_nothing_half_made(ending: BaseException, tmp_path: Path) -> None:
    reading = threading.Event()
    stopped: list[str] = []

    def writing(source: CaseSource, progress: Progress) -> Generator[None, None, None]:
        try:
            with result_folder(tmp_path / "out", source.case_id) as folder:
                (folder / RESULT).write_text("{")
                if source.case_id == "case-2":
                    reading.set()
                    while True:
                        progress("read for long", 0.1)
                        time.sleep(0.005)
                yield
                if source.case_id == "case-1":
                    assert reading.wait(10)
                    raise ending
                yield
                for _ in range(1000 if source.case_id == "case-0" else 0):
                    progress("write for long", 0.9)
                    time.sleep(0.005)
                (folder / RESULT).write_text("{}")
        except BaseException as error:
            stopped.append(f"{source.case_id} {type(error).__name__}")
            raise

    with pytest.raises(type(ending)), output_directory(tmp_path / "out"):
        for_each_case_overlapping(cases(4), writing)
    assert not (tmp_path / "out").exists()
    assert sorted(stopped) == ["case-0 _Stopped", f"case-1 {type(ending).__name__}", "case-2 _Stopped"]


def test_a_case_that_waits_for_the_network_is_left_too(tmp_path: Path) -> None:
    read = threading.Event()

    def writing(source: CaseSource, progress: Progress) -> Generator[None, None, None]:
        with result_folder(tmp_path, source.case_id):
            yield
            if source.case_id == "case-1":
                read.set()
            assert source.case_id == "case-0"
            time.sleep(0.1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        for_each_case_overlapping(cases(2), writing)
    assert not any(tmp_path.iterdir())
    assert not read.is_set()


def test_only_nifti_files_are_read_ahead() -> None:
    assert can_be_read_ahead(CaseSource("a", {MRSequence.T1C: Path("x.nii"), MRSequence.T2W: Path("y.NII.GZ")}))
    assert not can_be_read_ahead(CaseSource("a", {MRSequence.T1C: Path("x.nii"), MRSequence.T2W: Path("series")}))
    assert not can_be_read_ahead(CaseSource("a", {}, dicom=Path("study.zip")))


def test_an_output_directory_goes_if_it_is_empty_and_was_not_there(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    with output_directory(there), output_directory(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b").is_dir()
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    with output_directory(tmp_path / "a"):
        (tmp_path / "a" / "case").mkdir()
    assert (tmp_path / "a" / "case").is_dir()
    (tmp_path / "file").touch()
    with output_directory(tmp_path / "file"):
        pass
    assert (tmp_path / "file").is_file()


def test_an_output_directory_that_cannot_be_made_is_left_to_the_cases(tmp_path: Path) -> None:
    too_long = "x" * 300
    with output_directory(tmp_path / "a" / too_long):
        pass
    assert not any(tmp_path.iterdir()), "its parents could be made"
    with output_directory(tmp_path / too_long), pytest.raises(OutputError), result_folder(tmp_path / too_long, "case"):
        pass
