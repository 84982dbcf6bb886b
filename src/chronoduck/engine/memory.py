"""How much memory the engine may use: the container's limit, not the host's, decides."""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass
from pathlib import Path

import psutil

from chronoduck.settings import Settings

__all__ = [
    "MemoryBudget",
    "available_cpus",
    "container_memory_bytes",
    "lift_address_space_limit",
    "limit_address_space",
    "memory_budget",
    "shadow_memory",
]

_CGROUP_ROOT = Path("/sys/fs/cgroup")
_MINIMUM_BYTES = 64_000_000
"""Below this DuckDB cannot even sort a few vectors."""
_SHADOW_BYTES = 150_000_000, 1_000_000_000
"""At least and at most, by default. Its process takes 50 MB, and 70 MB with a child and an empty file."""
_ADDRESS_SPACE_BYTES = 4_000_000_000
"""What a server takes of the address space beside its budget: 2.7 GB idle, 3.3 GB under mixed load with
a budget of 0.5 GB. Most of it is reserved by allocators and never touched."""


@dataclass(frozen=True)
class MemoryBudget:
    """The engine's limit in bytes and the sentence that says where it comes from."""

    limit_bytes: int
    total_bytes: int
    reason: str


def container_memory_bytes(root: Path = _CGROUP_ROOT) -> int | None:
    """Return the memory limit of this process's cgroup (v2, else v1), None when there is none.

    The limits of all parents count too: the smallest one is what the kernel enforces.
    """
    limits = []
    for directory in _cgroup_directories(root):
        for name in ("memory.max", "memory.limit_in_bytes"):
            try:
                text = (directory / name).read_text().strip()
            except OSError:
                continue
            # v1 writes "no limit" as a page-rounded 2**63.
            if text.isdigit() and int(text) < 2**60:
                limits.append(int(text))
    return min(limits, default=None)


def _cgroup_directories(root: Path) -> list[Path]:
    """Directories whose limits bind this process, in a container's view and in the host's."""
    directories = [root, root / "memory"]
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return directories
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        place = (root / "memory" if controllers else root) / path.lstrip("/")
        directories += [place, *(p for p in place.parents if p.is_relative_to(root))]
    return directories


def memory_budget(settings: Settings, root: Path = _CGROUP_ROOT) -> MemoryBudget:
    """Return min(``DUCKDB_MEMORY_LIMIT``, ``DUCKDB_MAX_MEMORY_PERCENTAGE`` of what is there).

    The shadow's memory comes out of that percentage.
    """
    machine = int(psutil.virtual_memory().total)
    container = container_memory_bytes(root)
    total = machine if container is None else min(machine, container)
    share = int(total * settings.max_memory_percentage / 100)
    share -= shadow_memory(settings, share)
    if settings.memory_limit <= share:
        limit, reason = settings.memory_limit, "DUCKDB_MEMORY_LIMIT"
    else:
        where = "container" if total < machine else "machine"
        limit = share
        reason = f"DUCKDB_MAX_MEMORY_PERCENTAGE={settings.max_memory_percentage:g} of the {where}"
    return MemoryBudget(max(limit, _MINIMUM_BYTES), total, reason)


def shadow_memory(settings: Settings, share: int | None = None) -> int:
    """Return what the shadow's process may use of the share that this machine or container gives."""
    if not settings.shadow.enabled:
        return 0
    if share is None:
        budget = memory_budget(settings)
        share = int(budget.total_bytes * settings.max_memory_percentage / 100)
    wanted = settings.shadow.memory or min(max(share // 10, _SHADOW_BYTES[0]), _SHADOW_BYTES[1])
    return min(wanted, share // 3)


def limit_address_space(settings: Settings) -> int | None:
    """Bound what this process may map, so that a single huge value fails alone; return the bound.

    DuckDB's own limit does not count what functions such as ``repeat`` allocate for one value.
    """
    limit = settings.address_space_limit
    if limit is None:
        limit = 2 * memory_budget(settings).limit_bytes + _ADDRESS_SPACE_BYTES
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if limit == 0 or (hard != resource.RLIM_INFINITY and hard <= limit):
        return None  # whoever started us has bound it already
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    return limit


def lift_address_space_limit() -> None:
    """Take off the bound that this process inherited from its server; for work beside statements."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))


def available_cpus() -> int:
    """Return the CPUs this process may use, by affinity and cgroup v2 quota."""
    cpus = len(os.sched_getaffinity(0))
    try:
        quota, period = (_CGROUP_ROOT / "cpu.max").read_text().split()
    except (OSError, ValueError):
        return cpus
    return cpus if quota == "max" else max(1, min(cpus, round(int(quota) / int(period))))
