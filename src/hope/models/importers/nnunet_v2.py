"""nnU-Net v2 model folders: plans.json, dataset.json and fold_N/checkpoint_final.pth."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from hope.domain import json_text
from hope.domain.errors import BundleError
from hope.formats.reading import reading
from hope.models.ensemble.spec import Average, Group, Outside, Preprocessing, Tiling
from hope.models.importers.checkpoint_parts import (
    CheckpointPart,
    Fold,
    brief,
    channels_of,
    classes_of,
    in_order,
    need,
    per_channel,
    short,
)
from hope.models.importers.nnunet_plans import PlansFacts, facts_of
from hope.models.importers.pickle_stubs import RefusedError
from hope.models.importers.pickles import plain
from hope.models.importers.torch_files import TorchFile

CHECKPOINT = "checkpoint_final.pth"
_WHO = "nnU-Net"
_MAX_JSON_BYTES = 64 * 2**20


@dataclass(frozen=True)
class _Opened:
    """What a checkpoint says beside its weights."""

    name: str
    configuration: str | None
    trainer: str
    mirror_axes: tuple[int, ...]
    plans: Any


def read_nnunet(folder: Path, chosen: tuple[str, ...] | None) -> CheckpointPart:
    """Read a model folder; the weights stay in their files until they are asked for.

    Args:
        folder: holds plans.json.
        chosen: order of the input channels as the user says it.

    Raises:
        BundleError: saying what is missing, damaged or not supported.
        InputError: if a file cannot be read, or the channels are not clear.
    """
    plans, dataset = _json(folder / "plans.json"), _json(folder / "dataset.json")
    labels = need(dataset, "labels", "nnU-Net's dataset.json")
    if not isinstance(labels, Mapping):
        raise BundleError("the labels of nnU-Net's dataset.json should be a table of names and numbers")
    classes, assumed = classes_of(_WHO, labels)
    named = dataset.get("channel_names", dataset.get("modality"))
    count = len(named) if isinstance(named, Mapping | list) else 4
    names = [str(n) for n in per_channel(named, count, "channel_names of dataset.json")] if named else None
    channels, more = channels_of(_WHO, names, count, chosen)
    folds = _folds(folder)
    opened = [_open(name, path) for name, path in folds]
    configuration = _same(opened, folder, plans)
    facts = facts_of(plans, configuration, len(channels))
    for fold in opened:
        _same_plans(fold, facts, configuration, len(channels))
    group = Group(
        name="nnunet",
        weight=1.0,
        architecture="nnunet",
        arguments={
            "class_name": facts.network,
            "kwargs": dict(facts.kwargs),
            "channels": len(channels),
            "classes": len(classes),
        },
        classes=classes,
        channels=channels,
        preprocessing=facts.preprocessing,
        tiling=Tiling(facts.patch, mirror_axes=opened[0].mirror_axes, mean=Average.LOGITS),
        fold_mean=Average.LOGITS,
        outside=Outside.BACKGROUND,
        members=(),
        member_names=(),
    )
    origin = {"configuration": configuration, "trainer": opened[0].trainer}
    made = [Fold(name, (path,), _reader(name, path)) for name, path in folds]
    extra = (folder / "plans.json", folder / "dataset.json")
    kept = (Fold(made[0].name, (*extra, *made[0].files), made[0].read), *made[1:])
    return CheckpointPart("nnU-Net v2", group, kept, origin, (*assumed, *more))


def _json(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise BundleError(f"nnU-Net's {path.name} is missing; it lies in the model folder, beside the fold folders")
    with reading(path.name):
        raw = path.read_bytes() if path.stat().st_size <= _MAX_JSON_BYTES else b""
    try:
        content = json_text.loads(raw)
    except json_text.RepeatedKeyError as error:
        raise BundleError(
            f"nnU-Net's {path.name} is not usable (expected each key once in an object, got {error})"
        ) from error
    except (ValueError, RecursionError) as error:
        raise BundleError(f"nnU-Net's {path.name} is not JSON") from error
    if not isinstance(content, Mapping):
        raise BundleError(f"nnU-Net's {path.name} is not a table")
    return content


def _folds(folder: Path) -> list[tuple[str, Path]]:
    numbered: dict[int, Path] = {}
    every = folder / "fold_all"
    for place in sorted(folder.glob("fold_*")):
        number = place.name.removeprefix("fold_")
        if not place.is_dir() or not (number.isdecimal() or place == every):
            continue
        if not (place / CHECKPOINT).is_file():
            raise BundleError(f"nnU-Net: {place.name} has no {CHECKPOINT}; add it, or take the folder away")
        if place != every and int(number) in numbered:
            raise BundleError(f"nnU-Net: there are two folders for fold {int(number)} ({place.name} is one); give one")
        if place != every:
            numbered[int(number)] = place / CHECKPOINT
    if numbered:
        # nnU-Net's own predictor leaves fold_all out where there are numbered folds.
        return in_order(numbered, _WHO)
    if every.is_dir():
        return [("fold all", every / CHECKPOINT)]
    raise BundleError(f"nnU-Net: no fold_0/{CHECKPOINT} beside plans.json")


def _open(name: str, path: Path) -> _Opened:
    content = TorchFile(path, f"nnU-Net {name} ({short(path)})").content
    where = f"nnU-Net {name}"
    need(content, "network_weights", where)
    arguments = content.get("init_args")
    arguments = arguments if isinstance(arguments, Mapping) else {}
    configuration = arguments.get("configuration")
    axes = content.get("inference_allowed_mirroring_axes")
    axes = () if axes is None else axes
    if not isinstance(axes, tuple | list) or not all(type(n) is int and 0 <= n < 3 for n in axes):
        raise BundleError(f"{where}: its mirroring axes should be some of 0, 1, 2, got {brief(axes)}")
    trainer = content.get("trainer_name")
    return _Opened(
        name=name,
        configuration=configuration if isinstance(configuration, str) else None,
        trainer=trainer if isinstance(trainer, str) else "",
        mirror_axes=tuple(sorted(set(axes))),
        plans=arguments.get("plans"),
    )


def _same(opened: list[_Opened], folder: Path, plans: Mapping[str, Any]) -> str:
    """The configuration that all folds were trained with."""
    first = opened[0]
    for other in opened[1:]:
        for what in ("configuration", "trainer", "mirror_axes"):
            if getattr(first, what) != getattr(other, what):
                raise BundleError(
                    f"nnU-Net: {other.name} was trained otherwise than {first.name}: its {what.replace('_', ' ')} is"
                    f" {getattr(other, what)}, not {getattr(first, what)}"
                )
    if first.configuration:
        return first.configuration
    known = need(plans, "configurations", "nnU-Net's plans.json")
    last = folder.name.rpartition("__")[2]
    if last in known:
        return last
    whole = [name for name in known if name.startswith("3d")]
    if len(whole) == 1:
        return str(whole[0])
    raise BundleError(f"nnU-Net: which of the configurations {', '.join(known)} was trained is not said anywhere")


def _same_plans(fold: _Opened, facts: PlansFacts, configuration: str, channels: int) -> None:
    if fold.plans is None:
        return
    try:
        own = facts_of(plain(fold.plans), configuration, channels)
    except (BundleError, RefusedError) as error:
        raise BundleError(f"nnU-Net {fold.name}: the plans in its checkpoint are not usable: {error}") from error
    said = {"network": "network", "kwargs": "network's size", "patch": "patch size", "preprocessing": "preprocessing"}
    for what, words in said.items():
        if _comparable(getattr(own, what)) != _comparable(getattr(facts, what)):
            raise BundleError(f"nnU-Net {fold.name} was trained with other plans than plans.json: the {words} differs")


def _comparable(value: Any) -> str:
    # Pickled plans hold tuples where the file has lists.
    return repr(value) if isinstance(value, Preprocessing) else json.dumps(value, sort_keys=True)


def _reader(name: str, path: Path) -> Any:
    def read() -> dict[str, Tensor]:
        file = TorchFile(path, f"nnU-Net {name} ({short(path)})")
        return file.tensors(need(file.content, "network_weights", f"nnU-Net {name}"), "network_weights")

    return read
