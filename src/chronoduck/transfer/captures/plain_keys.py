"""SURT keys of usual URLs, computed inside DuckDB; the others are left to ``surt.surt_key``.

Most URLs need no decoding: their host is in lower case, their path has no empty or dot segment, and
what follows a ``%`` must stay escaped. Their key is a matter of splitting and sorting, which DuckDB
does ten times as fast as Python. A test compares what the pattern takes, and what this SQL makes of
it, with ``surt_key``.
"""

from __future__ import annotations

__all__ = ["ADDRESS", "with_plain_keys"]

_LABEL = "[a-z0-9_-]"
_HOST = rf"({_LABEL}+\.)*[a-z]{_LABEL}*"
"""The last label begins with a letter, so that the host is no address."""
_ESCAPE = "%([01][0-9A-Fa-f]|20|23|7[Ff]|[89A-Fa-f][0-9A-Fa-f])"
"""What no key has decoded: spaces, control characters, ``#`` and all beyond ASCII."""
_FIRST, _SIGN = rf"([!\"$&')-\-0->@-~]|{_ESCAPE})", rf"([!\"$&-.0->@-~]|{_ESCAPE})"
"""Printable signs without ``% # ? /``; the first one of a segment is no dot and no ``(``."""
_PLAIN_URL = (
    rf"(http://{_HOST}(:80)?|https://{_HOST}(:443)?)"
    rf"(((/[.]?{_FIRST}{_SIGN}*)+/?|/)(\?([!\"$&-~]|{_ESCAPE})*)?)?"
)
ADDRESS = "[0-9.]+|[[].*"
"""A domain that is an address of IPv4 or IPv6."""


def with_plain_keys(relation: str) -> str:
    """Return the relation with ``plain_host`` and ``plain_key`` of its ``given_url``.

    Both are NULL where the URL is not plain: its key is computed elsewhere.
    """
    pattern = _PLAIN_URL.replace("'", "''")
    return f"""
    SELECT * EXCLUDE (plain_host, path, query, has_session),
        CASE WHEN NOT has_session THEN plain_host END AS plain_host,
        CASE WHEN NOT has_session THEN
            list_aggregate(list_reverse(string_split(
                CASE WHEN starts_with(plain_host, 'www')
                     THEN regexp_replace(plain_host, '^www[0-9]*[.]', '') ELSE plain_host END,
                '.')), 'string_agg', ',')
            || ')'
            || CASE WHEN path = '' THEN '/'
                    WHEN ends_with(path, '/') AND path <> '/' THEN path[:-2] ELSE path END
            || CASE WHEN coalesce(query, '') = '' THEN ''
                    WHEN NOT contains(query, '&') THEN '?' || query
                    -- A name sorts before a longer one that it begins, whatever sign follows it.
                    ELSE '?' || replace(list_aggregate(list_sort(list_transform(
                        string_split(query, '&'), lambda part: regexp_replace(part, '=', chr(1))
                    )), 'string_agg', '&'), chr(1), '=')
               END
        END AS plain_key
    FROM (
        SELECT *, query IS NOT NULL AND (
            contains(query, 'sid=') OR contains(query, 'sessionid') OR contains(query, 'cfid=')
        ) AS has_session
        FROM (
            SELECT * EXCLUDE (rest, slash, mark),
                split_part(
                    CASE WHEN slash = 0 THEN rest ELSE substr(rest, 1, slash - 1) END, ':', 1
                ) AS plain_host,
                CASE WHEN slash = 0 THEN '' WHEN mark = 0 THEN substr(rest, slash)
                     ELSE substr(rest, slash, mark - slash) END AS path,
                CASE WHEN mark > 0 THEN substr(rest, mark + 1) END AS query
            FROM (
                -- Behind the scheme; a host has neither a slash nor a question mark in it.
                SELECT *, instr(rest, '/') AS slash, instr(rest, '?') AS mark
                FROM (
                    SELECT *, CASE WHEN regexp_full_match(given_url, '{pattern}') THEN
                        lower(substr(given_url, 8 + starts_with(given_url, 'https')::INTEGER))
                    END AS rest
                    FROM ({relation})
                )
            )
        )
    )
    """
