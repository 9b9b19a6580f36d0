"""The gateway: parts put together. Nothing connects at import; `create_app` gets all that it works with."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from fastapi import FastAPI

from hope import __version__
from hope.web.auth.auth import check_may_serve
from hope.web.components import GatewayComponents, components_for
from hope.web.context import WebContext
from hope.web.errors import UnexpectedErrors, install_errors
from hope.web.middleware.json_bodies import install_json_bodies
from hope.web.middleware.limits import install_limits
from hope.web.middleware.logs import install_logs
from hope.web.middleware.metrics import install_metrics
from hope.web.middleware.security import install_security
from hope.web.middleware.stopping import install_stopping
from hope.web.notify import Notifier
from hope.web.page import page_router
from hope.web.problems import install_openapi
from hope.web.routes import archive, cases, comparisons, files, series, service, sessions

_CHECKS = 6  # threads of readiness checks that may hang at once


def create_app(context: WebContext) -> FastAPI:
    """Put the gateway together.

    Args:
        context: stores, engine, settings; owned by the caller, who also closes them.

    Raises:
        InputError: if it would serve a public address without authentication.
    """
    check_may_serve(context.settings)
    # No interactive documentation page: it would load scripts of third parties.
    app = FastAPI(
        title="HOPE", version=__version__, docs_url=None, redoc_url=None, redirect_slashes=False, lifespan=_lifespan
    )
    components = app.state.components = components_for(context, _CHECKS)
    authenticator = components.authenticator
    areas = (sessions, cases, series, archive, files, comparisons, service)
    for router in (*(area.router for area in areas), authenticator.router):
        app.include_router(router)
    install_errors(app)
    # What is added last stands outermost.
    app.add_middleware(UnexpectedErrors)
    install_json_bodies(app)
    install_limits(app, context.settings)
    install_stopping(app)
    install_security(app, context.settings)
    install_metrics(app, context.store, authenticator)
    install_logs(app)
    app.include_router(page_router())
    install_openapi(app)
    return app


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    components: GatewayComponents = app.state.components
    context = components.context
    telling = asyncio.get_running_loop().create_task(Notifier(context.settings, context.store).run())
    try:
        yield
    finally:
        components.events.close()
        telling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await telling
