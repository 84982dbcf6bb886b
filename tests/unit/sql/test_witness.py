"""The second witness: what was not judged does not bind, wherever in a statement it stands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager

import duckdb
import pytest

from chronoduck.sql.catalog_copy import CatalogCopy, CatalogObject, read_catalog, words_of
from chronoduck.sql.copied_database import CopiedDatabases
from chronoduck.sql.witness import Bound, Question, Unbound, Witness

SETUP = """
CREATE SCHEMA archive;
CREATE TABLE notes (id INTEGER PRIMARY KEY, text VARCHAR DEFAULT 'x', n INTEGER);
CREATE TABLE others (id INTEGER, text VARCHAR);
CREATE TABLE vault (id INTEGER, text VARCHAR);
CREATE VIEW over_vault AS SELECT * FROM vault;
CREATE MACRO from_vault() AS (SELECT max(id) FROM vault);
CREATE SEQUENCE numbers;
CREATE TABLE archive.children (id INTEGER DEFAULT nextval('numbers'), kind ENUM ('a', 'b'),
  twice INTEGER AS (id * 2), CHECK (id > 0));
CREATE TABLE children (note INTEGER REFERENCES notes (id));
CREATE INDEX by_text ON notes (lower(text));
CREATE TYPE size AS STRUCT(a INTEGER, b VARCHAR);
CREATE MACRO with_default(a, b := 5) AS a + b, (a, b, c) AS a + b + c;
CREATE MACRO typed(a INTEGER) AS a, (a VARCHAR) AS length(a);
CREATE MACRO rows_of(a) AS TABLE SELECT * FROM others WHERE id = a;
"""

# {q} is a subquery of one integer, {f} an expression of text.
PLACES = {
    "insert": (
        "INSERT INTO notes VALUES (1, {f}, {q})",
        "INSERT INTO notes (n, id) SELECT 1, id FROM others WHERE id = {q} AND text = {f}",
        "INSERT INTO notes (id) SELECT id FROM others ON CONFLICT (id) DO UPDATE SET text = {f}",
        "INSERT INTO notes (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET text = {f} WHERE notes.id > 1",
        "INSERT INTO notes (id) VALUES (1) RETURNING {f}",
        "WITH a AS (SELECT {q} AS id) INSERT INTO notes (id) FROM a",
        "INSERT INTO notes BY NAME SELECT {q} AS id, {f} AS text",
        "INSERT OR REPLACE INTO notes (id, n) VALUES ({q}, 1)",
    ),
    "update": (
        "UPDATE notes SET n = {q}, text = {f}",
        "UPDATE notes SET n = 1 WHERE id = {q} OR text = {f}",
        "UPDATE notes SET n = a.id FROM (SELECT {q} AS id, {f} AS text) a WHERE a.id = notes.id",
        "UPDATE notes SET n = 1 RETURNING {f}",
        "WITH a AS (SELECT {q} AS id) UPDATE notes SET n = 1 FROM a WHERE notes.id = a.id",
    ),
    "delete": (
        "DELETE FROM notes WHERE id = {q} OR text = {f}",
        "DELETE FROM notes USING (SELECT {q} AS id) a WHERE a.id = notes.id AND notes.text = {f}",
        "DELETE FROM notes RETURNING {f}",
        "WITH a AS (SELECT {q} AS id) DELETE FROM notes USING a WHERE a.id = notes.id",
    ),
    "merge_into": (
        "MERGE INTO notes USING (SELECT {q} AS id, {f} AS text) s USING (id) WHEN MATCHED THEN DELETE",
        "MERGE INTO notes USING others s ON s.id = notes.id AND s.text = {f} WHEN MATCHED THEN DELETE",
        "MERGE INTO notes USING others s USING (id) WHEN MATCHED AND s.text = {f} THEN DELETE",
        "MERGE INTO notes USING others s USING (id) WHEN MATCHED THEN UPDATE SET text = {f}",
        "MERGE INTO notes USING others s USING (id) WHEN NOT MATCHED THEN INSERT (text) VALUES ({f})",
    ),
    "create": (
        "CREATE TABLE made AS SELECT {q} AS a, {f} AS b",
        "CREATE OR REPLACE TABLE others AS SELECT id FROM others WHERE id = {q} AND text = {f}",
        "CREATE TEMP TABLE made AS WITH a AS (SELECT {q} AS id) SELECT id, {f} FROM a",
        "CREATE TABLE IF NOT EXISTS notes AS SELECT {q} AS a, {f} AS b",
        "CREATE TABLE made (a VARCHAR DEFAULT ({f}))",
        "CREATE TABLE made (a VARCHAR, b VARCHAR AS (a || {f}))",
        "CREATE TABLE made (a VARCHAR, CHECK (a > {f}))",
        "CREATE TABLE archive.made (a VARCHAR CHECK (a > {f}))",
        "CREATE VIEW made AS SELECT {q} AS a, {f} AS b",
        "CREATE OR REPLACE TEMP VIEW made (x) AS SELECT {q} AS a WHERE 'a' = {f}",
        "CREATE MACRO made(a) AS a || {f}",
        "CREATE MACRO made(a) AS a, (a, b) AS a || {f}",
        "CREATE MACRO made(a) AS TABLE SELECT {q}, {f}",
        "CREATE TYPE made AS ENUM (SELECT {f})",
        "CREATE INDEX made ON notes ((text || {f}))",
    ),
    "alter": (
        "ALTER TABLE others ALTER text SET DEFAULT {f}",
        "ALTER TABLE others ALTER id TYPE VARCHAR USING {f}",
    ),
}
WITHOUT_QUERY = ("DEFAULT", "AS (a ||", "CHECK", "INDEX", "RETURNING")


@pytest.fixture(scope="module")
def catalog() -> CatalogCopy:
    connection = duckdb.connect(":memory:")
    connection.execute(SETUP)
    return read_catalog(connection)


@pytest.fixture(scope="module")
def witness() -> Iterator[Witness]:
    asked = Witness({"md5"})
    yield asked
    asked.close()


def ask(
    witness: Witness, catalog: CatalogCopy, kind: str, text: str, without: str = ""
) -> Bound | Unbound:
    names = words_of(text) - {without}
    return witness.ask(Question(text, kind, names, wants_canonical=True), catalog)


@pytest.mark.parametrize(
    ("kind", "place"), [(kind, place) for kind, places in PLACES.items() for place in places]
)
def test_a_refused_function_does_not_bind_wherever_it_stands(
    witness: Witness, catalog: CatalogCopy, kind: str, place: str
) -> None:
    known = ask(witness, catalog, kind, place.format(q="1", f="reverse('x')"))
    assert isinstance(known, Bound), known
    if "{f}" in place:
        for call in ("md5('x')", "main.MD5('x')", "\"md5\" ( /* x */ 'x')"):
            refused = ask(witness, catalog, kind, place.format(q="1", f=call))
            assert isinstance(refused, Unbound)


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        (kind, place)
        for kind, places in PLACES.items()
        for place in places
        if "{q}" in place and not any(word in place for word in WITHOUT_QUERY)
    ],
)
@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("vault", "(SELECT max(id) FROM vault)"),
        ("over_vault", "(SELECT max(id) FROM over_vault)"),
        ("from_vault", "from_vault()"),
    ],
)
def test_a_name_that_was_not_judged_does_not_bind(
    witness: Witness, catalog: CatalogCopy, kind: str, place: str, name: str, query: str
) -> None:
    text = place.format(q=query, f="'x'")
    assert isinstance(ask(witness, catalog, kind, text), Bound)
    hidden = ask(witness, catalog, kind, text, without=name)
    # A macro's body is bound where it is called.
    if "MACRO" not in place:
        assert isinstance(hidden, Unbound), hidden
        assert hidden.is_outside


def test_a_file_is_not_opened(witness: Witness, catalog: CatalogCopy) -> None:
    for source in ("'/etc/passwd'", "read_csv('/etc/passwd')", "read_blob('/etc/passwd')"):
        for kind, text in (
            ("create", f"CREATE TABLE made AS FROM {source}"),
            ("insert", f"INSERT INTO notes (id) SELECT 1 FROM {source}"),
            ("merge_into", f"MERGE INTO notes USING {source} s ON true WHEN MATCHED THEN DELETE"),
        ):
            answer = ask(witness, catalog, kind, text)
            assert isinstance(answer, Unbound)
            assert answer.error_class in (
                "PermissionException",
                "CatalogException",
                "BinderException",
            )


def test_a_table_function_is_told(witness: Witness, catalog: CatalogCopy) -> None:
    answer = ask(
        witness,
        catalog,
        "create",
        "CREATE TABLE made AS SELECT * FROM duckdb_settings(), range(3), rows_of(1), notes",
    )
    assert isinstance(answer, Bound)
    assert answer.plan.table_functions == {"duckdb_settings", "range"}
    assert {path[-1] for path in answer.plan.tables} == {"notes", "others"}


def test_statements_before_it_in_a_batch_are_known(witness: Witness, catalog: CatalogCopy) -> None:
    pending = (
        "CREATE TABLE fresh AS SELECT i AS id, 'x' AS text FROM range(1000000000000) t(i);",
        "ALTER TABLE fresh ADD COLUMN extra INTEGER",
        "DROP TABLE others",
    )
    merge = "MERGE INTO fresh USING notes USING (id) WHEN MATCHED THEN UPDATE SET extra = 1"
    question = Question(merge, "merge_into", words_of(merge), pending)
    assert isinstance(witness.ask(question, catalog), Bound)
    gone = Question("CREATE TABLE b AS FROM others", "create", frozenset({"others"}), pending)
    answer = witness.ask(gone, catalog)
    assert isinstance(answer, Unbound)
    assert not answer.is_outside


def test_a_user_is_told_what_is_wrong_and_where(witness: Witness, catalog: CatalogCopy) -> None:
    text = "CREATE TABLE made AS SELECT * FROM oters"
    answer = ask(witness, catalog, "create", text)
    assert isinstance(answer, Unbound)
    assert answer.error_class == "CatalogException"
    assert '"others"' in answer.message.replace("\\", "")
    assert f'"position":"{text.index("oters")}"' in answer.message
    assert not answer.is_outside


def test_nothing_is_run(witness: Witness, catalog: CatalogCopy) -> None:
    rows = "range(1000000000000) t(i)"
    for kind, text in (
        ("create", f"CREATE TABLE made AS SELECT i FROM {rows}"),
        ("create", f"CREATE TYPE made AS ENUM (SELECT i::VARCHAR FROM {rows})"),
        ("insert", f"INSERT INTO notes (id) SELECT i FROM {rows}"),
        ("merge_into", f"MERGE INTO notes USING {rows} ON i = id WHEN MATCHED THEN DELETE"),
    ):
        assert isinstance(ask(witness, catalog, kind, text), Bound)


def test_macros_are_called_as_on_the_database(witness: Witness, catalog: CatalogCopy) -> None:
    calls = "with_default(1), with_default(1, 2), with_default(1, 2, 3), with_default(1, b := 2)"
    text = f"CREATE TABLE made AS SELECT {calls}, typed(1), typed('x')"
    assert isinstance(ask(witness, catalog, "create", text), Bound)


def test_a_whole_catalog_is_copied(witness: Witness, catalog: CatalogCopy) -> None:
    question = Question("CREATE TABLE made (a INTEGER)", "create", frozenset(), ())
    everything = {item.name for item in catalog.objects}
    assert isinstance(witness.ask(question, catalog), Bound)
    with witness._databases.holding("any name", catalog.objects) as cursor:
        copied = read_catalog(cursor)
    assert {item.name for item in copied.objects} == everything
    assert len(copied.objects) == len(catalog.objects)


@pytest.mark.parametrize(
    ("misspelt", "meant"),
    [
        ("INSERT INTO notes SELECT * FROM over_vaul", "over_vault"),
        ("UPDATE notes SET n = from_vaul()", "from_vault"),
        ("UPDATE notes SET n = (SELECT max(id) FROM rows_off(1))", "rows_of"),
    ],
)
def test_what_nobody_named_is_known_by_its_name_alone(
    monkeypatch: pytest.MonkeyPatch, misspelt: str, meant: str
) -> None:
    """To bind a definition of ``repeat('x', 2_000_000_000)`` takes DuckDB six seconds."""
    with duckdb.connect() as database:
        database.execute(SETUP)
        catalog = read_catalog(database)
    made: list[str] = []
    holding = CopiedDatabases.holding

    def and_note(
        self: CopiedDatabases, name: str, objects: Sequence[CatalogObject], pending: Sequence[str]
    ) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
        made.extend(item.sql for item in objects)
        return holding(self, name, objects, pending)

    monkeypatch.setattr(CopiedDatabases, "holding", and_note)
    witness = Witness()
    kind = misspelt.split()[0].lower()
    answer = witness.ask(Question(misspelt, kind, words_of(misspelt)), catalog)
    witness.close()
    assert isinstance(answer, Unbound)
    assert meant in answer.message
    assert any("from_vault" in sql for sql in made)
    assert not any("FROM vault" in sql or "FROM others" in sql for sql in made)
