"""The doctor's checks: each looks at one thing, changes nothing and names the fix."""

from __future__ import annotations

import shutil
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2

from chronoduck.api.tls import tls_context
from chronoduck.auth.key_file import KeyFile
from chronoduck.backup.shelf import Shelf
from chronoduck.cli.engine_checks import check_downgrade, check_engine
from chronoduck.cli.exposure import exposures
from chronoduck.cli.findings import Check, Severity
from chronoduck.cli.replica_check import check_replica
from chronoduck.cli.sandbox_check import check_sandbox
from chronoduck.cli.set_aside_check import check_set_aside
from chronoduck.cli.start_checks import check_database
from chronoduck.cli.target import settings_for
from chronoduck.cli.trust import trust
from chronoduck.engine.extensions import extension_wheel
from chronoduck.engine.memory import available_cpus, memory_budget
from chronoduck.engine.ownership import current_owner
from chronoduck.environment_file import ignored_lines, taken_files
from chronoduck.errors import DuckDBException
from chronoduck.permissions import (
    describe_path,
    directory_advice,
    file_advice,
    is_writable,
    new_directory_advice,
)
from chronoduck.service.templates import TemplateLibrary
from chronoduck.settings import Settings
from chronoduck.sql.statements import StatementParser
from chronoduck.units import format_bytes

__all__ = ["run_checks"]

_LOW_DISK_PERCENT = 10
_WARN_FLOORS, _SMALL_FLOORS = 2, 4
_LEAST_FLOOR_BYTES = 100_000_000
"""A smaller floor is not advised: the WAL and a checkpoint have to fit into a part of it."""
_LOW_MEMORY_BYTES = 512_000_000
_LOW_SHADOW_BYTES = 32_000_000
"""A replay of 50 small transactions into 100,000 rows fails in 1 MB and works in 5 MB."""


def run_checks(database: Path | None) -> list[Check]:
    """Return the findings of all checks; settings first, the others need them."""
    try:
        settings = settings_for(database)
    except DuckDBException as error:
        wrong = Check("settings", Severity.ERROR, error.detail, error.hint)
        return [wrong, *_environment_files()]
    findings = [Check("settings", Severity.OK, "all settings are valid"), *_environment_files()]
    for check in _CHECKS:
        findings += check(settings)
    if not any(
        each.id in ("database", "start") and each.severity is Severity.ERROR for each in findings
    ):
        findings += check_downgrade(settings)  # it opens the file
    return findings


def _environment_files() -> Iterator[Check]:
    for path, text in taken_files().items():
        for sentence in ignored_lines(text):
            detail, _, fix = sentence.partition(": ")
            yield Check(
                "settings", Severity.WARNING, f"{path}: {detail}", f"{fix[0].upper()}{fix[1:]}."
            )


def _directory(settings: Settings) -> Iterator[Check]:
    directory = settings.database_path.parent
    if not directory.exists():
        parent = next(p for p in directory.parents if p.exists())
        if is_writable(parent):
            yield Check("directory", Severity.OK, f"{directory} will be made at the first start")
        else:
            yield Check(
                "directory",
                Severity.ERROR,
                f"{directory} does not exist and {describe_path(parent)} is not writable",
                new_directory_advice(directory, 0o750, setting="DUCKDB_DATABASE_PATH"),
            )
    elif not is_writable(directory):
        yield Check(
            "directory",
            Severity.ERROR,
            f"{describe_path(directory)} is not writable by this user",
            directory_advice(directory, 0o750, setting="DUCKDB_DATABASE_PATH"),
        )
    else:
        yield Check("directory", Severity.OK, describe_path(directory))


def _service(settings: Settings) -> Iterator[Check]:
    owner = current_owner(settings.database_path)
    if owner is None:
        yield Check("service", Severity.OK, "no process has the database open")
        return
    if owner.url is None:
        yield Check("service", Severity.OK, f"process {owner.pid} has the database open")
        return
    where = f"process {owner.pid} serves it at {owner.url}"
    try:
        report = httpx2.get(
            f"{owner.url}/api/v1/duckdb/health",
            timeout=5.0,
            trust_env=False,
            verify=trust(owner.url, settings.transport.tls_cert_file),
        ).json()
    except (httpx2.HTTPError, ValueError) as error:
        yield Check(
            "service",
            Severity.ERROR,
            f"{where} but does not answer: {error}",
            f"Look at its log; if it hangs: kill {owner.pid}, then start it again",
        )
        return
    severity = {"healthy": Severity.OK, "degraded": Severity.WARNING}.get(
        report["status"], Severity.ERROR
    )
    yield Check("service", severity, f"{where}: {report['status']}", " ".join(report["errors"]))
    waits = report["components"].get("penalties", {})
    if waits.get("reason"):
        yield Check("penalties", Severity.OK, waits["reason"], waits["hint"])


