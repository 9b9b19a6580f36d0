"""What an output was made from, as it says itself, and whether the output of another call may take its place."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from hope.domain.errors import OutputError
from hope.domain.sequence import MRSequence
from hope.formats.atomic import holds_something, output_error, write_together
from hope.formats.hashing import sha256_of
from hope.formats.nifti_comment import read_comment

INPUT: Final = "input"
"""The field, of JSON and of the comment in a mask's header, that says what the output was made from."""

_SEQUENCES: Final = "sequences"
_CONTENT: Final = "content_sha256"
_LARGEST: Final = 256 * 2**20
_MOST_NAMED: Final = 4


@dataclass(frozen=True)
class MadeFrom:
    """What a call makes its output from.

    Attributes:
        what: what it is, in the plural, such as ``masks``: the key in the facts.
        parts: name -> SHA-256 or another value that is equal for equal input only.
    """

    what: str
    parts: Mapping[str, str]

    @classmethod
    def scans(cls, digests: Mapping[MRSequence, str]) -> MadeFrom:
        """The scans of one case, by the SHA-256 of their voxels."""
        return cls(_SEQUENCES, {str(sequence): digest for sequence, digest in digests.items()})

    @classmethod
    def of(cls, facts: Any) -> MadeFrom | None:
        """What facts say that their output was made from; None where they do not say."""
        given = facts.get(INPUT) if isinstance(facts, Mapping) else None
        if not isinstance(given, Mapping):
            return None
        kinds = [what for what, parts in given.items() if isinstance(parts, Mapping)]
        found = [cls(what, _parts(given[what])) for what in sorted(kinds, key=lambda what: what != _SEQUENCES)]
        return next((one for one in found if one.parts), found[0] if found else None)

    @property
    def words(self) -> str:
        """What it is, for people."""
        return "scans" if self.what == _SEQUENCES else self.what

    def facts(self) -> dict[str, Any]:
        """The part of a facts file that says it."""
        of_scans = self.what == _SEQUENCES
        parts = {name: {"sha256": part} if of_scans else part for name, part in self.parts.items()}
        return {INPUT: {self.what: parts}}

    def difference(self, earlier: Any) -> str:
        """How the input of earlier facts differs, in words; empty where this output may take the place of that one.

        It may if nothing of the earlier input is missing in this one. Scans that were left out or are assigned
        otherwise are the same scans, of the same day.
        """
        there = MadeFrom.of(earlier)
        if there is None or (self.what == there.what == _SEQUENCES and not there.parts):
            return "a result that does not say which"
        if there.what != self.what:
            return there.words
        if self.what == _SEQUENCES:
            ours, theirs = set(self.parts.values()), set(there.parts.values())
            if ours <= theirs or theirs <= ours:
                return ""
            return f"other images as {', '.join(n for n, part in self.parts.items() if part not in theirs)}"
        other = [name for name, part in there.parts.items() if self.parts.get(name) != part]
        if len(there.parts) < 2 or not other:
            return "others" if other else ""
        more = f" and {len(other) - _MOST_NAMED} more" if len(other) > _MOST_NAMED else ""
        return f"others as {', '.join(other[:_MOST_NAMED])}{more}"


