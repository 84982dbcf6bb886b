"""What the operating system says of a failure."""

from __future__ import annotations

import os

__all__ = ["reason_of"]


def reason_of(error: OSError, *, shows_text: bool = False) -> str:
    """Return the reason in words. It is never empty: an error may lack its number or its text.

    ``shows_text``: also the text of a library that gives no number. It may name paths, so it is for
    operators alone.
    """
    words = error.strerror or (os.strerror(error.errno) if isinstance(error.errno, int) else "")
    text = " ".join(each for each in error.args if isinstance(each, str)) if shows_text else ""
    return str(words).strip() or text.strip() or type(error).__name__
