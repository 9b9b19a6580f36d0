"""What harmonisation does: to synthetic pairs whose truth is known, to real cases of different sources, to lesions.

python benchmarks/harmonize.py pairs [--method histogram] [--count 20]
python benchmarks/harmonize.py real DIRECTORY ... [--method histogram]  (case directories; a mask of the tumour if any)
python benchmarks/harmonize.py phantoms [--method histogram] [--count 1000]
python benchmarks/harmonize.py time CASE [--method histogram]

`pairs`: one anatomy in two styles, the second learnt from another anatomy; error against the true render. All three
figures are of relative intensities (1 is the median of the healthy brain), so that mere scaling counts for nothing.
`real`: every case is preprocessed and brought to the style of every case of another source (names without their
numbers tell sources apart). Distance is 1-Wasserstein between the two cases' intensities within atlas white and grey
matter, outside the tumour where a mask says where it is; "as stored" in the target's unit, "scaled" after each image
was divided by its median.
`phantoms`: a head with a bright ball at a random place, or none, against one without; a lesion that vanishes or appears
is counted.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt
from machine import machine
from starter import on_atlas, truth_of

from hope.domain.case import SEQUENCES, AlignedCase, HarmonizedCase, MRSequence
from hope.domain.grid import ATLAS_GRID, Grid
from hope.domain.progress import silent
from hope.domain.volume import Volume
from hope.formats.atlas import atlas_tissue
from hope.formats.nifti import read_scan
from hope.ports import Harmonizer
from hope.services import Services
from hope.settings import Settings
from hope.stages.harmonize.edges import Edges
from hope.stages.harmonize.harmonize import default_style, harmonize
from hope.stages.harmonize.lesion_prior import regions_of
from hope.stages.intake.intake import find_cases
from hope.synthesis.style_pairs import style_pair

Image = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Table = dict[tuple[str, str], list[list[float]]]


def harmonizer_of(method: str) -> Harmonizer:
    """The method that is measured."""
    return Services(Settings.from_environment()).harmonizer(method)


def as_case(images: Sequence[Image], mask: Mask, grid: Grid, name: str) -> AlignedCase:
    """Four images in channel order as an aligned case."""
    volumes = {s: Volume(np.asarray(image, np.float32), grid) for s, image in zip(SEQUENCES, images, strict=True)}
    return AlignedCase.in_place(name, volumes, Volume(mask, grid))


def relative(image: Image, healthy: Mask) -> Image:
    """In units of the healthy brain's median."""
    return image / np.float32(np.median(image[healthy]))


def wasserstein(one: Image, other: Image) -> float:
    """1-Wasserstein distance of two sets of values."""
    levels = np.linspace(0.25, 99.75, 200)
    return float(np.abs(np.percentile(one, levels) - np.percentile(other, levels)).mean())


def show(title: str, columns: Sequence[str], table: Table) -> None:
    """Print means over all cases."""
    print(f"\n{title}\n{'':24}" + "".join(f"{c:>14}" for c in columns))
    for (row, sequence), values in table.items():
        means = np.nanmean(np.array(values, dtype=float), axis=0)
        print(f"{row:18}{sequence:6}" + "".join(f"{m:14.3f}" for m in means))


def pairs(method: str, count: int) -> None:
    """Tables of error against the true render."""
    harmonizer, table = harmonizer_of(method), defaultdict(list)
    changed = 0
    for index in range(count):
        pair = style_pair(seed=9001, index=index)
        source = as_case(pair.source, pair.source_case.mask, pair.source_case.grid, "source")
        target = as_case(pair.target, pair.target_case.mask, pair.target_case.grid, "target")
        done = harmonize(source, harmonizer, harmonizer.learn(target))
        changed += sum(facts["changed"] for facts in done.details["sequences"].values())
        healthy, brain = regions_of(source).healthy, pair.source_case.mask
        for channel, s in enumerate(SEQUENCES):
            truth = relative(pair.truth[channel], healthy)
            peak = float(np.percentile(truth[brain], 99.9))
            edges = Edges(source.images[s], brain)
            for name, image in (("identity", source.images[s].data), (method, done.images[s].data)):
                mine = relative(image, healthy)
                error = float(np.mean((mine - truth)[brain] ** 2))
                kept = edges.similarity(np.ascontiguousarray(image[edges.box]))
                row = [10 * np.log10(peak**2 / error), wasserstein(mine[brain], truth[brain]), kept]
                table[name, str(s)].append(row)
    rows = {
        key: table[key] for key in sorted(table, key=lambda k: (k[0] != "identity", SEQUENCES.index(MRSequence(k[1]))))
    }
    show(f"{count} pairs, {changed} of {4 * count} images changed", ("PSNR dB", "Wasserstein", "edge SSIM"), rows)


