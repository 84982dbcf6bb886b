"""The page on installation: what this machine can do is done, the rest is compared with its files."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from tests.docs.documents import REPOSITORY, blocks, script_blocks
from tests.docs.machine import Machine
from tests.patience import PATIENCE_SECONDS

PAGE = "install.md"
DEPLOY = REPOSITORY / "deploy"
RUN = ("pip and systemd", "Removal, and what stays behind")
ELSEWHERE = {"docker": "no daemon here", "kubectl": "no cluster here"}
"""First word of blocks that are compared with the files that they name, and not run."""


def _words(program: str) -> list[list[str]]:
    """Return the commands of one program in the page."""
    text = "".join(blocks(REPOSITORY / "docs" / PAGE, "sh")).replace("\\\n", " ")
    return [shlex.split(line) for line in text.splitlines() if line.split(" ")[0] == program]


def test_every_block_is_run_or_names_a_program_that_is_not_here() -> None:
    run = [block for heading in RUN for block in script_blocks(PAGE, heading)]
    for block in blocks(REPOSITORY / "docs" / PAGE, "sh"):
        subprocess.run(["bash", "-n"], input=block, text=True, check=True)
        programs = {line.split()[0] for line in block.splitlines() if not line.startswith(" ")}
        assert block in run or programs <= set(ELSEWHERE), block


def test_the_container_is_run_as_its_file_says() -> None:
    text = (DEPLOY / "docker/Dockerfile").read_text()
    (run,) = (words for words in _words("docker") if words[1] == "run")
    options = dict(pairwise(run))
    published = options["--publish"].split(":")
    assert f"EXPOSE {published[-1]}" in text
    volumes = [run[n + 1].split(":")[1] for n, word in enumerate(run) if word == "--volume"]
    directories = re.findall(r"(?<=\s)/[\w/]+", text)
    assert set(volumes) <= set(directories)
    assert json.loads(re.findall(r"^VOLUME (.*)$", text, re.MULTILINE)[0])[0] in volumes
    assert options["--env"].partition("=")[2] in volumes
    (build,) = (words for words in _words("docker") if words[1] == "build")
    for source in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE):
        assert all((REPOSITORY / name).exists() for name in source.split())
    assert (REPOSITORY / build[build.index("-f") + 1]).exists()
    assert build[build.index("-t") + 1] == run[-1]


def test_the_cluster_gets_the_secret_that_its_manifest_asks_for() -> None:
    path = "deploy/kubernetes/chronoduck.yml"
    manifest = list(yaml.safe_load_all((REPOSITORY / path).read_text()))
    (stateful,) = (each for each in manifest if each["kind"] == "StatefulSet")
    (container,) = stateful["spec"]["template"]["spec"]["containers"]
    asked = {
        (entry["valueFrom"]["secretKeyRef"]["name"], entry["valueFrom"]["secretKeyRef"]["key"])
        for entry in container["env"]
        if "valueFrom" in entry
    }
    (create,) = (words for words in _words("kubectl") if words[1] == "create")
    keys = [word.partition("=")[2].partition("=")[0] for word in create if "from-literal" in word]
    assert {(create[4], key) for key in keys} == asked
    name = stateful["metadata"]["name"]
    (claim,) = stateful["spec"]["volumeClaimTemplates"]
    page = (REPOSITORY / "docs" / PAGE).read_text()
    assert f"statefulset/{name}" in page
    assert f"kubectl exec {name}-0" in page
    assert f"`{claim['metadata']['name']}-{name}-0`" in page
    assert ["kubectl", "apply", "-f", path] in _words("kubectl")
    assert ["kubectl", "delete", "-f", path] in _words("kubectl")


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path)
    made.places.pop("/etc/chronoduck")
    made.places |= {
        "/etc/chronoduck/shell.sh": tmp_path / "etc/shell.sh",
        "/etc/chronoduck/duckdb.env": tmp_path / "etc/duckdb.env",
        "/etc/sysusers.d": tmp_path / "etc/sysusers.d",
        "/etc/tmpfiles.d": tmp_path / "etc/tmpfiles.d",
        "/opt/chronoduck": tmp_path / "opt",
        "--write": f"--write --root {tmp_path}",
        "--remove": f"--remove --root {tmp_path}",
    }
    yield made
    made.close()


@pytest.mark.slow
def test_a_clean_machine_has_a_service_when_the_page_is_followed(
    machine: Machine, wheel_file: Path
) -> None:
    root = machine.root
    (root / "etc/chronoduck").mkdir()
    # The port and the places of this machine: settings that are there already are kept.
    (root / "etc/chronoduck/duckdb.env").symlink_to("../duckdb.env")
    for name in ("systemd-sysusers", "systemd-tmpfiles"):  # tests/system/test_install.py runs them
        (root / "bin" / name).write_text('#!/bin/sh\nfor last; do :; done\ntest -s "$last"\n')
        (root / "bin" / name).chmod(0o755)
    (root / "bin/chronoduck").write_text(f'#!/bin/sh\nexec {root}/opt/bin/chronoduck "$@"\n')
    (root / "bin/chronoduck").chmod(0o755)
    install, look, first = script_blocks(PAGE, "pip and systemd")
    lines = install.splitlines()
    assert lines[:2] == [
        "python3 -m venv /opt/chronoduck",
        "/opt/chronoduck/bin/pip install chronoduck",
    ]
    _install(root / "opt", wheel_file)
    printed = machine.run("set -e\n" + "\n".join(lines[2:]))
    assert "kept yours" in printed
    assert (
        f"ExecStart={root}/opt/bin/chronoduck serve"
        in (root / "etc/systemd/system/chronoduck.service").read_text()
    )
    printed = machine.run(look)
    assert "ok      service" in printed
    assert machine.health()["status"] == "healthy"
    machine.query("CREATE TABLE pages_analytics AS SELECT 42 AS a")
    (root / "bin/install").write_text("#!/bin/sh\n")  # has no user of that name to give them to
    (root / "bin/install").chmod(0o755)
    settings = (root / "etc/duckdb.env").read_text()
    machine.run(first)
    assert machine.rows() == 1
    assert (root / "etc/duckdb.env").read_text().startswith(settings)

    (remove,) = (
        block for block in script_blocks(PAGE, RUN[1]) if block.startswith("chronoduck install")
    )
    printed = machine.run(remove)
    commands = [line.strip() for line in printed.splitlines() if line.startswith("  systemctl")]
    assert commands[0] == "systemctl disable --now chronoduck"
    machine.run(commands[0])
    assert str(machine.database) in printed.partition("stays behind")[2]
    assert machine.database.exists()


def _install(place: Path, wheel: Path) -> None:
    """Do what the first two lines of the page do, with the wheel of this repository."""
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
    done = subprocess.run(
        [str(place / "bin/pip"), "install", "--disable-pip-version-check", "--quiet", str(wheel)],
        capture_output=True,
        text=True,
        timeout=5 * PATIENCE_SECONDS,
        check=False,
    )
    if done.returncode and not os.environ.get("CI"):
        pytest.skip(f"pip cannot install what the wheel needs: {done.stderr[-300:]}")
    assert done.returncode == 0, done.stderr
