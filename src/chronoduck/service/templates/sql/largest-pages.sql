-- name: largest-pages
-- description: The URLs with the most bytes, each with its largest capture.
-- param domain: string = null, max 253; Only this domain.
-- param mime_type: string = null, max 255; Only this media type, such as text/html.
-- param limit: integer = 100, min 1, max 1000; How many URLs.
-- param start_date: date = null; Only captures from this day on (UTC).
-- param end_date: date = null; Only captures up to this day, which is included (UTC).

SELECT url, content_length, mime_type, status_code, captured_at
FROM pages_analytics
WHERE
    content_length IS NOT NULL
    AND ($domain IS NULL OR domain = lower($domain))
    AND ($mime_type IS NULL OR mime_type = lower($mime_type))
    AND ($start_date IS NULL OR captured_at >= $start_date::DATE)
    AND ($end_date IS NULL OR captured_at < $end_date::DATE + INTERVAL 1 DAY)
QUALIFY row_number() OVER (PARTITION BY url ORDER BY content_length DESC, captured_at DESC) = 1
ORDER BY content_length DESC, url
LIMIT $limit
