"""``chronoduck install --systemd`` into a directory; systemd's own programs take the files."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.prometheus import needs
from tests.server import run_cli

pytestmark = pytest.mark.slow


def _install(root: Path, *options: str, code: int = 0) -> str:
    done = run_cli(root, "install", "--systemd", *options, "--root", str(root), COLUMNS="200")
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_it_shows_everything_and_writes_nothing_unless_told_to(tmp_path: Path) -> None:
    shown = _install(tmp_path)
    for path in ("/etc/systemd/system/chronoduck.service", "/etc/chronoduck/duckdb.env"):
        assert f"==> {path}" in shown
    assert "Nothing was written." in shown
    assert not list(tmp_path.iterdir())


def test_systemd_makes_the_user_and_the_directories_that_the_files_name(tmp_path: Path) -> None:
    needs("systemd-sysusers", "systemd-tmpfiles")
    said = _install(tmp_path, "--write", "--user", "anna")
    assert "systemctl enable --now chronoduck" in said
    for command in ("systemd-sysusers", "systemd-tmpfiles --create"):
        assert f"  {command} /etc/" in said, "what to do next"
        done = subprocess.run(
            [*command.split(), f"--root={tmp_path}"], capture_output=True, text=True, check=False
        )
        if done.returncode and "not permitted" in done.stderr and not os.environ.get("CI"):
            pytest.skip(f"needs root: {done.stderr}")
        assert done.returncode == 0, done.stderr
    users = (tmp_path / "etc/passwd").read_text()
    (line,) = (each for each in users.splitlines() if each.startswith("anna:"))
    uid = int(line.split(":")[2])
    for place, mode in (
        ("var/lib/duckdb", 0o750),
        ("var/log/chrono-scraper", 0o750),
        ("tmp/duckdb", 0o755),
    ):
        info = (tmp_path / place).stat()
        assert (info.st_uid, info.st_mode & 0o777) == (uid, mode), place
    settings = (tmp_path / "etc/chronoduck/duckdb.env").stat()
    assert (settings.st_uid, settings.st_gid, settings.st_mode & 0o777) == (0, uid, 0o640)


def test_a_file_that_differs_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    unit = tmp_path / "etc/systemd/system/chronoduck.service"
    unit.parent.mkdir(parents=True)
    unit.write_text("[Unit]\n")
    said = _install(tmp_path, "--write", code=73)
    assert f"{unit} differs" in said
    assert "--force" in said
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [unit]
    assert f"replaced   {unit}" in _install(tmp_path, "--write", "--force")
    assert unit.with_name("chronoduck.service.old").read_text() == "[Unit]\n"


def test_removal_names_what_goes_and_what_stays_and_does_neither(tmp_path: Path) -> None:
    assert "There are no files" in _install(tmp_path, "--remove")
    _install(tmp_path, "--write", "--user", "anna")
    settings = tmp_path / "etc/chronoduck/duckdb.env"
    settings.write_text("DUCKDB_REPLICA_URL=s3://ours/replica\nDUCKDB_BACKUP_DIR=/far/backups\n")
    before = sorted(tmp_path.rglob("*"))
    gone, _, stays = _install(tmp_path, "--remove").partition("What stays behind")
    assert "systemctl disable --now chronoduck" in gone
    assert "/etc/systemd/system/chronoduck.service" in gone
    for kept in (
        "/etc/chronoduck/duckdb.env",
        "/var/lib/duckdb/chrono_analytics.db",
        "s3://ours/replica",
        "/far/backups",
        "anna",
    ):
        assert kept in stays
        assert kept not in gone
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "options", [[], ["--systemd", "--remove", "--write"], ["--systemd", "--user", "a b"]]
)
def test_what_makes_no_sense_is_wrong_usage(tmp_path: Path, options: list[str]) -> None:
    assert run_cli(tmp_path, "install", *options).returncode == 64
