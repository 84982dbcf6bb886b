"""What is decided before rows come: which types fit, which columns are added, what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from chronoduck.sync import SyncDeclaration, SyncDriftError
from chronoduck.sync.columns import SourceColumn
from chronoduck.sync.fitting import Fit, fit
from chronoduck.sync.target import plan_target


def declare(**fields: Any) -> SyncDeclaration:
    given = {"name": "s", "source": "p", "table": "t", "target": "t", "mode": "full", **fields}
    return SyncDeclaration(**given)


def column(name: str, kind: str = "INTEGER", **fields: Any) -> SourceColumn:
    return SourceColumn(name, "int4", f'"{name}"', kind, **fields)


@pytest.mark.parametrize(
    ("source", "target", "how"),
    [
        ("INTEGER", "INTEGER", Fit.WHOLE),
        ("BIGINT", "SMALLINT", Fit.WHOLE),  # what is too large is an error, not another number
        ("INTEGER", "DECIMAL(9,2)", Fit.WHOLE),
        ("INTEGER", "DOUBLE", Fit.WHOLE),
        ("BIGINT", "DOUBLE", Fit.LOSSY),
        ("DOUBLE", "INTEGER", Fit.NONE),
        ("DOUBLE", "DECIMAL(9,2)", Fit.NONE),
        ("DECIMAL(9,2)", "DECIMAL(12,3)", Fit.WHOLE),
        ("DECIMAL(9,2)", "DECIMAL(12,1)", Fit.NONE),
        ("DECIMAL(9,2)", "INTEGER", Fit.NONE),
        ("DECIMAL(9,0)", "INTEGER", Fit.WHOLE),
        ("VARCHAR", "INTEGER", Fit.NONE),
        ("VARCHAR", "UUID", Fit.WHOLE),
        ("VARCHAR", "ENUM('a', 'b')", Fit.WHOLE),
        ("UUID", "VARCHAR", Fit.WHOLE),
        ("BLOB", "VARCHAR", Fit.NONE),
        ("DATE", "TIMESTAMP", Fit.WHOLE),
        ("TIMESTAMP", "DATE", Fit.NONE),
        ("TIMESTAMP WITH TIME ZONE", "TIMESTAMP", Fit.LOSSY),
        ("INTEGER[]", "BIGINT[]", Fit.WHOLE),
        ("INTEGER[]", "BIGINT", Fit.NONE),
        ("INTEGER", "INTEGER[]", Fit.NONE),
    ],
)
def test_types_fit_whole_or_with_a_loss_that_is_said_or_not(
    source: str, target: str, how: Fit
) -> None:
    found, loss = fit(source, target)
    assert found is how
    assert bool(loss) == (how is Fit.LOSSY)


def test_a_new_table_has_the_columns_and_the_constants() -> None:
    plan = plan_target(
        declare(target="a.b", rename={"x": "y"}, constants={"origin": "p"}, types={"z": "double"}),
        [column("x"), column("z", "VARCHAR", is_decimal_text=True)],
        None,
        None,
    )
    assert plan.create == 'CREATE TABLE "a"."b" ("y" INTEGER, "z" DOUBLE, "origin" VARCHAR)'
    assert plan.notes == ("z (DOUBLE) keeps 15 digits",)
    assert plan.alters == ()


def test_new_columns_are_added_and_names_keep_the_targets_spelling() -> None:
    plan = plan_target(declare(), [column("id"), column("New")], [("ID", "BIGINT")], ("id",))
    assert plan.create is None
    assert plan.alters == ('ALTER TABLE "main"."t" ADD COLUMN IF NOT EXISTS "New" INTEGER',)
    assert [each.name for each in plan.columns] == ["ID", "New"]
    assert plan.columns[0].type == "BIGINT"


@pytest.mark.parametrize(
    ("fields", "columns", "existing", "known", "words"),
    [
        ({}, [column("a", "DOUBLE")], [("a", "INTEGER")], None, "a is int4 and a is INTEGER"),
        ({}, [column("a")], [("a", "INTEGER")], ("a", "b"), "b is no longer in the source"),
        ({"rename": {"a": "b"}}, [column("a"), column("b")], None, None, "two columns go into b"),
        ({"constants": {"A": 1}}, [column("a")], None, None, "two columns go into a"),
        ({}, [], None, None, "no columns"),
        ({"types": {"a": "x; DROP"}}, [column("a")], None, None, "is not a type"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(
    fields: dict[str, Any],
    columns: list[SourceColumn],
    existing: list[tuple[str, str]] | None,
    known: tuple[str, ...] | None,
    words: str,
) -> None:
    with pytest.raises(SyncDriftError, match=words):
        plan_target(declare(**fields), columns, existing, known)


def test_a_column_that_is_gone_may_be_excluded() -> None:
    plan = plan_target(declare(exclude=["b"]), [column("a")], [("a", "INTEGER")], ("a", "b"))
    assert [each.name for each in plan.columns] == ["a"]
