"""``create_router``: the API's routes for an application that exists already."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.routing import APIRoute

from chronoduck.api.access import PUBLIC, Access, attach, remember, required_role
from chronoduck.api.documentation import PROBLEM_RESPONSES
from chronoduck.api.problems import ProblemRoute
from chronoduck.api.revocation import RevocationWatch
from chronoduck.api.routes import key_router, public_routers, routers
from chronoduck.api.routes import metrics as metrics_routes
from chronoduck.api.routes.templates import document_templates
from chronoduck.assembly import DuckDBService
from chronoduck.assembly.authentication import open_authenticator
from chronoduck.errors import DuckDBException

__all__ = ["API_PREFIX", "Authenticate", "create_router", "join_public", "join_routes", "opened"]

API_PREFIX = "/api/v1/duckdb"
Authenticate = Callable[..., Any]
"""A FastAPI dependency that returns a `Principal`."""


def create_router(
    service: DuckDBService, authenticate: Authenticate | None = None, *, metrics: bool = True
) -> APIRouter:
    """Return all routes for ``app.include_router(..., prefix="/api/v1/duckdb")``.

    The application opens the service before its own lifespan begins and closes it after that has ended.
    ``authenticate`` is the application's own dependency; it returns a `Principal` or raises, and is asked
    for every route that is not public. Without it admin token, keys and the platform's tokens are asked
    for. ``metrics``: whether ``GET {prefix}/metrics`` is one of the routes.
    """
    access = Access(service, authenticate)
    router = _HostedRouter(access)
    router.include_router(join_routes(access))
    if metrics:
        router.include_router(join_public(access, [metrics_routes.router]))
    return router


class _HostedRouter(APIRouter):
    """Routes that open their service around all of the application that includes them.

    FastAPI nests the lifespan of a router inside the application's own: the service would be closed
    before the application's code behind ``yield`` has run.
    """

    def __init__(self, access: Access) -> None:
        self._access = access

        @asynccontextmanager
        async def inside(app: Any) -> AsyncIterator[None]:
            async with opened(
                access
            ):  # by the application already; or here, where it was not asked
                yield

        super().__init__(lifespan=inside)

    def _contains_router(self, router: APIRouter, seen: set[int] | None = None) -> bool:
        """Surround the router that includes this one, or what includes this one: FastAPI asks before."""
        router.lifespan_context = _surrounded(self._access, router.lifespan_context)
        return super()._contains_router(router, seen)


def _surrounded(access: Access, own: Callable[[Any], Any]) -> Callable[[Any], Any]:
    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[Any]:
        async with opened(access):
            if isinstance(app, FastAPI):
                document_templates(app, await access.service.templates())
            async with own(app) as state:
                yield state

    return lifespan


@asynccontextmanager
async def opened(access: Access) -> AsyncIterator[None]:
    """Open the service and what tells who asks, if they are not; who opened them closes them."""
    if access.is_open:
        yield
        return
    service = access.service
    await _open(service)
    access.is_open = True
    watching: asyncio.Task[None] | None = None
    try:
        if access.authenticate is None:
            # After the database: its directory exists and belongs to us now.
            access.authenticator = await asyncio.to_thread(open_authenticator, service.settings)
            access.authenticator.start()
            watch = RevocationWatch(service, access.authenticator.keys)
            watching = asyncio.create_task(watch.run())
        yield
    finally:
        access.is_open = False
        if watching is not None:
            watching.cancel()
        closing, access.authenticator = access.authenticator, None
        if closing is not None:
            await closing.close()
        await service.shutdown()


async def _open(service: DuckDBService) -> None:
    """Open the service; the server of a host application shows the hint of a failure, and no causes."""
    try:
        await service.initialize()
    except DuckDBException as error:
        if error.hint:
            error.add_note(error.hint)
        raise error.with_traceback(None) from None


def join_routes(access: Access) -> APIRouter:
    """Return all routes, each knowing the access; every route but the public ones demands a role."""
    protected = [*routers] if access.authenticate else [*routers, key_router]
    joined = join_public(access, public_routers)
    for router in protected:
        _check(router, is_public=False)
        joined.include_router(router, dependencies=_of_host(access.authenticate))
    return joined


def join_public(access: Access, routers: Sequence[APIRouter]) -> APIRouter:
    """Return routes that need no credential, each knowing the access."""

    async def know_access(request: Request) -> None:
        attach(request.scope, access)

    joined = APIRouter(dependencies=[Depends(know_access)], responses=PROBLEM_RESPONSES)
    for router in routers:
        _check(router, is_public=True)
        joined.include_router(router)
    return joined


def _of_host(authenticate: Authenticate | None) -> list[Any]:
    """Return the dependency that asks the host application's one and keeps its answer."""
    if authenticate is None:
        return []

    async def ask(request: Request, principal: Any = Depends(authenticate)) -> None:  # noqa: B008
        remember(request, principal)

    return [Depends(ask)]


def _check(router: APIRouter, *, is_public: bool) -> None:
    """Refuse to serve a route that nobody has thought about.

    Raises:
        RuntimeError: a route is neither listed as public nor demands a role.
    """
    for route in router.routes:
        if not isinstance(route, APIRoute):
            raise RuntimeError(f"{route} is no route of the API")
        names = {(method, route.path) for method in route.methods or ()}
        is_answered_alike = isinstance(route, ProblemRoute)
        is_guarded = names <= PUBLIC if is_public else required_role(route.dependant) is not None
        if not (is_guarded and is_answered_alike):
            raise RuntimeError(
                f"{sorted(names)} must be listed as public or demand a role, as a ProblemRoute"
            )
