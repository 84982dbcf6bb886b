"""A file that declares work, read into frozen values; what is wrong is told with its place."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from chronoduck.errors import SettingsError

__all__ = ["DECLARED", "NAME", "named", "read_declared"]

NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
"""Of one piece of work."""
File = TypeVar("File", bound=BaseModel)
DECLARED = ConfigDict(extra="forbid", frozen=True)
"""Of models of what a file declares: nothing in it is unknown, nothing changes."""


def named(value: Any, section: str) -> Any:
    """Return the file's fields with each table of ``[section.NAME]`` knowing its name."""
    tables = value.get(section, {}) if isinstance(value, dict) else {}
    if not isinstance(tables, dict) or not all(isinstance(each, dict) for each in tables.values()):
        raise ValueError(f"{section}s are tables: [{section}.NAME]")
    return {**value, section: {name: {"name": name, **each} for name, each in tables.items()}}


def read_declared(path: Path | None, kind: type[File], variable: str, guide: str) -> File:
    """Return what the file declares; nothing without one.

    Raises:
        SettingsError: it cannot be read, or says something that is not understood.
    """
    if path is None:
        return kind()
    try:
        return kind.model_validate(_without_nul(tomllib.loads(path.read_text()), ""))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(
            f"{variable}: {path} cannot be read: {error}", hint=f"{guide} shows one."
        ) from error
    except _NulError as error:
        raise SettingsError(
            f"{variable}: {path}: {error}", hint="Remove it from the text."
        ) from None
    except ValidationError as error:
        problems = [_problem(item) for item in error.errors(include_url=False, include_input=False)]
        raise SettingsError(
            f"{variable}: {path}: {'; '.join(problems)}",
            hint=f"{guide} lists what can be declared.",
        ) from None


class _NulError(Exception):
    """A text of the file holds a NUL byte."""


def _without_nul(value: Any, place: str) -> Any:
    """Return the value; SQL, names and addresses end at a NUL byte for some of their readers.

    Raises:
        _NulError: a key or text in it holds one; names the place.
    """
    if isinstance(value, str) and "\0" in value:
        raise _NulError(f"{place}: the text holds a NUL byte")
    if isinstance(value, dict):
        for name, each in value.items():
            where = f"{place}.{name}" if place else name
            _without_nul(name, where.replace("\0", "\\0"))
            _without_nul(each, where)
    elif isinstance(value, list):
        for each in value:
            _without_nul(each, place)
    return value


def _problem(item: Any) -> str:
    """Name the place and what is wrong; values may be secrets and are not repeated."""
    place = ".".join(str(part) for part in item["loc"])
    text = str(item["msg"]).removeprefix("Value error, ")
    return f"{place}: {text}" if place else text
