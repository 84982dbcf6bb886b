"""Whatever 100 KB of text a user sends: what reads it needs time that grows as the text does.

Each function meets texts made of pieces that its own grammar knows: one piece repeated, two in turn,
and a start that promises an end that never comes. ``CHRONODUCK_LINEAR_SAMPLES`` is how many of the
texts made of two pieces each function meets; ``make soak`` asks for many.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable

import duckdb
import pytest

from chronoduck.engine.scopes.errors import scrubbed
from chronoduck.errors import DuckDBQueryError
from chronoduck.monitoring.audit.event import Act, act_fields
from chronoduck.sql.engine_errors import translate
from chronoduck.sql.masking import (
    mask_message,
    mask_statement,
    pieces,
    shapes,
    telling,
)
from tests.growth import is_linear, text_of

SAMPLES = int(os.environ.get("CHRONODUCK_LINEAR_SAMPLES", "6"))

PIECES = (
    *(" ", "\n", "\t", "\r\n", "\u00a0", "\u2028", "'", "''", "'\n'", "' \n '", '"', '""', "`"),
    *("--", "--\n", "/*", "*/", "/*/", "$", "$$", "$a$", "\\", "(", ")", "((", "[", "]", "{", "}"),
    *(
        ",",
        ";",
        ".",
        ":",
        "::",
        "=",
        "=>",
        "-",
        "_",
        "@",
        "%",
        "&",
        "/",
        "//",
        "://",
        "://a:",
        "a:b@",
    ),
    *(
        "a",
        "A",
        "0",
        "aA0",
        "a.",
        "a b ",
        "é",
        "名",
        "\x00",
        "eyJ",
        "eyJ_",
        "eyJa.",
        "sk-",
        "sk_live_",
    ),
    *(
        "hf_",
        "AKIA",
        "ghp_",
        "dak_",
        "cd_",
        "key",
        "key=",
        "password=",
        "pw='",
        "token:",
        "Bearer ",
    ),
    *("-----BEGIN ", "PRIVATE KEY-----", "-----BEGIN PRIVATE KEY-----", "AGE-SECRET-KEY-1"),
    *(
        "select ",
        "with ",
        "import ",
        "import database ",
        "pivot ",
        "as pivot ",
        "alter ",
        "explain ",
    ),
    *("Candidate", "Did you mean", "Stack Trace:", "Stack Trace", "HTTP ", "s3://", "Error: "),
    *("'a'\n", "'password', ", '"a", ', "/*a*/ b "),
    *("e'", "E'\\", "x'", "1e", "0, ", "(0, 0), ", "'a', ", "ENUM(", "'a',"),
)


STARTS = (("SELECT '", "x"), ("eyJ", "!"), ("password = ", ""), ("https://a:", "@"), ("", ""))


def translated(text: str) -> object:
    return translate(duckdb.InvalidInputException(text), text)


def without_guesses(text: str) -> object:
    return scrubbed(DuckDBQueryError(text, category="binder"))


def audited(text: str) -> object:
    return act_fields(Act("event", 0.0, facts={"path": text}), mask_message)


READERS: dict[str, Callable[[str], object]] = {
    "an error of DuckDB": translated,
    "an error of a scoped statement": without_guesses,
    "a fact of the audit trail": audited,
    "a masked statement": mask_statement,
    "all literals of a statement": lambda text: shapes.without_shapes(text, is_literal=True),
    "what is telling": telling.telling_words,
    "pieces of SQL": lambda text: list(pieces.pieces_of(text)),
    "a masked message": mask_message,
}


def drawn(chance: random.Random) -> tuple[str, str, str]:
    start, first, second, end = (chance.choice(PIECES) for _ in range(4))
    return start, first + second, end


@pytest.mark.parametrize("name", READERS)
def test_the_cost_grows_as_the_text(name: str) -> None:
    read = READERS[name]
    chance = random.Random(f"{name} {os.environ.get('CHRONODUCK_LINEAR_SEED', '1')}")
    # Each function meets every piece once; which start and end stands around it is drawn.
    asked = [(start, piece, end) for piece in PIECES for start, end in [chance.choice(STARTS)]]
    asked += [drawn(chance) for _ in range(SAMPLES)]
    for shape in asked:
        assert is_linear(read, lambda length, shape=shape: text_of(length, *shape)), shape


@pytest.mark.parametrize(
    ("pattern", "start", "piece", "length"),
    [
        (r"\s*(?:Stack Trace:).*", "", " ", 8_000),
        (r"'\s*\n\s*'", "'", "\n", 8_000),
        ("import.*database", "", "import ", 100_000),
    ],
)
def test_a_backtracking_pattern_is_found(pattern: str, start: str, piece: str, length: int) -> None:
    search = re.compile(pattern, re.DOTALL).search
    assert not is_linear(search, lambda length: text_of(length, start, piece, ""), length)
