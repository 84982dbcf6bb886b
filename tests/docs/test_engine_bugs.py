"""docs/engine-bugs.md: each report does on this engine what its table says."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb
import pytest

from tests.fuzz.child import Tell, live, look
from tests.fuzz.program import Life, Step
from tests.fuzz.replay import in_child

PAGE = Path(__file__).parents[2] / "docs" / "engine-bugs.md"
_DEADLINE_SECONDS = 20.0


def reports() -> dict[str, tuple[dict[str, str], list[str]]]:
    """Return outcome by version and statements of each report."""
    found = {}
    for section in PAGE.read_text().split("\n## ")[1:]:
        block = re.search(r"```sql\n(.*?)```", section, re.DOTALL)
        if block is not None:
            outcomes = dict(re.findall(r"^\| (\d\S+) \| `(.+)` \|$", section, re.MULTILINE))
            statements = [line.removesuffix(";") for line in block[1].splitlines()]
            assert statements[-1] == "-- kill -9"
            found[section.partition("\n")[0]] = (outcomes, statements[:-1])
    return found


def outcome_of(path: Path, statements: list[str]) -> str:
    steps = tuple(Step(0, text) for text in statements)

    def run(tell: Tell) -> None:
        live(str(path), "v1.0.0", Life(steps), tell, with_macros=False)

    lived = in_child(run, _DEADLINE_SECONDS)
    if lived.last("error"):
        assert lived.last("error")[0] == len(steps) - 1
        return "refused"
    looked = in_child(
        lambda tell: look(str(path), "v1.0.0", tell, with_macros=False, as_service=False),
        _DEADLINE_SECONDS,
    )
    stage = looked.last("stage")
    if looked.how != "ended":
        return f"{stage} {looked.how.split()[0]}"
    if looked.last("failed"):
        return f"{stage} failed"
    if looked.last("indexes") or looked.last("indexes again"):
        return "look up failed"
    assert looked.last("holds")["rows"] == lived.last("holds")["rows"]
    return "right" if stage == "done" else str(stage)


def test_the_page_has_reports() -> None:
    assert len(reports()) >= 7


@pytest.mark.slow
@pytest.mark.parametrize("title", reports())
def test_a_report_is_true_of_this_engine(tmp_path: Path, title: str) -> None:
    outcomes, statements = reports()[title]
    assert outcome_of(tmp_path / "a.db", statements) == outcomes[duckdb.__version__]
