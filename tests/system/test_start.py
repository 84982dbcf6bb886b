"""Starting: each thing that can be wrong is one sentence, an exit code, and no change on disk."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from tests.server import Server, run_cli

pytestmark = pytest.mark.slow

_WORDS = struct.Struct("<511Q")
_MASK = 2**64 - 1


def snapshot(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def refused(directory: Path, code: int, **settings: object) -> str:
    """Run serve, expect its exit code and one error, and return what it said."""
    result = run_cli(
        directory, "serve", **{"DUCKDB_PORT": 1 + os.getpid() % 999 + 20_000, **settings}
    )
    assert result.returncode == code, result.stderr
    assert result.stderr.count("error:") == 1
    assert "Traceback" not in result.stderr
    assert "what to do:" in result.stderr
    return " ".join(result.stderr.split())


def test_a_second_service_on_the_file_names_the_first(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        server.query("CREATE TABLE t AS SELECT 1 AS a")
        said = refused(tmp_path, 75)
        assert str(server.server_pid) in said
        assert server.url in said
        assert server.query("FROM t") == [[1]]


def test_a_foreign_process_on_the_file_is_named(tmp_path: Path) -> None:
    code = "import duckdb,sys; c=duckdb.connect(sys.argv[1]); print('open', flush=True); input()"
    path = tmp_path / "test.db"
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "open\n"
    path.chmod(0o640)
    try:
        said = refused(tmp_path, 75)
        assert str(holder.pid) in said
    finally:
        holder.communicate("\n")


@pytest.mark.parametrize("content", [b"", b"not a database" * 1000])
def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "test.db"
    path.write_bytes(content)
    path.chmod(0o640)
    refused(tmp_path, 65)
    assert path.read_bytes() == content
    assert not (tmp_path / "admin.token").exists()


def test_a_file_of_a_newer_format_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "test.db"
    duckdb.connect(str(path)).close()
    data = bytearray(path.read_bytes())
    data[12:20] = struct.pack("<Q", 998)  # 999 is what DuckDB 2.0.1 itself writes
    checksum = 5381
    for word in _WORDS.unpack(data[8:4096]):
        checksum ^= (word * 0xBF58476D1CE4E5B9) & _MASK
    data[:8] = struct.pack("<Q", checksum)
    path.write_bytes(data)
    path.chmod(0o640)
    said = refused(tmp_path, 65)
    assert "another version of DuckDB" in said
    assert path.read_bytes() == bytes(data)


def test_a_corrupt_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "test.db"
    duckdb.connect(str(path)).close()
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    path.chmod(0o640)
    said = refused(tmp_path, 74)
    assert "cannot be opened" in said
    assert path.read_bytes() == bytes(data)


def test_a_database_that_others_may_read_is_refused_with_the_fix(tmp_path: Path) -> None:
    path = tmp_path / "test.db"
    duckdb.connect(str(path)).close()
    path.chmod(0o646)
    before = snapshot(tmp_path)
    said = refused(tmp_path, 77)
    assert f"chmod 640 {path}" in said
    assert "0646" in said
    assert {k: v for k, v in snapshot(tmp_path).items() if not k.endswith(".lock")} == before


@pytest.mark.parametrize(
    ("mode", "content", "fix"), [(0o644, "x", "chmod 600"), (0o600, "", "delete")]
)
def test_a_token_that_cannot_be_trusted_is_refused_with_the_fix(
    tmp_path: Path, mode: int, content: str, fix: str
) -> None:
    (tmp_path / "admin.token").write_text(content)
    (tmp_path / "admin.token").chmod(mode)
    before = snapshot(tmp_path)
    assert fix in refused(tmp_path, 77)
    assert snapshot(tmp_path) == before


def test_a_world_writable_temp_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "temp").mkdir()
    (tmp_path / "temp").chmod(0o777)
    said = refused(tmp_path, 77)
    assert "chmod 755" in said


def test_a_directory_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    # Modes do not stop root, this attribute does.
    if subprocess.run(["chattr", "+i", data], check=False).returncode != 0:
        data.chmod(0o555)
    try:
        if os.access(data, os.W_OK):
            pytest.skip("this user writes to every directory")
        said = refused(tmp_path, 77, DUCKDB_DATABASE_PATH=data / "test.db")
        assert "not writable" in said
        assert str(data) in said
        assert list(data.iterdir()) == []
    finally:
        subprocess.run(["chattr", "-i", data], check=False)
        data.chmod(0o755)


def test_a_taken_port_is_named_with_the_way_out(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        said = refused(tmp_path, 75, DUCKDB_PORT=port)
    assert str(port) in said
    assert "--port" in said
    assert snapshot(tmp_path) == {}


@pytest.mark.parametrize(
    ("name", "value"), [("DUCKDB_MEMORY_LIMIT", "lots"), ("DUCKDB_MEMORYLIMIT", "4GB")]
)
def test_a_wrong_setting_is_named(tmp_path: Path, name: str, value: str) -> None:
    assert name in refused(tmp_path, 78, **{name: value})


def test_a_broken_template_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "mine.sql").write_text("-- name: mine\n-- description: x\nSELEC 1\n")
    said = refused(tmp_path, 78, DUCKDB_TEMPLATES_DIRECTORY=tmp_path / "templates")
    assert "mine.sql" in said
    assert "3" in said


def test_the_files_are_closed_to_others(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        server.query("CREATE TABLE t AS SELECT 1 AS a")
        # DDL may end with a checkpoint, which deletes the WAL; rows stay in it.
        server.query("INSERT INTO t VALUES (2)")
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
        token = server.token
        log = server.log_text()
    assert modes["test.db"] == 0o640
    assert modes["test.db.wal"] == 0o640
    assert modes["admin.token"] == 0o600
    assert token not in log
