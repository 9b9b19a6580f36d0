"""What a site does with a request: check it against the site's own settings, work, and answer in aggregates."""

from __future__ import annotations

import importlib
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict

from hope.domain.errors import BundleError, HopeError, InputError, OutputError
from hope.domain.labels import SCHEMAS
from hope.federated.plan import TrainingPlan
from hope.federated.responses import LARGEST, Difference, Refusal, Response
from hope.federated.weights import fits, read_arrays, write_arrays
from hope.formats.atomic import output_error
from hope.models.bundle import SEGMENTER, Bundle
from hope.services import Services
from hope.settings import Settings
from hope.stages.intake.case_finding import CaseSource, find_all

AUDIT: Final = "federated-audit.jsonl"
GIVEN, DIFFERENCE, CASES = "given.npz", "difference.npz", "cases"
"""Files of a training in the private directory of the work: weights in, their difference out, cases on the grid."""
_LONGEST = 80
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]*")


class Request(BaseModel):
    """What a job asks of a site.

    Attributes:
        job: kind of job, such as ``evaluate``; a site answers those that it knows and allows.
        site: the site's own name in the federation.
        model: id of a bundle in the site's registry; empty where the job needs none.
        sha256: the hash that this bundle must have.
        task: of a training ``train`` or ``validate``; empty for the other kinds.
        first, last: of a training the steps after ``first`` up to ``last``.
        plan: of a training.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    job: str
    site: str
    model: str = ""
    sha256: str = ""
    task: str = ""
    first: int = 0
    last: int = 0
    plan: TrainingPlan | None = None


class _RefusedError(Exception):
    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def respond(request: Request, settings: Settings, files: Path | None = None) -> Response:
    """Do what a job asks if the site allows it, and write the site's audit line.

    Args:
        request: what is asked.
        settings: the site's.
        files: private directory with the weights of a training (``GIVEN``), where its difference (``DIFFERENCE``) goes.

    Returns:
        aggregates, or why there are none. No error leaves this function as a text: texts may hold names.
    """
    try:
        _audit(request, settings, "asked")
        given = _respond_or_refuse(request, settings, files)
        _audit(request, settings, given.code if isinstance(given, Refusal) else given.kind, given)
    except OutputError:
        return Refusal(code="no_audit")
    return given


def _respond_or_refuse(request: Request, settings: Settings, files: Path | None) -> Response:
    try:
        return _respond(request, settings, files)
    except _RefusedError as refused:
        return Refusal(code=refused.code)
    except Exception:
        # Whatever it says stays here; `hope infer` and `hope evaluate` on the same cases show it to the site.
        return Refusal(code="failed")


def _respond(request: Request, settings: Settings, files: Path | None) -> Response:
    chosen = settings.federated
    if request.job not in KINDS or request.job not in chosen.allowed:
        raise _RefusedError("not_allowed")
    if chosen.scheme not in SCHEMAS:
        raise _RefusedError("settings")
    if request.job == TRAINING:
        return _train(request, settings, files)
    return _JOBS[request.job](request, settings)


def _evaluate(request: Request, settings: Settings) -> Response:
    from hope.federated.evaluation import labelled, summarize

    bodies = importlib.import_module(settings.federated.bodies)
    services = Services(settings)
    bundle = model_of(request, services)
    sources, least = cases_of(request, settings), settings.federated.min_cases
    # Hours of work for nothing would not protect anybody either.
    if len(labelled([source for source in sources if source.problem is None])) < least:
        raise _RefusedError("too_few")
    scores, failed, unlabelled = bodies.evaluate_site(sources, settings.federated.scheme, services, bundle.id)
    if len(scores) < least:
        raise _RefusedError("too_few")
    return summarize(scores, failed, unlabelled, least)


def _style(request: Request, settings: Settings) -> Response:
    from hope.federated.styles import collect_site, sum_site

    sources, least = cases_of(request, settings), settings.federated.min_cases
    if len(sources) < least:
        raise _RefusedError("too_few")
    cases, failed = collect_site(sources, Services(settings))
    if len(cases) < least:
        raise _RefusedError("too_few")
    return sum_site(cases, failed, least)


def _train(request: Request, settings: Settings, files: Path | None) -> Response:
    from hope.federated import training
    from hope.training.rounds import config_of_bundle, weights_of

    services, least, plan = Services(settings), settings.federated.min_cases, request.plan
    bundle = model_of(request, services)
    if plan is None or files is None or (request.task != "validate" and not _is_part(request, plan)):
        raise _RefusedError("failed")
    try:
        config = config_of_bundle(bundle, plan.all_steps, plan.rate, plan.seed, settings.federated.scheme)
    except InputError as error:
        raise _RefusedError("cannot_train") from error
    weights = read_arrays(files / GIVEN)
    if not fits(weights, weights_of(bundle)):
        raise _RefusedError("bad_weights")
    bodies = importlib.import_module(settings.federated.bodies)
    sources = cases_of(request, settings)
    stored, failed, unlabelled = getattr(bodies, "read_cases", training.read_cases)(
        sources, config, files / CASES, services
    )
    learn, aside = training.split(stored, least)
    if len(learn) < least:
        raise _RefusedError("too_few")
    cases = training.SiteCases(learn, aside, failed, unlabelled)
    if request.task == "validate":
        return training.measure_site(weights, config, cases, least)
    difference, loss = training.train_site(weights, config, cases, request.first, request.last, files)
    if not fits(difference, weights) or not abs(loss) <= LARGEST:
        raise _RefusedError("diverged")
    write_arrays(files / DIFFERENCE, difference)
    return Difference(n=len(learn), failed=dict(failed), unlabelled=unlabelled, loss=loss)


def _is_part(request: Request, plan: TrainingPlan) -> bool:
    """Whether the steps that are asked for are some of the plan's: a site does no other work than the job states."""
    return 0 <= request.first < request.last <= plan.all_steps


