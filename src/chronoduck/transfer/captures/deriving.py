"""SQL that makes rows of captures out of their fields: types, keys, domains, and reasons to reject."""

from __future__ import annotations

from chronoduck.transfer.captures.plain_keys import ADDRESS, with_plain_keys

__all__ = ["derived_chunk"]

_ISO_DATE = "[0-9]{4}(-[0-9]{2}(-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]+)?)?)?)?)?[Zz]?"
_FIRST_MOMENT = "00000101000000"
"""The digits of a date that are added to a short one."""
_LONGEST_DATE = 23
"""Digits of a date with nanoseconds."""


def derived_chunk(fields: str) -> str:
    """Return the statement that makes the temporary table ``chunk``, whatever the fields come from.

    A row is a capture, or has a ``reason`` and its ``line``, or has a ``resume_key``. Captures whose
    ``urlkey`` is NULL although they have a ``url`` get their key by ``complete_keys``.
    """
    return f"""
CREATE OR REPLACE TEMP TABLE chunk AS
WITH named AS (
    SELECT line_number, line, shape_error, resume_key, repaired,
        nullif(nullif(urlkey, '-'), '') AS given_key,
        nullif(nullif(original, '-'), '') AS given_url,
        timestamp AS stamp,
        try_strptime({_digits("timestamp")}, '%Y%m%d%H%M%S') AS captured_at,
        CASE WHEN contains(mimetype, ';') OR contains(mimetype, ' ')
             THEN regexp_extract(mimetype, '^ *([^; ]*)', 1) ELSE mimetype END AS type,
        nullif(nullif(statuscode, '-'), '') AS status,
        nullif(nullif(digest, '-'), '') AS given_digest,
        nullif(nullif(length, '-'), '') AS size,
        nullif(nullif("offset", '-'), '') AS place,
        nullif(nullif(filename, '-'), '') AS filename,
        nullif(split_part(language, ',', 1), '') AS language,
        nullif(title, '') AS title
    FROM ({fields})
),
typed AS (
    SELECT *,
        -- Only digits: a cast takes 1e2, 20.6 and -5 as well.
        CASE WHEN regexp_full_match(status, '[0-9]{{1,4}}') THEN status::SMALLINT END
            AS status_code,
        CASE WHEN regexp_full_match(size, '[0-9]{{1,18}}') THEN size::BIGINT END
            AS content_length,
        CASE WHEN regexp_full_match(place, '[0-9]{{1,18}}') THEN place::BIGINT END AS "offset"
    FROM named
),
judged AS (
    SELECT *,
        CASE WHEN resume_key IS NOT NULL THEN 'resume key'
             WHEN shape_error IS NOT NULL THEN shape_error
             WHEN captured_at IS NULL OR captured_at < TIMESTAMP '1900-01-01'
                  THEN 'invalid timestamp ' || coalesce(stamp, '(none)')
             WHEN given_url IS NULL AND given_key IS NULL THEN 'no URL'
             WHEN status IS NOT NULL AND status_code IS NULL THEN 'invalid status ' || status
             WHEN size IS NOT NULL AND content_length IS NULL THEN 'invalid length ' || size
        END AS reason
    FROM typed
),
placed AS (
    SELECT * EXCLUDE (plain_key, plain_host),
        -- The key is made of the URL, so that an archive and all its indexes agree. The key of the
        -- file counts where it has no URL, or something else in the place of one.
        CASE WHEN plain_key IS NOT NULL THEN plain_key
             WHEN given_url IS NULL THEN given_key
             WHEN contains(given_key, ')') AND NOT contains(given_url, ':') THEN given_key
        END AS urlkey,
        CASE WHEN plain_host IS NOT NULL THEN plain_host
             WHEN contains(given_key, ')') AND NOT contains(coalesce(given_url, ''), ':') THEN
                list_aggregate(list_reverse(string_split(trim(
                    split_part(split_part(ltrim(given_key, '('), ')', 1), ':', 1), ','), ',')),
                    'string_agg', '.')
        END AS host
    FROM ({with_plain_keys("SELECT * FROM judged")})
)
SELECT line_number, reason, resume_key,
    CASE WHEN reason IS NOT NULL THEN line END AS line,
    coalesce(given_url,
        'http://' || host || coalesce(nullif(substr(given_key, instr(given_key, ')') + 1), ''), '/')
    ) AS url,
    urlkey, domain,
    CASE WHEN contains(domain, '.') AND NOT regexp_full_match(domain, '{ADDRESS}')
         THEN split_part(domain, '.', -1) END AS tld,
    captured_at, status_code,
    -- pywb and cdxj-indexer write unk where the record has no type.
    CASE WHEN lower(type) NOT IN ('-', '', 'unk') THEN lower(type) END AS mime_type, content_length,
    {_digest("given_digest")} AS digest,
    title, language, filename, "offset", repaired
FROM (
    SELECT *,
        -- Without www., but not down to a top-level domain alone.
        nullif(CASE WHEN starts_with(host, 'www.') AND contains(substr(host, 5), '.')
                    THEN substr(host, 5) ELSE host END, '') AS domain
    FROM placed
)
"""


def _digits(stamp: str) -> str:
    """Return the 14 digits of a date as SQL; a short one means the first moment that it may mean."""
    digits = f"regexp_replace(split_part({stamp}, '.', 1), '[^0-9]', '', 'g')"
    return f"""CASE
        WHEN length({stamp}) = 14 THEN {stamp}
        WHEN regexp_full_match({stamp}, '[0-9]{{14,{_LONGEST_DATE}}}') THEN {stamp}[:14]
        WHEN regexp_full_match({stamp}, '[0-9]+') AND length({stamp}) IN (4, 6, 8, 10, 12)
            THEN {stamp} || substr('{_FIRST_MOMENT}', length({stamp}) + 1)
        WHEN regexp_full_match({stamp}, '{_ISO_DATE}')
            THEN {digits} || substr('{_FIRST_MOMENT}', length({digits}) + 1)
        END"""


def _digest(given: str) -> str:
    """Return a digest in its one form as SQL: SHA-1 in Base32 without the name of the algorithm.

    Hexadecimal SHA-1 is left to ``complete_keys``.
    """
    return f"""CASE
        WHEN NOT contains({given}, ':') THEN {given}
        WHEN lower({given}[:5]) <> 'sha1:' THEN {given}
        WHEN regexp_full_match({given}[6:], '[A-Za-z2-7]{{32}}') THEN upper({given}[6:])
        ELSE nullif({given}[6:], '') END"""
