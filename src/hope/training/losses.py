"""The segmentation loss: cross-entropy plus soft Dice, for voxels of which a set of labels is known.

A label of another scheme is the set of our labels that it may be: an adult's necrotic core is NET or CC. Such a voxel
is right when the probabilities of the set's members add up to one, and it must not teach how they share it. Two losses
do that: cross-entropy of the summed probability, and soft Dice of each label over the voxels where that label is
decided.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hope.domain.labels import CC, NET, PEDS, REGIONS, label_set

SCORED: tuple[tuple[int, ...], ...] = (
    *((label.value,) for label in PEDS.labels),
    (NET, CC),
    REGIONS["TC"],
    REGIONS["WT"],
)
"""Labels and regions whose Dice is part of the loss. NET with CC is what adults' cases say of a core that is dark."""


def members_of(sets: Tensor, classes: int) -> Tensor:
    """Which classes belong to each voxel's bit set.

    Args:
        sets: (n, x, y, z) uint8 bit sets, see ``LabelSchema.label_sets``.
        classes: how many there are, background included.

    Returns:
        (n, classes, x, y, z) bool.
    """
    bits = torch.arange(classes, device=sets.device, dtype=torch.int32).view(1, -1, 1, 1, 1)
    return (sets[:, None].to(torch.int32) >> bits) & 1 == 1


def even_logits(logits: Tensor, member: Tensor) -> Tensor:
    """Give the members of every voxel's set equal logits that keep the set's summed probability.

    The gradient of whatever follows is the same for each member: it moves the set against the rest, and never one
    member against another. (The plain sum of softmax probabilities would push most the member that already leads.) A
    set of one member is left as it is.

    Args:
        logits: (n, classes, x, y, z) float.
        member: (n, classes, x, y, z) bool, at least one true for each voxel.
    """
    count = member.sum(dim=1, keepdim=True)
    several = member & (count > 1)
    if not bool(several.any()):
        return logits
    joint = logits.masked_fill(~member, float("-inf")).logsumexp(dim=1, keepdim=True)
    mean = (logits * member).sum(dim=1, keepdim=True) / count
    # The value of the joint logit with the gradient of the members' mean.
    even = joint.detach() + mean - mean.detach() - torch.log(count.to(logits.dtype))
    return torch.where(several, even, logits)


def segmentation_loss(logits: Tensor, sets: Tensor) -> Tensor:
    """Cross-entropy plus one minus the mean soft Dice of the labels and regions present in the batch.

    Args:
        logits: (n, 5, x, y, z) float; background and the peds labels.
        sets: (n, x, y, z) uint8 bit sets of the peds values that each voxel may have; none is empty.
    """
    member = members_of(sets, logits.shape[1])
    logits = even_logits(logits, member)
    log_probability = F.log_softmax(logits, dim=1)
    entropy = -log_probability.masked_fill(~member, float("-inf")).logsumexp(dim=1).mean()
    probability = log_probability.exp()
    scores = []
    for values in SCORED:
        inside = label_set(*values)
        truth = sets & (0xFF ^ inside) == 0
        decided = truth | (sets & inside == 0)
        present = truth.sum()
        if present > 0:
            predicted = probability[:, list(values)].sum(dim=1) * decided
            overlap = (predicted * truth).sum()
            scores.append((2 * overlap + 1) / (predicted.sum() + present + 1))
    if not scores:
        return entropy
    return entropy + 1 - torch.stack(scores).mean()
