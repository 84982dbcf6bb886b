"""What each shipped template answers, on tables small enough to count by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, datetime
from importlib import resources
from typing import Any

import duckdb
import pytest

from chronoduck.service.templates import TemplateLibrary
from chronoduck.sql.statements import StatementParser

Row = dict[str, Any]
Run = Callable[..., list[Row]]

COLUMNS = """
    url VARCHAR, urlkey VARCHAR, domain VARCHAR, tld VARCHAR, captured_at TIMESTAMP,
    status_code SMALLINT, mime_type VARCHAR, content_length BIGINT, digest VARCHAR, source VARCHAR,
    title VARCHAR, language VARCHAR, word_count INTEGER, quality_score DOUBLE, project_id VARCHAR,
    created_at TIMESTAMP
"""
REQUIRED = {"url": "https://a.org/", "domain": "a.org", "at": "2024-01-01T00:00:00Z"}
INJECTIONS = ("' OR 1=1 --", "'; DROP TABLE pages_analytics; --", "$limit", "\\' OR ''=''", "%")


def load() -> TemplateLibrary:
    parser = StatementParser()
    try:
        return TemplateLibrary.load([], parser.parse)
    finally:
        parser.close()


LIBRARY = load()


@pytest.fixture
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    connection = duckdb.connect()
    connection.execute(f"CREATE TABLE pages_analytics ({COLUMNS})")
    yield connection
    connection.close()


@pytest.fixture
def add(database: duckdb.DuckDBPyConnection) -> Callable[..., None]:
    """Insert a capture; its domain and keys come from the URL."""

    def insert(url: str, captured_at: str | None, **values: Any) -> None:
        domain = url.split("/")[2]
        row = {
            "url": url,
            "urlkey": ",".join(reversed(domain.split("."))) + ")/" + url.split("/", 3)[3],
            "domain": domain,
            "tld": domain.rpartition(".")[2],
            "captured_at": captured_at,
            "status_code": 200,
            "mime_type": "text/html",
            "content_length": 100,
            **values,
        }
        names = ", ".join(row)
        marks = ", ".join("?" * len(row))
        database.execute(
            f"INSERT INTO pages_analytics ({names}) VALUES ({marks})", list(row.values())
        )

    return insert


@pytest.fixture
def run(database: duckdb.DuckDBPyConnection) -> Run:
    """Return the rows of a template as dicts."""

    def run_template(name: str, **raw: str) -> list[Row]:
        template = LIBRARY.get(name)
        result = database.execute(template.sql, template.bind(raw))
        names = [column[0] for column in result.description]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]

    return run_template


def only(rows: list[Row], *names: str) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in names) for row in rows]


def required(name: str) -> dict[str, str]:
    return {p.name: REQUIRED[p.name] for p in LIBRARY.get(name).parameters if p.required}


def test_every_shipped_file_is_a_template_of_its_own_name() -> None:
    files = resources.files("chronoduck.service.templates").joinpath("sql").iterdir()
    assert sorted(file.name for file in files) == [f"{name}.sql" for name in LIBRARY.names()]


@pytest.mark.parametrize("name", LIBRARY.names())
def test_an_empty_table_gives_no_rows(run: Run, name: str) -> None:
    assert run(name, **required(name)) == []


@pytest.mark.parametrize("name", LIBRARY.names())
def test_rows_of_which_only_the_url_is_known_do_no_harm(
    run: Run, database: duckdb.DuckDBPyConnection, name: str
) -> None:
    database.execute("INSERT INTO pages_analytics (url) VALUES ('https://a.org/'), (NULL)")
    run(name, **required(name))


@pytest.mark.parametrize("attack", INJECTIONS)
@pytest.mark.parametrize("name", LIBRARY.names())
def test_sql_in_a_string_parameter_is_only_a_value(
    run: Run,
    add: Callable[..., None],
    database: duckdb.DuckDBPyConnection,
    name: str,
    attack: str,
) -> None:
    add("https://a.org/", "2024-01-01", digest="A")
    add("https://a.org/2", "2024-06-01", digest="A")
    for parameter in LIBRARY.get(name).parameters:
        if parameter.type.name == "string" and not parameter.choices:
            assert run(name, **{**required(name), parameter.name: attack}) == []
    assert database.execute("SELECT count(*) FROM pages_analytics").fetchone() == (2,)


@pytest.mark.parametrize("name", LIBRARY.names())
def test_values_bound_as_text_give_the_same_rows(
    run: Run, add: Callable[..., None], database: duckdb.DuckDBPyConnection, name: str
) -> None:
    """A client that sends the statement as JSON has no dates, only texts."""
    for day in ("2024-01-01", "2024-06-01", "2024-12-31 23:59:59"):
        add("https://a.org/", day, digest=day)
    template = LIBRARY.get(name)
    raw = required(name)
    dated = {"start_date": "2024-02-01", "end_date": "2024-12-31"}
    raw |= {p.name: dated[p.name] for p in template.parameters if p.name in dated}
    values = template.bind(raw)
    texts = {k: str(v) if isinstance(v, date) else v for k, v in values.items()}
    expected = database.execute(template.sql, values).fetchall()
    assert database.execute(template.sql, texts).fetchall() == expected


@pytest.mark.parametrize(
    "name",
    [n for n in LIBRARY.names() if any(p.name == "end_date" for p in LIBRARY.get(n).parameters)],
)
def test_the_end_date_is_included_and_the_day_after_is_not(
    run: Run, add: Callable[..., None], name: str
) -> None:
    for moment in ("2024-01-31 23:59:59.999999", "2024-02-01 00:00:00"):
        add("https://a.org/", moment, digest="A")
        add("https://a.org/2", moment, digest="A")
    more = {"min_days": "0"} if name == "crawl-gaps" else {}
    days = [
        run(name, **required(name), **more, start_date=start, end_date=end)
        for start, end in (("2024-01-31", "2024-01-31"), ("2024-01-01", "2024-02-01"))
    ]
    assert days[0] != days[1]
    assert run(name, **required(name), **more, start_date="2024-02-02") == []
    assert run(name, **required(name), **more, end_date="2024-01-30") == []


def test_page_stats(run: Run, add: Callable[..., None]) -> None:
    add("https://a.org/", "2024-01-01", content_length=100)
    add("https://a.org/", "2024-01-02", content_length=200)
    add("https://a.org/2", "2024-01-03", content_length=None)
    add("https://b.org/", "2024-01-31 12:00:00", content_length=7)
    assert run("page-stats") == [
        {
            "domain": "a.org",
            "page_count": 3,
            "avg_content_length": 150.0,
            "last_scraped": datetime.fromisoformat("2024-01-03"),
        },
        {
            "domain": "b.org",
            "page_count": 1,
            "avg_content_length": 7.0,
            "last_scraped": datetime.fromisoformat("2024-01-31 12:00:00"),
        },
    ]
    assert only(run("page-stats", limit="1"), "domain") == [("a.org",)]
    assert only(run("page-stats", start_date="2024-01-03"), "domain", "page_count") == [
        ("a.org", 1),
        ("b.org", 1),
    ]
    assert only(run("page-stats", end_date="2024-01-02"), "domain", "page_count") == [("a.org", 2)]
    assert run("page-stats", start_date="2024-02-01", end_date="2024-01-01") == []


def test_page_stats_declares_the_parameters_that_clients_know() -> None:
    described = {p["name"]: p for p in LIBRARY.get("page-stats").describe()["parameters"]}
    assert list(described) == ["limit", "start_date", "end_date"]
    limit = described["limit"]
    assert (limit["default"], limit["min"], limit["max"]) == (100, 1, 1000)


def test_top_domains(run: Run, add: Callable[..., None]) -> None:
    for day in ("2024-01-01", "2024-01-02", "2024-01-03"):
        add("https://a.org/", day, content_length=1)
    add("https://b.com/", "2024-01-01", content_length=10)
    add("https://b.com/2", "2024-01-02", content_length=None)
    names = ("domain", "captures", "urls", "bytes", "share_percent")
    assert only(run("top-domains"), *names) == [
        ("a.org", 3, 1, 3, 60.0),
        ("b.com", 2, 2, 10, 40.0),
    ]
    assert only(run("top-domains", by="urls"), "domain", "share_percent") == [
        ("b.com", pytest.approx(66.667, abs=0.001)),
        ("a.org", pytest.approx(33.333, abs=0.001)),
    ]
    assert only(run("top-domains", by="bytes", limit="1"), "domain") == [("b.com",)]
    assert only(run("top-domains", tld="COM"), "domain", "share_percent") == [("b.com", 100.0)]


def test_domain_timeline(run: Run, add: Callable[..., None]) -> None:
    add("https://a.org/", "2024-01-01")
    add("https://a.org/", "2024-01-31 23:00:00", status_code=404)
    add("https://a.org/2", "2024-01-31", status_code=None)
    add("https://a.org/", "2025-03-05", content_length=None)
    add("https://b.org/", "2024-01-01")
    names = ("period_start", "captures", "urls", "bytes", "errors")
    assert only(run("domain-timeline", domain="A.org"), *names) == [
        (date(2024, 1, 1), 3, 2, 300, 1),
        (date(2025, 3, 1), 1, 1, 0, 0),
    ]
    starts = {
        period: [
            str(row["period_start"])
            for row in run("domain-timeline", domain="a.org", period=period)
        ]
        for period in ("day", "week", "year")
    }
    assert starts == {
        "day": ["2024-01-01", "2024-01-31", "2025-03-05"],
        "week": ["2024-01-01", "2024-01-29", "2025-03-03"],
        "year": ["2024-01-01", "2025-01-01"],
    }


def test_status_codes(run: Run, add: Callable[..., None]) -> None:
    add("https://a.org/", "2024-01-01")
    add("https://a.org/", "2024-01-02")
    add("https://a.org/", "2024-01-03", status_code=404)
    add("https://b.org/", "2024-01-03", status_code=None)
    names = ("status_code", "captures", "urls", "share_percent")
    assert only(run("status-codes"), *names) == [
        (200, 2, 1, 50.0),
        (404, 1, 1, 25.0),
        (None, 1, 1, 25.0),
    ]
    assert only(run("status-codes", domain="b.org"), *names) == [(None, 1, 1, 100.0)]


def test_mime_types(run: Run, add: Callable[..., None]) -> None:
    add("https://a.org/", "2024-01-01", content_length=10)
    add("https://a.org/", "2024-01-02", content_length=20)
    add("https://a.org/p", "2024-01-02", content_length=None)
    add("https://b.org/i", "2024-01-03", mime_type="image/png", content_length=5)
    names = ("mime_type", "captures", "urls", "share_percent", "bytes", "avg_content_length")
    assert only(run("mime-types"), *names) == [
        ("text/html", 3, 2, 75.0, 30, 15.0),
        ("image/png", 1, 1, 25.0, 5, 5.0),
    ]
    # The share is of all media types, not of those that are shown.
    assert only(run("mime-types", limit="1"), "share_percent") == [(75.0,)]


def test_captures_per_month(run: Run, add: Callable[..., None]) -> None:
    add("https://a.org/", "2024-01-01")
    add("https://a.org/", "2024-01-20")
    add("https://b.org/", "2024-01-31 23:59:59")
    add("https://a.org/", "2024-03-01")
    add("https://a.org/new", "2024-03-02")
    add("https://a.org/undated", None)
    names = ("month", "captures", "domains", "urls", "new_urls")
    assert only(run("captures-per-month"), *names) == [
        (date(2024, 1, 1), 3, 2, 2, 2),
        (date(2024, 3, 1), 2, 1, 2, 1),
    ]
    # A URL captured before the start date is not new.
    assert only(run("captures-per-month", start_date="2024-01-10", domain="a.org"), *names) == [
        (date(2024, 1, 1), 1, 1, 1, 0),
        (date(2024, 3, 1), 2, 1, 2, 1),
    ]


def test_largest_pages(run: Run, add: Callable[..., None]) -> None:
    add("https://a.org/", "2024-01-01", content_length=10)
    add("https://a.org/", "2024-01-02", content_length=500, mime_type=None, status_code=None)
    add("https://b.org/i", "2024-01-03", content_length=90, mime_type="image/png")
    add("https://b.org/none", "2024-01-03", content_length=None)
    names = ("url", "content_length", "mime_type", "status_code", "captured_at")
    assert only(run("largest-pages"), *names) == [
        ("https://a.org/", 500, None, None, datetime.fromisoformat("2024-01-02")),
        ("https://b.org/i", 90, "image/png", 200, datetime.fromisoformat("2024-01-03")),
    ]
    assert only(run("largest-pages", mime_type="Image/PNG"), "url") == [("https://b.org/i",)]
    assert only(run("largest-pages", domain="a.org", end_date="2024-01-01"), "content_length") == [
        (10,)
    ]


def test_duplicate_content(run: Run, add: Callable[..., None]) -> None:
    for url in ("https://a.org/1", "https://a.org/2", "https://b.org/1"):
        add(url, "2024-01-01", digest="SAME")
        add(url + "r", "2024-01-01", digest="EMPTY", status_code=301)
        add(url + "n", "2024-01-01", digest=None)
        add(url + "d", "2024-01-01", digest="-")
    add("https://a.org/1", "2024-02-01", digest="SAME")
    add("https://a.org/one", "2024-01-01", digest="OWN")
    add("https://a.org/one", "2024-01-02", digest="OWN")
    assert run("duplicate-content") == [
        {
            "digest": "SAME",
            "urls": 3,
            "captures": 4,
            "bytes": 400,
            "first_captured_at": datetime.fromisoformat("2024-01-01"),
            "last_captured_at": datetime.fromisoformat("2024-02-01"),
            "example_url": "https://a.org/1",
        }
    ]
    assert run("duplicate-content", min_urls="4") == []
    assert only(run("duplicate-content", domain="a.org"), "urls") == [(2,)]


def test_change_rate(run: Run, add: Callable[..., None]) -> None:
    url = "https://a.org/"
    for day, digest in (
        ("2024-01-01", "A"),
        ("2024-01-02", "A"),
        ("2024-01-03", "B"),
        ("2024-01-05", "B"),
        ("2024-01-07", "A"),
        ("2024-01-13", "C"),
    ):
        add(url, day, digest=digest)
    add(url, "2024-01-04", digest="ERROR", status_code=500)
    add(url, "2024-01-06", digest=None)
    add("https://a.org/other", "2024-01-02", digest="X")
    assert run("change-rate", url=url) == [
        {
            "captures": 6,
            "distinct_digests": 3,
            "changes": 3,
            "change_percent": 60.0,
            "first_captured_at": datetime.fromisoformat("2024-01-01"),
            "last_captured_at": datetime.fromisoformat("2024-01-13"),
            "last_changed_at": datetime.fromisoformat("2024-01-13"),
            "mean_days_between_changes": 5.0,
        }
    ]
    one = run("change-rate", url=url, end_date="2024-01-01")
    assert only(one, "captures", "changes", "change_percent", "mean_days_between_changes") == [
        (1, 0, None, None)
    ]


def test_the_surt_key_stands_for_all_variants_of_a_url(run: Run, add: Callable[..., None]) -> None:
    key = "org,a)/"
    add("https://a.org/", "2024-01-01", urlkey=key, digest="A")
    add("http://www.a.org/", "2024-01-02", urlkey=key, digest="B")
    add("https://b.org/", "2024-01-02", digest="C")
    assert only(run("change-rate", url=key), "captures", "changes") == [(2, 1)]
    assert len(run("url-history", url=key)) == 2
    assert len(run("nearest-captures", url=key, at="2024-01-01")) == 2
    assert len(run("url-history", url="https://a.org/")) == 1


def test_dead_links(run: Run, add: Callable[..., None]) -> None:
    def history(name: str, *codes: int | None) -> None:
        for day, code in enumerate(codes, 1):
            add(f"https://a.org/{name}", f"2024-01-{day:02}", status_code=code)

    history("alive", 200)
    history("back", 404, 200)
    history("moved", 200, 301)
    history("gone", 200, 404)
    history("gone-then-unknown", 200, 503, None)
    history("never", 301, 302)
    history("unknown", None)
    rows = run("dead-links")
    names = ("url", "last_status", "last_success_at", "captures")
    success = datetime.fromisoformat("2024-01-01")
    assert only(rows, *names) == [
        ("https://a.org/gone", 404, success, 2),
        ("https://a.org/gone-then-unknown", 503, success, 2),
        ("https://a.org/never", 302, None, 2),
    ]
    assert run("dead-links", domain="b.org") == []
    assert len(run("dead-links", limit="1")) == 1


def test_language_mix(run: Run, add: Callable[..., None]) -> None:
    add("https://a.org/", "2024-01-01", language="en", word_count=10, quality_score=0.5)
    add("https://a.org/", "2024-01-02", language="en", word_count=30, quality_score=None)
    add("https://a.org/de", "2024-01-02", language="de")
    add("https://b.org/", "2024-01-02")
    names = ("language", "captures", "urls", "share_percent", "avg_word_count", "avg_quality_score")
    assert only(run("language-mix"), *names) == [
        ("en", 2, 1, 50.0, 20.0, 0.5),
        ("de", 1, 1, 25.0, None, None),
        (None, 1, 1, 25.0, None, None),
    ]


def test_url_history(run: Run, add: Callable[..., None]) -> None:
    url = "https://a.org/"
    add(url, "2024-01-03", digest="B", source="two.cdx")
    add(url, "2024-01-01", digest="A", source="one.cdx")
    add(url, "2024-01-02", digest="A", status_code=None)
    add("https://a.org/other", "2024-01-02", digest="X")
    names = ("captured_at", "status_code", "is_changed", "source")
    assert only(run("url-history", url=url), *names) == [
        (datetime.fromisoformat("2024-01-01"), 200, None, "one.cdx"),
        (datetime.fromisoformat("2024-01-02"), None, False, None),
        (datetime.fromisoformat("2024-01-03"), 200, True, "two.cdx"),
    ]
    assert len(run("url-history", url=url, limit="2")) == 2


def test_nearest_captures(run: Run, add: Callable[..., None]) -> None:
    url = "https://a.org/"
    for moment in ("2024-01-01", "2024-01-02", "2024-01-02 12:00:05", "2024-02-01"):
        add(url, moment)
    rows = run("nearest-captures", url=url, at="2024-01-02T14:00:00+02:00", limit="2")
    assert only(rows, "captured_at", "seconds_off") == [
        (datetime.fromisoformat("2024-01-02 12:00:05"), 5),
        (datetime.fromisoformat("2024-01-02"), -43_200),
    ]


def test_crawl_gaps(run: Run, add: Callable[..., None]) -> None:
    add("https://a.org/", "2024-01-01")
    add("https://a.org/2", "2024-01-01")
    add("https://b.org/", "2024-02-10")
    add("https://a.org/", "2024-03-01 12:00:00")
    names = ("gap_start", "gap_end", "days")
    start, middle, end = map(
        datetime.fromisoformat, ("2024-01-01", "2024-02-10", "2024-03-01 12:00:00")
    )
    assert only(run("crawl-gaps"), *names) == [(start, middle, 40.0)]
    assert only(run("crawl-gaps", min_days="0.5"), *names) == [
        (start, middle, 40.0),
        (middle, end, 20.5),
    ]
    assert only(run("crawl-gaps", domain="a.org"), *names) == [(start, end, 60.5)]
