"""The search for statements that DuckDB does not survive.

A share of it: ``CHRONODUCK_SEARCH_STATEMENTS`` sets how many.
"""

from __future__ import annotations

import os

import pytest

from tests.security.search.search import search

pytestmark = pytest.mark.slow

COUNT = int(os.environ.get("CHRONODUCK_SEARCH_STATEMENTS", "150"))
SEED = int(os.environ.get("CHRONODUCK_SEARCH_SEED", "0"))


def test_no_statement_that_passes_ends_or_holds_the_engine() -> None:
    assert list(search(SEED, COUNT)) == []
