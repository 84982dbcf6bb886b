"""Each runbook is followed on a service that is broken in just that way; then the data is compared."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.docs.disasters import DISASTERS, ROWS, Disaster
from tests.docs.documents import REPOSITORY
from tests.docs.machine import Machine, until
from tests.fault.volumes import small_volume

RUNBOOKS = REPOSITORY / "docs" / "runbooks"
PAGES = {path.stem: path.read_text() for path in RUNBOOKS.glob("*.md") if path.stem != "README"}
INDEX = (RUNBOOKS / "README.md").read_text()
HEADINGS = ["Symptom", "See", "Fix", "Did it work?", "If not"]
_SECTION = re.compile(r"^## (.*?)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
CASES = [(name, each) for name, disasters in sorted(DISASTERS.items()) for each in disasters]


def sections(name: str) -> dict[str, str]:
    return dict(_SECTION.findall(PAGES[name]))


def commands(text: str) -> str:
    """Return the text of a section's command block; empty: it has none."""
    found = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert len(found) <= 1, "one block a section: nobody chooses at 3 AM"
    return "".join(found)


def promised(text: str) -> list[str]:
    """Return what the last line may be once it works."""
    sentence = re.search(r"^It prints (`[^`]+`(?: or )?)+", text, re.MULTILINE)
    assert sentence, "the page says what is printed when it worked"
    return re.findall(r"`([^`]+)`", sentence[0])


@pytest.mark.parametrize("name", sorted(PAGES))
def test_every_runbook_has_its_sections_its_commands_and_its_disaster(name: str) -> None:
    found = sections(name)
    assert list(found) == HEADINGS
    for heading in ("See", "Fix", "Did it work?"):
        assert commands(found[heading]), heading
    assert promised(found["Did it work?"])
    assert ". /etc/chronoduck/shell.sh" in PAGES[name].partition("## Symptom")[0]
    assert len(PAGES[name].split()) < 350, "nobody reads more at 3 AM"
    used = [each.uses_otherwise for each in DISASTERS[name]]
    assert (True in used) == bool(commands(found["If not"])), "every block is run"


@pytest.mark.parametrize("name", sorted(PAGES))
def test_no_runbook_deletes_a_file(name: str) -> None:
    """A file of a damaged database may hold the only copy of something: it is moved, never deleted."""
    for block in map(commands, sections(name).values()):
        block = re.sub(r'(?<=chronoduck query )"[^"]*"', "STATEMENT", block)
        assert not re.search(r"\brm\b|\bunlink\b|-delete\b|\btruncate\b", block), block


@pytest.mark.parametrize("name", sorted(PAGES))
def test_every_runbook_is_in_the_index_and_links_to_others_that_exist(name: str) -> None:
    assert f"]({name}.md)" in INDEX
    for target in re.findall(r"\]\(([^)]+)\)", PAGES[name]):
        # A page must not lead out of what the service serves.
        assert target == "README.md" or target.removesuffix(".md") in PAGES, target


def test_there_is_a_disaster_for_every_runbook_and_no_other() -> None:
    assert set(DISASTERS) == set(PAGES)


def test_every_component_of_health_leads_to_a_runbook() -> None:
    keys = (REPOSITORY / "tests" / "golden" / "health.keys").read_text()
    components = set(re.findall(r"^\.components\.(\w+)\.component$", keys, re.MULTILINE))
    table = set(re.findall(r"^\| `(\w+)` \|", sections("service-degraded")["See"], re.MULTILINE))
    assert components | {"service"} == table


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def _prepare(root: Path, disaster: Disaster, stack: ExitStack) -> Machine:
    if disaster.small_disk:
        stack.enter_context(small_volume(root / "data", 100))
    machine = Machine(root, **disaster.settings)
    if disaster.mounted_replica:
        for directory in (root / "store", machine.replica):
            directory.mkdir()
        mount = ["/usr/bin/mount", "--bind", root / "store", machine.replica]
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"needs a mount, and mount says: {done.stderr.strip()}")
        stack.callback(subprocess.run, ["umount", "-l", machine.replica], check=False)
    stack.callback(machine.close)
    machine.run("systemctl start chronoduck")
    machine.query(
        f"CREATE TABLE pages_analytics AS SELECT range AS a, 'org' AS tld FROM range({ROWS - 1})"
    )
    machine.cli("backup", "create")
    machine.query("CHECKPOINT")
    machine.query("INSERT INTO pages_analytics VALUES (-1, 'com')")
    return machine


@pytest.mark.slow
@pytest.mark.parametrize(("name", "disaster"), CASES, ids=[name for name, _ in CASES])
def test_a_runbook_mends_what_it_is_for(
    name: str, disaster: Disaster, tmp_path: Path, stack: ExitStack
) -> None:
    page = sections(name)
    works = commands(page["Did it work?"])
    machine = _prepare(tmp_path, disaster, stack)
    contents = machine.contents()

    def is_well() -> bool:
        lines = machine.attempt(works).stdout.strip().splitlines()
        return bool(lines) and lines[-1] in promised(page["Did it work?"])

    with ExitStack() as broken:
        left = disaster.happen(machine)
        if left is not None:
            broken.enter_context(left)
        seen = machine.attempt(commands(page["See"]))
        shown = seen.stdout + seen.stderr
        assert re.search(disaster.seen, shown, re.MULTILINE), shown
        if disaster.is_broken:
            assert not is_well(), "the check must tell broken from well"
        if disaster.ends_before_fix:
            broken.close()
        machine.run(commands(page["If not" if disaster.uses_otherwise else "Fix"]))
        if name == "service-degraded":  # its table leads to the component's own runbook
            component = seen.stdout.partition(":")[0]
            row = re.search(rf"^\| `{component}` \| \[([\w-]+)\]", page["See"], re.MULTILINE)
            assert row
            machine.run(commands(sections(row[1])["Fix"]))
        until(is_well, 30)
    assert disaster.rows[0] <= machine.rows() <= disaster.rows[1]
    if disaster.rows == (ROWS, ROWS):
        assert machine.contents() == contents
    assert machine.health()["service_initialized"]


@pytest.mark.slow
def test_what_the_index_begins_with_names_what_is_wrong(tmp_path: Path, stack: ExitStack) -> None:
    machine = _prepare(tmp_path, Disaster(), stack)
    first = commands(INDEX)
    assert "ok      service" in machine.run(first)
    machine.kill()
    (machine.data / "admin.token").chmod(0o644)
    found = machine.run(first)
    assert re.search(r"error +token .*\n.*fix: Run: chmod 600", found), found
    assert "chronoduck runbook" in found
    shown = machine.run("chronoduck runbook DuckDBServiceMissing")  # no service runs
    assert shown == PAGES["service-missing"]
