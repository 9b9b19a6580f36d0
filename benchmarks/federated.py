"""Federated training on three synthetic sites whose contrasts differ.

python benchmarks/federated.py run --seed 1 [--mode plain] [--mode private] [--rounds N --steps N]
python benchmarks/federated.py table [-o build/federated]

A site has 16 cases on a 4 mm grid (benchmarks/federated_sites.py), trains on 12 and keeps 4 aside. Site 1 shows the
synthesis as it is, site 2 compresses what is bright, site 3 exchanges dark and bright in both T1. A small network
starts from random weights; 6 rounds of 50 steps. `plain` also trains each site alone, 300 steps; `private` has the
sites keep back the smaller half of the changes. What a site does in a task, the rounds, FLARE's average and FLARE's
filter are those of a job; the sites are two processes here and FLARE carries nothing, because starting a process for
each task took most of the time. `run` does what has no result yet; `table` prints Dice of all seeds.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from federated_sites import CONTRASTS, SPACING_MM, write_site
from machine import machine
from nvflare.apis.dxo import DXO, DataKind, MetaKey, from_shareable
from nvflare.apis.fl_context import FLContext
from nvflare.app_common.filters.percentile_privacy import PercentilePrivacy

from hope.federated.averaging import GLOBAL, START, Asking, Reply, run_training
from hope.federated.flare_training import flare_average
from hope.federated.plan import TrainingPlan
from hope.federated.responses import Difference
from hope.federated.site import CASES as CASES_GRID
from hope.federated.site import DIFFERENCE, GIVEN, Request, respond
from hope.federated.training_outcome import base_of, write_training
from hope.federated.weights import Weights, read_arrays, write_arrays
from hope.models.bundle import Bundle
from hope.settings import FederatedSettings, Settings
from hope.training.config import TrainingConfig
from hope.training.export import export_bundle
from hope.training.loop import start

CASES, LEAST = 16, 4
ROUNDS, STEPS, RATE = 6, 50, 2e-3
PERCENTILE, GAMMA = 50.0, 0.01
MODES = ("plain", "private")
REGIONS = ("WT", "TC", "ET")


def untrained(models: Path, seed: int) -> Bundle:
    """A small network with random weights as a bundle."""
    config = TrainingConfig(
        spacing_mm=SPACING_MM,
        widths=(8, 16, 32),
        blocks=(1, 1, 1),
        decoder_blocks=(1, 1),
        patch=(32, 32, 32),
        tile=(48, 48, 48),
        seed=seed,
    )
    return export_bundle(start(config), config, models / "untrained", "untrained")


def cases_of(out: Path, site: str, seed: int) -> Path:
    """The cases of a site, made if they are not there."""
    folder = out / f"cases-{seed}" / site
    if not folder.is_dir():
        part = folder.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        write_site(part, site, seed, CASES)
        part.rename(folder)
    return folder


def work(site: str, cases: Path, root: Path, request: Request, weights: Weights) -> tuple[str, Reply]:
    """What the process of a site does in a task, here in a process that does several."""
    chosen = FederatedSettings(data=str(cases), min_cases=LEAST, jobs="train", bodies="federated_sites")
    settings = Settings(root / "data", root / "models", "cpu", federated=chosen)
    (root / CASES_GRID / site).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root) as scratch:
        files = Path(scratch)
        (files / CASES_GRID).symlink_to(root / CASES_GRID / site, target_is_directory=True)
        write_arrays(files / GIVEN, weights)
        response = respond(request, settings, files)
        return site, Reply(response, read_arrays(files / DIFFERENCE) if isinstance(response, Difference) else None)


def filtered(reply: Reply, steps: int) -> Reply:
    """A difference after FLARE's filter."""
    if reply.difference is None:
        return reply
    dxo = DXO(DataKind.WEIGHT_DIFF, dict(reply.difference), {MetaKey.NUM_STEPS_CURRENT_ROUND: steps})
    passed = from_shareable(PercentilePrivacy(PERCENTILE, GAMMA).process(dxo.to_shareable(), FLContext()))
    return Reply(reply.response, passed.data)


