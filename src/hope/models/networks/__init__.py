"""Networks that bundles can name, built from plain arguments, and how published checkpoints become their weights."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hope.domain.errors import BundleError
from hope.models.networks import mednext, nnunet, swinunetr
from hope.models.networks.keys import check, layout_of, without_aliases, without_wrappers
from hope.models.networks.mean import MeanOfUNets
from hope.models.networks.sane import check_arguments
from hope.models.networks.unet import UNet as UNet

MAX_PARAMETERS = 2**30
"""Most that a network may have: the largest published ones have a twentieth of that."""

_NONE = re.compile(r"(?!)")


@dataclass(frozen=True)
class Architecture:
    """A kind of network.

    Attributes:
        build: makes one, with random weights, from the arguments that a bundle gives.
        training_only: names of tensors that checkpoints hold and answers do not need.
        derived: names of tensors that follow from the arguments; checked in a checkpoint, never stored.
        infer: reads the arguments from a checkpoint's tensors, where they suffice for that.
        on_meta: whether it can be built without memory, to see how large it would be.
    """

    build: Callable[..., nn.Module]
    training_only: re.Pattern[str] = _NONE
    derived: re.Pattern[str] = _NONE
    infer: Callable[[Mapping[str, Tensor]], dict[str, Any]] | None = None
    on_meta: bool = True


NETWORKS: Mapping[str, Architecture] = {
    "UNet": Architecture(UNet),
    "MeanOfUNets": Architecture(MeanOfUNets),
    "nnunet": Architecture(nnunet.build_nnunet, training_only=nnunet.TRAINING_ONLY),
    "mednext": Architecture(mednext.MedNeXt, training_only=mednext.TRAINING_ONLY, infer=mednext.arguments_of_mednext),
    "swinunetr": Architecture(
        swinunetr.build_swinunetr, derived=swinunetr.DERIVED, infer=swinunetr.arguments_of_swinunetr, on_meta=False
    ),
}


def build_network(architecture: str, arguments: Mapping[str, Any]) -> nn.Module:
    """Build a network by the name that a bundle gives; its weights are random until `load_state`.

    Raises:
        BundleError: for an unknown name or arguments that do not fit it.
    """
    kind = _known(architecture)
    check_arguments(architecture, arguments)
    try:
        _refuse_giants(architecture, kind, arguments)
        return kind.build(**arguments)
    except (TypeError, ValueError, LookupError, AssertionError, RuntimeError) as error:
        raise BundleError(f"the arguments of architecture {architecture} do not fit: {error}") from error


def _refuse_giants(architecture: str, kind: Architecture, arguments: Mapping[str, Any]) -> None:
    """Count the parameters on a device that stores none, before the real network fills the memory."""
    if not kind.on_meta:
        return
    with torch.device("meta"):
        network = kind.build(**arguments)
    total = sum(tensor.numel() for tensor in network.parameters())
    if total > MAX_PARAMETERS:
        raise BundleError(
            f"the network {architecture} would have {total} parameters (expected at most {MAX_PARAMETERS})"
        )


def arguments_of(architecture: str, published: Mapping[str, Tensor]) -> dict[str, Any]:
    """Arguments for `build_network`, read from the names and shapes of a published checkpoint.

    Raises:
        BundleError: if they cannot be read from it.
    """
    infer = _known(architecture).infer
    if infer is None:
        raise BundleError(f"the arguments of architecture {architecture} cannot be read from its weights alone")
    return infer(without_wrappers(published))


def convert_state(
    architecture: str, arguments: Mapping[str, Any], published: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Turn a published checkpoint's tensors into those that a bundle stores.

    Prefixes of wrapped training (``module.``, ``_orig_mod.``) come off, second names of one tensor go, and so does what
    only training needs or what follows from the arguments. The rest keeps its published name.

    Args:
        architecture: as for `build_network`.
        arguments: as for `build_network`.
        published: the checkpoint's tensors.

    Returns:
        Fresh contiguous tensors in the network's types (float32 for weights), ready for safetensors.

    Raises:
        BundleError: naming the first tensor that is missing, unexpected, of another shape, not finite, or at odds with
            its twin.
    """
    kind, what = _known(architecture), f"weights of {architecture}"
    for name, tensor in published.items():
        if isinstance(tensor, Tensor) and not bool(tensor.isfinite().all()):
            raise BundleError(f"{what}: the tensor {name} holds numbers that are not finite; its training has failed")
    layout = layout_of(build_network(architecture, arguments))
    tensors = {
        name: tensor
        for name, tensor in without_aliases(what, layout, without_wrappers(published)).items()
        if name in layout.tensors or not kind.training_only.fullmatch(name)
    }
    check(what, layout.tensors, tensors)
    stored = {}
    for name, own in layout.tensors.items():
        if not kind.derived.fullmatch(name):
            stored[name] = tensors[name].detach().to("cpu", own.dtype, copy=True).contiguous()
        elif not torch.equal(own, tensors[name].to("cpu")):
            raise BundleError(f"{what}: the tensor {name} has other values than the network's arguments give")
    return stored


def load_state(network: nn.Module, architecture: str, tensors: Mapping[str, Tensor]) -> None:
    """Copy a bundle's tensors into a network of `build_network`, on whatever device it is.

    Raises:
        BundleError: naming the first tensor that is missing, unexpected or of another shape; nothing is copied then.
    """
    kind = _known(architecture)
    own = {n: t for n, t in layout_of(network).tensors.items() if not kind.derived.fullmatch(n)}
    check(f"weights of {architecture}", own, tensors)
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(tensors[name])


def _known(architecture: str) -> Architecture:
    if architecture not in NETWORKS:
        raise BundleError(f"unknown architecture {architecture!r}; this version knows {sorted(NETWORKS)}")
    return NETWORKS[architecture]
