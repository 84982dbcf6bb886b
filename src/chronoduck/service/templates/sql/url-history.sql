-- name: url-history
-- description: Every capture of one URL in order, and whether its content differs from the one before.
-- param url: string, min 1, max 8000; The URL as captured, or its SURT key for all its variants.
-- param limit: integer = 1000, min 1, max 10000; How many captures.
-- param start_date: date = null; Only captures from this day on (UTC).
-- param end_date: date = null; Only captures up to this day, which is included (UTC).

SELECT
    captured_at,
    url,
    status_code,
    mime_type,
    content_length,
    digest,
    digest <> lag(digest) OVER (ORDER BY captured_at, url, digest) AS is_changed,
    source
FROM pages_analytics
WHERE
    $url IN (url, urlkey)
    AND ($start_date IS NULL OR captured_at >= $start_date::DATE)
    AND ($end_date IS NULL OR captured_at < $end_date::DATE + INTERVAL 1 DAY)
ORDER BY captured_at, url, digest
LIMIT $limit
