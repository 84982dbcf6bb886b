-- name: crawl-gaps
-- description: The longest times without any capture, of one domain or of the whole archive.
-- param domain: string = null, max 253; Only this domain.
-- param min_days: number = 30, min 0; How many days a gap lasts at least.
-- param limit: integer = 100, min 1, max 1000; How many gaps.
-- param start_date: date = null; Only captures from this day on (UTC).
-- param end_date: date = null; Only captures up to this day, which is included (UTC).

WITH moments AS (
    SELECT DISTINCT captured_at
    FROM pages_analytics
    WHERE
        captured_at IS NOT NULL
        AND ($domain IS NULL OR domain = lower($domain))
        AND ($start_date IS NULL OR captured_at >= $start_date::DATE)
        AND ($end_date IS NULL OR captured_at < $end_date::DATE + INTERVAL 1 DAY)
),

gaps AS (
    SELECT lag(captured_at) OVER (ORDER BY captured_at) AS gap_start, captured_at AS gap_end
    FROM moments
)

SELECT gap_start, gap_end, date_diff('second', gap_start, gap_end) / 86400.0 AS days
FROM gaps
WHERE days >= $min_days
ORDER BY days DESC, gap_start
LIMIT $limit
