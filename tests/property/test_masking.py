"""Whatever the quoting, a planted secret is not in what is written of a statement."""

from __future__ import annotations

import string

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from chronoduck.sql.masking import mask_message, mask_statement

WORDS = st.text(
    string.ascii_letters + string.digits + "!#%&*+./<>?@^_~ äλ", min_size=8, max_size=30
)
PLAIN_WORDS = st.text(string.ascii_lowercase + string.digits, min_size=8, max_size=30)
"""What can stand without quotes; it begins with a letter."""
URLSAFE = string.ascii_letters + string.digits + "-_"


def quoted(secret: str) -> st.SearchStrategy[str]:
    """Return ways to write the secret as a value."""
    escaped = secret.replace("\\", "\\\\").replace("'", "\\'")
    return st.sampled_from(
        [
            "'" + secret.replace("'", "''") + "'",
            f"E'{escaped}'",
            f"e'\\x41{escaped}'",
            f"$${secret}$$",
            f"$tag$x {secret} y$tag$",
            '"' + secret.replace('"', '""') + '"',
            f"'host=h password={secret}'",
            f"'abc'\n'{secret}'",
            f"/* {secret} */ 'x'",
            f"-- {secret}\n'x'",
            f"'{secret}",  # never closed
            f"$$ {secret}",
        ]
    )


CONTEXTS = [
    "CREATE SECRET s (TYPE s3, KEY_ID {}, SECRET 'x')",
    "CREATE OR REPLACE PERSISTENT SECRET s (TYPE s3, SECRET {})",
    "ATTACH {} AS other (TYPE postgres)",
    "SELECT * FROM postgres_scan({}, 'public', 't')",
    "SELECT * FROM users WHERE password = {}",
    "INSERT INTO users (name, password) VALUES ('bob', {})",
    "UPDATE accounts SET api_key = {} WHERE id = 4",
    "SET VARIABLE access_token = {}",
    "SELECT {{'Authorization': {}}}",
    "SELECT {} AS secret",
    "select MAP {{'key': {}}}",
    "PRAGMA add_parquet_key('key256', {}) -- key = x",
    "SELECT * FROM t WHERE key = {}",
    "not SQL at all, password: {}",
    "COPY t TO 'x' (ENCRYPTION_KEY {})",
]


@settings(max_examples=600, deadline=None)
@given(st.data(), WORDS, st.sampled_from(CONTEXTS))
def test_what_stands_near_a_telling_word_is_gone(
    data: st.DataObject, secret: str, context: str
) -> None:
    assume(secret.strip() == secret and "*/" not in secret and "--" not in secret)
    value = data.draw(quoted(secret))
    masked = mask_statement(context.format(value))
    assert secret not in masked, (context, value, masked)


@settings(max_examples=300, deadline=None)
@given(PLAIN_WORDS, st.sampled_from([c for c in CONTEXTS if "= {}" in c or "SECRET {}" in c]))
def test_a_value_without_quotes_is_gone_too(secret: str, context: str) -> None:
    secret = f"z{secret}9"  # no keyword: SECRET followed by one may be a statement
    for value in (secret, f"{secret}!{secret}", f"1{secret}"):
        assert secret not in mask_statement(context.format(value))


SHAPED = st.one_of(
    st.text(URLSAFE, min_size=43, max_size=43).map("cd_".__add__),
    st.builds("dak_{}_{}".format, *[st.text(URLSAFE, min_size=8, max_size=43)] * 2),
    st.text(string.ascii_uppercase + string.digits, min_size=16, max_size=16).map("AKIA".__add__),
    st.builds("eyJ{}.eyJ{}.{}".format, *[st.text(URLSAFE, min_size=10, max_size=60)] * 3),
    st.text(string.ascii_uppercase + string.digits, min_size=58, max_size=58).map(
        "AGE-SECRET-KEY-1".__add__
    ),
    st.text(string.ascii_letters + string.digits, min_size=36, max_size=36).map("ghp_".__add__),
    st.text(string.ascii_letters + string.digits, min_size=28, max_size=50).map("aB1x".__add__),
)
PLACES = [
    "SELECT {}",
    "SELECT * FROM t WHERE a = {} AND b = 'other'",
    "INSERT INTO t VALUES (1, {}, 'x')",
    "SELECT * FROM read_csv({})",
]


@settings(max_examples=600, deadline=None)
@given(st.data(), SHAPED, st.sampled_from(PLACES))
def test_what_looks_like_a_secret_is_gone_wherever_it_stands(
    data: st.DataObject, secret: str, place: str
) -> None:
    value = data.draw(quoted(secret))
    text = place.format(value)
    assert secret not in mask_statement(text), text
    assert secret not in mask_message(f"Binder Error near {text}"), text


@settings(max_examples=400, deadline=None)
@given(st.text(max_size=200))
def test_any_text_at_all_can_be_masked(text: str) -> None:
    assert isinstance(mask_statement(text), str)
    assert isinstance(mask_message(text), str)
