"""A federated training as the server sees it: rounds, sites alone, and every model at every site. No FLARE here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from hope.federated.plan import TrainingPlan
from hope.federated.responses import Difference, Refusal, Response, Scores
from hope.federated.weights import Weights, fits

TRAIN, VALIDATE = "train", "validate"
TASKS: Final = (TRAIN, VALIDATE)
START, GLOBAL = "(start)", "(federated)"
"""Rows of the table that stand for no site's own model."""


@dataclass(frozen=True)
class Reply:
    """What came from a site: a response, and the arrays beside it if it trained."""

    response: Response
    difference: Any = None


@dataclass(frozen=True)
class Asking:
    """One question to sites: a task with weights and, for training, which steps."""

    task: str
    weights: Weights
    first: int = 0
    last: int = 0


Ask = Callable[[Asking, Sequence[str]], Mapping[str, Reply]]
"""Asks sites and waits; a site that did not answer may be missing from what comes back."""

Average = Callable[[Mapping[str, tuple[Weights, int]]], Weights]
"""The mean of differences, weighted by the numbers beside them."""


@dataclass
class Participant:
    """A site in a training: cases it trained on, rounds that took its difference, and why it gave nothing any more."""

    n: int = 0
    rounds: int = 0
    refusal: Refusal | None = None


@dataclass
class Training:
    """What came of a training.

    Attributes:
        weights: of the federated model; None if too few sites gave usable answers, or it grew out of half precision.
        sites: every site of the job.
        rounds: per round how many sites and cases went into it, and the mean loss over these cases.
        dice: model -> site -> what the site measured of it on cases that nobody trained on.
    """

    weights: Weights | None
    sites: dict[str, Participant]
    rounds: list[dict[str, float]] = field(default_factory=list)
    dice: dict[str, dict[str, Scores]] = field(default_factory=dict)


def run_training(plan: TrainingPlan, start: Weights, names: Sequence[str], ask: Ask, average: Average) -> Training:
    """Train over the sites.

    A site whose answer cannot be used is not asked again: it is named with the reason, and the others go on.

    Args:
        plan: rounds and steps.
        start: weights to start from.
        names: of the sites.
        ask: see ``Ask``.
        average: see ``Average``.
    """
    training = Training(start, {name: Participant() for name in sorted(names)})
    for number in range(plan.rounds):
        asking = Asking(TRAIN, training.weights or start, number * plan.steps, (number + 1) * plan.steps)
        usable = _differences(asking, training, ask)
        if len(usable) < plan.least_sites:
            training.weights = None
            return training
        mean = average({site: (arrays, given.n) for site, (arrays, given) in usable.items()})
        moved = {name: array + mean[name] for name, array in asking.weights.items()}
        # Sound differences can still add up to what no bundle can hold.
        training.weights = moved if fits(moved, start) else None
        if training.weights is None:
            return training
        cases = sum(given.n for _, given in usable.values())
        loss = sum(given.n * given.loss for _, given in usable.values()) / cases
        training.rounds.append({"round": number + 1, "sites": len(usable), "n": cases, "loss": round(loss, 4)})
        for site, (_, given) in usable.items():
            training.sites[site].n = given.n
            training.sites[site].rounds += 1
    _compare(plan, start, training, ask)
    return training


def _compare(plan: TrainingPlan, start: Weights, training: Training, ask: Ask) -> None:
    """Have every site measure the federated model, the one it started from and, if asked for, each site's own."""
    models: dict[str, Weights] = {START: start, GLOBAL: training.weights or start}
    if plan.alone:
        own = _differences(Asking(TRAIN, start, 0, plan.all_steps), training, ask)
        models |= {site: {name: start[name] + arrays[name] for name in start} for site, (arrays, _) in own.items()}
    for model, weights in models.items():
        training.dice[model] = {}
        for site, reply in _replies(Asking(VALIDATE, weights), training, ask).items():
            if isinstance(reply.response, Scores):
                training.dice[model][site] = reply.response
            else:
                _refuse(training, site, reply.response)


def _differences(asking: Asking, training: Training, ask: Ask) -> dict[str, tuple[Weights, Difference]]:
    """The usable differences of one training task, by site; the other sites are marked."""
    usable = {}
    for site, reply in _replies(asking, training, ask).items():
        given = reply.response
        if isinstance(given, Difference) and fits(reply.difference, asking.weights):
            usable[site] = (reply.difference, given)
        else:
            _refuse(training, site, Refusal(code="bad_weights") if isinstance(given, Difference) else given)
    return usable


def _replies(asking: Asking, training: Training, ask: Ask) -> dict[str, Reply]:
    """Ask every site that is still with us, in the order of their names."""
    asked = [site for site, participant in training.sites.items() if participant.refusal is None]
    given = ask(asking, asked) if asked else {}
    silent = Reply(Refusal(code="silent"))
    return {site: given.get(site, silent) for site in asked}


def _refuse(training: Training, site: str, given: Response) -> None:
    training.sites[site].refusal = given if isinstance(given, Refusal) else Refusal(code="unreadable")
