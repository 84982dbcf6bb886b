"""Ten thousand forged, expired and mangled tokens over real HTTP: none is accepted."""

from __future__ import annotations

import random
import socket
import string
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import jwt
import orjson
import pytest

from chronoduck.auth.key_file import KeyFile
from chronoduck.auth.keys import KeyWish
from chronoduck.principals import Role
from tests.patience import PATIENCE_SECONDS
from tests.platform import AUDIENCE, ISSUER, KeyServer, Platform, b64, raw_token
from tests.server import Server

pytestmark = pytest.mark.slow
COUNT = 10_000
REFUSALS = {400, 401, 429, 431}
_BODY = b'{"query": "SELECT 1"}'


class RawClient:
    """Sends header bytes as they are, which no HTTP client would, and reads the status."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connect()

    def _connect(self) -> None:
        self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=PATIENCE_SECONDS)
        self._file = self._socket.makefile("rb")

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def status(self, *authorizations: bytes, path: bytes = b"query") -> int:
        lines = [b"POST" if path == b"query" else b"GET", b" /api/v1/duckdb/", path]
        lines.append(b" HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n" % len(_BODY))
        lines += [b"Authorization: " + value + b"\r\n" for value in authorizations]
        try:
            self._socket.sendall(b"".join([*lines, b"\r\n", _BODY]))
            first = self._file.readline()
            if not first:
                raise ConnectionError
            length, is_closing = 0, False
            while (line := self._file.readline()).strip():
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
                is_closing |= name.lower() == b"connection" and value.strip() == b"close"
            self._file.read(length)
        except ConnectionError:
            first, is_closing = b"HTTP/1.1 400 broken off", True
        if is_closing:
            self.close()
            self._connect()
        return int(first.split()[1])


class Forger:
    """Makes tokens that must not be accepted, from all that a stranger could know and more."""

    def __init__(
        self, platform: Platform, stranger: Platform, canary: str, keys: list[str], admin: str
    ) -> None:
        self.chance = random.Random(1)
        self.now = time.time()
        self.platform = platform
        self.stranger = stranger
        self.canary = canary
        self.keys = keys
        self.admin = admin
        self.good = platform.token(self.now, exp=int(self.now) + 36_000)
        self.kinds: list[Callable[[], bytes]] = [
            getattr(self, name) for name in sorted(dir(self)) if name.startswith("make_")
        ]

    def _signed(self, header: dict[str, object] | None = None, **changes: object) -> bytes:
        return self.platform.token(self.now, header, **changes).encode()

    def _pick(self, *values: object) -> object:
        return self.chance.choice(values)

    def _any_good(self) -> str:
        return self.chance.choice([*self.keys, self.admin, self.good])

    def make_unsigned(self) -> bytes:
        name = self._pick("none", "None", "nOnE", "NONE", "", None, "HS256", "RS256")
        signature = self._pick(b"", b"\0", b"none")
        header = {"alg": name, "typ": "JWT", "kid": "k1"}
        token = raw_token(header, self.platform.claims(self.now), lambda _: signature)  # type: ignore[arg-type,return-value]
        return token.encode()

    def make_public_key_as_secret(self) -> bytes:
        pem = self.platform.public_pem
        secret = self._pick(pem, pem.strip(), pem + b"\n", orjson.dumps(self.platform.jwk), b"")
        return self.platform.confused(self.now, secret).encode()  # type: ignore[arg-type]

    def make_wrong_issuer_or_audience(self) -> bytes:
        claim = self._pick("iss", "aud")
        value = self._pick(None, "", "x", [], ["x"], 1, ISSUER.upper(), AUDIENCE + " ", {"a": 1})
        claims = {**self.platform.claims(self.now), str(claim): value}
        signer = jwt.get_algorithm_by_name("RS256")
        header = {"alg": "RS256", "kid": "k1"}
        return raw_token(header, claims, lambda body: signer.sign(body, self.platform.key)).encode()

    def make_expired_or_without_expiry(self) -> bytes:
        expiry = self._pick(None, 0, -1, int(self.now) - 31, int(self.now) - 86_400)
        return self._signed(exp=expiry)

    def make_not_valid_yet(self) -> bytes:
        later = self.now + self.chance.randint(900, 10**9)
        return self._signed(**{str(self._pick("nbf", "iat")): later, "exp": later + 600})

    def make_without_a_role_or_subject(self) -> bytes:
        claim = self._pick("role", "sub")
        return self._signed(
            **{str(claim): self._pick(None, "", "nobody") if claim == "role" else None}
        )

    def make_signed_by_a_stranger(self) -> bytes:
        header: dict[str, object] = {"kid": "k1"}
        extra = self._pick("jku", "x5u", "jwk", "x5c", "kid", None)
        if extra == "jwk":
            header["jwk"] = self.stranger.jwk
        elif extra == "x5c":
            header["x5c"] = [b64(self.stranger.public_pem)]
        elif extra is not None:
            header[str(extra)] = self.canary
        return self.stranger.token(self.now, header).encode()

    def make_key_id_injection(self) -> bytes:
        kid = self._pick(
            *("../../dev/null", "/dev/null", "' OR '1'='1", "k1\0", "", "K1", "k2", "a" * 300),
            *("file:///dev/null", self.canary, "${jndi:ldap://x}", "k1;k2", "__proto__"),
        )
        if self.chance.random() < 0.5:
            return self._signed({"kid": kid})
        header = {"alg": "HS256", "kid": kid}
        signer = jwt.get_algorithm_by_name("HS256")
        claims = self.platform.claims(self.now)
        return raw_token(header, claims, lambda body: signer.sign(body, b"")).encode()

    def make_strange_header(self) -> bytes:
        header = self._pick(
            {"crit": ["exp"]}, {"b64": False, "crit": ["b64"]}, {"kid": None}, [], 1
        )
        claims = self.platform.claims(self.now)
        if isinstance(header, dict):
            header = {"alg": "RS256", "kid": "k1", **header}
        signer = jwt.get_algorithm_by_name("RS256")
        key = self.platform.key if header != {"alg": "RS256", "kid": None} else self.stranger.key
        return raw_token(header, claims, lambda body: signer.sign(body, key)).encode()

    def make_strange_payload(self) -> bytes:
        text = self._pick(
            b"[" * 2_000, b"null", b"", b"{", b'"x"', b"[]", b"\xff", b'{"exp":1e999}'
        )
        signer = jwt.get_algorithm_by_name("RS256")
        head = b64(orjson.dumps({"alg": "RS256", "kid": "k1"}))
        body = f"{head}.{b64(text)}"  # type: ignore[arg-type]
        return f"{body}.{b64(signer.sign(body.encode(), self.platform.key))}".encode()

    def make_cut(self) -> bytes:
        token = self._any_good()
        return token[: self.chance.randrange(len(token) - 1)].encode()

    def make_flipped_bit(self) -> bytes:
        token = bytearray(self._any_good().encode())
        # The last character of a signature has bits that mean nothing.
        token[self.chance.randrange(len(token) - 1)] ^= 1 << self.chance.randrange(8)
        return bytes(token)

    def make_inserted(self) -> bytes:
        token = self._any_good()
        place = self.chance.randrange(1, len(token))
        what = self._pick(
            " ", "\t", "\0", "\r", "é", "\u200b", "\u202e", "=", ".", "..", "\x7f", ","
        )
        return token[:place].encode() + str(what).encode() + token[place:].encode()

    def make_long(self) -> bytes:
        size = self.chance.choice([200, 8_191, 8_193, 20_000, 100_000])
        return (self._any_good() + "a" * size).encode()

    def make_random(self) -> bytes:
        size = self.chance.randrange(1, 300)
        alphabet = self.chance.choice([string.ascii_letters, "".join(map(chr, range(1, 256)))])
        return "".join(self.chance.choices(alphabet, k=size)).encode("latin-1")

    def make_key_with_another_secret(self) -> bytes:
        key, other = self.chance.sample(self.keys, 2)
        secret = self._pick(other.split("_")[2], f"{self.chance.getrandbits(256):064x}", "0" * 64)
        return f"{key[:17]}{secret}".encode()

    def make_key_of_another_form(self) -> bytes:
        key = self.chance.choice(self.keys)
        made = self._pick(
            *(key.upper(), key[4:], key.split("_")[2], f"DAK{key[3:]}", f"{key}_", key * 2),
            *(f"{self.admin}.{key}", key.replace("_", "-"), key.replace("_", "%5f"), f"{key}\v"),
        )
        return str(made).encode()

    def headers(self) -> tuple[bytes, ...]:
        """Return the next request's Authorization headers."""
        scheme = self.chance.choice(
            [b"Bearer "] * 20 + [b"", b"Basic ", b"Bearer:", b"Bearer Bearer "]
        )
        if self.chance.random() < 0.03:
            good = b"Bearer " + self._any_good().encode()
            return self.chance.choice([(good, good), (good, b"Bearer x"), (b"Bearer x", good), ()])
        return (scheme + self.chance.choice(self.kinds)(),)


