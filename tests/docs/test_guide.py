"""The platform's operations guide, line by line: each row of docs/guide.md is run and judged."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.docs.documents import REPOSITORY
from tests.docs.guide.row import Row, Verdict
from tests.docs.guide.rows import ROWS
from tests.docs.machine import Machine, until

DOCUMENT = REPOSITORY / "docs" / "guide.md"
GUIDE = REPOSITORY.parent / "shared" / "OPERATIONS.md"
_HEAD = """# The guide, line by line

Every command, endpoint, metric, alert, JSON key, import and procedure of the platform's operations
guide, in its order, and how it works here. `python -m tests.docs.test_guide` writes this page from the
rows that `tests/docs/test_guide.py` runs, each against a service: what "works as written" is run
literally, with a port and paths of the test in place of the guide's. Where a row could not be run, or
not all of it, it says so.

{counts}

| line | the guide | verdict | |
|---|---|---|---|
"""


def render() -> str:
    """Return the page."""
    counts = Counter(row.verdict for row in ROWS)
    told = ", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict)
    head = _HEAD.format(counts=f"{len(ROWS)} rows: {told}.")
    return head + "".join(f"{_cells(row)}\n" for row in ROWS)


def _cells(row: Row) -> str:
    first, last = row.lines
    lines = str(first) if first == last else f"{first}-{last}"
    shown = "<br>".join(_code(line) for line in row.text.splitlines())
    return f"| {lines} | {shown} | {row.verdict} | {row.note.replace('|', chr(92) + '|')} |"


def _code(line: str) -> str:
    line = line.rstrip().replace("|", "\\|")
    if line.startswith(("- ", "1. ", "2. ", "3. ", "4. ", "5. ")) and not line.startswith(
        "- alert: "
    ):
        return line.partition(" ")[2] if line.startswith("- ") else line
    indent = "&nbsp;" * (len(line) - len(line.lstrip()))
    return f"{indent}`{line.lstrip()}`"


def test_the_page_is_what_the_rows_say() -> None:
    """Rewrite with: python -m tests.docs.test_guide"""
    assert DOCUMENT.read_text() == render()


def test_every_row_is_run_alone_or_as_a_step_of_a_procedure() -> None:
    for row in ROWS:
        assert (row.check is None) == bool(row.part), row.text
        assert not row.part or row.part in PROCEDURES, row.part
        assert row.note or row.verdict is Verdict.WORKS, f"how does it work? {row.text}"


def test_the_rows_are_the_guide_and_leave_nothing_out() -> None:
    if not GUIDE.exists():
        pytest.skip("the guide is not beside this repository")
    lines = GUIDE.read_text().splitlines()
    for row in ROWS:
        first, last = row.lines
        there = "\n".join(lines[first - 1 : last])
        assert there.strip() == row.text.strip(), f"line {first}"
    covered = {n for row in ROWS for n in range(row.lines[0], row.lines[1] + 1)}
    # Prose, and what only introduces what follows: headings, comments, the shell's first lines.
    prose = re.compile(r"\s*$|#|```|--|\*\*.*\*\*$|\d\. \*\*|The |This ")
    missing = [
        f"{number}: {line}"
        for number, line in enumerate(lines, 1)
        if number not in covered and not prose.match(line)
    ]
    assert missing == []


@pytest.fixture(scope="module")
def guided(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine as the guide has it: backups by gzip, the platform's tables with real captures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DUCKDB_DATABASE_PATH", raising=False)
        machine = _set_up(tmp_path_factory.mktemp("guide"))
        yield machine
        machine.close()


def _set_up(root: Path) -> Machine:
    machine = Machine(root, DUCKDB_BACKUP_FORMAT="gz")
    machine.run("systemctl start chronoduck")
    machine.cli("load", str(REPOSITORY / "examples/data/twitter-labels.cdx"))
    days = "SELECT DATE '2024-01-01' + range::INTEGER AS date FROM range(5000)"
    machine.query(f"CREATE TABLE large_table AS {days}")
    machine.cli("backup", "create")
    return machine


@pytest.mark.slow
@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.check], ids=lambda row: f"line-{row.lines[0]}"
)
def test_a_row_of_the_guide_is_true(row: Row, guided: Machine) -> None:
    assert row.check is not None
    row.check(guided, row)


def _damage(machine: Machine) -> None:
    machine.run("systemctl stop chronoduck")
    machine.flip(machine.database, 0.001)
    assert machine.attempt("systemctl start chronoduck").returncode != 0


def _age_a_backup(machine: Machine) -> None:
    machine.run(
        "mkdir -p /backups/duckdb/20200101; touch -d '31 days ago' /backups/duckdb/20200101/old.db.gz"
    )


def _is_backed_up(machine: Machine, printed: str) -> None:
    assert not (machine.backups / "20200101" / "old.db.gz").exists()
    made = [p for p in machine.backups.glob("2*/chrono_analytics_*.db.gz") if not p.is_symlink()]
    newest = max(made, key=lambda path: path.stat().st_mtime)
    shutil.copy(newest, machine.root / "copy.db.gz")
    machine.run(f"gunzip {machine.root}/copy.db.gz && chmod 640 {machine.root}/copy.db")
    sql = "SELECT count(*) FROM pages_analytics"
    counted = machine.run(
        f'chronoduck query --format csv --database {machine.root}/copy.db "{sql}"'
    )
    assert counted.split()[-1] == str(machine.rows())


def _is_well(machine: Machine, printed: str) -> None:
    assert re.search(r'"status":"(healthy|degraded)"', printed), printed


def _has_limit(limit: str) -> Callable[[Machine, str], None]:
    def check(machine: Machine, printed: str) -> None:
        with machine.client() as client:
            assert client.get("/statistics").json()["service"]["memory_limit"] == limit

    return check


def _nothing(machine: Machine) -> None:
    pass


PROCEDURES: dict[str, tuple[Callable[[Machine], None], Callable[[Machine, str], None]]] = {
    "file backup": (_age_a_backup, _is_backed_up),
    "corruption": (_damage, _is_well),
    "memory": (_nothing, _has_limit("2.00GB")),
    "service down": (Machine.kill, _is_well),
    "emergency corruption": (_damage, _is_well),
    "memory exhaustion": (_nothing, _has_limit("1.00GB")),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PROCEDURES)
def test_a_procedure_of_the_guide_mends_what_it_is_for(name: str, tmp_path: Path) -> None:
    break_it, look = PROCEDURES[name]
    steps = [row.script for row in ROWS if row.part == name]
    machine = _set_up(tmp_path)
    rows = machine.rows()
    try:
        break_it(machine)
        printed = machine.run("\n".join(steps))
        until(lambda: machine.health()["status"] in ("healthy", "degraded"))
        look(machine, printed)
        assert machine.rows() == rows
    finally:
        machine.close()


if __name__ == "__main__":
    DOCUMENT.write_text(render())
