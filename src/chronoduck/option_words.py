"""Options of a load in hints, worded for the door through which the request came.

The service names an option in backticks, as its query parameter: ``delimiter=;`` or ``date_format``; a
table by its path: ``tables/%22a.b%22/rows``. The command line and Python have other words for the same.
"""

from __future__ import annotations

import string
from collections.abc import Callable
from urllib.parse import unquote

__all__ = ["LOAD_OPTIONS", "READ_OPTIONS", "as_arguments", "as_keywords"]

READ_OPTIONS = frozenset(
    {"delimiter", "quote", "decimal", "thousands", "encoding", "header", "skip", "null"}
    | {"date_format", "types", "all_text", "sheet"}
)
LOAD_OPTIONS = READ_OPTIONS | {"mode", "key", "create", "on_error", "dry_run", "format"}
_PATH = ("tables/", "/rows")
"""Around the table's name, which is an option elsewhere."""
_PLAIN = frozenset(string.ascii_letters + string.digits + "_@%+=:,./-")
"""What a shell takes as it is."""
_SWITCHES = frozenset({"all_text", "create", "dry_run"})


def as_arguments(text: str) -> str:
    """Return a text with the options as ``chronoduck load`` has them: ``--delimiter ';'``."""
    return _reworded(text, _argument)


def as_keywords(text: str) -> str:
    """Return a text with the options as ``insert`` of the client has: ``read={"delimiter": ";"}``."""
    return _reworded(text, _keyword)


def _reworded(text: str, word: Callable[[str, str | None], str]) -> str:
    parts = text.split("`")
    if len(parts) % 2 == 0:  # a backtick of somebody else
        return text
    for index in range(1, len(parts), 2):
        name, found, value = parts[index].partition("=")
        if name in LOAD_OPTIONS:
            parts[index] = word(name, value if found else None)
        elif name.startswith(_PATH[0]) and name.endswith(_PATH[1]):
            parts[index] = word("table", unquote(name[len(_PATH[0]) : -len(_PATH[1])]))
    return "`".join(parts)


def _argument(name: str, value: str | None) -> str:
    option = name.replace("_", "-")
    if name in _SWITCHES:
        return f"--no-{option}" if value == "false" else f"--{option}"
    return f"--{option}" if value is None else f"--{option} {_shell(value)}"


def _shell(value: str) -> str:
    if value and _PLAIN.issuperset(value):
        return value
    return "'" + value.replace("'", "'\"'\"'") + "'"


def _keyword(name: str, value: str | None) -> str:
    shown = "..." if value is None else _python(name, value)
    return f'read={{"{name}": {shown}}}' if name in READ_OPTIONS else f"{name}={shown}"


def _python(name: str, value: str) -> str:
    if name in _SWITCHES:
        return value.capitalize()
    if name == "key":
        return repr(value.split(","))
    if value.isdecimal():
        return value
    mark = "'" if '"' in value else '"'
    return mark + value.replace("\\", "\\\\").replace(mark, f"\\{mark}") + mark
