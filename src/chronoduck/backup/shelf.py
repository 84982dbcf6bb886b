"""The backup directory: what is in it, putting a finished backup there, taking old ones away."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import orjson

from chronoduck.backup.failures import BackupDamagedError, BackupNotFoundError
from chronoduck.backup.order import Made, in_order, note_made, read_made
from chronoduck.backup.records import MANIFEST_NAME, Backup, BackupName, Manifest
from chronoduck.settings import Settings
from chronoduck.storage.durable_write import (
    fsync_directory,
    make_directories,
    replace_file,
    replace_finished,
    sync_file,
    write_durably,
)

__all__ = ["WORKING_PREFIX", "Shelf", "noted_sha256", "read_manifest", "require_manifest"]

WORKING_PREFIX = ".working-"


class Shelf:
    """One database's backups in one directory."""

    def __init__(self, directory: Path, stem: str) -> None:
        self.directory = directory
        self.stem = stem

    @classmethod
    def of(cls, settings: Settings) -> Shelf | None:
        """Return the shelf of the settings, None when there is none."""
        directory = settings.backup.dir
        return None if directory is None else cls(directory, settings.database_path.stem)

    def list(self) -> list[Backup]:
        """Return the finished backups in the order in which they were made."""
        found = []
        for path in self.directory.glob("[0-9]*/*"):
            name = BackupName.parse(path.name)
            if name is None or name.stem != self.stem or name.day != path.parent.name:
                continue
            with contextlib.suppress(OSError):  # deleted at this moment
                found.append(Backup(path, name, _size(path), read_manifest(path)))
        found.sort(key=lambda backup: backup.name.id)
        return in_order([(each.name.id, each) for each in found], self.made())

    def made(self) -> dict[str, Made]:
        """Return when backups were made, by their ids; those of older versions are missing."""
        return read_made(self._order_path)

    @property
    def _order_path(self) -> Path:
        return self.directory / f".order-{self.stem}.json"

    def find(self, backup_id: str) -> Backup:
        """Return one backup by its id, or the newest one of a database for ``latest``.

        Raises:
            BackupNotFoundError: there is none.
        """
        backups = self.list()
        if backup_id == "latest":
            backups = [backup for backup in backups if backup.name.kind != "parquet"][-1:]
        else:
            backups = [backup for backup in backups if backup.name.id == backup_id]
        if not backups:
            raise BackupNotFoundError(f"there is no backup {backup_id} of {self.stem}")
        return backups[-1]

    def new_name(self, kind: str, cipher: str) -> BackupName:
        """Return a name that no other backup has; waits for the next second when need be."""
        while True:
            name = BackupName(self.stem, datetime.now(UTC).replace(microsecond=0), kind, cipher)
            day = self.directory / name.day
            if not any(day.glob(f"{self.stem}_{name.id}.*")):
                return name
            time.sleep(0.1)

    def working_directory(self) -> Path:
        """Make and return an empty directory on the same volume; old ones are leftovers of crashes."""
        make_directories(self.directory)
        for leftover in self.directory.glob(f"{WORKING_PREFIX}{self.stem}-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        path = self.directory / f"{WORKING_PREFIX}{self.stem}-{os.getpid()}"
        path.mkdir(mode=0o700)
        return path

    def add(self, finished: Path, name: BackupName, manifest: Manifest) -> Backup:
        """Put a finished file or directory in its place; it is visible only as a whole."""
        day = self.directory / name.day
        make_directories(day)
        target = day / name.file_name
        text = orjson.dumps(manifest.as_dict(), option=orjson.OPT_INDENT_2)
        note_made(self._order_path, name.id, [each.name.id for each in self.list()])
        if finished.is_dir():
            write_durably(finished / MANIFEST_NAME, [text])
        else:
            write_durably(
                _beside(target, ".sha256"), [f"{manifest.sha256}  {target.name}\n".encode()]
            )
            write_durably(_beside(target, ".json"), [text])
        if finished.is_dir():
            for file in finished.iterdir():
                sync_file(file)
            fsync_directory(finished)
            replace_file(finished, target)
        else:
            replace_finished(finished, target)
        self._link_latest(target, name)
        return Backup(target, name, _size(target), manifest)

    def _link_latest(self, target: Path, name: BackupName) -> None:
        latest = self.directory / "latest"
        make_directories(latest)
        link = latest / name.latest_name
        temporary = latest / f".{link.name}.new"
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(os.path.relpath(target, latest))
        replace_file(temporary, link)

    def remove(self, backups: Iterable[Backup]) -> None:
        """Delete backups; what was noted of one goes first, so that none is left without its file."""
        for backup in backups:
            _beside(backup.path, ".json").unlink(missing_ok=True)
            _beside(backup.path, ".sha256").unlink(missing_ok=True)
            if backup.path.is_dir():
                shutil.rmtree(backup.path)
            else:
                backup.path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # not empty
                backup.path.parent.rmdir()


def read_manifest(path: Path) -> Manifest | None:
    """Return what was noted of a backup, None when there is nothing that can be read."""
    try:
        return Manifest.from_dict(orjson.loads(_note(path).read_bytes()))
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError):
        return None


def require_manifest(path: Path) -> Manifest | None:
    """Return what was noted of a backup, None when nothing was; ``path`` may be the link to the newest.

    Raises:
        BackupDamagedError: what was noted cannot be read.
    """
    place = path.resolve()  # the notes are beside the file, not beside the link
    manifest, note = read_manifest(place), _note(place)
    if manifest is None and note.exists():
        raise BackupDamagedError(
            f"{note}, which tells what the backup holds, is damaged",
            hint="The backup may be whole. Move that file away, and restore again: it is then compared "
            "with its .sha256 alone.",
        )
    return manifest


def noted_sha256(path: Path) -> str | None:
    """Return the hash in the ``.sha256`` beside a backup, None when there is no such file."""
    try:
        return _beside(path.resolve(), ".sha256").read_text(errors="replace").partition(" ")[0]
    except OSError:
        return None


def _note(path: Path) -> Path:
    return path / MANIFEST_NAME if path.is_dir() else _beside(path, ".json")


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(file.stat().st_size for file in path.iterdir())
    return path.stat().st_size
