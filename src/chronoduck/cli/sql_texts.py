"""Several statements in one text: where one ends and the next begins.

A reading of our own, because a command that asks a service does not load DuckDB: literals, quoted names,
dollar quotes and nested comments, as DuckDB's lexer has them. What it gets wrong the service refuses.
"""

from __future__ import annotations

__all__ = ["split_statements"]


def split_statements(text: str) -> list[str]:
    """Return the statements of a text, without what holds only spaces, comments and semicolons.

    A text with a NUL byte is left whole: it is then refused before any of its statements is run.
    """
    if "\0" in text:
        return [text]
    statements, start, at, is_empty = [], 0, 0, True
    while at < len(text):
        end = _skipped(text, at)
        if end is not None:
            at = end
        elif text[at] == ";":
            if not is_empty:
                statements.append(text[start:at].strip())
            at += 1
            start, is_empty = at, True
        else:
            is_empty = False
            at = _token_end(text, at)
    if not is_empty:
        statements.append(text[start:].strip())
    return statements


def _skipped(text: str, at: int) -> int | None:
    """Return where the space or comment at this place ends, None when there is neither."""
    if text[at].isspace():
        return at + 1
    if text.startswith("--", at):
        end = text.find("\n", at)
        return len(text) if end < 0 else end + 1
    return _comment_end(text, at) if text.startswith("/*", at) else None


def _comment_end(text: str, at: int) -> int:
    depth = 0
    while at < len(text):
        pair = text[at : at + 2]
        if pair not in ("/*", "*/"):
            at += 1
            continue
        at += 2
        depth += 1 if pair == "/*" else -1
        if not depth:
            break
    return at


def _token_end(text: str, at: int) -> int:
    char = text[at]
    if char in "eE" and text.startswith("'", at + 1):
        return _quoted_end(text, at + 1, escapes=True)
    if char in "'\"":
        return _quoted_end(text, at, escapes=False)
    if char == "$":
        return _dollar_end(text, at)
    if not _is_word(char):
        return at + 1
    # A whole word: its dollar begins no quote, and its last letter is no prefix of a literal.
    while at < len(text) and (_is_word(text[at]) or text[at] == "$"):
        at += 1
    return at


def _is_word(char: str) -> bool:
    return char.isalnum() or char == "_" or char > "\x7f"


def _quoted_end(text: str, at: int, *, escapes: bool) -> int:
    """Return where what begins with a quote ends; a doubled quote is part of it."""
    quote, at = text[at], at + 1
    while at < len(text):
        if escapes and text[at] == "\\":
            at += 2
        elif text[at] != quote:
            at += 1
        elif text.startswith(quote, at + 1):
            at += 2
        else:
            return at + 1
    return len(text)


def _dollar_end(text: str, at: int) -> int:
    """Return the end of ``$tag$...$tag$``; of a parameter, such as ``$1``, that of its sign."""
    end = at + 1
    while end < len(text) and _is_word(text[end]):
        end += 1
    if not text.startswith("$", end) or text[at + 1].isdigit():
        return at + 1
    tag = text[at : end + 1]
    close = text.find(tag, end + 1)
    return len(text) if close < 0 else close + len(tag)
