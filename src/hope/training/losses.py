"""Losses: cross-entropy plus soft Dice over the labels and the regions that are scored."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hope.domain.labels import PEDS, REGIONS

SCORED: tuple[tuple[int, ...], ...] = (*((label.value,) for label in PEDS.labels), REGIONS["TC"], REGIONS["WT"])


def segmentation_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy plus one minus the mean soft Dice of labels and regions present in the batch.

    Args:
        logits: (n, 5, x, y, z) float.
        labels: (n, x, y, z) int64 peds values.
    """
    entropy = F.cross_entropy(logits, labels)
    probability = logits.softmax(dim=1)
    scores = []
    for values in SCORED:
        predicted = probability[:, list(values)].sum(dim=1)
        truth = torch.isin(labels, torch.tensor(values, device=labels.device)).to(predicted.dtype)
        present = truth.sum()
        if present > 0:
            overlap = (predicted * truth).sum()
            scores.append((2 * overlap + 1) / (predicted.sum() + present + 1))
    if not scores:
        return entropy
    return entropy + 1 - torch.stack(scores).mean()
