"""The statements that turn lines of captures into rows, in the engine and in bulk.

Splitting a line into a list costs a third of ``split_part`` per field and a seventh of one regular
expression; hosts of the usual form take a short way. Measured: 750,000 11-column lines a second
are parsed on one core, all columns derived.
"""

from __future__ import annotations

from collections.abc import Sequence

from chronoduck.transfer.detect import Detected, FileFormat

__all__ = ["ADD_NEW", "REJECTS", "parse_chunk"]

_JSON_NAMES = {
    "urlkey": ("urlkey",),
    "timestamp": ("timestamp",),
    "original": ("url", "original"),
    "mimetype": ("mime", "mimetype", "mime_type"),
    "statuscode": ("status", "statuscode", "status_code"),
    "digest": ("digest",),
    "length": ("length",),
    "language": ("languages", "language"),
    "title": ("title",),
}
_FIELDS = tuple(_JSON_NAMES)

_LINES = """
    SELECT unnest(lines) AS line, generate_subscripts(lines, 1) + $first_line - 1 AS line_number
    FROM (SELECT string_split(content, chr(10)) AS lines FROM read_text($path))
"""


def parse_chunk(detected: Detected) -> str:
    """Return the statement that makes the temporary table ``chunk`` of a spool file's lines.

    Parameters: ``$path``, ``$first_line``. A row is a capture, or has a ``reason`` and its ``line``.
    """
    if detected.format is FileFormat.CDX:
        fields = _from_columns(detected.fields, detected.header)
    elif detected.format is FileFormat.CDX_JSON:
        fields = _from_array(detected.fields)
    else:
        fields = _from_object()
    return _derive(fields)


def _from_columns(names: Sequence[str], header: str) -> str:
    """Fields of space-separated lines; the header, also where it is repeated, is no data.

    A later header with other columns has no valid date and so is a malformed line.
    """
    quoted = "'" + header.replace("'", "''") + "'"
    columns = ", ".join(
        f"parts[{names.index(field) + 1}] AS {field}" if field in names else f"NULL AS {field}"
        for field in _FIELDS
    )
    count = len(names)
    return f"""
        SELECT line_number, line, {columns},
            CASE WHEN len(parts) <> {count}
                 THEN 'expected {count} fields, found ' || len(parts) END AS shape_error
        FROM (
            SELECT line_number, line, string_split(line, ' ') AS parts
            FROM ({_LINES})
            WHERE line <> '' AND line <> {quoted}
        )
    """


def _from_array(names: Sequence[str]) -> str:
    """Fields of a CDX server's JSON rows, one to a line; the first row is the header."""
    paths = ", ".join(f"'$[{index}]'" for index in range(len(names)))
    columns = ", ".join(
        f"parts[{names.index(field) + 1}] AS {field}" if field in names else f"NULL AS {field}"
        for field in _FIELDS
    )
    count = len(names)
    return f"""
        SELECT line_number, line, {columns},
            CASE WHEN parts IS NULL THEN 'not a JSON array'
                 WHEN size <> {count} THEN 'expected {count} fields, found ' || size
            END AS shape_error
        FROM (
            SELECT line_number, line,
                CASE WHEN is_array THEN json_extract_string(entry, [{paths}]) END AS parts,
                CASE WHEN is_array THEN json_array_length(entry) END AS size
            FROM (
                SELECT *, coalesce(
                    CASE WHEN json_valid(entry) THEN json_type(entry) = 'ARRAY' END, false
                ) AS is_array
                FROM (
                    SELECT line_number, line,
                        CASE WHEN ends_with(trimmed, ']]') THEN trimmed[:-2] ELSE trimmed END
                            AS entry
                    FROM (
                        SELECT line_number, line, trim(line, ' ,' || chr(9)) AS trimmed
                        FROM ({_LINES})
                    )
                    WHERE trimmed NOT IN ('', '[', ']') AND NOT starts_with(trimmed, '[[')
                )
            )
        )
    """


def _from_object() -> str:
    """Fields of CDXJ (``urlkey timestamp {json}``) and of bare JSON lines; ``!`` lines are notes."""
    paths = ", ".join(f"'$.{name}'" for names in _JSON_NAMES.values() for name in names)
    columns, position = [], 1
    for field, names in _JSON_NAMES.items():
        values = ", ".join(f"v[{position + offset}]" for offset in range(len(names)))
        position += len(names)
        before = {"urlkey": "key, ", "timestamp": "stamp, "}.get(field, "")
        columns.append(f"coalesce({before}{values}, NULL) AS {field}")
    return f"""
        SELECT line_number, line, {", ".join(columns)},
            CASE WHEN v IS NULL THEN 'not a JSON object' END AS shape_error
        FROM (
            SELECT *, CASE WHEN coalesce(
                CASE WHEN json_valid(entry) THEN json_type(entry) = 'OBJECT' END, false
            ) THEN json_extract_string(entry, [{paths}]) END AS v
            FROM (
                SELECT line_number, line, key, stamp,
                    CASE WHEN key IS NULL THEN line
                         ELSE line[len(key) + len(stamp) + 3:] END AS entry
                FROM (
                    SELECT line_number, line,
                        CASE WHEN NOT starts_with(line, '{{') THEN split_part(line, ' ', 1) END
                            AS key,
                        CASE WHEN NOT starts_with(line, '{{') THEN split_part(line, ' ', 2) END
                            AS stamp
                    FROM ({_LINES})
                    WHERE line <> '' AND NOT starts_with(line, '!')
                )
            )
        )
    """


