"""Where results go: a directory that appears whole or not at all, and never at the cost of a file that is not ours."""

from __future__ import annotations

import json
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hope.domain.errors import OutputError
from hope.domain.sequence import MRSequence
from hope.formats.atomic import atomic_output, output_error
from hope.formats.hashing import sha256_of
from hope.formats.private_directory import OURS, partial_directory, unlocked
from hope.stages.report.made_from import MadeFrom

RESULT = "result.json"

_MTIME_SLACK_SECONDS = 2.0


@dataclass(frozen=True)
class Destination:
    """Where the results of several cases go.

    Attributes:
        out: the output directory.
        replace: an earlier result is replaced although it was made from other scans.
    """

    out: Path
    replace: bool = False

    def refuse_other_scans(self, case_id: str, sha256: Mapping[MRSequence, str]) -> None:
        """Refuse, before any work, if a result of other scans lies where this case's would go.

        Raises:
            OutputError: if so, and it must not be replaced; `result_folder` looks again at the end.
        """
        if not self.replace:
            _refuse_other_input(self.out / case_id / RESULT, MadeFrom.scans(sha256), case_id)


def refuse_to_replace(to: Destination, case_id: str, made_from: MadeFrom | None, facts: str = RESULT) -> None:
    """Refuse, before any work, what `result_folder` would refuse when it begins or ends.

    Args:
        to: where the result is to go.
        case_id: the name of its directory.
        made_from: what it will be made from; None where that is not looked at.
        facts: its facts file.

    Raises:
        OutputError: if what lies there must not be replaced.
    """
    with _as_output_error():
        _refuse_to_replace(to.out / case_id, to.out / case_id, facts)
    if made_from is not None and not to.replace:
        _refuse_other_input(to.out / case_id / facts, made_from, case_id)


@contextmanager
def result_folder(out: Path, case_id: str, facts: str = RESULT, *, replace: bool = False) -> Iterator[Path]:
    """A private folder that becomes ``out/case_id`` only when the block ends well; else nothing stays behind.

    An earlier result of the same case, known by its file ``facts``, is replaced as a whole, never mixed. One that was
    made from other input is replaced only if ``replace`` says so: two patients may have one name. One that holds
    files that were added or changed since, such as a mask corrected by hand, is not replaced: this is looked at before
    the block, and again when the new result takes the old one's place. What a run of the case left that was
    killed on this machine is deleted. An earlier result that it had moved away is put back, or deleted too if the new
    one had taken its place, whether that is still there or the user has deleted it since.

    Raises:
        OutputError: if ``out`` cannot be written, or something that must not be replaced lies at ``out/case_id``.
    """
    target = out / case_id
    partial: Path | None = None
    made: list[Path] = []
    finished = False
    try:
        with ExitStack() as until_it_ends:
            with _as_output_error():
                _refuse_to_replace(target, target, facts)
                made = [p for p in (out, *out.parents) if not p.exists()]
                if made:
                    out.mkdir(parents=True, exist_ok=True)
                _put_back(target, facts)
                partial = until_it_ends.enter_context(partial_directory(target))
                _forget_replaced(target, facts)
            yield partial
            with _as_output_error():
                _list_files(partial, facts)
                _swap(partial, target, facts, replace)
        finished = True
    finally:
        if not finished:
            if partial is not None:
                shutil.rmtree(partial, ignore_errors=True)
            for folder in made:
                if folder.is_dir() and not any(folder.iterdir()):
                    folder.rmdir()


@contextmanager
def output_directory(out: Path) -> Iterator[None]:
    """``out`` for several results at once: made before the block, and gone after it if it was not there and is empty.

    One that cannot be made is left to `result_folder`, which says so.
    """
    made: list[Path] = []
    with suppress(OSError):
        made = [p for p in (out, *out.parents) if not p.exists()]
        out.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        for folder in made:
            with suppress(OSError):  # one that could not be made, or is not empty
                folder.rmdir()


@contextmanager
def _as_output_error() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise output_error("the output directory", error) from error


def _list_files(partial: Path, facts: str) -> None:
    """Let the facts file list what was written, with hashes, so that a later run knows its own files."""
    path = partial / facts
    if not path.is_file():
        return
    known: Any = json.loads(path.read_text(encoding="utf-8"))
    if isinstance(known, dict) and "files" not in known:
        known["files"] = [
            {"name": file.name, "sha256": sha256_of(file)} for file in sorted(partial.iterdir()) if file.name != facts
        ]
        with atomic_output(path) as stream:
            stream.write((json.dumps(known, indent=2, ensure_ascii=False) + "\n").encode())


def _moved_away(target: Path) -> list[Path]:
    """Earlier results that runs on this machine moved away to replace them."""
    named = re.compile(rf"\.{re.escape(target.name)}\.{OURS}-[0-9a-f]{{8}}\.part\.old")
    found = [path for path in target.parent.iterdir() if named.fullmatch(path.name)]
    return [path for path in found if path.is_dir() and not path.is_symlink()]


def _put_back(target: Path, facts: str) -> None:
    """Put an earlier result back that a killed run had moved away before its own took the place.

    What that run had made lies beside it then; with the second rename it goes, so a result without it is replaced.
    This comes before what killed runs had made is deleted, so that a kill here loses nothing. Where another machine
    has filled the place since, perhaps for other scans, the earlier result is kept beside it.
    """
    for old in _moved_away(target):
        with unlocked(old.with_suffix("")) as its_run_was_killed:
            if its_run_was_killed:
                back = (old / facts).is_file() and not target.exists()
                old.rename(target if back else _kept(target))


