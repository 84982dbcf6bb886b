"""Texts that two readers of SQL might cut differently: code points, literal forms, comments, nesting."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

_SPACES = (
    "\u0085\u00a0\u1680\u180e\u2000\u200b\u200c\u200e\u2028"
    "\u2029\u202e\u202f\u205f\u2060\u2061\u206f\u3000\ufeff"
)
_CONTROLS = "\x00\x01\x08\x0b\x0c\x0e\x1b\x1c\x1f\x7f"
_LETTERS = "\u00e9\u00df\u0130\u017f\u212a\u0301\u0663\u4e2d\ufdfd"
_OTHERS = "\u2014\u20ac\U0001f600\U000e0041\ufffd\ue000\u0378"
_PIECES = (
    "'", "''", '"', '""', "`", "$$", "$t$", "$", "E'", "e'\\", "\\'", "\\", "U&'", 'U&"', "N'", "x'", "b'",
    "--", "--\n", "/*", "*/", "/*/", "*/*", "\n", "\r", "\r\n", "\t", ";", "(", ")", "[", "]", "{", "}",
    ",", ".", "..", "::", ":=", "=>", "->", "->>", "||", "?", "?1", "$1", "$x", ":", "@", "#", "#1", "0x", "1e",
    "1.", ".1", "1_0", "'a'\n'b'", "'a' /* */ 'b'", "/* ' */", "/* \" */", '-- "\n', "-- '\n", "$t$ ' $t$",
    " CALL ", " read_text('x') ", " duckdb_settings() ", " _chronoduck.k ", " ANALYZE ", " ANALYSE ", " FORMAT ",
)  # fmt: skip
_SHELLS = (
    "{}", "EXPLAIN {}", "EXPLAIN ANALYZE {}", "EXPLAIN (ANALYZE{0}) {1}", "EXPLAIN (FORMAT{0}json) {1}",
    "SELECT varchar{0}$t$ , {1} AS y{0}$t$", "SELECT {0}E'\\' || ({1}) --'", "SELECT * FROM ({}) q",
    "EXPLAIN (ANALYZE x{0}$t$) {1} --$t$) SELECT 1", "SELECT '{0}' || ({1})", "-- {0}\n{1}", "/* {0} */ {1}",
    "SELECT \"{0}\" FROM ({1}) q", "SELECT $t{0}$ ' $t{0}$, ({1})", "SELECT (SELECT 1{0}) FROM ({1}) q",
    "INSERT INTO users SELECT 1, {0}E'\\' FROM ({1}) q --'", "CREATE TABLE zz AS {1} -- {0}",
    "DROP SCHEMA {0}'_chronoduck'{0} CASCADE", "DROP TABLE {0}zz", "SELECT 1 WHERE 1 IN ({1}{0})",
)  # fmt: skip


def character(dice: random.Random) -> str:
    """Return a character: of any code point, or one that readers are known to disagree about."""
    kind = dice.random()
    if kind < 0.3:
        return chr(dice.choice((dice.randrange(0x80, 0xD800), dice.randrange(0xE000, 0x110000))))
    return dice.choice(dice.choice((_SPACES, _CONTROLS, _LETTERS, _OTHERS)))


def mutated(sql: str, dice: random.Random) -> str:
    """Return a text with some of its separators and words replaced."""
    parts = re.split(r"(\s+)", sql)
    for _ in range(dice.randint(0, 3)):
        at = dice.randrange(len(parts))
        odd = character(dice) if dice.random() < 0.6 else dice.choice(_PIECES)
        kind = dice.random()
        if kind < 0.4:
            parts[at] = odd
        elif kind < 0.7:
            parts[at] += odd
        else:
            inside = dice.randint(0, len(parts[at]))
            parts[at] = parts[at][:inside] + odd + parts[at][inside:]
    text = "".join(parts)
    if dice.random() < 0.5:
        return text
    odd = character(dice) if dice.random() < 0.7 else dice.choice((" ", "", *_PIECES))
    shell = dice.choice(_SHELLS)
    return shell.format(odd, text) if "{0}" in shell or "{1}" in shell else shell.format(text)


def texts(seed: int, count: int, sources: list[str]) -> Iterator[str]:
    """Yield mutations of the sources."""
    dice = random.Random(seed)
    for _ in range(count):
        yield mutated(dice.choice(sources), dice)
