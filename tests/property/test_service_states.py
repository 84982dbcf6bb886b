"""What the service's state stopped stays the service's state through everything that wraps errors.

A client that believes statuses drops rows that were refused with 400, and keeps those with 507.
"""

from __future__ import annotations

import asyncio
import copy
import importlib
import pkgutil
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx2
import orjson
import pytest

import chronoduck
from chronoduck import errors
from chronoduck.api.problems import problem_response
from chronoduck.assembly import DuckDBService
from chronoduck.client.job_facts import JobFacts
from chronoduck.client.problems import check
from chronoduck.client.retrying import Repeat, Retries
from chronoduck.errors import BatchError, DuckDBException
from chronoduck.service.batch import run_batch
from chronoduck.service.records import Caller
from chronoduck.sql.engine_errors import EngineFailure
from chronoduck.tasks.process import _failure
from chronoduck.transfer.group_commit import GroupCommit, Sender
from chronoduck.transfer.small_rows import small_rows

for module in pkgutil.walk_packages(chronoduck.__path__, "chronoduck."):
    if "__main__" not in module.name:
        importlib.import_module(module.name)


def classes(base: type[DuckDBException] = DuckDBException) -> Iterator[type[DuckDBException]]:
    for each in base.__subclasses__():
        yield each
        yield from classes(each)


KINDS = sorted(
    {kind for kind in classes() if kind.__module__.startswith("chronoduck.")},
    key=lambda kind: (kind.__module__, kind.__name__),
)
STATES = [kind for kind in KINDS if kind.http_status in (429, 503, 507) or kind.retryable]
ENGINE = [kind for kind in STATES if not issubclass(kind, EngineFailure)]  # is never wrapped


def made(kind: type[DuckDBException]) -> DuckDBException:
    """Return one of a class, whatever its constructor asks for."""
    error = kind.__new__(kind)
    DuckDBException.__init__(error, "what happened", hint="Wait.")
    error.retry_after_seconds = 7.0
    facts = {"category": None, "line": None, "column": None, "rule": None, "reason": ""}
    vars(error).update(
        facts, is_fatal=False, had_no_effect=False, index=0, sql="", rolled_back=True, cause=error
    )
    return error


def raising(error: DuckDBException) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


def over_http(error: DuckDBException) -> DuckDBException:
    """Return what the Python client raises for the service's answer."""
    response = problem_response(error, "r1")
    answer = httpx2.Response(
        response.status_code,
        headers=dict(response.headers),
        content=response.body,
        request=httpx2.Request("POST", "http://test/batch"),
    )
    with pytest.raises(DuckDBException) as caught:
        check(answer, ["SELECT 1", "SELECT 2"])
    return caught.value


async def batch(
    service: DuckDBService, error: DuckDBException, *, fails_at: int, use_transaction: bool
) -> DuckDBException:
    parts = service._parts
    assert parts is not None
    done: list[int] = []

    def run_one(*_: Any) -> None:
        if len(done) == fails_at:
            raise error
        done.append(1)

    with pytest.raises(BatchError) as caught:
        await run_batch(
            parts.runner,
            ["SELECT 1", "SELECT 2"],
            run_one,
            use_transaction=use_transaction,
            timeout=None,
            caller=Caller(),
        )
    return caught.value


async def group(service: DuckDBService, error: DuckDBException) -> DuckDBException:
    async def transact(work: object) -> Any:
        raise error

    commits = GroupCommit(10, None)  # type: ignore[arg-type] # nothing is kept
    rows = small_rows(b'{"a":1}\n')
    assert rows is not None
    with pytest.raises(DuckDBException) as caught:
        await commits.append(Sender("key:1", transact), "t", rows, "ndjson")
    return caught.value


async def job(service: DuckDBService, error: DuckDBException) -> DuckDBException:
    parts = service._parts
    assert parts is not None

    async def work(*_: Any) -> dict[str, Any]:
        raise error

    begun = await parts.jobs.begin("statement", work, "key:1")
    await parts.jobs.wait(begun)
    told = JobFacts(orjson.loads(orjson.dumps(begun.as_dict()))).error()
    assert told is not None
    return told


async def task(service: DuckDBService, error: DuckDBException) -> DuckDBException:
    message = {
        "detail": error.detail,
        "hint": error.hint,
        "code": error.code,
        "status": error.http_status,
        "retryable": error.retryable,
    }
    return _failure(orjson.loads(orjson.dumps(message)))


async def swallowed(service: DuckDBService, error: DuckDBException) -> DuckDBException:
    """A caller that goes on after a failed statement of a transaction."""
    with pytest.raises(DuckDBException) as caught:
        async with service.transaction() as transaction:
            transaction._failure = error
    return caught.value


async def next_statement(service: DuckDBService, error: DuckDBException) -> DuckDBException:
    found: list[DuckDBException] = []
    with pytest.raises(DuckDBException):
        async with service.transaction() as transaction:
            transaction._failure = error
            try:
                await transaction.execute("SELECT 1")
            except DuckDBException as raised:
                found.append(raised)
    return found[0]


ROUTES: dict[str, Callable[[DuckDBService, DuckDBException], Awaitable[DuckDBException]]] = {
    "batch": lambda service, error: batch(service, error, fails_at=1, use_transaction=True),
    "first of a batch without a transaction": lambda service, error: batch(
        service, error, fails_at=0, use_transaction=False
    ),
    "transaction": swallowed,
    "next statement of a transaction": next_statement,
    "group commit": group,
    "job": job,
    "task": task,
}


@pytest.mark.parametrize("route", ROUTES)
async def test_no_route_makes_a_state_of_the_service_the_callers_fault(
    service: DuckDBService, route: str
) -> None:
    assert len(STATES) > 25
    for kind in STATES if route == "group commit" else ENGINE:
        error = made(kind)
        got = await ROUTES[route](service, error)
        for seen in (got, over_http(got)):
            for name in ("code", "http_status", "retryable"):
                assert getattr(seen, name) == getattr(error, name), (kind.__name__, name)
        if error.http_status in (429, 503) and route not in ("job", "task", "group commit"):
            assert over_http(got).retry_after_seconds == 7.0, kind.__name__
        await asyncio.sleep(0)


async def test_a_batch_that_has_kept_some_is_not_to_be_repeated(service: DuckDBService) -> None:
    for kind in ENGINE:
        error = made(kind)
        got = await batch(service, error, fails_at=1, use_transaction=False)
        assert (got.code, got.http_status, got.retryable) == (kind.code, kind.http_status, False)
        back = over_http(got)
        assert isinstance(back, BatchError)
        assert back.has_kept_some
        with pytest.raises(DuckDBException):
            Retries().begin(Repeat.WRITE).wait_after(back)


async def test_what_the_caller_did_wrong_stays_its_fault(service: DuckDBService) -> None:
    for kind in (errors.DuckDBQueryError, errors.StatementRefusedError, errors.LimitExceededError):
        got = await batch(service, made(kind), fails_at=1, use_transaction=True)
        assert (got.code, got.http_status, got.retryable) == ("batch_failed", 400, False)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_can_be_copied_for_each_of_those_who_wait(kind: type[DuckDBException]) -> None:
    error = made(kind)
    error.__cause__ = ValueError("why")
    twin = copy.copy(error)
    assert type(twin) is kind
    assert twin is not error
    assert (vars(twin), twin.args, twin.__cause__) == (vars(error), error.args, error.__cause__)
