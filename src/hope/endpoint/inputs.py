"""What of an input location is taken: one case's scans, or the files that ``hope-input.json`` lists. Nothing else."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from hope.contract.job import DamagedError
from hope.domain.case import MRSequence
from hope.domain.errors import InputError
from hope.endpoint.payload import Payload
from hope.endpoint.problems import blamed_on
from hope.endpoint.store import Store
from hope.formats.names import (
    NO_ANATOMY,
    is_label_name,
    is_nifti_name,
    public_case_name,
    read_name,
    sort_by_name,
)

LIST = "hope-input.json"
"""An object of this name makes the input a harmonized case."""

FORMAT = "hope-input/1"
CASE, PREDICTION = "case", "prediction"

MOST_OBJECTS = 100_000
"""More than this below one case's prefix is not listed to the end."""

MOST_FILES = 64
"""A harmonized case has about a dozen."""

MOST_JSON_BYTES = 16 * 2**20
"""Voxels lie in the other files of a harmonized case."""

_DEEPEST = 8
_LONGEST_NAME = 200
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\.(?:json|npy)")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MIB = 2**20
_EXPECTED = "scans of one case named as BraTS or BIDS name them, such as <case>-t1c.nii.gz, or one zip of DICOM files"
_FIX = "name the scans <case>-t1n.nii.gz, -t1c, -t2w and -t2f, one case under one input_location"


class NothingThereError(InputError):
    """The input location holds nothing that could be a case."""


@dataclass(frozen=True)
class Limits:
    """Most that is downloaded, in bytes.

    Attributes:
        file: one object.
        total: one case.
    """

    file: int
    total: int


@dataclass(frozen=True)
class Wanted:
    """One object to download.

    Attributes:
        key: below the input location.
        to: where it goes below the case's folder.
        bytes: its size.
        sha256: of its bytes, where that is known before.
    """

    key: str
    to: PurePosixPath
    bytes: int
    sha256: str | None = None


@dataclass(frozen=True)
class Plan:
    """What is taken of an input.

    Attributes:
        kind: ``case`` or ``prediction``.
        files: what to download.
        sequences: those that names tell; None for what only the files themselves tell.
    """

    kind: str
    files: tuple[Wanted, ...]
    sequences: frozenset[MRSequence] | None = None


def plan_input(objects: Store, payload: Payload, limits: Limits) -> Plan:
    """Look at an input location without downloading a scan.

    Args:
        objects: where it lies.
        payload: what was asked for.
        limits: most that is downloaded.

    Raises:
        NothingThereError: if there is no case.
        InputError: if it is not clear what the case is, or it is too large.
        ConnectionError: if the store does not answer.
    """
    try:
        listed = objects.get_json(payload.input_location + LIST)
        plan = _scans(objects, payload) if listed is None else _harmonized(listed)
    except DamagedError:
        raise InputError(
            f"{LIST} is not usable", expected=f"JSON of the format {FORMAT}", got="something else"
        ) from None
    except ConnectionError as error:
        if theirs := blamed_on(error, "input_location"):
            raise theirs from error
        raise
    _refuse_large(plan.files, limits)
    return plan


def input_digest(hashes: Iterable[str]) -> str:
    """One SHA-256 for all files of an input, whatever they are called."""
    return hashlib.sha256("\n".join(sorted(hashes)).encode()).hexdigest()


def for_a_payload(error: InputError) -> InputError:
    """Advice that speaks of the command line's flags, in words that fit a bucket."""
    if "--" not in error.fix:
        return error
    return InputError(error.what, expected=error.expected, got=error.got, fix=_FIX)


def check_sequences(plan: Plan, missing: Any) -> None:
    """Refuse a case that the model cannot do, before anything is downloaded.

    Args:
        plan: of a case.
        missing: `hope.models.bundle.Bundle.missing`.

    Raises:
        InputError: naming what is missing.
    """
    if plan.sequences is None:
        return
    try:
        missing(plan.sequences)
    except InputError as error:
        raise for_a_payload(error) from error


def _scans(objects: Store, payload: Payload) -> Plan:
    """The one case whose scans lie under the location; results, junk and other cases are told from it by name."""
    scans: dict[str, list[tuple[str, int]]] = {}
    zips: dict[str, list[tuple[str, int]]] = {}
    output = f"{payload.output_location}/"
    if payload.input_location.startswith(output):
        raise InputError(
            "input_location lies inside output_location", fix="let results go beside the input or below it"
        )
    results = output.removeprefix(payload.input_location) if output.startswith(payload.input_location) else None
    for number, entry in enumerate(objects.list(payload.input_location)):
        if number >= MOST_OBJECTS:
            raise InputError("input_location holds too many objects for one case", expected=_EXPECTED)
        if (results is not None and entry.key.startswith(results)) or not _is_plain(entry.key):
            continue
        name = Path(entry.key.rpartition("/")[2])
        kind = scans if _is_scan(name) else zips if name.suffix.lower() == ".zip" else None
        if kind is not None:
            kind.setdefault(entry.key.rpartition("/")[0], []).append((entry.key, entry.bytes))
    place = public_case_name(payload.input_location.rstrip("/").rpartition("/")[2]) or CASE
    for found, choose in ((scans, _by_name), (zips, _one_zip)):
        if found:
            # As `hope segment` does: what lies in the directory itself hides the directories in it.
            return choose(_only_folder({"": found[""]} if "" in found else found), place)
    raise NothingThereError("input_location holds no scan", expected=_EXPECTED, fix="check the prefix and the names")


