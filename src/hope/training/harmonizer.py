"""The training of our harmonizer: reproducible, resumable, logged, on synthetic pairs alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hope.domain.progress import Progress
from hope.models.hail.network import TISSUES, HailNetwork, apply_curve
from hope.training.checkpoints import Checkpoint, learning_rate_at, write_checkpoint
from hope.training.harmonizer_config import HarmonizerConfig
from hope.training.harmonizer_pool import Group, TrainingPair, VoxelSample, draw_pair, draw_sample, make_group
from hope.training.steps import Loop, append_log, run_loop

HOLD_OUT_SEED = 990_003
"""Groups of this series are only ever looked at, never trained on."""

_LESION_WEIGHT = 3.0
"""A tumour is a small part of the brain and what matters most."""
_SHADING_WEIGHT = 0.5
_TISSUE_WEIGHT = 0.5


@dataclass
class HarmonizerState:
    """What a checkpoint holds besides the configuration."""

    network: HailNetwork
    average: HailNetwork
    optimiser: torch.optim.Optimizer
    step: int = 0
    seconds: float = 0.0


def start(config: HarmonizerConfig) -> HarmonizerState:
    """A fresh, seeded state."""
    torch.manual_seed(config.seed)
    network, average = (HailNetwork(config.code, config.width, config.widths) for _ in range(2))
    average.load_state_dict(network.state_dict())
    return HarmonizerState(
        network, average, torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=1e-4)
    )


def save_checkpoint(state: HarmonizerState, config: HarmonizerConfig, folder: Path) -> None:
    """Write ``checkpoint.pt`` atomically: a run that is killed keeps its last good one."""
    write_checkpoint(state, config.to_json(), folder)


def load_checkpoint(folder: Path) -> tuple[HarmonizerState, HarmonizerConfig]:
    """Read a run's checkpoint; nothing in it is unpickled beyond tensors and plain values.

    Raises:
        InputError: if there is none, or it is damaged.
    """
    kept = Checkpoint(folder, "harmonizer")
    try:
        config = HarmonizerConfig.from_json(kept.config)
    except (LookupError, TypeError, ValueError) as error:
        raise kept.refusal() from error
    state = start(config)
    kept.restore(state)
    return state, config


def learning_rate(config: HarmonizerConfig, step: int) -> float:
    """In each of the two parts a warm-up and a cosine of its own."""
    early = config.voxel_sample_steps
    step, steps = (step, early) if step < early else (step - early, config.steps - early)
    return learning_rate_at(config.learning_rate, step, steps)


def _batch(pairs: Sequence[TrainingPair] | Sequence[VoxelSample]) -> dict[str, Tensor]:
    names = pairs[0].__dataclass_fields__
    return {name: torch.from_numpy(np.stack([getattr(e, name) for e in pairs])) for name in names}


def harmonized_voxels(network: HailNetwork, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """The network's answer at the voxels of a batch, its shading fields, and the codes (n, 2, 4, code)."""
    codes = [network.code(batch[name], batch["percentiles"][:, n]) for n, name in enumerate(("source", "target"))]
    curve, shading = network(batch["source"], *codes)
    size = torch.tensor(batch["source"].shape[2:], dtype=torch.float32)[None, :, None]
    place = (2 * batch["places"] + 1) / size - 1
    grid = place.flip(1).transpose(1, 2)[:, :, None, None]
    there = F.grid_sample(shading, grid, align_corners=False, padding_mode="border")[..., 0, 0]
    return apply_curve(batch["x"] * torch.exp(-there), curve), shading, torch.stack(codes, dim=1)


