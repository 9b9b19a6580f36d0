"""The rule by which `benchmarks/platform_flat.py` decides whether something grows."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from process_series import Sample, growth

DAY = 2400.0
Value = Callable[[float], float]


def series(
    descriptors: Value = lambda _: 30, memory: Value = lambda _: 100, store: Value = lambda _: 1
) -> list[Sample]:
    """Forty looks within a simulated day; the figures as functions of the share of it."""
    return [
        Sample(60.0 * n, round(descriptors(n / 40)), 20, 120.0, memory(n / 40), store_mib=store(n / 40))
        for n in range(40)
    ]


def grown(samples: list[Sample]) -> list[str]:
    return [line.split(":")[0] for line in growth(samples, day_seconds=DAY, memory_mib=10, size_mib=10)]


def test_what_fills_at_first_and_then_comes_and_goes_is_flat() -> None:
    assert grown(series(lambda at: min(50, 20 + 200 * at), lambda at: min(100, 400 * at), lambda at: at % 0.1)) == []


@pytest.mark.parametrize(
    ("samples", "names"),
    [
        (series(descriptors=lambda at: 30 + 10 * at), ["descriptors"]),
        (series(memory=lambda at: 100 + 11 * at), ["pss_mib"]),
        (series(memory=lambda at: 100 + 9 * at), []),
        (series(store=lambda at: 11 * at), ["store_mib"]),
    ],
)
def test_what_grows_is_named(samples: list[Sample], names: list[str]) -> None:
    assert grown(samples) == names


def test_a_few_samples_tell_nothing() -> None:
    assert "too few" in growth(series()[:7], day_seconds=DAY, memory_mib=10, size_mib=10)[0]
