"""The checks: each runs a row's text, or what the row says in its place, and looks at the outcome."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import orjson
import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.settings import Settings, load_settings
from tests.docs.documents import REPOSITORY
from tests.docs.guide.row import Check, Row
from tests.docs.machine import Machine
from tests.patience import PATIENCE_SECONDS

__all__ = [
    "ask", "follow", "in_python", "needs_role", "refused", "rule", "run", "service_claim",
    "setting", "shows_json", "sql", "unit_runs_it",
]  # fmt: skip

RULES = REPOSITORY / "deploy" / "prometheus" / "rules.yml"
HEALTH = "/health"


def run(shows: str = "", instead: str | None = None) -> Check:
    """The commands succeed in a shell, and what they print matches."""

    def check(machine: Machine, row: Row) -> None:
        printed = machine.run(row.text if instead is None else instead)
        assert re.search(shows, printed), printed

    return check


def follow(shows: str, instead: str | None = None) -> Check:
    """The commands, which go on for ever, are ended after two seconds and have printed what matches."""

    def check(machine: Machine, row: Row) -> None:
        script = row.text if instead is None else instead
        ended = re.sub(r"\b(tail -f|watch)\b", r"timeout 2 \1", script)
        assert ended != script
        printed = machine.attempt(f"export TERM=dumb\n{ended}").stdout
        assert re.search(shows, printed), printed

    return check


def setting(name: str, expected: Any) -> Check:
    """The assignment is taken, and is what the setting is without it."""

    def check(machine: Machine, row: Row) -> None:
        variable, _, value = row.text.partition("=")
        with pytest.MonkeyPatch.context() as patch:

            def read() -> Any:
                found: Any = load_settings()
                for part in name.split("."):
                    found = getattr(found, part)
                return found

            default = read()
            patch.setenv(variable, value.strip('"'))
            given = read()
        for found in (default, given):
            shown = found.get_secret_value() if hasattr(found, "get_secret_value") else found
            assert str(shown) == str(expected) or (expected is None and not shown), shown

    return check


def ask(path: str, *keys: str) -> Check:
    """The endpoint answers without a token, and has the keys, written as for jq."""

    def check(machine: Machine, row: Row) -> None:
        url = f"http://localhost:{machine.port}/api/v1/duckdb{path}"
        report = httpx2.get(url, trust_env=False, timeout=PATIENCE_SECONDS).json()
        for key in keys:
            found: Any = report
            for part in key.strip(".").split("."):
                assert part in found, f"{key}: {sorted(found)}"
                found = found[part]

    return check


def shows_json(*keys: str) -> Check:
    """The command prints JSON with the keys."""

    def check(machine: Machine, row: Row) -> None:
        report = orjson.loads(machine.run(row.text))
        assert set(keys) <= set(report), sorted(report)

    return check


def sql(shows: str = "", statement: str | None = None) -> Check:
    """The statement is run over HTTP by an admin and by the CLI, and the answer matches."""

    def check(machine: Machine, row: Row) -> None:
        text = (row.text if statement is None else statement).rstrip(";")
        with machine.client() as client:
            answer = client.post("/query", json={"query": text})
        assert answer.status_code == 200, answer.text
        assert re.search(shows, answer.text), answer.text

    return check


def refused(code: str, status: int, also: Check | None = None) -> Check:
    """The statement is refused over HTTP with the code, from the most powerful user too."""

    def check(machine: Machine, row: Row) -> None:
        with machine.client() as client:
            answer = client.post("/query", json={"query": row.text.rstrip(";")})
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
        if also is not None:
            also(machine, row)

    return check


def needs_role(instead: str, shows: str) -> Check:
    """The command as written is answered with 401; the one in its place does it."""

    def check(machine: Machine, row: Row) -> None:
        plain = machine.run(row.text)
        assert orjson.loads(plain)["code"] == "unauthenticated", plain
        printed = machine.run(instead)
        assert re.search(shows, printed), printed

    return check


def in_python(use: Callable[[DuckDBService], Awaitable[None]], **settings: Any) -> Check:
    """A service in this process, on a database of its own, does it."""

    def check(machine: Machine, row: Row) -> None:
        directory = machine.root / "python"
        shutil.rmtree(directory, ignore_errors=True)
        given: Settings = load_settings(
            database_path=directory / "own" / "x.db",
            temp_directory=directory / "temp",
            memory_limit="500MB",
            **{
                name: value(machine) if callable(value) else value
                for name, value in settings.items()
            },
        )

        async def all_of_it() -> None:
            async with DuckDBService(given) as service:
                await use(service)

        asyncio.run(all_of_it())

    return check


def service_claim(look: Callable[[dict[str, Any], dict[str, Any]], bool]) -> Check:
    """What health and statistics tell bears the sentence out."""

    def check(machine: Machine, row: Row) -> None:
        with machine.client() as client:
            health, statistics = client.get(HEALTH).json(), client.get("/statistics").json()
        assert look(health, statistics), row.text

    return check


def rule(ours: str, *, is_valid: bool = True) -> Check:
    """promtool takes the guide's rule, or not; ours is the shipped one, and its metric has a value."""

    def check(machine: Machine, row: Row) -> None:
        if shutil.which("promtool") is None:
            pytest.skip("needs promtool")
        indented = "\n".join(f"      {line}" for line in row.text.splitlines())
        text = f"groups:\n  - name: guide\n    rules:\n{indented}\n"
        file = machine.root / "guide-rules.yml"
        file.write_text(text)
        done = subprocess.run(
            ["promtool", "check", "rules", file], capture_output=True, text=True, check=False
        )
        assert (done.returncode == 0) == is_valid, done.stdout + done.stderr
        shipped = re.sub(r"\s+", " ", RULES.read_text())
        assert ours in shipped, ours
        page = httpx2.get(f"http://localhost:{machine.port}/metrics", trust_env=False).text
        metric = re.search(r"expr: (duckdb_\w+)", ours)
        assert metric
        assert re.search(rf"^{metric[1]}(?:{{.*}})? [\d.e+]+$", page, re.MULTILINE)

    return check


def unit_runs_it(machine: Machine, row: Row) -> None:
    """The stand-in for systemctl does it, and the service is well afterwards."""
    machine.run(row.text.partition("`")[2].partition("`")[0] or row.text)
    assert machine.health()["status"] in ("healthy", "degraded")