def _only_folder(found: Mapping[str, list[tuple[str, int]]]) -> tuple[str, list[tuple[str, int]]]:
    if len(found) > 1:
        raise InputError(
            f"input_location holds scans in {len(found)} folders",
            expected="one case",
            fix="invoke once for each case, with the prefix of its own folder",
        )
    return next(iter(found.items()))


def _by_name(found: tuple[str, list[tuple[str, int]]], place: str) -> Plan:
    folder, entries = found
    place = public_case_name(folder.rpartition("/")[2]) or place
    of = {Path(key.rpartition("/")[2]): (key, size) for key, size in entries}
    try:
        named = sort_by_name(of)
    except InputError as error:
        raise for_a_payload(error) from error
    files = tuple(Wanted(of[path][0], PurePosixPath(place, path.name), of[path][1]) for path in named.files.values())
    return Plan(CASE, files, frozenset(named.files))


def _one_zip(found: tuple[str, list[tuple[str, int]]], place: str) -> Plan:
    _, entries = found
    if len(entries) > 1:
        raise InputError(f"input_location holds {len(entries)} zip archives", expected="one", fix=_FIX)
    key, size = entries[0]
    # The archive's name may be a person's.
    stem = public_case_name(Path(key).stem) or place
    return Plan(CASE, (Wanted(key, PurePosixPath(f"{stem}.zip"), size),))


def _is_plain(key: str) -> bool:
    """Whether a key can be a path of a case: nothing hidden, nothing that climbs, no folder that holds no anatomy."""
    parts = key.split("/")
    return (
        len(parts) <= _DEEPEST
        and not any(part == "" or part[0] == "." or part in NO_ANATOMY for part in parts)
        and len(parts[-1].encode("utf-8", "replace")) <= _LONGEST_NAME
        and parts[-1].isprintable()
    )


def _is_scan(name: Path) -> bool:
    return is_nifti_name(name) and not is_label_name(name) and read_name(name) is not None


def _harmonized(listed: Mapping[str, Any]) -> Plan:
    """The files of a case that our own backend has prepared."""
    expected = f"format {FORMAT} and files with name, bytes and sha256"
    entries = listed.get("files")
    if listed.get("format") != FORMAT or not isinstance(entries, list) or not 0 < len(entries) <= MOST_FILES:
        raise InputError(f"{LIST} is not usable", expected=expected)
    files: dict[str, Wanted] = {}
    for entry in entries:
        if not isinstance(entry, dict):
            raise InputError(f"{LIST} is not usable", expected=expected)
        name, size, sha256 = (entry.get(key) for key in ("name", "bytes", "sha256"))
        usable = isinstance(name, str) and isinstance(size, int) and isinstance(sha256, str)
        if not usable or not _NAME.fullmatch(str(name)) or not _SHA256.fullmatch(str(sha256)) or int(size or 0) < 1:
            raise InputError(f"{LIST} lists a file that is not usable", expected=expected)
        if str(name).endswith(".json") and int(size or 0) > MOST_JSON_BYTES:
            raise InputError(f"{LIST} lists a JSON file that is too large", expected=f"at most {MOST_JSON_BYTES} bytes")
        files[str(name)] = Wanted(str(name), PurePosixPath(str(name)), int(size or 0), str(sha256))
    _refuse_incomplete(files)
    return Plan(PREDICTION, tuple(files.values()))


def _refuse_incomplete(files: Collection[str]) -> None:
    if absent := [name for name in ("aligned.json", "harmonized.json") if name not in files]:
        raise InputError(f"{LIST} lists no {' and no '.join(absent)}", expected="the files of an aligned case")


def _refuse_large(files: Iterable[Wanted], limits: Limits) -> None:
    total = 0
    for file in files:
        total += file.bytes
        if file.bytes > limits.file:
            got = f"{file.bytes / _MIB:.0f} MiB"
            raise InputError(
                "a file of the case is too large", expected=f"at most {limits.file / _MIB:.0f} MiB", got=got
            )
    if total > limits.total:
        got = f"{total / _MIB:.0f} MiB"
        raise InputError("the case is too large", expected=f"at most {limits.total / _MIB:.0f} MiB", got=got)
