"""Regular expressions that meet users' texts: by RE2, whose time grows as the text does.

The engine is the one that comes with Arrow. Python's own tries one alternative after the other and holds
the interpreter's lock meanwhile: for the pattern ``(a+)+b`` 30 letters stop the whole service. RE2 has no
look-around and no references back, and ``\\d``, ``\\w`` and ``\\s`` mean ASCII to it.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["check_pattern", "fits", "quoted"]


def check_pattern(pattern: str) -> None:
    """Refuse what is no pattern.

    Raises:
        ValueError: it is none; the text says where it is wrong.
    """
    if not _is_text(pattern):
        raise ValueError("it is not valid text")
    for text in (pattern, _whole(pattern)):  # alone, too: "a)|(b" is right only in brackets
        try:
            pc.match_substring_regex("", pattern=text)
        except pa.ArrowInvalid as error:
            raise ValueError(str(error).removeprefix("Invalid regular expression: ")) from None


def fits(pattern: str, text: str) -> bool:
    """Whether the whole text is of the pattern, which is a checked one."""
    found = _is_text(text) and pc.match_substring_regex(text, pattern=_whole(pattern)).as_py()
    return bool(found)


def quoted(text: str) -> str:
    """Return a pattern for this very text."""
    return "".join(
        f"\\{sign}" if sign.isascii() and not sign.isalnum() and sign != "_" else sign
        for sign in text
    )


def _is_text(text: str) -> bool:
    """Whether it has an encoding: lone surrogates, which no pattern describes, have none."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _whole(pattern: str) -> str:
    return rf"\A(?:{pattern})\z"
