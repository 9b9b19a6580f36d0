"""Results replace earlier results, and nothing that was not written by us is ever deleted."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from hope.domain.errors import OutputError
from hope.domain.sequence import MRSequence
from hope.formats.private_directory import MACHINE, partial_directory
from hope.stages.report import result_folder as module
from hope.stages.report.made_from import MadeFrom
from hope.stages.report.result_folder import Destination, refuse_to_replace, result_folder

WORK = b"an hour's work"


def _run(out: Path, content: str, facts: str = "result.json", during: Callable[[], object] = lambda: None) -> None:
    with result_folder(out, "case-1", facts) as folder:
        (folder / "case-1-seg.nii.gz").write_text(content)
        (folder / facts).write_text("{}")
        during()


def _run_on(scans: dict[str, str], out: Path, facts: str, *, early: bool = True, replace: bool = False) -> None:
    made_from = MadeFrom.scans({MRSequence(sequence): digest for sequence, digest in scans.items()})
    if early:
        refuse_to_replace(Destination(out, replace), "case-1", made_from, facts)
    with result_folder(out, "case-1", facts, replace=replace) as folder:
        (folder / "case-1-seg.nii.gz").write_text(",".join(scans.values()))
        (folder / facts).write_text(json.dumps(made_from.facts()))


def _kept(out: Path) -> list[Path]:
    return [path for path in out.rglob("*") if path.is_file() and path.read_bytes() == WORK]


@pytest.mark.parametrize("facts", ["result.json", "preprocess.json", "truth.json"])
def test_an_earlier_result_is_replaced_and_nothing_stays_beside_it(tmp_path: Path, facts: str) -> None:
    _run(tmp_path, "one", facts)
    _run(tmp_path, "two", facts)
    assert [p.name for p in tmp_path.iterdir()] == ["case-1"]
    assert (tmp_path / "case-1" / "case-1-seg.nii.gz").read_text() == "two"
    assert [entry["name"] for entry in json.loads((tmp_path / "case-1" / facts).read_text())["files"]] == [
        "case-1-seg.nii.gz"
    ]


@pytest.mark.parametrize("facts", ["result.json", "preprocess.json", "truth.json"])
@pytest.mark.parametrize("name", ["case-1-seg-corrected.nii.gz", "case-1-seg.nii.gz", "notes.txt", "sub/mask.nii.gz"])
@pytest.mark.parametrize("when", ["before", "during"])
def test_a_file_that_was_added_or_changed_survives(tmp_path: Path, facts: str, name: str, when: str) -> None:
    _run(tmp_path, "one", facts)

    def save() -> None:
        path = tmp_path / "case-1" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(WORK)

    if when == "before":
        save()
    with pytest.raises(OutputError, match="added or changed since"):
        _run(tmp_path, "two", facts, save if when == "during" else lambda: None)
    assert _kept(tmp_path) == [tmp_path / "case-1" / name]
    assert [p.name for p in tmp_path.iterdir()] == ["case-1"], "the new result left nothing behind"


def test_a_file_saved_between_the_last_look_and_the_end_survives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _run(tmp_path, "one")
    real = module._remove

    def late(old: Path, ours: list[Path], target: Path, facts: str) -> None:
        (old / "case-1-seg-corrected.nii.gz").write_bytes(WORK)
        real(old, ours, target, facts)

    monkeypatch.setattr(module, "_remove", late)
    with pytest.raises(OutputError, match="is in place, but files were saved"):
        _run(tmp_path, "two")
    assert len(_kept(tmp_path)) == 1 and ".kept-" in _kept(tmp_path)[0].parent.name
    assert (tmp_path / "case-1" / "case-1-seg.nii.gz").read_text() == "two"


def test_facts_of_before_files_were_listed(tmp_path: Path) -> None:
    target = tmp_path / "case-1"
    target.mkdir()
    (target / "case-1-t1c.nii.gz").write_text("old")
    (target / "preprocess.json").write_text("{}")
    _run(tmp_path, "new", "preprocess.json")
    for name, seconds in (("case-1-t1c.nii.gz", 60), ("case-1-notes.txt", 0)):
        (target / "preprocess.json").write_text("{}")
        (target / "case-1-seg.nii.gz").unlink(missing_ok=True)
        (target / name).write_bytes(WORK)
        stamp = (target / "preprocess.json").stat().st_mtime + seconds
        os.utime(target / name, (stamp, stamp))
        with pytest.raises(OutputError, match="added or changed"):
            _run(tmp_path, "new", "preprocess.json")
        assert _kept(tmp_path) == [target / name]
        (target / name).unlink()


def test_a_link_and_a_foreign_directory_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "result.json").write_text("{}")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "case-1").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match="is a link"):
        _run(tmp_path / "out", "x")
    (tmp_path / "out" / "case-1").unlink()
    (tmp_path / "out" / "case-1").mkdir()
    with pytest.raises(OutputError, match="not a result of hope"):
        _run(tmp_path / "out", "x")
    assert (tmp_path / "elsewhere" / "result.json").read_text() == "{}"


def test_what_a_killed_run_of_the_case_left_goes_with_its_next_run(tmp_path: Path) -> None:
    left = f"{MACHINE}-0a1b2c3d.part"
    # What other cases left stays until they are run.
    kept = {f".other.{left}", f".other.{left}.old", ".case.mine.part"}
    for name in (f".case.{left}", *kept):
        (tmp_path / name).mkdir()
        (tmp_path / name / "case-t1c-atlas.nii.gz").write_bytes(b"1")
    with result_folder(tmp_path, "case") as living:
        assert not (tmp_path / f".case.{left}").exists()
        with pytest.raises(KeyError), result_folder(tmp_path, "case"):
            assert living.is_dir(), "its process lives"
            raise KeyError
        (living / "result.json").write_text("{}", encoding="utf-8")
    assert {path.name for path in tmp_path.iterdir()} == {"case", *kept}


@pytest.mark.parametrize("same", [True, False])
def test_a_result_that_a_killed_run_had_moved_away_is_put_back(tmp_path: Path, same: bool) -> None:
    """It was killed between the two renames: the earlier result lies under a hidden name, its own where it was made."""
    _run_on({"t1c": "a"}, tmp_path, "result.json")
    (tmp_path / "case-1").rename(tmp_path / f".case-1.{MACHINE}-0a1b2c3d.part.old")
    (tmp_path / f".case-1.{MACHINE}-0a1b2c3d.part").mkdir()
    if same:
        _run_on({"t1c": "a", "t2w": "b"}, tmp_path, "result.json")
    else:
        with pytest.raises(OutputError, match="other scans"):
            _run_on({"t1c": "x"}, tmp_path, "result.json", early=False)
    assert [path.name for path in tmp_path.iterdir()] == ["case-1"]
    assert (tmp_path / "case-1" / "case-1-seg.nii.gz").read_text() == ("a,b" if same else "a")


class _KilledError(BaseException):
    """Ends a run where a kill would: what it leaves on the disk is what a killed process leaves."""


@pytest.mark.parametrize("deleted", [0, 1])
@pytest.mark.parametrize("user_deletes", [True, False])
@pytest.mark.parametrize("saved", [True, False])
def test_what_a_run_left_that_was_killed_while_it_deleted_is_gone_after_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deleted: int, user_deletes: bool, saved: bool
) -> None:
    _run_on({"t1c": "a"}, tmp_path, "result.json")
    real, done = Path.unlink, []

    def killed(path: Path, missing_ok: bool = False) -> None:
        if path.parent.name.endswith(".old"):
            if len(done) == deleted:
                raise _KilledError
            done.append(path)
        real(path, missing_ok)

    with monkeypatch.context() as during:
        during.setattr(Path, "unlink", killed)
        with pytest.raises(_KilledError):
            _run_on({"t1c": "b"}, tmp_path, "result.json", replace=True)
    (hidden,) = (path for path in tmp_path.iterdir() if path.name.startswith("."))
    if saved:
        (hidden / "case-1-seg.nii.gz").write_bytes(WORK)
    if user_deletes:
        shutil.rmtree(tmp_path / "case-1")
    _run_on({"t1c": "c" if user_deletes else "b"}, tmp_path, "result.json")
    assert len(_kept(tmp_path)) == saved
    left = [path for path in tmp_path.iterdir() if path.name != "case-1"]
    assert [".kept-" in path.name and len(list(path.iterdir())) for path in left] == [1] * saved


def test_what_lies_in_the_place_of_a_result_without_its_facts_is_kept(tmp_path: Path) -> None:
    left = tmp_path / f".case-1.{MACHINE}-0a1b2c3d.part"
    for folder in (left, left.with_name(f"{left.name}.old")):
        folder.mkdir()
        (folder / "case-1-seg.nii.gz").write_bytes(WORK)
    _run_on({"t1c": "a"}, tmp_path, "result.json")
    assert len(list(tmp_path.iterdir())) == 2
    (kept,) = _kept(tmp_path)
    assert kept.parent.name.startswith("case-1.kept-")


@pytest.mark.parametrize("moment", ["before", "between", "after"])
def test_a_kill_while_a_killed_run_is_settled_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """The earlier result is put back before anything is deleted: whenever the second run is killed, it is there."""
    _run_on({"t1c": "a"}, tmp_path, "result.json")
    left = tmp_path / f".case-1.{MACHINE}-0a1b2c3d.part"
    (tmp_path / "case-1").rename(left.with_name(f"{left.name}.old"))
    left.mkdir()
    real = module._put_back

    def killed(target: Path, facts: str) -> None:
        if moment != "before":
            real(target, facts)
        if moment == "after":
            shutil.rmtree(left)
        raise _KilledError

    with monkeypatch.context() as during:
        during.setattr(module, "_put_back", killed)
        with pytest.raises(_KilledError):
            _run_on({"t1c": "a"}, tmp_path, "result.json")
    with pytest.raises(KeyError), result_folder(tmp_path, "case-1"):
        raise KeyError
    assert [path.name for path in tmp_path.iterdir()] == ["case-1"]
    assert (tmp_path / "case-1" / "case-1-seg.nii.gz").read_text() == "a"


def _run_killed(out: Path, scans: dict[str, str], steps: int) -> bool:
    """Replace the result in another process that is killed before its rename or deletion of this number."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    left = iter(range(steps))

    def counted(real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **more: object) -> object:
            if next(left, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **more)

        return call

    try:
        for name in ("rename", "unlink", "rmdir"):
            setattr(Path, name, counted(getattr(Path, name)))
        _run_on(scans, out, "result.json", early=False, replace=True)
        os._exit(0)
    finally:
        os._exit(1)


