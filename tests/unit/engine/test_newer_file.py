"""A file of a newer engine is known by its header, before anybody advises to restore anything."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from chronoduck.assembly.start_check import check_start
from chronoduck.cli.start_checks import check_database
from chronoduck.engine import version_note
from chronoduck.engine.disk_format import format_number
from chronoduck.engine.inspection import ENGINE_VERSION
from chronoduck.engine.version_note import DatabaseVersionError, check_version_note
from chronoduck.settings import Settings


@pytest.fixture
def newest(tmp_path: Path) -> Path:
    """A file of the newest format that this engine writes."""
    path = tmp_path / "newest.db"
    version = f"v{ENGINE_VERSION.rpartition('.')[0]}.0"
    duckdb.connect(str(path), config={"storage_compatibility_version": version}).close()
    path.chmod(0o640)
    return path


def test_the_newest_format_of_this_engine_is_the_one_that_is_known(newest: Path) -> None:
    number = format_number(newest.read_bytes())
    assert number is not None
    assert number <= version_note._NEWEST_FORMAT
    check_version_note(newest)
    # A number that the engine refuses is above it: its own words name the bounds.
    with newest.open("r+b") as file:
        file.seek(12)
        file.write(struct.pack("<Q", version_note._NEWEST_FORMAT + 1))
    assert format_number(newest.read_bytes()) is None  # its checksum says that it is damaged
    check_version_note(newest)


@pytest.mark.parametrize("noted", ["9.1.2", None])
def test_a_newer_format_is_named_and_nothing_is_to_be_restored(
    newest: Path,
    noted: str | None,
    monkeypatch: pytest.MonkeyPatch,
    make_settings: Callable[..., Settings],
) -> None:
    number = format_number(newest.read_bytes()) or 0
    monkeypatch.setattr(version_note, "_NEWEST_FORMAT", number - 1)
    if noted:
        newest.with_name(newest.name + ".engine").write_text(noted)
    settings = make_settings(database_path=newest)
    with pytest.raises(DatabaseVersionError) as raised:
        check_start(settings)
    said = f"{raised.value.operator_detail} {raised.value.hint}"
    assert "recover" not in said
    assert (f"duckdb=={noted}" if noted else "a newer DuckDB") in said
    findings = list(check_database(settings))
    refused = [finding for finding in findings if finding.exit_code == raised.value.exit_code]
    assert refused
    assert not [finding for finding in findings if "recover" in (finding.fix or "")]
