"""Sentences, which may repeat a piece of SQL or an address, without their secrets."""

from __future__ import annotations

from collections.abc import Iterator

from chronoduck.sql.masking.runs import Runs
from chronoduck.sql.masking.shapes import covered, without_shapes
from chronoduck.sql.masking.telling import SCHEMES, SPACES, WORDS, telling_words

__all__ = ["LONGEST_MESSAGE", "mask_message"]

LONGEST_MESSAGE = 10_000
"""Characters of a sentence that are shown; the rest is ``…``."""
_MORE = 2_000
_BARE = Runs(lambda sign: not sign.isspace() and sign not in ",;)'\"")
_TAG = Runs(lambda sign: sign.isalnum() or sign == "_")
_QUOTES = ("\\'", '\\"', "''", "'", '"', "`")
_CLOSING = {"[": "]", "{": "}", "(": ")"}
_SHORTEST_CREDENTIAL = 6


def mask_message(text: str) -> str:
    """Return a sentence without what looks like a secret; a long one is cut first, with ``…``."""
    seen = text[: LONGEST_MESSAGE + _MORE]
    shown = without_shapes(seen)  # also before: a value may end within an address
    masked = without_shapes(covered(shown, list(_given(shown))))
    if len(text) <= LONGEST_MESSAGE:
        return masked
    return masked[:LONGEST_MESSAGE] + "…"


def _given(text: str) -> Iterator[tuple[int, int]]:
    """Yield the values that are given to telling words, also to those in the value of another."""
    words = telling_words(text)
    if not words:
        return
    reader = _Values(text)
    done = 0
    for start, end in words:
        if start < done:
            continue
        value = reader.value_of(start, end)
        done = reader.word_end(end)  # the other telling words of this name have the same value
        if value is not None:
            yield value


class _Values:
    """Values in a text, in all ways of quoting."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._words = WORDS.of(text)
        self._spaces = SPACES.of(text)
        self._bare = _BARE.of(text)
        self._tags = _TAG.of(text)

    def word_end(self, at: int) -> int:
        """Return where the word ends that reaches to this place."""
        return self._words.end(at)

    def value_of(self, start: int, end: int) -> tuple[int, int] | None:
        """Return start and end of what the telling word from start to end is given; None: nothing."""
        text = self._text
        at = self._words.end(end)
        named = text[start:end].lower()
        if text[at : at + 1] == "\\":
            at += 1
        if text[at : at + 1] in ("'", '"', "`", "]"):
            at += 1
        at = self._spaces.end(at)
        value = self._behind_signs(at)
        if value > at:
            return self._value(value)
        if text[at : at + 3].lower() == "%3d":
            return self._value(at + 3)
        if named == "bearer" or text[max(start - 2, 0) : start].endswith("-"):
            return self._credential(at)
        if text[at : at + 1] == "'" and at > end and text[at - 1].isspace():
            return self._value(at)  # PASSWORD 'x'
        return None

    def _behind_signs(self, at: int) -> int:
        """Return where the value begins that ``=``, ``:``, ``:=`` or ``=>`` gives; else ``at``."""
        text = self._text
        while text[at : at + 1] in ("=", ":"):
            at = self._spaces.end(at + (2 if text[at : at + 2] == "=>" else 1))
        return at

    def _value(self, at: int) -> tuple[int, int] | None:
        text = self._text
        opened = at
        if text[at : at + 1] in ("e", "E", "x", "X", "b", "B", "n", "N") and text[
            at + 1 : at + 2
        ] in ("'", '"'):
            opened = at + 1
        if text.startswith("''", opened) and not text[opened + 2 : opened + 3].strip(",;) \n"):
            return None  # an empty value
        for quote in _QUOTES:
            if text.startswith(quote, opened):
                is_escaped = opened > at and text[at] in "eE"
                return at, self._closed(quote, opened + len(quote), is_escaped or quote == '"')
        sign = text[at : at + 1]
        if sign == "$":
            tag_end = self._tags.end(at + 1)
            if text[tag_end : tag_end + 1] == "$":
                tag = text[at : tag_end + 1]
                end = text.find(tag, tag_end + 1)
                return at, len(text) if end < 0 else end + len(tag)
        if sign in _CLOSING:
            end = text.find(_CLOSING[sign], at)
            return at, len(text) if end < 0 else end + 1
        end = self._bare.end(at)
        if end == at:
            return None
        if text[at:end].lower() in SCHEMES:
            credential = self._credential(self._spaces.end(end))
            return (at, credential[1]) if credential else (at, end)
        return at, end

    def _credential(self, at: int) -> tuple[int, int] | None:
        """Return a word that is no word of a language: it has a digit, a sign or many letters."""
        end = self._bare.end(at)
        word = self._text[at:end]
        is_word = word.rstrip(".:!?").isalpha() and len(word) < 2 * _SHORTEST_CREDENTIAL
        return None if len(word) < _SHORTEST_CREDENTIAL or is_word else (at, end)

    def _closed(self, quote: str, at: int, is_escaped: bool) -> int:
        text = self._text
        while True:
            end = text.find(quote, at)
            if end < 0:
                return len(text)
            slashes = end
            while is_escaped and slashes > at and text[slashes - 1] == "\\":
                slashes -= 1
            if (end - slashes) % 2:
                at = end + 1
                continue
            if len(quote) == 1 and text[end + 1 : end + 2] == quote:
                at = end + 2
                continue
            return end + len(quote)
