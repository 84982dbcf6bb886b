"""How limits are written in one line: ``requests_per_minute=600, max_result_bytes=1GB``."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields
from typing import Annotated, Any

from pydantic import BeforeValidator
from pydantic_settings import NoDecode

from chronoduck.principals import Limits
from chronoduck.units import parse_bytes, parse_seconds

__all__ = ["LimitLine", "parse_limits"]

_READ: dict[str, Callable[[str], float]] = {
    "requests_per_minute": int,
    "concurrent_statements": int,
    "engine_seconds_per_hour": parse_seconds,
    "max_rows": int,
    "max_result_bytes": parse_bytes,
    "statement_timeout": parse_seconds,
    "max_scan_rows": int,
}


def parse_limits(text: str) -> Limits:
    """Return the limits that a line of ``name=value`` names, by commas or spaces; ``none`` for none.

    Names are the fields of ``Limits``; durations and sizes may have units.

    Raises:
        ValueError: a name is unknown or a value is not above 0.
    """
    if text.strip().lower() == "none":
        return Limits()
    given: dict[str, Any] = {}
    for part in filter(None, re.split(r"[,\s]+", text)):
        name, separator, value = part.partition("=")
        if name not in _READ or not separator:
            raise ValueError(
                f"{part!r} is not a limit; write name=value with {', '.join(sorted(_READ))}"
            )
        try:
            given[name] = _READ[name](value)
        except ValueError:
            raise ValueError(f"{part!r}: {value!r} is not a number of that kind") from None
        if not given[name] > 0:
            raise ValueError(f"{part!r}: a limit is above 0; leave it out for none")
    return Limits(**given)


assert set(_READ) == {field.name for field in fields(Limits)}  # noqa: S101 - one for each


def _read(value: Any) -> Any:
    return parse_limits(value) if isinstance(value, str) else value


LimitLine = Annotated[Limits, NoDecode, BeforeValidator(_read)]
