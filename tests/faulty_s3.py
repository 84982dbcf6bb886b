"""Stands before an S3 server and does what bad stores do: fails, lags, forgets to answer, cuts bodies."""

from __future__ import annotations

import http.client
import random
import re
import threading
import time
from collections import Counter
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, unquote, urlsplit

__all__ = ["Fault", "FaultyS3"]

_STALE_SECONDS = 3.0
_SLOW_SECONDS = 0.7
_ENTRY = re.compile(rb"<Contents>.*?</Contents>", re.DOTALL)
_KEY = re.compile(rb"<Key>(.*?)</Key>", re.DOTALL)
_NOT_FORWARDED = frozenset({"connection", "transfer-encoding", "content-length", "keep-alive"})
_ERROR = '<?xml version="1.0"?><Error><Code>{code}</Code><Message>made to fail</Message></Error>'


class Fault(StrEnum):
    """What happens to a share of the requests."""

    NONE = "none"
    INTERNAL_ERROR = "internal error"
    """The store answers 500."""
    SLOW_DOWN = "slow down"
    """The store answers 503 and does nothing."""
    SLOW = "slow"
    """Every answer takes its time."""
    LOST_ANSWER = "lost answer"
    """The store does what it is told, and the connection ends before it says so."""
    STALE_LISTING = "stale listing"
    """Listings lack what was written in the last seconds."""
    CUT_BODY = "cut body"
    """The connection ends in the middle of what is read."""


class FaultyS3:
    """Forwards HTTP to a store; ``fault`` may be changed at any time. A context manager."""

    def __init__(self, port: int, *, share: float = 0.5, seed: int = 1) -> None:
        self.target = port
        self.share = share
        self.fault = Fault.NONE
        self.happened: Counter[Fault] = Counter()
        self.deleted = 0
        """Requests that deleted something and reached the store."""
        self.written: dict[str, float] = {}
        """When each path was written last."""
        self.random = random.Random(seed)
        self.lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"proxy": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign] # a client went away
        self.port = int(self._server.server_address[1])

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def strikes(self) -> bool:
        """Whether the fault happens to this request."""
        with self.lock:
            return self.random.random() < self.share

    def without_newest(self, bucket: str, listing: bytes) -> bytes:
        """Return a listing without what was written in the last seconds."""

        def judge(entry: re.Match[bytes]) -> bytes:
            key = _KEY.search(entry[0])
            assert key
            path = f"{bucket}/{unquote(key[1].decode())}"
            is_new = time.monotonic() - self.written.get(path, -1e9) < _STALE_SECONDS
            self.happened[Fault.STALE_LISTING] += is_new
            return b"" if is_new else entry[0]

        return _ENTRY.sub(judge, listing)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: FaultyS3

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""

    def _serve(self) -> None:
        proxy, fault = self.proxy, self.proxy.fault
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if fault in (Fault.INTERNAL_ERROR, Fault.SLOW_DOWN) and proxy.strikes():
            proxy.happened[fault] += 1
            is_internal = fault is Fault.INTERNAL_ERROR
            text = _ERROR.format(code="InternalError" if is_internal else "SlowDown")
            self._answer(500 if is_internal else 503, [], text.encode())
            return
        if fault is Fault.SLOW:
            proxy.happened[fault] += 1
            time.sleep(proxy.random.random() * _SLOW_SECONDS)
        status, headers, answer = self._forward(body)
        url = urlsplit(self.path)
        if self.command == "PUT" and status == 200:
            proxy.written[unquote(url.path).lstrip("/")] = time.monotonic()
        if self.command == "DELETE" or "delete" in parse_qs(url.query, keep_blank_values=True):
            proxy.deleted += status < 300
        if fault is Fault.LOST_ANSWER and self.command != "GET" and proxy.strikes():
            proxy.happened[fault] += 1
            self.close_connection = True
            return
        if fault is Fault.STALE_LISTING and "list-type=2" in url.query:
            answer = proxy.without_newest(url.path.strip("/"), answer)
        if (
            fault is Fault.CUT_BODY
            and self.command == "GET"
            and len(answer) > 1
            and proxy.strikes()
        ):
            proxy.happened[fault] += 1
            self._answer(status, headers, answer, sent=len(answer) // 2)
            self.close_connection = True
            return
        self._answer(status, headers, answer)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _serve  # noqa: N815 - the base class's names

    def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.proxy.target, timeout=60)
        try:
            connection.putrequest(
                self.command, self.path, skip_host=True, skip_accept_encoding=True
            )
            for name, value in self.headers.items():
                connection.putheader(name, value)
            connection.endheaders(body or None)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def _answer(
        self, status: int, headers: list[tuple[str, str]], body: bytes, *, sent: int | None = None
    ) -> None:
        self.send_response_only(status)
        length = str(len(body))
        for name, value in headers:
            if name.lower() == "content-length" and self.command == "HEAD":
                length = value
            elif name.lower() not in _NOT_FORWARDED:
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:sent])
