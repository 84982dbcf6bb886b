"""The event loop belongs to everybody: no input holds it for more than 10 ms of CPU time.

CPU time of the loop's own thread, so that neither a busy machine nor another thread counts. What one
input costs again and again is found by the least of three tries.
"""

from __future__ import annotations

import http.client
import string
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest

from chronoduck.settings import Settings
from tests.loop_watch import LoopWatch, serving
from tests.patience import PATIENCE_SECONDS

LIMIT_MS = 10.0
TRIES = 3
API = "/api/v1/duckdb"
JSON, NDJSON, CSV = "application/json", "application/x-ndjson", "text/csv"
NAMES = [a + b for a in string.ascii_lowercase for b in "0123456789_qxz"]
ROLLUP = f"SELECT 1 FROM t GROUP BY ROLLUP({', '.join(NAMES[:150])}), ROLLUP({', '.join(NAMES[150:300])})"
INSERT = "INSERT INTO t VALUES " + ", ".join(["(1, 'abc')"] * 90_000)
Send = Callable[..., tuple[int, bytes]]

TEXTS = {
    "grouping sets": ROLLUP,
    "hidden grouping sets": f"/* ' */ {ROLLUP}",
    "many columns": "SELECT " + ", ".join(f"(a{n} + {n}) * b{n}" for n in range(3_500)),
    "many operators": "SELECT 1" + " + 1" * 20_000,
    "a list": "SELECT 1 IN (" + ", ".join(map(str, range(12_000))) + ")",
    "pivots": "SELECT " + " 1 AS pivot," * 4_000 + " 1",
    "brackets": "SELECT " + "(" * 45_000,
    "comments": "/* */" * 18_000 + " ALTER TABLE t ADD COLUMN c INT",
    "open comments": "/*" * 45_000,
    "dashes": "--\n" * 30_000 + "SELECT 1",
    "quotes": "'" * 95_000,
    "dollars": "$a$" * 30_000,
    "spaces in a name": 'SELECT "' + " " * 90_000 + '"',
    "a long path": "SELECT " + "a." * 45_000 + "b",
    "imports": "PRAGMA enable_verification " + "import " * 14_000,
    "withs": "WITH " * 19_000,
    "secrets": "SELECT '" + "eyJ_" * 20_000 + "'",
    "addresses": "SELECT '" + "://a:b" * 15_000 + "'",
    "line ends": "SELECT '" + "\n" * 90_000 + "'",
    "an error": "SELECT error(repeat(' ', 40000))",
    "1 MB": "SELECT " + "1 + " * 240_000 + "1",
    "16 MB": "SELECT '" + "x" * 15_900_000 + "'",
    "16 MB escaped": "SELECT '" + '"\\\n' * 2_600_000 + "'",
    "a bulk insert": INSERT,
    "no letters": "\u3000" * 30_000,
    "half a character": "SELECT '\\ud800'",
}
PARAMETERS = {
    "16 MB of numbers": b"[" + b"1," * 7_900_000 + b"1]",
    "16 MB of lists": b"[" + b"[]," * 5_200_000 + b"1]",
    "8 MB deep": b"[" * 8_000_000,
    "as many as may be": b"[" + b"1," * 9_998 + b"1]",
    "a list as long as may be": b"[[" + b"1," * 90_000 + b"1]]",
    "lists as many as may be": b"[[" + b"[]," * 19_000 + b"1]]",
    "names": b"{" + b",".join(b'"k%d":1' % n for n in range(9_999)) + b"}",
    "too many names": b"{" + b",".join(b'"k%d":1' % n for n in range(90_000)) + b"}",
    "texts": b"[" + b'"a",' * 9_998 + b'"a"]',
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, LoopWatch, str]]:
    directory = tmp_path_factory.mktemp("loop")
    settings = Settings(
        database_path=directory / "test.db",
        temp_directory=directory / "temp",
        memory_limit=500_000_000,
        ballast_size=0,
        shadow={"enabled": False},  # type: ignore[arg-type] # as the environment gives it
    )
    with serving(settings) as (port, watch):
        yield port, watch, (directory / "admin.token").read_text().strip()


