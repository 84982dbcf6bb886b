-- name: language-mix
-- description: Captures, URLs and mean length of each language; null is an unknown language.
-- param domain: string = null, max 253; Only this domain.
-- param start_date: date = null; Only captures from this day on (UTC).
-- param end_date: date = null; Only captures up to this day, which is included (UTC).

SELECT
    language,
    count(*) AS captures,
    count(DISTINCT url) AS urls,
    100.0 * captures / sum(captures) OVER () AS share_percent,
    avg(word_count) AS avg_word_count,
    avg(quality_score) AS avg_quality_score
FROM pages_analytics
WHERE
    ($domain IS NULL OR domain = lower($domain))
    AND ($start_date IS NULL OR captured_at >= $start_date::DATE)
    AND ($end_date IS NULL OR captured_at < $end_date::DATE + INTERVAL 1 DAY)
GROUP BY language
ORDER BY captures DESC, language
