"""Putting imported architectures and post-processing together into one bundle."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from safetensors.torch import save

from hope.domain.case import SEQUENCES, CleanUp, HeadState
from hope.domain.errors import BundleError, InputError
from hope.domain.labels import PEDS
from hope.domain.progress import Progress
from hope.formats.atomic import output_error
from hope.formats.hashing import sha256_of
from hope.formats.reading import reading
from hope.models.bundle import ENSEMBLE_FORMAT, POSTPROCESS, Bundle, write_manifest
from hope.models.ensemble.spec import Average, Group
from hope.models.importers import hail, thresholds
from hope.models.importers.checkpoint_parts import CheckpointPart, Fold, short
from hope.models.importers.choices import ImportChoices
from hope.models.importers.clusters import read_clusters
from hope.models.importers.mednext_v1 import read_mednext
from hope.models.importers.nnunet_v2 import read_nnunet
from hope.models.importers.pickle_stubs import RefusedError
from hope.models.importers.sources import Found, find
from hope.models.importers.swinunetr_pt import read_swinunetr
from hope.models.networks import convert_state

PUBLISHED_WEIGHTS = {"nnunet": 0.330839468, "mednext": 0.338249355, "swinunetr": 0.330911177}
"""Of the three architectures in the published ensemble."""

UNKNOWN_LICENCE = "not stated (imported weights)"
_POSTPROCESS_FORMAT = "hope-postprocess/1"
Made = TypeVar("Made")


def import_bundle(
    sources: Sequence[Path], model_id: str, choices: ImportChoices, folder: Path, progress: Progress
) -> Bundle:
    """Read published checkpoints and write them as one bundle.

    Args:
        sources: files, directories and zips; searched inside.
        model_id: of the bundle.
        choices: what the files do not say.
        folder: an empty directory, which becomes the bundle.
        progress: called with what is being done, and every assumption.

    Returns:
        The bundle, with its groups and all its files.

    Raises:
        InputError: if a source is missing, not readable or not clear.
        BundleError: if one is damaged, not supported, or asks for what it may not have; the sentence names it.
        OutputError: if the disk is full or not writable.
    """
    with tempfile.TemporaryDirectory(prefix="hope-import-") as scratch:
        progress("import: looking through the sources", 0.0)
        found = find(sources, Path(scratch))
        if (published := hail.checkpoint_in(found)) is not None:
            return _read(hail.WHO, lambda: hail.import_hail(published, model_id, choices, folder, progress))
        parts = _parts(found, choices, progress)
        postprocess, files, more = _postprocess(found, model_id)
        weights, said = _weights([part.group.name for part in parts], choices.weights)
        assumed = [message for part in parts for message in part.assumed] + more + said + _left_open(choices)
        for message in assumed:
            progress(f"assumed: {message}", 0.05)
        groups = [_write(part, weights[part.group.name], len(parts) > 1, folder, progress, n / len(parts))
                  for n, part in enumerate(parts)]  # fmt: skip
        source = {
            "kind": "import",
            "networks": [_origin(part) for part in parts],
            "postprocess": [{"name": short(path), "sha256": _sha256(path)} for path in files],
            "assumed": assumed,
        }
        try:
            if postprocess is not None:
                text = json.dumps(postprocess, ensure_ascii=False) + "\n"
                (folder / POSTPROCESS).write_text(text, encoding="utf-8")
            bundle = write_manifest(folder, _manifest(model_id, choices, groups, source))
        except OSError as error:
            raise output_error("the bundle", error) from error
    progress("import: done", 1.0)
    return bundle


def _parts(found: Found, choices: ImportChoices, progress: Progress) -> list[CheckpointPart]:
    kinds: list[tuple[str, bool, Callable[[], CheckpointPart]]] = [
        ("nnU-Net", bool(found.nnunet), lambda: read_nnunet(found.nnunet[0], choices.sequences)),
        ("MedNeXt", bool(found.mednext), lambda: read_mednext(found.mednext, choices.sequences)),
        ("SwinUNETR", bool(found.swinunetr), lambda: read_swinunetr(found.swinunetr, choices.sequences)),
    ]
    parts = []
    for who, there, read in kinds:
        if there:
            progress(f"import: reading {who}", 0.02)
            parts.append(_read(who, read))
    if not parts:
        raise InputError(
            "the sources hold no networks", expected="checkpoints of nnU-Net v2, MedNeXt or SwinUNETR beside the rest"
        )
    return parts


def _read(who: str, read: Callable[[], Made]) -> Made:
    try:
        return read()
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError, RefusedError) as error:
        # Foreign tables may hold anything anywhere; what the importers ask for by name they have checked themselves.
        raise BundleError(f"the files of {who} hold something unexpected: {type(error).__name__}: {error}") from error


def _weights(names: list[str], chosen: Mapping[str, float] | None) -> tuple[dict[str, float], list[str]]:
    if chosen is not None:
        if set(chosen) != set(names) or not all(0 < weight < 1e6 for weight in chosen.values()):
            got = ", ".join(f"{name}={weight:g}" for name, weight in chosen.items())
            raise InputError(
                "the weights do not fit the networks found", expected=f"a positive one for {', '.join(names)}", got=got
            )
        return dict(chosen), []
    if set(names) == set(PUBLISHED_WEIGHTS):
        return dict(PUBLISHED_WEIGHTS), ["weights of the three architectures are the published ones"]
    equal = [f"{' and '.join(names)} weigh the same"] if len(names) > 1 else []
    return dict.fromkeys(names, 1.0), equal


def _left_open(choices: ImportChoices) -> list[str]:
    said = []
    if choices.head_state is None:
        said.append("the networks want to see the whole head (say --head-state brain if they were trained without)")
    if choices.licence is None:
        said.append("no licence was given: ask whoever made the weights, and add them again with --licence")
    return said


def _write(part: CheckpointPart, weight: float, mixed: bool, folder: Path, progress: Progress, share: float) -> Group:
    """Store the weights of every fold, one after another, and complete the group."""
    group = part.group
    files = []
    for number, fold in enumerate(part.folds):
        progress(f"import: {part.kind}, {number + 1} of {len(part.folds)} folds", 0.1 + 0.85 * share)
        name = f"{group.name}-{fold.name.replace(' ', '')}.safetensors"
        _store(group, fold, folder / name)
        files.append(name)
    # The published flow runs every fold alone and averages probabilities; nnU-Net's own predictor averages logits.
    fold_mean = Average.PROBABILITIES if mixed else group.fold_mean
    names = tuple(fold.name for fold in part.folds)
    return replace(group, weight=weight, fold_mean=fold_mean, members=tuple(files), member_names=names)


def _store(group: Group, fold: Fold, path: Path) -> None:
    try:
        state = convert_state(group.architecture, group.arguments, fold.read())
    except BundleError as error:
        raise BundleError(f"{group.name} {fold.name}: {error}") from error
    raw = save(state)
    del state
    try:
        path.write_bytes(raw)
    except OSError as error:
        raise output_error(path.name, error) from error


def _origin(part: CheckpointPart) -> dict[str, Any]:
    files = [
        {"name": short(path), "sha256": _sha256(path)} for fold in part.folds for path in fold.files
    ]  # names alone: a path may name a person or a hospital
    return {"kind": part.kind, "group": part.group.name, **part.origin, "files": files}


def _sha256(path: Path) -> str:
    with reading(path.name):
        return sha256_of(path)


def _suppositions(source: Mapping[str, Any]) -> list[str]:
    """What the reader of a result has to know of how the model came to be."""
    return [f"Assumed at import: {message}." for message in source["assumed"]]


def _manifest(
    model_id: str, choices: ImportChoices, groups: Sequence[Group], source: Mapping[str, Any]
) -> dict[str, Any]:
    used = {channel for group in groups for channel in group.channels}
    folds = ", ".join(f"{group.name} ({len(group.members)})" for group in groups)
    return {
        "format": ENSEMBLE_FORMAT,
        "id": model_id,
        "version": "1",
        "title": choices.title or f"Imported networks: {folds}",
        "licence": choices.licence or UNKNOWN_LICENCE,
        "note": " ".join(
            ("Imported from checkpoints made elsewhere; their licence and limits hold.", *_suppositions(source))
        ),
        "label_schema": PEDS.name,
        "cleanup": str(CleanUp.SPECKS),
        "architecture": {"name": "ensemble", "arguments": {}},
        "input": {
            "sequences": [str(s) for s in SEQUENCES if s in used],
            "optional": [],
            "max_missing": 0,
            "spacing_mm": 1.0,
            "head_state": str(choices.head_state or HeadState.FULL),
            "normalisation": "per group",
        },
        "patch": list(groups[0].tiling.patch),
        "groups": [group.to_json() for group in groups],
        "source": dict(source),
    }


def _postprocess(found: Found, model_id: str) -> tuple[dict[str, Any] | None, list[Path], list[str]]:
    """The bundle's own post-processing, the files that it came from, and what was assumed."""
    if len(found.clusters) > 1:
        names = ", ".join(path.name for path in found.clusters)
        raise BundleError(f"several files may be the cluster model ({names}); give one of them")
    rules, files, assumed = _rules(found, model_id)
    if not found.clusters:
        if rules is not None:
            assumed.append("no cluster model was given: the rules apply only where --cluster says which cluster")
        return (None if rules is None else _record(rules, None)), files, assumed
    path = found.clusters[0]
    clusters, more = read_clusters(path)
    if rules is None:
        rules = thresholds.built_in_rules()
        assumed.append(f"no threshold files were given: the published ones ({thresholds.BUILT_IN}) are used")
    if len(clusters["centers"]) != len(rules["clusters"]):
        raise BundleError(
            f"{path.name} has {len(clusters['centers'])} clusters, the rules {rules['name']} have"
            f" {len(rules['clusters'])}; give the threshold files that belong to it"
        )
    return _record(rules, clusters), [path, *files], more + assumed