def run(seed: int, mode: str, out: Path, rounds: int = ROUNDS, steps: int = STEPS) -> None:
    """One training; its result lies in ``out/<mode>-<seed>``."""
    began = time.monotonic()
    folders = {site: cases_of(out, site, seed) for site in CONTRASTS}
    written = time.monotonic()
    private = {"percentile": PERCENTILE, "gamma": GAMMA} if mode == "private" else {}
    plan = TrainingPlan(
        id="ours", rounds=rounds, steps=steps, rate=RATE, seed=seed, least_sites=3, alone=mode == "plain", **private
    )
    with (
        tempfile.TemporaryDirectory(prefix="hope-fed-") as scratch,
        ProcessPoolExecutor(2, get_context("spawn")) as processes,
    ):
        root = Path(scratch)
        os.environ["HOPE_MODELS_DIR"] = str(root / "models")
        bundle = untrained(root / "models", seed)
        base = base_of(bundle.id, bundle.sha256, plan)

        def ask(asking: Asking, sites: Sequence[str]) -> Mapping[str, Reply]:
            asked = Request(job="train", site="s", model=bundle.id, sha256=bundle.sha256, task=asking.task, plan=plan)
            request = asked.model_copy(update={"first": asking.first, "last": asking.last})
            given = [processes.submit(work, s, folders[s], root, request, asking.weights) for s in sites]
            replies = dict(one.result() for one in given)
            if mode == "private":
                replies = {s: filtered(reply, asking.last - asking.first) for s, reply in replies.items()}
            return replies

        training = run_training(plan, base.weights, list(CONTRASTS), ask, flare_average)
        if training.weights is None:
            raise SystemExit(f"a site gave nothing: {training.sites}")
        write_training(base, plan, training, root / "result")
        target = out / f"{mode}-{seed}"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for name in ("result.json", "table.csv"):
            shutil.copyfile(root / "result" / name, target / name)
    seconds = {"cases": round(written - began), "training": round(time.monotonic() - written)}
    (target / "seconds.json").write_text(json.dumps(seconds))
    print(f"{mode}, seed {seed}: {seconds}", flush=True)


def dice_of(folder: Path, region: str) -> dict[tuple[str, str], float]:
    """Model, site -> mean Dice."""
    with (folder / "table.csv").open() as stream:
        return {(r["model"], r["site"]): float(r["dice"]) for r in csv.DictReader(stream) if r["region"] == region}


def figures(out: Path, seed: int, region: str) -> dict[str, tuple[float, float]]:
    """Model -> mean Dice on own and on others' cases, over the sites; a model of all sites has no others."""
    dice = dice_of(out / f"plain-{seed}", region)
    pairs = [(site, other) for site in CONTRASTS for other in CONTRASTS if site != other]
    own = {"each site alone": float(np.mean([dice[site, site] for site in CONTRASTS]))}
    others = {"each site alone": float(np.mean([dice[pair] for pair in pairs]))}
    rows = {name: (own[name], others[name]) for name in own}
    for name, given, model in (("untrained", dice, START), ("federated", dice, GLOBAL)):
        mean = float(np.mean([given[model, site] for site in CONTRASTS]))
        rows[name] = (mean, mean)
    if (out / f"private-{seed}").is_dir():
        given = dice_of(out / f"private-{seed}", region)
        mean = float(np.mean([given[GLOBAL, site] for site in CONTRASTS]))
        rows["federated, private"] = (mean, mean)
    return rows


def table(out: Path) -> None:
    """Print the figures of every seed that was run."""
    seeds = sorted(int(path.name.split("-")[1]) for path in out.glob("plain-*"))
    print(machine())
    print("| seed | model |" + "".join(f" {r} own | {r} others |" for r in REGIONS))
    print("|---|---|" + "---|" * 2 * len(REGIONS))
    for seed in seeds:
        by_region = {region: figures(out, seed, region) for region in REGIONS}
        for name in by_region["WT"]:
            cells = "".join(f" {value:.3f} |" for region in REGIONS for value in by_region[region][name])
            print(f"| {seed} | {name} |{cells}")
    better = [
        figures(out, s, r)["federated"][1] > figures(out, s, r)["each site alone"][1]
        for s in seeds
        for r in ("WT", "TC")
    ]
    print(f"federated beats the sites' own models on others' cases in {sum(better)} of {len(better)} (seed, WT or TC)")


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument("--seed", type=int, action="append", help="may be repeated; 1, 2 and 3 unless given")
    parser.add_argument("--mode", choices=MODES, action="append", help="may be repeated; both unless given")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--steps", type=int, default=STEPS, help="of a round")
    parser.add_argument("-o", "--output", type=Path, default=Path("build/federated"))
    chosen = parser.parse_args()
    if chosen.what == "run":
        for seed in chosen.seed or (1, 2, 3):
            for mode in chosen.mode or MODES:
                if not (chosen.output / f"{mode}-{seed}" / "seconds.json").is_file():
                    run(seed, mode, chosen.output, chosen.rounds, chosen.steps)
    table(chosen.output)


if __name__ == "__main__":
    main()
