"""Finding what can be imported in files, directories and zips."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hope.domain.errors import BundleError, InputError
from hope.formats.archive import extract_zip, is_zip
from hope.formats.reading import reading
from hope.models.importers.mednext_v1 import is_plans_of_v1
from hope.models.importers.nnunet_v2 import CHECKPOINT

MAX_FILES = 50_000
_TORCH = (".pt", ".pth")
_PICKLES = (".pkl", ".pickle")
_EXPECTED = "an nnU-Net v2 model folder, a MedNeXt folder (.model files), SwinUNETR .pt files, or zips of them"


@dataclass
class Found:
    """What was found, by kind.

    Attributes:
        nnunet: nnU-Net v2 model folders.
        mednext: .model files.
        swinunetr: torch checkpoints with their paths below the source.
        clusters: pickles and .npz files that may be cluster models.
        rules: JSON files that may be thresholds or rules, and whether the user named each one itself.
    """

    nnunet: list[Path] = field(default_factory=list)
    mednext: list[Path] = field(default_factory=list)
    swinunetr: list[tuple[Path, str]] = field(default_factory=list)
    clusters: list[Path] = field(default_factory=list)
    rules: list[tuple[Path, bool]] = field(default_factory=list)


def find(sources: Sequence[Path], scratch: Path) -> Found:
    """Look through all sources.

    Args:
        sources: files, directories and zips.
        scratch: where zips are unpacked.

    Raises:
        InputError: if a source does not exist, is not readable or holds nothing that can be used.
        BundleError: if a model folder is there in part only, or twice.
        OutputError: if a zip cannot be unpacked.
    """
    found = Found()
    number = 0
    for source in sources:
        if not source.exists():
            raise InputError(f"the source {source.name} does not exist", expected=_EXPECTED, got="nothing")
        before = _count(found)
        if source.is_dir():
            _search(source, found)
            for archive in sorted(p for p in _files(source) if p.suffix.lower() == ".zip"):
                number += 1
                _search(extract_zip(archive, scratch / str(number)), found)
        elif _is_archive(source):
            number += 1
            _search(extract_zip(source, scratch / str(number)), found)
        else:
            _single(source, found)
        if _count(found) == before:
            raise InputError(f"nothing to import was found in {source.name}", expected=_EXPECTED)
    if len(found.nnunet) > 1:
        names = ", ".join(folder.name for folder in found.nnunet)
        raise BundleError(f"several nnU-Net models were found ({names}); give the folder of one")
    return found


def _count(found: Found) -> int:
    return sum(len(getattr(found, name)) for name in ("nnunet", "mednext", "swinunetr", "clusters", "rules"))


def _is_archive(path: Path) -> bool:
    # Checkpoints and .npz files are zip archives too, but not such that are to be unpacked.
    with reading(path.name):
        return path.suffix.lower() not in (*_TORCH, ".npz", ".model", *_PICKLES) and is_zip(path)


def _files(folder: Path) -> Iterator[Path]:
    with reading(folder.name):
        for number, path in enumerate(sorted(folder.rglob("*"))):
            if number > MAX_FILES:
                raise InputError(f"{folder.name} holds more than {MAX_FILES} files", fix="give the model's own folder")
            if path.is_file() and not any(part[0] == "." or part == "__MACOSX" for part in _parts(path, folder)):
                yield path


def _parts(path: Path, folder: Path) -> tuple[str, ...]:
    return path.relative_to(folder).parts


def _search(folder: Path, found: Found) -> None:
    files = list(_files(folder))
    plans = [p.parent for p in files if p.name == "plans.json"]
    found.nnunet += plans
    models = [p for p in files if p.suffix == ".model"]
    found.mednext += models
    of_mednext = {p.parent for p in models} | {p.parent.parent for p in models if p.parent.name.startswith("fold_")}
    for path in files:
        suffix = path.suffix.lower()
        if any(root in path.parents for root in plans):
            continue
        if path.name.startswith("checkpoint_") and suffix == ".pth":
            raise BundleError(f"{CHECKPOINT} was found without plans.json; give nnU-Net's whole model folder")
        if suffix in _TORCH:
            found.swinunetr.append((path, path.relative_to(folder).as_posix()))
        elif suffix in _PICKLES and not is_plans_of_v1(path):
            if path.parent not in of_mednext or "cluster" in path.name.lower():
                found.clusters.append(path)
        elif suffix == ".npz" and "cluster" in path.name.lower():
            found.clusters.append(path)
        elif suffix == ".json" and path.parent not in of_mednext:
            found.rules.append((path, False))


def _single(path: Path, found: Found) -> None:
    """A file that the user named itself."""
    if not path.is_file():
        raise InputError(f"{path.name} is neither a file nor a directory", expected=_EXPECTED)
    suffix = path.suffix.lower()
    if path.name == CHECKPOINT or path.name == "plans.json":
        raise InputError(f"{path.name} is one file of an nnU-Net model", fix="give the whole model folder, or its zip")
    if suffix in _TORCH:
        found.swinunetr.append((path, f"{path.parent.name}/{path.name}"))
    elif suffix == ".model":
        found.mednext.append(path)
    elif suffix in (*_PICKLES, ".npz"):
        found.clusters.append(path)
    elif suffix == ".json":
        found.rules.append((path, True))
