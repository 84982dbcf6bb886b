"""What a client makes of what it is told of jobs."""

from __future__ import annotations

from pathlib import Path

import pytest

from chronoduck import errors
from chronoduck.client.job_facts import JobFacts, pauses, target_of


def facts(state: str, error: dict[str, str] | None = None) -> JobFacts:
    return JobFacts({"id": "1", "state": state, "error": error, "result": None, "progress": {}})


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", ""])
def test_a_file_name_that_leads_out_of_the_directory_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(errors.InvalidRequestError):
        target_of(tmp_path, name)
    assert target_of(tmp_path, "a=1/x.parquet") == tmp_path / "a=1" / "x.parquet"


def test_every_end_but_success_has_its_error() -> None:
    assert facts("running").error() is None
    assert facts("succeeded").error() is None
    assert isinstance(facts("cancelled").error(), errors.StatementCancelledError)
    told = {"code": "out_of_memory", "detail": "too large", "hint": "less"}
    error = facts("failed", told).error()
    assert isinstance(error, errors.OutOfMemoryError)
    assert (error.detail, error.hint, error.http_status) == ("too large", "less", 507)


def test_pauses_grow_and_end_with_the_time() -> None:
    waits = pauses(None, "1")
    first = [next(waits) for _ in range(20)]
    assert first == sorted(first)
    assert first[-1] == first[-2] == 2.0
    with pytest.raises(TimeoutError):
        next(pauses(0, "1"))
