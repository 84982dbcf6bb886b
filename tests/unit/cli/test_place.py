"""Commands find the database and its service where the settings say they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from chronoduck.cli.place import certificate_place, database_place, token_place
from chronoduck.settings import load_settings

PLACES = ["", "mine.db", "~/mine.db", "/data/../data/mine.db", "link.db", "a b/ü.db"]


@pytest.fixture(autouse=True)
def _directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link.db").symlink_to(tmp_path / "elsewhere" / "real.db")


@pytest.mark.parametrize("variable", ["DUCKDB_DATABASE_PATH", "duckdb_database_path", None])
@pytest.mark.parametrize("place", PLACES)
def test_the_database(variable: str | None, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    named = None
    if variable is not None:
        monkeypatch.setenv(variable, place)
    elif place:
        named = Path(place)
    settings = load_settings(**({"database_path": named} if named else {}))
    assert database_place(named) == settings.database_path
    assert token_place(database_place(named)) == settings.token_path


@pytest.mark.parametrize("place", ["", "cert.pem", "~/cert.pem", "/tls/cert.pem"])
def test_the_certificate(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUCKDB_TLS_CERT_FILE", place)
    monkeypatch.setenv("DUCKDB_TLS_KEY_FILE", place)
    assert certificate_place() == load_settings().transport.tls_cert_file
