"""Runs a network on the device at hand, in the fastest way that is proven to give the same answer.

On a GPU that is torch with autocast. On the CPU it is OpenVINO: the network is traced once, and its answer to the tile
it was traced with is compared with torch's, so that a network that does not survive the way is run by torch instead,
which the note then says. docs/decisions/0007-ensemble.md has the figures.
"""

from __future__ import annotations

import gc
import sys
import warnings
from collections.abc import Callable, Sequence
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


class _NotConvertibleError(Exception):
    """OpenVINO cannot express a network; torch then runs it."""


class TracedGraph:
    """An architecture's operations on one tile in OpenVINO's form, with the weights left open.

    Folds differ in their weights only. Whoever compiles the second hands over the traced graph of the first, and is
    spared the recording, what follows from the tile's shape alone (a SwinUNETR's masks take longer to compute than its
    answer), and the comparison with torch.

    Attributes:
        refused: why OpenVINO is not used for these operations; empty where it is.
        reference: torch's output for the recorded tile, until OpenVINO's has been compared with it.
    """

    def __init__(self, network: nn.Module, example: Tensor) -> None:
        self.layout = _layout(network, example)
        self.refused = ""
        slots, weights = _slots(network)
        self.reference: Tensor | None = None

        def opened(tile: Tensor, *given: Tensor) -> Tensor:
            try:
                for place, name, number in slots:
                    place[name] = given[number]
                output: Tensor = network(tile)
            finally:
                for place, name, number in slots:
                    place[name] = weights[number]
            self.reference = output.detach().clone()
            return output

        # Recording needs tensors that count their changes, which those made in inference mode do not.
        inputs = (example, *(weight.clone() if weight.is_inference() else weight for weight in weights))
        with warnings.catch_warnings():
            # Branches on shapes are frozen, which is wanted: the shape of a tile is fixed.
            warnings.simplefilter("ignore")
            operations: Any = torch.jit.trace(opened, inputs, check_trace=False)  # type: ignore[no-untyped-call]
        try:
            self.model = _open_model(operations, inputs)
        except _NotConvertibleError as error:
            self.refused = f"OpenVINO cannot run this network ({error}), so torch does"

    def fits(self, network: nn.Module, example: Tensor) -> bool:
        """Whether a network has the same tensors and tile."""
        return self.layout == _layout(network, example)

    def with_weights(self, network: nn.Module) -> Any:
        """OpenVINO's model of a network of this architecture; it refers to the network's tensors."""
        from openvino import opset13

        model = self.model.clone()
        for open_input, weight in zip(model.get_parameters()[1:], _slots(network)[1], strict=True):
            constant = opset13.constant(weight.detach().numpy(), shared_memory=True)
            open_input.output(0).replace(constant.output(0))
            model.remove_parameter(open_input)
        model.validate_nodes_and_infer_types()
        return model


def _open_model(operations: Any, inputs: Sequence[Tensor]) -> Any:
    """Convert recorded operations, and compute what depends on no weight and no image.

    Raises:
        _NotConvertibleError: if OpenVINO has no counterpart for an operation.
    """
    known = _openvino().frontend
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder
    from openvino.passes import ConstantFolding, Manager

    frontend = known.FrontEndManager().load_by_framework("pytorch")
    # The decoder has to outlive the conversion, so it needs a name.
    decoder = TorchScriptPythonDecoder(operations, example_input=tuple(inputs), skip_freeze=True)
    try:
        model = frontend.convert(frontend.load(decoder))
    except (known.OpConversionFailure, known.NotImplementedFailure, known.OpValidationFailure) as error:
        raise _NotConvertibleError(str(error).strip().splitlines()[-1].strip(" -")) from error
    if len(model.inputs) != len(inputs):
        raise _NotConvertibleError(f"{len(inputs)} tensors became {len(model.inputs)}")
    model.reshape({number: list(tensor.shape) for number, tensor in enumerate(inputs)})
    passes = Manager()
    passes.register_pass(ConstantFolding())
    passes.run_passes(model)
    return model


