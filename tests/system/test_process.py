"""The service as a process: the files it makes, the user it is, and a disk it may not write."""

from __future__ import annotations

import json
import os
import pwd
import stat
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from tests.patience import PATIENCE_SECONDS
from tests.server import Server, free_port, lose_disk, run_cli

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]

# In a mount namespace of its own everything is read-only but two directories; then the user changes.
# The interpreter's tree may lie where only root looks, so that it is bound to a place of its own.
_READ_ONLY = r"""
set -e
mount --make-rprivate /
mount --bind "$DATA" "$DATA"
mount -t tmpfs tmpfs /mnt
mkdir -p /mnt/python /mnt/tree /mnt/packages
mount --bind "$PYTHON_TREE" /mnt/python
mount --bind "$TREE" /mnt/tree
mount --bind "$PACKAGES" /mnt/packages
mounted=$(awk '{print $2}' /proc/mounts | grep -Ev "^($DATA|/proc|/sys|/dev$)")
for where in $mounted; do
  mount -o remount,bind,ro "$where" 2> /dev/null || true
done
if touch /tmp/written /usr/written 2> /dev/null; then echo "the disk is writable" >&2; exit 3; fi
cd "$DATA"
export PYTHONPATH=/mnt/tree/src:/mnt/packages PYTHONHOME=/mnt/python HOME=/nonexistent
export PYTHONDONTWRITEBYTECODE=1 LD_LIBRARY_PATH=/mnt/python/lib
exec setpriv --reuid=65534 --regid=65534 --clear-groups --no-new-privs --inh-caps=-all \
  "/mnt/python/bin/python3" -m chronoduck serve
"""


def work(server_url: str, token: str, loaded: bytes) -> None:
    """Do some of everything that makes files: writes, spilling, an upload, a backup, a drill."""
    with httpx2.Client(
        base_url=f"{server_url}/api/v1/duckdb",
        headers={"Authorization": f"Bearer {token}"},
        timeout=PATIENCE_SECONDS,
    ) as client:
        for sql in (
            "CREATE TABLE t AS SELECT range AS n, repeat('x', 50) AS x FROM range(200000)",
            "INSERT INTO t VALUES (1, 'y')",
        ):
            assert client.post("/query", json={"query": sql}).status_code == 200
        big = "SELECT * FROM range(12000000) ORDER BY hash(range) LIMIT 5 OFFSET 11000000"
        spilled = client.post("/query", json={"query": big, "timeout_seconds": 120})
        assert spilled.status_code in (200, 503, 507), spilled.text
        sent = client.post("/tables/captures/rows?source=a.csv", content=loaded)
        assert json.loads(sent.text.splitlines()[-1])["event"] == "done", sent.text
        for path in ("/backups", "/verify", "/compact"):
            begun = client.post(path, json={})
            assert begun.status_code == 202, begun.text
            job = begun.headers["location"].rpartition("/")[2]
            while (state := client.get(f"/jobs/{job}").json())["state"] == "running":
                pass
            assert state["state"] == "succeeded", state


def everything(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if not path.is_symlink()]


