"""Connection strings: what of them is shown, and that nothing else ever is."""

from __future__ import annotations

from pathlib import Path

import pytest

from chronoduck.sync import SourceDeclaration, SyncSourceError
from chronoduck.sync.source import Dsn


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("postgresql://ann:s%40crt@db.example:6432/shop", "db.example:6432/shop"),
        ("postgres://ann:s%40crt@db/shop?sslmode=require", "db:5432/shop"),
        ("postgresql://ann:s%40crt@/shop?host=/run/pg&port=1", "/run/pg:1/shop"),
        ("postgresql://ann@db?password=s%40crt", "db:5432/ann"),
        ("host=db port=7 user=ann password='s@crt' dbname=shop", "db:7/shop"),
        ("host = db user = ann password = s@crt", "db:5432/ann"),
    ],
)
def test_host_and_database_are_shown_and_the_password_is_not(
    text: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THE_DSN", text)
    dsn = Dsn.of(SourceDeclaration(dsn_env="THE_DSN"), "s")
    assert dsn.place == place
    assert dsn.text.startswith(text)
    cleaned = dsn.clean(f"cannot use {dsn.text}: s@crt s%40crt")
    assert "crt" not in cleaned


@pytest.mark.parametrize(
    "text", ["", "mysql://a:secret@b/c", "postgresql://a:secret@b:x/c", "secret"]
)
def test_what_is_no_connection_string_is_refused_unsaid(text: str, tmp_path: Path) -> None:
    file = tmp_path / "dsn"
    file.write_text(text)
    with pytest.raises(SyncSourceError) as raised:
        Dsn.of(SourceDeclaration(dsn_file=file), "s")
    assert "secret" not in f"{raised.value} {raised.value.hint}"
    assert str(file) in raised.value.detail


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SyncSourceError, match="No such file"):
        Dsn.of(SourceDeclaration(dsn_file=tmp_path / "dsn"), "s")
