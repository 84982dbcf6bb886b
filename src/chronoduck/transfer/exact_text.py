"""A text as a value of a type, or as none: SQL that converts what keeps its meaning and nothing else.

DuckDB's casts round: ``1.5`` becomes the integer 2, ``2024-01-01 12:00`` a date, ``1e400`` infinity. So a
text is converted and written back; where it comes back in another form, a pattern decides whether the two
mean the same. ``007``, ``1e3`` and ``+5`` are no numbers when a type is guessed: they may be codes.
"""

from __future__ import annotations

from dataclasses import dataclass

from chronoduck.transfer.sql import quote_text

__all__ = ["TextCheck", "TextForms", "check_text", "plain_number"]

INTEGERS = frozenset(
    {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT"}
    | {"UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT", "BIGNUM"}
)
FLOATS = frozenset({"FLOAT", "DOUBLE"})
_DIGITS = "(0|[1-9][0-9]*)"
_INTEGER = rf"\s*[+-]?{_DIGITS}(\.0*)?\s*"
_PLAIN_INTEGER = rf"\s*-?{_DIGITS}\s*"
_NUMBER = rf"\s*[+-]?({_DIGITS}(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?\s*"
# A code such as 1E3 has neither a sign behind its E nor a point before it.
_PLAIN_NUMBER = rf"\s*-?({_DIGITS}?\.[0-9]+([eE][+-]?[0-9]+)?|{_DIGITS}([eE][+-][0-9]+)?)\s*"
_NO_NUMBER = r"\s*[+-]?(nan|inf|infinity)\s*"
_DAY = r"[0-9]{4,6}[-/][0-9]{1,2}[-/][0-9]{1,2}"
_PLAIN_DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_HOUR = "([01]?[0-9]|2[0-3]):[0-9]{2}"
_PLAIN_HOUR = "([01][0-9]|2[0-3]):[0-9]{2}"
_OFFSET = "([zZ]|[+-][0-9]{2}(:?[0-9]{2}(:?[0-9]{2})?)?)"
_ZONE = r"\s+[A-Za-z][A-Za-z_/+0-9-]*"
_UTC = r"([zZ]|[+-]00(:?00)?|\s+UTC)"
_ENDLESS = r"\s*-?infinity\s*|\s*epoch\s*"
_FRACTIONS = {
    "TIMESTAMP_S": 0, "TIMESTAMP_MS": 3, "TIMESTAMP": 6, "TIMESTAMP_NS": 9,
    "TIMESTAMP WITH TIME ZONE": 6, "TIMESTAMPTZ_NS": 9,
    "TIME": 6, "TIME_NS": 9, "TIME WITH TIME ZONE": 6,
}  # fmt: skip
"""Digits of a second that a type keeps."""
_SURE_DIGITS = 15
"""Significant digits that every DOUBLE keeps."""
_SURE_FLOAT_DIGITS = 6


NO_BREAK = "\u00a0"
ALIKE = (NO_BREAK + "\u202f\u2009", "'\u2019")
"""Marks before thousands that look the same: programs write one or the other for the same country."""


@dataclass(frozen=True)
class TextForms:
    """How a file writes its values; what is not set is as DuckDB writes it."""

    decimal: str = "."
    thousands: str = ""
    date_format: str = ""


@dataclass(frozen=True)
class TextCheck:
    """How a text becomes a value: SQL over a text and over ``value``, which was tried before."""

    value: str
    """The value, or NULL."""
    quick: str
    """Whether the value is the text's, for most texts that are of the type; NULL or false: look again."""
    slow: str
    """Whether it is, for all."""


def check_text(type_: str, text: str, value: str, forms: TextForms, *, is_guess: bool) -> TextCheck:
    """Return how ``text`` becomes a value of ``type_`` without parts.

    ``value``: the SQL by which the value that was tried is named; ``is_guess``: the type is one that the
    texts look like, and must be the only thing that they can mean.
    """
    base = type_.partition("(")[0]
    same = f"CAST({value} AS VARCHAR) = {text}"
    if base in INTEGERS or base in FLOATS or base == "DECIMAL":
        return _number(type_, base, text, value, forms, is_guess)
    if base == "BOOLEAN":
        words = f"lower(trim({text})) IN ('true', 'false')"
        return TextCheck(_tried(type_, text), same, words if is_guess else f"{value} IS NOT NULL")
    if base == "BLOB":
        return TextCheck(f"TRY(from_base64({text}))", f"{value} IS NOT NULL", "false")
    if base == "DATE" or base in _FRACTIONS:
        return _time(type_, text, value, forms, is_guess)
    if base == "UUID" and is_guess:
        return TextCheck(_tried(type_, text), same, "false")
    if base == "VARCHAR":
        return TextCheck(text, "true", "true")
    return TextCheck(_tried(type_, text), f"{value} IS NOT NULL", "false")


def _tried(type_: str, text: str) -> str:
    return f"TRY_CAST({text} AS {type_})"


# --- numbers ----------------------------------------------------------------------------------


def _number(
    type_: str, base: str, text: str, value: str, forms: TextForms, is_guess: bool
) -> TextCheck:
    if forms.decimal != "." or forms.thousands:
        text = plain_number(text, forms)
    same = f"CAST({value} AS VARCHAR) = {text}"
    is_there = f"{value} IS NOT NULL AND "
    tried = _tried(type_, text)
    if base in INTEGERS:
        pattern = _PLAIN_INTEGER if is_guess else _INTEGER
        no_sign = f" AND trim({text}) <> '-0'" if is_guess else ""
        return TextCheck(tried, same, is_there + _matches(text, pattern) + no_sign)
    if base == "DECIMAL":
        return TextCheck(tried, same, is_there + _decimal(type_, text, value, is_guess))
    if is_guess:
        # Without a point or a power it may be a code: every digit counts, zeros at its end too.
        is_exact = f"(NOT {_matches(text, _PLAIN_INTEGER)} OR {_whole(value)} = {_whole(text)})"
        is_number = f"{_matches(text, _PLAIN_NUMBER)} AND {_is_kept(text, value)} AND {is_exact}"
    else:
        is_whole = _matches(text, _INTEGER)
        digits = _SURE_DIGITS if base == "DOUBLE" else _SURE_FLOAT_DIGITS
        kept = f"{_is_short(text, digits)} OR {_whole(value)} = {_whole(text)}"
        is_number = (
            f"{_matches(text, _NUMBER)} AND {_is_in_reach(text, value)} "
            f"AND (NOT {is_whole} OR {kept})"
        )
    words = _matches(f"lower({text})", _NO_NUMBER)
    return TextCheck(tried, same, f"{is_there}({words} OR ({is_number}))")


def _decimal(type_: str, text: str, value: str, is_guess: bool) -> str:
    scale = int(type_.rpartition(",")[2].rstrip(") ")) if "," in type_ else 3
    sign = "-?" if is_guess else "[+-]?"
    fraction = rf"(\.[0-9]{{0,{scale}}}0*)?"
    plain = _matches(text, rf"\s*{sign}{_DIGITS}?{fraction}\s*")
    if is_guess:
        zero = _matches(text, r"\s*-[0.]*\s*")
        return f"{plain} AND NOT {zero}"
    # JSON's numbers arrive as a DOUBLE writes them: 1e-07.
    power = f"{_matches(text, _NUMBER)} AND {_is_short(text)}"
    same = f"TRY_CAST({value} AS DOUBLE) = TRY_CAST({text} AS DOUBLE)"
    return f"({plain} OR ({power} AND {same}))"


def plain_number(text: str, forms: TextForms) -> str:
    """Return SQL for a number as DuckDB writes it; NULL where the text is none of the given form."""
    marks = next(
        (each for each in ALIKE if forms.thousands and forms.thousands in each), forms.thousands
    )
    mark, group = _escaped(forms.decimal), _escaped(marks)
    whole = f"({_DIGITS}|[1-9][0-9]{{0,2}}({group}[0-9]{{3}})+)" if group else _DIGITS
    fraction = f"({mark}[0-9]+)?" if mark else ""
    pattern = rf"\s*[+-]?{whole}{fraction}([eE][+-]?[0-9]+)?\s*"
    plain = text
    if forms.thousands:
        plain = f"translate({plain}, {quote_text(marks)}, '')"
    if forms.decimal not in ("", "."):
        plain = f"replace({plain}, {quote_text(forms.decimal)}, '.')"
    return f"CASE WHEN {_matches(text, pattern)} THEN {plain} END"


def _escaped(mark: str) -> str:
    return f"[{mark}]" if mark else ""


def _whole(value: str) -> str:
    return f"TRY_CAST({value} AS HUGEINT)"


def _mantissa(text: str) -> str:
    """Return SQL for the significant digits of a number."""
    return rf"trim(regexp_replace(split_part(lower({text}), 'e', 1), '[^0-9]', '', 'g'), '0')"


def _is_short(text: str, digits: int = _SURE_DIGITS) -> str:
    return f"length({_mantissa(text)}) <= {digits}"


def _is_in_reach(text: str, value: str) -> str:
    """Return SQL for whether a number is none that a float only comes near to: infinity, or zero."""
    number = f"CAST({value} AS DOUBLE)"
    return f"isfinite({number}) AND (abs({number}) >= 1e-300 OR {_mantissa(text)} = '')"


def _is_kept(text: str, value: str) -> str:
    same = f"CAST({value} AS VARCHAR) = trim({text})"
    return f"{_is_in_reach(text, value)} AND ({_is_short(text)} OR {same})"


# --- times ------------------------------------------------------------------------------------


def _time(type_: str, text: str, value: str, forms: TextForms, is_guess: bool) -> TextCheck:
    is_there = f"{value} IS NOT NULL AND "
    if forms.date_format and not type_.startswith("TIME "):
        form = quote_text(forms.date_format)
        found = f"TRY(try_strptime({text}, {form}))"
        tried = f"TRY_CAST({found} AS {type_})"
        back = f"TRY_CAST({value} AS TIMESTAMP) = TRY_CAST({found} AS TIMESTAMP)"
        return TextCheck(tried, f"{is_there}{back}", "false")
    same = f"CAST({value} AS VARCHAR) = {text}"
    pattern = _plain_pattern(type_) if is_guess else _pattern(type_)
    return TextCheck(_tried(type_, text), same, is_there + _matches(text, pattern))


def _plain_pattern(type_: str) -> str:
    if type_ == "DATE":
        return rf"\s*{_PLAIN_DAY}\s*"
    fraction = _fraction(type_)
    if type_ == "TIME":
        return rf"\s*{_PLAIN_HOUR}:[0-9]{{2}}{fraction}\s*"
    offset = _OFFSET if type_ == "TIMESTAMP WITH TIME ZONE" else ""
    return rf"\s*{_PLAIN_DAY}[ T]{_PLAIN_HOUR}(:[0-9]{{2}}{fraction})?{offset}\s*"


def _pattern(type_: str) -> str:
    if type_ == "DATE":  # a midnight is a day
        return rf"\s*{_DAY}([ T]00:00(:00(\.0*)?)?[zZ]?)?(\s*\(BC\))?\s*|{_ENDLESS}"
    fraction = _fraction(type_)
    if type_.startswith("TIME") and not type_.startswith("TIMESTAMP"):
        zone = rf"(\s*{_OFFSET})?" if "ZONE" in type_ else ""
        return rf"\s*({_HOUR}|24:00)(:[0-9]{{2}}{fraction})?{zone}\s*"
    zone = rf"(\s*{_OFFSET}|{_ZONE})" if "TZ" in type_ or "ZONE" in type_ else _UTC
    clock = rf"[ T]{_HOUR}(:[0-9]{{2}}{fraction})?({zone})?"
    return rf"\s*{_DAY}({clock})?(\s*\(BC\))?\s*|{_ENDLESS}"


def _fraction(type_: str) -> str:
    return rf"(\.[0-9]{{0,{_FRACTIONS[type_]}}}0*)?"


def _matches(text: str, pattern: str) -> str:
    return f"regexp_full_match({text}, {quote_text(pattern)})"
