"""A server's status decides what a refusal means, and never the words behind it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from chronoduck.storage import StoreError
from chronoduck.storage.blob_store import BlobConflictError
from chronoduck.storage.s3 import S3BlobStore, S3Location

pytest.importorskip("obstore")
WORDS = "501 Not Implemented <Code>NotImplemented</Code> status: 501"


@dataclass
class Answers:
    """What the server answers: one status for conditional writes, and blobs that it keeps."""

    status: int = 200
    body: str = ""
    only_for: str = ""
    """The only path that the status is for; empty: all."""
    blobs: dict[str, bytes] = field(default_factory=dict)
    unconditional: list[str] = field(default_factory=list)
    """Writes without a condition that reached it."""


class _Handler(BaseHTTPRequestHandler):
    answers: Answers
    protocol_version = "HTTP/1.1"

    def _send(self, status: int, body: bytes = b"") -> None:
        self.send_response(status, "Words" if status == 500 else None)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"e"')
        self.send_header("Last-Modified", "Sun, 29 Nov 2026 16:51:22 GMT")
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self) -> None:
        answers, data = self.answers, self.rfile.read(int(self.headers["Content-Length"]))
        is_conditional = "If-None-Match" in self.headers or "If-Match" in self.headers
        if is_conditional and answers.status != 200 and answers.only_for in ("", self.path):
            self._send(answers.status, answers.body.encode())
            return
        if not is_conditional:
            answers.unconditional.append(self.path)
        answers.blobs[self.path] = data
        self._send(200)

    def do_HEAD(self) -> None:
        self._send(200 if self.path in self.answers.blobs else 404)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._send(200, b'<?xml version="1.0"?><DeleteResult></DeleteResult>')

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
def store(answers: Answers) -> Iterator[S3BlobStore]:
    handler = type("Handler", (_Handler,), {"answers": answers})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    yield S3BlobStore(S3Location("b", "", "x", endpoint, "key", "secret"))
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("status", [400, 403, 409, 412])
def test_words_about_conditions_make_no_write_unconditional(
    store: S3BlobStore, answers: Answers, status: int
) -> None:
    answers.blobs["/b/lease"] = b"another's"
    answers.status, answers.body = status, WORDS
    with pytest.raises((StoreError, BlobConflictError)):
        store.replace("lease", b"mine", '"e"')
    assert answers.blobs == {"/b/lease": b"another's"}
    assert answers.unconditional == []


def test_one_refusal_of_a_server_that_knows_conditions_is_not_believed(
    store: S3BlobStore, answers: Answers
) -> None:
    answers.blobs["/b/lease"] = b"another's"
    answers.status, answers.only_for = 501, "/b/lease"
    with pytest.raises(StoreError):
        store.replace("lease", b"mine", '"e"')
    assert answers.blobs["/b/lease"] == b"another's"
    assert answers.unconditional == []


def test_a_server_without_conditions_is_asked_for_the_version(
    store: S3BlobStore, answers: Answers
) -> None:
    answers.status, answers.body = 501, ""
    answers.blobs["/b/lease"] = b"old"
    store.replace("lease", b"new", '"e"')
    assert answers.blobs["/b/lease"] == b"new"
    with pytest.raises(BlobConflictError):
        store.replace("lease", b"newer", '"another"')
    assert answers.blobs == {"/b/lease": b"new"}
