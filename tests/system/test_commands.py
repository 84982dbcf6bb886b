"""The commands, with and without a running service."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.server import Server, environment, new_database, run_cli

pytestmark = pytest.mark.slow

CAPTURES = """com,example)/ 20240101000000 http://example.com/ text/html 200 D1 10
com,example)/a 20240102000000 http://example.com/a text/html 404 D2 20
broken
"""


@pytest.fixture(params=["file", "service"])
def place(request: pytest.FixtureRequest, tmp_path: Path):
    """A directory whose database no process owns, or one that a service serves."""
    if request.param == "file":
        new_database(tmp_path)
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
    table = run_cli(
        place, "query", "SELECT 9007199254740993 AS big, NULL AS n", "--format", "table"
    )
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


def test_several_statements_are_run_in_order_until_one_fails(place: Path) -> None:
    (place / "all.sql").write_text(
        "\ufeff-- made; by hand\nCREATE TABLE t (a VARCHAR);\nINSERT INTO t VALUES (';');\nFROM t;"
    )
    done = run_cli(place, "query", "--file", "all.sql", "--format", "csv", "--output", "t.csv")
    assert done.returncode == 0, done.stderr
    assert (place / "t.csv").read_text() == "a\n;\n"
    failed = run_cli(place, "query", "DELETE FROM t; FROM nowhere; DROP TABLE t")
    assert failed.returncode == 65
    assert "statement 2 of 3; those before it were run" in failed.stderr
    left = run_cli(place, "query", "-", "--json", stdin="SELECT 1 AS n; SELECT count(*) FROM t;")
    assert [json.loads(line)["data"] for line in left.stdout.splitlines()] == [[[1]], [[0]]]


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
    assert result.returncode == 66
    assert "nowhere.cdx" in result.stderr


def test_doctor_finds_nothing_wrong(place: Path) -> None:
    result = run_cli(place, "doctor", "--json")
    assert result.returncode == 0, result.stdout
    findings = json.loads(result.stdout)
    assert {"settings", "directory", "database", "service", "token", "temp", "disk", "walls"} <= {
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
    given = {
        "DUCKDB_TEMPLATES_DIRECTORY": tmp_path / "none",
        "DUCKDB_REQUIRE_SANDBOX": "spill,files",
    }
    result = run_cli(tmp_path, "doctor", "--json", **given)
    assert result.returncode == 77  # a start would end with it, too
    errors = {f["id"]: f for f in json.loads(result.stdout) if f["severity"] == "error"}
    assert {"database", "token", "temp", "templates", "wall"} <= set(errors)
    assert "files is demanded and does not stand" in errors["wall"]["finding"]
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
        lines = server.log_lines()
    slow = [line for line in lines if line["event"] == "slow_statement"]
    assert slow[0]["level"] == "warning"
    assert list(slow[0])[-1] == "execution_time"
    assert {"request_id", "user", "kind", "rows", "memory_mb"} <= set(slow[0])


def test_help_and_version(tmp_path: Path) -> None:
    assert "Exit codes" in run_cli(tmp_path, "--help").stdout
    assert run_cli(tmp_path, "--version").stdout.startswith("chronoduck ")
    assert run_cli(tmp_path, "nonsense").returncode == 64


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nope"], 64, "No such command"),
        (["query", "SELECT 1", "--format", "xml"], 64, "'xml' is not one of"),
        (["query", "SELECT 1", "-o", "missing/x.csv"], 74, "missing/x.csv"),
        (["query", "SELECT 1", "-o", "."], 74, "Is a directory"),
        (["query", "SELECT 1", "-o", "x.xlsx"], 64, ".json, .ndjson, .csv, .arrow, .parquet"),
        (["query", "SELECT 1", "-o", "a.cdx", "--format", "csv"], 73, "add --force"),
        (["query"], 64, "one statement is needed"),
        (["query", "SELECT 1", "--file", "a.cdx"], 64, "one statement is needed"),
        (["query", "--file", "missing.sql"], 74, "missing.sql"),
        (["query", "SELECT 1; SELECT 2", "--param", "a=1"], 64, "goes with one statement"),
        (["query", "SELECT 1"], 66, "there is no database"),
        (["query", "SHOW TABLES"], 66, "there is no database"),
        (["load", "missing.cdx"], 66, "there is no file missing.cdx"),
        (["load", "empty"], 66, "holds no file of data"),
        (["load", "a.cdx", "b.cdx", "--rejects", "r.tsv"], 64, "names one file"),
        (["serve", "--host", "192.0.2.1"], 78, "cannot be listened on"),
        (["templates", "run", "page-stats", "limit=1", "limit=2"], 64, "given twice"),
        (["templates", "run", "page-stats"], 66, "`chronoduck load` make one"),
    ],
)
def test_wrong_use_ends_with_a_sentence_and_its_code(
    tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    for name in ("a.cdx", "b.cdx"):
        (tmp_path / name).touch()
    (tmp_path / "empty").mkdir()
    done = run_cli(tmp_path, *arguments)
    assert done.returncode == code
    assert words in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "test.db").exists()


def test_files_of_one_name_do_not_share_their_rejects(tmp_path: Path) -> None:
    files = []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        file = tmp_path / folder / "x.cdx"
        file.write_text(CAPTURES + f"broken line of {folder}\n")
        files.append(str(file))
    done = run_cli(tmp_path, "load", *files)
    assert done.returncode == 0, done.stderr
    kept = sorted(path.name for path in tmp_path.glob("*.tsv"))
    assert kept == ["x.cdx.2.rejects.tsv", "x.cdx.rejects.tsv"]
    assert "broken line of two" in (tmp_path / "x.cdx.2.rejects.tsv").read_text()


def test_a_pipe_is_a_file_like_any_other(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_text, args=[CAPTURES])
    writer.start()
    done = run_cli(tmp_path, "load", "pipe")
    writer.join()
    assert "rows added" in done.stderr + done.stdout


def test_a_reader_that_has_had_enough_is_no_error(tmp_path: Path) -> None:
    new_database(tmp_path)
    command = f"{sys.executable} -m chronoduck query 'FROM range(1000000)' --format csv | head -1"
    done = subprocess.run(
        ["bash", "-c", f"{command}; echo ${{PIPESTATUS[0]}}"],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["range", "0"]
    assert "Traceback" not in done.stderr


def test_usage_of_everybody_and_of_oneself(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        server.query("SELECT 1")
        (admin,) = json.loads(run_cli(tmp_path, "usage", "--json").stdout)
        assert (admin["id"], admin["since_start"]["requests"]) == ("admin", 2)
        me = json.loads(run_cli(tmp_path, "usage", "--me", "--json").stdout)
        assert me["since_start"]["requests"] == 2
        shown = run_cli(tmp_path, "usage", COLUMNS="120").stdout
        assert "engine s/h" in shown
        assert "admin" in shown


@pytest.mark.parametrize(("typed", "meant"), [("health", "status"), ("statsu", "status")])
def test_a_command_of_another_name_is_told(tmp_path: Path, typed: str, meant: str) -> None:
    result = run_cli(tmp_path, typed)
    assert result.returncode == 64
    assert f"'{meant}'" in result.stderr


def test_the_doctor_tells_of_files_that_were_set_aside_and_of_a_shadow_without_memory(
    place: Path,
) -> None:
    aside = place / "test.db.corrupt-20261128T000000Z"
    aside.write_bytes(b"old")
    given = {"DUCKDB_SHADOW_ENABLED": "true", "DUCKDB_SHADOW_MEMORY": "1MB"}
    result = run_cli(place, "doctor", "--json", **given)
    aside.unlink()
    assert result.returncode == 0, result.stdout
    found = {check["id"]: check for check in json.loads(result.stdout)}
    assert str(aside) in found["set-aside"]["finding"]
    assert found["set-aside"]["severity"] == found["shadow-memory"]["severity"] == "warning"
