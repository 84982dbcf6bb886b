-- name: duplicate-content
-- description: Content (one digest) found under several URLs. Only captures with a 2xx status count,
--     for redirects and errors are mostly empty and so all alike.
-- param domain: string = null, max 253; Only this domain.
-- param min_urls: integer = 2, min 2; How many different URLs there must be.
-- param limit: integer = 100, min 1, max 1000; How many digests.
-- param start_date: date = null; Only captures from this day on (UTC).
-- param end_date: date = null; Only captures up to this day, which is included (UTC).

SELECT
    digest,
    count(DISTINCT url) AS urls,
    count(*) AS captures,
    coalesce(sum(content_length), 0)::BIGINT AS bytes,
    min(captured_at) AS first_captured_at,
    max(captured_at) AS last_captured_at,
    min(url) AS example_url
FROM pages_analytics
WHERE
    digest IS NOT NULL
    AND digest NOT IN ('', '-')
    AND status_code BETWEEN 200 AND 299
    AND ($domain IS NULL OR domain = lower($domain))
    AND ($start_date IS NULL OR captured_at >= $start_date::DATE)
    AND ($end_date IS NULL OR captured_at < $end_date::DATE + INTERVAL 1 DAY)
GROUP BY digest
HAVING urls >= $min_urls
ORDER BY urls DESC, captures DESC, digest
LIMIT $limit