_JOBS = {"evaluate": _evaluate, "style": _style}
TRAINING: Final = "train"
KINDS: Final = (*_JOBS, TRAINING)
"""The kinds of job that this version knows."""


def model_of(request: Request, services: Services) -> Bundle:
    """The site's own copy of the model, its files checked.

    Raises:
        _RefusedError: if there is none that can be used, or it has another hash.
    """
    try:
        bundle = services.models.get(request.model, SEGMENTER)
        if bundle.sha256 != request.sha256:
            raise _RefusedError("other_model")
        bundle.verify()
    except (InputError, BundleError) as error:
        raise _RefusedError("no_model") from error
    return bundle


def cases_of(request: Request, settings: Settings) -> list[CaseSource]:
    """The cases in the site's directory, in the order of their ids.

    Raises:
        _RefusedError: if the setting names no directory with cases.
    """
    if not settings.federated.data or not _NAME.fullmatch(request.site):
        raise _RefusedError("no_data")
    folder = Path(settings.federated.data.replace("{site}", request.site))
    try:
        return sorted(find_all([folder], {}).sources, key=lambda source: source.case_id)
    except (HopeError, OSError) as error:
        raise _RefusedError("no_data") from error


def _audit(request: Request, settings: Settings, outcome: str, given: Response | None = None) -> None:
    """Append one line: when, what was asked, what was answered. It names no case.

    Raises:
        OutputError: if it cannot be written.
    """
    stated = {} if given is None or isinstance(given, Refusal) else {"n": given.n, "failed": given.failed}
    line = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        **{name: str(value)[:_LONGEST] for name, value in request.model_dump(exclude={"plan"}).items()},
        "outcome": outcome,
        **stated,
    }
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        with (settings.data_dir / AUDIT).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
    except OSError as error:
        raise output_error("the audit file", error) from error
