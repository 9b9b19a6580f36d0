"""Networks against the originals: stored answers of code that cannot be installed here, and nnU-Net's own beside ours.

Weights and inputs come from a formula (formula_weights.py), so the vectors in data/ hold answers alone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from tests.checkpoints import NNUNET_SIZE, nnunet_arguments
from tests.golden.formula_weights import formula_input, formula_state, sample
from torch import Tensor, nn

from hope.domain.errors import BundleError
from hope.models.networks import arguments_of, build_network, convert_state, load_state

DATA = Path(__file__).parent / "data"
SHAPES = Path(__file__).resolve().parents[3] / "shared" / "golden" / "segmenter_state_dicts.json"
TOLERANCE = 1e-5
"""Share of the largest answer: sums differ in their last digits with the number of threads."""
PARAMETERS = {"nnunet": 31_196_741, "mednext": 17_549_157, "swinunetr": 62_192_039}
"""Of the published networks without the heads of deep supervision."""


def vector(name: str, case: str) -> tuple[dict[str, Any], tuple[int, ...], np.ndarray[Any, Any]]:
    """Arguments, shape of the input, and the original's answer."""
    with np.load(DATA / f"{name}.npz") as stored:
        return json.loads(str(stored[f"{case}_arguments"])), tuple(stored[f"{case}_shape"]), stored[f"{case}_answer"]


def answer(network: nn.Module, shape: tuple[int, ...]) -> Tensor:
    with torch.inference_mode():
        made: Tensor = network.eval()(formula_input(shape))
    return made


def with_formula_weights(architecture: str, arguments: dict[str, Any]) -> nn.Module:
    network = build_network(architecture, arguments)
    published = formula_state(network.state_dict())
    load_state(network, architecture, convert_state(architecture, arguments, published))
    return network


@pytest.mark.parametrize("case", ["kernel3", "kernel5"])
def test_mednext_answers_as_the_original(case: str) -> None:
    arguments, shape, expected = vector("mednext_original", case)
    made = answer(with_formula_weights("mednext", arguments), shape)
    assert made.shape == (shape[0], arguments["classes"], *shape[2:])
    assert expected.std() > 1
    assert np.abs(sample(made) - expected).max() <= TOLERANCE * np.abs(expected).max()


@pytest.mark.parametrize("case", ["a", "b"])
def test_swinunetr_answers_as_monai_1_3(case: str) -> None:
    arguments, shape, expected = vector("swinunetr_monai13", case)
    made = answer(with_formula_weights("swinunetr", arguments), shape)
    assert made.shape == (shape[0], arguments["classes"], *shape[2:])
    assert expected.std() > 0.5
    assert np.abs(sample(made) - expected).max() <= TOLERANCE * np.abs(expected).max()


def test_todays_patch_merging_would_answer_otherwise() -> None:
    from monai.networks.nets.swin_unetr import SwinUNETR

    arguments, shape, expected = vector("swinunetr_monai13", "a")
    today = SwinUNETR(arguments["channels"], arguments["classes"], feature_size=arguments["feature_size"])
    today.load_state_dict(formula_state(today.state_dict()))
    assert np.abs(sample(answer(today, shape)) - expected).max() > 0.1


@pytest.mark.parametrize("residual", [False, True])
def test_nnunet_answers_as_nnunets_own(residual: bool) -> None:
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    kwargs = nnunet_arguments((4, 6, 8), strides=((1, 1, 1), (1, 2, 2), (2, 2, 2)), residual=residual)
    name = "ResidualEncoderUNet" if residual else "PlainConvUNet"
    class_name = f"dynamic_network_architectures.architectures.unet.{name}"
    imported = ("conv_op", "norm_op", "dropout_op", "nonlin")
    original = get_network_from_plans(class_name, kwargs, imported, 4, 5, deep_supervision=True)
    original.load_state_dict(formula_state(original.state_dict()))
    # Names that share one tensor got different values above; the last one written counts.
    published = original.state_dict()
    original.decoder.deep_supervision = False
    arguments = {"class_name": class_name, "kwargs": kwargs, "channels": 4, "classes": 5}
    ours = build_network("nnunet", arguments)
    load_state(ours, "nnunet", convert_state("nnunet", arguments, published))
    shape = (2, 4, 8, 16, 24)
    expected = answer(original, shape)
    assert expected.std() > 0.5
    assert torch.equal(answer(ours, shape), expected)


# --- the published sizes


def published_tensors(architecture: str) -> dict[str, Tensor]:
    if not SHAPES.is_file():
        pytest.skip("the golden vectors (../shared/golden/segmenter_state_dicts.json) are not on this machine")
    entries = json.loads(SHAPES.read_text())[architecture]
    return {name: torch.zeros(shape, dtype=getattr(torch, kind[6:])) for name, (shape, kind) in entries.items()}


def published_arguments(architecture: str, published: dict[str, Tensor]) -> dict[str, Any]:
    if architecture != "nnunet":
        return arguments_of(architecture, published)
    class_name = "dynamic_network_architectures.architectures.unet.PlainConvUNet"
    return {
        "class_name": class_name,
        "kwargs": nnunet_arguments(NNUNET_SIZE["features"]),
        "channels": 4,
        "classes": 5,
    }


@pytest.mark.real
@pytest.mark.parametrize(("architecture", "stored"), [("nnunet", 100), ("mednext", 356), ("swinunetr", 151)])
def test_published_keys_and_shapes_load(architecture: str, stored: int) -> None:
    published = published_tensors(architecture)
    arguments = published_arguments(architecture, published)
    network = build_network(architecture, arguments)
    for name, tensor in network.state_dict().items():
        if not tensor.is_floating_point():
            published[name] = tensor.clone()  # the attention's index tables are no weights
    tensors = load(save(convert_state(architecture, arguments, published)))
    assert len(tensors) == stored
    assert sum(t.numel() for t in tensors.values()) == PARAMETERS[architecture]
    load_state(network, architecture, tensors)
    assert not any(parameter.any() for parameter in network.parameters())

    # A file's tensors come back in any order; a depthwise kernel has but one input channel, so cutting changes nothing.
    name, tensor = next((n, t) for n, t in sorted(tensors.items()) if t.ndim == 5 and t.shape[1] > 1)
    with pytest.raises(BundleError, match=name.replace(".", r"\.")):
        load_state(network, architecture, {**tensors, name: tensor[:, :1]})


@pytest.mark.real
def test_published_sizes_are_inferred() -> None:
    assert arguments_of("mednext", published_tensors("mednext")) == {
        "channels": 4,
        "classes": 5,
        "width": 32,
        "expansion": [2, 3, 4, 4, 4, 4, 4, 3, 2],
        "blocks": [3, 4, 4, 4, 4, 4, 4, 4, 3],
        "kernel": 3,
    }
    assert arguments_of("swinunetr", published_tensors("swinunetr")) == {
        "channels": 4,
        "classes": 5,
        "feature_size": 48,
        "depths": [2, 2, 2, 2],
        "heads": [3, 6, 12, 24],
        "window": 7,
    }
