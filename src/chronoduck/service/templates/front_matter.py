"""The comment lines at the top of a template: its name, description and parameters.

::

    -- name: page-stats
    -- description: Captures, mean size and last capture of each domain.
    -- param limit: integer = 100, min 1, max 1000; How many domains.

docs/templates.md describes the form. The first line that is no comment ends the front matter.
"""

from __future__ import annotations

import string
from collections.abc import Iterator
from dataclasses import dataclass

from chronoduck.service.templates.parameter_line import parse_parameter
from chronoduck.service.templates.parameters import Parameter
from chronoduck.service.templates.source import TemplateSource
from chronoduck.service.templates.spelling import did_you_mean

__all__ = ["FrontMatter", "read_front_matter"]

_LETTERS = frozenset(string.ascii_lowercase)
_NAME_SIGNS = _LETTERS | frozenset(string.digits + "-")
_PARAMETER_SIGNS = _LETTERS | frozenset(string.digits + "_")
_LONGEST_NAME = 64
_RESERVED = {
    "performance-metrics": "The API answers this path itself; choose another name.",
    "format": "The API uses it for the form of the result; choose another name.",
}
_KEYS = ("name", "description", "param")


@dataclass(frozen=True)
class FrontMatter:
    """What the comments declare, the SQL below them, and the lines (from 1) where each begins."""

    name: str
    description: str
    parameters: tuple[Parameter, ...]
    lines: dict[str, int]
    """By ``name``, ``description`` and ``param <name>``."""
    sql: str
    sql_line: int


def read_front_matter(source: TemplateSource) -> FrontMatter:
    """Return what a template declares, and its SQL, not yet checked.

    Raises:
        TemplateError: the front matter is wrong; names the line and the fix.
    """
    lines = source.text.split("\n")
    end = next((n for n, line in enumerate(lines) if not line.startswith("--")), len(lines))
    texts: dict[str, str] = {}
    numbers: dict[str, int] = {}
    for number, line in _joined(lines[:end]):
        key, value = _split(source, number, line)
        if key in texts:
            raise source.error(
                number, f"'{key}' is there twice (line {numbers[key]})", "Remove one of them."
            )
        texts[key], numbers[key] = value, number
    for key in ("name", "description"):
        if not texts.get(key):
            raise source.error(
                numbers.get(key, 1),
                f"the template has no {key}",
                f"Write '-- {key}: ...' at the top of the file, before any empty line.",
            )
    allowed = "small letters, digits and hyphens"
    _check_name(source, numbers["name"], texts["name"], _NAME_SIGNS, allowed)
    parameters = tuple(
        _parameter(source, numbers[key], key.removeprefix("param "), value)
        for key, value in texts.items()
        if key.startswith("param ")
    )
    while end < len(lines) and not lines[end].strip():
        end += 1
    return FrontMatter(
        name=texts["name"],
        description=texts["description"],
        parameters=parameters,
        lines=numbers,
        sql="\n".join(lines[end:]).rstrip(),
        sql_line=end + 1,
    )


def _joined(lines: list[str]) -> Iterator[tuple[int, str]]:
    """Yield number and text of each entry; a line that is indented continues the one before."""
    number, text = 0, ""
    for current, line in enumerate(lines, 1):
        if line.startswith("--  ") and text:
            text += " " + line[2:].strip()
            continue
        if text:
            yield number, text
        number, text = current, line[2:].strip()
    if text:
        yield number, text


def _split(source: TemplateSource, number: int, line: str) -> tuple[str, str]:
    """Return the key (``name``, ``description``, ``param limit``) and the value of an entry."""
    head, colon, value = line.partition(":")
    words = head.split()
    is_param = len(words) == 2 and words[0] == "param"
    if colon and (is_param or words in (["name"], ["description"])):
        return " ".join(words), value.strip()
    known = did_you_mean(words[0], _KEYS) if words and words[0] not in _KEYS else ""
    raise source.error(
        number,
        f"'{line[:60]}' is not front matter{known}",
        "Write '-- name: ...', '-- description: ...' or '-- param limit: integer = 100; ...'; "
        "other comments go below an empty line.",
    )


def _check_name(
    source: TemplateSource, number: int, name: str, signs: frozenset[str], allowed: str
) -> None:
    if len(name) > _LONGEST_NAME or not signs.issuperset(name) or name[:1] not in _LETTERS:
        raise source.error(
            number,
            f"{name[:80]!r} is not a name",
            f"Use {allowed}, a letter first, at most 64 characters.",
        )
    if name in _RESERVED:
        raise source.error(number, f"the name '{name}' is taken", _RESERVED[name])


def _parameter(source: TemplateSource, number: int, name: str, text: str) -> Parameter:
    allowed = "small letters, digits and underscores"
    _check_name(source, number, name, _PARAMETER_SIGNS, allowed)
    try:
        return parse_parameter(name, text)
    except ValueError as error:
        raise source.error(
            number,
            f"parameter {name}: {error}",
            "Write it like '-- param limit: integer = 100, min 1, max 1000; How many rows.'; "
            "`chronoduck help templates` tells all forms.",
        ) from error
