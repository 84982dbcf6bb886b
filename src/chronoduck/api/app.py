"""``create_app``: the service as a FastAPI application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.middleware.cors import CORSMiddleware

from chronoduck import __version__
from chronoduck.api.access import Access
from chronoduck.api.addresses import DOCS_PATH, keep_docs_path
from chronoduck.api.docs_page import add_docs_page, keep_openapi_page
from chronoduck.api.middleware import EnvelopeMiddleware
from chronoduck.api.problems import add_problem_handlers
from chronoduck.api.proxies import ForwardedMiddleware, TrustedProxies
from chronoduck.api.request_metrics import RequestMetricsMiddleware
from chronoduck.api.request_traces import RequestTracesMiddleware
from chronoduck.api.router import API_PREFIX, Authenticate, join_public, join_routes, opened
from chronoduck.api.routes import metrics
from chronoduck.api.routes.load import DirectRows
from chronoduck.api.routes.query import DirectQuery
from chronoduck.api.routes.templates import document_templates
from chronoduck.api.runbook_pages import add_runbook_pages
from chronoduck.assembly import DuckDBService

__all__ = ["API_PREFIX", "DOCS_PATH", "create_app"]

_DESCRIPTION = """One DuckDB file for many users.

Send `Authorization: Bearer <token>` with an API key, a token of the platform, or the admin token, which
is in the file `admin.token` beside the database. Each route names the role that it needs.
Health, statistics, performance metrics, this page and the [runbooks](duckdb/runbooks) are
public. Every error is a problem (RFC 9457) whose `code` is stable and whose `hint` says what to do.
"""


def create_app(
    service: DuckDBService | None = None, authenticate: Authenticate | None = None
) -> FastAPI:
    """Return the application; it opens the service when it starts and closes it when it stops.

    ``service`` defaults to one made from the environment. ``authenticate`` is a FastAPI dependency
    that returns the `Principal` of a request or raises; it takes the place of admin token, keys and
    the platform's tokens. The pages under ``/docs`` work without any network.

    Raises:
        SettingsError: a setting is invalid.
    """
    access = Access(service or DuckDBService(), authenticate)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with opened(access):
            document_templates(app, await access.service.templates())
            yield

    app: FastAPI = FastAPIOffline(
        title="chronoduck",
        version=__version__,
        description=_DESCRIPTION,
        docs_url=None,  # add_docs_page; this only brings the files
        redoc_url=None,
        redirect_slashes=False,  # a redirect is built from the Host header
        lifespan=lifespan,
        # Asked about in the environment at every request otherwise (20 µs).
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.access = access
    keep_docs_path(app)
    if authenticate is None:
        # The host application's dependency is solved by the framework alone: no way past it.
        app.add_middleware(DirectQuery, path=f"{API_PREFIX}/query", access=access)
        app.add_middleware(DirectRows, prefix=f"{API_PREFIX}/tables/", access=access)
    _add_outer_middleware(app, access.service)
    add_problem_handlers(app)
    add_docs_page(app, DOCS_PATH)
    keep_openapi_page(app, access.pages)
    add_runbook_pages(app, f"{DOCS_PATH}/runbooks")
    app.include_router(join_routes(access), prefix=API_PREFIX)
    app.include_router(join_public(access, [metrics.router]))
    return app


def _add_outer_middleware(app: FastAPI, service: DuckDBService) -> None:
    """Add what is around every request; the last one is the outermost."""
    transport = service.settings.transport
    if transport.cors_origins:
        # No credentials: a token is sent because a page has it, never because a browser keeps it.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=transport.cors_origins,
            allow_methods=("GET", "POST", "PUT", "PATCH", "DELETE"),
            allow_headers=(
                "Authorization",
                "Content-Type",
                "Accept",
                "Idempotency-Key",
                "X-Request-ID",
            ),
            expose_headers=(
                "X-Request-ID",
                "X-Result-Truncated",
                "Retry-After",
                "Location",
                "Content-Disposition",
            ),
        )
    app.add_middleware(EnvelopeMiddleware)
    if service.tracing is not None:
        app.add_middleware(RequestTracesMiddleware, tracing=service.tracing)
    app.add_middleware(RequestMetricsMiddleware, metrics=service.metrics.requests)
    if transport.trusted_proxies:
        app.add_middleware(ForwardedMiddleware, proxies=TrustedProxies(transport.trusted_proxies))
