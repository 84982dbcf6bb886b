"""The rows of docs/guide.md, in the order of the guide."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from pathlib import Path

import httpx2
from fastapi import FastAPI

from app.services import duckdb_service as platform
from chronoduck.api import create_app
from chronoduck.assembly import DuckDBService
from chronoduck.engine.memory import memory_budget
from chronoduck.settings import load_settings
from tests.docs.documents import REPOSITORY
from tests.docs.guide.checks import (
    ask,
    follow,
    in_python,
    needs_role,
    refused,
    rule,
    run,
    service_claim,
    setting,
    shows_json,
    sql,
)
from tests.docs.guide.row import Check, Row, Verdict
from tests.docs.machine import Machine

__all__ = ["ROWS"]

W, A, D = Verdict.WORKS, Verdict.WORKS_AS, Verdict.DIFFERENT
HTTP = "http://localhost:8000/api/v1/duckdb"
TOKEN = '-H "Authorization: Bearer $(cat /var/lib/duckdb/admin.token)"'
RESET = f"curl -s -X POST {TOKEN} {HTTP}/circuit-breaker/reset"
ENV = "systemd hands the environment of `/etc/chronoduck/duckdb.env` to the service, not a shell's"
SAMPLE = "SELECT domain, COUNT(*) FROM pages GROUP BY domain"


def fact(look: Callable[[], bool]) -> Check:
    """What the sentence says of the classes is so."""

    def check(machine: Machine, row: Row) -> None:
        assert look()

    return check


def _is_async() -> bool:
    names = ("initialize", "execute_query", "execute_batch", "health_check", "shutdown")
    return all(inspect.iscoroutinefunction(getattr(platform.DuckDBService, n)) for n in names)


def _breaker_opens_and_closes() -> bool:
    breaker = platform.CircuitBreaker("guide", platform.CircuitBreakerConfig())
    breaker.force_open("the test says so")
    is_open = breaker.get_status()["state"] == "open"
    breaker.reset()
    return bool(is_open and breaker.get_status()["state"] == "closed")


def _takes_its_share() -> bool:
    budget = memory_budget(load_settings(memory_limit="1000TB", max_memory_percentage=60))
    return abs(budget.limit_bytes - 0.6 * budget.total_bytes) < 1_000_000


def _routes_alerts() -> bool:
    return "receivers:" in (REPOSITORY / "deploy/prometheus/alertmanager.yml").read_text()


async def _many_at_once(service: DuckDBService) -> None:
    asked = [
        asyncio.create_task(service.execute_query(f"SELECT {n}, count(*) FROM range(1000000)"))
        for n in range(50)
    ]
    turns = 0
    while not all(each.done() for each in asked):
        await asyncio.sleep(0)  # the event loop goes on while statements run
        turns += 1
    assert turns > 50
    assert [each.result().data for each in asked] == [[(n, 1_000_000)] for n in range(50)]


async def _parquet_and_json(service: DuckDBService) -> None:
    found = (await service.health_check())["extensions"]
    assert set(found) >= {"parquet", "json", "httpfs"}


async def _copy(service: DuckDBService) -> None:
    directory = Path(service.settings.allowed_directories[0])
    for table in ("pages_analytics", "user_metrics", "large_table"):
        await service.execute_query(f"CREATE TABLE {table} AS SELECT range AS a FROM range(10)")
        target = directory / f"{table}.parquet"
        await service.execute_query(f"COPY (SELECT * FROM {table}) TO '{target}' (FORMAT PARQUET);")
        assert target.read_bytes()[:4] == b"PAR1"


def _exports(machine: Machine) -> str:
    directory = machine.root / "exports"
    directory.mkdir(exist_ok=True)
    return str(directory)


async def _initialize_twice(service: DuckDBService) -> None:
    await service.initialize()
    assert (await service.execute_query("SELECT 42")).data == [(42,)]


async def _uses_memory(service: DuckDBService) -> None:
    result = await service.execute_query("SELECT list(range) FROM range(1000000)")
    assert result.memory_usage > 1


async def _meilisearch(service: DuckDBService) -> None:
    await service.execute_query("CREATE TABLE pages AS SELECT 'example.com' AS domain")
    duckdb_service = service
    results = await duckdb_service.execute_query(
        "SELECT domain, COUNT(*) as page_count FROM pages GROUP BY domain"
    )
    documents = [dict(zip(results.columns, row, strict=True)) for row in results.data]
    assert documents == [{"domain": "example.com", "page_count": 1}]


async def _is_fastapi(service: DuckDBService) -> None:
    app = create_app(service)
    assert isinstance(app, FastAPI)
    assert "/api/v1/duckdb/query" in app.openapi()["paths"]


def _all_need_credentials(machine: Machine, row: Row) -> None:
    root = f"http://localhost:{machine.port}/api/v1/duckdb"
    with httpx2.Client(trust_env=False) as client:
        for path in ("query", "batch", "explain"):
            assert client.post(f"{root}/{path}", json={"query": "SELECT 1"}).status_code == 401
        for path in ("tables", "templates", "queries"):
            assert client.get(f"{root}/{path}").status_code == 401


def _refuses_nonsense(machine: Machine, row: Row) -> None:
    with machine.client() as client:
        assert client.post("/query", json={"query": 5}).status_code == 422
        assert client.post("/query", json={"query": "SELECT 1; SELECT 2"}).status_code == 403
        assert client.post("/query", json={"query": "COPY pages TO '/x'"}).status_code == 403


def _binds(machine: Machine, row: Row) -> None:
    body = {"query": "SELECT $name AS name", "params": {"name": "'; DROP TABLE pages; --"}}
    with machine.client() as client:
        assert client.post("/query", json=body).json()["data"] == [["'; DROP TABLE pages; --"]]


# fmt: off
ROWS: list[Row] = [
    Row((10, 10), "- **DuckDBService**: Main service class with async operations", W, "", fact(_is_async)),
    Row((11, 11), "- **ConnectionPool**: Thread-safe connection management", W, "importable from `app.services.duckdb_service`", fact(lambda: callable(platform.ConnectionPool))),
    Row((12, 12), "- **CircuitBreaker**: Resilience pattern for fault tolerance", W, "importable likewise", fact(_breaker_opens_and_closes)),
    Row((13, 13), "- **API Endpoints**: FastAPI integration for query execution and monitoring", W, "`create_app`, and `create_router` for an application of your own", in_python(_is_fastapi)),
    Row((16, 16), "- Thread-safe async operations via ThreadPoolExecutor", W, "statements never run on the event loop", in_python(_many_at_once)),
    Row((17, 17), "- Connection pooling with lifecycle management", W, "", ask("/health", ".connection_pool.connections_opened", ".connection_pool.connections_closed")),
    Row((18, 18), "- Circuit breaker pattern for service resilience", W, "", ask("/health", ".circuit_breaker.state", ".circuit_breaker.config.failure_threshold")),
    Row((19, 19), "- Comprehensive error handling and monitoring", W, "every error is RFC 9457", ask("/statistics", ".metrics.failed_queries")),
    Row((20, 20), "- Memory optimization and resource management", W, "", ask("/statistics", ".service.memory_limit", ".disk.free_bytes")),
    Row((21, 21), "- Extension support (Parquet, JSON, HTTP, S3)", A, "Parquet and JSON are built in; `s3://` with `DUCKDB_ENABLE_S3=true`, by httpfs, or without it by a process of the service that fetches the objects; `http://` addresses in statements are refused: a redirect leads anywhere", in_python(_parquet_and_json)),
    Row((22, 22), "- Health checks and performance metrics", W, "", ask("/templates/performance-metrics", ".query_performance.success_rate")),
    Row((30, 30), 'DUCKDB_DATABASE_PATH="/var/lib/duckdb/chrono_analytics.db"', W, "the default", setting("database_path", "/var/lib/duckdb/chrono_analytics.db")),
    Row((31, 31), 'DUCKDB_MEMORY_LIMIT="4GB"', W, "the default", setting("memory_limit", 4_000_000_000)),
    Row((32, 32), "DUCKDB_WORKER_THREADS=4", W, "the default", setting("worker_threads", 4)),
    Row((33, 33), 'DUCKDB_TEMP_DIRECTORY="/tmp/duckdb"', W, "the default", setting("temp_directory", "/tmp/duckdb")),
    Row((34, 34), "DUCKDB_MAX_MEMORY_PERCENTAGE=60", W, "the default", setting("max_memory_percentage", 60.0)),
    Row((37, 37), "DUCKDB_ENABLE_S3=false", W, "the default", setting("enable_s3", False)),
    Row((38, 38), 'AWS_ACCESS_KEY_ID=""', W, "the default", setting("aws_access_key_id", None)),
    Row((39, 39), 'AWS_SECRET_ACCESS_KEY=""', W, "the default", setting("aws_secret_access_key", None)),
    Row((40, 40), 'AWS_DEFAULT_REGION="us-east-1"', W, "the default", setting("aws_default_region", "us-east-1")),
    Row((43, 43), 'PARQUET_COMPRESSION="ZSTD"', W, "the default", setting("parquet_compression", "ZSTD")),
    Row((44, 44), "PARQUET_ROW_GROUP_SIZE=1000000", W, "the default", setting("parquet_row_group_size", 1_000_000)),
    Row((45, 45), "PARQUET_PAGE_SIZE=1048576", W, "the default", setting("parquet_page_size", 1_048_576)),
    Row((46, 46), "PARQUET_ENABLE_DICTIONARY=true", W, "the default", setting("parquet_enable_dictionary", True)),
    Row((51, 51), "- Uses percentage-based allocation (default: 60% of available RAM)", A, "60 % of what the *container* may use", fact(_takes_its_share)),
    Row((52, 52), "- Respects configured memory limits", W, "the smaller of limit and percentage", service_claim(lambda _, s: s["service"]["memory_limit_bytes"] <= 500_000_000)),
    Row((53, 53), "- Monitors memory usage during query execution", W, "`memory_usage` of each result, in MB", in_python(_uses_memory)),
    Row((60, 60), "mkdir -p /var/lib/duckdb", W, "", run()),
    Row((61, 61), "chown -R app:app /var/lib/duckdb", W, "the user is `app` in the image, and with `chronoduck install --systemd --user app`, else `chronoduck`; the tests run with their own", run(instead='chown -R "$(id -un):$(id -gn)" /var/lib/duckdb')),
    Row((64, 64), "mkdir -p /tmp/duckdb", W, "", run()),
    Row((65, 65), "chmod 755 /tmp/duckdb", W, "the service keeps a folder of mode 0700 in it: spill files hold users' data", run(instead="chmod 755 /tmp/duckdb && systemctl restart chrono-scraper")),
    Row((70, 70), "from app.services.duckdb_service import get_duckdb_service", W, "in the repository and the image; the wheel has `chronoduck.assembly`", fact(lambda: inspect.iscoroutinefunction(platform.get_duckdb_service))),
    Row((73, 73), "service = await get_duckdb_service()", W, "opens on first use, once; the README's example runs it", in_python(_initialize_twice)),
    Row((76, 76), "await service.initialize()", W, "opening twice does nothing", in_python(_initialize_twice)),
    Row((88, 90), 'DB_PATH="/var/lib/duckdb/chrono_analytics.db"\nBACKUP_DIR="/backups/duckdb/$(date +%Y%m%d)"\nmkdir -p "$BACKUP_DIR"', W, "", part="file backup"),
    Row((94, 94), 'cp "$DB_PATH" "$BACKUP_DIR/chrono_analytics_$(date +%Y%m%d_%H%M%S).db"', A, "while the service is stopped, as the comment above it asks; while it writes: `chronoduck backup create`, for a copy under way is torn", part="file backup", instead='systemctl stop chrono-scraper\ncp "$DB_PATH" "$BACKUP_DIR/chrono_analytics_$(date +%Y%m%d_%H%M%S).db"\nsystemctl start chrono-scraper'),
    Row((97, 97), 'gzip "$BACKUP_DIR/chrono_analytics_"*.db', W, "", part="file backup"),
    Row((100, 100), 'find /backups/duckdb -type f -name "*.gz" -mtime +30 -delete', W, "the service does it too: `DUCKDB_BACKUP_KEEP_DAYS=30`", part="file backup"),
    Row((106, 106), "COPY (SELECT * FROM pages_analytics) TO '/backups/pages_analytics.parquet' (FORMAT PARQUET);", A, "in Python, with the directory in `DUCKDB_ALLOWED_DIRECTORIES`; over HTTP it is refused, for it could overwrite any file of the service: `format=parquet` of `POST query`, `chronoduck query --output`, `chronoduck backup create --tables`", refused("statement_refused", 403, in_python(_copy, allowed_directories=_exports))),
    Row((107, 107), "COPY (SELECT * FROM user_metrics) TO '/backups/user_metrics.parquet' (FORMAT PARQUET);", A, "likewise", refused("statement_refused", 403, run(instead='chronoduck query --output /tmp/duckdb/user_metrics.parquet "SELECT * FROM user_metrics" && head -c 4 /tmp/duckdb/user_metrics.parquet', shows="PAR1"))),
    Row((120, 120), "systemctl stop chrono-scraper", W, "with a stand-in for systemd; the unit is checked by systemd-analyze", part="corruption"),
    Row((123, 123), "cd /var/lib/duckdb", W, "", part="corruption"),
    Row((124, 124), "cp /backups/duckdb/latest/chrono_analytics.db.gz .", A, "with `DUCKDB_BACKUP_FORMAT=gz`; the default is `.db.zst`", part="corruption"),
    Row((125, 125), "gunzip chrono_analytics.db.gz", A, "after the damaged file and its `.wal` are moved away: gunzip overwrites nothing, and DuckDB would replay the old log. `chronoduck recover` does all of it, and loses less", part="corruption", instead="mv chrono_analytics.db chrono_analytics.db.corrupt\nrm -f chrono_analytics.db.wal\ngunzip chrono_analytics.db.gz"),
    Row((128, 128), "systemctl start chrono-scraper", A, "with a replica `chronoduck replication adopt` first: the older file is meant", part="corruption", instead="chronoduck replication adopt\nsystemctl start chrono-scraper"),
    Row((131, 131), f"curl {HTTP}/health", W, "", part="corruption"),
    Row((137, 137), f"curl {HTTP}/statistics | jq '.system'", W, "", shows_json("process_memory_mb", "process_memory_percent")),
    Row((140, 140), 'export DUCKDB_MEMORY_LIMIT="2GB"', A, f"{ENV}: `echo DUCKDB_MEMORY_LIMIT=2GB >> /etc/chronoduck/duckdb.env`. As written for a service that is started from that shell", part="memory", instead="echo DUCKDB_MEMORY_LIMIT=2GB >> /etc/chronoduck/duckdb.env"),
    Row((141, 141), "systemctl restart chrono-scraper", W, "with a stand-in for systemd", part="memory"),
    Row((144, 144), f"curl -X POST {HTTP}/circuit-breaker/reset", D, "needs the admin token, or `chronoduck breaker reset`: anybody could hide a failing disk otherwise", needs_role(RESET, "closed")),
    Row((152, 152), f"curl {HTTP}/health", W, "", shows_json("status", "connection_pool", "circuit_breaker")),
    Row((155, 155), f"curl {HTTP}/statistics", W, "", shows_json("system", "performance", "query_analysis")),
    Row((158, 158), f"curl {HTTP}/templates/performance-metrics", W, "", shows_json("query_performance", "circuit_breaker")),
    Row((164, 164), "- Service initialization status", W, "`.service_initialized`", ask("/health", ".service_initialized")),
    Row((165, 165), "- Database file existence and size", W, "`.database_exists`, `.database_size_mb`", ask("/health", ".database_exists", ".database_size_mb")),
    Row((166, 166), "- Circuit breaker state", W, "`.circuit_breaker.state`", ask("/health", ".circuit_breaker.state")),
    Row((167, 167), "- Connection pool utilization", W, "`.connection_pool`, `duckdb_pool_connections`", ask("/health", ".connection_pool.in_use", ".connection_pool.max_connections")),
    Row((170, 170), "- Query success rate (target: >99%)", W, "`.metrics.success_rate`; two alerts hold it against 99 %", ask("/statistics", ".metrics.success_rate", ".performance.success_rate")),
    Row((171, 171), "- Average query execution time (target: <1s)", W, "`.metrics.avg_query_time`, `duckdb_avg_query_time`", ask("/statistics", ".metrics.avg_query_time", ".performance.avg_query_time")),
    Row((172, 172), "- Memory usage percentage (alert: >80%)", W, "`.system.process_memory_percent`; `DuckDBHighMemoryUsage` is the alert", ask("/statistics", ".system.process_memory_percent")),
    Row((173, 173), "- System resource utilization", W, "`.system`", ask("/statistics", ".system.cpu_percent", ".system.disk_usage_percent")),
    Row((178, 182), "- alert: DuckDBServiceDown\n  expr: duckdb_service_health == 0\n  for: 30s\n  labels:\n    severity: critical", W, "", rule("alert: DuckDBServiceDown expr: duckdb_service_health == 0 for: 30s labels: severity: critical")),
    Row((184, 188), "- alert: DuckDBHighMemoryUsage\n  expr: duckdb_memory_usage_percent > 90\n  for: 2m\n  labels:\n    severity: warning", A, "the guide's prose says 80 %: a warning from 80 % on, and `DuckDBMemoryCritical` from 90 % on. The rule as written works too", rule("alert: DuckDBMemoryCritical expr: duckdb_memory_usage_percent > 90 for: 2m labels: severity: critical")),
    Row((190, 194), "- alert: DuckDBSlowQueries\n  expr: duckdb_avg_query_time > 5\n  for: 5m\n  labels:\n    severity: warning", W, "", rule("alert: DuckDBSlowQueries expr: duckdb_avg_query_time > 5 for: 5m labels: severity: warning")),
    Row((196, 200), '- alert: DuckDBCircuitBreakerOpen\n  expr: duckdb_circuit_breaker_state == "open"\n  for: 1m\n  labels:\n    severity: warning', A, '`duckdb_circuit_breaker_state{state="open"} == 1`: PromQL cannot compare with a text, Prometheus refuses the rule as written', rule('alert: DuckDBCircuitBreakerOpen expr: duckdb_circuit_breaker_state{state="open"} == 1 for: 1m labels: severity: warning', is_valid=False)),
    Row((211, 211), f"curl -s {HTTP}/health | jq '.status'", W, "`chronoduck maintenance daily` does the round", run('^"(healthy|degraded)"')),
    Row((214, 214), "du -sh /var/lib/duckdb/", W, "", run(r"^[\d.]+[KMG]")),
    Row((217, 217), "find /tmp/duckdb -size +100M -ls", W, "", run()),
    Row((220, 220), r'find /var/log/chrono-scraper -name "*duckdb*" -mtime +7 -exec gzip {} \;', W, "with `DUCKDB_LOG_FILE`; the service rotates the file by itself. The test ages a file", run(instead="touch -d '8 days ago' /var/log/chrono-scraper/duckdb.log.5\n" r'find /var/log/chrono-scraper -name "*duckdb*" -mtime +7 -exec gzip {} \;' "\nls /var/log/chrono-scraper", shows=r"duckdb.log.5.gz")),
    Row((229, 230), f"curl -s {HTTP}/statistics | \\\n    jq '.query_analysis.queries_over_5s'", W, "", run(r"^\d+$")),
    Row((234, 234), "psql -c \"SELECT pg_size_pretty(pg_database_size('chrono_scraper'));\"", D, "it asks the platform's PostgreSQL, not this service: not run. The optimization that its comment speaks of is `chronoduck compact`, and `VACUUM` is taken", sql(statement="VACUUM")),
    Row((237, 237), "ls -la /backups/duckdb/ | tail -10", W, "", run("latest")),
    Row((246, 247), 'latest_backup=$(ls -t /backups/duckdb/*/chrono_analytics_*.db.gz | head -1)\ngunzip -t "$latest_backup" && echo "Backup integrity OK"', A, "with `DUCKDB_BACKUP_FORMAT=gz`; `chronoduck backup verify latest` restores it and reads every column", run("Backup integrity OK")),
    Row((250, 250), f"curl -s {HTTP}/statistics > /tmp/duckdb_stats.json", W, "", run()),
    Row((253, 254), "df -h /var/lib/duckdb\ndu -sh /var/lib/duckdb/chrono_analytics.db", W, "`chronoduck capacity` tells how long it lasts", run("Use%")),
    Row((261, 262), "# Connection pool is automatically managed\n# Monitor pool status via health endpoint", W, "", ask("/health", ".connection_pool")),
    Row((265, 267), "# - total_connections\n# - available_connections  \n# - max_connections (default: worker_threads * 2)", W, "`DUCKDB_MAX_CONNECTIONS` sets another number", service_claim(lambda h, s: h["connection_pool"]["max_connections"] == 2 * s["service"]["worker_threads"] and {"total_connections", "available_connections"} <= set(h["connection_pool"]))),
    Row((273, 274), f"curl -s {HTTP}/health | \\\n    jq '.connection_pool'", W, "", shows_json("total_connections", "available_connections", "max_connections")),
    Row((277, 279), "# 1. Check for long-running queries\n# 2. Increase worker threads if needed\n# 3. Restart service to reset pool", A, "`chronoduck top --once` and `chronoduck kill ID`; 2 and 3 as written: [pool-exhausted](runbooks/pool-exhausted.md)", run("running", instead="chronoduck top --once")),
    Row((287, 287), "EXPLAIN SELECT * FROM large_table WHERE date > '2024-01-01';", W, "also `POST explain`", sql("physical_plan|explain_value")),
    Row((293, 293), "SELECT id, title FROM pages WHERE created_at > '2024-01-01';", A, "on a table that has `id`; the shipped view `pages` has none: `SELECT url, title FROM pages WHERE created_at > '2024-01-01'`", sql('"columns":\\["url","title"\\]', statement="SELECT url, title FROM pages WHERE created_at > '2024-01-01'")),
    Row((296, 296), f"{SAMPLE};", W, "", sql("twitter.com")),
    Row((302, 302), "SELECT current_setting('memory_limit');", W, "of settings only harmless ones are told; others hold secrets and paths", sql("MiB|GiB")),
    Row((305, 305), "SELECT * FROM large_table LIMIT 1000;", W, "", sql('"row_count":1000')),
    Row((308, 308), "COPY (SELECT * FROM large_table) TO '/path/to/output.parquet' (FORMAT PARQUET);", A, "as the `COPY` above", refused("statement_refused", 403, in_python(_copy, allowed_directories=_exports))),
    Row((318, 318), "ls -la /var/lib/duckdb/chrono_analytics.db", W, "`chronoduck doctor` looks at these, and at the rest", run("-rw-r-----")),
    Row((321, 321), "ls -ld /tmp/duckdb", W, "", run("^drwx")),
    Row((324, 324), "tail -f /var/log/chrono-scraper/duckdb.log", W, "with `DUCKDB_LOG_FILE`, which the unit sets; ended by the test", follow("execution_time")),
    Row((330, 330), f"curl -s {HTTP}/statistics | jq '.system'", W, "", shows_json("process_memory_mb")),
    Row((333, 333), 'export DUCKDB_MEMORY_LIMIT="2GB"', A, "as above", part="memory", instead=""),
    Row((336, 336), 'tail -f /var/log/chrono-scraper/duckdb.log | grep "memory"', W, "each statement's line has `memory_mb`", follow("memory_mb")),
    Row((342, 342), f"curl -s {HTTP}/statistics | jq '.performance'", W, "", shows_json("success_rate", "avg_query_time", "recent_query_times")),
    Row((345, 345), r'grep "execution_time.*[5-9]\." /var/log/chrono-scraper/duckdb.log', W, "the test writes a line of 7.25 s into the log", run("slow", instead="echo '{\"event\":\"slow\",\"execution_time\":7.25}' >> /var/log/chrono-scraper/duckdb.log\n" r'grep "execution_time.*[5-9]\." /var/log/chrono-scraper/duckdb.log')),
    Row((351, 351), f"curl -s {HTTP}/health | jq '.circuit_breaker'", W, "", shows_json("name", "state", "failure_count")),
    Row((354, 354), f"curl -X POST {HTTP}/circuit-breaker/reset", D, "as above", needs_role("chronoduck breaker reset", "closed")),
    Row((362, 362), "chown app:app /var/lib/duckdb/chrono_analytics.db", W, "the user is `app` in the image, and with `chronoduck install --systemd --user app`, else `chronoduck`; the tests run with their own", run(instead='chown "$(id -un):$(id -gn)" /var/lib/duckdb/chrono_analytics.db')),
    Row((363, 363), "chmod 640 /var/lib/duckdb/chrono_analytics.db", W, "the service makes it so, and refuses to open one that others may change", run()),
    Row((366, 366), "chmod 755 /tmp/duckdb", W, "", run()),
    Row((370, 370), "- All query endpoints require authentication", W, "401 without a token", _all_need_credentials),
    Row((371, 371), "- Health checks are public for monitoring", W, "no SQL and no path in them", ask("/health", ".status")),
    Row((372, 372), "- Input validation on all queries", W, "one statement, judged by the role of who sends it", _refuses_nonsense),
    Row((373, 373), "- SQL injection protection via parameterized queries", W, "`params`", _binds),
    Row((378, 379), "gpg --cipher-algo AES256 --compress-algo 1 --symmetric \\\n    chrono_analytics_backup.db.gz", W, "the test gives the passphrase on the command line; `DUCKDB_BACKUP_GPG_PASSPHRASE_FILE` and `DUCKDB_BACKUP_AGE_RECIPIENT` have the service do it", run("gpg$", instead="export GNUPGHOME=$HOME/gnupg; mkdir -p -m 700 $GNUPGHOME; cd /tmp/duckdb; cp /backups/duckdb/latest/chrono_analytics.db.gz chrono_analytics_backup.db.gz\ngpg --batch --yes --pinentry-mode loopback --passphrase x --cipher-algo AES256 --compress-algo 1 --symmetric \\\n    chrono_analytics_backup.db.gz\nls chrono_analytics_backup.db.gz.gpg")),
    Row((387, 388), "CREATE TABLE pages_sync AS \nSELECT * FROM postgres_scan('host=postgres dbname=chrono_scraper user=app', 'pages');", D, "refused: it reaches past the file that the service guards, and its connection is anybody's. `chronoduck sync` reads it, by schedule if wanted: see [Syncs](sync.md)", refused("statement_refused", 403)),
    Row((394, 396), 'results = await duckdb_service.execute_query(\n    "SELECT domain, COUNT(*) as page_count FROM pages GROUP BY domain"\n)', W, "`results.columns` and `results.data` make the documents", in_python(_meilisearch)),
    Row((403, 403), "- Base database: ~100MB for 1M pages", A, "`chronoduck capacity` tells what a million rows take here", run("100 MB", instead="chronoduck capacity")),
    Row((404, 404), "- Indexes: ~20% of data size", A, "the shipped tables have none", sql('"data":\\[\\[0\\]\\]', statement="SELECT count(*) FROM duckdb_indexes()")),
    Row((405, 405), "- Temp space: 2x memory limit during large operations", W, "the cap: `DUCKDB_MAX_TEMP_SIZE`", run("2 x the memory limit", instead="chronoduck capacity")),
    Row((406, 406), "- Backup storage: 3x database size (compressed, retained)", A, "`chronoduck capacity` tells the size of yours", run("3 x the file", instead="chronoduck capacity")),
    Row((409, 409), "- Base: 512MB minimum", W, "`chronoduck doctor` warns below it", run("512 MB", instead="chronoduck doctor || true")),
    Row((410, 412), "- Per 1M rows: ~200MB additional\n- Query processing: 2-4x data size being processed\n- Buffer pool: 60% of available RAM (configurable)", A, "the engine takes what `.service.memory_limit` says and no more, and spills then", service_claim(lambda _, s: s["service"]["memory_limit_bytes"] == 500_000_000)),
    Row((415, 417), "- Base: 2 cores minimum\n- Parallel processing: 1 core per worker thread\n- Query complexity affects CPU usage", A, "one core works; `DUCKDB_WORKER_THREADS` statements share what there is", run("CPUs; 4 statements run at a time", instead="chronoduck doctor || true")),
    Row((424, 424), f"1. Check health endpoint: `curl {HTTP}/health`", W, "[service-down](runbooks/service-down.md)", part="service down", instead=f"curl {HTTP}/health || true"),
    Row((425, 425), "2. Check logs: `tail -50 /var/log/chrono-scraper/duckdb.log`", W, "", part="service down", instead="tail -50 /var/log/chrono-scraper/duckdb.log"),
    Row((426, 426), "3. Restart service: `systemctl restart chrono-scraper`", W, "", part="service down", instead="systemctl restart chrono-scraper"),
    Row((427, 427), f"4. Verify recovery: `curl {HTTP}/health`", W, "", part="service down", instead=f"curl {HTTP}/health"),
    Row((430, 430), "1. Stop service: `systemctl stop chrono-scraper`", W, "[database-corrupt](runbooks/database-corrupt.md)", part="emergency corruption", instead="systemctl stop chrono-scraper\ncd /var/lib/duckdb"),
    Row((431, 431), "2. Backup corrupted file: `mv chrono_analytics.db chrono_analytics.db.corrupt`", A, "and its `.wal` with it", part="emergency corruption", instead="mv chrono_analytics.db chrono_analytics.db.corrupt\nrm -f chrono_analytics.db.wal"),
    Row((432, 432), "3. Restore from backup: `cp /backups/latest/chrono_analytics.db.gz . && gunzip chrono_analytics.db.gz`", A, "the guide has `/backups/duckdb/latest` elsewhere: the directory is `DUCKDB_BACKUP_DIR`, and the format `DUCKDB_BACKUP_FORMAT=gz`. `chronoduck recover` does 2 and 3", part="emergency corruption", instead="cp /backups/duckdb/latest/chrono_analytics.db.gz . && gunzip chrono_analytics.db.gz\nchronoduck replication adopt"),
    Row((433, 433), "4. Start service: `systemctl start chrono-scraper`", W, "", part="emergency corruption", instead="systemctl start chrono-scraper"),
    Row((434, 434), f"5. Verify: `curl {HTTP}/health`", W, "", part="emergency corruption", instead=f"curl {HTTP}/health"),
    Row((437, 437), "1. Check memory usage: `free -h && docker stats`", W, "`docker stats` needs a container engine and is not run; [memory](runbooks/memory.md)", run("Mem:", instead="free -h")),
    Row((438, 438), '2. Reduce DuckDB memory limit: `export DUCKDB_MEMORY_LIMIT="1GB"`', A, "as above", part="memory exhaustion", instead="echo DUCKDB_MEMORY_LIMIT=1GB >> /etc/chronoduck/duckdb.env"),
    Row((439, 439), "3. Restart service: `systemctl restart chrono-scraper`", W, "", part="memory exhaustion", instead="systemctl restart chrono-scraper"),
    Row((440, 440), f"4. Monitor recovery: `watch 'curl -s {HTTP}/statistics | jq \".system.process_memory_mb\"'`", W, "ended by the test", follow(r"\d+\.\d+", instead=f"watch 'curl -s {HTTP}/statistics | jq \".system.process_memory_mb\"'")),
    Row((443, 444), "- On-call: [Your on-call system]\n- Escalation: [Your escalation path]", A, "routes of `deploy/prometheus/alertmanager.yml`", fact(_routes_alerts)),
    Row((445, 445), "- Documentation: This guide + `/docs/api/duckdb`", W, "and the [runbooks](runbooks/README.md) below it", run("200200", instead="for page in '' /runbooks; do curl -s -o /dev/null -w '%{http_code}' http://localhost:8000/docs/api/duckdb$page; done")),
]
# fmt: on