class CompiledNetwork:
    """A network that is ready to run.

    Attributes:
        device: where batches have to lie, and where answers lie.
        precision: what was chosen; never AUTO.
        backend: ``torch`` or ``openvino``.
        note: why it is not what one might expect; empty where there is nothing to say.
        graph: for `compile_network` of the next network of the same architecture; None where none is needed.
    """

    def __init__(
        self,
        run: Callable[[Tensor], Tensor],
        device: torch.device,
        precision: Precision,
        backend: str = "torch",
        note: str = "",
        graph: TracedGraph | None = None,
    ) -> None:
        self._run: Callable[[Tensor], Tensor] | None = run
        self.device, self.precision, self.backend = device, precision, backend
        self.note, self.graph = note, graph

    def __call__(self, batch: Tensor) -> Tensor:
        """Answer (n, classes, *patch) in float32 for a float32 batch (n, channels, *patch), both on ``device``."""
        if self._run is None:
            raise RuntimeError("this network was released")
        with torch.inference_mode():
            return self._run(batch).float()

    def rest(self) -> None:
        """Give back what is only needed while running; the weights stay, and the next call takes it again."""
        if isinstance(self._run, _OpenVINORun):
            self._run.rest()

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
    graph: TracedGraph | None = None,
) -> CompiledNetwork:
    """Make a network ready to run. The network is used up: it may be moved, or go on sharing its weights.

    Args:
        network: with its weights loaded.
        channels: of one tile.
        patch: of one tile, in voxels.
        device: from `hope.models.devices.choose_device`.
        precision: see `Precision`.
        graph: of a network of the same architecture and arguments; where it does not fit it is not used.

    Raises:
        InputError: if the device cannot multiply in that precision.
    """
    precision = choose_precision(precision, device)
    network = network.eval().requires_grad_(False)
    if device.type == "cuda":
        return CompiledNetwork(_TorchRun(network, device, precision), device, precision)
    with torch.inference_mode(False), torch.no_grad():
        example = torch.randn((1, channels, *patch), generator=torch.Generator().manual_seed(0))
        return _on_cpu(network, example, device, precision, graph)


def _on_cpu(
    network: nn.Module, example: Tensor, device: torch.device, precision: Precision, graph: TracedGraph | None
) -> CompiledNetwork:
    if graph is None or not graph.fits(network, example):
        graph = TracedGraph(network, example)
    if not graph.refused:
        run = _OpenVINORun(graph.with_weights(network), precision)
        if graph.reference is not None:
            off = float((run(example) - graph.reference).abs().max() / graph.reference.abs().max())
            graph.reference = None
            run.rest()
            if not off <= _CLOSE[precision]:
                share = f"{100 * off:.1f} %"
                graph.refused = f"OpenVINO answers otherwise than torch (by {share}), so torch runs this network"
    if graph.refused:
        return CompiledNetwork(_TorchRun(network, device, precision), device, precision, "torch", graph.refused, graph)
    return CompiledNetwork(run, device, precision, "openvino", graph=graph)


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
            output: Tensor = self.network(batch)
        return output.contiguous()


class _OpenVINORun:
    """A model as OpenVINO runs it, one tile at a time: on a CPU a batch brings nothing."""

    def __init__(self, model: Any, precision: Precision) -> None:
        self.request: Any = None
        self.compiled = (
            _openvino()
            .Core()
            .compile_model(
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
        )

    def rest(self) -> None:
        """Let go of the layers' outputs, which OpenVINO otherwise keeps: a gigabyte or more for a tile of 128^3."""
        if self.request is not None:
            self.request = None
            self.compiled.release_memory()

    def __call__(self, batch: Tensor) -> Tensor:
        if self.request is None:
            self.request = self.compiled.create_infer_request()
        tiles = batch.contiguous().numpy()
        outputs = [
            torch.from_numpy(self.request.infer({0: tiles[i : i + 1]}, share_inputs=True, share_outputs=False)[0])
            for i in range(len(tiles))
        ]
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs)


def _slots(network: nn.Module) -> tuple[list[tuple[dict[str, Any], str, int]], list[Tensor]]:
    """Every place that holds a parameter or a buffer (dictionary, name, number of the tensor), and the tensors."""
    slots: list[tuple[dict[str, Any], str, int]] = []
    numbers: dict[int, int] = {}
    tensors: list[Tensor] = []
    for module in network.modules():
        for place in (module._parameters, module._buffers):
            for name, tensor in place.items():
                if tensor is None:
                    continue
                if id(tensor) not in numbers:
                    numbers[id(tensor)] = len(tensors)
                    tensors.append(tensor)
                slots.append((place, name, numbers[id(tensor)]))
    return slots, tensors


def _layout(network: nn.Module, example: Tensor) -> tuple[Any, ...]:
    """What two networks must have in common to share a traced graph."""
    slots, tensors = _slots(network)
    held = [(name, number, tuple(tensors[number].shape), tensors[number].dtype) for _, name, number in slots]
    return (type(network), tuple(example.shape), tuple(held))


def _openvino() -> Any:
    """The library, imported so that it reports to nobody: importing it would send its maker a message each time."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # makes its import fail, as documented
    import openvino

    return openvino
