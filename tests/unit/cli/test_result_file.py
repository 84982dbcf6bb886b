"""The file for a result: by its ending, whole or not there, and nobody's is replaced unasked."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from chronoduck.cli.result_file import OutputExistsError, OutputFormat, chosen_format, opened
from chronoduck.errors import InvalidRequestError


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *[(f"rows.{each}", each) for each in ("json", "ndjson", "csv", "arrow", "parquet")],
        ("rows.JSONL", "ndjson"),
        ("rows.CSV", "csv"),
        ("rows.2024.parquet", "parquet"),
    ],
)
def test_the_ending_is_the_format(name: str, expected: str) -> None:
    assert chosen_format(None, Path(name)) == expected


@pytest.mark.parametrize("name", ["rows.xlsx", "rows.txt", "rows", "rows.csv.gz", ".csv", "rows."])
def test_another_ending_is_refused_with_those_that_are_known(name: str) -> None:
    with pytest.raises(InvalidRequestError) as raised:
        chosen_format(None, Path(name))
    assert ".json, .ndjson, .csv, .arrow, .parquet" in (raised.value.hint or "")
    assert chosen_format(OutputFormat.CSV, Path(name)) is OutputFormat.CSV


def test_a_table_is_no_file() -> None:
    with pytest.raises(InvalidRequestError):
        chosen_format(OutputFormat.TABLE, Path("rows.csv"))


def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("mine")
    with pytest.raises(OutputExistsError), opened(path, force=False) as stream:
        stream.write(b"other")
    assert path.read_text() == "mine"
    with opened(path, force=True) as stream:
        stream.write(b"other")
    assert path.read_text() == "other"


def test_what_broke_off_replaces_nothing(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("mine")
    with pytest.raises(ValueError, match="broke"), opened(path, force=True) as stream:
        stream.write(b"ot")
        raise ValueError("broke off")
    assert [each.read_text() for each in tmp_path.iterdir()] == ["mine"]


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "real.csv").write_text("mine")
    link = tmp_path / "rows.csv"
    link.symlink_to("real.csv")
    with opened(link, force=True) as stream:
        stream.write(b"other")
    assert link.is_symlink()
    assert (tmp_path / "real.csv").read_text() == "other"


def test_a_pipe_is_written_to_and_never_replaced(tmp_path: Path) -> None:
    path, read = tmp_path / "rows.csv", []
    os.mkfifo(path)
    reader = threading.Thread(target=lambda: read.append(path.read_bytes()))
    reader.start()
    with opened(path, force=False) as stream:
        stream.write(b"rows")
    reader.join()
    assert read == [b"rows"]
    assert path.is_fifo()


def test_an_error_names_the_file_that_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    missing = Path("missing/rows.csv")
    with pytest.raises(FileNotFoundError) as caught, opened(missing, force=False):
        pass
    assert caught.value.filename == "missing/rows.csv"
    with pytest.raises(OSError, match="space") as full, opened(Path("rows.csv"), force=False):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert full.value.filename == "rows.csv"
    other = PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/etc/other")
    with pytest.raises(PermissionError, match="other"), opened(Path("rows.csv"), force=False):
        raise other
    assert list(tmp_path.iterdir()) == []
