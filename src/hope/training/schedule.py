"""A schedule in phases: synthesis first, then folds of real cases, then all of them.

The model that ships took the folds alone, from the starter.

Phase 1 sees no real case. Phase 2 trains once per fold, from the weights of phase 1, on the cases outside the fold and
is judged on those inside. Phase 3 trains on all cases, from the weights of phase 1 too. Each phase is an ordinary run
in a folder of its own, so a schedule that was killed goes on where its phase left off.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from hope.domain import json_text
from hope.domain.errors import InputError
from hope.domain.progress import Progress
from hope.formats.atomic import atomic_output
from hope.models.bundle import WEIGHTS, Bundle
from hope.training.checkpoints import BUNDLE, CHECKPOINT, Checkpoint, refuse_other_bundle, write_bundle
from hope.training.config import RECIPES, STRONG, TrainingConfig, config_of_recipe, hash_of_ids
from hope.training.export import export_bundle
from hope.training.limits import read_intervals, read_out_of_distribution
from hope.training.loop import POOL, TrainingState, load_checkpoint, start, train, unet_weights
from hope.training.real_cases import by_kind
from hope.training.stored import read_sample

SCHEDULE, CASES = "schedule.json", "cases"
SYNTHESIS, LAST = "phase-1", "phase-3"

FOLD_STEPS, LAST_STEPS = 6_300, 8_000
MIXED = replace(
    RECIPES["synthetic"],
    recipe="mixed",
    batch=1,
    patch=(64, 80, 64),
    learning_rate=1.6e-3,
    augmentation=replace(STRONG, warp=0.6),
    cyst_share=0.4,
    real_share=0.5,
    transplant_share=0.14,
    tumour_free_share=0.08,
    real_copies=2,
    first_cases=96,
    new_cases_per_step=0.1,
    most_cases=600,
    look_every=1_700,
    seed=2,
)
"""Settings of the phases with real cases: half of the draws are real, and cores without enhancement come as often as
rings; more than a quarter is synthetic, from a pool that the folds share, and two fifths of that from cases with a
cyst, which no scheme of adults knows; the rest are transplants and tumour-free brains. One large patch a step costs
what two small ones of phase 1 cost."""

StoredCases = Mapping[str, tuple[str, list[Path]]]
"""Case id -> its kind, and its file followed by those of its copies."""


@dataclass(frozen=True)
class Phase:
    """One run of a schedule.

    Attributes:
        name: of its folder.
        config: its settings.
        fold: the fold that it does not see, counted from 0; None sees all cases.
        real: whether it sees real cases at all.
    """

    name: str
    config: TrainingConfig
    fold: int | None = None
    real: bool = True


@dataclass(frozen=True)
class Folds:
    """Which cases are judged together: fixed once, so that no later run leaks.

    Attributes:
        folds: case ids, one tuple a fold.
    """

    folds: tuple[tuple[str, ...], ...] = ()

    @classmethod
    def read(cls, path: Path) -> Folds:
        """Read ``{"folds": [[id, ...], ...]}``.

        Raises:
            InputError: if the file is no such list, names a key twice, or a case stands in two folds.
        """
        try:
            folds = tuple(tuple(str(case) for case in fold) for fold in json_text.loads(path.read_bytes())["folds"])
        except json_text.RepeatedKeyError as error:
            raise error.input_error(f"{path.name} is no list of folds") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{path.name} is no list of folds", expected='{"folds": [["case-1", ...], ["case-2", ...]]}'
            ) from error
        every = [case for fold in folds for case in fold]
        if twice := sorted({case for case in every if every.count(case) > 1}):
            raise InputError("a case stands in two folds", got=", ".join(twice), fix="a case is judged in one fold")
        return cls(folds)

    @property
    def cases(self) -> tuple[str, ...]:
        """Every case, sorted."""
        return tuple(sorted(case for fold in self.folds for case in fold))


def phases(folds: Folds, base: Bundle | None, steps: Sequence[int] = ()) -> list[Phase]:
    """The runs of a schedule in their order.

    Args:
        folds: none leaves phase 1 alone.
        base: the bundle that phase 1 starts from; None starts from random weights.
        steps: of phase 1, of each fold and of phase 3; the recipe's where there are none. 0 for phase 1 leaves it out:
            the others start from ``base`` then. 0 for phase 3 leaves it out: the networks of the folds are the result.
    """
    first, per_fold, last = steps or (RECIPES["synthetic"].steps, FOLD_STEPS, LAST_STEPS)
    synthetic = replace(
        RECIPES["synthetic"],
        steps=first,
        base=f"{base.id} {base.sha256}" if base else "",
        base_synthetic=base is None or base.manifest.get("training", {}).get("only_synthetic") is True,
    )
    found = [Phase(SYNTHESIS, _trimmed(synthetic), real=False)] if first else []
    start_of_mixed = f"{SYNTHESIS} of this schedule" if first else synthetic.base
    mixed = replace(MIXED, base=start_of_mixed, base_synthetic=synthetic.base_synthetic)
    for number in range(len(folds.folds)):
        config = replace(mixed, steps=per_fold, calibration_cases=0)
        found.append(Phase(f"phase-2-fold-{number}", _trimmed(config), fold=number))
    if folds.folds and last:
        found.append(Phase(LAST, _trimmed(replace(mixed, steps=last))))
    return found


def _trimmed(config: TrainingConfig) -> TrainingConfig:
    """A trial of a few steps waits for no more cases than it can look at."""
    return replace(
        config,
        first_cases=min(config.first_cases, config.steps * config.batch),
        held_out=min(config.held_out, config.steps),
        calibration_cases=min(config.calibration_cases, config.steps // 10),
        look_every=min(config.look_every, max(1, config.steps // 2)),
    )


def check_schedule(folder: Path, folds: Folds, scheme: str, base: Bundle | None) -> None:
    """Keep what a schedule is made of in its folder, or compare with what is kept.

    Raises:
        InputError: if the folder belongs to a schedule of other cases, folds, scheme or base, or the base is another
            network than the one that is trained.
    """
    config_of_recipe("synthetic", None, None, None, scheme, (), base)
    facts: dict[str, Any] = {
        "folds": [list(fold) for fold in folds.folds],
        "scheme": scheme,
        # Its weights alone: what else its bundle states may change while a schedule runs.
        "base": f"{base.id} {base.manifest['files'][WEIGHTS]}" if base else "",
    }
    path = folder / SCHEDULE
    if path.is_file():
        kept = json.loads(path.read_bytes())
        only_synthesis = not kept["folds"] and kept["base"] == facts["base"]  # which is the same for all cases
        if kept != facts and not only_synthesis:
            raise InputError(
                "the folder holds a schedule of other cases, folds, labels or starting weights",
                fix="go on with those, or choose another -o",
            )
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_output(path) as stream:
        stream.write((json.dumps(facts, indent=1) + "\n").encode())


def run_schedule(
    folder: Path,
    plan: Sequence[Phase],
    stored: Callable[[], StoredCases],
    folds: Folds,
    base: Bundle | None,
    progress: Progress,
    only: Collection[str] = (),
) -> Bundle:
    """Run the phases that are not done yet, in order, and export a bundle after each.

    Args:
        folder: of the schedule, see ``check_schedule``.
        plan: of ``phases``.
        stored: brings the real cases to disk; called when the first phase, which sees none, is done.
        folds: which cases a phase must not see.
        base: the bundle that phase 1 starts from.
        progress: called for every phase.
        only: names of the phases to run, so that several processes may share the folds; all where there are none.

    Returns:
        The bundle of the last phase that was run.

    Raises:
        InputError: if ``only`` names a phase that is not in the plan, or the first one has not ended.
    """
    cases: StoredCases | None = None
    for phase in _chosen(folder, plan, only):
        if phase.real and cases is None:
            cases = stored()
        earlier = None
        if phase.real:
            first = plan[0].name == SYNTHESIS
            earlier = _average_of(folder / SYNTHESIS) if first else unet_weights(base) if base else None
        bundle = _run_phase(folder, phase, cases or {}, folds, base, earlier, progress)
    return bundle


def _chosen(folder: Path, plan: Sequence[Phase], only: Collection[str]) -> Sequence[Phase]:
    names = [phase.name for phase in plan]
    if unknown := sorted(set(only) - set(names)):
        raise InputError(
            "the schedule has no such phase", expected="one of " + ", ".join(names), got=", ".join(unknown)
        )
    if not only or names[0] in only or names[0] != SYNTHESIS:
        return [phase for phase in plan if not only or phase.name in only]
    if not (folder / names[0] / BUNDLE).is_dir():
        raise InputError(f"{names[0]} has not ended, and the other phases start from its weights")
    return [phase for phase in plan if phase.name in only]


def _run_phase(
    folder: Path,
    phase: Phase,
    stored: StoredCases,
    folds: Folds,
    base: Bundle | None,
    earlier: Mapping[str, Tensor] | None,
    progress: Progress,
) -> Bundle:
    here = folder / phase.name
    here.mkdir(parents=True, exist_ok=True)
    left_out = set(folds.folds[phase.fold]) if phase.fold is not None else set()
    seen = {case: files for case, files in stored.items() if case not in left_out} if phase.real else {}
    config = replace(phase.config, real_cases=len(seen), real_sha256=hash_of_ids(list(seen)))
    state, config = _state_of(here, config, base, earlier)
    refuse_other_bundle(here)
    if state.step < config.steps or not (here / BUNDLE).is_dir():
        unseen = [read_sample(stored[case][1][0]) for case in sorted(left_out) if case in stored]
        state = train(
            state,
            config,
            here,
            lambda message, share: progress(f"{phase.name}: {message}", share),
            by_kind(seen),
            unseen=unseen,
            pool_folder=folder / POOL,
            base=earlier,
        )
    known, intervals = read_out_of_distribution(here), read_intervals(here)

    def write(folder: Path) -> Bundle:
        return export_bundle(
            state, config, folder, phase.name, out_of_distribution=known, intervals=intervals, base=base
        )

    return write_bundle(here, write)


def _state_of(
    here: Path, config: TrainingConfig, base: Bundle | None, earlier: Mapping[str, Tensor] | None
) -> tuple[TrainingState, TrainingConfig]:
    """The state that the phase goes on from. One that had ended and gets more steps takes today's recipe for them."""
    if (here / CHECKPOINT).is_file():
        state, kept = load_checkpoint(here)
        if kept.real_sha256 != config.real_sha256:
            raise InputError("a resumed phase needs the cases that it was started with", got=f"others in {here.name}")
        had_ended = kept.steps <= state.step < config.steps
        if had_ended and kept.network_arguments() != config.network_arguments():
            raise InputError(
                f"{here.name} has ended with another network than today's recipe makes", fix="choose another -o"
            )
        return state, config if had_ended else replace(kept, steps=config.steps)
    state = start(config, None if earlier else base)
    if earlier:
        for network in (state.network, state.average):
            network.load_state_dict(dict(earlier))
    return state, config


def _average_of(folder: Path) -> Mapping[str, Tensor]:
    return Checkpoint(folder, "segmenter").average()
