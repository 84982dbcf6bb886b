"""A real S3 server: OpenStack Swift, one device, four processes, signatures checked."""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx2
import obstore
from obstore.store import S3Store

from tests.patience import PATIENCE_SECONDS
from tests.server import free_port

__all__ = ["S3Server"]

_KEY, _SECRET = "test:tester", "testing"
_RINGS = ("account", "container", "object")
_PROXY = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
swift_dir = {directory}
workers = 0
user = {user}
log_name = proxy
[pipeline:main]
pipeline = catch_errors proxy-logging cache listing_formats bulk s3api tempauth slo proxy-server
[app:proxy-server]
use = egg:swift#proxy
allow_account_management = true
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:proxy-logging]
use = egg:swift#proxy_logging
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:1
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:bulk]
use = egg:swift#bulk
[filter:slo]
use = egg:swift#slo
[filter:s3api]
use = egg:swift#s3api
s3_acl = false
# Pages of a listing that a few objects fill (S3 itself: 1,000).
max_bucket_listing = 50
location = us-east-1
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
"""
_STORAGE = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
swift_dir = {directory}
devices = {directory}/devices
mount_check = false
workers = 0
user = {user}
log_name = {kind}
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
"""


class S3Server:
    """Runs below a directory whose file system has extended attributes; a context manager."""

    region = "us-east-1"
    access_key_id = _KEY
    secret_access_key = _SECRET

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._processes: list[subprocess.Popen[bytes]] = []
        self.port = free_port()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """The service's settings for this server, without the replica's address."""
        return {
            "DUCKDB_REPLICA_ENDPOINT": self.endpoint,
            "AWS_ACCESS_KEY_ID": _KEY,
            "AWS_SECRET_ACCESS_KEY": _SECRET,
            "AWS_DEFAULT_REGION": self.region,
        }

    def create_bucket(self, name: str) -> str:
        """Make a bucket; return its address."""
        store = S3Store(
            name,
            region=self.region,
            endpoint=self.endpoint,
            access_key_id=_KEY,
            secret_access_key=_SECRET,
            client_options={"allow_http": True},
        )
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            signed = obstore.sign(store, "PUT", "", expires_in=timedelta(seconds=60))
            answer = httpx2.put(signed, trust_env=False, timeout=PATIENCE_SECONDS)
            # A busy server asks for fewer requests; it may have made the bucket all the same.
            if answer.status_code in (200, 409):
                break
            assert answer.status_code == 503, answer.text
            assert time.monotonic() < end, answer.text
        return f"s3://{name}"

    def __enter__(self) -> Self:
        directory = self._directory
        (directory / "devices" / "d1").mkdir(parents=True)
        (directory / "swift.conf").write_text(
            "[swift-hash]\nswift_hash_path_suffix = chronoduck\n[storage-policy:0]\n"
            "name = one\ndefault = yes\n"
        )
        ports = {kind: free_port() for kind in _RINGS}
        for kind in _RINGS:
            self._make_ring(kind, ports[kind])
        self._start("proxy", _PROXY, self.port)
        for kind in _RINGS:
            self._start(kind, _STORAGE, ports[kind])
        self._wait()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for process in self._processes:
            process.kill()
            process.wait()

    def _make_ring(self, kind: str, port: int) -> None:
        ring = str(self._directory / f"{kind}.builder")
        for command in (
            ("create", "4", "1", "1"),
            ("add", f"r1z1-127.0.0.1:{port}/d1", "1"),
            ("rebalance",),
        ):
            subprocess.run(
                [sys.executable, "-m", "swift.cli.ringbuilder", ring, *command],
                check=True,
                capture_output=True,
            )

    def _start(self, kind: str, template: str, port: int) -> None:
        path = self._directory / f"{kind}.conf"
        user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout
        path.write_text(
            template.format(port=port, directory=self._directory, kind=kind, user=user.strip())
        )
        program = Path(sys.executable).with_name(f"swift-{kind}-server")
        with (self._directory / f"{kind}.log").open("wb") as log:
            self._processes.append(
                subprocess.Popen([program, path, "-v"], stdout=log, stderr=subprocess.STDOUT)
            )

    def _wait(self) -> None:
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                httpx2.get(f"{self.endpoint}/info", trust_env=False, timeout=2.0)
                return
            except httpx2.TransportError:
                logs = "".join(p.read_text() for p in self._directory.glob("*.log"))
                assert time.monotonic() < end, logs[-3000:]
                time.sleep(0.1)
