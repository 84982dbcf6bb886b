"""A web server that serves files the way bad servers do: a real one, in a thread."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

__all__ = ["WebServer"]


@dataclass
class WebServer:
    """Serves ``files``; what else it does is by their names. A context manager."""

    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    """Path and headers of each request."""
    cuts: int = 0
    """How many of the next answers break off in the middle."""
    busy: int = 0
    """How many of the next requests are answered by 503."""
    has_tags: bool = True
    redirects: dict[str, str] = field(default_factory=dict)
    has_length: bool = True
    part_bytes: int = 0
    """The longest part that is sent when the rest is asked for; 0 is all."""
    tells_total: bool = True
    """Whether such a part says how large the whole is."""

    def __enter__(self) -> Self:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer._answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("0.0.0.0", 0), Handler)  # of 127.0.0.2, too
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = handler.path.partition("?")[0]
        self.asked.append((handler.path, {k.lower(): v for k, v in handler.headers.items()}))
        if path in self.redirects:
            handler.send_response(302)
            handler.send_header("Location", self.redirects[path])
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        if self.busy:
            self.busy -= 1
            handler.send_response(503)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        if path not in self.files:
            handler.send_error(404)
            return
        body, start = self.files[path], 0
        tag = f'"{hash(body)}"'
        if self.has_tags and handler.headers.get("If-Range") == tag:
            start = int(handler.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        handler.send_response(206 if start else 200)
        if start:
            whole = str(len(body)) if self.tells_total else "*"
            if self.part_bytes:
                body = body[: start + self.part_bytes]
            handler.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{whole}")
        if self.has_tags:
            handler.send_header("ETag", tag)
        if self.has_length:
            handler.send_header("Content-Length", str(len(body) - start))
        handler.end_headers()
        body = body[start:]
        if self.cuts:
            self.cuts -= 1
            body = body[: len(body) // 2]
        handler.wfile.write(body)
