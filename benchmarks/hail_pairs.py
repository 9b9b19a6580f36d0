"""What harmonisation could do if nothing held it back: synthetic pairs with known truth, without the anatomy check.

python benchmarks/hail_pairs.py [--bundle FOLDER] [--count 24]

`benchmarks/harmonize.py pairs` measures the same with the check, which passes originals on. Here every image counts as
the method made it; the last column says how many of them the check would refuse. `truth` is the true render itself: its
edges differ from the source's because its contrast does: no method can be near it and above it in edge SSIM.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
from harmonize import as_case, relative, show, wasserstein
from machine import machine

from hope.domain.case import SEQUENCES
from hope.domain.progress import silent
from hope.models.bundle import BUNDLED, read_bundle
from hope.models.hail.choose import harmonizer_of
from hope.stages.harmonize.anatomy_check import guard
from hope.stages.harmonize.edges import Edges
from hope.stages.harmonize.histogram import HistogramHarmonizer
from hope.stages.harmonize.lesion_prior import healthy_brain, regions_of
from hope.synthesis.style_pairs import style_pair

SEED = 990_007
"""Neither the training (1) nor the looks at held-out groups during it (990,003)."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bundle", type=Path, default=BUNDLED / "hail-starter")
    parser.add_argument("--count", type=int, default=24)
    chosen = parser.parse_args()
    print(machine())
    methods = {
        "hail": harmonizer_of(read_bundle(chosen.bundle), "cpu", healthy_brain),
        "histogram": HistogramHarmonizer(),
    }
    table = defaultdict(list)
    for index in range(chosen.count):
        pair = style_pair(SEED, index)
        brain, grid = pair.source_case.mask, pair.source_case.grid
        source = as_case(pair.source, brain, grid, "source")
        target = as_case(pair.target, pair.target_case.mask, grid, "target")
        healthy = regions_of(source).healthy
        images = {"identity": ({s: v.data for s, v in source.images.items()}, None)}
        for name, harmonizer in methods.items():
            style = harmonizer.learn(target)
            passes = guard(source, style)
            done = harmonizer.apply(source, style, silent)
            images[name] = ({s: v.data for s, v in done.items()}, {s: passes(s, v) for s, v in done.items()})
        images["truth"] = (dict(zip(SEQUENCES, pair.truth, strict=True)), None)
        for channel, s in enumerate(SEQUENCES):
            truth = relative(pair.truth[channel], healthy)
            peak = float(np.percentile(truth[brain], 99.9))
            edges = Edges(source.images[s], brain)
            for name, (data, passed) in images.items():
                if s not in data:
                    continue
                mine = relative(data[s], healthy)
                error = max(float(np.mean((mine - truth)[brain] ** 2)), 1e-12)
                table[name, str(s)].append(
                    [
                        10 * np.log10(peak**2 / error) if name != "truth" else np.inf,
                        wasserstein(mine[brain], truth[brain]),
                        edges.similarity(np.ascontiguousarray(data[s][edges.box])),
                        100 * (not passed[s]) if passed else 0,
                    ]
                )
    show(
        f"{chosen.count} pairs, no check",
        ("PSNR dB", "Wasserstein", "edge SSIM", "refusable %"),
        dict(sorted(table.items())),
    )


if __name__ == "__main__":
    main()
