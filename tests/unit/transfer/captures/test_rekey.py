"""Tables of earlier builds: rekeyed, they are what a new load gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from chronoduck.transfer.captures import rekey
from chronoduck.transfer.captures.rekey import last_row, merge_doubles, rekey_batch, row_count
from tests.bare_captures import BareTable

OLD = """
INSERT INTO pages_analytics (url, urlkey, domain, tld, captured_at, digest, mime_type, status_code)
VALUES
    ('http://www.example.org/dir/', 'org,example)/dir/', 'example.org', 'org', TIMESTAMP '2020-01-02', 'sha1:D1', 'text/html', NULL),
    ('http://www.example.org/dir/', 'org,example)/dir', 'example.org', 'org', TIMESTAMP '2020-01-02', 'D1', NULL, 200),
    ('http://www.example.org/?b&a', 'org,example)/?b&a', 'example.org', 'org', TIMESTAMP '2020-01-02', 'D2', NULL, NULL),
    ('http://example.org./', ',org,example)/', 'example.org.', '', TIMESTAMP '2020-01-02', 'D3', NULL, NULL),
    ('http://www.com/%C3%BC', 'com)/%c3%bc', 'com', NULL, TIMESTAMP '2020-01-02', NULL, NULL, NULL),
    ('http://b.org/', 'org,b)/', 'b.org', 'org', TIMESTAMP '2020-01-02', 'D4', 'text/html', NULL),
    ('http://b.org/', 'org,b)/', 'b.org', 'org', TIMESTAMP '2020-01-02', 'SHA1:D4', 'warc/revisit', NULL),
    (NULL, 'org,key)/x', 'key.org', 'org', TIMESTAMP '2020-01-02', 'D5', NULL, NULL),
    ('some/thing', 'gov,epa)/', 'epa.gov', 'gov', TIMESTAMP '2020-01-02', 'D6', NULL, NULL),
    ('http://none.org/', 'org,none)/', 'none.org', 'org', NULL, NULL, NULL, NULL),
    ('http://none.org/', 'org,none)/', 'none.org', 'org', NULL, NULL, NULL, NULL)
"""  # noqa: E501


@pytest.fixture
def table(tmp_path: Path) -> BareTable:
    table = BareTable(tmp_path)
    table.execute(OLD)
    return table


@pytest.mark.parametrize("batch", [3, 200_000])
def test_keys_domains_and_digests_become_what_a_load_makes(
    table: BareTable, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr(rekey, "BATCH_ROWS", batch)
    changed = sum(rekey_batch(table, begin) for begin in range(0, last_row(table) + 1, batch))
    assert changed == 5
    assert sum(rekey_batch(table, begin) for begin in range(0, last_row(table) + 1, batch)) == 0
    merged = merge_doubles(table)
    assert (merged.removed, merged.left) == (1, 1)
    columns = "url, urlkey, domain, tld, digest, mime_type, status_code"
    assert table.rows(columns) == [
        ("http://b.org/", "org,b)/", "b.org", "org", "D4", "text/html", None),
        ("http://b.org/", "org,b)/", "b.org", "org", "D4", "warc/revisit", None),
        ("http://example.org./", "org,example)/", "example.org", "org", "D3", None, None),
        ("http://none.org/", "org,none)/", "none.org", "org", None, None, None),
        ("http://none.org/", "org,none)/", "none.org", "org", None, None, None),
        ("http://www.com/%C3%BC", "com)/%c3%bc", "www.com", "com", None, None, None),
        (
            "http://www.example.org/?b&a",
            "org,example)/?a&b",
            "example.org",
            "org",
            "D2",
            None,
            None,
        ),
        (
            "http://www.example.org/dir/",
            "org,example)/dir",
            "example.org",
            "org",
            "D1",
            "text/html",
            200,
        ),
        ("some/thing", "gov,epa)/", "epa.gov", "gov", "D6", None, None),
        (None, "org,key)/x", "key.org", "org", "D5", None, None),
    ]


def test_a_load_after_it_knows_the_captures(table: BareTable) -> None:
    rekey_batch(table, 0)
    merge_doubles(table)
    assert row_count(table) == len(table.rows()) == 10
    text = (
        " CDX b a k\n20200102 http://www.example.org/dir/ D1\n20200102 http://www.example.org/?b&a D2\n"
        "20200102 http://example.org./ D3\n20200102 http://www.com/%C3%BC D9\n"
    )
    loaded = table.load(text)
    assert (loaded.new, loaded.known) == (0, 4)


def test_no_value_of_an_added_column_goes_with_a_double(table: BareTable) -> None:
    """The operator's own columns: a double goes only if the row that stays has the same in them."""
    table.execute('ALTER TABLE pages_analytics ADD COLUMN "my {note}" VARCHAR')
    table.execute("ALTER TABLE pages_analytics ADD COLUMN seen INTEGER[]")
    note = "UPDATE pages_analytics SET \"my {note}\" = 'mine', seen = [1] WHERE "
    table.execute(note + "urlkey = 'org,example)/dir'")
    rekey_batch(table, 0)
    assert merge_doubles(table).removed == 0
    assert len(table.rows("url")) == len(OLD.strip().splitlines()) - 2
    table.execute(note + "url LIKE '%/dir/'")
    merged = merge_doubles(table)
    assert merged.removed == 1
    assert table.rows('"my {note}", seen').count(("mine", [1])) == 1
