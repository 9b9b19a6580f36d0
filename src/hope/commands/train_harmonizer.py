"""hope train harmonizer: a new bundle for hope harmonize --method hail."""

from __future__ import annotations

from pathlib import Path

import click

from hope.commands.inputs import HELP, PATH
from hope.domain.extras import require_extras


@click.command(short_help="Train a harmonizer on synthetic styles.", context_settings=HELP)
@click.option("-o", "--output", "run", type=PATH, required=True, metavar="RUN", help="Folder of the run.")
@click.option("--steps", type=click.IntRange(min=1), help="Optimiser steps.  [default: the recipe's]")
@click.option("--groups", type=click.IntRange(min=1), help="Groups of synthetic cases.  [default: the recipe's]")
@click.option("--seed", type=click.IntRange(min=0), help="Seed of everything random.  [default: the recipe's]")
@click.option("--id", "model_id", default="my-harmonizer", show_default=True, metavar="ID", help="Id of the bundle.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in RUN.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads for the network.  [default: all cores]")
def harmonizer(
    run: Path,
    steps: int | None,
    groups: int | None,
    seed: int | None,
    model_id: str,
    resume: bool,
    threads: int | None,
) -> None:
    """Train a harmonizer and write RUN/bundle, ready for `hope models add RUN/bundle`.

    It learns from synthesis alone, where the same anatomy is known in several styles. The synthetic cases are made once
    and kept in RUN/pool (about 5 MB a group). A checkpoint is written every 100 steps; a run that was stopped goes on
    with --resume, and sees what it would have seen. RUN/log.jsonl holds losses and held-out errors.
    """
    require_extras("hope train harmonizer", "train")
    from dataclasses import replace

    from hope.commands.console import ConsoleProgress
    from hope.domain.errors import InputError
    from hope.formats.atomic import output_error
    from hope.models.registry import check_id
    from hope.training.checkpoints import BUNDLE, CHECKPOINT, refuse_other_bundle, write_bundle
    from hope.training.harmonizer import load_checkpoint, start, train
    from hope.training.harmonizer_config import HarmonizerConfig
    from hope.training.harmonizer_export import export_harmonizer
    from hope.training.harmonizer_pool import load_pool
    from hope.training.loop import use_threads

    check_id(model_id)
    if threads:
        use_threads(threads)
    if resume:
        if seed is not None or groups is not None:
            raise InputError("--seed and --groups belong to the start of a run", fix="leave them out with --resume")
        state, config = load_checkpoint(run)
        config = replace(config, steps=steps or config.steps)
    else:
        if (run / CHECKPOINT).exists():
            raise InputError("the run's folder already holds a checkpoint", fix="add --resume, or choose another -o")
        if (run / BUNDLE).exists():
            raise InputError("the run's folder already holds a bundle, and no checkpoint", fix="choose another -o")
        recipe = HarmonizerConfig()
        config = replace(
            recipe,
            steps=steps or recipe.steps,
            groups=groups or recipe.groups,
            seed=recipe.seed if seed is None else seed,
        )
        state = start(config)
    refuse_other_bundle(run)
    with ConsoleProgress() as progress:
        try:
            run.mkdir(parents=True, exist_ok=True)
            pool = load_pool(run / "pool", config, progress)
        except OSError as error:
            raise output_error("the run's folder", error) from error
        state = train(state, config, run, pool, progress)
    bundle = write_bundle(run, lambda folder: export_harmonizer(state, config, folder, model_id))
    click.echo(f"bundle {bundle.id} {bundle.version}, sha256 {bundle.sha256}, in {bundle.folder}")
