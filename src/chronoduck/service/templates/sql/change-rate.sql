-- name: change-rate
-- description: How often the content of one URL changed. A change is a digest that differs from the
--     capture before; redirects, errors and captures without a digest do not count.
-- param url: string, min 1, max 8000; The URL as captured, or its SURT key for all its variants.
-- param start_date: date = null; Only captures from this day on (UTC).
-- param end_date: date = null; Only captures up to this day, which is included (UTC).

WITH steps AS (
    SELECT
        captured_at,
        digest,
        digest <> lag(digest) OVER (ORDER BY captured_at, digest) AS is_change
    FROM pages_analytics
    WHERE
        $url IN (url, urlkey)
        AND captured_at IS NOT NULL
        AND digest IS NOT NULL
        AND digest NOT IN ('', '-')
        AND coalesce(status_code, 200) BETWEEN 200 AND 299
        AND ($start_date IS NULL OR captured_at >= $start_date::DATE)
        AND ($end_date IS NULL OR captured_at < $end_date::DATE + INTERVAL 1 DAY)
)

SELECT
    count(*) AS captures,
    count(DISTINCT digest) AS distinct_digests,
    count(*) FILTER (is_change) AS changes,
    100.0 * changes / nullif(captures - 1, 0) AS change_percent,
    min(captured_at) AS first_captured_at,
    max(captured_at) AS last_captured_at,
    max(captured_at) FILTER (is_change) AS last_changed_at,
    date_diff('second', min(captured_at) FILTER (is_change), last_changed_at)
        / 86400.0 / nullif(changes - 1, 0) AS mean_days_between_changes
FROM steps
HAVING captures > 0
