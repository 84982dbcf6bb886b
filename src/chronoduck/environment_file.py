"""An environment file, read as systemd reads ``EnvironmentFile=``: for the service and every command.

A shell reads such a file in another way: it splits ``0 * * * *`` into words, expands ``$`` and ``*``,
and runs what is left as a command.
Source: ``parse_env_file`` in systemd's ``src/basic/env-file.c``, and ``systemd.exec(5)``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

__all__ = ["OPTION", "parse_environment", "take_environment_file"]

OPTION = "--env-file"
_COMMENTS = "#;"
_BLANK = " \t\r"
_ESCAPED_IN_QUOTES = '"\\`$'
_WRONG_SETTINGS = 78


def take_environment_file(arguments: list[str]) -> list[str]:
    """Put what the file of a leading ``--env-file FILE`` says into the environment; return the rest.

    The file wins over the environment, as ``EnvironmentFile=`` wins over ``Environment=``. Ends the
    process with 78 when the file cannot be read.
    """
    rest = list(arguments)
    while rest and rest[0].partition("=")[0] == OPTION:
        option, equals, path = rest.pop(0).partition("=")
        if not equals:
            if not rest:
                return [option]  # the command line says what is missing
            path = rest.pop(0)
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            sys.stderr.write(f"error: {OPTION} {path}: {reason}\n")
            sys.exit(_WRONG_SETTINGS)
        os.environ.update(parse_environment(text))
    return rest


def parse_environment(text: str) -> dict[str, str]:
    """Return the variables of a file; lines without ``=`` and invalid names are left out."""
    return {
        name: value for name, value in _Reader(text).pairs() if _is_name(name) and "\0" not in value
    }


def _is_name(name: str) -> bool:
    return name.isascii() and name.replace("_", "a").isalnum() and not name[0].isdigit()


class _Reader:
    """Reads a file from one character to the next."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def pairs(self) -> Iterator[tuple[str, str]]:
        while (name := self._next_name()) is not None:
            yield name, self._value()

    def _take(self) -> str:
        """Return the next character, a line end at the end of the text."""
        if self._at >= len(self._text):
            return "\n"
        self._at += 1
        return self._text[self._at - 1]

    def _next_name(self) -> str | None:
        while self._at < len(self._text):
            start = self._at
            if (first := self._take()) in _COMMENTS:
                self._skip_comment()
            elif first not in _BLANK + "\n":
                while (char := self._take()) not in "=\n":
                    pass
                if char == "=":
                    return self._text[start : self._at - 1].rstrip(_BLANK)
        return None

    def _skip_comment(self) -> None:
        while self._take() != "\n":
            pass

    def _value(self) -> str:
        """Return a value: quoted parts one after the other, then the rest of the line as it stands."""
        parts = ""
        while (char := self._take()) != "\n":
            if char == "'":
                parts += self._until_quote()
            elif char == '"':
                parts += self._until_double_quote()
            elif char not in _BLANK:
                self._at -= 1
                return parts + self._unquoted()
        return parts

    def _until_quote(self) -> str:
        start = self._at
        end = self._text.find("'", start)
        self._at = len(self._text) if end < 0 else end + 1
        return self._text[start:] if end < 0 else self._text[start:end]

    def _until_double_quote(self) -> str:
        found = ""
        while self._at < len(self._text) and (char := self._take()) != '"':
            if char == "\\":
                escaped = self._take()
                char = "" if escaped == "\n" else "\\" + escaped
                if escaped in _ESCAPED_IN_QUOTES:
                    char = escaped
            found += char
        return found

    def _unquoted(self) -> str:
        found, kept = "", 0
        while (char := self._take()) != "\n":
            if char == "\\":
                escaped = self._take()
                found += "" if escaped == "\n" else escaped
                kept = len(found)
            else:
                found += char
                kept = kept if char in _BLANK else len(found)
        return found[:kept]
