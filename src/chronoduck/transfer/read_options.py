"""What callers say about how a file is written, as texts: read and checked in one place."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from chronoduck.errors import InvalidRequestError
from chronoduck.transfer.options import ReadOptions
from chronoduck.transfer.text_encoding import check_encoding_name

__all__ = ["parameters_of", "read_options", "types_of"]

_NAMED = {
    "tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " ",
}  # fmt: skip
_GROUPS = {"": "", "none": "", "space": " ", "nbsp": "\u00a0", "apostrophe": "'"}
_MAX_TEXT = 100
_TYPES = frozenset(
    {"BOOLEAN", "BOOL", "TINYINT", "SMALLINT", "INTEGER", "INT", "BIGINT", "HUGEINT", "UTINYINT"}
    | {"USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT", "FLOAT", "REAL", "DOUBLE", "DECIMAL"}
    | {"NUMERIC", "VARCHAR", "TEXT", "STRING", "BLOB", "DATE", "TIME", "TIMESTAMP", "DATETIME"}
    | {"TIMESTAMPTZ", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "TIMETZ", "INTERVAL", "UUID"}
    | {"JSON", "BIGNUM"}
)


def read_options(
    *,
    delimiter: str = "",
    quote: str | None = None,
    decimal: str | None = None,
    thousands: str | None = None,
    encoding: str = "",
    header: str = "auto",
    skip: int = 0,
    null: str = "",
    date_format: str = "",
    types: str = "",
    all_text: bool = False,
    sheet: str = "",
) -> ReadOptions:
    """Return the options; those that are not given are guessed from the file.

    Raises:
        InvalidRequestError: one is none that can be followed; names it.
    """
    texts = {"null": null, "date_format": date_format, "types": types, "sheet": sheet}
    for option, text in {**texts, "thousands": thousands or "", "header": header}.items():
        if "\0" in text:
            raise InvalidRequestError(f"`{option}` holds a NUL byte", hint="Leave it out.")
    mark = _NAMED.get(delimiter.lower(), delimiter)
    if mark and (len(mark) != 1 or mark in '"\r\n\0' or mark.isalnum()):
        raise _refused("delimiter", delimiter, "a character such as ; or | or the word tab")
    sign = None if quote is None else ("" if quote == "none" else quote)
    if sign and (len(sign) != 1 or sign in "\r\n\0" or sign == mark or sign.isalnum()):
        raise _refused("quote", sign, "a character such as ' or the word none")
    if decimal not in (None, ".", ","):
        raise _refused("decimal", decimal, "a point or a comma")
    group = None if thousands is None else _GROUPS.get(thousands, thousands)
    if group and (len(group) != 1 or group.isalnum() or group in '"-+^]\\[' or group == decimal):
        raise _refused(
            "thousands", thousands, "one of . , ' space nbsp none, and not the decimal mark"
        )
    if encoding:
        check_encoding_name(encoding)
    if date_format and ("%" not in date_format or len(date_format) > _MAX_TEXT):
        raise _refused("date_format", date_format, "a format such as %d.%m.%Y or %m/%d/%Y %H:%M")
    if all_text and types:
        raise InvalidRequestError(
            "`all_text` and `types` contradict each other", hint="Leave one of them out."
        )
    return ReadOptions(
        delimiter=mark,
        quote=sign,
        decimal=decimal,
        thousands=group,
        encoding=encoding,
        header={"present": "yes", "absent": "no", "": "auto"}.get(header, header),
        skip=skip,
        null=tuple(null.split(",")) if null else (),
        date_format=date_format,
        types=types_of(types),
        all_text=all_text,
        sheet=sheet,
    )


def parameters_of(options: ReadOptions) -> dict[str, str]:
    """Return the texts by which the options are said again."""
    texts = {
        "delimiter": options.delimiter,
        "encoding": options.encoding,
        "null": ",".join(options.null),
        "date_format": options.date_format,
        "types": orjson.dumps(dict(options.types)).decode() if options.types else "",
        "sheet": options.sheet,
        "header": "" if options.header == "auto" else options.header,
        "skip": str(options.skip) if options.skip else "",
        "all_text": "true" if options.all_text else "",
    }
    marks = {
        "quote": None if options.quote is None else options.quote or "none",
        "decimal": options.decimal,
        "thousands": None if options.thousands is None else options.thousands or "none",
    }
    found = {name: text for name, text in texts.items() if text}
    return found | {name: text for name, text in marks.items() if text is not None}


def types_of(text: str) -> Mapping[str, str]:
    """Return the types by column that a text names: ``zip=VARCHAR,price=DECIMAL(10,2)``, or JSON.

    Raises:
        InvalidRequestError: it names none, or one that is not known.
    """
    if text.lstrip().startswith("{"):
        try:
            pairs = list(orjson.loads(text).items())
        except orjson.JSONDecodeError as error:
            raise _refused("types", text, 'JSON such as {"zip":"VARCHAR"}') from error
    else:
        pairs = [_pair(part) for part in _parts(text)]
    found: dict[str, str] = {}
    for name, type_ in pairs:
        base, _, digits = str(type_).strip().rstrip(")").upper().partition("(")
        is_plain = all(each.strip().isdecimal() for each in digits.split(",")) if digits else True
        if base not in _TYPES or not is_plain or str(type_).count(")") != bool(digits):
            raise _refused("types", str(type_), "types such as BIGINT, VARCHAR or DECIMAL(10,2)")
        found[str(name)] = str(type_).strip().upper()
    return found


def _parts(text: str) -> list[str]:
    """Return the parts between commas that are not in brackets."""
    parts, depth = [""], 0
    for sign in text:
        depth += (sign == "(") - (sign == ")")
        if sign == "," and not depth:
            parts.append("")
        else:
            parts[-1] += sign
    return [part for part in parts if part.strip()]


def _pair(part: str) -> tuple[str, str]:
    mark = "=" if part.rfind("=") > part.rfind(":") else ":"
    name, found, type_ = part.rpartition(mark)
    if not found:
        raise _refused("types", part, "name=TYPE,name=TYPE")
    return name.strip(), type_


def _refused(option: str, value: str | None, wanted: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"`{option}` is {str(value)[:40]!r}", hint=f"Set `{option}` to {wanted}."
    )
