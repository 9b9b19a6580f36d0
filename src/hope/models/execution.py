"""Runs a network on the device at hand, in the fastest way that is proven to give the same answer.

On a GPU that is torch with autocast. On the CPU it is OpenVINO: the network is traced once, and its answer to the tile
it was traced with is compared with torch's, so that a network that does not survive the way is run by torch instead,
which the note then says. docs/decisions/0007-ensemble.md has the figures.
"""

from __future__ import annotations

import gc
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor, nn

from hope.domain.errors import InputError


class Precision(StrEnum):
    """What numbers a network multiplies in. Weights are stored as float32, and answers always come back as float32."""

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"


_CLOSE = {Precision.FP32: 1e-3, Precision.BF16: 0.1}
"""How far OpenVINO may lie from torch, as a share of the largest answer. Rounding of fp32 stays below 1e-4; a layer
that was converted wrongly is off by the size of the answer itself."""


def choose_device(wanted: str) -> torch.device:
    """``auto`` takes a GPU where there is one.

    Raises:
        InputError: if a GPU is asked for and there is none.
    """
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if wanted == "cuda" and not torch.cuda.is_available():
        raise InputError("no CUDA GPU can be used here", expected="--device cpu or auto", got="--device cuda")
    return torch.device(wanted)


def choose_precision(wanted: Precision, device: torch.device) -> Precision:
    """``AUTO`` is exact on the CPU, and on a GPU what its matrix units are fast in.

    Raises:
        InputError: if the device cannot multiply in that precision, or is slower in it than in fp32.
    """
    if device.type == "cuda":
        bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        if wanted is Precision.AUTO:
            return Precision.BF16 if bf16 else Precision.FP16
        if wanted is Precision.BF16 and not bf16:
            raise InputError("this GPU cannot multiply in bf16", expected="--precision auto, fp16 or fp32", got="bf16")
        return wanted
    if wanted is Precision.AUTO:
        return Precision.FP32
    if wanted is Precision.FP16 or (wanted is Precision.BF16 and not cpu_has_bf16()):
        fitting = "--precision auto, fp32 or bf16" if cpu_has_bf16() else "--precision auto or fp32"
        raise InputError(f"this CPU cannot multiply in {wanted}", expected=fitting, got=str(wanted))
    return wanted


def cpu_has_bf16() -> bool:
    """Whether the processor multiplies bfloat16 in hardware."""
    return "BF16" in _openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class Blueprint:
    """The recorded operations of an architecture for one tile shape, without weights: cheap to keep.

    Folds differ in their weights only. Whoever compiles the second hands over the blueprint of the first and is spared
    the recording, which takes as long as a tile, and the comparison with torch.
    """

    def __init__(self, network: nn.Module, example: Tensor) -> None:
        self.layout = _layout(network, example)
        kept: list[Tensor] = []
        hook = network.register_forward_hook(lambda _module, _inputs, answer: kept.append(answer.detach().clone()))
        with warnings.catch_warnings():
            # Branches on shapes are frozen, which is wanted: the shape of a tile is fixed.
            warnings.simplefilter("ignore")
            self.operations = torch.jit.trace(network, example, check_trace=False)  # type: ignore[no-untyped-call]
        hook.remove()
        self.answer: Tensor | None = kept[0]

    def fits(self, network: nn.Module, example: Tensor) -> bool:
        """Whether a network has the same tensors and tile."""
        return self.layout == _layout(network, example)

    def take_weights(self, network: nn.Module) -> None:
        """Refer to the tensors of another network of the same architecture; nothing is copied."""
        theirs = dict(_tensors(network))
        for name, own in _tensors(self.operations):
            own.data = theirs[name].data

    def drop_weights(self) -> None:
        """Refer to no tensors any more; what OpenVINO still needs it holds itself."""
        for _, own in _tensors(self.operations):
            own.data = own.data.new_empty(0)


class Forward:
    """A network that is ready to run.

    Attributes:
        device: where batches have to lie, and where answers lie.
        precision: what was chosen; never AUTO.
        backend: ``torch`` or ``openvino``.
        note: why it is not what one might expect; empty where there is nothing to say.
        blueprint: for `compile_network` of the next network of the same architecture; None where none is needed.
    """

    def __init__(
        self,
        run: Callable[[Tensor], Tensor],
        device: torch.device,
        precision: Precision,
        backend: str = "torch",
        note: str = "",
        blueprint: Blueprint | None = None,
    ) -> None:
        self._run: Callable[[Tensor], Tensor] | None = run
        self.device, self.precision, self.backend = device, precision, backend
        self.note, self.blueprint = note, blueprint

    def __call__(self, batch: Tensor) -> Tensor:
        """Answer (n, classes, *patch) in float32 for a float32 batch (n, channels, *patch), both on ``device``."""
        if self._run is None:
            raise RuntimeError("this network was released")
        with torch.inference_mode():
            return self._run(batch).float()

    def release(self) -> None:
        """Give the memory back; the object cannot be used afterwards."""
        self._run = None
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def compile_network(
    network: nn.Module,
    channels: int,
    patch: Sequence[int],
    device: torch.device,
    precision: Precision = Precision.AUTO,
    blueprint: Blueprint | None = None,
) -> Forward:
    """Make a network ready to run. The network is used up: its weights may be moved or emptied.

    Args:
        network: with its weights loaded.
        channels: of one tile.
        patch: of one tile, in voxels.
        device: from `choose_device`.
        precision: see `Precision`.
        blueprint: of a network of the same architecture and arguments; where it does not fit it is not used.

    Raises:
        InputError: if the device cannot multiply in that precision.
    """
    precision = choose_precision(precision, device)
    network = network.eval().requires_grad_(False)
    if device.type == "cuda":
        return Forward(_TorchRun(network, device, precision), device, precision)
    # Tracing needs tensors that know their version, which those made in inference mode do not.
    with torch.inference_mode(False), torch.no_grad():
        example = torch.randn((1, channels, *patch), generator=torch.Generator().manual_seed(0))
        return _on_cpu(_normal_tensors(network), example, device, precision, blueprint)


