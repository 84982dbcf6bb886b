"""The interactive documentation: Swagger UI from files of our own, under a strict policy."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Awaitable, Callable, Iterator

from fastapi import FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route, request_response

from chronoduck.api.public_pages import PublicPages

__all__ = ["add_docs_page", "keep_openapi_page"]

_STATIC = "/static-offline-docs"  # where fastapi-offline mounts its files


def add_docs_page(app: FastAPI, path: str) -> None:
    """Serve the page under ``path``.

    fastapi-offline's own page would need a policy that allows every inline script; here the one that
    the page has is allowed by its hash.
    """

    async def page(request: Request) -> Response:
        root = request.scope.get("root_path", "")
        html = get_swagger_ui_html(
            openapi_url=f"{root}{app.openapi_url}",
            title=app.title,
            swagger_js_url=f"{root}{_STATIC}/swagger-ui-bundle.js",
            swagger_css_url=f"{root}{_STATIC}/swagger-ui.css",
            swagger_favicon_url=f"{root}{_STATIC}/favicon.png",
        )
        body = bytes(html.body)
        return HTMLResponse(body, headers={"Content-Security-Policy": _policy(body)})

    app.add_api_route(path, page, methods=["GET"], include_in_schema=False)


def keep_openapi_page(app: FastAPI, pages: PublicPages) -> None:
    """Have the OpenAPI document be made into JSON once a second at most, which takes 10 ms."""
    [route] = [each for each in app.routes if getattr(each, "path", None) == app.openapi_url]
    assert isinstance(route, Route)  # noqa: S101 - FastAPI's own
    answer: Callable[[Request], Awaitable[Response]] = route.endpoint

    async def make(request: Request) -> Response:
        await asyncio.to_thread(app.openapi)  # the first time 0.3 s, and everybody else would wait
        return await answer(request)

    async def page(request: Request) -> Response:
        # Where the application is mounted is the host's word, not the client's.
        name = f"openapi {request.scope.get('root_path', '')}"
        return await pages.get(name, lambda: make(request))

    route.app = request_response(page)


def _inline_scripts(html: bytes) -> Iterator[bytes]:
    rest = html
    while b"<script>" in rest:
        script, end, rest = rest.partition(b"<script>")[2].partition(b"</script>")
        if end:
            yield script


def _policy(html: bytes) -> str:
    hashes = [
        f"'sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode()}'"
        for script in _inline_scripts(html)
    ]
    return (
        f"default-src 'none'; script-src 'self' {' '.join(hashes)}; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
