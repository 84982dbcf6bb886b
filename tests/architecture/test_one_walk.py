"""DuckDB's tree of a statement is read in one place: what it holds is known there, or nowhere."""

from __future__ import annotations

from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "chronoduck"


def modules_with(text: str) -> set[str]:
    return {
        str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*.py") if text in path.read_text()
    }


def test_trees_are_made_for_the_walk_and_for_writing_row_filters_again() -> None:
    assert modules_with("json_serialize_sql(") == {"sql/scratch.py"}
    assert modules_with('"json_serialize_sql"') == {"sql/scopes/names.py"}
    assert modules_with("import walk\n") == {"sql/scratch.py"}
    assert modules_with(".tree(") == {"sql/scopes/filters.py"}