def loss_of(network: HailNetwork, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
    """What is minimised, and its parts.

    Distance to the truth in units of the target's median, more for tumour; distance of the shading's logarithm; and
    distance of the tissues in both codes.
    """
    y, shading, codes = harmonized_voxels(network, batch)
    wrong, missed = _distances(y, codes, batch)
    brain = (batch["source"][:, 4:5] >= 0.5) * (batch["source"][:, :4] > 0)
    shaded = ((shading - batch["shading"]).abs() * brain).sum() / brain.sum().clamp_min(1)
    parts = {"voxels": wrong.item(), "shading": shaded.item(), "tissue": missed.item()}
    return wrong + _SHADING_WEIGHT * shaded + _TISSUE_WEIGHT * missed, parts


def loss_of_samples(network: HailNetwork, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
    """As ``loss_of``, for single voxels, where nothing is known of shading."""
    voxels, percentiles = batch["voxels"], batch["percentiles"]
    codes = torch.stack([network.code_of_voxels(voxels[:, n], percentiles[:, n]) for n in range(2)], dim=1)
    y = apply_curve(batch["x"], network.curves(codes[:, 0], codes[:, 1]))
    wrong, missed = _distances(y, codes, batch)
    return wrong + _TISSUE_WEIGHT * missed, {"voxels": wrong.item(), "tissue": missed.item()}


def _distances(y: Tensor, codes: Tensor, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """How far the answer lies from the truth, and the tissues of the codes from the true ones."""
    counts = batch["counts"].to(y.dtype)
    weight = counts[:, :, None] * (1 + (_LESION_WEIGHT - 1) * batch["lesion"].to(y.dtype))[:, None]
    wrong = (F.smooth_l1_loss(y, batch["y"], reduction="none", beta=0.02) * weight).sum() / weight.sum().clamp_min(1)
    there = (batch["percentiles"][..., -1:] > 0).to(y.dtype)
    missed = ((codes[..., :TISSUES] - batch["tissue"]).abs() * there).sum() / (TISSUES * there.sum()).clamp_min(1)
    return wrong, missed


def hold_out(config: HarmonizerConfig) -> list[TrainingPair]:
    """Exercises of groups that no run is trained on."""
    other = HarmonizerConfig(**{**config.to_json(), "seed": HOLD_OUT_SEED, "widths": config.widths})
    groups = [make_group(other, index) for index in range(config.held_out)]
    rng = np.random.default_rng(HOLD_OUT_SEED)
    return [draw_pair(rng, groups, config) for _ in range(6 * config.held_out)]


@torch.no_grad()
def hold_out_error(network: HailNetwork, pairs: Sequence[TrainingPair]) -> dict[str, float]:
    """Mean distance to the truth with the network, and without one, over sequences that are there."""
    network.eval()
    batch = _batch(pairs)
    y, _, _ = harmonized_voxels(network, batch)
    network.train()
    counts = batch["counts"]
    return {
        "harmonized": round(float((y - batch["y"]).abs().mean(2)[counts].mean()), 4),
        "identity": round(float((batch["x"] - batch["y"]).abs().mean(2)[counts].mean()), 4),
    }


def train(
    state: HarmonizerState,
    config: HarmonizerConfig,
    folder: Path,
    groups: Sequence[Group],
    progress: Progress,
    stop_at: int | None = None,
) -> HarmonizerState:
    """Train until ``config.steps``; checkpoints every 100 steps, looks at held-out pairs every 250.

    Args:
        state: fresh (``start``) or resumed (``load_checkpoint``).
        config: settings.
        folder: where checkpoint and log go.
        groups: the pool.
        progress: called every ten steps.
        stop_at: leave with a checkpoint after this step, to be resumed; None goes to the end.
    """
    last = min(config.steps, stop_at or config.steps)
    state.network.train()
    held_out = hold_out(config)
    recent: list[dict[str, float]] = []

    def loss() -> Tensor:
        rng = np.random.default_rng(np.random.SeedSequence([config.seed, 7, state.step]))
        if state.step < config.voxel_sample_steps:
            samples = [draw_sample(rng, groups, config) for _ in range(config.voxel_samples_per_step)]
            total, parts = loss_of_samples(state.network, _batch(samples))
        else:
            pairs = [draw_pair(rng, groups, config) for _ in range(config.batch)]
            total, parts = loss_of(state.network, _batch(pairs))
        recent.append(parts)
        return total

    def message() -> str:
        voxels = float(np.mean([parts["voxels"] for parts in recent[-50:]]))
        return f"train: loss {voxels:.4f}, tissue {recent[-1]['tissue']:.4f}"

    def look() -> None:
        found = hold_out_error(state.average, held_out) if held_out else {}
        figures = {name: round(value, 4) for name, value in recent[-1].items()}
        append_log(folder, {"step": state.step, **figures, "hold_out": found, "seconds": round(state.seconds)})
        progress(f"train: held out {found}", state.step / config.steps)

    loop = Loop(
        steps=config.steps,
        last=last,
        look_every=250,
        loss=loss,
        rate=lambda step: learning_rate(config, step),
        clip=1.0,
        keep=0.995,
        after_step=lambda _loss: None,
        message=message,
        look=look,
        save=lambda: save_checkpoint(state, config, folder),
    )
    run_loop(state, loop, progress)
    return state
