"""What a job names: the executor of a site, the filter on what it sends, the controller of the server.

Only it, ``flare_training`` and ``flare_session`` import FLARE; FLARE imports them by the names in a job, under a site's
list of allowed classes.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from nvflare.apis.controller_spec import ClientTask, Task
from nvflare.apis.dxo import DXO, DataKind, MetaKey, from_shareable
from nvflare.apis.dxo_filter import DXOFilter
from nvflare.apis.executor import Executor
from nvflare.apis.filter import ContentBlockedException
from nvflare.apis.fl_context import FLContext
from nvflare.apis.impl.controller import Controller
from nvflare.apis.shareable import Shareable
from nvflare.apis.signal import Signal

from hope.domain.errors import InputError
from hope.federated.jobs import RESULTS, TASK
from hope.federated.outcome import Asked, write_outcome
from hope.federated.responses import Difference, Refusal, Response, read_response
from hope.federated.site import TRAINING, Request
from hope.federated.weights import is_sound
from hope.federated.work import work
from hope.settings import Settings

RESPONSE = "response"
"""Key of the answer in a DXO."""

_PARAMETER = re.compile(r"[a-z0-9_]{1,40}(\.[a-z0-9_]{1,40}){1,15}")
_KNOWN_META = {RESPONSE, MetaKey.NUM_STEPS_CURRENT_ROUND, MetaKey.FILTER_HISTORY}


class SiteExecutor(Executor):
    """Answers a task at a site with aggregates, or with why there are none.

    Args:
        job: kind of job.
        model: id of a bundle in the site's registry.
        sha256: the hash that it must have.
    """

    def __init__(self, job: str, model: str = "", sha256: str = "") -> None:
        super().__init__()
        self.asked = (str(job), str(model), str(sha256))

    def execute(self, task_name: str, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:
        """Do the work in a process of its own; see ``nvflare.apis.executor.Executor``."""
        job, model, sha256 = self.asked
        request = Request(job=job, model=model, sha256=sha256, site=str(fl_ctx.get_identity_name()))
        given = work(request, lambda: bool(abort_signal.triggered))
        outcome = f"no figures: {given.message}" if isinstance(given, Refusal) else f"figures of {given.n} cases"
        self.log_info(fl_ctx, f"hope: {outcome}")
        return DXO(DataKind.STATISTICS, data={RESPONSE: given.model_dump_json()}).to_shareable()


class AggregatesOnly(DXOFilter):
    """Lets an answer of `SiteExecutor` pass and blocks everything else; a site names it in its privacy.json."""

    def __init__(self) -> None:
        super().__init__(supported_data_kinds=[], data_kinds_to_filter=[])

    def process_dxo(self, dxo: DXO, shareable: Shareable, fl_ctx: FLContext) -> DXO | None:
        """Check the answer; see ``nvflare.apis.dxo_filter.DXOFilter``."""
        given = read_dxo(dxo)
        if isinstance(given, Difference) and TRAINING not in Settings.from_environment().federated.allowed:
            given = None
        if given is None:
            raise ContentBlockedException("hope: the answer holds more or less than aggregates")
        return None


class CollectResponses(Controller):
    """Asks every site of the job once and writes one result of all answers.

    Args:
        job: kind of job.
        model: id of the bundle that the sites are asked to use.
        sha256: its hash.
        hours: how long to wait for them.
    """

    def __init__(self, job: str, model: str = "", sha256: str = "", hours: float = 24.0) -> None:
        super().__init__()
        self.asked = Asked(str(job), str(model), str(sha256))
        self.seconds = int(hours * 3600)
        self.responses: dict[str, Response] = {}

    def start_controller(self, fl_ctx: FLContext) -> None:
        """Nothing to prepare."""

    def stop_controller(self, fl_ctx: FLContext) -> None:
        """Nothing to put away."""

    def control_flow(self, abort_signal: Signal, fl_ctx: FLContext) -> None:
        """Ask, wait, write; see ``nvflare.apis.impl.controller.Controller``."""
        engine = fl_ctx.get_engine()
        sites = [str(client.name) for client in engine.get_clients()]
        task = Task(name=TASK, data=Shareable(), timeout=self.seconds, result_received_cb=self._received)
        self.broadcast_and_wait(task=task, fl_ctx=fl_ctx, min_responses=len(sites), abort_signal=abort_signal)
        responses = {site: self.responses.get(site, Refusal(code="silent")) for site in sites}
        folder = Path(engine.get_workspace().get_result_root(fl_ctx.get_job_id())) / RESULTS
        write_outcome(self.asked, responses, folder)
        self.log_info(fl_ctx, f"hope: {len(self.responses)} of {len(sites)} sites answered")

    def process_result_of_unknown_task(
        self, client: Any, task_name: str, client_task_id: str, result: Shareable, fl_ctx: FLContext
    ) -> None:
        """An answer that came too late counts for nothing."""

    def _received(self, client_task: ClientTask, fl_ctx: FLContext) -> None:
        """Keep the answer of one site."""
        given: Response | None = None
        if client_task.result.get_return_code() == "OK":
            try:
                given = read_dxo(from_shareable(client_task.result))
            except ValueError:
                given = None
        self.responses[str(client_task.client.name)] = given or Refusal(code="unreadable")
        client_task.result = None


def read_dxo(dxo: DXO) -> Response | None:
    """The answer in a DXO; None if it holds anything else, such as arrays whose names are no parameters'."""
    if not isinstance(dxo.data, dict):
        return None
    trained = dxo.data_kind == DataKind.WEIGHT_DIFF
    if trained:
        text, alone = dxo.get_meta_prop(RESPONSE), set(dxo.meta) <= _KNOWN_META and _are_parameters(dxo.data)
    else:
        text, alone = dxo.data.get(RESPONSE), dxo.data_kind == DataKind.STATISTICS and set(dxo.data) == {RESPONSE}
    if not alone:
        return None
    try:
        given = read_response(str(text))
    except InputError:
        return None
    return given if isinstance(given, Difference) == trained else None


def _are_parameters(data: dict[Any, Any]) -> bool:
    """Whether all is finite arrays under names of a network's parameters."""
    return all(isinstance(name, str) and _PARAMETER.fullmatch(name) and is_sound(array) for name, array in data.items())