def with_facts(record: Mapping[str, Any], made_from: MadeFrom) -> bytes:
    """A JSON file that says what it was made from, and by which a later call knows whether it was changed since."""
    full = json.loads(json.dumps({**record, **made_from.facts()}, allow_nan=False))
    full[INPUT][_CONTENT] = _hash_of(full)
    return (json.dumps(full, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def write_json(path: Path, record: Mapping[str, Any], made_from: MadeFrom, *, replace: bool = False) -> None:
    """Write JSON (`with_facts`) in the place of what may be replaced.

    Raises:
        OutputError: as `refuse_other_file`, or if it cannot be written; an earlier file is whole then.
    """
    refuse_other_file(path, made_from, replace=replace)
    write_together({path: with_facts(record, made_from)})


def mask_facts(made_from: MadeFrom) -> str:
    """The same for a mask: the comment of `hope.formats.nifti.write_labels`."""
    return json.dumps(made_from.facts())


def refuse_other_file(path: Path, made_from: MadeFrom, *, replace: bool = False) -> None:
    """Refuse, before any work, if a file at ``path`` is of other input, or is not what a call of ours left there.

    Args:
        path: where JSON (`with_facts`) or a mask (`mask_facts`) is to be written.
        made_from: what of.
        replace: whatever file is there may be replaced.

    Raises:
        OutputError: if so, or a directory lies there.
    """
    _refuse_directory(path)
    if replace or not holds_something(path):
        return
    facts = _facts_of(path)
    if isinstance(facts, str):
        raise OutputError(foreign(path.name, facts))
    if other := made_from.difference(facts):
        raise OutputError(
            f"{path.name} was made from other {made_from.words} (expected the same {made_from.words}, got {other}); "
            "choose another name or directory, or say --replace"
        )


def refuse_unlisted(facts: Path, names: Iterable[str], contents: Mapping[str, bytes], *, replace: bool = False) -> None:
    """Refuse files beside a facts file that it does not list as they are: they are not ours, or were changed since.

    Args:
        facts: the JSON of a call, with ``files``: name -> SHA-256; there may be none.
        names: of files that are to be written beside it.
        contents: what they are to hold: a call that was killed before its facts took their place has written the same.
        replace: whatever files are there may be replaced.

    Raises:
        OutputError: if there is one, or one cannot be read.
    """
    known = {} if replace else listed_files(facts)
    for path in (facts.with_name(name) for name in names):
        _refuse_directory(path)
        try:
            if replace or not holds_something(path):
                continue
            ours = {known.get(path.name), sha256(contents.get(path.name, b"")).hexdigest()}
            if sha256_of(path) not in ours:
                raise OutputError(foreign(path.name, "one of another program or that was changed since"))
        except OSError as error:
            raise output_error(path.name, error) from error


def listed_files(facts: Path) -> Mapping[str, str]:
    """Name -> SHA-256 of what a facts file lists beside it; nothing where it is not there or not as it was written."""
    said = _facts_of(facts) if facts.is_file() else ""
    files = {} if isinstance(said, str) else said.get("files")
    return {str(name): str(digest) for name, digest in files.items()} if isinstance(files, Mapping) else {}


def refuse_other_bytes(contents: Mapping[Path, bytes], *, replace: bool = False) -> None:
    """The same for files that cannot say what they were made from: the same input gives the same bytes.

    Args:
        contents: what is to be written.
        replace: whatever files are there may be replaced.

    Raises:
        OutputError: if a file is there and holds anything else, or cannot be read.
    """
    for path, content in contents.items():
        _refuse_directory(path)
        if replace:
            continue
        try:
            same = not holds_something(path) or (path.stat().st_size == len(content) and path.read_bytes() == content)
        except OSError as error:
            raise output_error(path.name, error) from error
        if not same:
            raise OutputError(foreign(path.name, "one of other input, of another program, or changed since"))


def foreign(name: str, got: str) -> str:
    """The sentence of a file that must not be replaced unasked."""
    return (
        f"{name} is there already (expected no file, or what this command wrote before, got {got}); "
        "choose another name or directory, or say --replace"
    )


def _refuse_directory(path: Path) -> None:
    if path.is_dir():
        raise output_error(path.name, IsADirectoryError(errno.EISDIR, ""))


def _facts_of(path: Path) -> Mapping[str, Any] | str:
    """What a file says that it was made from; else why that is not known or not true any more, in words."""
    unknown = "one of another program or of an earlier version"
    changed = "one that was changed since"
    mask = path.name.endswith((".nii", ".nii.gz"))
    try:
        if mask:
            text, whole = read_comment(path)
        else:
            text, whole = path.read_text(encoding="utf-8") if path.stat().st_size <= _LARGEST else "", True
        facts = json.loads(text)
    except OSError as error:
        raise output_error(path.name, error) from error
    except (ValueError, RecursionError):
        return unknown
    given = facts.get(INPUT) if isinstance(facts, dict) else None
    if not isinstance(given, dict) or (not mask and _CONTENT not in given):
        return unknown
    whole = whole and (mask or given.pop(_CONTENT) == _hash_of(facts))
    return facts if whole else changed


def _hash_of(facts: Any) -> str:
    return sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _parts(given: Any) -> dict[str, str]:
    """Name -> value, of parts that are values or hold a SHA-256."""
    if not isinstance(given, Mapping):
        return {}
    values = {str(name): part.get("sha256") if isinstance(part, Mapping) else part for name, part in given.items()}
    return {name: value for name, value in values.items() if isinstance(value, str)}
