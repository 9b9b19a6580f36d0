"""What a training job names: the executor of a site and the controller of the server.

Only ``flare``, ``flare_session`` and it import FLARE.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from nvflare.apis.controller_spec import ClientTask, Task
from nvflare.apis.dxo import DXO, DataKind, MetaKey, from_shareable
from nvflare.apis.event_type import EventType
from nvflare.apis.executor import Executor
from nvflare.apis.fl_context import FLContext
from nvflare.apis.impl.controller import Controller
from nvflare.apis.shareable import Shareable
from nvflare.apis.signal import Signal
from nvflare.app_common.aggregators.weighted_aggregation_helper import WeightedAggregationHelper

from hope.domain.errors import HopeError
from hope.federated.averaging import TASKS, Asking, Reply, run_training
from hope.federated.flare import RESPONSE, read_dxo
from hope.federated.jobs import RESULTS
from hope.federated.plan import read_plan
from hope.federated.responses import Difference, Refusal, Response
from hope.federated.site import TRAINING, Request
from hope.federated.training_outcome import write_training
from hope.federated.weights import Weights, is_sound
from hope.federated.work import train
from hope.formats.private_directory import private_directory

_FIRST, _LAST = "first", "last"


class TrainingExecutor(Executor):
    """Trains some steps at a site, or measures a model there; see ``hope.federated.training``.

    Args:
        model: id of the bundle that the training starts from.
        sha256: the hash that the site's copy must have.
        plan: of the training, as ``TrainingPlan`` has it.
    """

    def __init__(self, model: str, sha256: str, plan: dict[str, Any]) -> None:
        super().__init__()
        self.model, self.sha256 = str(model), str(sha256)
        self.plan = read_plan(plan)
        self.cases: Path | None = None
        self._held = ExitStack()

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Remove the cases on the model's grid when the job ends."""
        if event_type == EventType.END_RUN:
            self.cases = None
            self._held.close()

    def execute(self, task_name: str, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:
        """Do the work in a process of its own; see ``nvflare.apis.executor.Executor``."""
        dxo = from_shareable(shareable)
        if task_name not in TASKS or not all(isinstance(name, str) and is_sound(a) for name, a in dxo.data.items()):
            return _as_shareable(Refusal(code="bad_weights"))
        request = Request(
            job=TRAINING,
            model=self.model,
            sha256=self.sha256,
            site=str(fl_ctx.get_identity_name()),
            task=task_name,
            first=int(dxo.get_meta_prop(_FIRST, 0)),
            last=int(dxo.get_meta_prop(_LAST, 0)),
            plan=self.plan,
        )
        # It holds scans: what a client that was killed left is deleted by the next one on this machine.
        self.cases = self.cases or self._held.enter_context(private_directory())
        given, difference = train(request, dxo.data, self.cases, lambda: bool(abort_signal.triggered))
        outcome = given.message if isinstance(given, Refusal) else f"{given.kind} of {given.n} cases"
        self.log_info(fl_ctx, f"hope: {task_name}: {outcome}")
        if difference is None:
            return _as_shareable(given)
        # By the steps PercentilePrivacy scales what it cuts off.
        meta = {MetaKey.NUM_STEPS_CURRENT_ROUND: request.last - request.first, RESPONSE: given.model_dump_json()}
        return DXO(DataKind.WEIGHT_DIFF, data=difference, meta=meta).to_shareable()


def _as_shareable(given: Response) -> Shareable:
    return DXO(DataKind.STATISTICS, data={RESPONSE: given.model_dump_json()}).to_shareable()


class FederatedTraining(Controller):
    """Averages the differences of the sites by FLARE's weighted mean, compares models, writes result and bundle.

    Args:
        model: id of the bundle that the training starts from; the server has it too.
        sha256: its hash.
        plan: of the training, as ``TrainingPlan`` has it.
        hours: how long to wait for the sites in each task.
    """

    def __init__(self, model: str, sha256: str, plan: dict[str, Any], hours: float = 24.0) -> None:
        super().__init__()
        self.model, self.sha256 = str(model), str(sha256)
        self.plan = read_plan(plan)
        self.seconds = int(hours * 3600)
        self.replies: dict[str, Reply] = {}

    def start_controller(self, fl_ctx: FLContext) -> None:
        """Nothing to prepare."""

    def stop_controller(self, fl_ctx: FLContext) -> None:
        """Nothing to put away."""

    def control_flow(self, abort_signal: Signal, fl_ctx: FLContext) -> None:
        """Train, compare, write; see ``nvflare.apis.impl.controller.Controller``."""
        from hope.federated.training_outcome import base_of

        engine = fl_ctx.get_engine()
        try:
            base = base_of(self.model, self.sha256, self.plan)
        except HopeError as error:
            self.system_panic(f"hope: {error}", fl_ctx)
            return

        def ask(asking: Asking, sites: Sequence[str]) -> Mapping[str, Reply]:
            return self._ask(asking, sites, abort_signal, fl_ctx)

        names = [str(client.name) for client in engine.get_clients()]
        training = run_training(self.plan, base.weights, names, ask, flare_average)
        if abort_signal.triggered:
            return
        folder = Path(engine.get_workspace().get_result_root(fl_ctx.get_job_id())) / RESULTS
        write_training(base, self.plan, training, folder)
        self.log_info(fl_ctx, f"hope: {len(training.rounds)} of {self.plan.rounds} rounds")

    def _ask(
        self, asking: Asking, sites: Sequence[str], abort_signal: Signal, fl_ctx: FLContext
    ) -> Mapping[str, Reply]:
        """Ask sites and wait for them."""
        self.replies = {}
        if abort_signal.triggered:
            return {}
        data = DXO(DataKind.WEIGHTS, data=dict(asking.weights), meta={_FIRST: asking.first, _LAST: asking.last})
        task = Task(name=asking.task, data=data.to_shareable(), timeout=self.seconds, result_received_cb=self._received)
        self.broadcast_and_wait(
            task=task, fl_ctx=fl_ctx, targets=list(sites), min_responses=len(sites), abort_signal=abort_signal
        )
        return self.replies

    def process_result_of_unknown_task(
        self, client: Any, task_name: str, client_task_id: str, result: Shareable, fl_ctx: FLContext
    ) -> None:
        """An answer that came too late counts for nothing."""

    def _received(self, client_task: ClientTask, fl_ctx: FLContext) -> None:
        """Keep the answer of one site."""
        reply = Reply(Refusal(code="unreadable"))
        if client_task.result.get_return_code() == "OK":
            try:
                dxo = from_shareable(client_task.result)
            except ValueError:
                dxo = None
            given = read_dxo(dxo) if dxo is not None else None
            if given is not None:
                reply = Reply(given, dxo.data if isinstance(given, Difference) else None)
        self.replies[str(client_task.client.name)] = reply
        client_task.result = None


def flare_average(given: Mapping[str, tuple[Weights, int]]) -> Weights:
    """The mean of differences weighted by cases, by FLARE's own helper of FedAvg."""
    helper = WeightedAggregationHelper()
    for site, (difference, n) in given.items():
        helper.add(data=dict(difference), weight=float(n), contributor_name=site, contribution_round=0)
    mean: Weights = helper.get_result()
    return mean
