"""Which walls stand, and why one does not: for a start, for operators' health and for the doctor."""

from __future__ import annotations

import os
import resource
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from chronoduck.engine.extensions import extension_wheel
from chronoduck.engine.kernel.enclosure import KernelWalls
from chronoduck.engine.kernel.landlock import landlock_absence
from chronoduck.engine.kernel.seccomp import seccomp_absence
from chronoduck.engine.kernel.trial import try_walls
from chronoduck.errors import SettingsError
from chronoduck.settings import WALLS, Settings

__all__ = [
    "absences_at_rest",
    "absences_now",
    "check_demanded",
    "kernel_walls_of",
    "sandbox_report",
]

_KERNEL = {"landlock": KernelWalls.LANDLOCK, "syscalls": KernelWalls.SYSCALLS}
_GROUP_OR_OTHERS, _OTHERS = stat.S_IRWXG | stat.S_IRWXO, stat.S_IRWXO


def absences_at_rest(settings: Settings) -> dict[str, str]:
    """Return why each wall would not stand after a start with these settings; empty when it would.

    Tries the kernel's walls in a child process.
    """
    has_httpfs = settings.allow_extension_download or extension_wheel("httpfs") is not None
    tried = try_walls()
    found = {
        "network": "the httpfs extension would be loaded (DUCKDB_ENABLE_S3)"
        if settings.enable_s3 and has_httpfs
        else "",
        "spill": "" if settings.temp_encryption else "DUCKDB_TEMP_ENCRYPTION is false",
        "memory": "DUCKDB_ADDRESS_SPACE_LIMIT is 0" if settings.address_space_limit == 0 else "",
        **{name: tried[wall] for name, wall in _KERNEL.items()},
    }
    return _in_order({**_of_settings(settings), **found})


def absences_now(
    settings: Settings,
    engine: Mapping[str, str],
    *,
    is_supervised: bool,
    kernel: Mapping[KernelWalls, str] | None = None,
) -> dict[str, str]:
    """Return why each wall does not stand around this process; empty when it does; blocks on files.

    ``engine``: what ``instance_absences`` returned. ``kernel``: what ``try_walls`` returned; else the
    kernel is asked whether it has them.
    """
    if kernel is None:
        kernel = {
            KernelWalls.LANDLOCK: landlock_absence(),
            KernelWalls.SYSCALLS: seccomp_absence(),
        }
    bound, _ = resource.getrlimit(resource.RLIMIT_AS)
    is_bounded = bound != resource.RLIM_INFINITY
    found = {
        "memory": "" if is_bounded else "the address space of this process is not bounded",
        "supervisor": "" if is_supervised else "the process was not started by `chronoduck serve`",
        **{name: kernel[wall] for name, wall in _KERNEL.items()},
    }
    return _in_order({**_of_settings(settings), **engine, **found})


def _in_order(found: Mapping[str, str]) -> dict[str, str]:
    """Return all walls; those that nothing was found about are built in and cannot be taken down."""
    return {name: found.get(name, "") for name in WALLS}


def _of_settings(settings: Settings) -> dict[str, str]:
    allowed = ", ".join(settings.allowed_directories)
    return {
        "directories": f"DUCKDB_ALLOWED_DIRECTORIES opens {allowed}" if allowed else "",
        "files": _open_file(settings),
        "user": "the process's user is root" if os.geteuid() == 0 else "",
    }


def _open_file(settings: Settings) -> str:
    path = settings.database_path
    private = (settings.token_path, settings.keys_path, settings.jobs_path / "links.key")
    shared = (path.parent, path, path.with_name(path.name + ".wal"), settings.audit_path)
    for places, others in ((private, _GROUP_OR_OTHERS), (shared, _OTHERS)):
        for place in places:
            if _mode(place) & others:
                return f"{place} is open to other users (mode {_mode(place):04o})"
    return ""


def _mode(path: Path) -> int:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return 0  # nobody reads what is not there


def kernel_walls_of(demanded: Sequence[str]) -> KernelWalls:
    """Return those of the walls that the kernel puts around a process."""
    walls = KernelWalls.NONE
    for name in demanded:
        walls |= _KERNEL.get(name, KernelWalls.NONE)
    return walls


def check_demanded(demanded: Sequence[str], absences: Mapping[str, str]) -> None:
    """Refuse to go on without a wall that the operator demands.

    Raises:
        SettingsError: names each one, and why it does not stand.
    """
    missing = [f"{name} ({absences[name]})" for name in demanded if absences[name]]
    if missing:
        raise SettingsError(
            f"DUCKDB_REQUIRE_SANDBOX demands walls that do not stand: {'; '.join(missing)}",
            hint="Change what keeps them from standing, or take them off the list; "
            "`chronoduck doctor` shows all walls, `chronoduck help security` what each one stops.",
        )


def sandbox_report(demanded: Sequence[str], absences: Mapping[str, str]) -> dict[str, Any]:
    """Return the JSON that operators see: what is demanded, and each wall."""
    return {
        "demanded": list(demanded),
        "walls": {
            name: {"stands": not reason, "reason": reason} for name, reason in absences.items()
        },
    }
