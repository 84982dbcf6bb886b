"""What a parameter may be: its type, its limits, and the value that a text stands for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from chronoduck.patterns import fits

__all__ = ["TYPES", "Parameter", "ParameterType"]

_LONGEST_TEXT = 10_000
"""Characters that a string without ``max`` may have."""
_INT64 = 2**63
_LONGEST_NUMBER = 100
_DATE = "dddd-dd-dd"


@dataclass(frozen=True)
class ParameterType:
    """A type: ``parse`` raises ValueError for a text that is no such value.

    ``expected`` completes "must be"; ``schema`` is its JSON schema; ``has_order``: takes min and max.
    """

    name: str
    parse: Callable[[str], Any]
    expected: str
    schema: Mapping[str, str]
    has_order: bool = True


def _are_digits(text: str, most: int) -> bool:
    return 0 < len(text) <= most and text.isascii() and text.isdecimal()


def _unsigned(text: str) -> str:
    return text[1:] if text.startswith(("+", "-")) else text


def _is_number(text: str) -> bool:
    """Whether it is ``[+-]1.5e-3``; there are digits before or behind the point."""
    value, mark, exponent = text.replace("E", "e").partition("e")
    digits = _unsigned(value).replace(".", "", 1)
    if mark and not _are_digits(_unsigned(exponent), 3):
        return False
    return len(text) <= _LONGEST_NUMBER and _are_digits(digits, _LONGEST_NUMBER)


def _has_form(text: str, form: str) -> bool:
    """Whether it has ASCII digits where the form has ``d``, and else the form's signs."""
    return len(text) == len(form) and all(
        "0" <= sign <= "9" if wanted == "d" else sign == wanted
        for sign, wanted in zip(text, form, strict=True)
    )


def _is_timestamp(text: str) -> bool:
    """Whether it is ``2024-01-31[(T| )12:00[:30[.123456]][Z|+02:00]]``."""
    day, between, time = (
        text[: len(_DATE)],
        text[len(_DATE) : len(_DATE) + 1],
        text[len(_DATE) + 1 :],
    )
    if not between:
        return _has_form(day, _DATE)
    if time.endswith("Z"):
        time = time[:-1]
    elif _has_form(time[-6:], "+dd:dd") or _has_form(time[-6:], "-dd:dd"):
        time = time[:-6]
    clock, point, fraction = time.partition(".")
    is_clock = _has_form(clock, "dd:dd:dd") or (not point and _has_form(clock, "dd:dd"))
    return (
        between in ("T", " ")
        and _has_form(day, _DATE)
        and is_clock
        and (not point or _are_digits(fraction, 6))
    )


def _integer(text: str) -> int:
    if not _are_digits(_unsigned(text), 19) or not -_INT64 <= int(text) < _INT64:
        raise ValueError
    return int(text)


def _number(text: str) -> float:
    # float() alone takes nan, inf and 1_000 too; 1e999 becomes infinite.
    value = float(text) if _is_number(text) else float("inf")
    if abs(value) == float("inf"):
        raise ValueError
    return value


def _string(text: str) -> str:
    text.encode()  # a lone surrogate (from an undecodable shell argument) cannot be bound
    return text


def _date(text: str) -> date:
    # fromisoformat alone takes 20240131 and 2024-W05-3 too.
    if not _has_form(text, _DATE):
        raise ValueError
    return date.fromisoformat(text)


def _timestamp(text: str) -> datetime:
    if not _is_timestamp(text):
        raise ValueError
    value = datetime.fromisoformat(text)
    if value.tzinfo is None:
        return value
    try:
        return value.astimezone(UTC).replace(tzinfo=None)
    except OverflowError as error:
        raise ValueError from error


