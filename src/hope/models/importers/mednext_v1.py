"""MedNeXt as nnU-Net v1 saves it: fold_N/NAME.model with NAME.model.pkl beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from hope.domain.errors import BundleError
from hope.formats.reading import reading
from hope.models.ensemble.spec import Average, Group, Method, Outside, Preprocessing, Tiling
from hope.models.importers.checkpoint_parts import (
    PEDS_CLASSES,
    CheckpointPart,
    Fold,
    brief,
    channels_of,
    in_order,
    need,
    per_channel,
    short,
    three,
    three_ints,
)
from hope.models.importers.pickle_stubs import PickleStub, RefusedError
from hope.models.importers.pickles import load, plain
from hope.models.importers.torch_files import TorchFile
from hope.models.networks import arguments_of

_WHO = "MedNeXt"
_PREFERRED = ("model_final_checkpoint.model", "model_best.model", "model_latest.model")
_SCHEMES = {"nonCT": "ZScoreNormalization", "noNorm": "NoNormalization", "CT": "CTNormalization"}
_STAGE = 5
"""Place of ``stage`` in the arguments that every nnU-Net v1 trainer keeps as ``init``."""


_PUBLISHED = Preprocessing(
    Method.NNUNET,
    spacing_mm=(1.0, 1.0, 1.0),
    normalise_first=False,
    schemes=("ZScoreNormalization",) * 4,
    nonzero_only=(True,) * 4,
)


@dataclass(frozen=True)
class _Plans:
    patch: tuple[int, int, int] = (128, 128, 128)
    preprocessing: Preprocessing = _PUBLISHED
    channels: int = 4
    classes: int | None = None
    names: tuple[str, ...] = ()
    said: bool = False


def read_mednext(checkpoints: list[Path], chosen: tuple[str, ...] | None) -> CheckpointPart:
    """Read the folds of one MedNeXt; the weights stay in their files until they are asked for.

    Args:
        checkpoints: every .model file that was found.
        chosen: order of the input channels as the user says it.

    Raises:
        BundleError: saying what is missing, damaged or not supported.
        InputError: if a file cannot be read, or the channels are not clear.
    """
    folds = _folds(checkpoints)
    about = [_about(name, path) for name, path in folds]
    plans = [_plans(facts, name, path) for facts, (name, path) in zip(about, folds, strict=True)]
    for other, (name, _) in zip(plans[1:], folds[1:], strict=True):
        if other != plans[0]:
            raise BundleError(f"{_WHO}: {name} was trained with other plans than {folds[0][0]}")
    arguments: dict[str, Any] = {}
    for name, path in reversed(folds):
        found = arguments_of("mednext", _outline(name, path))
        if arguments and found != arguments:
            raise BundleError(f"{_WHO}: {name} is a network of another size than the folds after it")
        arguments = found
    facts = plans[0]
    if arguments["channels"] != facts.channels:
        got, planned = arguments["channels"], facts.channels
        raise BundleError(f"{_WHO}: its network has {got} input channels, its plans say {planned}")
    if facts.classes not in (None, arguments["classes"]):
        raise BundleError(f"{_WHO}: its network has {arguments['classes']} output classes, its plans {facts.classes}")
    if arguments["classes"] != len(PEDS_CLASSES):
        raise BundleError(
            f"{_WHO}: its network has {arguments['classes']} output classes; expected 5 (background, ET, NET, CC, ED)"
        )
    if any(n % 2 ** (len(arguments["blocks"]) // 2) for n in facts.patch):
        raise BundleError(f"{_WHO}: the patch {facts.patch} of its plans should be made of multiples of 16")
    named = list(facts.names) or None
    channels, assumed = channels_of(_WHO, named, facts.channels, chosen)
    if not facts.said:
        assumed.insert(
            0,
            f"{_WHO}: patch 128x128x128, 1 mm voxels, each channel to zero mean and unit deviation over the nonzero"
            " voxels (no plans with its checkpoints; these are the published settings)",
        )
    assumed.append(f"{_WHO}: mirroring along all three axes, output classes background, ET, NET, CC, ED")
    group = Group(
        name="mednext",
        weight=1.0,
        architecture="mednext",
        arguments=arguments,
        classes=PEDS_CLASSES,
        channels=channels,
        preprocessing=facts.preprocessing,
        tiling=Tiling(facts.patch, mirror_axes=(0, 1, 2), mean=Average.PROBABILITIES),
        fold_mean=Average.PROBABILITIES,
        outside=Outside.ZERO,
        members=(),
        member_names=(),
    )
    made = tuple(Fold(name, (path, _beside(path)), _reader(name, path)) for name, path in folds)
    return CheckpointPart(
        "MedNeXt (nnU-Net v1)", group, made, {"trainer": brief(about[0].get("name", ""))}, tuple(assumed)
    )


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.pkl")


def _folds(checkpoints: list[Path]) -> list[tuple[str, Path]]:
    folders: dict[Path, list[Path]] = {}
    for path in checkpoints:
        folders.setdefault(path.parent, []).append(path)
    roots = {folder.parent for folder in folders}
    if len(roots) > 1:
        raise BundleError(f"{_WHO}: .model files of several models were found; give the folder of one")
    for place in sorted(next(iter(roots)).glob("fold_*")):
        if place.is_dir() and place.name[5:].isdecimal() and place not in folders:
            raise BundleError(f"{_WHO}: {place.name} has no .model file; add it, or take the folder away")
    numbered: dict[int, Path] = {}
    for folder, files in folders.items():
        by_name = {path.name: path for path in files}
        best = next((by_name[name] for name in _PREFERRED if name in by_name), files[0] if len(files) == 1 else None)
        if best is None:
            raise BundleError(f"{_WHO}: {folder.name} holds several .model files and none called {_PREFERRED[0]}")
        if not folder.name.startswith("fold_") or not folder.name[5:].isdecimal():
            if len(folders) > 1:
                raise BundleError(f"{_WHO}: the folder {folder.name} should be called fold_0, fold_1, ...")
            return [(folder.name.replace("_", " ") if folder.name.startswith("fold") else "fold 0", best)]
        numbered[int(folder.name[5:])] = best
    return in_order(numbered, _WHO)


def _about(name: str, path: Path) -> Mapping[Any, Any]:
    beside = _beside(path)
    if not beside.is_file():
        raise BundleError(f"{_WHO} {name}: {beside.name} is missing beside {path.name}")
    about = _pickle(beside, f"{_WHO} {name} ({short(beside)})")
    for key in ("init", "name"):
        need(about, key, f"{_WHO} {name} ({short(beside)})")
    return dict(about)


def _pickle(path: Path, name: str) -> Any:
    with reading(name), path.open("rb") as stream:
        return load(stream, name)


def _plans(about: Mapping[Any, Any], name: str, path: Path) -> _Plans:
    where = f"the plans of {_WHO} {name}"
    plans = about.get("plans")
    if not isinstance(plans, Mapping):
        near = [folder / "plans.pkl" for folder in (path.parent, path.parent.parent, path.parent.parent.parent)]
        beside = next((p for p in near if p.is_file()), None)
        if beside is None:
            return _Plans()
        plans = _pickle(beside, f"{_WHO} {beside.name}")
    try:
        init = about["init"]
        stage = init[_STAGE] if isinstance(init, tuple | list) and len(init) > _STAGE else None
        wanted = ("num_modalities", "num_classes", "modalities", "normalization_schemes", "use_mask_for_norm")
        also = ("transpose_forward", "plans_per_stage", "preprocessor_name")
        facts = plain({key: need(plans, key, where) for key in (*wanted, *also) if key in plans or key == also[1]})
        return _read_plans(facts, stage, _inner(plans, "dataset_properties", "intensityproperties"), where)
    except RefusedError as error:
        raise BundleError(f"{where}: it {error}") from error


def _inner(plans: Mapping[Any, Any], first: str, second: str) -> Any:
    outer = plans.get(first)
    if isinstance(outer, PickleStub):
        outer = outer.state
    return outer.get(second) if isinstance(outer, Mapping) else None


def _read_plans(facts: Mapping[str, Any], stage: Any, intensities: Any, where: str) -> _Plans:
    channels = facts.get("num_modalities", 4)
    if type(channels) is not int or not 0 < channels <= 16:
        raise BundleError(f"{where}: the number of channels is not usable")
    stages = need(facts, "plans_per_stage", where)
    if isinstance(stages, list):
        stages = {str(n): entry for n, entry in enumerate(stages)}
    if not isinstance(stages, Mapping) or not stages:
        raise BundleError(f"{where}: plans_per_stage is not usable")
    chosen = stages[max(stages)] if stage is None else need(stages, str(stage), f"{where} for stage {stage}")
    given = per_channel(facts.get("normalization_schemes", ["nonCT"] * channels), channels, f"{where}: schemes")
    if unknown := [s for s in given if s not in _SCHEMES]:
        raise BundleError(f"{where}: the normalisation {str(unknown[0])[:40]} is not supported, only {list(_SCHEMES)}")
    i, j, k = three_ints(facts.get("transpose_forward", [0, 1, 2]), f"{where}: transpose_forward", 0, 2)
    masks = per_channel(facts.get("use_mask_for_norm", [True] * channels), channels, f"{where}: use_mask_for_norm")
    names, foreground = facts.get("modalities") or {}, facts.get("num_classes")
    needed = [str(n) for n, scheme in enumerate(given) if scheme == "CT"]
    preprocessing = Preprocessing(
        Method.NNUNET,
        axes="zyx",
        transpose=(i, j, k),
        spacing_mm=three(need(chosen, "current_spacing", where), f"{where}: current_spacing"),
        normalise_first=False,
        schemes=tuple(_SCHEMES[s] for s in given),
        nonzero_only=tuple(bool(m) for m in masks),
        intensities={n: _intensity(intensities, n, where) for n in needed},
    )
    return _Plans(
        patch=three_ints(need(chosen, "patch_size", where), f"{where}: patch_size"),
        preprocessing=preprocessing,
        channels=channels,
        classes=foreground + 1 if type(foreground) is int else None,
        names=tuple(str(n) for n in per_channel(names, channels, f"{where}: modalities")) if names else (),
        said=True,
    )


def _intensity(table: Any, channel: str, where: str) -> dict[str, float]:
    entry = need(plain(table), channel, f"{where}, its intensities,")
    theirs = {"mean": "mean", "std": "sd", "percentile_00_5": "percentile_00_5", "percentile_99_5": "percentile_99_5"}
    return {ours: float(need(entry, name, where)) for ours, name in theirs.items()}


def _outline(name: str, path: Path) -> dict[str, Tensor]:
    file = TorchFile(path, f"{_WHO} {name} ({short(path)})")
    return file.outline(need(file.content, "state_dict", f"{_WHO} {name}"), "state_dict")


def _tensors(name: str, path: Path) -> dict[str, Tensor]:
    file = TorchFile(path, f"{_WHO} {name} ({short(path)})")
    return file.tensors(need(file.content, "state_dict", f"{_WHO} {name}"), "state_dict")


def _reader(name: str, path: Path) -> Any:
    return lambda: _tensors(name, path)


def is_plans_of_v1(path: Path) -> bool:
    """Whether a pickle's name says that it belongs to nnU-Net v1 and is no cluster model."""
    return path.name.endswith(".model.pkl") or "plans" in path.name.lower() or path.name == "dataset_properties.pkl"
