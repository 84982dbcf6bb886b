"""Commands on a file that no service owns: a failed one leaves no database that was not there."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
from typer.testing import CliRunner

from chronoduck.cli.main import build_app
from chronoduck.engine.inspection import is_untouched
from chronoduck.engine.ownership import DatabaseOwnership, lock_path
from tests.spreadsheets import xlsx


def run(*arguments: object) -> tuple[BaseException | None, str]:
    """Run a command in this process; return how it failed, and what it said."""
    name = str(arguments[0])
    result = CliRunner().invoke(build_app(name), list(map(str, arguments)))
    return result.exception, result.output


@pytest.fixture(autouse=True)
def _in_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DUCKDB_TEMP_DIRECTORY", str(tmp_path.with_name("spill")))
    Path("title.csv").write_text("a,b\n1,x\n")
    Path("bad.csv").write_text("a,b\n1,2\n3\n")


@pytest.mark.parametrize("place", ["x.db", "new/x.db"])
def test_a_failed_load_and_a_dry_run_leave_nothing(place: str) -> None:
    before = sorted(Path().rglob("*"))
    for arguments in (("bad.csv",), ("missing.csv",), ("title.csv", "--dry-run")):
        failed, said = run("load", *arguments, "--database", place)
        assert (failed is None) == ("--dry-run" in arguments), said
        assert [each for each in Path().rglob("*") if each not in before] == [], arguments
    failed, _ = run("query", "CREATE TABLE t AS SELECT error('no')", "--database", place)
    assert failed is not None
    assert sorted(Path().rglob("*")) == before


def test_what_was_there_or_was_written_stays() -> None:
    failed, _ = run("load", "title.csv", "bad.csv", "--table", "t", "--database", "x.db")
    assert failed is not None
    for _ in range(2):
        assert duckdb.connect("x.db", read_only=True).execute("FROM t").fetchall() == [(1, "x")]
        assert run("load", "bad.csv", "--database", "x.db")[0] is not None
    duckdb.connect("empty.db").close()
    assert run("load", "bad.csv", "--database", "empty.db")[0] is not None
    assert Path("empty.db").exists()


@pytest.mark.parametrize(
    "statement",
    [
        *("CREATE TABLE t (i INT)", "CREATE VIEW v AS SELECT 1", "CREATE SCHEMA s"),
        *("CREATE SEQUENCE q", "CREATE TYPE e AS ENUM ('a')", "CREATE MACRO m() AS 1"),
        "CREATE TABLE pages_analytics AS SELECT 1 AS i",
    ],
)
def test_a_file_with_anything_in_it_is_not_untouched(tmp_path: Path, statement: str) -> None:
    path = tmp_path / "some.db"
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE SCHEMA _chronoduck; CREATE TABLE user_metrics (i INT)")
    assert is_untouched(path)
    with duckdb.connect(str(path)) as connection:
        connection.execute(statement)
    assert not is_untouched(path)
    path.write_bytes(b"no database")
    assert not is_untouched(path)


def test_a_lock_file_that_was_discarded_is_nobodys_lock(tmp_path: Path) -> None:
    first, second = DatabaseOwnership(tmp_path / "x.db"), DatabaseOwnership(tmp_path / "x.db")
    first.acquire()
    first.discard()
    assert not lock_path(tmp_path / "x.db").exists()
    second.acquire()
    assert lock_path(tmp_path / "x.db").exists()
    second.release()


def test_the_summary_says_that_the_table_existed() -> None:
    Path("title.xlsx").write_bytes(xlsx({"S": [["a", "b"], [2, "y"]]}))
    said = [
        run("load", *arguments, "--database", "x.db")[1]
        for arguments in (("title.csv",), ("title.xlsx", "--dry-run"), ("title.xlsx",))
    ]
    assert "title was created: a BIGINT, b VARCHAR" in said[0]
    assert "title existed; rows would be appended: a BIGINT, b VARCHAR" in said[1]
    assert "title existed; rows were appended: a BIGINT, b VARCHAR" in said[2]


def test_the_command_speaks_its_own_words() -> None:
    failed, _ = run("load", "title.csv", "--mode", "upsert", "--database", "x.db")
    assert failed is not None
    failed, _ = run("load", "title.csv", "--table", "sales.2024", "--database", "x.db")
    assert "sales.2024" in str(failed)
    failed, said = run("load", "title.csv", "--table", '"sales.2024"', "--database", "x.db")
    assert failed is None, said
    failed, said = run("load", "title.csv", "--table", "sales.2024", "--database", "x.db")
    assert failed is None, said
