"""Secrets from files, for every setting that is one."""

from __future__ import annotations

from pathlib import Path

import pytest

from chronoduck.errors import SettingsError
from chronoduck.settings import GROUPS, Settings, load_settings, reveal, variable_names
from chronoduck.settings.secret_files import secret_fields

MODELS = {"": Settings, **GROUPS}
SECRETS = [
    (group, field, variable_names(model)[field])
    for group, model in MODELS.items()
    for field in secret_fields(model)
]
SECRET = "from-a-file-and-of-32-bytes-at-least"
NEEDED = {
    "DUCKDB_JWT_SECRET": {
        "DUCKDB_JWT_ALGORITHM": "HS256",
        "DUCKDB_JWT_ISSUER": "platform",
        "DUCKDB_JWT_AUDIENCE": "chronoduck",
        "DUCKDB_JWT_ROLES": "staff=analyst",
    }
}
"""What must be set beside a secret."""


def secret_file(directory: Path, text: str = f"{SECRET}\n", mode: int = 0o600) -> Path:
    path = directory / "secret"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_the_known_secrets_are_found_as_such() -> None:
    names = {variable for _, _, variable in SECRETS}
    assert names >= {
        *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
        "DUCKDB_REPLICA_ENCRYPTION_KEY",
    }
    settings = {name for model in MODELS.values() for name in variable_names(model).values()}
    assert not settings & {f"{name}_FILE" for name in names}, "a setting has a secret file's name"


@pytest.mark.parametrize(("group", "field", "variable"), SECRETS, ids=[s[2] for s in SECRETS])
def test_every_secret_may_come_from_a_file_and_reaches_a_child_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: str, field: str, variable: str
) -> None:
    for name, value in NEEDED.get(variable, {}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(f"{variable}_FILE", str(secret_file(tmp_path)))
    settings = load_settings()
    holder = getattr(settings, group) if group else settings
    assert getattr(holder, field).get_secret_value() == SECRET
    # What is sent to a child is complete: there the file may be gone.
    monkeypatch.delenv(f"{variable}_FILE")
    child = Settings(**reveal(settings))
    assert child == settings


def test_both_ways_at_once_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "direct")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY_FILE", str(secret_file(tmp_path)))
    with pytest.raises(SettingsError, match="AWS_SECRET_ACCESS_KEY_FILE"):
        load_settings()


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o666])
def test_a_file_that_everybody_reads_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    path = secret_file(tmp_path, mode=mode)
    monkeypatch.setenv("DUCKDB_REPLICA_ENCRYPTION_KEY_FILE", str(path))
    with pytest.raises(SettingsError, match="every user may read") as caught:
        load_settings()
    assert SECRET not in str(caught.value)
    assert str(path) in caught.value.hint


def test_a_credential_of_systemd_has_the_mode_that_systemd_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = secret_file(tmp_path, mode=0o444)
    monkeypatch.setenv("AWS_SESSION_TOKEN_FILE", str(path))
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    token = load_settings().aws_session_token
    assert token is not None
    assert token.get_secret_value() == SECRET
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "deeper"))
    with pytest.raises(SettingsError, match="AWS_SESSION_TOKEN_FILE"):
        load_settings()


@pytest.mark.parametrize("content", [None, b"", b"  \n", b"\xff\xfe"])
def test_a_file_without_a_secret_names_its_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.touch(mode=0o600)
        path.write_bytes(content)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID_FILE", str(path))
    with pytest.raises(SettingsError, match="AWS_ACCESS_KEY_ID_FILE"):
        load_settings()


def test_a_file_for_a_setting_that_is_no_secret_is_an_unknown_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DUCKDB_PORT_FILE", "/tmp/x")
    with pytest.raises(SettingsError, match="DUCKDB_PORT_FILE"):
        load_settings()
