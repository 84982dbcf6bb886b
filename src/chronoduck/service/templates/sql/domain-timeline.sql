-- name: domain-timeline
-- description: Captures, different URLs and bytes of one domain over time.
-- param domain: string, min 1, max 253; The domain.
-- param period: string = month, in (day, week, month, year); The length of a step.
-- param start_date: date = null; Only captures from this day on (UTC).
-- param end_date: date = null; Only captures up to this day, which is included (UTC).

SELECT
    date_trunc($period, captured_at)::DATE AS period_start,
    count(*) AS captures,
    count(DISTINCT url) AS urls,
    coalesce(sum(content_length), 0)::BIGINT AS bytes,
    count(*) FILTER (status_code >= 400) AS errors
FROM pages_analytics
WHERE
    domain = lower($domain)
    AND captured_at IS NOT NULL
    AND ($start_date IS NULL OR captured_at >= $start_date::DATE)
    AND ($end_date IS NULL OR captured_at < $end_date::DATE + INTERVAL 1 DAY)
GROUP BY period_start
ORDER BY period_start
