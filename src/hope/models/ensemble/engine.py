"""Runs an ensemble on one case, which is prepared once and tiled once; every answer is added up in place."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from hope.domain.case import HarmonizedCase, Prediction
from hope.domain.errors import StageError
from hope.domain.progress import Progress
from hope.domain.qc import QCFlag, Severity
from hope.domain.volume import Volume
from hope.models.bundle import Bundle
from hope.models.devices import choose_device
from hope.models.ensemble.combine import Place, ProbabilityAccumulator
from hope.models.ensemble.members import Members, free_gpu_memory, out_of_gpu_memory, out_of_host_memory
from hope.models.ensemble.preprocess import CaseImages, Image, Layout, lay_out, prepare
from hope.models.ensemble.spec import Average, Group
from hope.models.ensemble.window import TilePlan, plan_tiles, slide
from hope.models.execution import CompiledNetwork, Precision


class EnsembleRunner:
    """Runs a bundle of several networks in this process.

    Args:
        bundle: an ensemble; its files are checked here, once, and its networks loaded as `Members` says.
        device: auto, cpu, cuda or mps.
        precision: auto, fp32, bf16 or fp16.
        mirroring: whether tiles are also seen mirrored, where the networks were trained for it.
        batch: tiles and mirrorings per call to begin with; None chooses by the device.

    Raises:
        BundleError: if a member is missing, damaged or does not fit.
        InputError: if a GPU is asked for and there is none.
    """

    def __init__(
        self,
        bundle: Bundle,
        device: str = "auto",
        precision: str = "auto",
        mirroring: bool = True,
        batch: int | None = None,
    ) -> None:
        self.bundle = bundle
        self._mirroring = mirroring
        # A network answers into memory of its own: two threads that asked it at once would get each other's answers.
        self._one_case = Lock()
        self._members = Members(bundle, choose_device(device), Precision(precision), batch)

    @property
    def device(self) -> str:
        """Where the networks run."""
        return str(self._members.effort.device)

    def describe(self) -> dict[str, Any]:
        """How the ensemble runs, as plain JSON values."""
        facts = {name: ", ".join(sorted(values - {""})) for name, values in self._members.facts.items()}
        # "note" is the bundle's own word to the reader.
        facts["remark"] = facts.pop("note")
        return {**facts, "device": self.device, "mirroring": self._mirroring, "members": self._members.count}

    @torch.inference_mode()
    def predict(self, case: HarmonizedCase, progress: Progress) -> Prediction:
        """Label the case on its atlas grid; a second thread waits for its turn.

        Args:
            case: images on one grid, in any orientation.
            progress: called for every tile, and of every retreat for want of memory.

        Raises:
            InputError: if a sequence is missing that the model cannot do without.
            StageError: if the images are empty, a member fails (it is named), or memory does not suffice.
        """
        self.bundle.missing(case.images.keys())
        with self._one_case:
            return self._predicted(case, progress)

    def _predicted(self, case: HarmonizedCase, progress: Progress) -> Prediction:
        self._members.begin_case()
        try:
            return _Run(self.bundle, self._members, case, progress, self._mirroring).prediction()
        except torch.OutOfMemoryError as error:
            raise StageError(
                f"the GPU's memory does not suffice for model {self.bundle.id}; use --device cpu"
            ) from error
        except (MemoryError, RuntimeError) as error:
            if out_of_host_memory(error):
                raise StageError(
                    f"the host's memory does not suffice for model {self.bundle.id}; close other programs or add memory"
                ) from error
            raise
        finally:
            free_gpu_memory()


@dataclass
class _Station:
    """A group on its way through a case."""

    group: Group
    layout: Layout
    plan: TilePlan

    @property
    def key(self) -> str:
        """Equal for groups that see the same arrays."""
        return json.dumps([self.group.to_json()["preprocessing"], self.group.channels], sort_keys=True)

    @property
    def place(self) -> Place:
        """Where the members' answers lie in the case."""
        return Place(self.layout.order, self.layout.box, self.group.classes)

    def in_case(self, raw: Tensor) -> Tensor:
        """An answer in voxels of the case, float32: probabilities, or logits where the group averages those."""
        group = self.group
        output = self.layout.from_network(raw, group.preprocessing.outputs).float()
        wanted, given = group.fold_mean, group.tiling.mean
        return output.softmax(dim=0) if (wanted, given) == (Average.PROBABILITIES, Average.LOGITS) else output

    @property
    def work(self) -> float:
        """Voxels that all its members look at."""
        i, j, k = self.group.tiling.patch
        return float(self.plan.evaluations * i * j * k * len(self.group.members))


