"""How values are written in the environment: sizes, durations, lists."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import NoDecode, SettingsConfigDict

from chronoduck.units import parse_bytes, parse_seconds

__all__ = [
    "DEFAULT_STORAGE_VERSION",
    "AbsolutePath",
    "ByteCount",
    "Crontab",
    "Delay",
    "EngineMemory",
    "LogFormat",
    "LogLevel",
    "OptionalPath",
    "OptionalText",
    "PathList",
    "Seconds",
    "SpaceCount",
    "StorageVersion",
    "Unset",
    "from_environment",
    "to_bytes",
]


_NEVER = "never"
_LEAST_MEMORY = 64_000_000
"""Below this DuckDB cannot even sort a few vectors."""
_LARGEST_UNITLESS = 1024
"""So few bytes were meant as gigabytes."""
_VERSION = re.compile(r"v\d{1,3}(\.\d{1,3}){2}", re.ASCII)


def from_environment(prefix: str) -> SettingsConfigDict:
    """Return how a group of settings is read: variables with a prefix, and an empty one is unset."""
    return SettingsConfigDict(env_prefix=prefix, frozen=True, extra="forbid", env_ignore_empty=True)


def to_bytes(value: Any) -> Any:
    """Return the bytes that a text such as ``4GB`` means, other values as they are."""
    return parse_bytes(value) if isinstance(value, str) else value


def _seconds(value: Any) -> Any:
    return parse_seconds(value) if isinstance(value, str) else value


def _enough_memory(value: int) -> int:
    if value < _LEAST_MEMORY:
        given = f"{value} bytes; did you mean {value}GB?" if value < _LARGEST_UNITLESS else ""
        raise ValueError(f"DuckDB needs at least 64MB. {given}".rstrip())
    return value


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _crontab(value: str) -> str:
    if value.strip().lower() in ("", _NEVER):
        return ""
    try:
        CronSim(value, datetime(2000, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        raise ValueError(f"{value!r} is not a crontab's schedule: {error}") from None
    return value


def _storage_version(value: str) -> str:
    if not _VERSION.fullmatch(value):
        raise ValueError("must be a version of DuckDB such as v1.5.0")
    return value


def _unset_if_empty(value: Any) -> Any:
    return value or None


def _absolute(value: Path | None) -> Path | None:
    return None if value is None else value.expanduser().absolute()


def _path_list(value: Any) -> Any:
    return [part for part in value.split(os.pathsep) if part] if isinstance(value, str) else value


EngineMemory = Annotated[int, BeforeValidator(to_bytes), AfterValidator(_enough_memory)]
ByteCount = Annotated[int, BeforeValidator(to_bytes), Field(gt=0)]
SpaceCount = Annotated[int, BeforeValidator(to_bytes), Field(ge=0)]
Seconds = Annotated[float, BeforeValidator(_seconds), Field(gt=0)]
Delay = Annotated[float, BeforeValidator(_seconds), Field(ge=0, le=300)]
LogLevel = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)]
LogFormat = Annotated[Literal["auto", "json", "console"], BeforeValidator(_lower)]
Crontab = Annotated[str, AfterValidator(_crontab)]
"""When something is done; empty for never."""
DEFAULT_STORAGE_VERSION = "v1.5.0"
"""One step back from the engine that the package asks for stays possible."""
Unset = BeforeValidator(_unset_if_empty)
"""Of an optional setting: an empty text is no value. (Empty variables are never read at all.)"""
OptionalText = Annotated[str | None, Unset]
OptionalPath = Annotated[Path | None, Unset]
AbsolutePath = Annotated[Path | None, Unset, AfterValidator(_absolute)]
StorageVersion = Annotated[str, AfterValidator(_storage_version)]
PathList = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_path_list)]
