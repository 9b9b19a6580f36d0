"""The loss with sets of labels: right when the set's sum is right, and silent about how its members share it."""

from __future__ import annotations

import pytest
import torch

from hope.domain.labels import CC, ED, ET, NET, label_set
from hope.training.losses import even_logits, members_of, segmentation_loss

CORE = label_set(NET, CC)


def sets_of(labels: torch.Tensor) -> torch.Tensor:
    return (1 << labels).to(torch.uint8)


def test_loss_prefers_the_truth() -> None:
    labels = torch.randint(0, 5, (1, 6, 6, 6), generator=torch.Generator().manual_seed(1))
    right = torch.nn.functional.one_hot(labels, 5).movedim(-1, 1).float() * 12
    assert float(segmentation_loss(right, sets_of(labels))) < 0.05
    assert float(segmentation_loss(-right, sets_of(labels))) > 2
    assert torch.isfinite(segmentation_loss(right, sets_of(torch.zeros_like(labels))))


def test_a_hand_made_voxel_of_a_set_costs_what_its_summed_probability_costs() -> None:
    probability = torch.tensor([0.1, 0.1, 0.5, 0.2, 0.1]).view(1, 5, 1, 1, 1)
    sets = torch.full((1, 1, 1, 1), CORE, dtype=torch.uint8)
    # Cross-entropy of 0.5 + 0.2; Dice of NET-or-CC, TC and WT, for NET and CC themselves are undecided.
    dice = [(2 * p + 1) / (p + 1 + 1) for p in (0.7, 0.8, 0.9)]
    overlap_only = [(2 * s + 1) / (s + 2) for s in (0.7, 0.8, 0.9)]
    assert dice == overlap_only
    expected = -torch.log(torch.tensor(0.7)) + 1 - torch.tensor(dice).mean()
    assert float(segmentation_loss(probability.log(), sets)) == pytest.approx(float(expected), abs=1e-6)


@pytest.mark.parametrize("shift", [-4.0, -0.3, 0.0, 1.0, 5.0])
def test_no_gradient_prefers_one_member_of_a_set(shift: float) -> None:
    """Neither where the members are equal nor where one leads; the whole set is still pulled up."""
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn((2, 5, 4, 4, 4), generator=generator)
    logits[:, NET] += shift
    logits.requires_grad_()
    labels = torch.randint(0, 5, (2, 4, 4, 4), generator=generator)
    sets = sets_of(labels)
    core = (labels == NET) | (labels == CC)
    sets[core] = CORE
    segmentation_loss(logits, sets).backward()
    gradient = logits.grad
    assert gradient is not None
    assert torch.equal(gradient[:, NET][core], gradient[:, CC][core])
    assert (gradient[:, NET][core] < 0).all()
    assert (gradient[:, ED][core] > 0).all()


def test_moving_probability_between_members_changes_nothing() -> None:
    sets = torch.full((1, 2, 2, 2), CORE, dtype=torch.uint8)
    losses = []
    for net in (0.05, 0.3, 0.55):
        probability = torch.tensor([0.2, 0.1, net, 0.6 - net, 0.1]).view(1, 5, 1, 1, 1).expand(1, 5, 2, 2, 2)
        losses.append(float(segmentation_loss(probability.log(), sets)))
    assert losses == pytest.approx([losses[0]] * 3, abs=1e-6)


def test_decided_voxels_are_left_as_they_are() -> None:
    logits = torch.randn((1, 5, 3, 3, 3))
    sets = torch.full((1, 3, 3, 3), label_set(ET), dtype=torch.uint8)
    assert even_logits(logits, members_of(sets, 5)) is logits
    mixed = sets.clone()
    mixed[0, 0, 0, 0] = CORE
    even = even_logits(logits, members_of(mixed, 5))
    assert torch.equal(even[0, :, 1:], logits[0, :, 1:])
    assert torch.allclose(even.softmax(1)[0, [0, 1, 4], 0, 0, 0], logits.softmax(1)[0, [0, 1, 4], 0, 0, 0], atol=1e-6)


def test_undecided_voxels_do_not_count_against_a_label() -> None:
    """A network that says CC where the truth is NET or CC loses nothing of the Dice of NET."""
    labels = torch.zeros((1, 4, 4, 4), dtype=torch.int64)
    labels[0, :2, 0] = NET
    sets = sets_of(labels)
    sets[0, 2:, 0] = CORE
    says = labels.clone()
    says[0, 2:, 0] = CC
    right = torch.nn.functional.one_hot(says, 5).movedim(-1, 1).float() * 14
    assert float(segmentation_loss(right, sets)) < 0.01