@pytest.fixture(scope="module")
def send(service: tuple[int, LoopWatch, str]) -> Send:
    port, _, token = service

    def call(
        method: str, path: str, body: Any = None, kind: str = JSON, **headers: str
    ) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
        given = {"Authorization": f"Bearer {token}", "Content-Type": kind, **headers}
        try:
            connection.request(method, API + path, body=body, headers=given)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    call("POST", "/query", b'{"query":"CREATE TABLE t(x INT, y VARCHAR)"}')
    # Routes are put together when they are used for the first time.
    for path in ("/query", "/jobs", "/explain", "/batch", "/exports", "/keys"):
        call("POST", path, b"{}")
    for path in ("/tables", "/tables/t", "/jobs", "/queries", "/templates", "/me", "/audit"):
        call("GET", path)
    call("POST", "/tables/warm/rows", b'{"a":1}\n', NDJSON)
    call("POST", "/tables/warm/rows", b"a\n1\n", CSV)
    return call


@pytest.fixture
def held(service: tuple[int, LoopWatch, str], send: Send) -> Callable[..., None]:
    """Return what sends a request and asserts that the loop was not held by it."""
    _, watch, _ = service

    def measure(*request: Any, **headers: str) -> int:
        found = []
        for _ in range(TRIES):
            watch.reset()
            status, _ = send(*request, **headers)
            found.append((watch.worst_ms, watch.worst))
            if watch.worst_ms < LIMIT_MS:
                return status
        pytest.fail(f"the event loop was held for {min(found)[0]:.1f} ms by {min(found)[1]}")

    return measure


@pytest.mark.parametrize("text", TEXTS)
def test_no_statement_holds_it(held: Callable[..., int], text: str) -> None:
    sql = TEXTS[text]
    body = b'{"query":"SELECT \'\\ud800\'"}' if "ud800" in sql else orjson.dumps({"query": sql})
    assert held("POST", "/query", body)


@pytest.mark.parametrize("route", ["/jobs", "/explain", "/exports"])
@pytest.mark.parametrize("text", ["grouping sets", "many columns", "16 MB", "secrets"])
def test_no_statement_holds_it_by_another_route(
    held: Callable[..., int], route: str, text: str
) -> None:
    assert held("POST", route, orjson.dumps({"query": TEXTS[text]}))


def test_no_batch_holds_it(held: Callable[..., int]) -> None:
    assert held("POST", "/batch", orjson.dumps({"queries": [f"SELECT {n}" for n in range(300)]}))
    assert held("POST", "/batch", orjson.dumps({"queries": [INSERT] * 4}))
    wrong = [TEXTS["many columns"] + f" -- {n}" for n in range(5)] + ["SELEC"]
    assert held("POST", "/batch", orjson.dumps({"queries": wrong})) == 400
    assert held("POST", "/batch", orjson.dumps({"queries": [[n] for n in range(1000)]})) == 422


@pytest.mark.parametrize("shown", ["json", "text"])
def test_no_plan_holds_it(held: Callable[..., int], shown: str) -> None:
    wide = "SELECT " + ", ".join(f"({n} + {n}) AS b{n}" for n in range(3_000))
    long = " UNION ALL ".join(["SELECT 1"] * 400)
    for sql in (wide, long):
        assert held("POST", "/explain", orjson.dumps({"query": sql, "format": shown})) == 200


def test_no_table_holds_it(held: Callable[..., int], send: Send) -> None:
    columns = ", ".join(f"c{n} INT DEFAULT {n}" for n in range(2_500))
    create = f"CREATE OR REPLACE TABLE wide ({columns})"
    assert held("POST", "/query", orjson.dumps({"query": create})) == 200
    assert held("GET", "/tables/wide") == 200
    assert held("GET", "/tables") == 200