def _record(rules: Mapping[str, Any], clusters: Mapping[str, Any] | None) -> dict[str, Any]:
    return {"format": _POSTPROCESS_FORMAT, "rules": rules, "clusters": clusters}


def _rules(found: Found, model_id: str) -> tuple[dict[str, Any] | None, list[Path], list[str]]:
    tables: dict[bool, tuple[Path, thresholds.Table]] = {}
    own: list[tuple[Path, dict[str, Any]]] = []
    for path, named in found.rules:
        try:
            table, rules = thresholds.read_thresholds(path), thresholds.read_own_rules(path)
        except BundleError:
            # A broken JSON file that merely lies in a folder may be anything; one that was named may not.
            if named or "th" in path.name:
                raise
            continue
        if rules is not None:
            own.append((path, rules))
        elif table is not None:
            kind = thresholds.is_redefinition(table)
            if kind in tables:
                raise BundleError(f"{tables[kind][0].name} and {path.name} are threshold files of one kind; give one")
            tables[kind] = path, table
        elif named:
            raise BundleError(f"{path.name} is neither a threshold file nor a file of post-processing rules")
    if len(own) + bool(tables) > 1:
        raise BundleError("several sets of post-processing rules were found; give one")
    if own:
        return own[0][1], [own[0][0]], []
    if not tables:
        return None, [], []
    sizes, shares = (tables[kind][1] if kind in tables else None for kind in (False, True))
    assumed = [] if sizes else ["no file of component sizes was given: no component is removed"]
    assumed += [] if shares else ["no redefinition file was given: no label is redefined"]
    return thresholds.rules_of(sizes, shares, model_id), [path for path, _ in tables.values()], assumed
