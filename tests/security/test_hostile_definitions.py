"""Hostile texts where operators' files and requests' headers hold them: templates, exports, keys.

``CHRONODUCK_HOSTILE_SHARE`` is the share of the corpus that each of them gets (0.05).
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import replace

import httpx2
import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.engine.encoding import EncodingOptions, ResultFormat
from chronoduck.errors import DuckDBException, DuckDBQueryError
from chronoduck.principals import OPERATORS_ID, Principal, Role
from chronoduck.service.records import Caller
from chronoduck.service.result_encoding import ResultRequest
from tests.security.corpus import filled, hostile, mutated
from tests.security.roles import caller_of, token_of
from tests.security.stage import Stage
from tests.security.test_hostile_in_process import SNAPSHOT
from tests.server import Server

pytestmark = pytest.mark.slow
SHARE = float(os.environ.get("CHRONODUCK_HOSTILE_SHARE", "0.05"))
EXPORTER = Caller("export", principal=Principal("export", Role.ANALYST, OPERATORS_ID))


def corpus(stage: Stage, seed: int) -> list[str]:
    """Return some of the statements, and of their other spellings."""
    found = hostile() + list(mutated(hostile(), 3, seed=seed))
    sample = random.Random(seed).sample(found, int(len(found) * SHARE))
    assert len(sample) > 200, "so few prove little"
    return [filled(statement, stage.places) for statement in sample]


async def as_template(service: DuckDBService, sql: str, role: Role) -> None:
    """Run a text as the API runs a template."""
    request = ResultRequest(
        sql, {}, ResultFormat.JSON, EncodingOptions(), max_rows=10, timeout=20, origin="template"
    )
    caller = replace(caller_of(role), template="hostile")
    result = await (await service.parts()).encoded.run(request, caller)
    if result.rest is not None:
        await result.rest.aclose()


async def as_export(service: DuckDBService, sql: str) -> None:
    """Run a text as the query of a declared export of documents."""
    parts = await service.parts()
    await parts.declared_exports._documents.read(
        sql,
        lambda columns: ("SELECT 1 AS a, q FROM", "AS q"),
        lambda batch, documents: None,
        apart=1,
        params=None,
        caller=EXPORTER,
        show=lambda *told: None,
    )


async def check_refused(
    service: DuckDBService,
    stage: Stage,
    seed: int,
    run: Callable[[str], object],
) -> None:
    """Send the corpus: all is refused, nothing is told, and nothing is changed."""
    before = (await service.execute_query(SNAPSHOT)).data
    await run("SELECT id, name FROM users")  # type: ignore[misc] # what is harmless runs
    ran = []
    for sql in corpus(stage, seed):
        try:
            await run(sql)  # type: ignore[misc]
        except DuckDBException as error:
            assert isinstance(error, DuckDBQueryError) or error.code == "invalid_request", (
                sql,
                error,
            )
            assert stage.words not in f"{error} {error.hint}", sql
        else:
            ran.append(sql)
    assert ran == []
    assert (await service.execute_query(SNAPSHOT)).data == before
    assert (await service.health_check())["status"] == "healthy"
    stage.check()


@pytest.mark.parametrize("role", [Role.VIEWER, Role.ADMIN])
async def test_no_template_does_what_its_reader_may_not(
    service: DuckDBService, stage: Stage, role: Role
) -> None:
    await check_refused(service, stage, 11, lambda sql: as_template(service, sql, role))


async def test_no_declared_export_does(service: DuckDBService, stage: Stage) -> None:
    await check_refused(service, stage, 12, lambda sql: as_export(service, sql))


def test_headers_are_never_sql(stage: Stage) -> None:
    """What clients name themselves by, and the keys of their requests, reach the engine as values."""
    with Server(stage.database.parent, DUCKDB_TEMP_DIRECTORY=stage.temp) as server:
        server.query("CREATE TABLE ledger (n BIGINT)")
        url = f"{server.url}/api/v1/duckdb"
        headers = {"Authorization": f"Bearer {token_of(server, Role.WRITER)}"}
        texts = [text for text in corpus(stage, 13) if text.isascii() and text.isprintable()]
        with httpx2.Client(base_url=url, headers=headers, timeout=60) as client:
            for number, text in enumerate(texts[:400]):
                quoted = text.replace("\\", "").replace('"', "").strip()[:200]
                loaded = client.post(
                    "/tables/ledger/rows",
                    content=f'{{"n":{number}}}\n',
                    headers={
                        "Content-Type": "application/x-ndjson",
                        "Idempotency-Key": f'"{quoted}{number}"',
                        "X-Request-ID": quoted[:100].strip(),
                        "X-Chronoduck-User": quoted[:60].strip(),
                        "User-Agent": text[:2000].strip(),
                    },
                )
                assert loaded.status_code == 200, (loaded.text, text)
        assert server.query("SELECT count(*), count(DISTINCT n) FROM ledger") == [
            [len(texts[:400])] * 2
        ]
        assert server.query("SELECT list(name ORDER BY id) FROM users") == [[["Ada", "Grace"]]]
    stage.check()
