-- name: captures-per-month
-- description: How the archive grew: captures, domains, URLs and URLs never captured before.
-- param domain: string = null, max 253; Only this domain.
-- param start_date: date = null; Only captures from this day on (UTC).
-- param end_date: date = null; Only captures up to this day, which is included (UTC).

WITH firsts AS (
    SELECT url, min(captured_at) AS first_captured_at
    FROM pages_analytics
    WHERE ($domain IS NULL OR domain = lower($domain))
    GROUP BY url
),

growth AS (
    SELECT date_trunc('month', first_captured_at)::DATE AS month, count(*) AS new_urls
    FROM firsts
    WHERE
        ($start_date IS NULL OR first_captured_at >= $start_date::DATE)
        AND ($end_date IS NULL OR first_captured_at < $end_date::DATE + INTERVAL 1 DAY)
    GROUP BY month
),

months AS (
    SELECT
        date_trunc('month', captured_at)::DATE AS month,
        count(*) AS captures,
        count(DISTINCT domain) AS domains,
        count(DISTINCT url) AS urls
    FROM pages_analytics
    WHERE
        captured_at IS NOT NULL
        AND ($domain IS NULL OR domain = lower($domain))
        AND ($start_date IS NULL OR captured_at >= $start_date::DATE)
        AND ($end_date IS NULL OR captured_at < $end_date::DATE + INTERVAL 1 DAY)
    GROUP BY month
)

SELECT month, captures, domains, urls, coalesce(new_urls, 0) AS new_urls
FROM months
LEFT JOIN growth USING (month)
ORDER BY month
