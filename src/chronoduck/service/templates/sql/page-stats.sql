-- name: page-stats
-- description: Captures, mean size in bytes and last capture of each domain, most captures first.
-- param limit: integer = 100, min 1, max 1000; How many domains.
-- param start_date: date = null; Only captures from this day on (UTC).
-- param end_date: date = null; Only captures up to this day, which is included (UTC).

SELECT
    domain,
    count(*) AS page_count,
    avg(content_length) AS avg_content_length,
    max(captured_at) AS last_scraped
FROM pages_analytics
WHERE
    ($start_date IS NULL OR captured_at >= $start_date::DATE)
    AND ($end_date IS NULL OR captured_at < $end_date::DATE + INTERVAL 1 DAY)
GROUP BY domain
ORDER BY page_count DESC, domain
LIMIT $limit
