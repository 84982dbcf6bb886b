"""One table as it was, beside the table as it is, while the service goes on."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from tests.fault.test_replica_crashes import wait_for_the_replica
from tests.server import Server, run_cli

pytestmark = pytest.mark.slow

ROWS = """
    SELECT i AS "the id", hash(i) AS h, 170141183460469231731687303715884105727::HUGEINT AS big,
           1.23::DECIMAL(38, 2) AS d, {'a': i, 'b': [NULL, i::VARCHAR]} AS s, MAP {'k': i} AS m,
           CASE WHEN i % 3 = 0 THEN NULL ELSE i::VARCHAR END AS t,
           TIMESTAMP '2026-01-01' + to_seconds(i) AS at,
           'a'::ENUM ('a', 'b') AS e, '\\xFF'::BLOB AS bytes, uuid() AS u, INTERVAL '1 month' AS iv
    FROM range(5000) r(i)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("restored")
    with Server(
        directory, DUCKDB_REPLICA_URL=directory / "replica", DUCKDB_REPLICA_INTERVAL="50ms"
    ) as opened:
        opened.query("CREATE TABLE pages AS " + ROWS)
        opened.query("CREATE SCHEMA other")
        opened.query('CREATE TABLE other."c d" AS FROM range(10) r("x.y")')
        wait_for_the_replica(opened)
        yield opened


def test_what_was_deleted_comes_back_with_every_value(server: Server) -> None:
    before = server.query("SELECT sum(hash(p))::VARCHAR FROM pages p")
    moment = server.query("SELECT strftime(now()::TIMESTAMP, '%Y-%m-%dT%H:%M:%S.%gZ')")[0][0]
    time.sleep(0.1)
    server.query('DELETE FROM pages WHERE "the id" % 2 = 0')
    wait_for_the_replica(server)
    # The environment names no replica: the note beside the database does.
    command = ["restore", "--to", moment, "--table", "pages", "--into", "pages_before", "--json"]
    done = run_cli(server.directory, *command)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"] == 5000
    assert server.query("SELECT sum(hash(p))::VARCHAR FROM pages_before p") == before
    assert [row[:2] for row in server.query("DESCRIBE pages_before")] == [
        row[:2] for row in server.query("DESCRIBE pages")
    ]
    again = run_cli(server.directory, *command)
    assert again.returncode == 65, again.stdout + again.stderr
    assert "pages_before" in again.stderr
    assert server.query("SELECT count(*) FROM pages_before") == [[5000]]  # and it stays
    assert not list((server.directory / "temp").glob("moment-*"))


def test_quoted_names_and_relative_times(server: Server) -> None:
    done = run_cli(
        server.directory,
        *("restore", "--to", "0 seconds ago", "--table", 'other."c d"', "--into", "copied"),
    )
    assert done.returncode == 0, done.stderr
    assert server.query("FROM copied ORDER BY ALL") == [[number] for number in range(10)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--table", "pages"], "--table and --into belong together"),
        (["--table", "pages", "--into", "x", "--output", "f.db"], "does not fit"),
        (["--table", "none", "--into", "x"], "none"),
        (["--table", "pages", "--into", "x", "--to", "3 moons ago"], "neither a time nor a point"),
    ],
)
def test_what_cannot_be_done_is_said_and_makes_no_table(
    server: Server, arguments: list[str], said: str
) -> None:
    done = run_cli(server.directory, "restore", *arguments)
    assert done.returncode in (64, 65, 66), done
    assert said in " ".join(done.stderr.split())
    assert server.query("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'x'") == [[0]]


def test_the_points_are_listed_without_an_environment(server: Server) -> None:
    done = run_cli(server.directory, "restore", "--list", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)
