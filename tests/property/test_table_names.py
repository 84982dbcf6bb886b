"""Every name that a table or schema can have is usable: in SQL, in paths, by keys, in backups."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import duckdb
import httpx2
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from chronoduck.api import create_app
from chronoduck.assembly import DuckDBService
from chronoduck.cli.keys import parse_table
from chronoduck.engine.table_export import export_tables, import_tables
from chronoduck.settings import load_settings
from chronoduck.sql.rules.file_names import is_file_name
from chronoduck.table_names import parse_table_name, written_table_name

NAMES = int(os.environ.get("CHRONODUCK_TABLE_NAMES", "2"))
_SIGNS = st.sampled_from("./\\:*?[]~%'\"`$;,-+ ()#&=@!\t\n\r\x01é😀\u00a0\u2028aA1_")
_ENDINGS = st.sampled_from([".csv", ".parquet", ".db", "/x.json", "%2F", "\u0130"])
_ANY = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
names = (
    st.text(_SIGNS, min_size=1, max_size=8)
    | st.text(_ANY, min_size=1, max_size=8)
    | st.builds("{}{}".format, st.text(_SIGNS, max_size=5), _ENDINGS)
)


def sql(*parts: str) -> str:
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)


class Api:
    """The application, called by a client that waits for each answer."""

    def __init__(self, runner: asyncio.Runner, client: httpx2.AsyncClient) -> None:
        self._runner = runner
        self._client = client

    def call(self, method: str, path: str, **more: Any) -> httpx2.Response:
        return self._runner.run(self._client.request(method, path, **more))

    def ok(self, method: str, path: str, **more: Any) -> Any:
        answer = self.call(method, path, **more)
        assert answer.status_code == 200, (path, more, answer.text)
        return answer.json()

    def rows(self, text: str, **more: Any) -> list[list[Any]]:
        return list(self.ok("POST", "/query", json={"query": text}, **more)["data"])


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    directory = tmp_path_factory.mktemp("names")
    given = load_settings(
        database_path=directory / "data" / "test.db",
        temp_directory=directory / "temp",
        memory_limit="500MB",
        ballast_size=0,
    )
    app = create_app(DuckDBService(given))
    with asyncio.Runner() as runner:
        lifespan = app.router.lifespan_context(app)
        runner.run(lifespan.__aenter__())
        client = httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app=app, raise_app_exceptions=False),
            base_url="http://test/api/v1/duckdb",
            headers={"Authorization": f"Bearer {given.token_path.read_text().strip()}"},
            timeout=300,
        )
        yield Api(runner, client)
        runner.run(client.aclose())
        runner.run(lifespan.__aexit__(None, None, None))


def written(*parts: str) -> str:
    return quote(".".join('"' + part.replace('"', '""') + '"' for part in parts), safe="")


@settings(
    max_examples=NAMES,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.generate],  # each example is hundreds of requests
)
@given(names, names)
@example("my.schema", "sales.2024")
@example("s", "csv")
@example("\u0130.\u00c9", "\u00c9/\u0130")
@example("\x01", 'a/b"')
def test_by_every_route(api: Api, schema: str, name: str) -> None:
    if schema.lower() in ("main", "temp", "system", "pg_catalog", "information_schema", "test"):
        schema += "."
    made = f"CREATE SCHEMA IF NOT EXISTS {sql(schema)}"
    api.rows(made)
    create_and_drop(api, name)
    use_table(api, (schema, name), schema)
    api.rows(f"DROP SCHEMA {sql(schema)} CASCADE")


@pytest.mark.parametrize("schema", ["test", "TEMP"])
def test_a_schema_named_like_a_catalog_of_the_engine(api: Api, schema: str) -> None:
    """In SQL only the whole name is not ambiguous; routes and loads take the short one."""
    api.rows(f"CREATE SCHEMA {sql('test', schema)}")
    name = f"{schema}.t"
    for row in ({"a": 1}, {"a": 2}):
        answer = api.call("POST", f"/tables/{name}/rows", json=row)
        assert answer.status_code == 200, answer.text
    details = api.ok("GET", f"/tables/{name}")
    assert details["sample"]["data"] == [[1], [2]]
    assert details["size_bytes"] is not None
    assert api.call("GET", f"/tables/{name}?format=csv").text.split() == ["a", "1", "2"]


def create_and_drop(api: Api, name: str) -> None:
    table = sql(name)
    assert api.rows(f"CREATE TABLE {table} AS SELECT 1 AS a") == [[1]]
    for written_as in (table, f"main.{table}", f"test.main.{table}"):
        assert api.rows(f"FROM {written_as}") == [[1]]
    assert api.ok("GET", f"/tables/{quote(name, safe='')}")["name"] == name
    assert api.ok("GET", f"/tables/{written(name)}")["name"] == name
    api.rows(f"DROP TABLE {table}")


def use_table(api: Api, path: tuple[str, ...], schema: str) -> None:
    table, whole = sql(*path), ("main", *path)[-2:]
    api.rows(f"CREATE TABLE {table} (a INTEGER, b VARCHAR)")
    assert api.rows(f"INSERT INTO {table} VALUES (1, 'x'), (2, 'y')") == [[2]]
    assert api.rows(f"FROM {table} ORDER BY a") == [[1, "x"], [2, "y"]]
    assert api.rows(f"UPDATE {table} SET b = 'z' WHERE a = 2") == [[1]]
    assert len(api.rows(f"DESCRIBE {table}")) == 2
    view = sql(schema, f"view of {path[-1]}")
    api.rows(f"CREATE VIEW {view} AS SELECT a FROM {table}")
    assert api.rows(f"SELECT sum(a) FROM {view}") == [[3]]
    api.ok("POST", "/explain", json={"query": f"FROM {table}", "analyze": True})
    body = {"queries": [f"DELETE FROM {table} WHERE a = 1", f"SELECT count(*) FROM {table}"]}
    assert api.ok("POST", "/batch", json=body)["results"][1]["data"] == [[1]]

    details = api.ok("GET", f"/tables/{written(*path)}")
    assert (details["schema"], details["name"]) == whole
    assert details["sample"]["data"] == [[2, "z"]]
    answer = api.call(
        "POST",
        f"/tables/{written(*path)}/rows",
        content=json.dumps({"a": 3, "b": "é"}),
        headers={"Content-Type": "application/x-ndjson"},
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["rows_added"] == 1

    for grants in (
        {"tables": [{"schema": whole[0], "name": whole[1], "filter": "a > 2"}]},
        {"schemas": [whole[0]]},
    ):
        wish = {"name": "narrow", "role": "analyst", **grants}
        issued = api.call("POST", "/keys", json=wish)
        assert issued.status_code == 201, issued.text
        narrow = {"Authorization": f"Bearer {issued.json()['key']}"}
        seen = [[3]] if "tables" in grants else [[2], [3]]
        assert api.rows(f"SELECT a FROM {table} ORDER BY a", headers=narrow) == seen
        assert api.ok("GET", f"/tables/{written(*path)}", headers=narrow)["name"] == whole[1]
        api.ok("DELETE", f"/keys/{issued.json()['id']}")

    api.rows(f"ALTER TABLE {table} RENAME b TO c")
    api.rows(f"DROP VIEW {view}")
    api.rows(f"DROP TABLE {table}")
    gone = api.call("POST", "/query", json={"query": f"FROM {table}"})
    assert gone.status_code == (403 if is_file_name(path) else 400), gone.text


@given(names, names)
@example("main", 'a"b.c')
@example("x", " ")
@example("main", "a\nb")
def test_what_is_written_is_parsed(schema: str, name: str) -> None:
    path = ("main", *parse_table_name(written_table_name(schema, name)))[-2:]
    assert path == (schema, name)
    quoted = f"{sql(schema)}.{sql(name)}"
    assert parse_table_name(quoted) == (schema, name)
    assert parse_table(quoted) == (schema, name)


@pytest.mark.parametrize("text", ["", ".", "a.", ".a", '"a', '"a"b', '""', 'a."b'])
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"empty|closed|follows"):
        parse_table_name(text)


def test_backups_of_tables_have_a_file_for_each(
    tmp_path: Path, make_settings: Callable[..., Any]
) -> None:

    tables = ["a/b", "a_b", "s.t", "..", "%2E", "x" * 400, "é\n", '"', "A b"]
    database = tmp_path / "source.db"
    with duckdb.connect(str(database)) as source:
        source.execute("CREATE SCHEMA s")
        source.execute("CREATE TABLE s.t AS SELECT 'in a schema' AS v")
        for name in tables:
            source.execute(f"CREATE TABLE {sql(name)} AS SELECT $1 AS v", [name])
    (tmp_path / "backup").mkdir()
    wanted = [sql(name) for name in tables] + ["s.t"]
    export_tables(database, wanted, tmp_path / "backup", make_settings())
    import_tables(tmp_path / "backup", tmp_path / "restored.db", storage_version="v1.5.0")
    with duckdb.connect(str(tmp_path / "restored.db")) as restored:
        for name in tables:
            assert restored.execute(f"FROM {sql(name)}").fetchall() == [(name,)]
        assert restored.execute("FROM s.t").fetchall() == [("in a schema",)]