def real_cases(folders: Sequence[Path]) -> Iterator[tuple[AlignedCase, Mask]]:
    """Cases on the atlas grid, and where their tumour is: nowhere, if no mask says so."""
    services = Services(Settings.from_environment())
    predictor = services.predictor(None)
    for source in find_cases(list(folders), {}):
        aligned = on_atlas(source, services, predictor)
        truth = truth_of(source, aligned)
        yield aligned, np.zeros(aligned.grid.shape, bool) if truth is None else truth.data > 0


def source_of(case_id: str) -> str:
    """Which release a case is from."""
    return case_id.rpartition("-")[0].rstrip("0123456789-") if "-" in case_id else case_id.partition("_")[0]


def real(method: str, folders: Sequence[Path]) -> None:
    """Tables of distances between sources, within tissue."""
    harmonizer, tissue = harmonizer_of(method), atlas_tissue()
    cases = list(real_cases(folders))
    distances, kept, changed, total = defaultdict(list), defaultdict(list), 0, 0
    for (one, tumour), (other, others) in product(cases, cases):
        if source_of(one.case_id) == source_of(other.case_id):
            continue
        done = harmonize(one, harmonizer, harmonizer.learn(other))
        ours, theirs = regions_of(one).healthy & ~tumour, regions_of(other).healthy & ~others
        white = ours & (tissue["wm"].data > 0.8)
        for s in SEQUENCES:
            total, changed = total + 1, changed + done.details["sequences"][s]["changed"]
            before, after, goal = one.images[s].data, done.images[s].data, other.images[s].data
            unit = float(np.median(goal[theirs]))
            for name in ("wm", "gm"):
                here, there = ours & (tissue[name].data > 0.8), theirs & (tissue[name].data > 0.8)
                wanted = goal[there] / unit
                stored = wasserstein(before[here] / unit, wanted)
                scaled = wasserstein(relative(before, ours)[here], wanted)
                mine = wasserstein(relative(after, ours)[here], wanted)
                raw = wasserstein(after[here] / unit, wanted)
                distances[name, str(s)].append([stored, raw, scaled, mine])
            edges = Edges(one.images[s], one.brain_mask.data)
            ratio = [
                float(image[tumour].mean() / image[white].mean()) if tumour.any() else np.nan
                for image in (before, after)
            ]
            change = abs(ratio[1] / ratio[0] - 1)
            kept[method, str(s)].append([edges.similarity(after[edges.box]), 100 * change])
            print(f"{one.case_id} -> {other.case_id} {s}: ratio {ratio[0]:.3f} -> {ratio[1]:.3f}", flush=True)
    title = f"{total} images, {changed} changed"
    show(title, ("as stored", "then", "scaled", "then"), distances)
    show("anatomy", ("edge SSIM", "contrast %"), kept)
    worst = {key: (min(v[0] for v in values), np.nanmax([v[1] for v in values])) for key, values in kept.items()}
    print("worst: " + ", ".join(f"{s} {edge:.3f} {change:.1f} %" for (_, s), (edge, change) in worst.items()))


