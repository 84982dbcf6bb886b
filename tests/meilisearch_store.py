"""What the contract server keeps: indexes, documents and tasks in SQLite, worked off by one thread."""

from __future__ import annotations

import json
import re
import sqlite3
import threading
import time
import uuid
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

__all__ = ["SETTINGS", "UID", "ContractError", "Store"]

SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = OFF;
CREATE TABLE IF NOT EXISTS indexes (uid TEXT PRIMARY KEY, uuid TEXT, primary_key TEXT, created TEXT, updated TEXT);
CREATE TABLE IF NOT EXISTS settings (uuid TEXT PRIMARY KEY, body TEXT);
CREATE TABLE IF NOT EXISTS documents (uuid TEXT, id TEXT, body TEXT, UNIQUE (uuid, id));
CREATE TABLE IF NOT EXISTS tasks (
    uid INTEGER PRIMARY KEY, index_uid TEXT, status TEXT, type TEXT, payload TEXT, details TEXT, error TEXT,
    enqueued TEXT, started TEXT, finished TEXT
);
"""
UID = re.compile(r"[a-zA-Z0-9_-]{1,400}")
ID = re.compile(r"[a-zA-Z0-9_-]{1,511}")
SETTINGS = {
    *("displayedAttributes", "searchableAttributes", "filterableAttributes", "sortableAttributes"),
    *("rankingRules", "stopWords", "synonyms", "distinctAttribute", "typoTolerance", "faceting"),
    *("pagination", "proximityPrecision", "separatorTokens", "nonSeparatorTokens", "dictionary"),
    *("searchCutoffMs", "embedders", "localizedAttributes", "facetSearch", "prefixSearch"),
}
STATUS = {
    "invalid_api_key": 403,
    "missing_authorization_header": 401,
    "index_not_found": 404,
    "task_not_found": 404,
    "document_not_found": 404,
    "not_found": 404,
    "payload_too_large": 413,
    "missing_content_type": 415,
    "invalid_content_type": 415,
}
TYPES = {"missing_authorization_header": "auth", "invalid_api_key": "auth"}


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class ContractError(Exception):
    def __init__(self, code: str, message: str, status: int | None = None) -> None:
        self.status = status or STATUS.get(code, 400)
        self.body = {
            "message": message,
            "code": code,
            "type": TYPES.get(code, "invalid_request"),
            "link": f"https://docs.meilisearch.com/errors#{code}",
        }


def index_not_found(uid: str) -> ContractError:
    return ContractError("index_not_found", f"Index `{uid}` not found.")


class Store:
    """Everything that is kept; one lock around every access, one transaction for every change."""

    def __init__(self, directory: Path) -> None:
        self._connection = sqlite3.connect(
            directory / "data.sqlite", check_same_thread=False, isolation_level=None
        )
        self._connection.executescript(SCHEMA)
        self.lock = threading.RLock()
        self.faults: list[dict[str, Any]] = []
        self.slow_seconds = 0.0
        self.more = threading.Condition()
        with self.transaction() as sql:
            sql("UPDATE tasks SET status = 'enqueued' WHERE status = 'processing'")

    @contextmanager
    def transaction(self) -> Any:
        with self.lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection.execute
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def rows(self, sql: str, *params: Any) -> list[Any]:
        with self.lock:
            return self._connection.execute(sql, params).fetchall()

    def index(self, uid: str) -> tuple[str, str | None]:
        found = self.rows("SELECT uuid, primary_key FROM indexes WHERE uid = ?", uid)
        if not found:
            raise index_not_found(uid)
        return found[0]

    def enqueue(self, kind: str, index: str | None, payload: Any, details: Any) -> dict[str, Any]:
        with self.transaction() as sql:
            uid = sql("SELECT coalesce(max(uid) + 1, 0) FROM tasks").fetchone()[0]
            moment = now()
            row = (uid, index, "enqueued", kind, json.dumps(payload), json.dumps(details), moment)
            sql(
                "INSERT INTO tasks (uid, index_uid, status, type, payload, details, enqueued) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                row,
            )
        with self.more:
            self.more.notify()
        return {
            "taskUid": uid,
            "indexUid": index,
            "status": "enqueued",
            "type": kind,
            "enqueuedAt": moment,
        }

    def take_fault(self, kind: str, text: str) -> dict[str, Any] | None:
        with self.lock:
            for fault in self.faults:
                if fault["kind"] == kind and re.search(fault.get("match", ""), text):
                    fault["times"] -= 1
                    if fault["times"] <= 0:
                        self.faults.remove(fault)
                    return fault
        return None

    # --- the worker -------------------------------------------------------------------------------

    def work(self) -> None:
        while True:
            found = self.rows(
                "SELECT uid, index_uid, type, payload, details FROM tasks "
                "WHERE status = 'enqueued' ORDER BY uid LIMIT 1"
            )
            if not found:
                with self.more:
                    self.more.wait(0.05)
                continue
            uid, index, kind, payload, details = found[0]
            with self.transaction() as sql:
                sql(
                    "UPDATE tasks SET status = 'processing', started = ? WHERE uid = ?",
                    (now(), uid),
                )
            time.sleep(self.slow_seconds)
            told, error = json.loads(details), None
            try:
                fault = self.take_fault("task", kind)
                if fault is not None:
                    raise ContractError(fault["code"], fault["message"])
                with self.transaction() as sql:
                    told |= getattr(self, f"_{kind}")(sql, index, json.loads(payload)) or {}
                    self._finish(sql, uid, "succeeded", told, None)
                continue
            except ContractError as failure:
                error = failure.body
            with self.transaction() as sql:
                self._finish(sql, uid, "failed", told, error)

    def _finish(self, sql: Any, uid: int, status: str, details: Any, error: Any) -> None:
        values = (status, json.dumps(details), json.dumps(error), now(), uid)
        sql(
            "UPDATE tasks SET status = ?, details = ?, error = ?, finished = ?, payload = '' "
            "WHERE uid = ?",
            values,
        )

    def _make(self, sql: Any, uid: str, primary_key: str | None) -> str:
        made = uuid.uuid4().hex
        sql("INSERT INTO indexes VALUES (?, ?, ?, ?, ?)", (uid, made, primary_key, now(), now()))
        return made

    def _indexCreation(self, sql: Any, uid: str, payload: Any) -> None:  # noqa: N802
        if self.rows("SELECT 1 FROM indexes WHERE uid = ?", uid):
            raise ContractError("index_already_exists", f"Index `{uid}` already exists.")
        self._make(sql, uid, payload["primaryKey"])

    def _indexDeletion(self, sql: Any, uid: str, _: Any) -> dict[str, Any]:  # noqa: N802
        inner, _key = self.index(uid)
        deleted = sql("DELETE FROM documents WHERE uuid = ?", (inner,)).rowcount
        sql("DELETE FROM indexes WHERE uid = ?", (uid,))
        return {"deletedDocuments": deleted}

    def _indexSwap(self, sql: Any, _: Any, payload: Any) -> None:  # noqa: N802
        for each in payload:
            left, right = each["indexes"]
            known = [
                uid
                for uid in (left, right)
                if self.rows("SELECT 1 FROM indexes WHERE uid = ?", uid)
            ]
            if each.get("rename"):
                if left not in known:
                    raise index_not_found(left)
                if right in known:
                    raise ContractError("index_already_exists", f"Index `{right}` already exists.")
                sql("UPDATE indexes SET uid = ? WHERE uid = ?", (right, left))
                continue
            if len(known) < 2:
                missing = next(uid for uid in (left, right) if uid not in known)
                raise index_not_found(missing)
            for old, new in ((left, "?"), (right, left), ("?", right)):
                sql("UPDATE indexes SET uid = ? WHERE uid = ?", (new, old))

    def _settingsUpdate(self, sql: Any, uid: str, payload: Any) -> None:  # noqa: N802
        if not self.rows("SELECT 1 FROM indexes WHERE uid = ?", uid):
            self._make(sql, uid, None)
        inner, _key = self.index(uid)
        kept = self.rows("SELECT body FROM settings WHERE uuid = ?", inner)
        body = {**(json.loads(kept[0][0]) if kept else {}), **payload}
        sql("INSERT OR REPLACE INTO settings VALUES (?, ?)", (inner, json.dumps(body)))

    def _documentDeletion(self, sql: Any, uid: str, payload: Any) -> dict[str, Any]:  # noqa: N802
        inner, _key = self.index(uid)
        deleted = 0
        for each in payload:
            statement = "DELETE FROM documents WHERE uuid = ? AND id = ?"
            deleted += sql(statement, (inner, str(each))).rowcount
        return {"deletedDocuments": deleted}

    def _documentAdditionOrUpdate(self, sql: Any, uid: str, payload: Any) -> dict[str, Any]:  # noqa: N802
        asked, documents = payload["primaryKey"], payload["documents"]
        if not self.rows("SELECT 1 FROM indexes WHERE uid = ?", uid):
            self._make(sql, uid, None)
        inner, key = self.index(uid)
        if key is not None and asked is not None and asked != key:
            raise ContractError(
                "index_primary_key_already_exists", f"Index already has a primary key: `{key}`."
            )
        key = key or asked or self._infer(documents)
        sql("UPDATE indexes SET primary_key = ?, updated = ? WHERE uid = ?", (key, now(), uid))
        for document in documents:
            if document.get(key) is None:
                raise ContractError(
                    "missing_document_id",
                    f"Document doesn't have a `{key}` attribute: `{json.dumps(document)[:200]}`.",
                )
            value = document[key]
            is_integer = isinstance(value, int) and not isinstance(value, bool)
            if not is_integer and not (isinstance(value, str) and ID.fullmatch(value)):
                raise ContractError(
                    "invalid_document_id",
                    f"Document identifier `{json.dumps(value)}` is invalid. A document identifier can be of type "
                    "integer or string, only composed of alphanumeric characters (a-z A-Z 0-9), hyphens (-) and "
                    "underscores (_), and can not be more than 511 bytes.",
                )
            sql(
                "INSERT INTO documents VALUES (?, ?, ?) ON CONFLICT (uuid, id) DO UPDATE SET body = excluded.body",
                (inner, str(value), json.dumps(document)),
            )
        return {"indexedDocuments": len(documents)}

    def _infer(self, documents: list[Any]) -> str:
        names = sorted(
            {name for name in (documents[0] if documents else {}) if name.lower().endswith("id")}
        )
        if not names:
            raise ContractError(
                "index_primary_key_no_candidate_found",
                "The primary key inference failed as the engine did not find any field ending with `id` in its name. Please specify the primary key manually using the `primaryKey` query parameter.",
            )
        if len(names) > 1:
            raise ContractError(
                "index_primary_key_multiple_candidates_found",
                f"The primary key inference failed as the engine found {len(names)} fields ending with `id` in their names: '{names[0]}' and '{names[1]}'. Please specify the primary key manually using the `primaryKey` query parameter.",
            )
        return names[0]
