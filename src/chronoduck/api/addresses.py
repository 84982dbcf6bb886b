"""Where the API stands for the client of a request: below which prefix, and where it is described."""

from __future__ import annotations

from typing import Any

from fastapi import Request

__all__ = ["DOCS_PATH", "api_root", "keep_docs_path", "see_docs"]

DOCS_PATH = "/docs/api/duckdb"
"""Of ``create_app``; an application of somebody else's has pages of its own."""
_DOCS = "chronoduck.docs"


def api_root(request: Request) -> str:
    """Return the path before those of the routes: a host application includes them where it wants."""
    path: str = request.scope["path"]
    own: str = request.scope["route"].path_format.format_map(request.path_params)
    return path.removesuffix(own)


def keep_docs_path(app: Any) -> None:
    """Have hints in this application name ``DOCS_PATH``."""
    setattr(app.state, _DOCS, DOCS_PATH)


def see_docs(scope: Any, what: str) -> str:
    """Return the hint that names the documentation of the application, empty where it has none."""
    app = scope.get("app")
    path = DOCS_PATH
    if app is not None:
        has_pages = app.openapi_url is not None
        path = getattr(app.state, _DOCS, (app.docs_url or app.openapi_url) if has_pages else "")
    return f"See {scope.get('root_path', '')}{path} for {what}." if path else ""
