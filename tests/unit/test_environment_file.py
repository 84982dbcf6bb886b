"""Environment files, read as systemd reads them: its own parser is the judge."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chronoduck.environment_file import ignored_lines, parse_environment

# It reads files of the same form, with the same function of systemd.
GENERATOR = Path("/usr/lib/systemd/user-environment-generators/30-systemd-environment-d-generator")
# Characters that mean something, and two that do not. "$" is expanded in environment.d alone.
LINES = st.text(alphabet="=#;'\"\\ \tabX_1*`\n", max_size=30)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("A=0 * * * *\n", "0 * * * *"),
        (
            "A=requests_per_minute=3000, concurrent_statements=32",
            "requests_per_minute=3000, concurrent_statements=32",
        ),
        ("A=$(touch x) `touch x` $HOME ~", "$(touch x) `touch x` $HOME ~"),
        ("A='it is' \"here\"\n", "it ishere"),
        ("A=a # no comment\n", "a # no comment"),
        ("# A=1 \\\nA=2", "2"),
        ("A=one \\\n  two  \n", "one   two"),
        ('A="two\nlines"', "two\nlines"),
        ("A=1\r\n", "1"),
        ("A=1\nA=\n", ""),
    ],
)
def test_a_value_stands_as_it_is_written(text: str, value: str) -> None:
    assert parse_environment(text) == {"A": value}


@pytest.mark.parametrize("text", ["", "A", "=1", "export A=1", "1A=1", "Ä=1", "#A=1", " ;A=1"])
def test_what_sets_nothing(text: str) -> None:
    assert parse_environment(text) == {}


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        ("export DUCKDB_PORT=secret", "write DUCKDB_PORT=..., without export"),
        ("  export\tDUCKDB_PORT = secret", "write DUCKDB_PORT=..., without export"),
        ("export DUCKDB_PORT", "write DUCKDB_PORT=..., without export"),
        ("set DUCKDB_PORT=secret", "write DUCKDB_PORT=..., with nothing before it"),
        ("DUCKDB_PORT secret", "write DUCKDB_PORT=..., with nothing before it"),
        ("DUCKDB_PORT: secret", "write DUCKDB_PORT=..., with nothing before it"),
        ("DUCKDB-PORT=secret", "write NAME=VALUE; a name has letters of A to Z, digits and _"),
        ("=secret", "write NAME=VALUE; a name has letters of A to Z, digits and _"),
        ("A=secret\0", "its value has a NUL byte"),
    ],
)
def test_a_line_that_sets_nothing_is_told_with_what_to_write(line: str, instead: str) -> None:
    text = f"# export A=1\nB='2\n\n'\n{line}\nC=3\\\nexport D=4\n"
    assert ignored_lines(text) == [f"line 5 sets nothing, as with systemd: {instead}"]


@given(LINES)
def test_every_line_sets_something_or_is_told(text: str) -> None:
    """A comment may end in a backslash, and then takes the next line as well: only one is counted."""
    told = [int(each.split()[1]) for each in ignored_lines(text)]
    assert told == sorted(set(told))
    if text.strip() and not text.strip().startswith(("#", ";")):
        assert told or parse_environment(text)


@settings(max_examples=150)
@given(body=LINES)
def test_systemd_reads_the_same(body: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    if not GENERATOR.exists():
        assert not os.environ.get("CI"), "systemd is not installed"
        pytest.skip("systemd is not installed")
    text = f"X={body}\n"
    directory = tmp_path_factory.mktemp("config") / "environment.d"
    directory.mkdir()
    (directory / "a.conf").write_text(text)
    said = subprocess.run(
        [GENERATOR],
        env={"XDG_CONFIG_HOME": str(directory.parent)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    # Before version 254 a comment went on behind a backslash; environment.d has no empty values.
    if any(line.strip().startswith(("#", ";")) and "\\" in line for line in text.splitlines()):
        return
    theirs = dict(map(shown, said.splitlines()))
    ours = {name: value for name, value in parse_environment(text).items() if value}
    assert ours == {name: value for name, value in theirs.items() if set(name) <= set("abX_1")}


def shown(line: str) -> tuple[str, str]:
    """Return the name and the value of a line that the generator prints, quoted where it must be."""
    name, _, value = line.partition("=")
    value = value.removeprefix("$")
    if value[:1] in ("'", '"'):
        value = value[1:-1].replace("\\`", "`").encode().decode("unicode_escape")
    return name, value


def test_a_command_takes_the_file_and_no_shell_reads_it(tmp_path: Path) -> None:
    (tmp_path / "touched").touch()  # what a shell makes of the first star
    (tmp_path / "duckdb.env").write_text(
        "DUCKDB_BACKUP_SCHEDULE=0 * * * *\nDUCKDB_MEMORY_LIMIT=123\nexport DUCKDB_PORT=81\n"
    )
    command = [sys.executable, "-m", "chronoduck"]
    for option in (["--env-file", "duckdb.env"], ["--env-file=duckdb.env"]):
        done = subprocess.run(
            [*command, *option, "doctor"],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "DUCKDB_MEMORY_LIMIT": "1GB"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 78, done
        assert "line 3 sets nothing" in done.stderr
        assert "warning" in done.stdout
        assert "line 3 sets nothing, as with systemd" in done.stdout
        assert "Write DUCKDB_PORT=..., without export." in done.stdout
        assert "81" not in done.stdout + done.stderr
        assert "123 bytes; did you mean 123GB?" in " ".join(done.stdout.split())
        assert "SCHEDULE" not in done.stdout


@pytest.mark.parametrize("file", ["none", "."])
def test_a_file_that_cannot_be_read_is_said(tmp_path: Path, file: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "chronoduck", "--env-file", file, "serve"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 78
    assert done.stderr.startswith(f"error: --env-file {file}: ")
    assert "Traceback" not in done.stderr