def test_no_running_statement_holds_it(held: Callable[..., int], send: Send) -> None:
    """Running statements are shown without their secrets, which takes time."""
    long = "SELECT count(*) FROM range(100000000000) t(i) WHERE i::VARCHAR NOT IN ("
    texts = ["'" + "eyJ_" * 20_000 + "'", ", ".join(map(str, range(12_000)))]
    ended = threading.Event()

    def run(text: str) -> None:
        while not ended.is_set():
            send("POST", "/query", orjson.dumps({"query": f"{long}{text})", "timeout_seconds": 2}))

    threads = [threading.Thread(target=run, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while len(orjson.loads(send("GET", "/queries")[1])) < len(texts):
            assert time.monotonic() < deadline
        assert held("GET", "/queries") == 200
        assert held("GET", "/me") == 200
    finally:
        ended.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("parameters", PARAMETERS)
def test_no_parameters_hold_it(held: Callable[..., int], parameters: str) -> None:
    body = b'{"query":"SELECT len($1)","params":' + PARAMETERS[parameters] + b"}"
    assert held("POST", "/query", body)


def test_no_malformed_lines_hold_it(held: Callable[..., int]) -> None:
    body = b" CDX N b a m s k r M S V g\n" + b"bad\n" * 20_000  # each is answered by a line
    assert held("POST", "/tables/pages_analytics/rows", body, "text/plain") == 200


ROWS = {
    "4,500 rows with a name each": "".join(f'{{"k{n}":1}}\n' for n in range(4_500)),
    "1,000 rows with a name each": "".join(f'{{"k{n}":1}}\n' for n in range(1_000)),
    "one row with 5,000 names": "{" + ",".join(f'"k{n}":1' for n in range(5_000)) + "}\n",
    "8,000 rows": '{"a":1}\n' * 8_000,
    "empty rows": "{}\n" * 20_000,
    "empty lines": "\n" * 64_000 + '{"a":1}\n',
    "deep": '{"a":' + "[" * 30_000 + "]" * 30_000 + "}\n",
    "many lists": '{"a":[' + "[]," * 20_000 + "1]}\n",
    "an array": "[" + '{"a":1},' * 7_000 + '{"a":1}]',
    "an array of nothing": "[" + "{}," * 20_000 + '{"a":1}]',
    "spaces": "[" + " " * 60_000 + '{"a":1}]',
    "a long name": '{"' + "x" * 60_000 + '":1}\n',
    "a large file": '{"a":1}\n' * 100_000,
}


@pytest.mark.parametrize("rows", ROWS)
def test_no_rows_hold_it(held: Callable[..., int], rows: str) -> None:
    body = ROWS[rows]
    name = "r" + str(list(ROWS).index(rows))
    assert held("POST", f"/tables/{name}/rows", body, JSON if body[0] == "[" else NDJSON)


@pytest.mark.parametrize(
    "body",
    [
        "a," + "b" * 200_000 + "\n1,2\n",
        ",".join(f"k{n}" for n in range(3_000)) + "\n1\n",
        "a\n" + '"' * 100_000,
    ],
)
def test_no_csv_holds_it(held: Callable[..., int], body: str) -> None:
    assert held("POST", f"/tables/c{len(body)}/rows", body, CSV)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/tables/" + "eyJ_" * 15_000),
        ("GET", "/tables/" + "%20" * 20_000),
        ("GET", "/tables?" + "a=b&" * 15_000),
        ("GET", "/tables?a=" + "%41" * 20_000),
        ("GET", "/templates/daily-captures?" + "".join(f"k{n}=v&" for n in range(6_000))),
        ("GET", "/templates/x" + "%41" * 20_000),
        ("GET", "/jobs/" + "a" * 60_000),
        ("DELETE", "/queries/" + "eyJ_" * 15_000),
        ("GET", "/downloads/" + "a." * 30_000),
        ("GET", "/audit?principal=" + "%41" * 15_000),
    ],
)
def test_no_address_holds_it(held: Callable[..., int], method: str, path: str) -> None:
    assert held(method, path) >= 200


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Accept", ";q=0.1," * 8_000),
        ("Accept", "text/html," * 5_000),
        ("X-Request-Id", "eyJ_" * 15_000),
        ("Authorization", "Bearer " + "a." * 30_000),
        ("X-Forwarded-For", "1.2.3.4," * 7_000),
        ("traceparent", "0-" * 30_000),
        ("Idempotency-Key", "a" * 60_000),
    ],
)
def test_no_header_holds_it(held: Callable[..., int], name: str, value: str) -> None:
    held("POST", "/query", b'{"query":"SELECT 1"}', JSON, **{name: value})


@pytest.mark.parametrize(
    "text",
    [
        "x = 1" + " + 1" * 20_000,
        "x IN (" + ", ".join(map(str, range(12_000))) + ")",
        f"x IN ({ROLLUP})",
        "(" * 40_000,
        "x = '" + " " * 90_000 + "'",
    ],
)
def test_no_row_filter_holds_it(held: Callable[..., int], text: str) -> None:
    key = {"name": "n", "role": "analyst", "tables": [{"name": "t", "filter": text}]}
    assert held("POST", "/keys", orjson.dumps(key)) >= 200
