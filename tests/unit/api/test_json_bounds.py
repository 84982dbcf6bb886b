"""Bounds of JSON bodies that come before their parser."""

from __future__ import annotations

import json
import random
from typing import Any

import httpx2
import orjson
import pytest

from chronoduck.api.bodies import BodyTooLargeError
from chronoduck.api.json_bounds import MAX_CONTAINERS, MAX_DEPTH, MAX_ELEMENTS, check_json
from chronoduck.errors import DuckDBException, InvalidRequestError


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b"1," * MAX_ELEMENTS + b"1]",
        b"[" + b"[]," * 3_000_000 + b"1]",
        b"[" + b"{}," * MAX_CONTAINERS + b"1]",
        b"{" + b'"a":1,' * MAX_ELEMENTS + b'"a":1}',
        b"[" + b'"",' * 5_000_000 + b'""]',
        b"[" + b'"\\"",' * MAX_ELEMENTS + b'""]',
        b"[" * 5_000_000,
        b'["\\\\",' + b"1," * MAX_ELEMENTS + b"1]",
    ],
)
def test_too_many_elements_are_refused(body: bytes) -> None:
    with pytest.raises(BodyTooLargeError):
        check_json(body)


@pytest.mark.parametrize("bracket", ["[]", "{}"])
def test_what_is_too_deep_is_refused(bracket: str) -> None:
    opening = bracket[0] + ('"a":' if bracket == "{}" else "")
    for depth in (MAX_DEPTH + 1, MAX_DEPTH + 2, 5_000):
        with pytest.raises(InvalidRequestError):
            check_json((opening * depth + "1" + bracket[1] * depth).encode())
    check_json((opening * MAX_DEPTH + "1" + bracket[1] * MAX_DEPTH).encode())


@pytest.mark.parametrize(
    "value",
    [
        {"query": "SELECT " + "[1, {'a': 2}], " * 50_000 + '"x"', "params": None},
        {"query": '\\"' * 100_000 + "[" * 100_000},
        {"params": list(range(90_000))},
        {"a": "x" * 10_000_000},
        {},
        [],
        "",
    ],
)
def test_long_texts_and_long_lists_are_read(value: Any) -> None:
    check_json(orjson.dumps(value))
    check_json(json.dumps(value, indent=1).encode())


def test_what_is_counted_is_what_a_parser_finds() -> None:
    """The bound is exact for JSON: a value is refused if and only if it has too many elements."""
    rng = random.Random(7)

    def value(depth: int) -> Any:
        kind = rng.randrange(6 if depth else 3)
        if kind == 0:
            return rng.choice(['a"b', "\\", '\\"', "[[{{,,::", "", "é\u2028", '"' * 5])
        if kind in (1, 2):
            return rng.choice([1, -2.5, None, True])
        if kind in (3, 4):
            return [value(depth - 1) for _ in range(rng.randrange(20))]
        return {f'k"{n}\\': value(depth - 1) for n in range(rng.randrange(20))}

    def elements(found: Any) -> int:
        if isinstance(found, list):
            return max(0, len(found) - 1) + sum(map(elements, found))
        if isinstance(found, dict):
            return max(0, len(found) - 1) + len(found) + sum(map(elements, found.values()))
        return 0

    refused = 0
    for _ in range(12):
        made = [value(2) for _ in range(rng.choice([20, 500, 6000]))]
        try:
            check_json(orjson.dumps(made))
        except DuckDBException:
            refused += 1
            assert elements(made) + 1 > MAX_ELEMENTS or orjson.dumps(made).count(b"[") > 10_000
        else:
            assert elements(made) + 1 <= MAX_ELEMENTS
    assert 0 < refused < 12


async def test_a_request_is_refused_by_them(admin: httpx2.AsyncClient) -> None:
    headers = {"Content-Type": "application/json"}
    for path, head in (
        ("/query", b'{"query":"SELECT 1","params":'),
        ("/jobs", b'{"query":"SELECT 1","params":'),
        ("/explain", b'{"query":"SELECT 1","params":'),
        ("/batch", b'{"queries":'),
    ):
        many = head + b"[" + b"[]," * 1_000_000 + b"[]]}"
        answer = await admin.post(path, content=many, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
        deep = head + b"[" * 1000 + b"]" * 1000 + b"}"
        answer = await admin.post(path, content=deep, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    params = {"query": "SELECT 1", "params": list(range(10_001))}
    answer = await admin.post("/query", json=params)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
