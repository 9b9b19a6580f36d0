"""What a network in training says of cases that it never trains on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from hope.domain.labels import REGIONS, label_set, region_mask, surely_in
from hope.training.precision import half_precision
from hope.training.stored import NON_ENHANCING, Sample, core_kind

LabelArray = npt.NDArray[np.uint8]
REGION_NAMES = ("WT", "TC", "ET")
BACKGROUND = label_set(0)


@dataclass(frozen=True)
class HoldOut:
    """Cases that are only looked at.

    Attributes:
        synthetic: of a series of its own.
        unseen: real cases that the run does not train on; empty where there are none.
        spacing_mm: isotropic voxel size of all of them.
    """

    synthetic: Sequence[Sample]
    unseen: Sequence[Sample] = field(default=())
    spacing_mm: float = 2.0

    def look(self, network: nn.Module, device: str) -> tuple[dict[str, dict[str, float]], list[LabelArray]]:
        """Scores of a network, and its answers to the synthetic cases.

        Returns:
            ``hold_out_dice`` and, where there are unseen cases, ``unseen_dice``: mean Dice per region; and the answers.
        """
        predictions = predictions_of(network, self.synthetic, device)
        scores = {"hold_out_dice": mean_dice(self.synthetic, predictions)}
        if self.unseen:
            said = predictions_of(network, self.unseen, device)
            scores["unseen_dice"] = mean_dice(self.unseen, said, empty_counts=True)
            hard = [n for n, (_, sets) in enumerate(self.unseen) if core_kind(sets) == NON_ENHANCING]
            if hard:
                core = mean_dice([self.unseen[n] for n in hard], [said[n] for n in hard])
                scores["unseen_dice"]["TC non-enhancing"] = core.get("TC", 0.0)
            ml = [float((prediction > 0).sum()) * self.spacing_mm**3 / 1000 for prediction in self._without(said)]
            if ml:
                scores["unseen_dice"]["ml without tumour"] = round(float(np.mean(ml)), 2)
        return scores, predictions

    def _without(self, predictions: Sequence[LabelArray]) -> list[LabelArray]:
        pairs = zip(self.unseen, predictions, strict=True)
        return [prediction for (_, sets), prediction in pairs if not (sets != BACKGROUND).any()]


@torch.no_grad()
def predictions_of(network: nn.Module, samples: Sequence[Sample], device: str) -> list[LabelArray]:
    """What the network says of whole samples: peds labels (i, j, k)."""
    network.eval()
    predictions = []
    for images, _ in samples:
        x = torch.from_numpy(_padded(images))[None].to(device)
        with half_precision(device):
            logits = network(x)
        i, j, k = images.shape[1:]
        predictions.append(logits[0, :, :i, :j, :k].float().argmax(0).to("cpu", torch.uint8).numpy())
    network.train()
    return predictions


def _padded(images: npt.NDArray[np.float16], multiple: int = 16) -> npt.NDArray[np.float32]:
    """Images in a block whose sides the network can halve as often as it has to; zeros after the end."""
    pads = [(0, -n % multiple) for n in images.shape[1:]]
    return np.pad(images.astype(np.float32), [(0, 0), *pads])


def mean_dice(
    samples: Sequence[Sample], predictions: Sequence[LabelArray], empty_counts: bool = False
) -> dict[str, float]:
    """Mean Dice of WT, TC and ET.

    Args:
        samples: with their truth.
        predictions: peds labels, one array a sample.
        empty_counts: a region that truth and answer both lack counts 1, and 0 where only the truth lacks it; without it
            such cases are left out.
    """
    scores: dict[str, list[float]] = {region: [] for region in REGION_NAMES}
    for (_, sets), prediction in zip(samples, predictions, strict=True):
        if empty_counts and not (sets != BACKGROUND).any():
            continue  # tumour-free cases have a figure of their own
        for region, values in scores.items():
            truth, found = surely_in(sets, REGIONS[region]), region_mask(prediction, region)
            if truth.any() or empty_counts:
                size = int(truth.sum() + found.sum())
                values.append(float(2 * (truth & found).sum() / size) if size else 1.0)
    return {region: round(float(np.mean(values)), 4) for region, values in scores.items() if values}