@pytest.mark.parametrize("user_deletes", [True, False])
def test_whenever_a_run_is_killed_one_whole_result_is_left_and_a_deleted_one_stays_deleted(
    tmp_path: Path, user_deletes: bool
) -> None:
    killed = 0
    for steps in range(20):
        out = tmp_path / str(steps)
        _run_on({"t1c": "a"}, out, "result.json")
        if not _run_killed(out, {"t1c": "b"}, steps):
            break
        killed += 1
        replaced = (out / "case-1" / "case-1-seg.nii.gz").exists() and _run_is_there(out, "b")
        if user_deletes and (out / "case-1").exists():
            shutil.rmtree(out / "case-1")
        with pytest.raises(KeyError), result_folder(out, "case-1"):
            raise KeyError
        if user_deletes and replaced:
            assert list(out.rglob("*")) == []
        elif not user_deletes:
            assert [path.name for path in out.iterdir()] == ["case-1"]
            assert _run_is_there(out, "b" if replaced else "a")
    assert killed >= 4, "two renames, two files and a directory"


def _run_is_there(out: Path, content: str) -> bool:
    folder = out / "case-1"
    return (folder / "result.json").is_file() and (folder / "case-1-seg.nii.gz").read_text() == content


def test_an_earlier_version_did_not_say_that_it_had_replaced_a_result(tmp_path: Path) -> None:
    _run_on({"t1c": "a"}, tmp_path, "result.json")
    shutil.copytree(tmp_path / "case-1", tmp_path / f".case-1.{MACHINE}-0a1b2c3d.part.old")
    _run_on({"t1c": "a"}, tmp_path, "result.json")
    assert [path.name for path in tmp_path.iterdir()] == ["case-1"]


