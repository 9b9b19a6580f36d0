"""What nnU-Net v2's plans.json fixes for inference: network, tile, normalisation and resampling."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

from hope.domain.errors import BundleError
from hope.models.ensemble.spec import SCHEMES, Method, Preprocessing, Resampling
from hope.models.importers.checkpoint_parts import need, per_channel, three, three_ints

_CLASSES = "dynamic_network_architectures.architectures.unet"
_READERS = ("SimpleITKIO", "NibabelIO")
_RESAMPLING = "resample_data_or_seg_to_shape"


@dataclass(frozen=True)
class PlansFacts:
    """What a configuration of a plans file fixes for inference."""

    network: str
    kwargs: Mapping[str, Any]
    patch: tuple[int, int, int]
    preprocessing: Preprocessing


def facts_of(plans: Mapping[str, Any], configuration: str, channels: int) -> PlansFacts:
    """Read one configuration of a plans file, in the form of today or of before nnU-Net 2.4.

    Args:
        plans: the whole file.
        configuration: such as 3d_fullres.
        channels: number of input channels.

    Raises:
        BundleError: saying what is missing or not supported.
    """
    where = f"the configuration {configuration} of nnU-Net's plans.json"
    chosen = _resolved(need(plans, "configurations", "nnU-Net's plans.json"), configuration)
    if chosen.get("previous_stage"):
        raise BundleError(f"{where} needs the answer of another network first (a cascade), which is not supported")
    for owner, key, known in (
        (chosen, "preprocessor_name", ("DefaultPreprocessor",)),
        (plans, "image_reader_writer", _READERS),
        (plans, "label_manager", ("LabelManager",)),
    ):
        if owner.get(key, known[0]) not in known:
            raise BundleError(f"{where}: the {key} {str(owner[key])[:60]} is not supported, only {' or '.join(known)}")
    schemes = [str(s) for s in per_channel(need(chosen, "normalization_schemes", where), channels, f"{where}: schemes")]
    if unknown := [s for s in schemes if s not in SCHEMES]:
        raise BundleError(f"{where}: the normalisation {unknown[0][:60]} is not supported, only {', '.join(SCHEMES)}")
    network, kwargs = _network(chosen, where)
    masks = per_channel(need(chosen, "use_mask_for_norm", where), channels, f"{where}: use_mask_for_norm")
    patch = three_ints(need(chosen, "patch_size", where), f"{where}: patch_size")
    _divisible(patch, kwargs.get("strides"), where)
    i, j, k = three_ints(need(plans, "transpose_forward", "nnU-Net's plans.json"), "transpose_forward", 0, 2)
    return PlansFacts(
        network,
        kwargs,
        patch,
        Preprocessing(
            method=Method.NNUNET,
            axes="zyx",
            transpose=(i, j, k),
            spacing_mm=three(need(chosen, "spacing", where), f"{where}: spacing"),
            normalise_first=True,
            schemes=tuple(schemes),
            nonzero_only=tuple(bool(m) for m in masks),
            intensities=_intensities(plans, schemes),
            images=_resampling(chosen, "resampling_fn_data", where),
            outputs=_resampling(chosen, "resampling_fn_probabilities", where),
        ),
    )


def _resolved(configurations: Any, name: str, seen: tuple[str, ...] = ()) -> dict[str, Any]:
    """A configuration with everything that it inherits."""
    if not isinstance(configurations, Mapping) or not isinstance(configurations.get(name), Mapping):
        raise BundleError(f"nnU-Net's plans.json has no configuration {str(name)[:60]}")
    if name in seen:
        raise BundleError(f"nnU-Net's plans.json: the configuration {name} inherits from itself")
    own = dict(configurations[name])
    parent = own.get("inherits_from")
    return {**_resolved(configurations, parent, (*seen, name)), **own} if parent is not None else own


def _network(chosen: Mapping[str, Any], where: str) -> tuple[str, dict[str, Any]]:
    if "architecture" in chosen:
        network = need(chosen["architecture"], "network_class_name", where)
        kwargs = need(chosen["architecture"], "arch_kwargs", where)
    else:
        network, kwargs = _older(chosen, where)
    # The library has moved its classes before; nnU-Net itself goes by the last part of the name too.
    last = str(network).rpartition(".")[2]
    if last in ("PlainConvUNet", "ResidualEncoderUNet"):
        network = f"{_CLASSES}.{last}"
    if not isinstance(kwargs, Mapping):
        raise BundleError(f"{where}: arch_kwargs should be a table")
    _sane(kwargs, where)
    return str(network), dict(kwargs)


def _older(chosen: Mapping[str, Any], where: str) -> tuple[str, dict[str, Any]]:
    """The network of plans from before nnU-Net 2.4, which named its parts one by one."""
    network = str(need(chosen, "UNet_class_name", where))
    blocks = need(chosen, "n_conv_per_stage_encoder", where)
    first, most = need(chosen, "UNet_base_num_features", where), need(chosen, "unet_max_num_features", where)
    if not isinstance(blocks, list) or not all(type(n) is int and 0 < n <= 4096 for n in (first, most)):
        raise BundleError(f"{where}: the number of features is not usable")
    residual = network == "ResidualEncoderUNet"
    return network, {
        "n_stages": len(blocks),
        "features_per_stage": [min(most, first * 2**stage) for stage in range(len(blocks))],
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": need(chosen, "conv_kernel_sizes", where),
        "strides": need(chosen, "pool_op_kernel_sizes", where),
        "n_blocks_per_stage" if residual else "n_conv_per_stage": blocks,
        "n_conv_per_stage_decoder": need(chosen, "n_conv_per_stage_decoder", where),
        "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
        "norm_op_kwargs": {"eps": 1e-05, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }


def _sane(kwargs: Mapping[str, Any], where: str) -> None:
    """See that the numbers of a network are such that building it cannot fill the memory."""
    limits = {
        "n_stages": 12,
        "features_per_stage": 4096,
        "n_conv_per_stage": 64,
        "n_blocks_per_stage": 64,
        "n_conv_per_stage_decoder": 64,
        "kernel_sizes": 15,
        "strides": 16,
        "stem_channels": 4096,
        "bottleneck_channels": 4096,
    }
    for key, most in limits.items():
        flat = [kwargs.get(key)]
        while flat and isinstance(flat[0], list | tuple) and len(flat) < 200:
            flat = [*flat[1:], *flat[0][:200]]
        if not all(n is None or (type(n) is int and 0 < n <= most) for n in flat):
            raise BundleError(f"{where}: {key} of the network should hold whole numbers from 1 to {most}")


def _divisible(patch: tuple[int, ...], strides: Any, where: str) -> None:
    """See that every stage of the network halves the tile evenly; else it fails on its first tile."""
    steps = [step if isinstance(step, list | tuple) else [step] * 3 for step in strides or ()]
    for axis, n in enumerate(patch):
        product = math.prod(step[axis] for step in steps)
        if n % product:
            raise BundleError(f"{where}: the patch_size {list(patch)} cannot be divided by {product} along axis {axis}")


def _resampling(chosen: Mapping[str, Any], key: str, where: str) -> Resampling:
    if need(chosen, key, where) != _RESAMPLING:
        raise BundleError(f"{where}: the {key} {str(chosen[key])[:60]} is not supported, only {_RESAMPLING}")
    given = chosen.get(f"{key}_kwargs") or {}
    order, order_z = given.get("order", 3), given.get("order_z", 0)
    separate = given.get("force_separate_z", False)
    known: dict[str, Container[Any]] = {
        "is_seg": (False,),
        "order": range(6),
        "order_z": range(6),
        "force_separate_z": (None, True, False),
    }
    known["separate_z_anisotropy_threshold"] = (3,)
    for name, value in given.items():
        if value not in known.get(name, ()):
            raise BundleError(f"{where}: {name} = {str(value)[:40]} in {key}_kwargs is not supported")
    return Resampling(int(order), int(order_z), separate)


def _intensities(plans: Mapping[str, Any], schemes: list[str]) -> dict[str, dict[str, float]]:
    """nnU-Net's foreground intensities, of the channels whose normalisation needs them."""
    wanted = [str(n) for n, scheme in enumerate(schemes) if scheme == "CTNormalization"]
    if not wanted:
        return {}
    older = plans.get("foreground_intensity_properties_by_modality")
    table = plans.get("foreground_intensity_properties_per_channel", older)
    found = {}
    for channel in wanted:
        entry = need(table, channel, "the foreground intensities of nnU-Net's plans.json")
        names = ("mean", "std", "percentile_00_5", "percentile_99_5")
        found[channel] = {name: float(need(entry, name, "the foreground intensities")) for name in names}
    return found
