"""What the service says in the words of HTTP, in the words of the command line."""

from __future__ import annotations

import itertools

from chronoduck.option_words import as_arguments

__all__ = ["in_commands"]

_PHRASES = (
    ("`chronoduck load` or POST tables/{name}/rows", "`chronoduck load`"),
    ("`chronoduck load FILE` or POST tables/pages_analytics/rows", "`chronoduck load FILE`"),
    ("GET templates, or `chronoduck templates list`, lists", "`chronoduck templates list` lists"),
    ("Use GET templates", "Use `chronoduck templates run`"),
    (
        "Ask for the result in a format: format=parquet, csv, arrow or ndjson of POST query",
        "Use `chronoduck query --output` with .parquet, .csv, .arrow or .ndjson: it",
    ),
    ("alone in POST query", "alone in `chronoduck query`"),
    ("POST explain with analyze", "EXPLAIN ANALYZE"),
    ("POST explain", "EXPLAIN"),
    ("DELETE queries/{id}", "`chronoduck kill ID`"),
    ("GET queries", "`chronoduck top`"),
    (", information_schema and GET tables tell", " and information_schema tell"),
    ("SHOW TABLES and GET tables list", "SHOW TABLES lists"),
    ("GET tables", "SHOW TABLES"),
    ("GET health", "`chronoduck status`"),
    ("GET replication", "`chronoduck replication status`"),
    ("GET me", "`chronoduck usage --me`"),
    ("POST circuit-breaker/reset", "`chronoduck breaker reset`"),
    ("Raise timeout_seconds", "Raise --timeout"),
    ("timeout_seconds is", "--timeout is"),
    ("leave max_rows out", "leave --max-rows out"),
    ("is not run for anybody over HTTP", "is not run here"),
)
"""Of hints and details that the service writes itself, the longer before the shorter."""
_METHODS = ("GET", "POST", "DELETE")
_NO_COMMAND = ("batch", "export", "initialize", "jobs", "query")
"""First parts of routes that no command asks."""


def in_commands(text: str) -> str:
    """Return a hint with the commands that do what its routes do; what has none is named as HTTP's.

    Options of a load are those of the command.
    """
    text = as_arguments(text)
    for phrase, command in _PHRASES:
        text = text.replace(phrase, command)
    words = text.split(" ")
    for index, (method, route) in enumerate(itertools.pairwise(words), 1):
        bare = route.rstrip(".,;:")
        if method in _METHODS and bare.split("/")[0] in _NO_COMMAND:
            words[index] = f"{bare} of the HTTP API{route[len(bare) :]}"
    return " ".join(words)
