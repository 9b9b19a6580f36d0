"""What every training run keeps on disk and how its learning rate goes: one mechanism for all networks trained here."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Protocol

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from hope.domain.errors import InputError
from hope.models.bundle import MANIFEST, WEIGHTS, Bundle, read_bundle
from hope.stages.report.result_folder import Destination, refuse_to_replace, result_folder

CHECKPOINT = "checkpoint.pt"
BUNDLE = "bundle"
"""In a run's folder: what `hope models add` takes."""
WARM_UP = 50
"""Steps of linear warm-up; a tenth of a run that is shorter than ten times that."""


class RunState(Protocol):
    """What a checkpoint holds besides the configuration."""

    network: Any
    average: Any
    optimiser: torch.optim.Optimizer
    step: int
    seconds: float


def write_checkpoint(state: RunState, config: Mapping[str, Any], folder: Path) -> None:
    """Write ``checkpoint.pt`` atomically: a run that is killed keeps its last good one."""
    temporary = folder / f"{CHECKPOINT}.tmp"
    content = {
        "config": json.dumps(config),
        "network": state.network.state_dict(),
        "average": state.average.state_dict(),
        "optimiser": state.optimiser.state_dict(),
        "step": state.step,
        "seconds": state.seconds,
    }
    try:
        torch.save(content, temporary)
        temporary.replace(folder / CHECKPOINT)
    finally:
        temporary.unlink(missing_ok=True)


class Checkpoint:
    """A run's checkpoint; nothing in it is unpickled beyond tensors and plain values.

    Args:
        folder: of the run.
        kind: what was trained, for the sentence that refuses a checkpoint of something else.

    Raises:
        InputError: if there is none, or it is damaged.
    """

    def __init__(self, folder: Path, kind: str) -> None:
        self._kind = kind
        path = folder / CHECKPOINT
        if not path.is_file():
            raise InputError("no checkpoint to resume from", expected=f"{CHECKPOINT} in the run's folder", got="none")
        try:
            self._content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            self.config: dict[str, Any] = json.loads(self._content["config"])
        except (RuntimeError, EOFError, UnpicklingError, LookupError, TypeError, ValueError) as error:
            raise self.refusal() from error

    def restore(self, state: RunState) -> None:
        """Put what was kept into a fresh state of the same configuration.

        Raises:
            InputError: if it does not fit.
        """
        try:
            for name in ("network", "average", "optimiser"):
                getattr(state, name).load_state_dict(self._content[name])
            state.step, state.seconds = int(self._content["step"]), float(self._content["seconds"])
        except (RuntimeError, LookupError, TypeError, ValueError) as error:
            raise self.refusal() from error

    def average(self) -> dict[str, Tensor]:
        """The averaged weights."""
        try:
            return {str(name): value for name, value in self._content["average"].items()}
        except (LookupError, TypeError, AttributeError) as error:
            raise self.refusal() from error

    def refusal(self) -> InputError:
        """Why this checkpoint cannot be gone on with."""
        return InputError(
            f"the run's {CHECKPOINT} is no checkpoint of a {self._kind}, or damaged",
            fix="start the run anew in another folder",
        )


def learning_rate_at(peak: float, step: int, steps: int) -> float:
    """Linear warm-up over 50 steps (or a tenth of a short run), then a cosine to zero."""
    warm = max(1, min(WARM_UP, steps // 10))
    if step < warm:
        return peak * (step + 1) / warm
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def refuse_other_bundle(run: Path) -> None:
    """Refuse, before any training, if the bundle in a run's folder is not as it was written, or is none.

    Raises:
        OutputError: if so.
    """
    refuse_to_replace(Destination(run), BUNDLE, None, MANIFEST)


def write_bundle(run: Path, write: Callable[[Path], Bundle]) -> Bundle:
    """Let a bundle be written that takes its place in the run's folder when it is whole; an earlier one is replaced.

    Args:
        run: the folder.
        write: writes it into the folder that it is given.

    Raises:
        OutputError: if it cannot be written, or the earlier one was changed since.
    """
    with result_folder(run, BUNDLE, MANIFEST) as folder:
        write(folder)
    return read_bundle(run / BUNDLE)


def write_weights(network: nn.Module, folder: Path, dtype: torch.dtype = torch.float32) -> None:
    """Write a network's weights as a bundle holds them; an existing file is replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / WEIGHTS).unlink(missing_ok=True)
    weights: dict[str, Tensor] = {
        name: value.detach().cpu().to(dtype if value.is_floating_point() else value.dtype).contiguous()
        for name, value in network.state_dict().items()
    }
    save_file(weights, folder / WEIGHTS)
    (folder / WEIGHTS).chmod(0o644)