def test_no_file_of_a_busy_service_is_writable_by_its_group_or_readable_by_all(
    tmp_path: Path,
) -> None:
    old = os.umask(0)  # whoever starts it may have none; the service has its own
    try:
        with Server(
            tmp_path,
            DUCKDB_REPLICA_URL=tmp_path / "replica",
            DUCKDB_REPLICA_INTERVAL="50ms",
            DUCKDB_BACKUP_DIR=tmp_path / "backups",
            DUCKDB_BALLAST_SIZE="1MB",
            DUCKDB_LOG_MAX_SIZE="10kB",
            DUCKDB_MEMORY_LIMIT="100MB",
        ) as server:
            work(server.url, server.token, b"n\n1\n2\n")
            found = everything(tmp_path)
            assert server.stop() == 0
    finally:
        os.umask(old)
    paths = {*found, *everything(tmp_path)} - {tmp_path}
    names = {path.name for path in paths}
    assert names >= {"test.db", "test.db.lock", "admin.token", "server.log", "replica", "temp"}
    assert any(path.is_relative_to(tmp_path / "backups") for path in paths)
    assert len([path for path in paths if path.is_relative_to(tmp_path / "replica")]) > 3
    open_to_others = {
        str(path.relative_to(tmp_path)): oct(stat.S_IMODE(path.stat().st_mode))
        for path in paths
        if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o027
    }
    assert not open_to_others
    assert stat.S_IMODE((tmp_path / "admin.token").stat().st_mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes mount namespaces and other users")
@pytest.mark.skipif(
    subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode != 0,
    reason="this machine allows no mount namespaces",
)
def test_it_runs_as_another_user_on_a_read_only_disk_but_for_two_directories(
    tmp_path: Path,
) -> None:
    nobody = pwd.getpwnam("nobody")
    data = Path("/var/tmp") / f"chronoduck-read-only-{os.getpid()}"
    port = free_port()
    for part in (data, data / "data", data / "temp"):
        part.mkdir(mode=0o750)
        os.chown(part, nobody.pw_uid, nobody.pw_gid)
    os.chown(data, 0, nobody.pw_gid)
    environment = {
        "PATH": os.environ["PATH"],
        "DATA": str(data),
        "TREE": str(ROOT),
        "PYTHON_TREE": sys.base_prefix,
        "PACKAGES": str(Path(httpx2.__file__).parents[1]),
        "DUCKDB_DATABASE_PATH": str(data / "data" / "test.db"),
        "DUCKDB_TEMP_DIRECTORY": str(data / "temp"),
        "DUCKDB_BACKUP_DIR": str(data / "data" / "backups"),
        "DUCKDB_REPLICA_URL": str(data / "data" / "replica"),
        "DUCKDB_MEMORY_LIMIT": "100MB",
        "DUCKDB_BALLAST_SIZE": "1MB",
        "DUCKDB_PORT": str(port),
    }
    try:
        with (tmp_path / "log").open("w") as log:
            process = subprocess.Popen(
                ["unshare", "--mount", "bash", "-c", _READ_ONLY], env=environment, stderr=log
            )
        try:
            url = f"http://127.0.0.1:{port}"
            while True:
                assert process.poll() is None, (tmp_path / "log").read_text()
                try:
                    if httpx2.get(f"{url}/api/v1/duckdb/health/ready").status_code == 200:
                        break
                except httpx2.TransportError:
                    pass
            user = Path(f"/proc/{process.pid}/status").read_text().split("Uid:")[1].split()[0]
            assert int(user) == nobody.pw_uid
            work(url, (data / "data" / "admin.token").read_text().strip(), b"n\n1\n2\n")
        finally:
            process.terminate()
            assert process.wait(PATIENCE_SECONDS) == 0, (tmp_path / "log").read_text()
        said = (tmp_path / "log").read_text()
        assert '"event":"root"' not in said
        assert "Read-only file system" not in said
        assert "Permission denied" not in said
        assert {path.name for path in data.iterdir()} == {"data", "temp"}
    finally:
        lose_disk(data)


def test_what_is_exposed_is_told_at_start_and_by_the_doctor(tmp_path: Path) -> None:
    with Server(tmp_path, DUCKDB_HOST="0.0.0.0") as server:
        events = {line["event"] for line in server.log_lines()}
    assert "plain-http" in events
    assert ("root" in events) == (os.geteuid() == 0)

    def doctor(**settings: str) -> dict[str, str]:
        out = run_cli(tmp_path, "doctor", "--json", **settings)
        assert out.returncode == 0, out.stdout
        return {each["id"]: each["severity"] for each in json.loads(out.stdout)}

    assert doctor(DUCKDB_HOST="0.0.0.0")["plain-http"] == "warning"
    assert "plain-http" not in doctor(DUCKDB_HOST="0.0.0.0", DUCKDB_TRUSTED_PROXIES="10.0.0.5")
    assert "plain-http" not in doctor(DUCKDB_HOST="::1")
    everybody = doctor(DUCKDB_TRUSTED_PROXIES="0.0.0.0/0")
    assert everybody["trust-in-everybody"] == "warning"
