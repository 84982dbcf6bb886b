"""Judges mutated texts twice, as they are read and as they once were; ends by SIGALRM at a slow one."""

from __future__ import annotations

import json
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from chronoduck.engine.live_definitions import LiveDefinitions
from chronoduck.errors import DuckDBException
from chronoduck.principals import Role
from chronoduck.sql import cutting, statements
from chronoduck.sql import guard as judging
from chronoduck.sql.characters import stray_character
from chronoduck.sql.guard import Guard
from chronoduck.sql.rules import everybody, kinds
from chronoduck.sql.scratch import Scratch
from chronoduck.sql.tokens import read_tokens
from tests.security import corpus, old_reading, stage
from tests.security.mutations import texts

SECONDS_EACH = 20
_READERS = (judging, statements, everybody, cutting)


def _verdict(guard: Guard, sql: str, role: Role) -> tuple[str, str]:
    """Return ``accepted``, ``invalid`` or the rule that refuses it, and the refusal's words."""
    try:
        guard.judge(sql, role)
    except DuckDBException as error:
        return str(getattr(error, "rule", None) or "invalid"), error.detail
    return "accepted", ""


@contextmanager
def _as_once() -> Iterator[None]:
    """Have the guard read texts as it once did."""
    kept: list[tuple[Any, str, Any]] = []

    def put(owner: Any, name: str, value: Any) -> None:
        kept.append((owner, name, getattr(owner, name)))
        setattr(owner, name, value)

    for module in _READERS:
        put(module, "read_tokens", lambda sql: old_reading.read_tokens(old_reading.normalized(sql)))
    put(judging, "has_gaps", lambda *_: False)
    put(judging, "read_explain", old_reading.read_explain)
    put(statements, "stray_character", lambda _: None)
    put(statements, "has_slow_comments", lambda _: False)
    put(statements.StatementParser, "_run_by_explain", lambda *_: None)
    put(kinds, "_refuse_literal_names", lambda *_: None)
    case: Callable[..., Any] = judging._Case.judge
    put(judging._Case, "judge", lambda self, sql: _judged_normalized(case, self, sql))
    try:
        yield
    finally:
        for owner, name, value in reversed(kept):
            setattr(owner, name, value)


def _judged_normalized(case: Callable[..., Any], self: Any, sql: str) -> Any:
    self._parser.parse(sql)
    return case(self, old_reading.normalized(sql))


def unseen_names(sql: str, scratch: Scratch) -> set[str]:
    """Return what the engine's own tree names and no token of the text says."""
    facts = scratch.facts(sql)
    if facts is None:
        return set()
    seen = {token.text.lower() for token in read_tokens(sql)}
    parts = facts.parts
    named = {part.table[-1].lower() for part in parts if part.kind == "BASE_TABLE"}
    called = {str(parts[index].node["function_name"]).lower() for index in facts.calls}
    # not what operators and syntax become
    named |= {name for name in called if name.endswith(("_settings", "_text"))}
    return named - seen - {""}


def main(directory: Path, seed: int, count: int) -> None:
    """Judge ``count`` texts of one seed and write how the two readings differ."""
    database = duckdb.connect()
    database.execute(stage._SETUP.replace("2000000000", "2000"))  # to be made quickly
    judging._Case._ask_witness = lambda *_: None  # type: ignore[method-assign]
    today, once = (
        Guard(statements.StatementParser(), LiveDefinitions(database.cursor)) for _ in range(2)
    )
    scratch = Scratch()
    places: dict[str, object] = {
        "secret": "secret.csv", "db": "reading.db", "temp": "temp", "port": 9, "http": 9,
    }  # fmt: skip
    sources = [
        corpus.filled(statement, places)
        for folder in ("hostile", "benign", "benign_writes")
        for path in sorted((corpus.CORPORA / folder).glob("*.sql"))
        for statement in corpus.statements(path)
        if len(statement) < 600
    ]
    differences: Counter[str] = Counter()
    examples: dict[str, list[str]] = {}
    unseen: list[str] = []
    totals: Counter[str] = Counter()
    roles = [Role.ANALYST, Role.WRITER, Role.ADMIN]
    current = (directory / "current.txt").open("w+")
    for index, sql in enumerate(texts(seed, count, sources)):
        role = roles[index % 3]
        current.seek(0)
        current.truncate()
        current.write(repr(sql))
        current.flush()
        signal.setitimer(signal.ITIMER_REAL, SECONDS_EACH)
        new, words = _verdict(today, sql, role)
        totals["accepted" if new == "accepted" else "refused"] += 1
        if stray_character(sql) is None and unseen_names(sql, scratch):
            unseen.append(sql)
        with _as_once():
            old, old_words = _verdict(once, sql, role)
        if (old == "accepted") != (new == "accepted"):
            is_more = old == "accepted"
            change = f"accepted -> {new}: {words}" if is_more else f"{old} -> accepted: {old_words}"
            change = change.split("U+")[0]
            differences[change] += 1
            examples.setdefault(change, [])
            if len(examples[change]) < 5:
                examples[change].append(f"{role}: {sql!a}")
    signal.setitimer(signal.ITIMER_REAL, 0)
    outcome = {
        "totals": totals, "differences": differences, "examples": examples, "unseen": unseen[:20],
    }  # fmt: skip
    (directory / "outcome.json").write_text(json.dumps(outcome))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
