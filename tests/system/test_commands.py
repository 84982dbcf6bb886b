"""The commands, with and without a running service."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.server import Server, run_cli

pytestmark = pytest.mark.slow

CAPTURES = """com,example)/ 20240101000000 http://example.com/ text/html 200 D1 10
com,example)/a 20240102000000 http://example.com/a text/html 404 D2 20
broken
"""


@pytest.fixture(params=["file", "service"])
def place(request: pytest.FixtureRequest, tmp_path: Path):
    """A directory whose database no process owns, or one that a service serves."""
    if request.param == "file":
        yield tmp_path
        return
    with Server(tmp_path):
        yield tmp_path


def test_load_query_and_templates(place: Path) -> None:
    (place / "captures.cdx").write_text(CAPTURES)
    loaded = run_cli(place, "load", "captures.cdx", "--json")
    assert loaded.returncode == 0, loaded.stderr
    summary = json.loads(loaded.stdout)[0]
    assert (summary["rows_added"], summary["rejected"]) == (2, 1)
    assert (place / "captures.cdx.rejects.tsv").read_text() == (
        "line_number\treason\tline\n3\texpected 7 fields, found 1\tbroken\n"
    )
    again = run_cli(place, "load", "-", "--json", stdin=CAPTURES)
    assert json.loads(again.stdout)[0]["duplicates"] == 2

    answer = run_cli(
        place, "query", "SELECT url FROM pages WHERE status_code = $code", "-p", "code=404"
    )
    assert json.loads(answer.stdout)["data"] == [["http://example.com/a"]]
    table = run_cli(place, "query", "SELECT 9007199254740993 AS big, NULL AS n", "-f", "table")
    assert "9007199254740993" in table.stdout
    assert "NULL" in table.stdout

    template = run_cli(place, "templates", "run", "page-stats", "limit=1", "--json")
    assert json.loads(template.stdout)["data"][0][:2] == ["example.com", 2]
    wrong = run_cli(place, "templates", "run", "page-stats", "limit=0")
    assert wrong.returncode == 64


def test_results_go_into_files_of_every_format(place: Path) -> None:
    sql = "SELECT range AS n FROM range(100000)"
    for name in ("out.parquet", "out.csv", "out.arrow", "out.ndjson"):
        result = run_cli(place, "query", sql, "-o", name)
        assert result.returncode == 0, result.stderr
    assert pq.read_table(place / "out.parquet").num_rows == 100_000
    assert len((place / "out.csv").read_text().splitlines()) == 100_001
    assert pa.ipc.open_stream((place / "out.arrow").read_bytes()).read_all().num_rows == 100_000
    assert len((place / "out.ndjson").read_text().splitlines()) == 100_001
    assert list(place.glob("*.part")) == []


def test_a_cut_result_is_told(place: Path) -> None:
    result = run_cli(place, "query", "FROM range(10)", "--max-rows", "5")
    assert json.loads(result.stdout)["truncated"] is True
    assert "cut after 5 rows" in result.stderr


@pytest.mark.parametrize(
    ("sql", "code"), [("SELEC 1", 65), ("FROM nowhere", 65), ("ATTACH 'x' AS y", 77)]
)
def test_a_bad_statement_ends_with_its_exit_code(place: Path, sql: str, code: int) -> None:
    result = run_cli(place, "query", sql, "--json")
    assert result.returncode == code
    assert json.loads(result.stderr)["error"]["detail"]
    assert result.stdout == ""


def test_a_missing_file_is_told_before_anything_is_loaded(place: Path) -> None:
    (place / "captures.cdx").write_text(CAPTURES)
    result = run_cli(place, "load", "captures.cdx", "nowhere.cdx")
    assert result.returncode == 65
    assert "nowhere.cdx" in result.stderr


def test_doctor_finds_nothing_wrong(place: Path) -> None:
    result = run_cli(place, "doctor", "--json")
    assert result.returncode == 0, result.stdout
    findings = json.loads(result.stdout)
    assert {"settings", "directory", "database", "service", "token", "temp", "disk"} <= {
        finding["id"] for finding in findings
    }
    assert run_cli(place, "doctor").returncode == 0


def test_doctor_names_what_is_wrong_and_the_fix(tmp_path: Path) -> None:
    (tmp_path / "test.db").write_bytes(b"garbage" * 100)
    (tmp_path / "test.db").chmod(0o666)
    (tmp_path / "admin.token").write_text("x")
    (tmp_path / "admin.token").chmod(0o644)
    (tmp_path / "temp").mkdir()
    (tmp_path / "temp").chmod(0o777)
    result = run_cli(tmp_path, "doctor", "--json", DUCKDB_TEMPLATES_DIRECTORY=tmp_path / "none")
    assert result.returncode == 78
    errors = {f["id"]: f for f in json.loads(result.stdout) if f["severity"] == "error"}
    assert {"database", "token", "temp", "templates"} <= set(errors)
    assert all(finding["fix"] for finding in errors.values())
    wrong = run_cli(tmp_path, "doctor", DUCKDB_PORT="x")
    assert wrong.returncode == 78
    assert "DUCKDB_PORT" in wrong.stdout


def test_status_and_breaker_of_a_running_service(tmp_path: Path) -> None:
    with Server(tmp_path):
        status = run_cli(tmp_path, "status")
        assert status.returncode == 0
        assert "healthy" in status.stdout
        assert json.loads(run_cli(tmp_path, "status", "--json").stdout)["status"] == "healthy"
        reset = run_cli(tmp_path, "breaker", "reset", "--json")
        assert json.loads(reset.stdout)["status"] == "success"
        assert "closed" in run_cli(tmp_path, "breaker", "status").stdout


def test_status_without_a_service_says_what_to_do(tmp_path: Path) -> None:
    result = run_cli(tmp_path, "status", DUCKDB_PORT=9)
    assert result.returncode == 69
    assert "chronoduck serve" in result.stderr


def test_the_guides_greps_work_on_the_log(tmp_path: Path) -> None:
    with Server(tmp_path, DUCKDB_SLOW_QUERY_SECONDS="50ms") as server:
        server.query("SELECT sum(sqrt(range)) FROM range(20000000)")
        assert server.stop() == 0
        lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    slow = [line for line in lines if line["event"] == "slow_statement"]
    assert slow[0]["level"] == "warning"
    assert list(slow[0])[-1] == "execution_time"
    assert {"request_id", "user", "kind", "rows", "memory_mb"} <= set(slow[0])


def test_help_and_version(tmp_path: Path) -> None:
    assert "Exit codes" in run_cli(tmp_path, "--help").stdout
    assert run_cli(tmp_path, "--version").stdout.startswith("chronoduck ")
    assert run_cli(tmp_path, "nonsense").returncode == 2
