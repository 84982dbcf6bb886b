"""Whether a type of the source fits a type of the target, and what is lost where it does not quite."""

from __future__ import annotations

from enum import Enum

__all__ = ["Fit", "fit"]

_INTEGERS = frozenset(
    [
        "TINYINT",
        "SMALLINT",
        "INTEGER",
        "BIGINT",
        "HUGEINT",
        "UTINYINT",
        "USMALLINT",
        "UINTEGER",
        "UBIGINT",
        "UHUGEINT",
    ]
)
_FROM_TEXT = ("JSON", "UUID", "ENUM(")
"""What a text is turned into without losing anything, or not at all."""
_TIMES = {
    ("DATE", "TIMESTAMP"),
    ("DATE", "TIMESTAMP WITH TIME ZONE"),
}
_ZONES = {
    ("TIMESTAMP WITH TIME ZONE", "TIMESTAMP"): "holds the instant in UTC",
    ("TIMESTAMP", "TIMESTAMP WITH TIME ZONE"): "is taken for UTC",
}


class Fit(Enum):
    """How far a type holds another's values."""

    WHOLE = "whole"
    """Every value is held, or refused with an error: none is changed."""
    LOSSY = "lossy"
    """Values may be changed a little; it is said."""
    NONE = "none"


def fit(source: str, target: str, *, is_decimal_text: bool = False) -> tuple[Fit, str]:
    """Return how the source's values fit, and what is lost; types as DuckDB writes them."""
    if source == target and not is_decimal_text:
        return Fit.WHOLE, ""
    if source.endswith("[]") or target.endswith("[]"):
        if source.endswith("[]") and target.endswith("[]"):
            return fit(source[:-2], target[:-2], is_decimal_text=is_decimal_text)
        return Fit.NONE, ""
    if target == "VARCHAR":
        return (Fit.NONE, "") if source == "BLOB" else (Fit.WHOLE, "")
    if is_decimal_text:
        return _from_number(target)
    if source in _INTEGERS or _scale(source) is not None or source in ("FLOAT", "DOUBLE"):
        return _between_numbers(source, target)
    if source == "VARCHAR" and target.startswith(_FROM_TEXT):
        return Fit.WHOLE, ""
    if (source, target) in _ZONES:
        return Fit.LOSSY, _ZONES[source, target]
    return (Fit.WHOLE, "") if (source, target) in _TIMES else (Fit.NONE, "")


def _scale(kind: str) -> int | None:
    """Return the digits behind the point of a DECIMAL; None: it is another type."""
    if not (kind.startswith("DECIMAL(") and kind.endswith(")")):
        return None
    width, _, scale = kind.removeprefix("DECIMAL(").removesuffix(")").partition(",")
    return int(scale) if width.isdecimal() and scale.isdecimal() else None


def _from_number(target: str) -> tuple[Fit, str]:
    scale = _scale(target)
    if scale is not None:
        return Fit.LOSSY, f"is rounded to {scale} digits behind the point"
    if target in ("DOUBLE", "FLOAT"):
        return Fit.LOSSY, f"keeps {15 if target == 'DOUBLE' else 6} digits"
    return Fit.NONE, ""


def _between_numbers(source: str, target: str) -> tuple[Fit, str]:
    scale, wanted = _scale(source), _scale(target)
    is_whole = source in _INTEGERS or scale == 0
    if target in _INTEGERS:
        return (Fit.WHOLE, "") if is_whole else (Fit.NONE, "")
    if wanted is not None:
        keeps = is_whole or (scale is not None and wanted >= scale)
        return (Fit.WHOLE, "") if keeps else (Fit.NONE, "")
    if target == "DOUBLE" and source in ("TINYINT", "SMALLINT", "INTEGER", "FLOAT"):
        return Fit.WHOLE, ""
    if target in ("DOUBLE", "FLOAT"):
        return Fit.LOSSY, f"keeps {15 if target == 'DOUBLE' else 6} digits"
    return Fit.NONE, ""
