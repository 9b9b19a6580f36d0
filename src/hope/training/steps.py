"""The loop that every network trained here goes through: a step, what is looked at now and then, and checkpoints."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hope.domain.progress import Progress
from hope.training.checkpoints import RunState

LOG = "log.jsonl"
CHECKPOINT_STEPS = 100
CHECKPOINT_SECONDS = 600.0
"""A run that is killed loses at most so many steps, or so much time."""


@dataclass(frozen=True)
class Loop:
    """What differs between the runs of different networks.

    Attributes:
        steps: of the whole run.
        last: the step after which this call ends, with a checkpoint.
        look_every: steps between two looks at cases that are kept aside.
        loss: the loss of the state's next step, with its gradient still to be taken.
        rate: learning rate of a step.
        clip: largest norm of the gradient.
        keep: how much of the averaged weights a step keeps at most.
        after_step: called after each step.
        message: what progress is told every ten steps.
        look: called after every ``look_every``-th step and the last.
        save: writes a checkpoint.
    """

    steps: int
    last: int
    look_every: int
    loss: Callable[[], Tensor]
    rate: Callable[[int], float]
    clip: float
    keep: float
    after_step: Callable[[Tensor], None]
    message: Callable[[], str]
    look: Callable[[], None]
    save: Callable[[], None]


def run_loop(state: RunState, loop: Loop, progress: Progress) -> None:
    """Take the steps from the state's own to ``loop.last``.

    Args:
        state: its network is in training mode and on its device.
        loop: what to do.
        progress: called every ten steps.
    """
    started, before, kept_at = time.monotonic(), state.seconds, time.monotonic()
    while state.step < loop.last:
        loss = loop.loss()
        take_step(state, loss, loop)
        state.seconds = before + time.monotonic() - started
        loop.after_step(loss.detach())
        if state.step % 10 == 0:
            progress(loop.message(), state.step / loop.steps)
        if state.step % loop.look_every == 0 or state.step == loop.steps:
            loop.look()
        late = time.monotonic() - kept_at > CHECKPOINT_SECONDS
        if state.step % CHECKPOINT_STEPS == 0 or state.step == loop.last or late:
            loop.save()
            kept_at = time.monotonic()


def take_step(state: RunState, loss: Tensor, loop: Loop) -> None:
    """One step of the optimiser, after which the averaged weights follow."""
    for group in state.optimiser.param_groups:
        group["lr"] = loop.rate(state.step)
    state.optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(state.network.parameters(), loop.clip)
    state.optimiser.step()
    state.step += 1
    _follow(state.average, state.network, state.step, loop.keep)


@torch.no_grad()
def _follow(average: nn.Module, network: nn.Module, step: int, most: float) -> None:
    """Move the averaged weights a little toward the trained ones."""
    keep = min(most, (1 + step) / (10 + step))
    for kept, new in zip(average.parameters(), network.parameters(), strict=True):
        kept.lerp_(new, 1 - keep)


def append_log(folder: Path, entry: dict[str, Any]) -> None:
    """Add a line to the run's ``log.jsonl``."""
    with (folder / LOG).open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(entry) + "\n")
