"""Which harmonizer runs a bundle."""

from __future__ import annotations

from hope.models.bundle import Bundle
from hope.models.hail import published_runner
from hope.models.hail.runner import Guard, HailHarmonizer, Healthy, whole_brain
from hope.ports import Harmonizer


def harmonizer_of(
    bundle: Bundle, device: str = "auto", healthy: Healthy = whole_brain, guard: Guard | None = None
) -> Harmonizer:
    """The harmonizer that a bundle of kind harmonizer is for.

    Args:
        bundle: ours, or an imported one.
        device: auto, cpu, cuda or mps.
        healthy: where a style's percentiles are measured.
        guard: see ``HailHarmonizer``; the published design can do nothing by halves and is not asked.

    Raises:
        BundleError: if it is none, or damaged.
        InputError: if a GPU is asked for and there is none.
    """
    if bundle.architecture == published_runner.ARCHITECTURE:
        return published_runner.PublishedHarmonizer(bundle, device, healthy)
    return HailHarmonizer(bundle, device, healthy, guard)
