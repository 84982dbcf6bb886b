-- name: top-domains
-- description: The domains with the most captures, different URLs or bytes, and their share.
-- param by: string = captures, in (captures, urls, bytes); What they are ordered by.
-- param tld: string = null, max 63; Only domains below this top-level domain, such as org.
-- param limit: integer = 100, min 1, max 1000; How many domains.
-- param start_date: date = null; Only captures from this day on (UTC).
-- param end_date: date = null; Only captures up to this day, which is included (UTC).

WITH domains AS (
    SELECT
        domain,
        count(*) AS captures,
        count(DISTINCT url) AS urls,
        coalesce(sum(content_length), 0)::BIGINT AS bytes,
        min(captured_at) AS first_captured_at,
        max(captured_at) AS last_captured_at,
        CASE $by WHEN 'urls' THEN urls WHEN 'bytes' THEN bytes ELSE captures END AS measure
    FROM pages_analytics
    WHERE
        ($tld IS NULL OR tld = lower($tld))
        AND ($start_date IS NULL OR captured_at >= $start_date::DATE)
        AND ($end_date IS NULL OR captured_at < $end_date::DATE + INTERVAL 1 DAY)
    GROUP BY domain
)

SELECT
    domain,
    captures,
    urls,
    bytes,
    100.0 * measure / nullif(sum(measure) OVER (), 0) AS share_percent,
    first_captured_at,
    last_captured_at
FROM domains
ORDER BY measure DESC, domain
LIMIT $limit
