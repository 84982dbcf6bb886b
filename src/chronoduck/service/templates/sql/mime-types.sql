-- name: mime-types
-- description: Captures, different URLs and bytes of each media type.
-- param domain: string = null, max 253; Only this domain.
-- param limit: integer = 100, min 1, max 1000; How many media types.
-- param start_date: date = null; Only captures from this day on (UTC).
-- param end_date: date = null; Only captures up to this day, which is included (UTC).

SELECT
    mime_type,
    count(*) AS captures,
    count(DISTINCT url) AS urls,
    100.0 * captures / sum(captures) OVER () AS share_percent,
    coalesce(sum(content_length), 0)::BIGINT AS bytes,
    avg(content_length) AS avg_content_length
FROM pages_analytics
WHERE
    ($domain IS NULL OR domain = lower($domain))
    AND ($start_date IS NULL OR captured_at >= $start_date::DATE)
    AND ($end_date IS NULL OR captured_at < $end_date::DATE + INTERVAL 1 DAY)
GROUP BY mime_type
ORDER BY captures DESC, mime_type
LIMIT $limit
