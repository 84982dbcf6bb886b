"""``examples/sync.toml`` does what its comments say, beside captures that were loaded from a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from chronoduck.assembly import DuckDBService
from chronoduck.settings import Settings
from tests.postgres import SourceDatabase
from tests.sync.running import run_sync

pytestmark = pytest.mark.slow
EXAMPLES = Path(__file__).parents[2] / "examples"
SETUP = """
CREATE TABLE pages (
    id bigserial PRIMARY KEY, url text NOT NULL, capture_time timestamptz NOT NULL, status int,
    mime text, length bigint, title text, language text, word_count int, quality_score float8,
    digest text, project_id int, html text, updated_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO pages (url, capture_time, status, mime, length, title, language, word_count,
                   quality_score, digest, project_id, html)
SELECT 'https://Example.org:443/' || i, timestamptz '2024-03-01 00:00:00+02' + i * interval '1 min', 200,
       'text/html', 1000 + i, 'Page ' || i, 'en', i, 0.5, md5(i::text), i % 3, '<html>'
FROM generate_series(1, 100) i;
CREATE TABLE user_activity (user_id bigint, action text, at timestamptz);
INSERT INTO user_activity SELECT i % 5, 'search', '2024-03-01 12:00+00' FROM generate_series(1, 50) i;
"""


async def test_pages_and_activity_arrive_and_follow_the_platform(
    source: SourceDatabase,
    make_settings: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source.sql(SETUP)
    monkeypatch.setenv("PLATFORM_DSN", source.dsn)
    settings = make_settings(sync_file=EXAMPLES / "sync.toml")
    async with DuckDBService(settings) as service:
        ended = await run_sync(service, "pages")
        assert ended["added"] == 100
        assert any("in UTC" in note for note in ended["notes"])
        capture = EXAMPLES / "data" / "twitter-labels.cdx"
        with capture.open("rb") as file:
            loader = (await service.parts()).loader
            events = [event async for event in loader.load(file, name=capture.name)]
        loaded = events[-1].rows_added  # type: ignore[union-attr]
        source.sql("DELETE FROM pages WHERE id <= 10")
        source.sql("UPDATE pages SET title = 'new', updated_at = now() WHERE id = 11")
        ended = await run_sync(service, "pages")
        assert (ended["changed"], ended["deleted"]) == (1, 10)
        counts = await service.execute_query(
            "SELECT count(*) FILTER (source = 'platform'), count(*) FILTER (source <> 'platform') "
            "FROM pages"
        )
        assert counts.data == [(90, loaded)]
        row = await service.execute_query(
            "SELECT domain, captured_at::VARCHAR, status_code, project_id, title FROM pages "
            "WHERE source = 'platform' ORDER BY captured_at LIMIT 1"
        )
        assert row.data == [("example.org", "2024-02-29 22:11:00", 200, "2", "new")]
        await run_sync(service, "activity")
        await run_sync(service, "activity")
        sums = await service.execute_query(
            "SELECT user_id, value, recorded_at::VARCHAR FROM user_metrics ORDER BY user_id"
        )
        assert sums.data == [(str(user), 10.0, "2024-03-01 00:00:00") for user in range(5)]