def _on_cpu(
    network: nn.Module, example: Tensor, device: torch.device, precision: Precision, blueprint: Blueprint | None
) -> Forward:
    if blueprint is None or not blueprint.fits(network, example):
        blueprint = Blueprint(network, example)
    else:
        blueprint.take_weights(network)
    try:
        run = _OpenVINORun(blueprint.operations, example, precision)
    except RuntimeError as error:
        why = f"OpenVINO cannot run this network ({_first_line(error)}), so torch does"
        return Forward(_TorchRun(network, device, precision), device, precision, note=why)
    if blueprint.answer is not None:
        off = float((run(example) - blueprint.answer).abs().max() / blueprint.answer.abs().max())
        if not off <= _CLOSE[precision]:
            why = f"OpenVINO answers otherwise than torch (by {100 * off:.1f} %), so torch runs this network"
            return Forward(_TorchRun(network, device, precision), device, precision, note=why)
        blueprint.answer = None
    blueprint.drop_weights()
    return Forward(run, device, precision, "openvino", blueprint=blueprint)


class _TorchRun:
    """Torch as it is, with autocast for what is not fp32."""

    def __init__(self, network: nn.Module, device: torch.device, precision: Precision) -> None:
        self.kind = {Precision.BF16: torch.bfloat16, Precision.FP16: torch.float16}.get(precision)
        # Matrix units read channels last. A depthwise convolution has no such kernel and would turn every tensor twice.
        dense = all(m.groups == 1 for m in network.modules() if isinstance(m, nn.Conv3d | nn.ConvTranspose3d))
        turned = device.type == "cuda" and self.kind is not None and dense
        self.layout = torch.channels_last_3d if turned else torch.contiguous_format
        self.network = network.to(device=device, memory_format=self.layout)  # type: ignore[call-overload]
        self.device = device

    def __call__(self, batch: Tensor) -> Tensor:
        batch = batch.contiguous(memory_format=self.layout)
        # fp32 is to mean fp32: cuDNN would round to TF32. Its transposed convolutions add up in any order if not told.
        with (
            torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False),
            torch.autocast(self.device.type, self.kind, enabled=self.kind is not None),
        ):
            answer: Tensor = self.network(batch)
        return answer.contiguous()


class _OpenVINORun:
    """Recorded operations as OpenVINO runs them, one tile at a time: on a CPU a batch brings nothing.

    Raises:
        RuntimeError: if OpenVINO has no counterpart for an operation.
    """

    def __init__(self, operations: Any, example: Tensor, precision: Precision) -> None:
        openvino = _openvino()
        from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

        frontend = openvino.frontend.FrontEndManager().load_by_framework("pytorch")
        decoder = TorchScriptPythonDecoder(operations, example_input=example, skip_freeze=True)
        model = frontend.convert(frontend.load(decoder))
        model.reshape(list(example.shape))
        compiled = openvino.Core().compile_model(
            model,
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": {Precision.FP32: "f32", Precision.BF16: "bf16"}[precision],
                "INFERENCE_NUM_THREADS": torch.get_num_threads(),
                "PERFORMANCE_HINT": "LATENCY",
                # Several workers of one host would otherwise all be pinned to the same cores.
                "ENABLE_CPU_PINNING": False,
            },
        )
        self.request = compiled.create_infer_request()

    def __call__(self, batch: Tensor) -> Tensor:
        tiles = batch.contiguous().numpy()
        answers = [
            torch.from_numpy(self.request.infer({0: tiles[i : i + 1]}, share_inputs=True, share_outputs=False)[0])
            for i in range(len(tiles))
        ]
        return answers[0] if len(answers) == 1 else torch.cat(answers)


def _tensors(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers under all their names."""
    yield from network.named_parameters(remove_duplicate=False)
    yield from network.named_buffers(remove_duplicate=False)


def _layout(network: nn.Module, example: Tensor) -> tuple[Any, ...]:
    """What two networks must have in common to share a blueprint."""
    named = sorted((name, tuple(tensor.shape), tensor.dtype) for name, tensor in _tensors(network))
    return (type(network), tuple(example.shape), tuple(named))


def _normal_tensors(network: nn.Module) -> nn.Module:
    """The network, its tensors copied if they were made in inference mode."""
    copies: dict[Tensor, Any] = {}
    for module in network.modules():
        for name, weight in module._parameters.items():
            if weight is not None and weight.is_inference():
                module._parameters[name] = copies.setdefault(weight, nn.Parameter(weight.clone(), False))
        for name, buffer in module._buffers.items():
            if buffer is not None and buffer.is_inference():
                module._buffers[name] = copies.setdefault(buffer, buffer.clone())
    return network


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _openvino() -> Any:
    """The library, imported so that it reports to nobody: importing it would send its maker a message each time."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # makes its import fail, as documented
    import openvino

    return openvino
