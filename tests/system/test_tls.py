"""https from certificate files: clients old and plain, and the commands that must find it."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.certificates import Certificate
from tests.patience import PATIENCE_SECONDS
from tests.server import Server, run_cli

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate.make(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, certificate: Certificate) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("tls"), **certificate.settings) as server:
        yield server


def trusting(certificate: Certificate) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(certificate.certificate))
    context.check_hostname = False  # it is for db.example.org; the server is at 127.0.0.1
    return context


def test_a_client_that_trusts_the_certificate_is_served(
    served: Server, certificate: Certificate
) -> None:
    with served.client(verify=trusting(certificate)) as client:
        answer = client.post("/query", json={"query": "SELECT 42"})
    assert answer.json()["data"] == [[42]]
    assert answer.headers["strict-transport-security"] == "max-age=31536000"


def test_a_large_upload_and_a_stream_go_through_tls(
    served: Server, certificate: Certificate
) -> None:
    rows = b"n,text\n" + b"".join(b"%d,%s\n" % (n, b"x" * 90) for n in range(100_000))
    with served.client(verify=trusting(certificate)) as client:
        done = client.post("/tables/uploaded/rows?source=a.csv", content=rows)
        assert json.loads(done.text.splitlines()[-1])["event"] == "done"
        sql = {"query": "FROM uploaded ORDER BY n", "max_rows": 200_000}
        answer = client.post("/query", json=sql, headers={"Accept": "text/csv"})
    assert answer.content.replace(b"\r\n", b"\n") == rows


def handshake(server: Server, context: ssl.SSLContext, version: ssl.TLSVersion) -> str | None:
    context.minimum_version = context.maximum_version = version
    with socket.create_connection(("127.0.0.1", server.port)) as plain:
        encrypted = context.wrap_socket(plain, do_handshake_on_connect=False)
        with encrypted:
            encrypted.do_handshake()
            return encrypted.version()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_old_versions_of_tls_are_refused(served: Server, version: ssl.TLSVersion) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")  # the client would refuse to speak them itself
    with pytest.raises(ssl.SSLError, match=r"alert|EOF"):
        handshake(served, context, version)


@pytest.mark.parametrize(
    ("version", "name"),
    [(ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")],
)
def test_new_versions_of_tls_are_spoken(
    served: Server, certificate: Certificate, version: ssl.TLSVersion, name: str
) -> None:
    assert handshake(served, trusting(certificate), version) == name


def test_plain_http_on_the_port_gets_nothing_and_harms_nothing(
    served: Server, certificate: Certificate
) -> None:
    for data in (
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x00" * 1000,
        b"\x16\x03\x01\xff\xff" * 99,
    ):
        with socket.create_connection(
            ("127.0.0.1", served.port), timeout=PATIENCE_SECONDS
        ) as plain:
            plain.sendall(data)
            with contextlib.suppress(ConnectionResetError):
                assert b"HTTP/1.1" not in plain.recv(1000)
    with served.client(verify=trusting(certificate)) as client:
        assert client.get("/health").status_code == 200


def test_commands_on_the_same_machine_find_and_trust_the_service(
    served: Server, certificate: Certificate
) -> None:
    status = run_cli(served.directory, "status", **certificate.settings)
    assert status.returncode == 0, status.stderr
    assert f"https://127.0.0.1:{served.port}" in status.stdout
    query = run_cli(served.directory, "query", "SELECT 42 AS x", "--json", **certificate.settings)
    assert "42" in query.stdout
    doctor = json.loads(
        run_cli(served.directory, "doctor", "--json", **certificate.settings).stdout
    )
    findings = {finding["id"]: finding for finding in doctor}
    assert findings["service"]["severity"] == "ok", findings["service"]


def test_commands_elsewhere_need_to_be_told_whom_to_trust(
    served: Server, certificate: Certificate
) -> None:
    status = run_cli(served.directory, "status", "--url", served.url)
    assert status.returncode == 69
    assert "certificate" in status.stderr.lower()
    named = f"https://db.example.org:{served.port}"
    told = subprocess.run(
        [
            *("curl", "-sS", "--cacert", str(certificate.certificate)),
            *("--resolve", f"db.example.org:{served.port}:127.0.0.1"),
            f"{named}/api/v1/duckdb/health/live",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.stdout == '{"status":"alive"}', told.stderr
    wrong_name = run_cli(
        served.directory, "status", "--url", served.url, CHRONODUCK_CA_FILE=certificate.certificate
    )
    assert wrong_name.returncode == 69
    assert "127.0.0.1" in wrong_name.stderr


def test_a_ca_file_is_what_a_command_elsewhere_trusts(tmp_path: Path) -> None:
    local = Certificate.make(tmp_path, "localhost")
    with Server(tmp_path, **local.settings) as server:
        url = f"https://localhost:{server.port}"
        status = run_cli(tmp_path, "status", "--url", url, CHRONODUCK_CA_FILE=local.certificate)
    assert status.returncode == 0, status.stderr


def test_another_certificate_than_the_services_own_is_not_accepted_on_its_machine(
    served: Server, certificate: Certificate, tmp_path: Path
) -> None:
    other = Certificate.make(tmp_path)
    status = run_cli(served.directory, "status", **other.settings)
    assert status.returncode == 69
    assert "certificate" in status.stderr.lower()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda c: c.key.chmod(0o644), "may read"),
        (lambda c: c.key.unlink(), "does not exist"),
        (lambda c: c.certificate.write_text("rubbish"), "not a certificate"),
        (lambda c: c.key.write_bytes(b""), "not a certificate"),
    ],
)
def test_a_wrong_certificate_or_key_is_told_at_start_and_by_the_doctor(
    tmp_path: Path, spoil: object, words: str
) -> None:
    broken = Certificate.make(tmp_path)
    spoil(broken)  # type: ignore[operator]
    for command in ("serve", "doctor"):
        result = run_cli(tmp_path, command, **broken.settings)
        assert result.returncode == 78
        assert words in " ".join((result.stdout + result.stderr).split())


def test_connections_that_begin_no_handshake_are_counted_and_let_go(
    tmp_path: Path, certificate: Certificate
) -> None:
    limits = {"DUCKDB_HTTP_HEADER_TIMEOUT": "2", "DUCKDB_HTTP_MAX_CONNECTIONS": "20"}
    with Server(tmp_path, **certificate.settings, **limits) as server:
        silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(100)]
        with httpx2.Client(verify=trusting(certificate)) as client:
            live = f"{server.url}/api/v1/duckdb/health/live"
            assert client.get(live).status_code == 200
            assert len(list(Path(f"/proc/{server.server_pid}/fd").iterdir())) < 100
            for connection in silent:
                connection.settimeout(30)
                with contextlib.suppress(ConnectionResetError):
                    assert connection.recv(1) == b""
                connection.close()
            assert client.get(live).status_code == 200
        assert server.stop() == 0