class _Run:
    """One case; everything that belongs to it goes with this object."""

    def __init__(
        self, bundle: Bundle, members: Members, case: HarmonizedCase, progress: Progress, mirroring: bool
    ) -> None:
        self.bundle, self.members, self.case, self.progress = bundle, members, case, progress
        self.images = CaseImages(case)
        self.stations = []
        for group in bundle.groups:
            layout = lay_out(self.images, group)
            self.stations.append(_Station(group, layout, plan_tiles(layout.shape, group.tiling, mirroring)))
        self.all_work = sum(station.work for station in self.stations)
        self.done = 0.0
        self.notes = [members.note] if members.note else []
        self.accumulator = ProbabilityAccumulator(self.images.grid.shape, members.effort.store)

    def prediction(self) -> Prediction:
        """Hear every group, then conclude."""
        prepared: dict[str, Image] = {}
        for number, station in enumerate(self.stations):
            if station.key not in prepared:
                self.progress(f"segment: prepare the case for {station.group.name}", self.done / self.all_work)
                prepared[station.key] = prepare(self.images, station.group, station.layout)
            self.run_member(station, torch.from_numpy(prepared[station.key]))
            if all(later.key != station.key for later in self.stations[number + 1 :]):
                del prepared[station.key]
        return self.finalize()

    def run_member(self, station: _Station, volume: Tensor) -> None:
        """Let every member of a group speak."""
        group, place = station.group, station.place
        share = group.weight / len(group.members)
        mean: Tensor | None = None
        for number in range(len(group.members)):
            raw = self.members.trying(partial(self.predict_member, station, volume, number), self.add_note)
            self.done += station.work / len(group.members)
            self.accumulator.move(self.members.effort.store)
            output = station.in_case(raw)
            self.accumulator.vote(output, place, share)
            if group.fold_mean is Average.PROBABILITIES:
                self.accumulator.add(output, place, share, group.outside)
            else:
                mean = raw if mean is None else mean.to(raw.device).add_(raw)
            self.members.unload()
        if mean is not None:
            output = station.in_case(mean.div_(len(group.members)))
            self.accumulator.add(output.softmax(dim=0), place, group.weight, group.outside)

    def predict_member(self, station: _Station, volume: Tensor, number: int) -> Tensor:
        """What one member says on the network's grid (classes, *layout.shape), logits or probabilities.

        Raises:
            StageError: naming the member, if it fails or answers with what is no number.
        """
        group, effort = station.group, self.members.effort
        name = f"{group.name} {group.member_names[number]}"
        forward = self.members.forward(group, number)
        tiles = len(station.plan.places)

        def on_tile(tile: int) -> None:
            share = (self.done + station.work / len(group.members) * tile / tiles) / self.all_work
            self.progress(f"segment: {name}, tile {tile} of {tiles}", share)

        raw = slide(
            partial(_ask, forward, name, len(group.classes)),
            forward.device,
            volume.to(effort.store),
            station.plan,
            len(group.classes),
            effort.batch,
            on_tile,
        )
        if not bool(raw.isfinite().all()):
            raise StageError(f"{name} answers with values that are not finite; use --precision fp32")
        return raw

    def add_note(self, note: str) -> None:
        """Say that less is attempted, now and in the result."""
        self.notes.append(f"the GPU's memory did not suffice: {note}")
        self.progress(f"segment: {self.notes[-1]}", self.done / self.all_work)

    def finalize(self) -> Prediction:
        """Bring the sums into the case's own order of axes."""
        combined = self.accumulator.finish(sum(group.weight for group in self.bundle.groups))
        turned = self.images.in_own_order
        return Prediction(
            labels=Volume(turned(combined.labels), self.case.aligned.grid),
            region_probability={key: turned(values) for key, values in combined.probability.items()},
            model_id=self.bundle.id,
            model_sha256=self.bundle.sha256,
            flags=tuple(QCFlag("less_memory", Severity.INFO, note) for note in self.notes),
            agreement={key: turned(values) for key, values in combined.agreement.items()},
            postprocess=self.bundle.postprocess(),
            cleanup=self.bundle.cleanup,
        )


def _ask(forward: CompiledNetwork, name: str, classes: int, batch: Tensor) -> Tensor:
    """A member's answer to a batch; its failures carry its name, but for want of memory."""
    try:
        output = forward(batch)
    except RuntimeError as error:
        if out_of_gpu_memory(error):
            raise torch.OutOfMemoryError(str(error)) from None
        if out_of_host_memory(error):
            raise
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise StageError(f"{name} failed: {first}") from error
    wanted = (batch.shape[0], classes, *batch.shape[2:])
    if tuple(output.shape) != wanted:
        raise StageError(f"{name} answers a batch in the shape {tuple(output.shape)}, expected {wanted}")
    return output