def test_a_result_that_was_never_replaced_is_kept_though_another_machine_filled_its_place(tmp_path: Path) -> None:
    _run_on({"t1c": "a"}, tmp_path, "result.json")
    left = tmp_path / f".case-1.{MACHINE}-0a1b2c3d.part"
    (tmp_path / "case-1").rename(left.with_name(f"{left.name}.old"))
    shutil.copytree(left.with_name(f"{left.name}.old"), tmp_path / "case-1")
    left.mkdir()
    _run_on({"t1c": "a"}, tmp_path, "result.json")
    (kept,) = (path for path in tmp_path.iterdir() if path.name != "case-1")
    assert kept.name.startswith("case-1.kept-") and (kept / "case-1-seg.nii.gz").read_text() == "a"


def test_what_a_living_run_moved_away_is_left_to_it(tmp_path: Path) -> None:
    _run_on({"t1c": "a"}, tmp_path, "result.json")
    with partial_directory(tmp_path / "case-1") as living:
        old = living.with_name(f"{living.name}.old")
        (tmp_path / "case-1").rename(old)
        with pytest.raises(KeyError), result_folder(tmp_path, "case-1"):
            assert old.is_dir() and not (tmp_path / "case-1").exists()
            raise KeyError
        living.rmdir()


def test_files_of_the_user_are_seen_before_the_work(tmp_path: Path) -> None:
    to = Destination(tmp_path)
    refuse_to_replace(to, "case-1", MadeFrom("options", {"seed": "1"}))
    _run(tmp_path, "one")
    refuse_to_replace(to, "case-1", None)
    with pytest.raises(OutputError, match="does not say which"):
        refuse_to_replace(to, "case-1", MadeFrom("options", {"seed": "1"}))
    refuse_to_replace(Destination(tmp_path, replace=True), "case-1", MadeFrom("options", {"seed": "1"}))
    (tmp_path / "case-1" / "notes.txt").write_bytes(WORK)
    for replace in (True, False):
        with pytest.raises(OutputError, match="added or changed"):
            refuse_to_replace(Destination(tmp_path, replace), "case-1", None)


