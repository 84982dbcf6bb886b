"""A process that sends one kind of request, or opens and closes connections, until it is killed.

Arguments: port, kind, its own address. It prints nothing.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import sys

WRONG = {"Authorization": "Bearer ck_00000000000000000000000000000000"}


def _connect(port: int, address: str) -> None:
    socket.create_connection(("127.0.0.1", port), 60, (address, 0)).close()


def _handshake(port: int, address: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", port), 60, (address, 0)) as plain,
        context.wrap_socket(plain),
    ):
        pass


def _request(port: int, address: str, path: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, 60, (address, 0))
    try:
        while True:
            if path.endswith("/query"):
                connection.request("POST", path, body=b"{}", headers=WRONG)
            else:
                connection.request("GET", path)
            answer = connection.getresponse()
            answer.read()
            if answer.status == 429:
                return
    finally:
        connection.close()


def main() -> None:
    """Flood until somebody kills this process."""
    port, kind, address = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    while True:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if kind == "connect":
                _connect(port, address)
            elif kind == "handshake":
                _handshake(port, address)
            else:
                _request(port, address, kind)


if __name__ == "__main__":
    main()
