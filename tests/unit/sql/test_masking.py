"""What stays of a statement when its secrets are masked."""

from __future__ import annotations

import pytest

from chronoduck.sql.masking import mask_message, mask_statement


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


BODY = "4eC39HqLyjWDarjtT1zdp7dcabcdefghij"
TOKENS = [
    *(
        f"{prefix}{BODY}"
        for prefix in ("sk_live_", "sk_test_", "rk_live_", "whsec_", "hf_", "npm_")
    ),
    *(
        f"{prefix}{BODY}"
        for prefix in ("glpat-", "glsa_", "shpat_", "dop_v1_", "figd_", "gsk_", "r8_")
    ),
    *(
        f"{prefix}{BODY}"
        for prefix in ("AIza", "ya29.", "hvs.", "pypi-", "dckr_pat_", "xoxb-", "SG.")
    ),
    "hf_abcdefghijklmnopqrstuvwxyzabcdefgh",
    "https://hooks.slack.com/services/T0000/B0000/xyzxyz",
]


@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize(
    "place", ["SELECT '{}'", "SELECT * FROM t WHERE a = $${}$$ -- b", "{}", "a={}"]
)
def test_tokens_of_vendors_go_wherever_they_stand(token: str, place: str) -> None:
    secret = token.rpartition("services/")[2] or token
    assert secret not in mask_statement(place.format(token))
    assert secret not in mask_message(f"could not read {place.format(token)}: why")


VALUES = [
    *(
        "'{}'",
        '"{}"',
        "`{}`",
        "$${}$$",
        "$t${}$t$",
        "E'{}'",
        "\\'{}\\'",
        '\\"{}\\"',
        "''{}''",
        "{}",
    ),
    *("['{}', 'b']", "('{}')", "{{'a': '{}'}}", "Bearer {}", "Basic {}"),
]


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize(
    "name",
    [
        "pw",
        "pwd",
        "password",
        "db_pass",
        "api-key",
        "X-Api-Key",
        "AccountKey",
        "sig",
        '"pw"',
        "'pin'",
    ],
)
@pytest.mark.parametrize("sign", ["=", " = ", ": ", "=>", ":=", "%3D"])
def test_what_a_telling_word_is_given_goes_in_all_ways_of_quoting(
    name: str, sign: str, value: str
) -> None:
    given = name + sign + value.format("hunter2x")
    assert "hunter2x" not in mask_message(f"near {given}, next word")
    if sign != "%3D":
        assert "hunter2x" not in mask_statement(f"SELECT {given}")


@pytest.mark.parametrize(
    "space", ["\u00a0", "\u2028", "\u3000", "\u200b", "\x0b", " ", "''", "/", "@", ":"]
)
def test_no_sign_in_a_password_hides_the_end_of_an_address(space: str) -> None:
    text = f"SELECT * FROM read_csv('https://bob:hun{space}ter2@host/x.csv')"
    assert "ter2" not in mask_statement(text)
    assert "hun" not in mask_statement(text)


@pytest.mark.parametrize(
    "text",
    [
        "Catalog Error: Table with name hf_dataset_catalog_of_everything does not exist",
        "Binder Error: npm_packages_downloads has no column sg.some_column_of_the_table",
        "could not open https://example.com:8080/a/path?q=1#top (404)",
        "SELECT compass, bypass, design, pinned, authors FROM keyboard WHERE monkey = 'x'",
        "SELECT max(re_name), key_name FROM re_exports_by_country_and_year",
        "the file s3://bucket/year=2024/month=07/part-0001.parquet has 12 columns",
    ],
)
def test_ordinary_words_stay(text: str) -> None:
    assert mask_message(text) == text
    assert mask_statement(text) == text


def test_a_long_text_is_cut_before_it_is_masked() -> None:
    secret = f"sk_live_{BODY}"
    for at in range(9_900, 10_040, 7):
        text = f"SELECT '{'a ' * ((at - 8) // 2)}{secret}', 'x'" + " " * 90_000
        masked = mask_statement(text)
        assert masked.endswith("…")
        assert len(masked) <= 10_001
        assert BODY[:8] not in masked
        assert BODY[:8] not in mask_message(text)
    assert "hunter2" not in mask_statement("SELECT 'hunter2'" + " " * 50_000 + "AS password")
