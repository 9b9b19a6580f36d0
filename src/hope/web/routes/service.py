"""The service itself: words, models, health."""

from __future__ import annotations

from collections.abc import Callable

import anyio
from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter

from hope.domain.errors import FullError
from hope.web.auth.access import Components, Context
from hope.web.dicom_objects import can_make_objects
from hope.web.errors import ProblemError, log_failure
from hope.web.problems import problems
from hope.web.schemas import HealthOut, ModelOut, ModelsOut, ReadyOut
from hope.web.vocabulary import Feature, VocabularyOut, vocabulary

router = APIRouter(tags=["service"])

READY_SECONDS = 2.0


@router.get("/api/vocabulary", operation_id="get_vocabulary", responses=problems())
@router.get("/api/words", include_in_schema=False)  # its name in version 0.1; answered for one version
def get_vocabulary(context: Context, components: Components) -> VocabularyOut:
    """Colours, titles and sentences: one table for page, report and programs."""
    models = context.models()
    default = next((model for model in models if model.get("default")), models[0] if models else {})
    platform = context.settings.platform
    optional, model_id = default.get("optional") or [], str(default.get("id", ""))
    there = {Feature.DICOM_OBJECTS: can_make_objects(), Feature.ARCHIVE: components.archive.is_there}
    features = [feature for feature, is_there in there.items() if is_there]
    return vocabulary(platform.session_hours, optional, platform.docs_url, model_id, features)


@router.get("/api/models", operation_id="list_models", response_model_exclude_unset=True, responses=problems())
def list_models(context: Context) -> ModelsOut:
    """The model bundles that a run can choose from."""
    return ModelsOut(models=[ModelOut(**model) for model in context.models()])


@router.get("/healthz", operation_id="health", responses=problems(probe=True))
async def health() -> HealthOut:
    """Whether the process answers."""
    return HealthOut(status="ok")


@router.get("/readyz", operation_id="ready", responses=problems(503, probe=True))
async def ready(components: Components, context: Context) -> ReadyOut:
    """Whether store, blobs and engine answer within two seconds and the disk has room; 503 names what does not."""
    checks = {
        "store": context.store.check,
        "blobs": context.blobs.check,
        "queue": context.queue.check,
        "disk": components.disk.check,
    }
    states: dict[str, str] = {}
    async with anyio.create_task_group() as group:
        for name, check in checks.items():
            group.start_soon(_look, name, check, components.check_limiter, states)
    failed = sorted(name for name, state in states.items() if state != "ok")
    if failed:
        raise ProblemError(503, "not-ready", "; ".join(f"{name} {states[name]}" for name in failed))
    return ReadyOut(status="ok", parts=states)


async def _look(name: str, check: Callable[[], None], limiter: CapacityLimiter, states: dict[str, str]) -> None:
    states[name] = "does not answer"
    with anyio.move_on_after(READY_SECONDS):
        try:
            # A check that hangs keeps its thread; the limiter keeps their number small.
            await to_thread.run_sync(check, abandon_on_cancel=True, limiter=limiter)
        except FullError:
            states[name] = "is full"
        except Exception as error:  # whatever it is, this part is not ready
            log_failure(f"the {name} is not ready", error)
            states[name] = "reports an error"
        else:
            states[name] = "ok"