def _token(settings: Settings) -> Iterator[Check]:
    path = settings.token_path
    if not path.exists():
        yield Check("token", Severity.OK, f"{path} will be made when the service starts")
    elif path.stat().st_mode & 0o077:
        yield Check(
            "token",
            Severity.ERROR,
            f"{describe_path(path)} can be read by other users",
            file_advice(path, 0o600),
        )
    else:
        yield Check("token", Severity.OK, describe_path(path))


def _keys(settings: Settings) -> Iterator[Check]:
    try:
        keys = KeyFile(settings.keys_path).read()
    except DuckDBException as error:
        yield Check("keys", Severity.ERROR, error.detail, error.hint)
        return
    expired = sum(key.is_expired(time.time()) for key in keys)
    yield Check("keys", Severity.OK, f"{len(keys)} API keys, {expired} of them expired")


def _temp(settings: Settings) -> Iterator[Check]:
    path = settings.temp_directory
    if not path.exists():
        yield Check("temp", Severity.OK, f"{path} will be made at the first start")
    elif path.stat().st_mode & stat.S_IWOTH:
        yield Check(
            "temp",
            Severity.ERROR,
            f"{describe_path(path)} is writable by every user",
            directory_advice(path, 0o755, setting="DUCKDB_TEMP_DIRECTORY"),
        )
    elif not is_writable(path):
        yield Check(
            "temp",
            Severity.ERROR,
            f"{describe_path(path)} is not writable by this user",
            directory_advice(path, 0o755, setting="DUCKDB_TEMP_DIRECTORY"),
        )
    else:
        yield Check("temp", Severity.OK, describe_path(path))


def _disk(settings: Settings) -> Iterator[Check]:
    budget = memory_budget(settings)
    spill = settings.max_temp_size or 2 * budget.limit_bytes
    for name, path in (("disk", settings.database_path), ("temp-disk", settings.temp_directory)):
        place = next(p for p in (path, *path.parents) if p.is_dir())
        usage = shutil.disk_usage(place)
        # A pseudo volume such as /sys has no blocks.
        percent = 100 * usage.free / (usage.total or 1)
        facts = f"{format_bytes(usage.free)} free ({percent:.0f} %) on the volume of {place}"
        if name == "disk" and (found := _tight_volume(settings, usage.total, usage.free)):
            severity, finding, fix = found
            yield Check(name, severity, f"{facts}; {finding}", fix)
        elif percent < _LOW_DISK_PERCENT:
            yield Check(name, Severity.WARNING, facts, "Free space or enlarge the volume")
        elif name == "temp-disk" and usage.free < spill:
            yield Check(
                name,
                Severity.WARNING,
                f"{facts}, but spill files may take {format_bytes(spill)}",
                "Set DUCKDB_MAX_TEMP_SIZE lower, or DUCKDB_TEMP_DIRECTORY to a larger volume",
            )
        else:
            yield Check(name, Severity.OK, facts)


