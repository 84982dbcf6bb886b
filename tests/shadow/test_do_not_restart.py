"""What restarts a service must not look at its health: a start may be unable to replay the WAL."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
DEPLOY = REPOSITORY / "deploy"


def test_the_container_check_asks_for_life_alone() -> None:
    text = (DEPLOY / "docker" / "Dockerfile").read_text()
    assert re.search(
        r'^HEALTHCHECK .* CMD \["chronoduck", "status", "--live"\]$', text, re.MULTILINE
    )
    assert "must not do so" in text


def test_the_cluster_restarts_by_life_alone() -> None:
    text = (DEPLOY / "kubernetes" / "chronoduck.yml").read_text()
    assert "do not restart" in text
    for probe in re.findall(
        r"(startup|liveness)Probe:\n(?:\s*#.*\n)*\s*httpGet: \{path: (\S+),", text
    ):
        assert probe[1] == "/api/v1/duckdb/health/live"
    assert len(re.findall("health/live", text)) == 2


def test_the_unit_restarts_what_has_ended_or_hangs_and_says_so() -> None:
    text = (DEPLOY / "systemd" / "chronoduck.service").read_text()
    assert re.search(r"^# Do not restart .*unhealthy", text, re.MULTILINE)
    assert re.search(r"^Restart=on-failure$", text, re.MULTILINE)
    for line in text.splitlines():
        assert not re.match(r"Exec\w*=.*(/health|chronoduck status)", line), line


def test_the_runbook_and_the_alert_say_it_first() -> None:
    page = (REPOSITORY / "docs" / "runbooks" / "wal-not-replayable.md").read_text()
    assert page.splitlines()[0].endswith("do not restart")
    rules = (DEPLOY / "prometheus" / "rules.yml").read_text()
    alert = rules.split("alert: DuckDBWalNotReplayable")[1].split("- alert:")[0]
    assert "do not restart" in alert
    assert "systemctl restart" not in page


@pytest.mark.parametrize(
    ("health", "printed", "code"),
    [
        ('{"errors": ["A restart would fail. Do not restart the service."]}', "", 1),
        ('{"errors": []}', "restart chronoduck", 0),
        ("", "restart chronoduck", 0),
    ],
    ids=["a-start-would-fail", "well", "no-answer"],
)
def test_the_shell_of_the_runbooks_refuses_a_restart_that_would_fail(
    tmp_path: Path, health: str, printed: str, code: int
) -> None:
    """It asks by the command, which knows where the service listens, with the service's settings."""
    programs = {
        "chronoduck": f"""[ "$*" = "--env-file {tmp_path}/duckdb.env status --json" ] || exit 9
printf '%s' '{health}'""",
        "runuser": """[ "$1 $2 $3" = "-u chronoduck --" ] || exit 9
shift 3; exec "$@" """,
        "systemctl": 'echo "$@"',
    }
    for name, text in programs.items():
        program = tmp_path / name
        program.write_text(f"#!/bin/bash\n{text}\n")
        program.chmod(0o755)
    (tmp_path / "duckdb.env").touch()
    shell = (DEPLOY / "systemd" / "shell.sh").read_text()
    assert "localhost" not in shell
    script = shell.replace("/etc/chronoduck", str(tmp_path))
    done = subprocess.run(
        ["/bin/bash", "-c", f"{script}\nPATH={tmp_path}:$PATH\nsystemctl restart chronoduck"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.strip(), done.returncode) == (printed, code), done.stderr
