"""Meilisearch's HTTP contract as its documentation has it, as a process that keeps all in a directory.

No binary of Meilisearch can be had where the tests run. This is strict where it is: tasks are queued
(202), worked off in order by one thread, kept over kill -9, and fail with the documented codes. It
ranks nothing: a search returns documents that contain the text.

    python -m tests.meilisearch_contract DIRECTORY PORT KEY PAYLOAD_BYTES
"""

from __future__ import annotations

import gzip
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.meilisearch_store import SETTINGS, UID, ContractError, Store


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    store: Store
    key: str
    payload_bytes: int

    def log_message(self, *_: Any) -> None:
        pass

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True

    def _answer(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        self.asked = {
            name: values[-1]
            for name, values in parse_qs(parts.query, keep_blank_values=True).items()
        }
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if parts.path == "/_faults":
            fault = json.loads(body)
            if "slow_seconds" in fault:
                self.store.slow_seconds = fault["slow_seconds"]
            else:
                self.store.faults.append({"times": 1, **fault})
            self._answer(200, {})
            return
        told = f"{self.command} {parts.path}"
        if (fault := self.store.take_fault("status", told)) is not None:
            headers = {"Retry-After": str(fault["retry_after"])} if "retry_after" in fault else {}
            error = ContractError(
                fault.get("code", "too_many_search_requests"), "Too many requests."
            )
            self._answer(fault["status"], error.body, headers)
            return
        if (fault := self.store.take_fault("answer", told)) is not None:
            self._answer(fault["status"], fault["body"])
            return
        if self.store.take_fault("drop_before", told) is not None:
            self.close_connection = True
            return
        try:
            self._authorize(parts.path)
            status, answer = self._route(parts.path.strip("/").split("/"), body)
        except ContractError as error:
            status, answer = error.status, error.body
        if self.store.take_fault("drop_after", told) is not None:
            self.close_connection = True
            return
        self._answer(status, answer)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815

    def _authorize(self, path: str) -> None:
        if not self.key or path == "/health":
            return
        given = self.headers.get("Authorization")
        if given is None:
            raise ContractError(
                "missing_authorization_header",
                "The Authorization header is missing. It must use the bearer authorization method.",
            )
        if given != f"Bearer {self.key}":
            raise ContractError("invalid_api_key", "The provided API key is invalid.")

    def _route(self, path: list[str], body: bytes) -> tuple[int, Any]:
        store = self.store
        match self.command, path:
            case "GET", ["health"]:
                return 200, {"status": "available"}
            case "GET", ["version"]:
                return 200, {"commitSha": "", "commitDate": "", "pkgVersion": "1.41.0"}
            case "POST", ["indexes"]:
                asked = self._json(body)
                self._check_uid(asked.get("uid", ""))
                key = asked.get("primaryKey")
                return 202, store.enqueue(
                    "indexCreation", asked["uid"], {"primaryKey": key}, {"primaryKey": key}
                )
            case "POST", ["swap-indexes"]:
                return 202, self._swap(self._json(body))
            case "GET", ["tasks"]:
                return 200, self._tasks()
            case "GET", ["tasks", uid] if not uid.isdecimal():
                raise ContractError(
                    "invalid_task_uid", f"Invalid value in parameter `task_uid`: `{uid}`."
                )
            case "GET", ["tasks", uid]:
                found = store.rows(f"{_TASK} WHERE uid = ?", int(uid))
                if not found:
                    raise ContractError("task_not_found", f"Task `{uid}` not found.")
                return 200, _task(found[0])
            case _, ["indexes", uid, *rest]:
                self._check_uid(uid)
                return self._index(uid, rest, body)
        raise ContractError("not_found", "Not found", 404)

    def _check_uid(self, uid: str) -> None:
        if not UID.fullmatch(uid):
            raise ContractError(
                "invalid_index_uid",
                f"`{uid}` is not a valid index uid. Index uid can be an integer or a string containing only alphanumeric characters, hyphens (-) and underscores (_), and can not be more than 400 bytes.",
            )

    def _json(self, body: bytes) -> Any:
        self._check_content(("application/json",))
        try:
            return json.loads(body)
        except ValueError as error:
            raise ContractError(
                "malformed_payload", f"The json payload provided is malformed. `{error}`."
            ) from None

    def _check_content(self, accepted: tuple[str, ...]) -> str:
        told = self.headers.get("Content-Type")
        known = ", ".join(f"`{each}`" for each in accepted)
        if told is None:
            raise ContractError(
                "missing_content_type",
                f"A Content-Type header is missing. Accepted values for the Content-Type header are: {known}",
            )
        if told.split(";")[0] not in accepted:
            raise ContractError(
                "invalid_content_type",
                f"The Content-Type `{told}` is invalid. Accepted values for the Content-Type header are: {known}",
            )
        return told.split(";")[0]

    def _swap(self, pairs: Any) -> dict[str, Any]:
        seen: set[str] = set()
        for each in pairs:
            if len(each["indexes"]) != 2:
                raise ContractError(
                    "invalid_swap_indexes",
                    f"Two indexes must be given for each swap. The list `{each['indexes']}` contains {len(each['indexes'])} indexes.",
                )
            for uid in each["indexes"]:
                if uid in seen:
                    raise ContractError(
                        "invalid_swap_duplicate_index_found",
                        f"Indexes must be declared only once during a swap. `{uid}` was specified several times.",
                    )
                seen.add(uid)
        return self.store.enqueue("indexSwap", None, pairs, {"swaps": pairs})

    def _tasks(self) -> dict[str, Any]:
        conditions, values = ["true"], []
        fields = {"statuses": "status", "types": "type", "indexUids": "index_uid", "uids": "uid"}
        for name, value in self.asked.items():
            if name in fields:
                told = value.split(",")
                conditions.append(f"{fields[name]} IN ({', '.join('?' * len(told))})")
                values += told
            elif name not in ("limit", "from"):
                raise ContractError("bad_request", f"Unknown parameter `{name}`")
        where = " AND ".join(conditions)
        limit = int(self.asked.get("limit", 20))
        found = self.store.rows(f"{_TASK} WHERE {where} ORDER BY uid DESC LIMIT ?", *values, limit)
        total = self.store.rows(f"SELECT count(*) FROM tasks WHERE {where}", *values)[0][0]
        results = [_task(row) for row in found]
        return {
            "results": results,
            "total": total,
            "limit": limit,
            "from": results[0]["uid"] if results else None,
            "next": None,
        }

    def _index(self, uid: str, rest: list[str], body: bytes) -> tuple[int, Any]:
        store = self.store
        match self.command, rest:
            case "GET", []:
                store.index(uid)
                row = store.rows(
                    "SELECT uid, primary_key, created, updated FROM indexes WHERE uid = ?", uid
                )[0]
                return 200, dict(
                    zip(("uid", "primaryKey", "createdAt", "updatedAt"), row, strict=True)
                )
            case "DELETE", []:
                return 202, store.enqueue("indexDeletion", uid, None, {"deletedDocuments": None})
            case "GET", ["stats"]:
                inner, _ = store.index(uid)
                count = store.rows("SELECT count(*) FROM documents WHERE uuid = ?", inner)[0][0]
                return 200, {
                    "numberOfDocuments": count,
                    "isIndexing": False,
                    "fieldDistribution": {},
                }
            case "GET", ["settings"]:
                inner, _ = store.index(uid)
                kept = store.rows("SELECT body FROM settings WHERE uuid = ?", inner)
                return 200, json.loads(kept[0][0]) if kept else {}
            case "PATCH", ["settings"]:
                asked = self._json(body)
                for name in asked:
                    if name not in SETTINGS:
                        raise ContractError("bad_request", f"Unknown field `{name}`")
                return 202, store.enqueue("settingsUpdate", uid, asked, asked)
            case _, ["documents" | "search", *_]:
                return self._content(uid, rest, body)
        raise ContractError("not_found", "Not found", 404)

    def _content(self, uid: str, rest: list[str], body: bytes) -> tuple[int, Any]:
        store = self.store
        match self.command, rest:
            case "POST", ["documents"]:
                return 202, self._add(uid, body)
            case "POST", ["documents", "delete-batch"]:
                ids = self._json(body)
                if not isinstance(ids, list):
                    raise ContractError(
                        "bad_request", "Json deserialize error: expected a sequence"
                    )
                return 202, store.enqueue("documentDeletion", uid, ids, {"providedIds": len(ids)})
            case "GET", ["documents"]:
                return 200, self._documents(uid)
            case "POST", ["search"]:
                return 200, self._search(uid, self._json(body))
        raise ContractError("not_found", "Not found", 404)

    def _add(self, uid: str, body: bytes) -> dict[str, Any]:
        kind = self._check_content(("application/json", "application/x-ndjson"))
        if len(body) > self.payload_bytes:
            raise ContractError(
                "payload_too_large",
                "The provided payload reached the limit. The maximum accepted payload size is 100 MB.",
            )
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        if not body.strip():
            raise ContractError("missing_payload", "A json payload is missing.")
        try:
            told = (
                json.loads(body)
                if kind == "application/json"
                else [
                    json.loads(line, parse_constant=_refuse) for line in body.split(b"\n") if line
                ]
            )
        except ValueError as error:
            raise ContractError(
                "malformed_payload", f"The payload provided is malformed. `{error}`."
            ) from None
        documents = told if isinstance(told, list) else [told]
        payload = {"primaryKey": self.asked.get("primaryKey"), "documents": documents}
        details = {"receivedDocuments": len(documents), "indexedDocuments": None}
        return self.store.enqueue("documentAdditionOrUpdate", uid, payload, details)

    def _documents(self, uid: str) -> dict[str, Any]:
        inner, _ = self.store.index(uid)
        offset, limit = int(self.asked.get("offset", 0)), int(self.asked.get("limit", 20))
        fields = self.asked.get("fields", "*").split(",")
        found = self.store.rows(
            "SELECT body FROM documents WHERE uuid = ? ORDER BY rowid LIMIT ? OFFSET ?",
            inner,
            limit,
            offset,
        )
        total = self.store.rows("SELECT count(*) FROM documents WHERE uuid = ?", inner)[0][0]
        documents = [json.loads(row[0]) for row in found]
        if fields != ["*"]:
            documents = [
                {name: each[name] for name in fields if name in each} for each in documents
            ]
        return {"results": documents, "offset": offset, "limit": limit, "total": total}

    def _search(self, uid: str, asked: Any) -> dict[str, Any]:
        inner, _ = self.store.index(uid)
        text = f"%{asked.get('q') or ''}%"
        where = "WHERE uuid = ? AND body LIKE ?"
        limit = int(asked.get("limit", 20))
        found = self.store.rows(f"SELECT body FROM documents {where} LIMIT ?", inner, text, limit)
        total = self.store.rows(f"SELECT count(*) FROM documents {where}", inner, text)[0][0]
        return {
            "hits": [json.loads(row[0]) for row in found],
            "query": asked.get("q", ""),
            "processingTimeMs": 0,
            "limit": limit,
            "offset": 0,
            "estimatedTotalHits": total,
        }


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


_TASK = (
    "SELECT uid, index_uid, status, type, details, error, enqueued, started, finished FROM tasks"
)


def _task(row: Any) -> dict[str, Any]:
    uid, index, status, kind, details, error, enqueued, started, finished = row
    return {
        "uid": uid,
        "batchUid": uid if started else None,
        "indexUid": index,
        "status": status,
        "type": kind,
        "canceledBy": None,
        "details": json.loads(details),
        "error": json.loads(error or "null"),
        "duration": None,
        "enqueuedAt": enqueued,
        "startedAt": started,
        "finishedAt": finished,
    }


def main() -> None:
    directory, port, key, payload_bytes = sys.argv[1:]
    Handler.store, Handler.key, Handler.payload_bytes = (
        Store(Path(directory)),
        key,
        int(payload_bytes),
    )
    threading.Thread(target=Handler.store.work, daemon=True).start()
    server = ThreadingHTTPServer(("127.0.0.1", int(port)), Handler)
    server.daemon_threads = True
    server.serve_forever()


if __name__ == "__main__":
    main()
