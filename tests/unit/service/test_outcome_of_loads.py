"""A file that cannot be loaded is its user's doing, and no failure of the service."""

from __future__ import annotations

from chronoduck.errors import LoadError
from chronoduck.service.outcomes import outcome_of


def test_a_file_that_cannot_be_loaded_is_an_error_of_its_user() -> None:
    assert outcome_of(LoadError("line 2: 3 fields, where there are 2 columns")) == "user_error"
