"""The training loop: reproducible, resumable, logged."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from hope.domain.labels import region_mask
from hope.domain.progress import Progress
from hope.models.bundle import WEIGHTS, Bundle
from hope.models.networks import build_network
from hope.training.augment import draw_patch
from hope.training.checkpoints import Checkpoint, learning_rate_at, write_checkpoint
from hope.training.config import TrainingConfig
from hope.training.limits import forget_limits, write_limits
from hope.training.losses import segmentation_loss
from hope.training.pictures import EXAMPLES, PROGRESS, draw_examples, draw_progress
from hope.training.pool import CasePool, Sample, make_sample

LOG = "log.jsonl"
HOLD_OUT_SEED = 990_001
"""Synthetic cases of this series are only ever looked at, never trained on."""


@dataclass
class TrainingState:
    """What a checkpoint holds besides the configuration."""

    network: nn.Module
    average: nn.Module
    optimiser: torch.optim.Optimizer
    step: int = 0
    seconds: float = 0.0


def _new_state(config: TrainingConfig) -> TrainingState:
    torch.manual_seed(config.seed)
    network = build_network("UNet", config.network_arguments())
    average = build_network("UNet", config.network_arguments())
    average.load_state_dict(network.state_dict())
    optimiser = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=1e-4)
    return TrainingState(network, average, optimiser)


def save_checkpoint(state: TrainingState, config: TrainingConfig, folder: Path) -> None:
    """Write ``checkpoint.pt`` atomically: a run that is killed keeps its last good one."""
    write_checkpoint(state, config.to_json(), folder)


def load_checkpoint(folder: Path) -> tuple[TrainingState, TrainingConfig]:
    """Read a run's checkpoint; nothing in it is unpickled beyond tensors and plain values.

    Raises:
        InputError: if there is none, or it is damaged.
    """
    kept = Checkpoint(folder, "segmenter")
    try:
        config = TrainingConfig.from_json(kept.config)
    except (LookupError, TypeError, ValueError) as error:
        raise kept.refusal() from error
    state = _new_state(config)
    kept.restore(state)
    return state, config


def learning_rate(config: TrainingConfig, step: int) -> float:
    """Warm-up and cosine over the whole run."""
    return learning_rate_at(config.learning_rate, step, config.steps)


def _batch(pool: CasePool, config: TrainingConfig, step: int) -> tuple[Tensor, Tensor]:
    """The patches of one step; they depend on seed and step alone."""
    rng = np.random.default_rng(np.random.SeedSequence([config.seed, 7, step]))
    xs, ys = [], []
    for _ in range(config.batch):
        use_real = bool(pool.real) and rng.random() < config.real_share
        choice = int(rng.integers(2**31))
        sample = pool.real[choice % len(pool.real)] if use_real else pool.get(step, choice)
        x, y = draw_patch(rng, sample, config)
        xs.append(torch.from_numpy(x))
        ys.append(torch.from_numpy(y))
    return torch.stack(xs), torch.stack(ys)


@torch.no_grad()
def _follow(average: nn.Module, network: nn.Module, step: int) -> None:
    """Move the averaged weights a little toward the trained ones."""
    keep = min(0.995, (1 + step) / (10 + step))
    for kept, new in zip(average.parameters(), network.parameters(), strict=True):
        kept.lerp_(new, 1 - keep)


@torch.no_grad()
def hold_out_answers(network: nn.Module, samples: Sequence[Sample], device: str) -> list[npt.NDArray[np.uint8]]:
    """What the network says of whole samples: peds labels (i, j, k)."""
    network.eval()
    answers = []
    for images, _ in samples:
        x = torch.from_numpy(images.astype(np.float32))[None].to(device)
        with torch.autocast(device, dtype=torch.bfloat16):
            logits = network(x)
        answers.append(logits[0].float().argmax(0).to("cpu", torch.uint8).numpy())
    network.train()
    return answers


def hold_out_dice(samples: Sequence[Sample], answers: Sequence[npt.NDArray[np.uint8]]) -> dict[str, float]:
    """Mean Dice of WT, TC and ET over whole samples whose truth is not empty."""
    scores: dict[str, list[float]] = {"WT": [], "TC": [], "ET": []}
    for (_, labels), answer in zip(samples, answers, strict=True):
        for region, values in scores.items():
            truth, found = region_mask(labels, region), region_mask(answer, region)
            if truth.any():
                values.append(float(2 * (truth & found).sum() / (truth.sum() + found.sum())))
    return {region: round(float(np.mean(values)), 4) for region, values in scores.items() if values}


def _log(folder: Path, entry: dict[str, Any]) -> None:
    with (folder / LOG).open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(entry) + "\n")


def train(
    state: TrainingState,
    config: TrainingConfig,
    folder: Path,
    progress: Progress,
    real: Sequence[Sample] = (),
    stop_at: int | None = None,
) -> TrainingState:
    """Train until ``config.steps``; checkpoints every 100 steps, looks at held-out synthesis every 250.

    ``log.jsonl``, ``progress.png`` and ``examples.png`` in the folder say how it went; at the end come the files of
    ``hope.training.limits``.

    Args:
        state: fresh (``start``) or resumed (``load_checkpoint``).
        config: settings.
        folder: where checkpoint and log go.
        progress: told every ten steps.
        real: the user's own labelled cases, on the model's grid.
        stop_at: leave with a checkpoint after this step, to be resumed; None goes to the end.
    """
    last = min(config.steps, stop_at or config.steps)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    state.network.to(device).train()
    state.average.to(device)
    # A resumed optimiser was read before the network moved; loading its own state again takes it to the device.
    state.optimiser.load_state_dict(state.optimiser.state_dict())
    held_out = [make_sample(HOLD_OUT_SEED, index) for index in range(config.held_out)]
    started, before = time.monotonic(), state.seconds
    losses: list[float] = []
    if state.step < last:
        forget_limits(folder)
    with CasePool(config, real) as pool:
        while state.step < last:
            x, y = _batch(pool, config, state.step)
            for group in state.optimiser.param_groups:
                group["lr"] = learning_rate(config, state.step)
            with torch.autocast(device, dtype=torch.bfloat16):
                logits = state.network(x.to(device))
            loss = segmentation_loss(logits.float(), y.to(device))
            state.optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(state.network.parameters(), 5.0)
            state.optimiser.step()
            state.step += 1
            _follow(state.average, state.network, state.step)
            losses.append(float(loss.detach()))
            state.seconds = before + time.monotonic() - started
            if state.step % 10 == 0:
                progress(f"train: loss {np.mean(losses[-50:]):.3f}", state.step / config.steps)
            if state.step % 250 == 0 or state.step == config.steps:
                answers = hold_out_answers(state.average, held_out, device)
                dice = hold_out_dice(held_out, answers)
                entry = {"step": state.step, "loss": round(float(np.mean(losses[-250:])), 4), "hold_out_dice": dice}
                _log(folder, {**entry, "seconds": round(state.seconds)})
                draw_progress(folder / LOG, folder / PROGRESS)
                draw_examples(held_out, answers, folder / EXAMPLES)
                progress(f"train: held-out Dice {dice}", state.step / config.steps)
            if state.step % 100 == 0 or state.step == last:
                save_checkpoint(state, config, folder)
        if state.step >= config.steps:
            write_limits(state.average, pool, config, folder, progress)
    return state


def start(config: TrainingConfig, base: Bundle | None = None) -> TrainingState:
    """A fresh, seeded state.

    Args:
        config: settings.
        base: a bundle of the same network whose weights to start from; None starts from random ones.

    Raises:
        BundleError: if its files are damaged.
    """
    state = _new_state(config)
    if base:
        base.verify()
        weights = {name: tensor.float() for name, tensor in load_file(base.folder / WEIGHTS).items()}
        for network in (state.network, state.average):
            network.load_state_dict(weights)
    return state


def use_threads(count: int) -> None:
    """Limit the CPU threads of the network."""
    torch.set_num_threads(count)
