"""From the texts of a query string to the values that are bound."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronoduck.errors import InvalidRequestError
from chronoduck.service.templates import Parameter, Template, TemplateLibrary
from chronoduck.service.templates.parameters import TYPES
from chronoduck.sql.statements import StatementParser


@pytest.fixture
def template(tmp_path: Path) -> Callable[..., Template]:
    """Return a template with the given parameters, written ``name: integer = 5``."""

    def make(*declarations: str) -> Template:
        names = [declaration.partition(":")[0] for declaration in declarations]
        lines = ["-- name: mine", "-- description: x"]
        lines += [f"-- param {declaration}; x" for declaration in declarations]
        lines += ["SELECT " + ", ".join(f"${name}" for name in names)]
        (tmp_path / "mine.sql").write_text("\n".join(lines))
        parser = StatementParser()
        try:
            return TemplateLibrary.load([tmp_path], parser.parse).get("mine")
        finally:
            parser.close()

    return make


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("integer", "007", 7),
        ("integer", "-9223372036854775808", -(2**63)),
        ("number", "+.5", 0.5),
        ("number", "1e3", 1000.0),
        ("string", "", ""),
        ("string", "it's; -- ü", "it's; -- ü"),
        ("date", "2024-02-29", date(2024, 2, 29)),
        ("boolean", "True", True),
        ("boolean", "false", False),
    ],
)
def test_texts_become_values(
    template: Callable[..., Template], kind: str, text: str, value: object
) -> None:
    bound = template(f"a: {kind}").bind({"a": text})["a"]
    assert bound == value
    assert type(bound) is type(value)


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2024-01-31", "2024-01-31 00:00:00"),
        ("2024-01-31 10:20", "2024-01-31 10:20:00"),
        ("2024-01-31T10:20:30.5Z", "2024-01-31 10:20:30.500000"),
        ("2024-01-31T10:20:30+02:00", "2024-01-31 08:20:30"),
    ],
)
def test_timestamps_become_utc_without_a_zone(
    template: Callable[..., Template], text: str, utc: str
) -> None:
    assert str(template("a: timestamp").bind({"a": text})["a"]) == utc


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("integer", ""),
        ("integer", "1.0"),
        ("integer", "1_000"),
        ("integer", " 1"),
        ("integer", "٣"),
        ("integer", "9223372036854775808"),
        ("integer", "9" * 5000),
        ("number", "nan"),
        ("number", "inf"),
        ("number", "1e999"),
        ("number", "."),
        ("number", "1" * 400),
        ("string", "\udcff"),
        ("string", "x" * 10_001),
        ("date", ""),
        ("date", "2023-02-29"),
        ("date", "20240131"),
        ("date", "2024-W05-3"),
        ("date", "2024-01-31T00:00:00"),
        ("date", "tomorrow"),
        ("timestamp", "2024-01-31T25:00"),
        ("timestamp", "2024-01-31T10:20:30 02:00"),
        ("timestamp", "0001-01-01T00:00:00+02:00"),
        ("boolean", "1"),
        ("boolean", "yes"),
    ],
)
def test_wrong_texts_are_refused(template: Callable[..., Template], kind: str, text: str) -> None:
    with pytest.raises(InvalidRequestError, match="template mine: a must "):
        template(f"a: {kind}").bind({"a": text})


@given(kind=st.sampled_from(sorted(TYPES)), text=st.text())
def test_any_text_is_a_value_or_a_problem(kind: str, text: str) -> None:
    parameter = Parameter("a", TYPES[kind], "x", required=True)
    with contextlib.suppress(ValueError):
        value = parameter.value(text)
        assert kind != "string" or value == text


def test_defaults_fill_what_is_left_out(template: Callable[..., Template]) -> None:
    bound = template("a: integer = 5", "b: date = null", "c: string = x").bind({"c": "y"})
    assert bound == {"a": 5, "b": None, "c": "y"}


@pytest.mark.parametrize(
    ("text", "accepted"), [("1", True), ("10", True), ("0", False), ("11", False)]
)
def test_limits_are_included(template: Callable[..., Template], text: str, accepted: bool) -> None:
    ranged = template("a: integer, min 1, max 10")
    if accepted:
        assert ranged.bind({"a": text}) == {"a": int(text)}
    else:
        with pytest.raises(InvalidRequestError, match=f"a must be from 1 to 10, not '{text}'"):
            ranged.bind({"a": text})


def test_a_pattern_must_match_the_whole_text(template: Callable[..., Template]) -> None:
    lettered = template("a: string, pattern '[a-z]+'")
    assert lettered.bind({"a": "abc"}) == {"a": "abc"}
    for text in ("abc\n", "abc1", ""):
        with pytest.raises(InvalidRequestError, match="match the pattern"):
            lettered.bind({"a": text})


def test_all_problems_are_told_at_once(template: Callable[..., Template]) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        template(
            "limit: integer = 5, min 1, max 10",
            "start_date: date = null",
            "url: string",
            "by: string = day, in (day, month)",
        ).bind({"limit": "99", "start_date": "x" * 100, "by": "year", "strat_date": "1"})
    assert caught.value.detail == (
        "template mine: there is no parameter 'strat_date', did you mean 'start_date'?; "
        "limit must be from 1 to 10, not '99'; "
        f"start_date must be a date such as 2024-01-31, not '{'x' * 60}…'; "
        "url is required; "
        "by must be one of day, month, not 'year'"
    )
    assert caught.value.hint == "It takes: limit, start_date, url, by."


def test_openapi_shows_types_limits_and_defaults(template: Callable[..., Template]) -> None:
    parameters = template(
        "a: integer = 5, min 1, max 10",
        "b: string, max 20, pattern '[a-z]+'",
        "c: date = null, min 1996-01-01",
        "d: string = day, in (day, month)",
        "e: boolean = false",
    ).openapi_parameters()
    assert [p["name"] for p in parameters if p["required"]] == ["b"]
    assert all(p["in"] == "query" for p in parameters)
    assert [p["schema"] for p in parameters] == [
        {"type": "integer", "minimum": 1, "maximum": 10, "default": 5},
        {"type": "string", "minLength": 0, "maxLength": 20, "pattern": "^(?:[a-z]+)$"},
        {"type": "string", "format": "date"},
        {
            "type": "string",
            "minLength": 0,
            "maxLength": 10_000,
            "enum": ["day", "month"],
            "default": "day",
        },
        {"type": "boolean", "default": False},
    ]
    assert parameters[2]["description"] == "x Must be 1996-01-01 or more."
