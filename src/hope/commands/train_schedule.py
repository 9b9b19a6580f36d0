"""hope train schedule: the phases that make the model that ships."""

from __future__ import annotations

from pathlib import Path

import click

from hope.commands.inputs import HELP, PATH, SCHEMES
from hope.domain.extras import require_extras


@click.command(short_help="Train in phases: synthesis, folds of real cases, all of them.", context_settings=HELP)
@click.option("-o", "--output", "folder", type=PATH, required=True, metavar="RUN", help="Folder of all phases.")
@click.option("--cases", type=PATH, multiple=True, metavar="DIR", help="Labelled cases; may be repeated.")
@click.option("--folds", "folds_file", type=PATH, metavar="FOLDS.json", help="Case ids that are judged together.")
@click.option(
    "--scheme", type=click.Choice(SCHEMES), default="peds", show_default=True, help="Label scheme of the cases."
)
@click.option("--from", "base_id", metavar="ID", help="Start phase 1, or the folds where P1 is 0, from this bundle.")
@click.option(
    "--steps",
    nargs=3,
    type=click.IntRange(min=0),
    metavar="P1 P2 P3",
    help="Steps of each phase; 0 leaves phase 1 or 3 out.",
)
@click.option("--phase", "only", multiple=True, metavar="NAME", help="Run this phase alone; may be repeated.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads for the network.  [default: all cores]")
def schedule(
    folder: Path,
    cases: tuple[Path, ...],
    folds_file: Path | None,
    scheme: str,
    base_id: str | None,
    steps: tuple[int, int, int] | None,
    only: tuple[str, ...],
    threads: int | None,
) -> None:
    """Train in three phases and write a bundle after each; the same call goes on after an interruption.

    Phase 1 learns from synthesis alone. Phase 2 trains once per fold of FOLDS.json, from the weights of phase 1 (of
    --from where P1 is 0), on the cases outside the fold, and follows those inside, which it never sees. Phase 3 trains
    on all cases of all folds. Cases that stand in no fold are not used. Without --cases only phase 1 runs; a later call
    may add them.

    Bundles are in RUN/phase-1/bundle, RUN/phase-2-fold-0/bundle and so on. `hope train progress RUN` says how far it
    is. With --phase several processes or machines that share RUN train the folds at the same time, once phase 1 has
    ended. The hours that it takes on a processor are stated in docs/benchmarks.md.
    """
    require_extras("hope train schedule", "train")
    from dataclasses import replace

    from hope.commands.console import ConsoleProgress
    from hope.domain.errors import InputError
    from hope.formats.atomic import output_error
    from hope.models.bundle import SEGMENTER
    from hope.services import Services
    from hope.settings import Settings
    from hope.stages.intake.intake import find_cases
    from hope.training.loop import use_threads
    from hope.training.real_cases import segmentation_of, store_cases
    from hope.training.schedule import CASES, MIXED, Folds, StoredCases, check_schedule, phases, run_schedule

    if bool(cases) != bool(folds_file):
        raise InputError("--cases and --folds belong together", fix="give both, or none for phase 1 alone")
    if steps and not (steps[1] and (steps[0] or (base_id and cases))):
        raise InputError(
            "phases 1 and 2 need at least one step each",
            got=f"--steps {steps[0]} {steps[1]} {steps[2]}",
            fix="phase 1 may have 0 with --from and --cases: the folds start from that bundle then",
        )
    if threads:
        use_threads(threads)
    services = Services(Settings.from_environment())
    folds = Folds.read(folds_file) if folds_file else Folds()
    found = {source.case_id: source for source in find_cases(list(cases), {})} if cases else {}
    if missing := sorted(set(folds.cases) - set(found)):
        raise InputError("cases of the folds are not in --cases", got=", ".join(missing))
    base = services.models.get(base_id, SEGMENTER) if base_id else None
    try:
        check_schedule(folder, folds, scheme, base)
    except OSError as error:
        raise output_error("the schedule's folder", error) from error
    sources = [found[case] for case in folds.cases]
    for source in sources:
        segmentation_of(source)  # a mask that is missing is said now, not after the days of phase 1
    with ConsoleProgress() as progress:

        def stored() -> StoredCases:
            settings = replace(MIXED, scheme=scheme)
            return store_cases(sources, settings, folder / CASES, services.brain_extractor(), progress)

        plan = phases(folds, base, steps or ())
        bundle = run_schedule(folder, plan, stored, folds, base, progress, only)
    click.echo(f"bundle {bundle.id} {bundle.version}, sha256 {bundle.sha256}, in {bundle.folder}")
