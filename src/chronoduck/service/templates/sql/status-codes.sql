-- name: status-codes
-- description: Captures and different URLs of each HTTP status code; null is an unknown status.
-- param domain: string = null, max 253; Only this domain.
-- param start_date: date = null; Only captures from this day on (UTC).
-- param end_date: date = null; Only captures up to this day, which is included (UTC).

SELECT
    status_code,
    count(*) AS captures,
    count(DISTINCT url) AS urls,
    100.0 * captures / sum(captures) OVER () AS share_percent
FROM pages_analytics
WHERE
    ($domain IS NULL OR domain = lower($domain))
    AND ($start_date IS NULL OR captured_at >= $start_date::DATE)
    AND ($end_date IS NULL OR captured_at < $end_date::DATE + INTERVAL 1 DAY)
GROUP BY status_code
ORDER BY captures DESC, status_code
