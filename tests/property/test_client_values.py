"""Values of every type go to the service as parameters and come back as what they were."""

from __future__ import annotations

import datetime as dt
import math
import re
import uuid
from collections.abc import Iterator
from decimal import Context, Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from chronoduck.client import Client
from tests.server import Server

pytestmark = pytest.mark.slow
PROFILE = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
moments = st.datetimes(dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31))  # noqa: DTZ001
zones = st.integers(-15 * 60, 15 * 60).map(lambda m: dt.timezone(dt.timedelta(minutes=m)))
intervals = st.timedeltas(dt.timedelta(days=-100_000), dt.timedelta(days=100_000))


def integers(bits: int, *, signed: bool = True) -> st.SearchStrategy[int]:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return st.integers(low, high) | st.sampled_from([low, high, 0])


def decimals(width: int, scale: int) -> st.SearchStrategy[Decimal]:
    limit = 10**width - 1
    return st.integers(-limit, limit).map(
        lambda unscaled: Decimal(unscaled).scaleb(-scale, context=Context(prec=60))
    )


FLAT: dict[str, st.SearchStrategy[Any]] = {
    "BOOLEAN": st.booleans(),
    "TINYINT": integers(8),
    "SMALLINT": integers(16),
    "INTEGER": integers(32),
    "BIGINT": integers(64),
    "HUGEINT": integers(128),
    "UTINYINT": integers(8, signed=False),
    "UBIGINT": integers(64, signed=False),
    "UHUGEINT": integers(128, signed=False),
    "DOUBLE": st.floats(allow_nan=False, allow_infinity=False),
    "FLOAT": st.floats(width=32, allow_nan=False, allow_infinity=False).filter(
        lambda value: value == 0 or 1e-30 < abs(value) < 1e30
    ),
    "DECIMAL(9,2)": decimals(9, 2),
    "DECIMAL(38,38)": decimals(38, 38),
    "DECIMAL(18,0)": decimals(18, 0),
    "VARCHAR": texts,
    "BLOB": st.binary(max_size=20),
    "UUID": st.uuids(),
    "DATE": st.dates(dt.date(1, 1, 1)),
    "TIMESTAMP": moments,
    "TIMESTAMP_S": moments.map(lambda moment: moment.replace(microsecond=0)),
    "TIMESTAMP WITH TIME ZONE": moments.map(lambda moment: moment.replace(tzinfo=dt.UTC)),
    "TIME": st.times(),
    "TIME WITH TIME ZONE": st.builds(dt.time.replace, st.times(), tzinfo=zones),
    "INTERVAL": intervals,
    "BIT": st.from_regex("[01]{1,20}", fullmatch=True),
    "mood": st.sampled_from(["sad", "it's"]),
}


@st.composite
def typed(draw: st.DrawFn, depth: int = 2) -> tuple[str, Any]:
    """Return a type's name and a value of it."""
    kind = draw(st.sampled_from(["flat", "flat", "list", "struct"] if depth else ["flat"]))
    if kind == "list":
        name, value = draw(typed(depth - 1))
        return f"{name}[]", draw(st.sampled_from([[], [value], [value, None, value]]))
    if kind == "struct":
        members = draw(st.lists(typed(depth - 1), min_size=1, max_size=3))
        fields = ", ".join(f'"f {index}" {name}' for index, (name, _) in enumerate(members))
        return f"STRUCT({fields})", {f"f {i}": value for i, (_, value) in enumerate(members)}
    name = draw(st.sampled_from(list(FLAT)))
    return name, draw(st.none() | FLAT[name])


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with (
        Server(tmp_path_factory.mktemp("values")) as server,
        Client(server.url, token=server.token) as client,
    ):
        client.execute("CREATE TYPE mood AS ENUM ('sad', 'it''s')")
        yield client


def same(one: Any, other: Any) -> bool:
    """Whether values and their types are equal; a float of 32 bits is told by its shortest text."""
    if isinstance(one, float):
        return isinstance(other, float) and math.isclose(one, other, rel_tol=1e-6, abs_tol=0)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, Decimal):
        return (
            isinstance(other, Decimal) and one.compare_total(other) in (0, -1, 1) and one == other
        )
    return type(one) is type(other) and one == other


