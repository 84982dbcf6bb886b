"""Every page is in the wheel, readable with one command, and named so that a user finds it."""

from __future__ import annotations

import ast
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from chronoduck.pages import close_topic, read_command, read_page, runbook_names, topics
from tests.docs.documents import DOCUMENTS, REPOSITORY
from tests.server import run_cli

SOURCE = REPOSITORY / "src" / "chronoduck"
RUNBOOKS = sorted((REPOSITORY / "docs" / "runbooks").glob("*.md"))
PAGES = [*DOCUMENTS, *RUNBOOKS]


def _links(page: Path) -> list[str]:
    """Return the files that a page leads to, relative to it."""
    found = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
    return [target for target in found if "://" not in target]


def _headings(page: Path) -> set[str]:
    """Return the anchors of a page, as GitHub makes them."""
    found = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


def test_every_page_is_a_topic_with_a_line_of_its_own() -> None:
    listed = {topic.name: topic.line for topic in topics()}
    assert set(listed) == {"readme", "runbooks", *(page.stem for page in DOCUMENTS[1:])}
    assert all(listed.values()), listed
    assert len(set(listed.values())) == len(listed), "two pages are described alike"
    for name in (*listed, *runbook_names()):
        page = read_page(name)
        assert page is not None
        assert page.startswith("# ")


@pytest.mark.parametrize(
    ("asked", "meant"), [("instal", "install"), ("Securty", "security"), ("disk-ful", "disk-full")]
)
def test_a_mistyped_topic_is_understood(asked: str, meant: str) -> None:
    assert close_topic(asked) == meant
    assert read_page(asked) is None


def test_a_command_is_a_topic_too() -> None:
    section = read_command("doctor")
    assert section is not None
    assert section.startswith("## `chronoduck doctor`\n")
    assert "```bash\nchronoduck doctor" in section
    assert "## `chronoduck runbook`" not in section
    assert read_command("doc") is None


@pytest.mark.parametrize("name", ["../README", "/etc/passwd", "..", "", "images/dashboard.png"])
def test_a_topic_is_a_name_and_never_a_path(name: str) -> None:
    assert read_page(name) is None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_link_leads_to_a_file_and_every_anchor_to_a_heading(page: Path) -> None:
    for target in _links(page):
        assert (page.parent / target).exists(), target
    for target, anchor in re.findall(r"\]\(([^)#\s]*)#([^)\s]+)\)", page.read_text()):
        if "://" not in target:
            there = page.parent / target if target else page
            assert anchor in _headings(there), f"{target}#{anchor}"


def test_no_text_of_the_program_names_a_page_in_a_way_that_a_user_cannot_open() -> None:
    known = {topic.name for topic in topics()} | set(runbook_names())
    named = set()
    for path in SOURCE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if not isinstance(node, ast.Constant) or id(node) in docstrings:
                continue
            text = str(node.value)
            assert not re.search(r"docs/[\w/-]*\.md", text), f"{path.name}: {text}"
            named |= set(re.findall(r"`chronoduck help ([\w-]+)", text))
    assert named
    assert named <= known


@pytest.mark.slow
def test_the_wheel_has_every_page_and_each_link_leads_to_the_wheel_or_the_repository(
    wheel: Path,
) -> None:
    package = wheel / "chronoduck"
    for page in PAGES:
        copy = package / page.relative_to(REPOSITORY)
        assert copy.read_text() == page.read_text()
        for target in _links(page):
            there = (page.parent / target).resolve().relative_to(REPOSITORY)
            assert (package / there).exists() or _is_of_the_repository(there), f"{page}: {target}"


def _is_of_the_repository(path: Path) -> bool:
    return path.parts[0] in ("benchmarks", "client", "deploy", "examples", "tests", "LICENSE")


@pytest.mark.slow
def test_the_wheel_shows_its_pages_without_the_repository(wheel: Path, tmp_path: Path) -> None:
    for arguments, first in ((["help", "security"], "# Security"), (["help"], "readme")):
        done = subprocess.run(
            [sys.executable, "-m", "chronoduck", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(wheel)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.startswith(first)


@pytest.mark.slow
def test_an_unknown_topic_is_wrong_usage(tmp_path: Path) -> None:
    done = run_cli(tmp_path, "help", "securty", COLUMNS="200")
    assert done.returncode == 64
    assert "There is no page 'securty'. Did you mean 'security'?" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("pager", ["sed s/^/paged:/", "no-such-pager"])
def test_a_terminal_has_the_page_formatted_and_in_the_pager(tmp_path: Path, pager: str) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "chronoduck", "help", "results"],
        cwd=tmp_path,
        env={**os.environ, "PAGER": pager, "TERM": "xterm", "COLUMNS": "120"},
        stdout=theirs,
    )
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 65_536):
            shown += piece
    except OSError:  # everybody has closed the terminal
        pass
    finally:
        os.close(ours)
    assert process.wait() == 0
    assert b"\x1b[" in shown
    assert (b"paged:" in shown) == pager.startswith("sed")


def test_the_old_name_is_used_only_where_the_operations_guide_promises_it() -> None:
    """docs/install.md lists the names; the other two pages are about the guide and the earlier unit."""
    about_names = {"guide.md", "install.md", "upgrade.md"}
    promised = ("/var/log/chrono-scraper", "LogsDirectory=chrono-scraper", "Alias=chrono-scraper")
    files = [*PAGES, *(REPOSITORY / "deploy" / "systemd").iterdir(), *SOURCE.rglob("*.py")]
    for path in files:
        text = path.read_text()
        for name in promised:
            text = text.replace(name, "")
        assert "chrono-scraper" not in text or path.name in about_names, path
    names = (REPOSITORY / "docs" / "install.md").read_text().partition("### Names")[2]
    for name in ("`chrono-scraper`", "`/var/log/chrono-scraper/duckdb.log`", "`app`"):
        assert name in names
