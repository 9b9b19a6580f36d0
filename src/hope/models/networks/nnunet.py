"""nnU-Net v2's networks, built from a plans file by the library that nnU-Net itself uses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

from torch import nn

from hope.domain.errors import BundleError

TRAINING_ONLY = re.compile(r"decoder\.seg_layers\.\d+\.(weight|bias)")
"""Heads of deep supervision; the last one, at full resolution, is the only one that an answer needs."""

# A plans file names classes by dotted path. Only these are ever looked up: a path from a file must not pick the code.
_LIBRARY = "dynamic_network_architectures.architectures.unet"
_CLASSES: Mapping[str, str] = {f"{_LIBRARY}.{name}": name for name in ("PlainConvUNet", "ResidualEncoderUNet")}
_LAYERS: Mapping[str, type[nn.Module]] = {
    f"{module}.{kind.__name__}": kind
    for kind in (
        nn.Conv3d,
        nn.InstanceNorm3d,
        nn.BatchNorm3d,
        nn.LeakyReLU,
        nn.ReLU,
        nn.ELU,
        nn.GELU,
        nn.SiLU,
        nn.Dropout,
        nn.Dropout3d,
    )
    for module in ("torch.nn", kind.__module__)
}


def build_nnunet(class_name: str, kwargs: Mapping[str, Any], channels: int, classes: int) -> nn.Module:
    """Build a network as the plans of nnU-Net v2 describe it.

    Input (n, channels, z, y, x), output logits (n, classes, z, y, x), at full resolution only.

    Args:
        class_name: dotted name of the network's class.
        kwargs: its arguments, layers by dotted name.
        channels: input channels.
        classes: output classes, background first.

    Raises:
        BundleError: for a class or a layer that is not on the lists above.
    """
    if class_name not in _CLASSES:
        raise BundleError(f"nnU-Net network class {class_name!r} is not known (expected one of {sorted(_CLASSES)})")
    # A plain install has no such library: only the extra [ensemble] brings it.
    from dynamic_network_architectures.architectures import unet

    layers = {name: _resolved(name, value) for name, value in kwargs.items()}
    kind: type[nn.Module] = getattr(unet, _CLASSES[class_name])
    network = kind(input_channels=channels, num_classes=classes, **{**layers, "deep_supervision": False})
    heads = cast(nn.ModuleList, network.get_submodule("decoder.seg_layers"))
    for index in range(len(heads) - 1):
        heads[index] = nn.Identity()
    return network


def _resolved(name: str, value: Any) -> Any:
    """The layer that a dotted string means; anything else as it is."""
    if not isinstance(value, str):
        return value
    if value not in _LAYERS:
        known = ", ".join(sorted(n for n in _LAYERS if n.count(".") == 2))
        raise BundleError(f"nnU-Net argument {name} names {value!r}, which is not allowed (expected one of {known})")
    return _LAYERS[value]