@PROFILE
@given(columns=st.lists(typed(), min_size=1, max_size=5))
def test_a_value_comes_back_as_it_went(client: Client, columns: list[tuple[str, Any]]) -> None:
    values = [value for _, value in columns]
    result = client.query(*cast(columns))
    assert same(list(result.rows[0]), values), result.types
    with client.stream(*cast(columns)) as rows:
        assert list(rows) == result.rows


@PROFILE
@given(name_and_value=typed(0))
def test_a_named_parameter_is_compared_without_a_cast(
    client: Client, name_and_value: tuple[str, Any]
) -> None:
    name, value = name_and_value
    if value is None or name == "BIT":
        return
    sql = f"SELECT count(*) FROM (SELECT CAST($value AS {name}) AS c) WHERE c = $value"
    assert client.query(sql, {"value": value}).scalar() == 1


@PROFILE
@given(columns=st.lists(typed(0), min_size=1, max_size=5), as_arrow=st.booleans())
def test_a_value_comes_back_from_a_table_as_it_was_inserted(
    client: Client, columns: list[tuple[str, Any]], as_arrow: bool
) -> None:
    names = [f"c{index}" for index in range(len(columns))]
    values = [value for _, value in columns]
    fields = ", ".join(f"{name} {kind}" for name, (kind, _) in zip(names, columns, strict=True))
    client.execute(f"CREATE OR REPLACE TABLE inserted ({fields})")
    if as_arrow:
        client.insert("inserted", client.arrow(*cast(columns)))
    else:
        client.insert("inserted", [values], columns=names)
    assert same(list(client.query("FROM inserted").rows[0]), values), fields


def cast(columns: list[tuple[str, Any]]) -> tuple[str, list[Any]]:
    casts = ", ".join(f"CAST(? AS {name}) AS c{index}" for index, (name, _) in enumerate(columns))
    return f"SELECT {casts}", [value for _, value in columns]


def plain(table: pa.Table) -> str:
    """Return the types without the names of lists' elements; UTC has several."""
    return str(table.schema.types).replace("Etc/UTC", "UTC").replace("list<l:", "list<item:")


@PROFILE
@given(columns=st.lists(typed(), min_size=1, max_size=4))
def test_arrow_made_here_is_what_the_service_would_have_sent(
    client: Client, columns: list[tuple[str, Any]]
) -> None:
    result = client.query(*cast(columns))
    assume(not re.search(r"\d{39}", str(result.rows)))  # more than Arrow's type of HUGEINTs has
    made = result.to_arrow()
    sent = client.arrow(*cast(columns))
    assert plain(made) == plain(sent)
    assert made.to_pydict() == sent.to_pydict()


@pytest.mark.parametrize(
    "sql",
    [
        "'infinity'::DATE",
        "'0044-03-15 (BC)'::DATE",
        "'294247-01-10 04:00:54.775806'::TIMESTAMP",
        "'2024-01-01 00:00:00.120000001'::TIMESTAMP_NS",
        "'24:00:00'::TIME",
        "INTERVAL '1 month 2 days'",
    ],
)
def test_what_python_cannot_hold_stays_a_text_that_can_be_sent_again(
    client: Client, sql: str
) -> None:
    value = client.query(f"SELECT {sql}").scalar()
    assert isinstance(value, str)
    assert client.query(f"SELECT {sql} = CAST($v AS {kind(client, sql)})", {"v": value}).scalar()


def kind(client: Client, sql: str) -> str:
    return client.query(f"SELECT {sql}").types[0]


def test_maps_unions_and_documents(client: Client) -> None:
    result = client.query(
        "SELECT map {'a': 1}, map {DATE '2024-01-01': [1.5]}, union_value(d := DATE '2024-01-01'), "
        "'{\"a\": [1.5, null]}'::JSON, row(1, UUID '6f9619ff-8b86-d011-b42d-00cf4fc964ff'), 2.5"
    )
    assert result.rows == [
        (
            {"a": 1},
            {dt.date(2024, 1, 1): [Decimal("1.5")]},
            dt.date(2024, 1, 1),
            {"a": [1.5, None]},
            (1, uuid.UUID("6f9619ff-8b86-d011-b42d-00cf4fc964ff")),
            Decimal("2.5"),
        )
    ]
    assert isinstance(result.rows[0][3]["a"][0], float)