def _forget_replaced(target: Path, facts: str) -> None:
    """Delete the results that killed runs had replaced."""
    for old in _moved_away(target):
        # What a living run moved away has that run's own directory beside it.
        if not old.with_suffix("").exists():
            _forget(old, target, facts)


def _forget(old: Path, target: Path, facts: str) -> None:
    """Delete a replaced result of a killed run as `_remove` would have; what another user owns is left to that one."""
    with suppress(OSError):
        others = set(_not_ours(old, target.name, facts)) if (old / facts).is_file() else set(old.iterdir())
        _delete(old, [path for path in old.iterdir() if path not in others], target, facts)


def _kept(target: Path) -> Path:
    return target.with_name(f"{target.name}.kept-{secrets.token_hex(4)}")


def _swap(partial: Path, target: Path, facts: str, replace: bool) -> None:
    """Put the new folder in the old one's place; if that fails, the old one is back where it was."""
    if not target.exists():
        partial.rename(target)
        return
    old = target.with_name(f"{partial.name}.old")
    target.rename(old)
    try:
        # Out of reach under its name now: what was saved into it during the run is seen here.
        _refuse_to_replace(old, target, facts)
        if not replace and (partial / facts).is_file():
            made_from = MadeFrom.of(json.loads((partial / facts).read_text(encoding="utf-8")))
            _refuse_other_input(old / facts, made_from, target.name)
        ours = [path.name for path in old.iterdir() if path.is_file()]
        partial.rename(target)
    except BaseException:
        old.rename(_kept(target) if target.exists() else target)  # another machine may have filled the place
        raise
    _remove(old, [old / name for name in ours], target, facts)


def _remove(old: Path, ours: Sequence[Path], target: Path, facts: str) -> None:
    """Delete the files that were looked at, one by one; a directory that holds more by now is kept."""
    if kept := _delete(old, ours, target, facts):
        raise OutputError(
            f"the new result of {target.name} is in place, but files were saved into the earlier one meanwhile; "
            f"they are in {kept.name}"
        )


def _delete(old: Path, ours: Sequence[Path], target: Path, facts: str) -> Path | None:
    """Delete files of a replaced result and its directory, or give the name under which the rest is kept."""
    for path in sorted(ours, key=lambda path: path.name == facts):  # last: it lists the others
        path.unlink(missing_ok=True)
    try:
        old.rmdir()
    except FileNotFoundError:  # another run of the case was quicker
        return None
    except OSError:
        kept = _kept(target)
        old.rename(kept)
        return kept
    return None


def _refuse_to_replace(folder: Path, target: Path, facts: str) -> None:
    """Refuse if anything in ``folder``, which is or was ``target``, was not written by an earlier run as it is now."""
    if folder.is_symlink() or not folder.exists():
        if folder.is_symlink():
            raise OutputError(f"{target.name} in the output directory is a link; choose another -o")
        return
    if not (folder / facts).is_file():
        raise OutputError(
            f"{target.name} exists in the output directory and is not a result of hope; choose another -o"
        )
    for path in _not_ours(folder, target.name, facts):
        raise OutputError(
            f"the earlier result of {target.name} holds a file that was added or changed since ({path.name}); "
            "move it to a safe place, or choose another -o"
        )


def _not_ours(folder: Path, name: str, facts: str) -> Iterator[Path]:
    """What is in the result of a case and was not written by the run that wrote its facts as it is now."""
    listed = _listed(folder / facts)
    written = (folder / facts).stat().st_mtime
    for path in sorted(folder.iterdir()):
        if path.name == facts:
            continue
        if path.is_dir() or path.is_symlink():
            ours = False
        elif listed is not None:
            ours = path.name in listed and sha256_of(path) == listed[path.name]
        else:
            # Facts of before files were listed: ours are named after the case and were written before the facts.
            named = path.name.startswith(f"{name}-") and path.name.endswith(".nii.gz")
            ours = named and path.stat().st_mtime <= written + _MTIME_SLACK_SECONDS
        if not ours:
            yield path


def _refuse_other_input(earlier: Path, made_from: MadeFrom | None, name: str) -> None:
    """Refuse if an earlier facts file says another input than the new one; new facts that name none are not looked at.

    Raises:
        OutputError: if so.
    """
    if made_from is None or not made_from.parts or not earlier.is_file():
        return
    try:
        there = json.loads(earlier.read_text(encoding="utf-8"))
    except ValueError:
        there = None
    got = made_from.difference(there)
    if not got:
        return
    words = made_from.words
    scans = words == "scans"
    danger, rename = (": it may be of another patient or day", ", give the case another name") if scans else ("", "")
    raise OutputError(
        f"the output directory holds a result of {name} that was made from other {words} (expected the same {words}, "
        f"got {got}){danger}; choose another -o{rename}, or say --replace (in Python replace=True)"
    )


def _listed(facts: Path) -> Mapping[str, str] | None:
    """Name -> SHA-256 of the files that a facts file lists, None if it lists none; a bundle's lists them so itself."""
    try:
        files = json.loads(facts.read_text(encoding="utf-8"))["files"]
        return files if isinstance(files, dict) else {entry["name"]: entry["sha256"] for entry in files}
    except (ValueError, KeyError, TypeError):
        return None
