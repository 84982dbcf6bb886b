-- The platform's operations guide, but for COPY and postgres_scan(), which have their own ways; its
-- pages have an id, ours have not.
EXPLAIN SELECT * FROM large_table WHERE date > '2024-01-01'
SELECT url, title FROM pages WHERE created_at > '2024-01-01'
SELECT domain, COUNT(*) FROM pages GROUP BY domain
SELECT current_setting('memory_limit')
SELECT * FROM large_table LIMIT 1000
SELECT domain, COUNT(*) as page_count FROM pages GROUP BY domain
SELECT * FROM pages_analytics
SELECT * FROM user_metrics
SELECT * FROM large_table
