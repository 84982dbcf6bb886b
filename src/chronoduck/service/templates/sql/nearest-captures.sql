-- name: nearest-captures
-- description: The captures of one URL that are nearest to a moment, before or after it.
-- param url: string, min 1, max 8000; The URL as captured, or its SURT key for all its variants.
-- param at: timestamp; The moment; without an offset it is UTC.
-- param limit: integer = 5, min 1, max 1000; How many captures.

SELECT
    captured_at,
    date_diff('second', $at::TIMESTAMP, captured_at) AS seconds_off,
    url,
    status_code,
    mime_type,
    content_length,
    digest,
    source
FROM pages_analytics
WHERE
    $url IN (url, urlkey)
    AND captured_at IS NOT NULL
ORDER BY abs(seconds_off), captured_at, url, digest
LIMIT $limit