def phantoms(method: str, count: int) -> None:
    """How many balls vanish from, or appear in, a synthetic head."""
    harmonizer, style, rng = harmonizer_of(method), default_style(method), np.random.default_rng(12)
    heads = []
    for index in range(8):
        pair = style_pair(seed=77, index=index, kind="none")
        heads.append((pair.source, pair.source_case.mask, pair.source_case.grid))
    vanished = appeared = refused = 0
    largest = 0.0
    start = time.perf_counter()
    for trial in range(count):
        images, mask, grid = heads[trial % len(heads)]
        inside = np.argwhere(mask)
        centre, radius_mm = inside[rng.integers(len(inside))], rng.uniform(4, 15)
        place = np.moveaxis(np.indices(mask.shape), 0, -1) - centre
        ball = ((place**2).sum(axis=-1) <= (radius_mm / 2) ** 2) & mask
        lifted = np.array(images)
        for channel in range(len(SEQUENCES)):
            lifted[channel][ball] = np.percentile(images[channel][mask], 95) * rng.uniform(1.05, 1.6)
        case = as_case(lifted, mask, grid, "phantom")
        done = harmonize(case, harmonizer, style)
        refused += done.method == "none"
        shell = _shell(ball, mask)
        for channel, s in enumerate(SEQUENCES):
            before = _stands_out(lifted[channel], ball, shell)
            after = _stands_out(done.images[s].data, ball, shell)
            vanished += after < 0.5 * before
            elsewhere = _appeared(lifted[channel], done.images[s].data, mask)
            appeared += elsewhere
            largest = max(largest, abs(after / before - 1))
    taken = (time.perf_counter() - start) / max(count, 1)
    print(
        f"{count} phantoms, {4 * count} images: {vanished} lesions vanished, {appeared} images where one appeared; "
        f"contrast changed by at most {largest:.0%}; {refused} cases passed on as they were; {taken:.2f} s each"
    )


def _shell(ball: Mask, mask: Mask) -> Mask:
    from scipy import ndimage

    near = ndimage.binary_dilation(ball, iterations=3) & mask & ~ndimage.binary_dilation(ball, iterations=1)
    return near if near.any() else mask & ~ball


def _stands_out(image: Image, ball: Mask, shell: Mask) -> float:
    """How much brighter the ball is than what is around it, as a share of that."""
    return float(image[ball].mean() / image[shell].mean()) - 1


def _appeared(before: Image, after: Image, mask: Mask) -> bool:
    """Whether a patch became bright beside what is around it that was not: 6 mm means against 22 mm means."""
    from scipy import ndimage

    def local(image: Image) -> Image:
        inside = mask.astype(np.float32)
        near, far = (
            ndimage.uniform_filter(image * inside, n) / np.maximum(ndimage.uniform_filter(inside, n), 0.05)
            for n in (3, 11)
        )
        return np.where(mask, near / np.maximum(far, 1e-6), 0)

    was, now = local(before), local(after)
    return bool(((now > 1.5) & (was < 1.15)).any())


def timed(method: str, folder: Path) -> None:
    """Seconds of one case on the atlas grid, style known."""
    (source,) = find_cases([folder], {})
    images = [read_scan(source.files[s], str(s))[0].reoriented(ATLAS_GRID.orientation).data for s in SEQUENCES]
    brain = np.any([image != 0 for image in images], axis=0)
    case = as_case(images, brain, ATLAS_GRID, "case")
    harmonizer = harmonizer_of(method)
    style = default_style(method)
    first: HarmonizedCase | None = None
    for run in range(3):
        start, used = time.perf_counter(), time.process_time()
        done = harmonize(case, harmonizer, style, silent)
        print(f"run {run + 1}: {time.perf_counter() - start:.1f} s, CPU {time.process_time() - used:.1f} s")
        first = first or done
        assert all(np.array_equal(first.images[s].data, done.images[s].data) for s in SEQUENCES), "not deterministic"


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["pairs", "real", "phantoms", "time"])
    parser.add_argument("where", type=Path, nargs="*")
    parser.add_argument("--method", default="histogram")
    parser.add_argument("--count", type=int, default=20)
    chosen = parser.parse_args()
    print(machine())
    if chosen.what in ("real", "time") and not chosen.where:
        parser.error("name a directory")
    if chosen.what == "pairs":
        pairs(chosen.method, chosen.count)
    elif chosen.what == "phantoms":
        phantoms(chosen.method, chosen.count)
    elif chosen.what == "real":
        real(chosen.method, chosen.where)
    else:
        timed(chosen.method, chosen.where[0])


if __name__ == "__main__":
    main()
