"""Narrowed writers, claims, passwords and a new admin token, with a real server and its commands."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.patience import PATIENCE_SECONDS
from tests.platform import AUDIENCE, ISSUER, SECRET, Platform
from tests.server import Server, run_cli

pytestmark = pytest.mark.slow

_JWT = {
    "DUCKDB_JWT_ALGORITHM": "HS256",
    "DUCKDB_JWT_SECRET": SECRET,
    "DUCKDB_JWT_ISSUER": ISSUER,
    "DUCKDB_JWT_AUDIENCE": AUDIENCE,
    "DUCKDB_JWT_ROLES": "staff=analyst",
    "DUCKDB_JWT_TABLES": '{"m": "user_id = $claim.sub"}',
}


def ask(server: Server, password: str, sql: str, **headers: str) -> Any:
    """Return rows, or the status and the code of a refusal; the token is sent as a password."""
    response = httpx2.post(
        f"{server.url}/api/v1/duckdb/query",
        json={"query": sql},
        auth=("whoever", password),
        headers=headers,
        timeout=PATIENCE_SECONDS,
    )
    if response.status_code == 200:
        return response.json()["data"]
    return response.status_code, response.json().get("rule") or response.json()["code"]


def create(server: Server, *options: str) -> str:
    done = run_cli(server.directory, "keys", "create", *options, "--json")
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout)["key"])


def test_keys_that_are_narrowed_in_each_way(tmp_path: Path) -> None:
    with Server(tmp_path, **_JWT) as server:
        for sql in (
            "CREATE TABLE m (user_id VARCHAR, v INTEGER)",
            "INSERT INTO m VALUES ('7', 1), ('8', 2)",
            "CREATE TABLE notes (a INTEGER)",
        ):
            server.query(sql)
        anna = create(
            server, "--name", "anna", "--role", "writer", "--write", "anna", "--write", "main.notes"
        )
        assert ask(server, anna, "CREATE SCHEMA anna") == []
        assert ask(server, anna, "CREATE TABLE anna.t AS SELECT * FROM m") == [[2]]
        assert ask(server, anna, "INSERT INTO notes VALUES (1)") == [[1]]
        assert ask(server, anna, "DELETE FROM m") == (403, "write-scope")
        assert ask(server, anna, "DROP TABLE pages_analytics") == (403, "product-tables")
        seven = create(
            *(server, "--name", "seven", "--role", "analyst", "--table", "m", "--claim", "sub=7"),
            *("--filter", "m=user_id = $claim.sub"),
        )
        eight = Platform("HS256").token(time.time(), sub="8", role="staff")
        for _ in range(2):
            assert ask(server, seven, "SELECT * FROM m") == [["7", 1]]
            assert ask(server, eight, "SELECT * FROM m") == [["8", 2]]
        assert ask(server, seven, "SELECT 1", Origin="https://evil.example") == (
            401,
            "unauthenticated",
        )
        challenges = {
            agent: httpx2.get(f"{server.url}/api/v1/duckdb/me", headers={"User-Agent": agent})
            for agent in ("curl/8", "Mozilla/5.0 (X11)")
        }
        assert "Basic" in challenges["curl/8"].headers["www-authenticate"]
        assert "Basic" not in challenges["Mozilla/5.0 (X11)"].headers["www-authenticate"]
        assert ask(server, "", "SELECT 1")[0] == 401

        old = server.token
        done = run_cli(tmp_path, "keys", "rotate-admin")
        assert done.returncode == 0, done.stderr
        assert old not in done.stdout
        assert server.token not in done.stdout + done.stderr
        assert ask(server, old, "SELECT 1") == (401, "unauthenticated")
        assert ask(server, server.token, "ALTER TABLE m RENAME COLUMN user_id TO uid") == []
        assert run_cli(tmp_path, "keys", "list").returncode == 0
        assert ask(server, seven, "SELECT * FROM m") == (500, "row_filter_invalid")
        text = server.log_text()
        assert "scope_grant_not_kept" in text
        assert not any(secret in text for secret in (old, server.token, anna, seven, eight))
