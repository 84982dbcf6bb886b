"""The text of one parameter: ``integer = 100, min 1, max 1000; How many domains.``

::

    type [= default] {, limit} ; description
    limit: min value | max value | pattern value | in (value, ...)

A value is a word, or stands in single quotes (doubled inside) as in SQL; ``null`` is no value.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from chronoduck.patterns import check_pattern
from chronoduck.service.templates.parameters import TYPES, Parameter, ParameterType
from chronoduck.service.templates.spelling import did_you_mean

__all__ = ["parse_parameter"]

_SIGNS = frozenset("=,;()")
_LIMITS = ("min", "max", "pattern", "in")


def parse_parameter(name: str, text: str) -> Parameter:
    """Return the parameter that the text declares.

    Raises:
        ValueError: the text is not of the form, or the default is outside the limits.
    """
    tokens: deque[str] = deque()
    description = ""
    for word, end in _tokens(text):
        if word == ";":
            description = text[end:].strip()
            break
        tokens.append(word)
    if not description:
        raise ValueError("has no description; write one behind a semicolon")
    kind = _type(tokens)
    default = None
    required = True
    if tokens and tokens[0] == "=":
        tokens.popleft()
        required = False
        default = _value(tokens, "=")
    limits: dict[str, Any] = {}
    while tokens:
        _expect(tokens, ",")
        key, value = _limit(tokens, kind)
        if key in limits:
            raise ValueError(f"{key} is there twice")
        limits[key] = value
    return _checked(name, kind, description, required, default, limits)


def _tokens(text: str) -> Iterator[tuple[str, int]]:
    """Yield words, signs and values in quotes, each with the place behind it."""
    at = 0
    while at < len(text):
        start = at
        if text[at] == "'":
            at = _value_end(text, at)
        elif text[at] in _SIGNS:
            at += 1
        else:
            while at < len(text) and text[at] not in _SIGNS | {"'"} and not text[at].isspace():
                at += 1
        if at > start:
            yield text[start:at], at
        else:
            at += 1


def _value_end(text: str, start: int) -> int:
    """Return where the value ends whose quote stands at ``start``.

    A quote in it is doubled. Of a value without an end the last doubled quote ends it; without any, the
    first quote stands alone.
    """
    last, at = start + 1, start + 1
    while (quote := text.find("'", at)) >= 0:
        last = quote + 1
        if text[last : last + 1] != "'":
            return last
        at = last + 1
    return last


def _checked(
    name: str,
    kind: ParameterType,
    description: str,
    required: bool,
    default: str | None,
    limits: dict[str, Any],
) -> Parameter:
    low, high = limits.get("min"), limits.get("max")
    if low is not None and high is not None and low > high:
        raise ValueError(f"min {low} is above max {high}")
    parameter = Parameter(
        name=name,
        type=kind,
        description=description,
        required=required,
        minimum=low,
        maximum=high,
        pattern=limits.get("pattern"),
        choices=limits.get("in", ()),
    )
    for choice in parameter.choices:
        _convert(parameter, choice, "a choice")
    if default is None:
        return parameter
    return replace(parameter, default=_convert(parameter, default, "the default"))


def _convert(parameter: Parameter, text: str, what: str) -> Any:
    try:
        return parameter.value(text)
    except ValueError as error:
        raise ValueError(f"{what} must {error}") from None


def _type(tokens: deque[str]) -> ParameterType:
    word = tokens.popleft() if tokens else ""
    if word not in TYPES:
        raise ValueError(
            f"there is no type {word!r}{did_you_mean(word, TYPES)}; "
            f"types are {', '.join(sorted(TYPES))}"
        )
    return TYPES[word]


def _limit(tokens: deque[str], kind: ParameterType) -> tuple[str, Any]:
    key = tokens.popleft() if tokens else ""
    if key not in _LIMITS:
        raise ValueError(
            f"there is no limit {key!r}{did_you_mean(key, _LIMITS)}; "
            "limits are min, max, pattern and in"
        )
    if key in ("pattern", "in") and kind.name != "string":
        raise ValueError(f"{key} is for strings, not for type {kind.name}")
    if key == "in":
        return key, _choices(tokens)
    value = _value(tokens, key)
    if value is None:
        raise ValueError(f"{key} cannot be null; leave it out")
    if key == "pattern":
        try:
            check_pattern(value)
        except ValueError as error:
            raise ValueError(f"the pattern is wrong: {error}") from error
        return key, value
    if not kind.has_order:
        raise ValueError(f"type {kind.name} takes no {key}")
    measure = TYPES["integer"] if kind.name == "string" else kind
    try:
        return key, measure.parse(value)
    except ValueError:
        raise ValueError(f"{key} must be {measure.expected}, not {value!r}") from None


def _choices(tokens: deque[str]) -> tuple[str, ...]:
    _expect(tokens, "(")
    choices = []
    while True:
        choice = _value(tokens, "in (")
        if choice is None:
            raise ValueError("null cannot be a choice; use '= null' for no value")
        choices.append(choice)
        if tokens and tokens[0] == ",":
            tokens.popleft()
            continue
        _expect(tokens, ")")
        return tuple(choices)


def _value(tokens: deque[str], after: str) -> str | None:
    word = tokens.popleft() if tokens else ""
    if word.startswith("'") and len(word) > 1:
        return word[1:-1].replace("''", "'")
    if not word or word in "=,;()'":
        raise ValueError(f"no value behind '{after}'; texts with signs stand in single quotes")
    return None if word == "null" else word


def _expect(tokens: deque[str], sign: str) -> None:
    found = tokens.popleft() if tokens else "the end"
    if found != sign:
        raise ValueError(f"expected '{sign}', found {found!r}")
