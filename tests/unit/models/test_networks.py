"""Networks by name: checkpoints become stored tensors, those become weights, and what does not fit is named."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save
from tests.checkpoints import nnunet_arguments, random_like
from torch import Tensor, nn

from hope.domain.errors import BundleError
from hope.models.networks import NETWORKS, arguments_of, build_network, convert_state, load_state
from hope.models.networks.swinunetr import EarlyPatchMerging, attention_mask

PLAIN = "dynamic_network_architectures.architectures.unet.PlainConvUNet"
RESIDUAL = "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet"
TINY: Mapping[str, tuple[str, dict[str, Any], tuple[int, ...]]] = {
    "UNet": (
        "UNet",
        {"channels": 2, "classes": 3, "widths": [4, 8], "blocks": [1, 2], "decoder_blocks": [1]},
        (8, 16, 24),
    ),
    "mean": (
        "MeanOfUNets",
        {"members": 2, "channels": 2, "classes": 3, "widths": [4, 8], "blocks": [1, 2], "decoder_blocks": [1]},
        (8, 16, 24),
    ),
    "plain": (
        "nnunet",
        {"class_name": PLAIN, "kwargs": nnunet_arguments((4, 6, 8)), "channels": 2, "classes": 3},
        (8, 16, 24),
    ),
    "residual": (
        "nnunet",
        {"class_name": RESIDUAL, "kwargs": nnunet_arguments((4, 6), residual=True), "channels": 2, "classes": 3},
        (8, 16, 24),
    ),
    "mednext": (
        "mednext",
        {
            "channels": 2,
            "classes": 3,
            "width": 4,
            "expansion": [1, 2, 3, 1, 2, 3, 1, 2, 3],
            "blocks": [1, 1, 2, 1, 1, 1, 1, 2, 1],
            "kernel": 3,
        },
        (16, 32, 16),
    ),
    "swinunetr": (
        "swinunetr",
        {"channels": 2, "classes": 3, "feature_size": 12, "depths": [2, 1, 1, 2], "heads": [1, 2, 3, 4], "window": 3},
        (32, 64, 32),
    ),
}
INFERRED = ("mednext", "swinunetr")


def network_of(name: str) -> nn.Module:
    architecture, arguments, _ = TINY[name]
    return build_network(architecture, arguments).eval()


@cache
def published_of(name: str) -> dict[str, Tensor]:
    """A checkpoint of the tiny network, with the tensors that only training needs."""
    state = dict(network_of(name).state_dict())
    if name == "plain":
        state |= {"decoder.seg_layers.0.weight": torch.ones(3, 6, 1, 1, 1), "decoder.seg_layers.0.bias": torch.ones(3)}
    if name == "mednext":
        state |= {"dummy_tensor": torch.ones(1), "out_1.conv_out.weight": torch.ones(8, 3, 1, 1, 1)}
    return dict(random_like(state, seed=5))


@cache
def stored_of(name: str) -> dict[str, Tensor]:
    return convert_state(*TINY[name][:2], published_of(name))


def answer(network: nn.Module, name: str) -> Tensor:
    _, arguments, size = TINY[name]
    with torch.inference_mode():
        made: Tensor = network(torch.randn(1, arguments["channels"], *size, generator=torch.Generator().manual_seed(1)))
    return made


def loaded(name: str) -> nn.Module:
    network = network_of(name)
    load_state(network, TINY[name][0], stored_of(name))
    return network


@pytest.mark.parametrize("name", TINY)
def test_a_checkpoint_survives_storage(name: str) -> None:
    expected = network_of(name)
    own = expected.state_dict()
    expected.load_state_dict({key: tensor for key, tensor in published_of(name).items() if key in own})

    network = network_of(name)
    load_state(network, TINY[name][0], load(save(stored_of(name))))
    made = answer(network, name)
    assert made.shape == (1, 3, *TINY[name][2])
    assert made.std() > 0.1
    assert torch.equal(made, answer(expected, name))


def test_a_copy_shares_tensors_within_itself_alone() -> None:
    network = loaded("plain")
    twin = copy.deepcopy(network)
    load_state(twin, "nnunet", {key: torch.zeros_like(tensor) for key, tensor in stored_of("plain").items()})
    assert not any(tensor.any() for tensor in twin.state_dict().values())
    assert answer(network, "plain").any()


@pytest.mark.parametrize("name", TINY)
def test_every_tensor_is_stored_once(name: str) -> None:
    stored = stored_of(name)
    assert sum(t.numel() for t in stored.values()) == sum(p.numel() for p in network_of(name).parameters())
    assert all(t.is_contiguous() and t.dtype == torch.float32 for t in stored.values())
    assert stored.keys() <= published_of(name).keys(), "published names stay"


def test_what_only_training_needs_is_not_stored() -> None:
    assert {key for key in stored_of("plain") if "seg_layers" in key} == {
        "decoder.seg_layers.1.weight",
        "decoder.seg_layers.1.bias",
    }
    assert not {"dummy_tensor", "out_1.conv_out.weight"} & stored_of("mednext").keys()
    assert not any("relative_position_index" in key for key in stored_of("swinunetr"))


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("name", TINY)
def test_a_trace_answers_the_same(name: str) -> None:
    network = loaded(name)
    _, arguments, size = TINY[name]
    with torch.inference_mode():
        traced = torch.jit.trace(network, torch.zeros(1, arguments["channels"], *size), check_trace=False)
    assert torch.allclose(answer(traced, name), answer(network, name), atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "window", "shift"),
    [
        ((14, 21, 14), (7, 7, 7), (3, 3, 3)),
        ((7, 14, 21), (7, 7, 7), (0, 3, 3)),
        ((6, 6, 9), (3, 3, 3), (1, 1, 1)),
        ((4, 14, 4), (4, 7, 4), (0, 3, 0)),
    ],
)
def test_the_attention_mask_is_monais(shape: tuple[int, ...], window: tuple[int, ...], shift: tuple[int, ...]) -> None:
    from monai.networks.nets.swin_unetr import compute_mask

    cpu = torch.device("cpu")
    theirs, ours = compute_mask(list(shape), window, shift, cpu), attention_mask(shape, window, shift, cpu)
    assert ours.dtype == theirs.dtype
    assert torch.equal(ours, theirs)
    assert ours.any()
    elsewhere = attention_mask(shape, window, shift, torch.device("meta"))  # as a GPU makes it, without the values
    assert (elsewhere.dtype, elsewhere.shape) == (theirs.dtype, theirs.shape)


def test_a_swinunetr_answers_as_monais_own_does() -> None:
    from monai.networks.nets.swin_unetr import SwinUNETR

    _, sizes, _ = TINY["swinunetr"]
    theirs = SwinUNETR(
        in_channels=sizes["channels"],
        out_channels=sizes["classes"],
        feature_size=sizes["feature_size"],
        depths=sizes["depths"],
        num_heads=sizes["heads"],
        window_size=sizes["window"],
        downsample=EarlyPatchMerging,
    ).eval()
    theirs.load_state_dict(loaded("swinunetr").state_dict())
    assert torch.equal(answer(theirs, "swinunetr"), answer(loaded("swinunetr"), "swinunetr"))


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "_orig_mod.module.", "module._orig_mod."])
@pytest.mark.parametrize("name", ["plain", "mednext", "swinunetr"])
def test_prefixes_of_wrapped_training_come_off(name: str, prefix: str) -> None:
    architecture, arguments, _ = TINY[name]
    wrapped = {prefix + key: tensor for key, tensor in published_of(name).items()}
    stored = convert_state(architecture, arguments, wrapped)
    assert stored.keys() == stored_of(name).keys()
    assert all(torch.equal(stored[key], tensor) for key, tensor in stored_of(name).items())
    if name in INFERRED:
        assert arguments_of(architecture, wrapped) == arguments


@pytest.mark.parametrize("kind", [torch.float16, torch.float64])
def test_weights_of_another_precision_become_float32(kind: torch.dtype) -> None:
    architecture, arguments, _ = TINY["mednext"]
    other = {key: tensor.to(kind) for key, tensor in published_of("mednext").items()}
    stored = convert_state(architecture, arguments, other)
    assert all(t.dtype == torch.float32 for t in stored.values())
    assert torch.equal(stored["stem.weight"], other["stem.weight"].float())


def test_stored_tensors_do_not_share_the_checkpoints_memory() -> None:
    published = {key: tensor.clone() for key, tensor in published_of("mednext").items()}
    stored = convert_state(*TINY["mednext"][:2], published)
    published["stem.weight"].zero_()
    assert stored["stem.weight"].any()


# --- what does not fit


@given(data=st.data(), name=st.sampled_from(list(TINY)), fault=st.sampled_from(["missing", "shape", "unexpected"]))
@settings(max_examples=25)
def test_the_tensor_at_fault_is_named(data: st.DataObject, name: str, fault: str) -> None:
    stored = dict(stored_of(name))
    key = data.draw(st.sampled_from(sorted(stored)))
    if fault == "missing":
        del stored[key]
    elif fault == "shape":
        stored[key] = stored[key][None]
    else:
        stored[key + "_new"] = stored[key]
        key += "_new"
    network = network_of(name)
    before = {k: t.clone() for k, t in network.state_dict().items()}
    with pytest.raises(BundleError, match=f"{re.escape(key)} .*expected .*got"):
        load_state(network, TINY[name][0], stored)
    assert all(torch.equal(before[k], t) for k, t in network.state_dict().items()), "nothing may be copied"


@pytest.mark.parametrize("name", ["plain", "mednext", "swinunetr"])
@pytest.mark.parametrize("fault", ["missing", "shape", "unexpected"])
def test_a_checkpoints_fault_is_named(name: str, fault: str) -> None:
    architecture, arguments, _ = TINY[name]
    key = next(k for k in reversed(stored_of(name)) if k.endswith("weight"))
    meant = [k for k, t in published_of(name).items() if t is published_of(name)[key]]  # the tensor's other names too
    published = {k: t for k, t in published_of(name).items() if k not in meant}
    if fault == "shape":
        published |= {k: published_of(name)[k][:1, None] for k in meant}
    if fault == "unexpected":
        published |= {k: published_of(name)[k] for k in meant} | {"extra.weight": torch.ones(2, 3)}
        key = "extra.weight"
    with pytest.raises(BundleError, match=f"weights of {architecture}: the tensor {re.escape(key)} .*expected .*got"):
        convert_state(architecture, arguments, published)


def test_twins_must_be_equal() -> None:
    architecture, arguments, _ = TINY["plain"]
    twin = "decoder.encoder.stages.0.0.convs.0.all_modules.0.weight"
    published = dict(published_of("plain"))
    published[twin] = published[twin] + 1e-6
    with pytest.raises(
        BundleError, match=r"decoder\.encoder.* differs from encoder\.stages\.0\.0\.convs\.0\.conv\.wei"
    ):
        convert_state(architecture, arguments, published)


def test_one_of_the_twins_is_enough() -> None:
    architecture, arguments, _ = TINY["plain"]
    published = {k: t for k, t in published_of("plain").items() if k in stored_of("plain")}
    assert len(published) < len(published_of("plain")) / 2
    stored = convert_state(architecture, arguments, published)
    assert all(torch.equal(stored[key], tensor) for key, tensor in stored_of("plain").items())


def test_a_value_that_is_no_tensor_is_named() -> None:
    published: dict[str, Any] = {**published_of("mednext"), "stem.bias": [0.0]}
    with pytest.raises(BundleError, match=r"stem\.bias is not a tensor \(got list\)"):
        convert_state(*TINY["mednext"][:2], published)


def test_an_index_table_of_another_window_is_refused() -> None:
    key = "swinViT.layers2.0.blocks.0.attn.relative_position_index"
    published = dict(published_of("swinunetr"))
    published[key] = published[key].flip(0)
    with pytest.raises(BundleError, match=re.escape(key)):
        convert_state(*TINY["swinunetr"][:2], published)


# --- arguments


@pytest.mark.parametrize("name", INFERRED)
def test_arguments_are_read_from_a_checkpoint(name: str) -> None:
    architecture, arguments, _ = TINY[name]
    assert arguments_of(architecture, published_of(name)) == arguments


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("mednext", {"stem.weight": None}, "stem.weight is missing"),
        ("mednext", {"stem.weight": torch.ones(3)}, "stem.weight has shape (3,), expected 5 dimensions"),
        ("mednext", {"bottleneck.0.conv2.weight": None}, "bottleneck.0.conv2.weight is missing"),
        ("swinunetr", {"out.conv.conv.weight": None}, "out.conv.conv.weight is missing"),
        (
            "swinunetr",
            {"swinViT.layers1.0.blocks.0.attn.relative_position_bias_table": torch.ones(120, 1)},
            "relative_position_bias_table has shape (120, 1), expected (2 x window - 1)^3 rows",
        ),
        ("plain", {}, "cannot be read from its weights alone"),
        ("UNet", {}, "cannot be read from its weights alone"),
    ],
)
def test_arguments_that_cannot_be_read(name: str, change: Mapping[str, Tensor | None], message: str) -> None:
    changed = {k: t for k, t in {**published_of(name), **change}.items() if t is not None}
    with pytest.raises(BundleError, match=re.escape(message)):
        arguments_of(TINY[name][0], changed)


@pytest.mark.parametrize(
    ("slot", "value"),
    [
        ("conv_op", "torch.nn.Conv2d"),
        ("conv_op", "os.system"),
        ("norm_op", "torch.nn.modules.instancenorm.InstanceNorm2d"),
        ("nonlin", "builtins.eval"),
        ("nonlin", "torch.nn.LeakyReLU.__init__"),
        ("dropout_op", "Dropout3d"),
        ("conv_bias", "True"),
    ],
)
def test_only_known_layers_are_looked_up(slot: str, value: str) -> None:
    arguments = {**TINY["plain"][1], "kwargs": {**nnunet_arguments((4, 6, 8)), slot: value}}
    with pytest.raises(BundleError, match=f"{slot} names {re.escape(repr(value))}, which is not allowed"):
        build_network("nnunet", arguments)


@pytest.mark.parametrize("class_name", ["PlainConvUNet", "subprocess.Popen", PLAIN.replace("PlainConv", "")])
def test_only_known_classes_are_built(class_name: str) -> None:
    with pytest.raises(BundleError, match=f"{re.escape(repr(class_name))} is not known"):
        build_network("nnunet", {**TINY["plain"][1], "class_name": class_name})


def test_layers_that_plans_can_name() -> None:
    kwargs = nnunet_arguments((4, 6, 8)) | {
        "conv_op": "torch.nn.Conv3d",
        "norm_op": "torch.nn.BatchNorm3d",
        "dropout_op": "torch.nn.modules.dropout.Dropout3d",
        "dropout_op_kwargs": {"p": 0.5},
        "nonlin": "torch.nn.ReLU",
        "deep_supervision": True,
    }
    arguments = {**TINY["plain"][1], "kwargs": kwargs}
    network = build_network("nnunet", arguments).eval()
    kinds = {type(layer) for layer in network.modules()}
    assert {nn.Conv3d, nn.BatchNorm3d, nn.Dropout3d, nn.ReLU} <= kinds
    assert isinstance(answer(network, "plain"), Tensor), "one answer, no list of deep supervision"
    stored = convert_state("nnunet", arguments, network.state_dict())
    assert stored["encoder.stages.0.0.convs.0.norm.num_batches_tracked"].dtype == torch.int64


@pytest.mark.parametrize(
    ("architecture", "change", "message"),
    [
        ("transformer", {}, "unknown architecture 'transformer'; this version knows"),
        ("UNet", {"depth": 3}, "do not fit: .*depth"),
        ("UNet", {"blocks": [1]}, "one number of blocks per stage"),
        ("plain", {"kwargs": {"n_stages": 3}}, "do not fit"),
        (
            "plain",
            {"kwargs": nnunet_arguments((4, 6, 8)) | {"n_conv_per_stage": [2]}},
            "do not fit: .*n_conv_per_stage",
        ),
        ("mednext", {"blocks": [1, 1]}, "one expansion and one number of blocks"),
        ("mednext", {"kernel": -1}, "do not fit"),
        ("swinunetr", {"heads": [3]}, "4 levels, got 4 depths and 1 heads"),
        ("swinunetr", {"feature_size": 13}, "do not fit: feature_size should be divisible by 12"),
    ],
)
def test_arguments_that_do_not_fit(architecture: str, change: Mapping[str, Any], message: str) -> None:
    name, arguments, _ = TINY.get(architecture, (architecture, {}, ()))
    with pytest.raises(BundleError, match=message):
        build_network(name, {**arguments, **change})


def test_every_architecture_is_tried_here() -> None:
    assert {architecture for architecture, _, _ in TINY.values()} == set(NETWORKS)


@pytest.mark.parametrize("tile", [(4, 8, 12), (8, 8, 8), (4, 4, 4), (4, 8, 6), (2, 8, 8)])
@pytest.mark.parametrize("architecture", ["UNet", "MeanOfUNets"])
def test_a_network_says_what_a_run_would_show(architecture: str, tile: tuple[int, int, int]) -> None:
    """How many classes it tells apart, or that it cannot take the tile."""
    members = {"members": 2} if architecture == "MeanOfUNets" else {}
    shape = {"channels": 2, "classes": 3, "widths": [2, 2, 2], "blocks": [1, 1, 1], "decoder_blocks": [1, 1]}
    network: Any = build_network(architecture, members | shape)
    try:
        with torch.inference_mode():
            expected = network(torch.zeros(1, 2, *tile)).shape[1]
    except (RuntimeError, ValueError):
        with pytest.raises(ValueError, match="does not fit"):
            network.classes_on(2, tile)
    else:
        assert network.classes_on(2, tile) == expected
    with pytest.raises(ValueError, match="2 input channels, expected 4"):
        network.classes_on(4, (8, 8, 8))
