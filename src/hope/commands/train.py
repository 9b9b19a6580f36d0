"""hope train: a new model bundle; its subcommands learn other parts of the pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hope.commands.inputs import HELP, PATH, SCHEMES
from hope.commands.train_harmonizer import harmonizer
from hope.commands.train_postprocess import postprocess
from hope.commands.train_progress import progress
from hope.commands.train_schedule import schedule
from hope.domain.extras import require_extras

if TYPE_CHECKING:
    from hope.models.bundle import Bundle
    from hope.models.registry import ModelRegistry
    from hope.training.config import TrainingConfig
    from hope.training.loop import TrainingState


@click.group(
    short_help="Train a model bundle from synthesis and your own labelled cases.",
    invoke_without_command=True,
    subcommand_metavar="[COMMAND]",
    context_settings=HELP,
)
@click.option(
    "-o", "--output", "run", type=PATH, metavar="RUN", help="Folder of the run: checkpoint, log, bundle.  [required]"
)
@click.option(
    "--recipe",
    type=click.Choice(["starter", "synthetic"]),
    default="starter",
    show_default=True,
    help="Settings to start from: starter made the bundle of that name; synthetic is longer and more varied.",
)
@click.option(
    "--cases",
    type=PATH,
    multiple=True,
    metavar="DIR",
    help="Your labelled cases (with <case>-seg.nii.gz); may be repeated.",
)
@click.option(
    "--scheme",
    type=click.Choice(SCHEMES),
    default="peds",
    show_default=True,
    help="Label scheme of your cases.",
)
@click.option(
    "--real-share",
    type=click.FloatRange(0, 1),
    help="Share of patches from your cases.  [default: the recipe's]",
)
@click.option("--steps", type=click.IntRange(min=1), help="Optimiser steps.  [default: the recipe's]")
@click.option("--seed", type=click.IntRange(min=0), help="Seed of everything random.  [default: the recipe's]")
@click.option("--from", "base_id", metavar="ID", help="Start from the weights of this bundle, in fewer, smaller steps.")
@click.option("--id", "model_id", default="mine", show_default=True, metavar="ID", help="Id of the bundle.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in RUN.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads for the network.  [default: all cores]")
@click.pass_context
def train(
    context: click.Context,
    run: Path | None,
    recipe: str,
    cases: tuple[Path, ...],
    scheme: str,
    real_share: float | None,
    steps: int | None,
    seed: int | None,
    base_id: str | None,
    model_id: str,
    resume: bool,
    threads: int | None,
) -> None:
    """Train a model and write RUN/bundle, ready for `hope models add RUN/bundle`.

    Without --cases it learns from synthesis alone. A checkpoint is written every 100 steps: a run that was stopped
    goes on with --resume, and sees the cases it would have seen. RUN/log.jsonl holds loss and held-out Dice.

    \b
    Examples:
      hope train -o runs/starter                         the recipe of the bundled starter
      hope train -o runs/starter --resume                after an interruption
      hope train -o runs/ours --cases our-cases --id ours
      hope train -o runs/ours --cases our-cases --from mixed --id ours

    With a command it learns another part of the pipeline: see hope train COMMAND --help.
    """  # noqa: D301 - click reads the backspace
    if context.invoked_subcommand is not None:
        _refuse_own_options(context)
        return
    if run is None:
        # Not required=True, which would ask for it before a command too.
        raise click.MissingParameter(ctx=context, param=next(p for p in context.command.params if p.name == "run"))
    require_extras("hope train", "train")
    from hope.commands.console import ConsoleProgress
    from hope.domain.errors import InputError
    from hope.formats.atomic import output_error
    from hope.models.bundle import SEGMENTER
    from hope.models.registry import check_id
    from hope.services import Services
    from hope.settings import Settings
    from hope.stages.intake.intake import find_cases
    from hope.training.checkpoints import BUNDLE, CHECKPOINT, refuse_other_bundle
    from hope.training.config import config_of_recipe, continued
    from hope.training.loop import load_checkpoint, start, use_threads
    from hope.training.loop import train as run_training
    from hope.training.real_cases import by_kind, store_cases

    check_id(model_id)
    if threads:
        use_threads(threads)
    services = Services(Settings.from_environment())
    sources = find_cases(list(cases), {}) if cases else []
    ids = [source.case_id for source in sources]
    if resume:
        if seed is not None or real_share is not None or base_id is not None:
            raise InputError(
                "--seed, --real-share and --from belong to the start of a run", fix="leave them out with --resume"
            )
        state, config = load_checkpoint(run)
        config = continued(config, ids, steps)
    else:
        if (run / CHECKPOINT).exists():
            raise InputError("the run's folder already holds a checkpoint", fix="add --resume, or choose another -o")
        if (run / BUNDLE).exists():
            raise InputError("the run's folder already holds a bundle, and no checkpoint", fix="choose another -o")
        base = services.models.get(base_id, SEGMENTER) if base_id else None
        config = config_of_recipe(recipe, steps, seed, real_share, scheme, ids, base)
        state = start(config, base)
    refuse_other_bundle(run)
    _note_what_one_case_is_worth(len(sources))
    with ConsoleProgress() as progress:
        try:
            run.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise output_error("the run's folder", error) from error
        stored = store_cases(sources, config, run / "cases", services.brain_extractor(), progress)
        state = run_training(state, config, run, progress, by_kind(stored))
    _export(run, state, config, model_id, _begun_from(config, services.models))


def _note_what_one_case_is_worth(cases: int) -> None:
    if cases == 1:
        click.echo(
            "note: one case alone teaches this one case, and none is left to judge the model; give more cases, or keep "
            "--real-share small",
            err=True,
        )


def _begun_from(config: TrainingConfig, models: ModelRegistry) -> Bundle | None:
    """The bundle that the run began from, which a resumed run knows by id and hash alone; None if it is not here."""
    return next((bundle for bundle in models.list() if f"{bundle.id} {bundle.sha256}" == config.base), None)


def _export(run: Path, state: TrainingState, config: TrainingConfig, model_id: str, base: Bundle | None) -> None:
    """Make the bundle of a finished run and say where it is."""
    from hope.training.checkpoints import write_bundle
    from hope.training.export import export_bundle
    from hope.training.limits import read_intervals, read_out_of_distribution

    known, intervals = read_out_of_distribution(run), read_intervals(run)

    def write(folder: Path) -> Bundle:
        return export_bundle(state, config, folder, model_id, out_of_distribution=known, intervals=intervals, base=base)

    bundle = write_bundle(run, write)
    click.echo(f"bundle {bundle.id} {bundle.version}, sha256 {bundle.sha256}, in {bundle.folder}")


def _refuse_own_options(context: click.Context) -> None:
    """An option in front of the command would be passed over unsaid."""
    given = [
        parameter
        for parameter in context.command.params
        if context.get_parameter_source(str(parameter.name)) is click.core.ParameterSource.COMMANDLINE
    ]
    if given:
        raise click.UsageError(
            f"{given[0].opts[0]} belongs to hope train itself; options of {context.invoked_subcommand} follow its name",
            context,
        )


train.add_command(harmonizer)
train.add_command(postprocess)
train.add_command(schedule)
train.add_command(progress)
