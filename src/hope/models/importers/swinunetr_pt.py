"""SwinUNETR checkpoints: one file for each fold, {"model" or "state_dict": tensors, "args": argparse.Namespace}."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from hope.domain.errors import BundleError
from hope.models.ensemble.spec import Average, Group, Method, Outside, Preprocessing, Tiles, Tiling
from hope.models.importers.checkpoint_parts import (
    PEDS_CLASSES,
    CheckpointPart,
    Fold,
    brief,
    channels_of,
    in_order,
    short,
    three_ints,
)
from hope.models.importers.pickle_stubs import PickleStub
from hope.models.importers.torch_files import TorchFile
from hope.models.networks import arguments_of

PUBLISHED_OVERLAP = 0.625
_WHO = "SwinUNETR"
_STATES = ("model", "state_dict")
_NUMBER = re.compile(r"fold[ _-]?(\d{1,3})|(?:^|[_-])f(\d{1,2})(?=\D|$)", re.IGNORECASE)


def read_swinunetr(checkpoints: list[tuple[Path, str]], chosen: tuple[str, ...] | None) -> CheckpointPart:
    """Read the folds of one SwinUNETR; the weights stay in their files until they are asked for.

    Args:
        checkpoints: every file, with its path below the source that it was found in.
        chosen: order of the input channels as the user says it.

    Raises:
        BundleError: saying what is missing, damaged or not supported.
        InputError: if a file cannot be read, or the channels are not clear.
    """
    folds, assumed = _folds(checkpoints)
    facts: list[tuple[dict[str, Any], Mapping[str, Any]]] = []
    for name, path in folds:
        file = TorchFile(path, f"{_WHO} {name} ({short(path)})")
        arguments = arguments_of("swinunetr", file.outline(_state(file), "state"))
        facts.append((arguments, _args(file)))
        if arguments != facts[0][0]:
            raise BundleError(f"{_WHO}: {name} is a network of another size than {folds[0][0]}")
        if _tiling(facts[-1][1], name)[0] != _tiling(facts[0][1], name)[0]:
            raise BundleError(f"{_WHO}: {name} was trained with another tile than {folds[0][0]}")
    arguments, args = facts[0]
    for key, ours in (("in_channels", "channels"), ("out_channels", "classes")):
        if args.get(key) not in (None, arguments[ours]):
            raise BundleError(f"{_WHO}: its args say {key} {brief(args[key])}, its weights {arguments[ours]}")
    if arguments["classes"] != len(PEDS_CLASSES):
        raise BundleError(
            f"{_WHO}: its network has {arguments['classes']} output classes;"
            " expected 5 (background, ET, NET, CC, ED; networks for overlapping regions cannot be used)"
        )
    channels, more = channels_of(_WHO, None, arguments["channels"], chosen)
    tiling, from_tiling = _tiling(args, folds[0][0])
    group = Group(
        name="swinunetr",
        weight=1.0,
        architecture="swinunetr",
        arguments=arguments,
        classes=PEDS_CLASSES,
        channels=channels,
        preprocessing=Preprocessing(Method.NONZERO_CHANNEL, axes="xyz"),
        tiling=tiling,
        fold_mean=Average.PROBABILITIES,
        outside=Outside.BACKGROUND,
        members=(),
        member_names=(),
    )
    said = f"{_WHO}: each channel to zero mean and unit deviation over its own nonzero voxels, voxels of 1 mm, output"
    made = tuple(Fold(name, (path,), _reader(name, path)) for name, path in folds)
    also = (*assumed, *more, *from_tiling, f"{said} classes background, ET, NET, CC, ED")
    return CheckpointPart("SwinUNETR", group, made, {}, also)


def _folds(checkpoints: list[tuple[Path, str]]) -> tuple[list[tuple[str, Path]], list[str]]:
    numbered: dict[int, Path] = {}
    without = []
    for path, below in checkpoints:
        numbers = [int(a or b) for a, b in _NUMBER.findall(below)]
        if not numbers:
            without.append(path)
        elif numbers[-1] in numbered:
            other = numbered[numbers[-1]].name
            raise BundleError(f"{_WHO}: there are two files for fold {numbers[-1]} ({other}, {path.name}); give one")
        else:
            numbered[numbers[-1]] = path
    if numbered and without:
        raise BundleError(f"{_WHO}: which fold {without[0].name} is cannot be told; put it in a folder fold_N")
    if numbered:
        return in_order(numbered, _WHO, one_based=True), []
    ordered = sorted(without, key=lambda path: (path.name, str(path)))
    names = ", ".join(path.name for path in ordered)
    assumed = [f"{_WHO}: folds 0, 1, ... are {names}"] if len(ordered) > 1 else []
    return [(f"fold {n}", path) for n, path in enumerate(ordered)], assumed


def _state(file: TorchFile) -> Any:
    if isinstance(file.content, Mapping):
        for key in _STATES:
            if key in file.content:
                return file.content[key]
    raise BundleError(f"{file.name} has neither {_STATES[0]!r} nor {_STATES[1]!r}; it is no SwinUNETR checkpoint")


def _args(file: TorchFile) -> Mapping[str, Any]:
    args = file.content.get("args")
    if isinstance(args, PickleStub):
        args = args.state
    return args if isinstance(args, Mapping) else {}


def _tiling(args: Mapping[str, Any], name: str) -> tuple[Tiling, list[str]]:
    """Tiles as the arguments of the training say; what they leave open is as published."""
    assumed = []
    roi: Any = [args.get(f"roi_{axis}") for axis in "xyz"]
    if None in roi:
        roi = [128, 128, 128]
        assumed.append(f"{_WHO}: tiles of 128x128x128 voxels (its checkpoint does not say; this is the published size)")
    patch = three_ints(roi, f"{_WHO} {name}: roi_x, roi_y and roi_z")
    if any(n % 32 for n in patch):
        raise BundleError(f"{_WHO} {name}: the tile {'x'.join(map(str, patch))} is not made of multiples of 32")
    overlap = args.get("infer_overlap", PUBLISHED_OVERLAP)
    if type(overlap) not in (int, float) or not 0 <= overlap < 1:
        raise BundleError(f"{_WHO} {name}: its infer_overlap should be a number from 0 to below 1")
    if "infer_overlap" not in args:
        assumed.append(f"{_WHO}: tiles overlap by {PUBLISHED_OVERLAP:g} (its checkpoint does not say; as published)")
    elif overlap != PUBLISHED_OVERLAP:
        assumed.append(
            f"{_WHO}: tiles overlap by {overlap:g}, as its checkpoint says; {PUBLISHED_OVERLAP} is published"
        )
    return Tiling(patch, step=1 - float(overlap), tiles=Tiles.MONAI, mean=Average.LOGITS), assumed


def _reader(name: str, path: Path) -> Any:
    def read() -> dict[str, Tensor]:
        file = TorchFile(path, f"{_WHO} {name} ({short(path)})")
        return file.tensors(_state(file), "state")

    return read
