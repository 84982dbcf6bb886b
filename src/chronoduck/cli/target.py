"""Where a command sends its work: to a service by URL, or into the file when no service owns it.

Commands that only ask import this module: what opens files and reads settings is imported when needed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chronoduck.auth.token_file import read_token
from chronoduck.cli.place import certificate_place, database_place, token_place
from chronoduck.cli.remote import RemoteService
from chronoduck.cli.trust import trust
from chronoduck.engine.ownership import DatabaseOwnership, current_owner
from chronoduck.errors import DatabaseLockedError

if TYPE_CHECKING:
    from chronoduck.settings import Settings

__all__ = [
    "DatabaseOption",
    "JsonOption",
    "Target",
    "TokenFileOption",
    "UrlOption",
    "find_target",
    "owned",
    "require_service",
    "settings_for",
]

DatabaseOption = Annotated[
    Path | None,
    typer.Option("--database", "-d", help="The database file; default: DUCKDB_DATABASE_PATH."),
]
UrlOption = Annotated[
    str | None,
    typer.Option("--url", envvar="CHRONODUCK_URL", help="The service, e.g. http://127.0.0.1:8000."),
]
TokenFileOption = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        help="The token; - reads a line from standard input; default: CHRONODUCK_TOKEN, "
        "else admin.token beside the database.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@dataclass(frozen=True)
class Target:
    """A running service, or None and the file is opened by this process."""

    service: RemoteService | None
    database: Path | None = None
    """The file that was named; None: the environment's."""
    given: Settings | None = None
    """Settings that are not the environment's."""

    @cached_property
    def settings(self) -> Settings:
        """The given settings, else the environment's for that file."""
        return self.given or settings_for(self.database)

    @property
    def own_settings(self) -> Settings:
        """The settings to open the file with, here.

        Replica, backups, syncs, exports and audit trail of the environment are those of its database:
        another one must not be written into them.
        """
        from chronoduck.settings import BackupSettings, ReplicaSettings, load_settings  # noqa: PLC0415

        settings = without_shadow(self.settings)
        if settings.database_path == load_settings().database_path:
            return settings
        without = {
            "replica": ReplicaSettings(url=None),
            "backup": BackupSettings(dir=None),
            "audit": self.settings.audit.model_copy(update={"file": None}),
            "sync_file": None,
            "export": self.settings.export.model_copy(update={"file": None}),
        }
        return settings.model_copy(update=without)


def without_shadow(settings: Settings) -> Settings:
    """Return the settings for a command that opens the database, works and closes it.

    It checkpoints after DDL and when it closes. A process that replays the WAL would outlive it.
    """
    from chronoduck.settings import ShadowSettings  # noqa: PLC0415

    return settings.model_copy(update={"shadow": ShadowSettings(enabled=False)})


def settings_for(database: Path | None) -> Settings:
    """Return the environment's settings, for another database file if one is named.

    Raises:
        SettingsError: a setting is invalid.
    """
    from chronoduck.settings import load_settings  # noqa: PLC0415

    return load_settings(**({"database_path": database} if database else {}))


def find_target(database: Path | None, url: str | None, token_file: Path | None) -> Target:
    """Return the service named by ``url``, else the one that owns the file, else the file itself.

    Raises:
        DatabaseLockedError: a process that serves nothing owns the file.
        SettingsError: no service is asked, and a setting is invalid.
    """
    place = database_place(database)
    if url is not None:
        return Target(RemoteService(url, _token(place, token_file), trust(url)), database)
    owner = current_owner(place)
    if owner is None:
        target = Target(None, database)
        _ = target.settings  # what is wrong with them is said before anything is done
        return target
    if owner.url is None:
        raise DatabaseLockedError(
            f"{place} is in use by process {owner.pid}, which serves no API",
            hint=f"Wait until it ends, or stop it (kill {owner.pid}).",
        )
    verify = trust(owner.url, certificate_place())
    return Target(RemoteService(owner.url, _token(place, token_file), verify), database)


def _token(database: Path, token_file: Path | None) -> str | None:
    given = os.environ.get("CHRONODUCK_TOKEN")
    if given and token_file is None:
        return given
    if str(token_file) == "-":
        return sys.stdin.buffer.readline().decode(errors="replace").strip()
    path = token_file or token_place(database)
    if token_file is None and not path.exists():
        return None  # the public endpoints need none; the others say what is missing
    return read_token(path)


def require_service(
    database: Path | None, url: str | None, token_file: Path | None
) -> RemoteService:
    """Return the running service; a command that is about one cannot do without.

    Raises:
        ServiceUnavailableError: none is running for that database.
    """
    target = find_target(database, url, token_file)
    if target.service is not None:
        return target.service
    # No process owns the file: ask the configured address, which says the rest in its error.
    settings = target.settings
    address = f"{settings.transport.scheme}://{settings.host}:{settings.port}"
    verify = trust(address, settings.transport.tls_cert_file)
    return RemoteService(address, _token(settings.database_path, token_file), verify)


@contextmanager
def owned(database: Path) -> Iterator[None]:
    """Hold the file's lock, so that no service opens it meanwhile.

    Raises:
        DatabaseLockedError: one has it open.
    """
    from chronoduck.engine.offline import finish_placing  # noqa: PLC0415

    database.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    ownership = DatabaseOwnership(database)
    ownership.acquire()
    try:
        finish_placing(database)
        yield
    finally:
        ownership.release()
