"""Sizes and durations as people write them ("4GB", "1.5h") to bytes and seconds, and back."""

from __future__ import annotations

import string

__all__ = ["format_bytes", "format_count", "format_seconds", "parse_bytes", "parse_seconds"]

_SIZE_FACTORS = {
    "": 1,
    "b": 1,
    "k": 10**3,
    "kb": 10**3,
    "kib": 2**10,
    "m": 10**6,
    "mb": 10**6,
    "mib": 2**20,
    "g": 10**9,
    "gb": 10**9,
    "gib": 2**30,
    "t": 10**12,
    "tb": 10**12,
    "tib": 2**40,
}
_DURATION_FACTORS = {
    "": 1.0,
    "ms": 0.001,
    "s": 1.0,
    "m": 60.0,
    "min": 60.0,
    "h": 3600.0,
    "d": 86400.0,
}


def _number_and_unit(text: str) -> tuple[float | None, str]:
    """Return the number (None: it is none) and the letters behind it."""
    plain = text.strip()
    number = plain.rstrip(string.ascii_letters)
    unit = plain[len(number) :].lower()
    whole, point, fraction = number.rstrip().partition(".")
    is_number = whole.isdecimal() and (not point or fraction.isdecimal())
    return float(f"{whole}{point}{fraction}") if is_number else None, unit


def parse_bytes(text: str) -> int:
    """Return the bytes that a size such as ``4GB``, ``512 MiB`` or ``1048576`` means.

    kB, MB, GB and TB are powers of 1000 and KiB, MiB, GiB and TiB of 1024, as in DuckDB itself.

    Raises:
        ValueError: the text is not a size.
    """
    number, unit = _number_and_unit(text)
    factor = _SIZE_FACTORS.get(unit)
    if number is None or factor is None:
        raise ValueError(f"{text!r} is not a size; write it like 4GB, 512MB or 1048576")
    return int(number * factor)


def parse_seconds(text: str) -> float:
    """Return the seconds that a duration such as ``250ms``, ``30``, ``1.5h`` or ``7d`` means.

    Raises:
        ValueError: the text is not a duration.
    """
    number, unit = _number_and_unit(text)
    factor = _DURATION_FACTORS.get(unit)
    if number is None or factor is None:
        raise ValueError(f"{text!r} is not a duration; write it like 30, 250ms, 5m or 7d")
    return number * factor


def format_bytes(count: float) -> str:
    """Return a size for people: ``1.5 GB``, in powers of 1000."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def format_count(count: int, noun: str) -> str:
    """Return a number of things for people: ``1 transaction``, ``2,000 transactions``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def format_seconds(seconds: float) -> str:
    """Return a duration for people: ``12 ms``, ``3.2 s``, ``5 min 03 s``, ``2 h 10 min``."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"