def _settings(url: str, **more: object) -> dict[str, object]:
    return {
        "DUCKDB_JWT_ALGORITHM": "RS256",
        "DUCKDB_JWT_JWKS_URL": url,
        "DUCKDB_JWT_ISSUER": ISSUER,
        "DUCKDB_JWT_AUDIENCE": AUDIENCE,
        "DUCKDB_JWT_ROLES": "staff=analyst",
        **more,
    }


def _keys(directory: Path) -> list[str]:
    file = KeyFile(directory / "keys.json")
    now = time.time()
    return [file.add(KeyWish(f"k{n}", Role.ANALYST), now)[1] for n in range(5)]


def test_no_forged_token_is_accepted(tmp_path: Path) -> None:
    """Every single one is looked at: the wait that slows guessing down is set out of reach."""
    platform, stranger = Platform("RS256"), Platform("RS256")
    stranger.key_id = "k1"
    keys = _keys(tmp_path)
    dead = KeyFile(tmp_path / "keys.json").add(KeyWish("old", Role.ADMIN, 1.0), time.time() - 60)[1]
    with KeyServer(platform) as source, KeyServer(stranger) as canary:
        settings = _settings(source.url, DUCKDB_AUTH_MAX_FAILURES=10**9)
        with Server(tmp_path, **settings) as server, closing(RawClient(server.port)) as client:
            forger = Forger(platform, stranger, canary.url, keys, server.token)
            genuine = [f"Bearer {token}".encode() for token in (*keys, server.token, forger.good)]
            assert {client.status(each) for each in genuine} == {200}
            assert client.status(f"Bearer {dead}".encode()) == 401
            began, seen = time.monotonic(), Counter[int]()
            for number in range(COUNT):
                headers = forger.headers()
                code = client.status(*headers, path=b"query" if number % 2 else b"tables")
                assert code in REFUSALS, (code, headers)
                seen[code] += 1
                if number % 500 == 0:
                    assert {client.status(each) for each in genuine} == {200}
            seconds = time.monotonic() - began
            assert seen[401] > 0.7 * COUNT
            with server.client() as admin:
                assert admin.get("/health").json()["status"] == "healthy"
            assert canary.hits == []
            assert len(source.hits) <= seconds / 10 + 2
            text = server.log_text()
            assert "unforeseen_error" not in text
            for token in (*keys, server.token, forger.good):
                assert token not in text


def test_a_flood_of_guesses_is_slowed_and_keeps_nobody_out(tmp_path: Path) -> None:
    """With the settings as they are shipped."""
    platform, stranger = Platform("RS256"), Platform("RS256")
    keys = _keys(tmp_path)
    with (
        KeyServer(platform) as source,
        KeyServer(stranger) as canary,
        Server(tmp_path, **_settings(source.url)) as server,
        closing(RawClient(server.port)) as client,
    ):
        # The last key is never guessed at by its id; the others are.
        forger = Forger(platform, stranger, canary.url, keys[:4], server.token)
        seen = Counter[int]()
        for number in range(1_000):
            seen[client.status(*forger.headers())] += 1
            if number % 50 == 0:
                fresh = platform.token(time.time(), sub=f"user{number}")
                for token in (keys[4], fresh):
                    assert client.status(b"Bearer " + token.encode()) == 200
        assert set(seen) <= REFUSALS
        assert seen[429] > 500
        blocked = sum(line["event"] == "authentication_blocked" for line in server.log_lines())
        assert 0 < blocked < 100
