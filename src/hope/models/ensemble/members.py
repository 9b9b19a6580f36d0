"""The networks of an ensemble, ready to run, and what is done when memory does not suffice for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from safetensors import SafetensorError

from hope.domain.errors import BundleError, StageError
from hope.models.bundle import Bundle
from hope.models.ensemble.spec import Group
from hope.models.execution import CompiledNetwork, Precision, TracedGraph, compile_network
from hope.models.networks import build_network, load_state
from hope.models.tensor_files import load_tensors

T = TypeVar("T")

CPU = torch.device("cpu")
RESIDENT_ON_CPU_BYTES = 1 << 30
"""Up to this size of all weights together, they stay in the host's memory from case to case. Beyond it each network is
read when its turn comes: a case then takes minutes per network, reading it a second."""
_GPU_BATCH = 8
_NO_HOST_MEMORY = ("not enough memory", "can't allocate memory", "DefaultCPUAllocator", "bad_alloc", "bad allocation")
_NO_GPU_MEMORY = ("CUDA out of memory", "CUDA error: out of memory", "STATUS_ALLOC_FAILED")


def out_of_gpu_memory(error: BaseException) -> bool:
    """Whether the GPU's memory is what an error is about; its libraries say so in several ways."""
    return isinstance(error, torch.OutOfMemoryError) or any(sign in str(error) for sign in _NO_GPU_MEMORY)


def out_of_host_memory(error: BaseException) -> bool:
    """Whether the host's memory is what an error is about."""
    return isinstance(error, MemoryError) or any(sign in str(error) for sign in _NO_HOST_MEMORY)


@dataclass(frozen=True)
class Effort:
    """How much is attempted at once.

    Attributes:
        device: where the networks run.
        store: where volumes and sums lie.
        batch: tiles and mirrorings per call.
    """

    device: torch.device
    store: torch.device
    batch: int

    def less(self) -> tuple[Effort, str]:
        """The next smaller attempt, and what a person should read about it.

        Raises:
            StageError: if there is none.
        """
        if self.batch > 1:
            half = self.batch // 2
            return Effort(self.device, self.store, half), f"{half} tiles at once instead of {self.batch}"
        if self.store != CPU:
            return Effort(self.device, CPU, 1), "the sums are kept in the host's memory"
        if self.device != CPU:
            return Effort(CPU, CPU, 1), "this case goes on on the CPU, which takes much longer"
        raise StageError("the host's memory does not suffice for this model; close other programs or add memory")


class Members:
    """Loads every network of a bundle and keeps it.

    Args:
        bundle: its files are verified here.
        device: where to run them, while memory suffices.
        precision: see `hope.models.execution`.
        batch: tiles and mirrorings per call to begin with; None chooses.

    Raises:
        BundleError: naming the member whose weights are damaged or do not fit.
    """

    def __init__(self, bundle: Bundle, device: torch.device, precision: Precision, batch: int | None = None) -> None:
        bundle.verify()
        self._bundle, self._precision = bundle, precision
        self._wanted = Effort(device, device, batch or (_GPU_BATCH if device.type == "cuda" else 1))
        self.effort = self._wanted
        self._ready: dict[str, CompiledNetwork] = {}
        self._graphs: dict[str, TracedGraph | None] = {}
        size = sum((bundle.folder / name).stat().st_size for group in bundle.groups for name in group.members)
        self._fits_host = size <= RESIDENT_ON_CPU_BYTES
        self.facts: dict[str, set[str]] = {"precision": set(), "backend": set(), "note": set()}
        self.note = self._load_all()

    def _load_all(self) -> str:
        """Load what is to stay; on the CPU if the GPU cannot hold it, which the answer then says."""
        note = ""
        try:
            self._load()
        except torch.OutOfMemoryError:
            note = "the GPU's memory does not hold this model, so it runs on the CPU, which takes much longer"
        if note:
            self.release()
            self._wanted = self.effort = Effort(CPU, CPU, 1)
            self._load()
        return note

    def _load(self) -> None:
        for group in self._bundle.groups:
            for number in range(len(group.members) if self._resident else 1):
                self.forward(group, number)
                self.unload()

    @property
    def _resident(self) -> bool:
        return self._fits_host or self.effort.device != CPU

    @property
    def count(self) -> int:
        """How many networks the ensemble has."""
        return sum(len(group.members) for group in self._bundle.groups)

    def forward(self, group: Group, number: int) -> CompiledNetwork:
        """A member ready to run, loaded where it is not.

        Raises:
            BundleError: if its weights do not fit, naming it.
        """
        file = group.members[number]
        if file not in self._ready:
            network = build_network(group.architecture, group.arguments)
            try:
                load_state(network, group.architecture, load_tensors(self._bundle.folder / file))
            except (BundleError, SafetensorError, OSError) as error:
                who = f"{group.name} {group.member_names[number]} of model {self._bundle.id}"
                raise BundleError(f"{who} cannot be loaded: {error}") from error
            try:
                ready = compile_network(
                    network,
                    len(group.channels),
                    group.tiling.patch,
                    self.effort.device,
                    self._precision,
                    self._graphs.get(group.name),
                )
            except RuntimeError as error:
                if out_of_gpu_memory(error) or out_of_host_memory(error):
                    raise
                who = f"{group.name} {group.member_names[number]} of model {self._bundle.id}"
                first = next(iter(str(error).strip().splitlines()), type(error).__name__)
                raise BundleError(f"{who} cannot see a tile of its own size: {first}") from error
            self._ready[file], self._graphs[group.name] = ready, ready.graph
            for name, values in self.facts.items():
                values.add(str(getattr(ready, name)))
        return self._ready[file]

    def unload(self) -> None:
        """A member has had its turn: let it go if not all of them fit into memory, else only what it needs to run."""
        if not self._resident:
            self.release()
        for ready in self._ready.values():
            ready.rest()

    def release(self) -> None:
        """Let go of every network and of the memory that they held."""
        for ready in self._ready.values():
            ready.release()
        self._ready.clear()
        free_gpu_memory()

    def begin_case(self) -> None:
        """Back to what was wanted, should an earlier case have had to do with less."""
        if self.effort.device != self._wanted.device:
            self.release()
        self.effort = self._wanted

    def trying(self, work: Callable[[], T], add_note: Callable[[str], None]) -> T:
        """Do something again with less and less effort as long as the GPU's memory does not suffice.

        Args:
            work: reads `effort`, and changes nothing when it runs out of memory.
            add_note: called for every retreat.

        Raises:
            StageError: if there is nothing smaller left to try.
        """
        while True:
            try:
                return work()
            except torch.OutOfMemoryError:
                pass  # the error holds the frames and so the tensors: retreat only after it is gone
            smaller, note = self.effort.less()
            if smaller.device != self.effort.device:
                self.release()
            self.effort = smaller
            free_gpu_memory()
            add_note(note)


def free_gpu_memory() -> None:
    """Give what no tensor uses any more back to the GPU."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
