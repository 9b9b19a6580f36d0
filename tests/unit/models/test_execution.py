"""Execution: the same answers as plain torch, on every backend; what cannot be done is refused or said."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.checkpoints import nnunet_arguments, random_like
from torch import Tensor, nn

from hope.domain.errors import InputError
from hope.models import execution
from hope.models.execution import Precision, choose_precision, compile_network, cpu_has_bf16
from hope.models.networks import build_network

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
PLAIN = "dynamic_network_architectures.architectures.unet.PlainConvUNet"
TINY: dict[str, dict[str, Any]] = {
    "nnunet": {"class_name": PLAIN, "kwargs": nnunet_arguments((4, 8)), "channels": 4, "classes": 5},
    "mednext": {"channels": 4, "classes": 5, "width": 4, "expansion": [2] * 9, "blocks": [1] * 9, "kernel": 3},
    "swinunetr": {"channels": 4, "classes": 5, "feature_size": 12, "depths": [1] * 4, "heads": [1] * 4, "window": 3},
}
PATCH = {"nnunet": (8, 16, 12), "mednext": (16, 32, 16), "swinunetr": (32, 64, 32)}

needs_bf16 = pytest.mark.skipif(not cpu_has_bf16(), reason="this processor does not multiply bfloat16")


def tiny(architecture: str, seed: int = 0) -> nn.Module:
    network = build_network(architecture, TINY[architecture]).eval().requires_grad_(False)
    network.load_state_dict(random_like(network.state_dict(), seed))
    return network


def tiles(architecture: str, count: int = 2) -> Tensor:
    return torch.randn(count, 4, *PATCH[architecture], generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("architecture", TINY)
@pytest.mark.parametrize(
    ("precision", "tolerance"),
    [(Precision.AUTO, 2e-4), pytest.param(Precision.BF16, 0.1, marks=needs_bf16)],
)
def test_folds_answer_as_plain_torch_does(architecture: str, precision: Precision, tolerance: float) -> None:
    """Also a second fold that shares the first one's blueprint, and the first again after it."""
    batch, truths, ready, graph = tiles(architecture), [], [], None
    for seed in (0, 1):
        network = tiny(architecture, seed)
        truths.append(network(batch))
        forward = compile_network(network, 4, PATCH[architecture], CPU, precision, graph)
        assert (forward.backend, forward.note) == ("openvino", "")
        assert graph in (None, forward.graph), "the second fold was recorded again"
        graph = forward.graph
        ready.append(forward)
    assert not torch.allclose(truths[0], truths[1], atol=0.1), "equal folds would prove nothing"
    for truth, forward in zip(truths, ready, strict=True):
        answer = forward(batch)
        assert answer.dtype == torch.float32
        assert answer.shape == truth.shape
        assert float((answer - truth).abs().max()) <= tolerance * float(truth.abs().max())
        forward.rest()
        assert torch.equal(answer, forward(batch)), "the same input has to give the same answer"
        assert torch.equal(answer[1:], forward(batch[1:])), "a tile's answer must not depend on its batch"


def test_a_blueprint_of_another_architecture_is_not_used() -> None:
    first = compile_network(tiny("nnunet"), 4, PATCH["nnunet"], CPU)
    network, batch = tiny("mednext"), tiles("mednext")
    truth = network(batch)
    second = compile_network(network, 4, PATCH["mednext"], CPU, Precision.FP32, first.graph)
    assert torch.allclose(second(batch), truth, atol=1e-3)


def test_networks_made_in_inference_mode_can_be_compiled() -> None:
    with torch.inference_mode():
        network, batch = tiny("nnunet"), tiles("nnunet")
        truth = network(batch)
        forward = compile_network(network, 4, PATCH["nnunet"], CPU)
        assert torch.allclose(forward(batch), truth, atol=1e-4)


class Odd(nn.Module):
    """An operation that OpenVINO does not know."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(4, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.special.bessel_j0(self.conv(x))


def test_what_openvino_cannot_run_is_run_by_torch_and_said() -> None:
    network, batch = Odd().eval().requires_grad_(False), tiles("nnunet")
    truth = network(batch)
    forward = compile_network(network, 4, PATCH["nnunet"], CPU)
    assert forward.backend == "torch"
    assert "bessel_j0" in forward.note
    assert torch.equal(forward(batch), truth)
    again = compile_network(Odd().eval().requires_grad_(False), 4, PATCH["nnunet"], CPU, graph=forward.graph)
    assert again.graph is forward.graph
    assert again.note == forward.note
    assert not torch.equal(again(batch), truth)
    assert torch.equal(forward(batch), truth)


def test_a_wrong_answer_of_openvino_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = execution._OpenVINORun.__call__
    monkeypatch.setattr(execution._OpenVINORun, "__call__", lambda self, batch: right(self, batch) * 1.01)
    network, batch = tiny("nnunet"), tiles("nnunet")
    truth = network(batch)
    forward = compile_network(network, 4, PATCH["nnunet"], CPU)
    assert forward.backend == "torch"
    assert "otherwise than torch" in forward.note
    assert torch.equal(forward(batch), truth)


@pytest.mark.parametrize("precision", [Precision.AUTO, pytest.param(Precision.BF16, marks=needs_bf16)])
def test_release_lets_go_of_everything(precision: Precision) -> None:
    network = tiny("nnunet")
    weights = [weakref.ref(tensor) for tensor in network.parameters()]
    forward = compile_network(network, 4, PATCH["nnunet"], CPU, precision)
    run = weakref.ref(forward._run)
    del network
    forward.release()
    gc.collect()
    assert run() is None
    assert forward.graph is not None
    assert forward.graph.reference is None
    with pytest.raises(RuntimeError, match="released"):
        forward(tiles("nnunet"))
    del forward
    gc.collect()
    assert all(weight() is None for weight in weights)


@pytest.mark.parametrize("wanted", [Precision.FP16, Precision.BF16])
def test_what_a_processor_cannot_multiply_is_refused(wanted: Precision, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "cpu_has_bf16", lambda: False)
    with pytest.raises(InputError, match=f"this CPU cannot multiply in {wanted} .*auto or fp32"):
        compile_network(tiny("nnunet"), 4, PATCH["nnunet"], CPU, wanted)
    assert choose_precision(Precision.AUTO, CPU) is Precision.FP32


@pytest.mark.parametrize(
    ("has_bf16", "wanted", "chosen"),
    [
        (True, Precision.AUTO, Precision.BF16),
        (False, Precision.AUTO, Precision.FP16),
        (True, Precision.FP16, Precision.FP16),
        (False, Precision.FP32, Precision.FP32),
    ],
)
def test_precision_on_a_gpu(
    has_bf16: bool, wanted: Precision, chosen: Precision, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: has_bf16)
    assert choose_precision(wanted, CUDA) is chosen
    if not has_bf16:
        with pytest.raises(InputError, match="this GPU cannot multiply in bf16"):
            choose_precision(Precision.BF16, CUDA)


def test_importing_openvino_reports_to_nobody(tmp_path: Path) -> None:
    """Left alone, the library leaves an identifier in the home directory and sends it with every import."""
    program = "from hope.models.execution import cpu_has_bf16; cpu_has_bf16(); import sys, openvino.tools.ovc\n" \
              "sys.exit(any(n.startswith('openvino_telemetry.') for n in sys.modules))"  # fmt: skip
    run = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "HOME": str(tmp_path)}, capture_output=True, check=False
    )
    assert run.returncode == 0, run.stderr.decode()
    assert not list(tmp_path.iterdir())
