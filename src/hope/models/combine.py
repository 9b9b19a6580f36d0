"""One bundle out of several trained networks of one shape: the mean of their answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from hope.domain.errors import InputError
from hope.formats.atomic import atomic_directory, is_free
from hope.models.bundle import MANIFEST, WEIGHTS, Bundle, read_bundle, write_manifest
from hope.models.networks.mean import MOST_MEMBERS
from hope.models.out_of_distribution import OUT_OF_DISTRIBUTION, OutOfDistributionScore, pooled
from hope.models.tensor_files import load_tensors

ARCHITECTURE, MEMBER = "MeanOfUNets", "UNet"
PREFIX = "members."
"""Of the names of weights; the member's number, a dot and the name in the member follow."""

_ALIKE = {
    "arguments": "shape",
    "sequences": "sequences",
    "optional": "sequences that may be missing",
    "max_missing": "number of sequences that may be missing",
    "at_least_one_of": "sequences of which one has to be there",
    "spacing_mm": "voxels",
    "head_state": "head state",
    "normalisation": "normalisation",
    "patch": "patch",
    "label_schema": "labels",
    "cleanup": "clean-up",
}
"""What members share, by the attribute of a bundle, and what a person calls it."""

_MEASURED_ANEW = ("measured", "intervals", "quality")


def combine_bundles(bundles: Sequence[Bundle], folder: Path, model_id: str) -> Bundle:
    """Write one bundle whose answer is the mean of the probabilities of several.

    What was fitted on one network's own answers (measured Dice, intervals, expected quality) is left out, since it is
    not true of the mean; what an ordinary input looks like is pooled, where every member knows it.

    Args:
        bundles: single U-Nets with equal shape, input, patch and labels, 2 to 8 different ones.
        folder: made if need be; it holds nothing yet.
        model_id: id of the new bundle.

    Raises:
        InputError: if they do not fit together, or the folder is not empty.
        BundleError: if files of one are damaged.
        OutputError: if the folder cannot be written; nothing of it stays then.
    """
    first = bundles[0] if bundles else None
    if first is None or not 2 <= len({bundle.sha256 for bundle in bundles}) == len(bundles) <= MOST_MEMBERS:
        raise InputError(
            "these bundles make no mean", expected=f"2 to {MOST_MEMBERS} different ones", got=f"{len(bundles)}"
        )
    for bundle in bundles:
        _check_alike(first, bundle)
    if not is_free(folder):
        raise InputError(f"the folder {folder.name} is not empty", fix="name a new folder with -o")
    for bundle in bundles:
        bundle.verify()
    known = [score for bundle in bundles if (score := OutOfDistributionScore.read(bundle.folder))]
    ordinary = pooled(known) if len(known) == len(bundles) else None
    with atomic_directory(folder, last=MANIFEST) as made:
        weights: dict[str, Tensor] = {}
        for number, bundle in enumerate(bundles):
            tensors = load_tensors(bundle.folder / WEIGHTS)
            weights |= {f"{PREFIX}{number}.{name}": tensor for name, tensor in tensors.items()}
        save_file(weights, made / WEIGHTS)
        (made / WEIGHTS).chmod(0o644)  # safetensors gives it to its owner alone
        if ordinary:
            (made / OUT_OF_DISTRIBUTION).write_text(json.dumps(ordinary.to_json()) + "\n", encoding="utf-8")
        write_manifest(made, _manifest(bundles, model_id))
    return read_bundle(folder)


def _check_alike(first: Bundle, other: Bundle) -> None:
    if other.architecture != MEMBER:
        raise InputError(
            f"the bundle {other.id} cannot be a member",
            expected=f"one {MEMBER}",
            got=other.architecture or "an ensemble",
        )
    for attribute, called in _ALIKE.items():
        if getattr(first, attribute) != getattr(other, attribute):
            raise InputError(
                f"the bundles {first.id} and {other.id} differ in their {called}",
                fix="combine networks that were trained with the same configuration",
            )


def _manifest(bundles: Sequence[Bundle], model_id: str) -> dict[str, Any]:
    first = bundles[0].manifest
    kept = {name: value for name, value in first.items() if name not in (*_MEASURED_ANEW, "files", "training")}
    licences = list(dict.fromkeys(bundle.licence for bundle in bundles))
    notes = list(dict.fromkeys(str(bundle.manifest.get("note", "")) for bundle in bundles))
    training = [bundle.manifest.get("training", {}) for bundle in bundles]
    members = [
        {"id": bundle.id, "version": bundle.version, "sha256": bundle.sha256, "training": said}
        for bundle, said in zip(bundles, training, strict=True)
    ]
    sources = {json.dumps(source): source for bundle in bundles for source in bundle.manifest.get("trained_on") or []}
    return {
        **kept,
        **({"trained_on": list(sources.values())} if sources else {}),
        "id": model_id,
        "version": date.today().isoformat(),
        "licence": "; ".join(licences),
        "note": " ".join(note for note in notes if note),
        "architecture": {
            "name": ARCHITECTURE,
            "arguments": {"members": len(bundles), **first["architecture"]["arguments"]},
        },
        "training": {
            "only_synthetic": all(said.get("only_synthetic") is True for said in training),
            "members": members,
        },
    }
