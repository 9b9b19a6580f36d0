"""Names and shapes of a network's tensors: what a state must hold, and the first thing that is wrong with one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hope.domain.errors import BundleError

_WRAPPERS = ("module.", "_orig_mod.")
"""What data-parallel training and torch.compile put before every name of a checkpoint."""


@dataclass(frozen=True)
class Layout:
    """A network's tensors, each once.

    Attributes:
        tensors: parameters and persistent buffers by the first of their names, the network's own memory.
        aliases: every further name of a shared tensor, with the first.
    """

    tensors: Mapping[str, Tensor]
    aliases: Mapping[str, str]


def layout_of(network: nn.Module) -> Layout:
    """Find the tensors of a network and the names that several modules give to the same one."""
    tensors: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    first_name: dict[int, str] = {}
    for name, tensor in network.state_dict(keep_vars=True).items():
        first = first_name.setdefault(id(tensor), name)
        if first == name:
            tensors[name] = tensor
        else:
            aliases[name] = first
    return Layout(tensors, aliases)


def without_wrappers(published: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Take the prefixes off that training put before all names."""
    for prefix in _WRAPPERS * 2:  # either may be the outer one
        if published and all(name.startswith(prefix) for name in published):
            published = {name.removeprefix(prefix): tensor for name, tensor in published.items()}
    return published


def without_aliases(what: str, layout: Layout, published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Name every tensor once.

    Args:
        what: whose tensors these are, for messages.
        layout: of the network that they belong to.
        published: tensors, some under several names.

    Raises:
        BundleError: if two names that mean one tensor hold different values, or a value is no tensor.
    """
    single: dict[str, Tensor] = {}
    for name, tensor in published.items():
        if not isinstance(tensor, Tensor):
            raise BundleError(f"{what}: {name} is not a tensor (got {type(tensor).__name__})")
        first = layout.aliases.get(name, name)
        if first not in single:
            single[first] = tensor
        elif not torch.equal(single[first], tensor):
            raise BundleError(
                f"{what}: {name} differs from {first}, though both name one tensor; the checkpoint is damaged"
            )
    return single


def check(what: str, expected: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    """Compare names and shapes.

    Args:
        what: whose tensors these are, for messages.
        expected: tensors of the shapes wanted; their values do not matter.
        given: tensors to check.

    Raises:
        BundleError: naming the first tensor that is missing, has another shape, or is not known.
    """
    for name, tensor in expected.items():
        if name not in given:
            raise BundleError(f"{what}: the tensor {name} is missing (expected shape {tuple(tensor.shape)}, got none)")
        if given[name].shape != tensor.shape:
            raise BundleError(
                f"{what}: the tensor {name} has another shape"
                f" (expected {tuple(tensor.shape)}, got {tuple(given[name].shape)})"
            )
    unknown = next((name for name in given if name not in expected), None)
    if unknown is not None:
        raise BundleError(
            f"{what}: the tensor {unknown} is unexpected"
            f" (expected no such name, got shape {tuple(given[unknown].shape)})"
        )


def shape_of(what: str, published: Mapping[str, Tensor], name: str, dimensions: int) -> tuple[int, ...]:
    """Shape of one tensor from which an argument is read.

    Raises:
        BundleError: if the tensor is missing or has another number of dimensions.
    """
    if name not in published:
        raise BundleError(f"{what}: the tensor {name} is missing, so the network's size cannot be told")
    shape = tuple(published[name].shape)
    if len(shape) != dimensions:
        raise BundleError(f"{what}: the tensor {name} has shape {shape}, expected {dimensions} dimensions")
    return shape


def count(published: Mapping[str, Tensor], pattern: str) -> int:
    """How many of the names ``pattern`` with 0, 1, 2 ... in the place of ``{}`` are there, up to the first gap."""
    number = 0
    while pattern.format(number) in published:
        number += 1
    return number