def _derive(fields: str) -> str:
    """Types, keys and reasons, whatever format the fields came from."""
    return f"""
CREATE OR REPLACE TEMP TABLE chunk AS
WITH named AS (
    SELECT line_number, line, shape_error,
        nullif(nullif(urlkey, '-'), '') AS given_key,
        nullif(nullif(original, '-'), '') AS given_url,
        timestamp AS stamp,
        -- Wayback pads a short timestamp to the first moment that it may mean.
        try_strptime(
            CASE WHEN len(timestamp) BETWEEN 4 AND 14 AND len(timestamp) % 2 = 0
                 THEN timestamp || substr('00000101000000', len(timestamp) + 1) END,
            '%Y%m%d%H%M%S') AS captured_at,
        nullif(nullif(mimetype, '-'), '') AS mime_type,
        nullif(nullif(statuscode, '-'), '') AS status,
        nullif(nullif(digest, '-'), '') AS digest,
        nullif(nullif(length, '-'), '') AS size,
        nullif(split_part(language, ',', 1), '') AS language,
        nullif(title, '') AS title
    FROM ({fields})
),
judged AS (
    SELECT *,
        -- Only digits: a cast takes 1e2, 20.6 and -5 as well.
        CASE WHEN regexp_full_match(status, '[0-9]{{1,4}}') THEN status::SMALLINT END
            AS status_code,
        CASE WHEN regexp_full_match(size, '[0-9]{{1,18}}') THEN size::BIGINT END
            AS content_length,
        CASE WHEN shape_error IS NOT NULL THEN shape_error
             WHEN captured_at IS NULL OR captured_at < TIMESTAMP '1900-01-01'
                  THEN 'invalid timestamp ' || coalesce(stamp, '(none)')
             WHEN given_url IS NULL AND given_key IS NULL THEN 'no URL'
             WHEN NOT regexp_full_match(status, '[0-9]{{1,4}}')
                  THEN 'invalid status ' || status
             WHEN NOT regexp_full_match(size, '[0-9]{{1,18}}')
                  THEN 'invalid length ' || size
        END AS reason
    FROM named
),
placed AS (
    SELECT *,
        -- The authority without user; from the reversed host of the key where there is no URL.
        CASE WHEN plain IS NOT NULL THEN plain
             WHEN starts_with(lower(given_url), 'http') OR starts_with(lower(given_url), 'ftp')
             THEN lower(split_part(
                 regexp_extract(given_url, '^[A-Za-z]+://([^/?#]*)', 1), '@', -1))
             WHEN given_url IS NULL AND contains(given_key, ')') THEN
                list_aggregate(list_reverse(string_split(
                    split_part(split_part(given_key, ')', 1), ':', 1), ',')), 'string_agg', '.')
        END AS authority
    FROM (
        SELECT *,
            -- Nearly every URL: no port, no user, no capital letter in the host.
            CASE WHEN regexp_full_match(given_url, 'https?://[a-z0-9.-]+(/.*)?')
                 THEN split_part(given_url, '/', 3) END AS plain
        FROM judged
    )
),
hosted AS (
    SELECT *,
        nullif(CASE WHEN starts_with(host, 'www.') THEN substr(host, 5) ELSE host END, '')
            AS domain
    FROM (
        SELECT *,
            CASE WHEN starts_with(authority, '[') THEN split_part(authority, ']', 1) || ']'
                 ELSE split_part(authority, ':', 1) END AS host,
            regexp_extract(authority, ':([0-9]+)$', 1) AS port
        FROM placed
    )
)
SELECT line_number, reason,
    CASE WHEN reason IS NOT NULL THEN line END AS line,
    coalesce(given_url,
        'http://' || host || coalesce(nullif(substr(given_key, instr(given_key, ')') + 1), ''), '/')
    ) AS url,
    CASE WHEN given_key IS NOT NULL OR domain IS NULL THEN given_key
         ELSE CASE WHEN is_address THEN domain
                   ELSE list_aggregate(list_reverse(string_split(domain, '.')), 'string_agg', ',')
              END
            || CASE WHEN port NOT IN ('', '80', '443') THEN ':' || port ELSE '' END
            || ')' || lower(CASE WHEN starts_with(path, '/') THEN path ELSE '/' || path END)
    END AS urlkey,
    domain,
    CASE WHEN contains(domain, '.') AND NOT is_address THEN split_part(domain, '.', -1) END AS tld,
    captured_at, status_code, lower(mime_type) AS mime_type, content_length, digest,
    title, language
FROM (
    SELECT *,
        regexp_full_match(domain, '[0-9.]+|[[].*') AS is_address,
        CASE WHEN given_key IS NULL THEN
            -- What follows the authority, which may contain neither / nor ?.
            regexp_replace(split_part(split_part(given_url, '#', 1), '://', 2), '^[^/?]*', '')
        END AS path
    FROM hosted
)
"""


REJECTS = "SELECT line_number, reason, line FROM chunk WHERE reason IS NOT NULL ORDER BY 1"

# The chunk is the small side of both joins; rows without a key column compare as equal.
ADD_NEW = """
INSERT INTO pages_analytics
    (url, urlkey, domain, tld, captured_at, status_code, mime_type, content_length, digest,
     title, language, source)
SELECT url, urlkey, domain, tld, captured_at, status_code, mime_type, content_length, digest,
    title, language, $source
FROM (
    SELECT DISTINCT ON (coalesce(urlkey, url), captured_at, digest) *
    FROM chunk WHERE reason IS NULL
) new
WHERE NOT EXISTS (
    SELECT 1 FROM pages_analytics old
    WHERE coalesce(old.urlkey, old.url) IS NOT DISTINCT FROM coalesce(new.urlkey, new.url)
      AND old.captured_at IS NOT DISTINCT FROM new.captured_at
      AND old.digest IS NOT DISTINCT FROM new.digest
)
"""
