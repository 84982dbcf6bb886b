"""The runbooks as web pages, for whoever follows the link of an alert at night."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from html import escape

from fastapi import FastAPI
from markdown_it import MarkdownIt
from starlette.responses import HTMLResponse, Response

from chronoduck.pages import read_index, read_runbook

__all__ = ["add_runbook_pages"]

_INDEX = "README"

_STYLE = """
body { max-width: 50rem; margin: 2rem auto; padding: 0 1rem; font: 1.1rem/1.5 sans-serif; }
pre { padding: .8rem; overflow-x: auto; background: #eee; } code { background: #eee; }
table { border-collapse: collapse; }
th, td { padding: .3rem .6rem; border: 1px solid #999; text-align: left; }
@media (prefers-color-scheme: dark) {
  body { color: #ddd; background: #181818; } pre, code { background: #333; } a { color: #8bf; }
}
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def add_runbook_pages(app: FastAPI, path: str) -> None:
    """Serve the index under ``path`` and each runbook below it, to everybody.

    They are the same for every installation: nothing of this one is in them.
    """

    async def index() -> Response:
        return _page(None)

    async def runbook(name: str) -> Response:
        return _page(name)

    app.add_api_route(path, index, methods=["GET"], include_in_schema=False)
    app.add_api_route(f"{path}/{{name}}", runbook, methods=["GET"], include_in_schema=False)


def _page(name: str | None) -> Response:
    return HTMLResponse(_render(name), headers={"Content-Security-Policy": _POLICY})


@cache  # of few names: for others read_runbook raises
def _render(name: str | None) -> str:
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(read_index() if name is None else read_runbook(name))
    # Relative, so that they hold behind any proxy: the index lies one step above the others.
    below = "runbooks/" if name is None else ""
    for token in (inner for block in tokens for inner in block.children or ()):
        target = str(token.attrGet("href") or "")
        if token.type == "link_open" and target.endswith(".md"):
            stem = target.removesuffix(".md")
            token.attrSet("href", "../runbooks" if stem == _INDEX else below + stem)
    title = escape(tokens[1].content)  # the heading that every page begins with
    body = parser.renderer.render(tokens, parser.options, {})
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width">\n<title>{title}</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n"
    )
