"""The training loop: reproducible, resumable, logged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from hope.domain.progress import Progress
from hope.models.bundle import WEIGHTS, Bundle
from hope.models.combine import ARCHITECTURE as MEAN
from hope.models.combine import PREFIX
from hope.models.networks import build_network
from hope.training.augment import draw_patch
from hope.training.checkpoints import Checkpoint, learning_rate_at, write_checkpoint
from hope.training.config import TrainingConfig
from hope.training.hold_out import HoldOut
from hope.training.limits import forget_limits, write_limits
from hope.training.losses import segmentation_loss
from hope.training.pictures import EXAMPLES, PROGRESS, draw_examples, draw_progress
from hope.training.pool import CasePool, make_sample
from hope.training.precision import half_precision
from hope.training.steps import LOG, Loop, append_log, run_loop
from hope.training.stored import Sample

LOSSES, POOL = "losses.txt", "pool"
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


def new_state(config: TrainingConfig) -> TrainingState:
    """A seeded state with random weights, before its first step."""
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
    state = new_state(config)
    kept.restore(state)
    return state, config


def learning_rate(config: TrainingConfig, step: int) -> float:
    """Warm-up and cosine over the whole run."""
    return learning_rate_at(config.learning_rate, step, config.steps)


def _batch(pool: CasePool, config: TrainingConfig, step: int) -> tuple[Tensor, Tensor]:
    """The patches of one step; they depend on seed and step alone."""
    rng = np.random.default_rng(np.random.SeedSequence([config.seed, 7, step]))
    drawn = [draw_patch(rng, pool.draw(step, rng), config.patch, config.augmentation) for _ in range(config.batch)]
    return torch.stack([torch.from_numpy(x) for x, _ in drawn]), torch.stack([torch.from_numpy(y) for _, y in drawn])


@torch.no_grad()
def _blend(average: nn.Module, base: Mapping[str, Tensor], share: float) -> None:
    """Move the averaged weights toward those that the run started from."""
    for name, kept in average.state_dict().items():
        kept.lerp_(base[name].to(kept.device, kept.dtype), share)


class _Losses:
    """The loss of every step, in a file that a resumed run cuts back to its checkpoint."""

    def __init__(self, folder: Path, step: int) -> None:
        self._path = folder / LOSSES
        lines = self._path.read_text(encoding="ascii").splitlines()[:step] if self._path.is_file() else []
        self.values = [float(line) for line in lines]
        self._path.write_text("".join(f"{line}\n" for line in lines), encoding="ascii")
        self._stream = self._path.open("a", encoding="ascii", buffering=1)

    def add(self, loss: float) -> None:
        self.values.append(loss)
        self._stream.write(f"{loss!r}\n")

    def mean(self, last: int) -> float:
        return float(np.mean(self.values[-last:]))

    def close(self) -> None:
        self._stream.close()


def loss_of_step(state: TrainingState, config: TrainingConfig, pool: CasePool, device: str) -> Tensor:
    """The loss of the state's next step."""
    x, sets = _batch(pool, config, state.step)
    with half_precision(device):
        logits = state.network(x.to(device))
    return segmentation_loss(logits.float(), sets.to(device))


def _look(
    state: TrainingState, held_out: HoldOut, loss: float, folder: Path, device: str, progress: Progress, share: float
) -> None:
    """Score the cases that are kept aside, and keep figures and pictures in the run's folder."""
    scores, predictions = held_out.look(state.average, device)
    append_log(folder, {"step": state.step, "loss": round(loss, 4), **scores, "seconds": round(state.seconds)})
    draw_progress(folder / LOG, folder / PROGRESS)
    draw_examples(held_out.synthetic, predictions, folder / EXAMPLES)
    progress(f"train: held-out Dice {scores['hold_out_dice']}", share)


def train(
    state: TrainingState,
    config: TrainingConfig,
    folder: Path,
    progress: Progress,
    real: Mapping[str, Sequence[Path]] | None = None,
    stop_at: int | None = None,
    *,
    unseen: Sequence[Sample] = (),
    pool_folder: Path | None = None,
    base: Mapping[str, Tensor] | None = None,
) -> TrainingState:
    """Train until ``config.steps``; a checkpoint every 100 steps or ten minutes, a look at held-out cases now and then.

    ``log.jsonl``, ``progress.png`` and ``examples.png`` in the folder say how it went, ``losses.txt`` holds the loss of
    every step; at the end come the files of ``hope.training.limits``.

    Args:
        state: fresh (``start``) or resumed (``load_checkpoint``).
        config: settings.
        folder: where checkpoint and log go.
        progress: called every ten steps.
        real: files of real cases per kind, as ``CasePool`` takes them.
        stop_at: leave with a checkpoint after this step, to be resumed; None goes to the end.
        unseen: real cases that are not trained on, to follow the run.
        pool_folder: where synthetic cases are kept; None keeps them in the run's folder.
        base: weights that ``config.blend`` mixes into the averaged ones at the end.
    """
    last = min(config.steps, stop_at or config.steps)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    state.network.to(device).train()
    state.average.to(device)
    # A resumed optimiser was read before the network moved; loading its own state again takes it to the device.
    state.optimiser.load_state_dict(state.optimiser.state_dict())
    synthetic = [make_sample(HOLD_OUT_SEED, index) for index in range(config.held_out)]
    held_out = HoldOut(synthetic, unseen, config.spacing_mm)
    if state.step < last:
        forget_limits(folder)
    losses = _Losses(folder, state.step)
    with closing(losses), CasePool(config, pool_folder or folder / POOL, real) as pool:

        def look() -> None:
            if state.step == config.steps and base and config.blend:
                _blend(state.average, base, config.blend)
            _look(state, held_out, losses.mean(250), folder, device, progress, state.step / config.steps)

        loop = Loop(
            steps=config.steps,
            last=last,
            look_every=config.look_every,
            loss=lambda: loss_of_step(state, config, pool, device),
            rate=lambda step: learning_rate(config, step),
            clip=5.0,
            keep=config.keep,
            after_step=lambda loss: losses.add(float(loss)),
            message=lambda: f"train: loss {losses.mean(50):.3f}",
            look=look,
            save=lambda: save_checkpoint(state, config, folder),
        )
        run_loop(state, loop, progress)
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
    state = new_state(config)
    if base:
        weights = unet_weights(base)
        for network in (state.network, state.average):
            network.load_state_dict(weights)
    return state


def unet_weights(base: Bundle) -> dict[str, Tensor]:
    """The weights of one U-Net as float32: those of a bundle, or the mean of its members' where it has several.

    Raises:
        BundleError: if its files are damaged.
    """
    base.verify()
    weights = {name: tensor.float() for name, tensor in load_file(base.folder / WEIGHTS).items()}
    if base.architecture != MEAN:
        return weights
    members = range(int(base.arguments["members"]))
    first = f"{PREFIX}0."
    names = [name.removeprefix(first) for name in weights if name.startswith(first)]
    return {name: torch.stack([weights[f"{PREFIX}{n}.{name}"] for n in members]).mean(dim=0) for name in names}


def use_threads(count: int) -> None:
    """Limit the CPU threads of the network."""
    torch.set_num_threads(count)
