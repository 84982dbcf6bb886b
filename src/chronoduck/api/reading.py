"""How a body is written: parameters of a load, and what its ``Content-Type`` says."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request

from chronoduck.transfer import ReadOptions
from chronoduck.transfer.read_options import read_options

__all__ = ["asked_reading"]

_MOST_SKIPPED = 10_000


def asked_reading(
    request: Request,
    delimiter: Annotated[
        str, Query(max_length=20, description="CSV: what separates fields; `tab` is one.")
    ] = "",
    quote: Annotated[
        str | None, Query(max_length=4, description="CSV: what encloses fields, or `none`.")
    ] = None,
    decimal: Annotated[
        str | None, Query(max_length=1, description="The decimal mark of numbers: `.` or `,`.")
    ] = None,
    thousands: Annotated[
        str | None, Query(max_length=20, description="What groups digits: `.` `,` `space` `none`.")
    ] = None,
    encoding: Annotated[str, Query(max_length=40, description="Such as `cp1252`, `utf-16`.")] = "",
    header: Annotated[
        str,
        Query(
            max_length=10_000,
            description="`auto`, `yes`, `no`, or the names of the columns: `a,b,c`.",
        ),
    ] = "auto",
    skip: Annotated[int, Query(ge=0, le=_MOST_SKIPPED, description="Lines before the header.")] = 0,
    null: Annotated[str, Query(max_length=1_000, description="Texts that mean NULL: `NA,-`.")] = "",
    date_format: Annotated[
        str, Query(max_length=100, description="How dates are written: `%d.%m.%Y`.")
    ] = "",
    types: Annotated[
        str,
        Query(max_length=20_000, description="Types of new columns: `zip=VARCHAR,price=DOUBLE`."),
    ] = "",
    all_text: Annotated[bool, Query(description="New columns are VARCHAR.")] = False,
    sheet: Annotated[
        str, Query(max_length=255, description="XLSX, ODS: the sheet; by default the first.")
    ] = "",
) -> ReadOptions:
    """Return how the body is to be read; what is not said is guessed from it."""
    said = _said(request)
    return read_options(
        delimiter=delimiter,
        quote=quote,
        decimal=decimal,
        thousands=thousands,
        encoding=encoding or said.get("charset", ""),
        header=said.get("header", "auto") if header == "auto" else header,
        skip=skip,
        null=null,
        date_format=date_format,
        types=types,
        all_text=all_text,
        sheet=sheet,
    )


def _said(request: Request) -> dict[str, str]:
    """Return the parameters of ``text/csv``: ``charset`` and ``header=absent``, as RFC 4180 has them."""
    media_type, *parameters = request.headers.get("content-type", "").split(";")
    if media_type.strip().lower() != "text/csv":
        return {}
    pairs = (each.partition("=") for each in parameters)
    return {name.strip().lower(): value.strip().strip('"').lower() for name, _, value in pairs}