FIRST = {"t1c": "a", "t2f": "b"}


@pytest.mark.parametrize("facts", ["result.json", "preprocess.json", "harmonize.json"])
@pytest.mark.parametrize(
    ("again", "same"),
    [
        (FIRST, True),
        ({"t1n": "a", "t2f": "b"}, True),  # assigned otherwise
        ({"t1c": "a"}, True),  # one was left out
        ({**FIRST, "t2w": "c"}, True),  # one came
        ({"t1c": "a", "t2f": "x"}, False),
        ({"t1c": "x", "t2f": "y"}, False),
        ({"t2w": "c"}, False),
    ],
)
@pytest.mark.parametrize("early", [True, False], ids=["before the work", "at the end"])
def test_a_result_of_other_scans_is_replaced_only_if_asked(
    tmp_path: Path, facts: str, again: dict[str, str], same: bool, early: bool
) -> None:
    _run_on(FIRST, tmp_path, facts)
    before = {path.name: path.read_bytes() for path in (tmp_path / "case-1").iterdir()}
    if same:
        _run_on(again, tmp_path, facts, early=early)
    else:
        with pytest.raises(OutputError, match=r"of case-1 that was made from other scans.*choose another -o"):
            _run_on(again, tmp_path, facts, early=early)
        assert {path.name: path.read_bytes() for path in (tmp_path / "case-1").iterdir()} == before
        _run_on(again, tmp_path, facts, replace=True)
    assert [p.name for p in tmp_path.iterdir()] == ["case-1"]
    assert (tmp_path / "case-1" / "case-1-seg.nii.gz").read_text() == ",".join(again.values())


@pytest.mark.parametrize("text", ["{}", '{"input": {}}', '{"input": 3}', "no json", "[]"])
def test_a_result_that_does_not_name_its_scans_is_not_replaced_unasked(tmp_path: Path, text: str) -> None:
    (tmp_path / "case-1").mkdir()
    (tmp_path / "case-1" / "preprocess.json").write_text(text)
    with pytest.raises(OutputError, match="does not say which"):
        _run_on(FIRST, tmp_path, "preprocess.json")
    _run_on(FIRST, tmp_path, "preprocess.json", replace=True)
