"""Bounds of JSON bodies, counted in linear time before anything parses them."""

from __future__ import annotations

from chronoduck.api.bodies import BodyTooLargeError
from chronoduck.errors import InvalidRequestError

__all__ = ["MAX_CONTAINERS", "MAX_DEPTH", "MAX_ELEMENTS", "QUICK_BYTES", "check_json", "is_quick"]

MAX_ELEMENTS = 100_000
"""Values and names in one body: so many take 5 ms to parse, and 20 ms to hand to DuckDB."""
MAX_CONTAINERS = 20_000
"""Lists and objects: each costs as much as ten numbers, and Python's garbage collector looks at all."""
MAX_DEPTH = 64
"""How deep they nest."""
QUICK_BYTES = 16_384
"""Bodies up to here are read in less than a millisecond whatever they hold."""
_OPENING, _CLOSING = b"[{", b"]}"
_NO_BRACKETS = bytes(set(range(256)) - set(_OPENING + _CLOSING))
_AS_SQUARE = bytes.maketrans(b"{}", b"[]")


def is_quick(body: bytes) -> bool:
    """Whether a body may be looked at and parsed on the event loop."""
    return len(body) <= QUICK_BYTES


def check_json(body: bytes) -> None:
    """Refuse a body with more elements, or deeper ones, than anybody needs; 2 ms per MB.

    Of a text that is not JSON this says nothing: its parser does.

    Raises:
        BodyTooLargeError: it holds too many.
        InvalidRequestError: it is too deep.
    """
    if len(body) < MAX_DEPTH:
        return
    texts = body
    if b"\\" in texts:
        # Behind this no quote is part of a text.
        texts = texts.replace(b"\\\\", b"").replace(b'\\"', b"")
    if texts.count(b'"') > 2 * MAX_ELEMENTS:
        raise _refusal(f"more than {MAX_ELEMENTS:,} texts")
    outside = b"".join(texts.split(b'"')[::2])
    elements = outside.count(b",") + outside.count(b":") + 1
    if elements > MAX_ELEMENTS:
        raise _refusal(f"{elements:,} elements; at most {MAX_ELEMENTS:,} are read")
    brackets = outside.translate(_AS_SQUARE, _NO_BRACKETS)
    containers = brackets.count(b"[")
    if containers > MAX_CONTAINERS:
        raise _refusal(f"{containers:,} lists and objects; at most {MAX_CONTAINERS:,} are read")
    for _ in range(MAX_DEPTH):
        if b"[]" not in brackets:
            break
        brackets = brackets.replace(b"[]", b"")
    if brackets.count(b"[") > MAX_DEPTH or b"[]" in brackets:
        raise InvalidRequestError(
            f"lists and objects of the body are more than {MAX_DEPTH} deep in each other"
        )


def _refusal(what: str) -> BodyTooLargeError:
    return BodyTooLargeError(
        f"the body has {what}",
        hint="Send less at a time; POST tables/{name}/rows takes rows in any number.",
    )
