"""The rules by name: what each refuses is told in the error, what to do instead is told here."""

from __future__ import annotations

from typing import NoReturn

from chronoduck.errors import StatementRefusedError
from chronoduck.own_schema import OWN_SCHEMA

__all__ = [
    "RULES",
    "TELLS_OF_ALL",
    "refuse",
    "refuse_again",
    "refuse_deep_reader",
    "refuse_own_schema",
]

RULES: dict[str, str] = {
    "role": "Use GET templates, or ask the operator for a key with another role.",
    "statement-kind": "Ask the operator for a key with another role, if this is your work.",
    "copy": "Ask for the result in a format: format=parquet, csv, arrow or ndjson of POST query "
    "streams any size; load files with `chronoduck load` or POST tables/{name}/rows.",
    "one-statement": "Send them as a list to POST batch.",
    "transaction": "Send the statements together to POST batch, or use service.transaction().",
    "attach": "One service serves one file; run another service for another file.",
    "extension": "Extensions are loaded when the service starts; see DUCKDB_ENABLE_S3.",
    "settings": "Settings are fixed when the service starts; see `chronoduck help configuration`.",
    "prepared": "Send the statement with params; the service remembers it by itself.",
    "checkpoint": "The service runs checkpoints by itself; an admin sends CHECKPOINT, on its own.",
    "secrets": "Set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and DUCKDB_ENABLE_S3.",
    "import": "Load the files with `chronoduck load`.",
    "files": "Have the file loaded into a table first: `chronoduck load` or POST tables/{name}/rows, "
    "with a key that writes.",
    "table-function": "Tables, views, range(), unnest() and the others of "
    "`chronoduck help security` are there.",
    "metadata": "DESCRIBE, SHOW TABLES, information_schema and GET tables tell what there is.",
    "dynamic-sql": "Send that statement itself.",
    "engine-log": "POST explain with analyze shows a measured plan; the service logs statements.",
    "engine-internals": "There is no use for it in a query.",
    "stored-lambda": "Add a column, fill it with UPDATE, and drop the old one.",
    "variant": "Keep the value as JSON; -> and json_extract() read it.",
    "quarantined": "Ask the operator: DROP the table or the column, then run chronoduck verify.",
    "json-depth": "-> and json_extract() read a path, json_each() takes a value apart.",
    "sleep": "Wait where you send the statement from.",
    "session-state": "Every statement gets a clean connection. These give the same rows each time: "
    "`SELECT * FROM t ORDER BY hash(a, 7)`, "
    "`SELECT * FROM t TABLESAMPLE reservoir(10 ROWS) REPEATABLE (7)`.",
    "temporary": "Send it with the statements that use it to POST batch (service.transaction() in "
    "Python), or make it without TEMP and drop it.",
    "sequence": "Only keys that write take numbers from a sequence; `SELECT row_number() OVER () FROM t` "
    "numbers rows.",
    "unclassified-function": "Ask the operator: this version of DuckDB is newer than the list of "
    "functions in `chronoduck help security`.",
    "write-in-query": "Ask the operator for a key that writes, if this is your work.",
    "unreadable": "Write it another way; a PIVOT with an IN list always works: "
    "`FROM (PIVOT t ON b IN ('x', 'y') USING sum(a))`.",
    "characters": "Write plain spaces between words, and other characters in literals, comments or names "
    "in double quotes.",
    "too-long": "Load bulk data with `chronoduck load` or POST tables/{name}/rows.",
    "nesting": "Write the inner parts as CTEs (WITH ...), or as tables.",
    "expansion": "Keep intermediate results in tables, or use MATERIALIZED CTEs.",
    "too-many-terms": "Put the values into a table and join it, or use IN (...).",
    "literal-size": "Use smaller numbers, or range() in FROM, which streams.",
    "scope": "SHOW TABLES and GET tables list what this key sees.",
    "own-tables": "They belong to the service.",
    "product-tables": "Add captures with `chronoduck load FILE` or POST tables/pages_analytics/rows; "
    "ask an admin for anything else.",
    "write-scope": "GET me shows what this key may write; ask the operator for more.",
    "query-log": "GET me shows what you use; the statements of all are for admins: SELECT ... FROM "
    "chronoduck.query_log, alone in POST query.",
    "rename": "Create the table under its new name, copy the rows, and declare the keys again.",
    "builtin-name": "Give it a name of its own.",
    "definitions": "Keep long lists of values in a table; drop types and views that nobody uses.",
    "analysis": "Send a shorter or simpler statement; the same one again would be held against you.",
}
"""Rule to hint. The names are part of the API and are listed in docs/security.md."""

TELLS_OF_ALL = frozenset({"metadata", "files", "settings", "statement-kind", "dynamic-sql"})
"""Rules whose hints tell of the whole database, or of loads: a key that sees a part has neither."""


def refuse(rule: str, detail: str, hint: str | None = None) -> NoReturn:
    """Raise the refusal of a rule.

    Raises:
        StatementRefusedError: always.
    """
    raise StatementRefusedError(detail, hint=RULES[rule] if hint is None else hint, rule=rule)


def refuse_own_schema() -> NoReturn:
    """Raise the refusal of what names or changes the service's own schema.

    Raises:
        StatementRefusedError: always.
    """
    refuse("own-tables", f"{OWN_SCHEMA} holds what the service keeps for itself")


def refuse_deep_reader(name: str) -> NoReturn:
    """Raise the refusal of a function that follows a JSON value to any depth.

    Raises:
        StatementRefusedError: always.
    """
    refuse("json-depth", f"{name}() follows JSON to any depth; it only takes short literals")


def refuse_again(refusal: StatementRefusedError) -> NoReturn:
    """Raise a refusal like one that is remembered.

    Raises:
        StatementRefusedError: always; a new one, since a raised error holds all that was alive then.
    """
    raise StatementRefusedError(
        refusal.detail,
        hint=refusal.hint,
        rule=refusal.rule,
        operator_detail=refusal.operator_detail,
    )
