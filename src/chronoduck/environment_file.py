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

__all__ = ["OPTION", "ignored_lines", "parse_environment", "take_environment_file", "taken_files"]

OPTION = "--env-file"
_COMMENTS = "#;"
_BLANK = " \t\r"
_ESCAPED_IN_QUOTES = '"\\`$'
_WRONG_SETTINGS = 78
_NUL = "its value has a NUL byte"


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
        _taken[path] = text
        for sentence in ignored_lines(text):
            sys.stderr.write(f"warning: {OPTION} {path}: {sentence}\n")
        os.environ.update(parse_environment(text))
    return rest


_taken: dict[str, str] = {}


def taken_files() -> dict[str, str]:
    """Return the texts of the files that this process was given, by their paths as given."""
    return _taken


def ignored_lines(text: str) -> list[str]:
    """Return a sentence for each line that sets nothing: where it is and what to write instead.

    Values are not in it: they may be secrets.
    """
    reader = _Reader(text)
    wrong = [
        (at, _NUL if _is_name(name) else _instead(name.split(":")[0].split(), -1))
        for at, name, value in reader.entries()
        if not _is_set(name, value)
    ]
    wrong += [(at, _instead(line.split(), 0)) for at, line in reader.without_value]
    return [
        f"line {text.count(chr(10), 0, at) + 1} sets nothing, as with systemd: {instead}"
        for at, instead in sorted(wrong)
    ]


def _instead(words: list[str], meant: int) -> str:
    """Return what to write; ``meant`` is the place of the word that is probably the name."""
    is_exported = words[:1] == ["export"] and len(words) > 1
    name = words[1 if is_exported else meant].rstrip(":") if words else ""
    if not _is_name(name):
        return "write NAME=VALUE; a name has letters of A to Z, digits and _"
    return f"write {name}=..., " + ("without export" if is_exported else "with nothing before it")


def parse_environment(text: str) -> dict[str, str]:
    """Return the variables of a file; lines without ``=`` and invalid names are left out."""
    return {name: value for _, name, value in _Reader(text).entries() if _is_set(name, value)}


def _is_set(name: str, value: str) -> bool:
    return _is_name(name) and "\0" not in value


def _is_name(name: str) -> bool:
    return (
        name != "" and name.isascii() and name.replace("_", "a").isalnum() and not name[0].isdigit()
    )


class _Reader:
    """Reads a file from one character to the next."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self.without_value: list[tuple[int, str]] = []
        """Where lines begin that have no ``=``, and their texts; of what was read so far."""

    def entries(self) -> Iterator[tuple[int, str, str]]:
        """Yield where each ``NAME=VALUE`` begins, the name and the value, valid or not."""
        while (found := self._next_name()) is not None:
            yield *found, self._value()

    def _take(self) -> str:
        """Return the next character, a line end at the end of the text."""
        if self._at >= len(self._text):
            return "\n"
        self._at += 1
        return self._text[self._at - 1]

    def _next_name(self) -> tuple[int, str] | None:
        while self._at < len(self._text):
            start = self._at
            if (first := self._take()) in _COMMENTS:
                self._skip_comment()
            elif first not in _BLANK + "\n":
                while (char := self._take()) not in "=\n":
                    pass
                if char == "=":
                    return start, self._text[start : self._at - 1].rstrip(_BLANK)
                self.without_value.append((start, self._text[start : self._at].strip()))
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
