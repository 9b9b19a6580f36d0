"""The published harmonizer's checkpoint: one file, six state dicts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from hope.domain.case import HeadState, MRSequence
from hope.domain.errors import BundleError, InputError
from hope.domain.progress import Progress
from hope.formats.atomic import output_error
from hope.formats.hashing import sha256_of
from hope.formats.reading import reading
from hope.models.bundle import FORMAT, HARMONIZER, WEIGHTS, Bundle, write_manifest
from hope.models.hail.published_runner import ARCHITECTURE, NORMALISATION
from hope.models.hail.released import SLICE, PublishedHail
from hope.models.importers.checkpoint_parts import short
from hope.models.importers.choices import ImportChoices
from hope.models.importers.sources import Found
from hope.models.importers.torch_files import TorchFile
from hope.models.networks.keys import check, layout_of, without_wrappers

WHO = "HAIL"
STATES = ("beta_encoder", "theta_encoder", "eta_encoder", "decoder", "attention_module", "patchifier")
_TELLING = frozenset(("beta_encoder", "theta_encoder", "decoder"))
"""Entries that no other checkpoint has together."""
_UNKNOWN_LICENCE = "not stated (imported weights)"
_ASSUMED = (
    f"{WHO}: t1n is divided by its 99th percentile and cut off at 1, as its predecessor's published code does",
    f"{WHO}: it draws axial slices, and takes a style from the twenty slices in the middle of the target",
)


def checkpoint_in(found: Found) -> Path | None:
    """The published harmonizer's checkpoint, if there is one among the torch files.

    Raises:
        InputError: if it is not the only thing that was found.
        BundleError: if a torch file is damaged.
    """
    published = [path for path, _ in found.swinunetr if _is_hail(TorchFile(path, short(path)).content)]
    if not published:
        return None
    others = len(found.nnunet) + len(found.mednext) + len(found.swinunetr) + len(found.clusters) - 1
    if others:
        raise InputError(
            f"{short(published[0])} is a harmonizer, which is a model by itself",
            expected="this file alone",
            got=f"{others} more",
            fix="add the rest by another `hope models add`",
        )
    return published[0]


def _is_hail(content: Any) -> bool:
    return isinstance(content, Mapping) and content.keys() >= _TELLING


def import_hail(path: Path, model_id: str, choices: ImportChoices, folder: Path, progress: Progress) -> Bundle:
    """Write the checkpoint as a bundle of kind harmonizer; every tensor has to be there in its shape, and no other.

    Args:
        path: the checkpoint.
        model_id: of the bundle.
        choices: licence, title and head state as the user says them.
        folder: an empty directory, which becomes the bundle.
        progress: called with what is being done, and every assumption.

    Raises:
        BundleError: naming what is missing, unexpected, damaged or not finite.
        InputError: if the file cannot be read, or something was said that does not belong to a harmonizer.
        OutputError: if the disk is full or not writable.
    """
    if choices.weights or choices.sequences not in (None, (str(MRSequence.T1N),)):
        raise InputError("the harmonizer has one network for t1n", fix="leave out --weights and --sequences")
    progress(f"import: reading {WHO}", 0.1)
    tensors = _tensors(TorchFile(path, f"{WHO} ({short(path)})"))
    try:
        (folder / WEIGHTS).write_bytes(save(tensors))
    except OSError as error:
        raise output_error(WEIGHTS, error) from error
    assumed = [*_ASSUMED]
    if choices.licence is None:
        assumed.append("no licence was given: ask whoever made the weights, and add them again with --licence")
    for message in assumed:
        progress(f"assumed: {message}", 0.5)
    with reading(short(path)):
        origin = {"name": short(path), "sha256": sha256_of(path)}
    manifest = {
        "format": FORMAT,
        "kind": HARMONIZER,
        "id": model_id,
        "version": "1",
        "title": choices.title or "Imported harmonizer (HAIL)",
        "licence": choices.licence or _UNKNOWN_LICENCE,
        "note": "Imported from a checkpoint made elsewhere; its licence and limits hold. It draws images anew.",
        "architecture": {"name": ARCHITECTURE, "arguments": {}},
        "input": {
            "sequences": [str(MRSequence.T1N)],
            "optional": [],
            "max_missing": 0,
            "spacing_mm": 1.0,
            "head_state": str(choices.head_state or HeadState.BRAIN),
            "normalisation": NORMALISATION,
        },
        "patch": [SLICE, SLICE, 1],
        "source": {"kind": "import", "networks": [{"kind": WHO, "files": [origin]}], "assumed": assumed},
    }
    try:
        bundle = write_manifest(folder, manifest)
    except OSError as error:
        raise output_error("the bundle", error) from error
    progress("import: done", 1.0)
    return bundle


def _tensors(file: TorchFile) -> dict[str, Tensor]:
    """All tensors under one name each, as ``PublishedHail`` calls them."""
    expected = layout_of(PublishedHail()).tensors
    given = {}
    for part in STATES:
        if part not in file.content:
            raise BundleError(f"{file.name} has no {part}; expected {', '.join(STATES)}")
        own = {name.removeprefix(f"{part}."): t for name, t in expected.items() if name.startswith(f"{part}.")}
        state = without_wrappers(file.tensors(file.content[part], part))
        check(f"the {part} of {WHO}", own, state)
        for name, tensor in state.items():
            if not bool(tensor.isfinite().all()):
                raise BundleError(f"the {part} of {WHO}: the tensor {name} holds numbers that are not finite")
            given[f"{part}.{name}"] = tensor.to(own[name].dtype).clone().contiguous()
    return given
