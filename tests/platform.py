"""A platform that signs tokens, and what an attacker would make of them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import orjson
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

__all__ = ["AUDIENCE", "ISSUER", "SECRET", "KeyServer", "Platform", "b64", "raw_token"]

ISSUER = "https://platform.example"
AUDIENCE = "chronoduck"
SECRET = "a shared secret of more than 32 bytes!"


def b64(data: bytes) -> str:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def raw_token(header: Any, claims: Any, sign: Callable[[bytes], bytes]) -> str:
    """Return a token put together by hand, whatever is in it."""
    body = f"{b64(orjson.dumps(header))}.{b64(orjson.dumps(claims))}"
    return f"{body}.{b64(sign(body.encode()))}"


class Platform:
    """Has a key pair and makes tokens with it."""

    def __init__(self, algorithm: str = "RS256", key_id: str = "k1") -> None:
        self.algorithm = algorithm
        self.key_id = key_id
        if algorithm == "RS256":
            self.key: Any = rsa.generate_private_key(65537, 2048)
        elif algorithm == "ES256":
            self.key = ec.generate_private_key(ec.SECP256R1())
        else:
            self.key = SECRET

    @property
    def public_pem(self) -> bytes:
        """The public key as everybody can have it."""
        pem: bytes = self.key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return pem

    @property
    def jwk(self) -> dict[str, Any]:
        """The public key as a record of a key set."""
        algorithm = jwt.get_algorithm_by_name(self.algorithm)
        record: dict[str, Any] = orjson.loads(algorithm.to_jwk(self.key.public_key()))
        return {**record, "kid": self.key_id, "use": "sig", "alg": self.algorithm}

    def claims(self, now: float, **changes: Any) -> dict[str, Any]:
        """Return good claims with changes; None takes a claim away."""
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "ann",
            "role": "staff",
            "iat": int(now),
            "exp": int(now) + 600,
            **changes,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def token(
        self, now: float, header: dict[str, Any] | None = None, key: Any = None, **changes: Any
    ) -> str:
        """Return a token that is signed well."""
        return jwt.encode(
            self.claims(now, **changes),
            key or self.key,
            self.algorithm,
            headers={"kid": self.key_id, **(header or {})},
        )

    def confused(self, now: float, secret: bytes) -> str:
        """Return a token of HS256 whose secret is the public key."""
        return raw_token(
            {"alg": "HS256", "typ": "JWT", "kid": self.key_id},
            self.claims(now),
            lambda body: hmac.new(secret, body, hashlib.sha256).digest(),
        )


class KeyServer:
    """Serves a key set on this machine and counts who asks for what; a context manager."""

    def __init__(self, *platforms: Platform) -> None:
        self.platforms = list(platforms)
        self.is_failing = False
        self.hits: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.hits.append(self.path)
                if outer.is_failing:
                    self.send_error(500)
                    return
                body = orjson.dumps({"keys": [each.jwk for each in outer.platforms]})
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/keys"

    def __enter__(self) -> KeyServer:
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
