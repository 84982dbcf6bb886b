"""What the former masks hid stays hidden: planted secrets in mutated statements and messages.

``CHRONODUCK_MASKING_TEXTS`` is how many texts are tried; ``make soak`` asks for many.
"""

from __future__ import annotations

import os
import random
import string
from collections.abc import Callable

import pytest

from chronoduck.sql.masking import mask_message, mask_statement
from tests.property import former_masking as former
from tests.security.corpus import CORPORA, statements

TEXTS = int(os.environ.get("CHRONODUCK_MASKING_TEXTS", "3000"))
LETTERS = string.ascii_letters + string.digits
GIVEN = (
    *(
        "password",
        "pwd",
        "api_key",
        "access_token",
        "SECRET",
        "key",
        "Authorization",
        "dsn",
        "KEY_ID",
    ),
    *(
        "connection_string",
        "cookie",
        "bearer",
        "private_key",
        "passphrase",
        "attach",
        "http_header",
    ),
)
GIVES = (" = ", "=", ":", ": ", "=>", " := ", " ", "':'", '": "', "\n=\n", " == ")
QUOTES = (
    "'{}'",
    '"{}"',
    "{}",
    "$${}$$",
    "$a$ {} $a$",
    "E'{}'",
    "'x' '{}'",
    "'x'\n'{}'",
    "'{}",
)
PREFIXES = (
    "dak_",
    "cd_",
    "AKIA",
    "sk-",
    "ghp_",
    "glpat-",
    "xoxb-",
    "github_pat_",
    "AGE-SECRET-KEY-1",
)
NOISE = (
    "",
    " ",
    "\n",
    "-- x\n",
    "/* y */",
    "'a'",
    '"b"',
    "SELECT 1 ",
    ", ",
    "(",
    ")",
    ";",
    "é",
    "\t",
    "://",
)


def word(chance: random.Random, length: int) -> str:
    return "".join(chance.choice(LETTERS) for _ in range(length))


def planted(chance: random.Random) -> tuple[str, str]:
    """Return a piece of text and the secret in it."""
    secret = "Z9" + word(chance, chance.randrange(8, 20))
    kind = chance.randrange(4)
    if kind == 0:
        quoted = chance.choice(QUOTES).format(secret)
        return chance.choice(GIVEN) + chance.choice(GIVES) + quoted, secret
    if kind == 1:
        body = word(chance, 50)
        return chance.choice(PREFIXES) + body, body[:40]
    if kind == 2:
        user = chance.choice(["", "bob", "a.b"])
        return f"https://{user}:{secret}@host/{word(chance, 3)}", secret
    body = word(chance, 48) + "aB3"
    return chance.choice(
        [body, f"eyJ{body}.{secret}{secret}.x", f"-----BEGIN PRIVATE KEY-----\n{body}"]
    ), body


def text_of(chance: random.Random, benign: list[str]) -> tuple[str, str]:
    """Return a text and the secret that stands somewhere in it."""
    piece, secret = planted(chance)
    piece = chance.choice((*QUOTES[:2], *QUOTES[3:8], *("{}",) * 5)).format(piece)
    before, after = (
        "".join(chance.choice(NOISE) for _ in range(chance.randrange(4))) for _ in range(2)
    )
    text = before + piece + after
    if chance.random() < 0.5:
        around = chance.choice(benign)[:300]
        at = chance.randrange(len(around) + 1)
        text = around[:at] + " " + text + " " + around[at:]
    if chance.random() < 0.3:
        at = chance.randrange(len(text))
        text = text[:at] + chance.choice(NOISE) + text[at:]
    return text, secret


@pytest.mark.parametrize(
    ("now", "before"),
    [(mask_statement, former.mask_statement), (mask_message, former.mask_message)],
    ids=["statements", "messages"],
)
def test_what_the_former_masks_hid_stays_hidden(
    now: Callable[[str], str], before: Callable[[str], str]
) -> None:
    chance = random.Random(os.environ.get("CHRONODUCK_MASKING_SEED", "1"))
    benign = [text for path in sorted(CORPORA.rglob("*.sql")) for text in statements(path)]
    hidden = 0
    for _ in range(TEXTS):
        text, secret = text_of(chance, benign)
        if secret in text and secret not in before(text):
            hidden += 1
            assert secret not in now(text), (text, now(text))
    assert hidden > TEXTS // 3