def _tight_volume(settings: Settings, total: int, free: int) -> tuple[Severity, str, str] | None:
    """Judge the volume of the database by its floor: severity, what is wrong and the fix."""
    floor = settings.disk_floor
    size = format_bytes(floor)
    free_it = (
        "DROP or DELETE what is not needed and run CHECKPOINT; or free space on the volume or "
        "enlarge it: chronoduck runbook disk-full"
    )
    if free < floor:
        # The file itself may have room inside: the service knows, and its health says so.
        return Severity.ERROR, f"writes are refused below {size}", free_it
    if total < _SMALL_FLOORS * floor:
        fix = f"Enlarge it to {format_bytes(_SMALL_FLOORS * floor)} at least"
        if (safe := total // _SMALL_FLOORS) >= _LEAST_FLOOR_BYTES:
            fix += f", or set DUCKDB_DISK_FLOOR={safe // 1_000_000}MB, a quarter of it; never 0"
        return (
            Severity.WARNING,
            (
                f"it is too small for DUCKDB_DISK_FLOOR={size}: writes are refused below that, and who "
                "writes the most is stopped below twice that"
            ),
            fix,
        )
    if free < _WARN_FLOORS * floor:
        return (
            Severity.WARNING,
            (
                f"below {format_bytes(_WARN_FLOORS * floor)} who writes the most is stopped, and below "
                f"{size} everybody"
            ),
            free_it,
        )
    return None


def _memory(settings: Settings) -> Iterator[Check]:
    budget = memory_budget(settings)
    facts = (
        f"the engine may use {format_bytes(budget.limit_bytes)} of "
        f"{format_bytes(budget.total_bytes)} ({budget.reason})"
    )
    if budget.limit_bytes < _LOW_MEMORY_BYTES:
        yield Check(
            "memory", Severity.WARNING, facts, "Give it 512 MB at least: DUCKDB_MEMORY_LIMIT"
        )
    else:
        yield Check("memory", Severity.OK, facts)
    cpus = available_cpus()
    yield Check(
        "cpu", Severity.OK, f"{cpus} CPUs; {settings.worker_threads} statements run at a time"
    )


def _extensions(settings: Settings) -> Iterator[Check]:
    if not settings.enable_s3:
        yield Check("extensions", Severity.OK, "httpfs is off (DUCKDB_ENABLE_S3=false)")
    elif extension_wheel("httpfs") is not None:
        yield Check("extensions", Severity.OK, "httpfs is installed as a wheel")
    elif settings.allow_extension_download:
        yield Check("extensions", Severity.OK, "httpfs will be downloaded by DuckDB")
    else:
        yield Check(
            "extensions",
            Severity.ERROR,
            "DUCKDB_ENABLE_S3=true, but the httpfs extension is not installed",
            "DUCKDB_ALLOW_EXTENSION_DOWNLOAD=true, or load the objects with `chronoduck load`",
        )


def _templates(settings: Settings) -> Iterator[Check]:
    parser = StatementParser()
    try:
        directories = [settings.templates_directory] if settings.templates_directory else []
        library = TemplateLibrary.load(directories, parser.parse)
    except DuckDBException as error:
        yield Check("templates", Severity.ERROR, error.detail, error.hint)
    else:
        yield Check("templates", Severity.OK, f"{len(library.names())} templates are valid")
    finally:
        parser.close()


def _backups(settings: Settings) -> Iterator[Check]:
    shelf = Shelf.of(settings)
    if shelf is None:
        yield Check("backups", Severity.OK, "there are no backups (DUCKDB_BACKUP_DIR is not set)")
        return
    place = next(p for p in (shelf.directory, *shelf.directory.parents) if p.exists())
    if not is_writable(place):
        yield Check(
            "backups",
            Severity.ERROR,
            f"{describe_path(place)} is not writable by this user",
            directory_advice(place, 0o750, setting="DUCKDB_BACKUP_DIR"),
        )
        return
    backups = shelf.list()
    newest = f", the newest of {backups[-1].name.taken_at:%Y-%m-%d %H:%M:%S}" if backups else ""
    yield Check("backups", Severity.OK, f"{len(backups)} in {shelf.directory}{newest}")


def _set_aside(settings: Settings) -> Iterator[Check]:
    yield from check_set_aside(settings.database_path)


def _shadow_memory(settings: Settings) -> Iterator[Check]:
    given = settings.shadow.memory
    if settings.shadow.enabled and given is not None and given < _LOW_SHADOW_BYTES:
        yield Check(
            "shadow-memory",
            Severity.WARNING,
            f"the shadow may use {format_bytes(given)}: a WAL that needs more is not judged",
            f"Unset DUCKDB_SHADOW_MEMORY, or give it {format_bytes(_LOW_SHADOW_BYTES)} at least",
        )


def _exposed(settings: Settings) -> Iterator[Check]:
    found = list(exposures(settings))
    for exposure in found:
        yield Check(exposure.id, Severity.WARNING, exposure.finding, exposure.fix)
    if not found:
        yield Check(
            "exposure", Severity.OK, f"the port is {settings.transport.scheme} and not run by root"
        )
    try:
        tls_context(settings.transport)
    except DuckDBException as error:
        yield Check("tls", Severity.ERROR, error.detail, error.hint)


_CHECKS: tuple[Callable[[Settings], Iterator[Check]], ...] = (
    check_engine,
    _directory,
    check_database,
    _service,
    _token,
    _keys,
    _exposed,
    check_sandbox,
    _temp,
    _disk,
    _memory,
    _extensions,
    _templates,
    check_replica,
    _backups,
    _set_aside,
    _shadow_memory,
)
