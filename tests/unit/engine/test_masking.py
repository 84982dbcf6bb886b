"""What stays of a statement when its secrets are masked."""

from __future__ import annotations

import pytest

from chronoduck.engine.masking import mask_message, mask_statement


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT domain, count(*) FROM pages WHERE urlkey = 'com,example)/' GROUP BY ALL",
        "SELECT * FROM pages WHERE digest = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567' -- sha1",
        "SELECT 'it''s', $$a$$, \"a name\" /* a comment */ FROM t",
        "SELECT md5('x') = '9dd4e461268c8034f5c8564e155c67a6'",
        "SELECT * FROM read_parquet('https://web.archive.org/web/2024/Some/Long-Path_Here/Page1.html')",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, name VARCHAR)",
        "SELECT 'ünïcödé', 'x' FROM täble",
        "",
    ],
)
def test_ordinary_statements_stay_as_they_are(sql: str) -> None:
    assert mask_statement(sql) == sql


def test_names_keywords_and_numbers_of_a_telling_statement_stay() -> None:
    masked = mask_statement("SELECT password FROM users WHERE id = 7 AND password = 'x' LIMIT 3")
    assert masked == "SELECT password FROM users WHERE id = 7 AND password = '***' LIMIT 3"


def test_the_password_of_an_address_goes() -> None:
    assert "hunter" not in mask_statement("SELECT * FROM read_csv('https://bob:hunter@host/x.csv')")


def test_a_message_keeps_its_words() -> None:
    message = "Parser Error: syntax error at or near \"passwort\" in password='hunter2' (line 3)"
    assert mask_message(message) == (
        'Parser Error: syntax error at or near "passwort" in password=*** (line 3)'
    )


def test_a_lone_surrogate_is_no_way_around() -> None:
    assert "hunter2" not in mask_statement("SELECT password = 'hunter2\udc80'")
