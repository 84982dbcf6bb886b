-- name: dead-links
-- description: URLs whose last known status is 4xx or 5xx, or that never answered with 2xx.
-- param domain: string = null, max 253; Only this domain.
-- param limit: integer = 100, min 1, max 10000; How many URLs.

SELECT
    url,
    arg_max(status_code, (captured_at, status_code)) AS last_status,
    max(captured_at) AS last_captured_at,
    max(captured_at) FILTER (status_code BETWEEN 200 AND 299) AS last_success_at,
    count(*) AS captures
FROM pages_analytics
WHERE
    status_code IS NOT NULL
    AND captured_at IS NOT NULL
    AND ($domain IS NULL OR domain = lower($domain))
GROUP BY url
HAVING last_status >= 400 OR last_success_at IS NULL
ORDER BY last_captured_at DESC, url
LIMIT $limit
