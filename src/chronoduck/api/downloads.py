"""File names of results: what a browser or ``curl -OJ`` saves them as."""

from __future__ import annotations

import unicodedata
from urllib.parse import quote

from starlette.requests import Request

from chronoduck.engine.encoding import ResultFormat

__all__ = ["attachment", "result_name"]

_ENDINGS = {ResultFormat.ARROW: "arrows"}
_LONGEST = 120
"""Characters; most systems take 255 bytes of UTF-8."""
_UNSAFE = frozenset('"\\/:*?<>|%;')
"""What a system, a shell or a parser of headers may read as something else."""


def attachment(name: str) -> str:
    """Return the value of ``Content-Disposition`` for any name: ASCII, one line, no path (RFC 6266)."""
    safe = _safe(name)
    plain = safe.encode("ascii", "replace").decode().replace("?", "_")
    if plain == safe:
        return f'attachment; filename="{plain}"'
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(safe, safe='')}"


def result_name(request: Request, stem: str, format: ResultFormat) -> str | None:  # noqa: A002
    """Return the name of a result's file; None for JSON that was not asked for as a file is."""
    if format is ResultFormat.JSON and "format" not in request.query_params:
        return None
    return f"{stem}.{_ENDINGS.get(format, format.value)}"


def _safe(name: str) -> str:
    """Return the name without controls, invisible signs and separators; never empty or hidden."""
    kept = "".join(
        "_" if sign in _UNSAFE or (unicodedata.category(sign)[0] in "CZ" and sign != " ") else sign
        for sign in name
    )
    kept = kept.strip(" .") or "result"
    if len(kept) <= _LONGEST:
        return kept
    stem, dot, ending = kept.rpartition(".")
    if dot and len(ending) <= 10:
        return f"{stem[: _LONGEST - len(ending) - 1]}.{ending}"
    return kept[:_LONGEST]
