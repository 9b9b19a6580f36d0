"""Model bundles: one directory with model.json, safetensors weights, and nothing that is ever unpickled."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hope.domain import json_text
from hope.domain.case import SEQUENCES, CleanUp, HeadState, MRSequence
from hope.domain.errors import BundleError, InputError
from hope.domain.expected_quality import QualityRule
from hope.domain.intervals import IntervalRule
from hope.domain.labels import PEDS
from hope.domain.ranges import MODEL_SPACING_MM, PATCH_EDGE_VOXELS, PATCH_VOXELS
from hope.formats.hashing import sha256_of
from hope.models.ensemble.spec import Group, group_from_json
from hope.models.tensor_files import SUFFIX, check_tensor_file

FORMAT = "hope-bundle/1"
ENSEMBLE_FORMAT = "hope-bundle/2"
"""As format 1, but with ``groups`` of networks in place of one architecture and one file of weights."""
MANIFEST = "model.json"
MAX_MANIFEST_BYTES = 4 * 2**20
MAX_BUNDLE_FILES = 1000
WEIGHTS = "weights.safetensors"
POSTPROCESS = "postprocess.json"
BUNDLED = Path(__file__).parent.parent / "resources" / "models"
DEFAULT_MODEL = "mixed"

SEGMENTER = "segmenter"
HARMONIZER = "harmonizer"
KINDS = (SEGMENTER, HARMONIZER)
"""What a bundle is for; ``kind`` in the manifest, a segmenter if it says nothing."""


@dataclass(frozen=True)
class Bundle:
    """A model's facts; the weights stay on disk until a predictor loads them.

    Attributes:
        folder: where the files lie.
        id, version, licence: who it is.
        architecture, arguments: which network, built how.
        sequences: input channels in order.
        optional, max_missing: which sequences, and how many at once, the model can do without.
        at_least_one_of: of these one has to be there, or its answer says nothing; empty if it does not matter which.
        spacing_mm: isotropic voxel size of the network's input.
        head_state: full, defaced or brain.
        normalisation: name of the intensity normalisation.
        patch: tile of the sliding window in voxels of the network's grid.
        label_schema: name of the schema of the output classes; empty for a harmonizer.
        sha256: of the manifest, which itself holds the hash of every file.
        manifest: everything in model.json.
        groups: of an ensemble its architectures, each with its folds; empty for a bundle of one network.
        kind: what it is for, one of ``KINDS``.
        intervals: its thresholds for the interval beside a volume; None if it has none of its own.
        cleanup: what becomes of its answer where it brings no rules of its own.
        quality: how its probabilities tell how good an answer is; None if that was not fitted.
    """

    folder: Path
    id: str
    version: str
    licence: str
    architecture: str
    arguments: Mapping[str, Any]
    sequences: tuple[MRSequence, ...]
    optional: frozenset[MRSequence]
    max_missing: int
    spacing_mm: float
    head_state: HeadState
    normalisation: str
    patch: tuple[int, int, int]
    label_schema: str
    sha256: str
    manifest: Mapping[str, Any]
    groups: tuple[Group, ...] = ()
    kind: str = SEGMENTER
    intervals: IntervalRule | None = None
    at_least_one_of: frozenset[MRSequence] = frozenset()
    cleanup: CleanUp = CleanUp.UNSURE
    quality: QualityRule | None = None

    def missing(self, present: Collection[MRSequence]) -> tuple[MRSequence, ...]:
        """Sequences that this model would have to do without.

        Raises:
            InputError: if it cannot.
        """
        missing = tuple(s for s in self.sequences if s not in present)
        fatal = [s for s in missing if s not in self.optional]
        if fatal or len(missing) > self.max_missing or not present:
            can = ", ".join(s for s in SEQUENCES if s in self.optional) or "none"
            raise InputError(
                f"the model {self.id} cannot work without {', '.join(fatal or missing)}",
                expected=f"{', '.join(self.sequences)} (it can miss {self.max_missing} of: {can})",
                got=", ".join(s for s in SEQUENCES if s in present) or "no sequence",
                fix="add the missing scan with " + " ".join(f"--{s} FILE" for s in fatal or missing),
            )
        if self.at_least_one_of and self.at_least_one_of.isdisjoint(present):
            either = [s for s in SEQUENCES if s in self.at_least_one_of]
            raise InputError(
                f"the model {self.id} cannot work without {' or '.join(either)}",
                expected=f"at least one of {', '.join(either)}",
                got=", ".join(s for s in SEQUENCES if s in present),
                fix="add a scan with " + " or ".join(f"--{s} FILE" for s in either),
            )
        return missing

    def postprocess(self) -> Mapping[str, Any] | None:
        """The model's own post-processing (``hope-postprocess/1``) as plain JSON values; None if it has none.

        Raises:
            BundleError: if the file is not JSON.
        """
        if POSTPROCESS not in self.manifest["files"]:
            return None
        try:
            record: Mapping[str, Any] = json_text.loads((self.folder / POSTPROCESS).read_bytes())
        except (OSError, ValueError, RecursionError) as error:
            raise BundleError(
                f"model {self.id}: {POSTPROCESS} cannot be read{_repeated(error)}; add the bundle again"
            ) from error
        return record

    def verify(self) -> None:
        """Compare every file with the hash that the manifest gives.

        Raises:
            BundleError: naming the first file that is missing or differs, or whose tensors have an absurd header.
        """
        for name, expected in dict(self.manifest["files"]).items():
            path = self.folder / name
            if not path.is_file():
                raise BundleError(f"model {self.id}: {name} is missing from the bundle; add the bundle again")
            if sha256_of(path) != expected:
                raise BundleError(f"model {self.id}: {name} is damaged (its sha256 differs); add the bundle again")
            if name.endswith(SUFFIX):
                check_tensor_file(path)

    def refuse_links(self) -> None:
        """Refuse files that lie elsewhere: a foreign bundle could name any file of this machine.

        Raises:
            BundleError: naming the first file that is a symbolic link.
        """
        for name in (MANIFEST, *self.manifest["files"]):
            if (self.folder / name).is_symlink():
                raise BundleError(f"model {self.id}: {name} is a symbolic link; a bundle holds its files itself")


def read_bundle(folder: Path) -> Bundle:
    """Read a bundle's manifest.

    Raises:
        BundleError: if there is none, or it lacks something.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise BundleError(f"no model bundle here: {MANIFEST} not found in the given directory")
    if path.stat().st_size > MAX_MANIFEST_BYTES:
        raise BundleError(
            f"the bundle's {MANIFEST} is far too large (expected at most {MAX_MANIFEST_BYTES // 2**20} MiB)"
        )
    raw = path.read_bytes()
    try:
        manifest = json_text.loads(raw)
        if manifest["format"] not in (FORMAT, ENSEMBLE_FORMAT):
            known = f"{FORMAT}, {ENSEMBLE_FORMAT}"
            raise BundleError(f"bundle format {manifest['format']!r} is not known to this version ({known})")
        return _from_manifest(folder, manifest, hashlib.sha256(raw).hexdigest())
    except json_text.RepeatedKeyError as error:
        raise BundleError(f"the bundle's {MANIFEST} is not usable{_repeated(error)}; add the bundle again") from error
    except (KeyError, ValueError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise BundleError(f"the bundle's {MANIFEST} is not usable: {type(error).__name__}: {error}") from error


def _repeated(error: Exception) -> str:
    """What to say of a key that stands twice; empty for another error."""
    repeated = isinstance(error, json_text.RepeatedKeyError)
    return f" (expected each key once in an object, got {error})" if repeated else ""


def _from_manifest(folder: Path, manifest: Mapping[str, Any], sha256: str) -> Bundle:
    inputs = manifest["input"]
    names = dict(manifest["files"])
    if any(Path(name).name != name for name in names):
        raise BundleError("a bundle's files must lie in its own directory")
    if len(names) > MAX_BUNDLE_FILES:
        raise BundleError(f"the bundle lists {len(names)} files (expected at most {MAX_BUNDLE_FILES})")
    x, y, z = (int(n) for n in manifest["patch"])
    groups = tuple(group_from_json(entry) for entry in manifest.get("groups", ()))
    needed = [name for group in groups for name in group.members] or [WEIGHTS]
    if absent := [name for name in needed if name not in names]:
        raise BundleError(f"the bundle lists no {absent[0]}")
    if bool(groups) != (manifest["format"] == ENSEMBLE_FORMAT):
        raise BundleError(f"groups of networks belong to the bundle format {ENSEMBLE_FORMAT}, and to it alone")
    if any(n not in PATCH_EDGE_VOXELS for n in (x, y, z)) or x * y * z not in PATCH_VOXELS:
        raise BundleError(f"the bundle's patch is not usable (expected edges of {PATCH_EDGE_VOXELS} voxels)")
    if float(inputs["spacing_mm"]) not in MODEL_SPACING_MM:
        raise BundleError(f"the bundle's spacing is not usable (expected {MODEL_SPACING_MM})")
    kind = str(manifest.get("kind", SEGMENTER))
    if kind not in KINDS:
        raise BundleError(f"the bundle is a {kind!r}, which this version does not know ({', '.join(KINDS)})")
    schema = str(manifest.get("label_schema", "")) if kind == HARMONIZER else str(manifest["label_schema"])
    if kind == SEGMENTER and schema != PEDS.name:
        raise BundleError(f"the bundle's labels are {schema!r}; this version runs {PEDS.name!r} alone")
    return Bundle(
        folder=folder,
        id=str(manifest["id"]),
        version=str(manifest["version"]),
        licence=str(manifest["licence"]),
        architecture=str(manifest["architecture"]["name"]),
        arguments=dict(manifest["architecture"]["arguments"]),
        sequences=tuple(MRSequence(s) for s in inputs["sequences"]),
        optional=frozenset(MRSequence(s) for s in inputs["optional"]),
        max_missing=int(inputs["max_missing"]),
        spacing_mm=float(inputs["spacing_mm"]),
        head_state=HeadState(inputs["head_state"]),
        normalisation=str(inputs["normalisation"]),
        patch=(x, y, z),
        label_schema=schema,
        sha256=sha256,
        manifest=manifest,
        groups=groups,
        kind=kind,
        at_least_one_of=frozenset(MRSequence(s) for s in inputs.get("at_least_one_of", ())),
        intervals=IntervalRule.from_json(manifest["intervals"]) if "intervals" in manifest else None,
        # Bundles of earlier versions do not state it: ensembles were imported, single networks made as the starter was.
        quality=QualityRule.from_json(manifest["quality"]) if "quality" in manifest else None,
        cleanup=CleanUp(manifest.get("cleanup") or (CleanUp.SPECKS if groups else CleanUp.UNSURE)),
    )


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> Bundle:
    """Add the hash of every other file in the folder, write model.json, and read it back."""
    files = {p.name: sha256_of(p) for p in sorted(folder.iterdir()) if p.is_file() and p.name != MANIFEST}
    text = json.dumps({**manifest, "files": files}, indent=2, ensure_ascii=False) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")
    return read_bundle(folder)