def _boolean(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


TYPES = {
    kind.name: kind
    for kind in (
        ParameterType("integer", _integer, "a whole number", {"type": "integer"}),
        ParameterType("number", _number, "a number such as 2.5", {"type": "number"}),
        ParameterType("string", _string, "valid text", {"type": "string"}),
        ParameterType(
            "date", _date, "a date such as 2024-01-31", {"type": "string", "format": "date"}
        ),
        ParameterType(
            "timestamp",
            _timestamp,
            "a time such as 2024-01-31T12:00:00Z",
            {"type": "string", "format": "date-time"},
        ),
        ParameterType("boolean", _boolean, "true or false", {"type": "boolean"}, has_order=False),
    )
}


@dataclass(frozen=True)
class Parameter:
    """One declared parameter. ``minimum`` and ``maximum`` of a string are its length in characters.

    Not ``required`` means that ``default`` is used when the parameter is left out; it may be None.
    """

    name: str
    type: ParameterType
    description: str
    required: bool
    default: Any = None
    minimum: Any = None
    maximum: Any = None
    pattern: str | None = None
    choices: tuple[str, ...] = ()

    @property
    def longest(self) -> int:
        """Characters that a string may have."""
        return _LONGEST_TEXT if self.maximum is None else int(self.maximum)

    def value(self, text: str) -> Any:
        """Return the value that the text stands for, to be bound.

        Raises:
            ValueError: it stands for none; the message completes "<name> must ...".
        """
        shown = repr(text if len(text) <= 60 else text[:60] + "…")
        try:
            value = self.type.parse(text)
        except (ValueError, KeyError):
            raise ValueError(f"be {self.type.expected}, not {shown}") from None
        if self.type.name == "string":
            self._check_string(value, shown)
        elif self._is_outside(value):
            raise ValueError(f"be {self._range()}, not {shown}")
        return value

    def _check_string(self, value: str, shown: str) -> None:
        if self.choices and value not in self.choices:
            raise ValueError(f"be one of {', '.join(self.choices)}, not {shown}")
        if len(value) > self.longest or len(value) < (self.minimum or 0):
            limits = f"{self.minimum or 0} to {self.longest:,}"
            raise ValueError(f"have {limits} characters, not {len(value):,}")
        if self.pattern is not None and not fits(self.pattern, value):
            raise ValueError(f"match the pattern {self.pattern}; {shown} does not")

    def _is_outside(self, value: Any) -> bool:
        return (self.minimum is not None and value < self.minimum) or (
            self.maximum is not None and value > self.maximum
        )

    def _range(self) -> str:
        """``from 1 to 1000``, ``1 or more``, ``1000 or less``; empty without limits."""
        low, high = _plain(self.minimum), _plain(self.maximum)
        if low is None:
            return "" if high is None else f"{high} or less"
        return f"{low} or more" if high is None else f"from {low} to {high}"

    def describe(self) -> dict[str, Any]:
        """Return name, type, description, whether it is required, its default and its limits."""
        limits = {
            "min": _plain(self.minimum),
            "max": _plain(self.maximum),
            "pattern": self.pattern,
            "choices": list(self.choices) or None,
        }
        return {
            "name": self.name,
            "type": self.type.name,
            "description": self.description,
            "required": self.required,
            **({} if self.required else {"default": _plain(self.default)}),
            **{key: limit for key, limit in limits.items() if limit is not None},
        }

    def openapi(self) -> dict[str, Any]:
        """Return it as a parameter object of OpenAPI 3.1."""
        schema: dict[str, Any] = dict(self.type.schema)
        description = self.description
        if self.type.name == "string":
            schema |= {"minLength": self.minimum or 0, "maxLength": self.longest}
        elif self.type.name in ("integer", "number"):
            limits = {"minimum": self.minimum, "maximum": self.maximum}
            schema |= {key: limit for key, limit in limits.items() if limit is not None}
        elif self._range():  # JSON schema has no limits for dates
            description += f" Must be {self._range()}."
        if self.pattern is not None:
            schema["pattern"] = f"^(?:{self.pattern})$"
        if self.choices:
            schema["enum"] = list(self.choices)
        if self.default is not None:
            schema["default"] = _plain(self.default)
        return {
            "name": self.name,
            "in": "query",
            "required": self.required,
            "description": description,
            "schema": schema,
        }


def _plain(value: Any) -> Any:
    """Return the value as JSON can hold it."""
    if isinstance(value, datetime):
        return value.isoformat() + "Z"
    return value.isoformat() if isinstance(value, date) else value
