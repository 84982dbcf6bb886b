"""What looks like a secret wherever it stands: tokens, private keys, passwords in addresses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from chronoduck.sql.masking.runs import Runs, RunsOfText, lower
from chronoduck.sql.masking.vendors import ANY_CASE, PLAIN_BODIES, WIDE_BODIES

__all__ = ["MASK", "covered", "secrets_in", "without_shapes"]

MASK = "***"
Span = tuple[int, int]

_WORDS = Runs(lambda sign: sign.isalnum() or sign in "_-")
_PLAIN = Runs(lambda sign: sign.isascii() and sign.isalnum())
_RANDOM = Runs(lambda sign: sign.isascii() and (sign.isalnum() or sign in "/+=_-"))
_ADDRESS = Runs(lambda sign: sign not in " \t\n\r\v\f'\"")
_ADDRESS_IN_LITERAL = Runs(lambda sign: sign not in "\n")
_USER = Runs(lambda sign: sign not in "/@:'\"" and not sign.isspace())
_PORT = Runs(lambda sign: sign in "0123456789")

_OWN = {"dak_": 6, "cd_": 40}
"""Our own keys and admin tokens, also behind other letters."""
_WEBHOOKS = ("hooks.slack.com/services/", "/api/webhooks/")
_AGE = "age-secret-key-1"
_JWT = "eyj"
_KEY = "private key"
_SHORTEST_HEADER = 5
_LONG_RUN = 32
_AWS_SECRET_CHARACTERS = 40
_LONGEST_KEY_NAME = 80
_LONG_USER = 16
"""Characters of a user without a password that is a token itself."""


def without_shapes(text: str, *, is_literal: bool = False) -> str:
    """Return the text with ``***`` for what looks like a secret.

    ``is_literal``: the text is one value, so that quotes and spaces in it end no address.
    """
    low = lower(text)
    spans = [*_shaped(text, low, is_literal=is_literal), *_private_keys(low)]
    masked = covered(text, spans)
    return covered(masked, list(_random(masked)))


def covered(text: str, spans: list[Span]) -> str:
    """Return the text with ``***`` in place of the spans; spans that touch become one."""
    if not spans:
        return text
    spans.sort()
    parts: list[str] = []
    at = 0
    for start, end in spans:
        if start >= at:
            parts += (text[at:start], MASK)
        at = max(at, end)
    return "".join((*parts, text[at:]))


def secrets_in(values: Sequence[str]) -> list[bool]:
    """Return for each value, alone, whether something in it looks like a secret.

    All are looked at in one go: nothing that is looked for has a line's end in it, but private keys.
    """
    joined = "\n".join(values)
    spans = sorted((*_shaped(joined, lower(joined), is_literal=True), *_random(joined)))
    found: list[bool] = []
    start = at = 0
    for value in values:
        end = start + len(value)
        while at < len(spans) and spans[at][0] < start:
            at += 1
        is_shaped = at < len(spans) and spans[at][0] <= end
        found.append(is_shaped or any(True for _ in _private_keys(lower(value))))
        start = end + 1
    return found


def _shaped(text: str, low: str, *, is_literal: bool) -> list[Span]:
    """Return all but private keys, which alone may be of several lines."""
    words, plain = _Lazy(_WORDS, text), _Lazy(_PLAIN, text)
    found = [*_prefixed(low, low, _OWN, words, is_inside_word=True)]
    found += _prefixed(low, low, ANY_CASE, words)
    found += _prefixed(text, low, WIDE_BODIES, words)
    found += _prefixed(text, low, PLAIN_BODIES, plain, rest=words)
    found += _prefixed(low, low, {_AGE: 1}, plain, is_inside_word=True)
    if _JWT in low:
        found += _tokens(low, words.runs)
    if "://" in text:
        found += _passwords(text, _ADDRESS.of(text), may_be_port=False)
        if is_literal:
            found += _passwords(text, _ADDRESS_IN_LITERAL.of(text), may_be_port=True)
    for address in _WEBHOOKS:
        if address in low:
            runs = _ADDRESS.of(text)
            found += [(at + len(address), runs.end(at)) for at in _places(low, address)]
    return found


class _Lazy:
    """The runs of a text, looked for when they are asked for: most texts hold no prefix."""

    def __init__(self, kind: Runs, text: str) -> None:
        self._kind = kind
        self._text = text
        self._runs: RunsOfText | None = None

    @property
    def runs(self) -> RunsOfText:
        if self._runs is None:
            self._runs = self._kind.of(self._text)
        return self._runs


def _places(text: str, piece: str) -> Iterator[int]:
    at = text.find(piece)
    while at >= 0:
        yield at
        at = text.find(piece, at + len(piece))


def _prefixed(
    text: str,
    low: str,
    prefixes: dict[str, int],
    bodies: _Lazy,
    *,
    rest: _Lazy | None = None,
    is_inside_word: bool = False,
) -> Iterator[Span]:
    """Yield what begins as one of the prefixes and has a body that is long enough."""
    for prefix, least in prefixes.items():
        if prefix not in text:
            continue
        done = 0
        for at in _places(text, prefix):
            if at < done or (not is_inside_word and at and "a" <= low[at - 1] <= "z"):
                continue
            body = at + len(prefix)
            end = bodies.runs.end(body)
            if end - body >= least:
                done = end if rest is None else rest.runs.end(end)
                yield at, done


def _tokens(low: str, words: RunsOfText) -> Iterator[Span]:
    """Yield JSON web tokens: two or three runs with points between them."""
    done = 0
    for at in _places(low, _JWT):
        if at < done or (at and "a" <= low[at - 1] <= "z"):
            continue
        end = words.end(at)
        done = end  # another beginning in this run would end at the same place
        if end - at < len(_JWT) + _SHORTEST_HEADER or low[end : end + 1] != ".":
            continue
        payload = words.end(end + 1)
        if payload > end + 1:
            done = words.end(payload + 1) if low[payload : payload + 1] == "." else payload
            yield at, done


def _private_keys(low: str) -> Iterator[Span]:
    """Yield private keys in armor, to the end of the text if they have no end."""
    done = 0
    for at in _places(low, "-----begin "):
        if at < done or _KEY not in low[at : at + _LONGEST_KEY_NAME]:
            continue
        end = low.find("-----end ", at)
        closed = low.find("-----", end + len("-----end ")) if end >= 0 else -1
        is_its_end = 0 <= closed < end + _LONGEST_KEY_NAME and _KEY in low[end:closed]
        done = closed + len("-----") if is_its_end else len(low)
        yield at, done


def _passwords(text: str, addresses: RunsOfText, *, may_be_port: bool) -> Iterator[Span]:
    """Yield user and password of addresses: all up to the last ``@`` that can belong to them."""
    users = _USER.of(text)
    ports = _PORT.of(text)
    run_end = last = 0
    for at in _places(text, "://"):
        start = at + len("://")
        if start < run_end and start > last:
            continue
        if start >= run_end:
            run_end = addresses.end(at)
            last = text.rfind("@", start, run_end)
        if last < start:
            continue
        user_end = users.end(start)
        sign = text[user_end : user_end + 1]
        if sign == "@" and user_end - start >= _LONG_USER:
            yield start, user_end
        if sign != ":" or user_end >= last:
            continue
        port_end = ports.end(user_end + 1)
        is_port = port_end > user_end + 1 and text[port_end : port_end + 1] in ("/", "")
        if not (is_port and may_be_port):
            yield start, last


def _random(text: str) -> Iterator[Span]:
    """Yield runs of characters that only a generator writes; hashes in hex and base32 stay."""
    for start, end in _RANDOM.of(text).all(_LONG_RUN):
        run = text[start:end]
        is_path = "/" in run and end - start != _AWS_SECRET_CHARACTERS
        is_mixed = run != run.lower() and run != run.upper()
        if is_mixed and not is_path and any(map(str.isdigit, run)):
            yield start, end
