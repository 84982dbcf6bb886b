"""Reads the code blocks of the documentation and runs them as a reader would paste them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.patience import PATIENCE_SECONDS

REPOSITORY = Path(__file__).parents[2]
DOCUMENTS = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_MARK = "@@chronoduck-docs@@"


@dataclass(frozen=True)
class Command:
    """A command of a document, and the output shown below it; None: none is shown."""

    text: str
    output: str | None = None


def blocks(document: Path, language: str) -> list[str]:
    """Return the texts of the fenced blocks in one language."""
    return [text for name, text in _BLOCK.findall(document.read_text()) if name == language]


def commands(document: Path) -> list[Command]:
    """Return the shell commands: whole ``bash`` blocks, and the ``$`` lines of ``console`` blocks."""
    found = []
    for language, text in _BLOCK.findall(document.read_text()):
        if language == "bash":
            found.append(Command(text))
        elif language == "console":
            for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
                command, output = _split(part)
                found.append(Command(command, output))
    return found


def _split(part: str) -> tuple[str, str]:
    """Separate a command, which goes on behind a backslash, from its output."""
    lines = part.split("\n")
    end = 1
    while lines[end - 1].endswith("\\"):
        end += 1
    return "\n".join(lines[:end]), "\n".join(lines[end:])


def run_all(todo: list[Command], directory: Path, port: int) -> list[str]:
    """Run the commands one after the other in one shell; return what each printed.

    The demo's port is replaced by ``port``; ``make`` only shows what it would do, and ``systemctl``,
    which a test cannot call, does nothing.
    """
    script = [
        "exec 2>&1",
        f'make() {{ command make --dry-run -C "{REPOSITORY}" "$@" > /dev/null; }}',
        "systemctl() { :; }",
    ]
    for command in todo:
        script += [command.text, f"echo {_MARK}$?"]
    text = "\n".join(script).replace(":8000", f":{port}").replace(". .venv/bin/activate", ":")
    done = subprocess.run(
        ["bash", "-c", text],
        cwd=directory,
        env={
            **{name: value for name, value in os.environ.items() if name[:7] != "DUCKDB_"},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "DUCKDB_DATABASE_PATH": "var/chrono_analytics.db",
            "DUCKDB_TEMP_DIRECTORY": "var/tmp",
            "COLUMNS": "120",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=5 * PATIENCE_SECONDS,
        check=False,
    )
    outputs = done.stdout.replace(f":{port}", ":8000").split(_MARK)
    assert len(outputs) == len(todo) + 1, done.stdout[-2000:]
    # Behind each mark stands the exit code of the command before, on the mark's line.
    return [("\n" + output).partition("\n")[2] for output in outputs[:1]][: len(todo)] + [
        output.partition("\n")[2] for output in outputs[1:-1]
    ]


def comparable(output: str) -> list[str]:
    """Return the lines with what differs from run to run blotted out: numbers, ids, directories."""
    text = re.sub(r"\b[0-9a-f]{16,32}\b", "ID", output.strip())
    text = re.sub(r"(?<=\s)…?/[^\s,]+", "PATH", text)
    text = re.sub(r"\d+([.,]\d+)*", "0", text)
    text = re.sub(r"\bup (0 (h|min) )+0 (s|min)\b", "up 0 s", text)
    text = re.sub(r"\bµs|\bms|\b(k|M|G)?B\b", "unit", text)
    return [re.sub(r"\s+", " ", line).strip() for line in text.splitlines()]


def repeatable(output: str) -> list[str]:
    """Return the lines without what a second run prints otherwise: times, shares, megabytes, places."""
    text = re.sub(r"(?<=\s)…?/[^\s,]+", "PATH", output.strip())
    text = re.sub(r"\b\d+([.,]\d+)? (h|min|s|ms|µs|MB|%)(?=\W|$)", "0 unit", text)
    text = re.sub(r"\bup 0 unit( 0 unit)*", "up 0 unit", text)
    text = re.sub(r"\b\d+ since start\b", "0 since start", text)
    return [re.sub(r"\s+", " ", line).strip() for line in text.splitlines()]


def script_blocks(page: str, heading: str) -> list[str]:
    """Return the ``sh`` blocks of one section of a page, which its own test runs."""
    text = (REPOSITORY / "docs" / page).read_text()
    section = re.search(rf"^#+ {heading}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert section, heading
    return re.findall(r"^```sh\n(.*?)^```$", section[1], re.MULTILINE | re.DOTALL)
