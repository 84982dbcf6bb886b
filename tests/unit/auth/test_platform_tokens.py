"""Tokens of a platform: accepted when everything is right, refused when anything is not."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import jwt
import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from pydantic import ValidationError

from chronoduck.auth.key_set import KeySet, parse_key_set
from chronoduck.auth.platform_tokens import JwtTokens, role_of
from chronoduck.errors import AuthenticationError
from chronoduck.principals import Role
from chronoduck.settings import JwtSettings
from tests.platform import AUDIENCE, ISSUER, SECRET, Platform, raw_token

NOW = 1_800_000_000.0
ROLES = {"staff": Role.ANALYST, "editors": Role.WRITER}


def settings(algorithm: str, **changes: Any) -> JwtSettings:
    keys = {"secret": SECRET} if algorithm == "HS256" else {"jwks_file": "unused"}
    given = {"issuer": ISSUER, "audience": AUDIENCE, "roles": ROLES, **keys, **changes}
    return JwtSettings(algorithm=algorithm, **given)  # type: ignore[arg-type]


@pytest.fixture(scope="module", params=["HS256", "RS256", "ES256"])
def platform(request: pytest.FixtureRequest) -> Platform:
    return Platform(request.param)


@pytest.fixture
def tokens(platform: Platform) -> JwtTokens:
    return tokens_of(platform)


def tokens_of(platform: Platform, **changes: Any) -> JwtTokens:
    given = settings(platform.algorithm, **changes)
    if platform.algorithm == "HS256":
        return JwtTokens(given)
    document = orjson.dumps({"keys": [platform.jwk]})
    return JwtTokens(given, KeySet(lambda: document, platform.algorithm, 600, 86_400))


async def test_a_good_token_is_its_subject_with_the_mapped_role(
    platform: Platform, tokens: JwtTokens
) -> None:
    principal = await tokens.check(platform.token(NOW), NOW)
    assert (principal.name, principal.id, principal.role) == ("jwt:ann", "jwt:ann", Role.ANALYST)
    assert principal.scope is None


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": None},
        {"exp": NOW - 31},
        {"exp": "2099-01-01"},
        {"exp": True},
        {"exp": [int(NOW) + 60]},
        {"exp": 10**400},
        {"nbf": NOW + 31},
        {"nbf": "soon"},
        {"iat": NOW + 31},
        {"iss": None},
        {"iss": "https://evil.example"},
        {"iss": [ISSUER]},
        {"iss": ISSUER + "/"},
        {"aud": None},
        {"aud": "other"},
        {"aud": ["other", "others"]},
        {"aud": {AUDIENCE: 1}},
        {"aud": AUDIENCE.upper()},
        {"sub": None},
        {"sub": ""},
        {"sub": 7},
        {"sub": "a\nb"},
        {"sub": "x" * 256},
        {"role": None},
        {"role": ""},
        {"role": "admin"},
        {"role": "Staff"},
        {"role": ["visitors"]},
        {"role": {"staff": True}},
        {"role": 1},
    ],
    ids=str,
)
async def test_a_claim_that_is_missing_or_wrong_is_refused(
    platform: Platform, tokens: JwtTokens, changes: dict[str, Any]
) -> None:
    claims = {**platform.claims(NOW), **changes}
    claims = {name: value for name, value in claims.items() if value is not None}
    # Put together by hand: the library refuses to make some of them.
    signer = jwt.get_algorithm_by_name(platform.algorithm)
    key = signer.prepare_key(platform.key)
    header = {"alg": platform.algorithm, "kid": platform.key_id}
    if changes.get("exp") == 10**400:
        text = orjson.dumps({**claims, "exp": 0}).replace(b'"exp":0', b'"exp":' + b"1" + b"0" * 400)
        token = raw_token(header, orjson.Fragment(text), lambda body: signer.sign(body, key))
    else:
        token = raw_token(header, claims, lambda body: signer.sign(body, key))
    with pytest.raises(AuthenticationError) as caught:
        await tokens.check(token, NOW)
    assert token not in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": NOW - 29},
        {"nbf": NOW + 29},
        {"iat": NOW + 29},
        {"aud": ["other", AUDIENCE]},
        {"role": ["visitors", "staff"]},
        {"iat": None},
    ],
    ids=str,
)
async def test_a_clock_that_differs_a_little_and_lists_are_no_reason_to_refuse(
    platform: Platform, tokens: JwtTokens, changes: dict[str, Any]
) -> None:
    await tokens.check(platform.token(NOW, **changes), NOW)


async def test_a_token_that_was_accepted_expires_all_the_same(
    platform: Platform, tokens: JwtTokens
) -> None:
    token = platform.token(NOW)
    first = await tokens.check(token, NOW)
    assert await tokens.check(token, NOW + 629) is first
    with pytest.raises(AuthenticationError, match="expired"):
        await tokens.check(token, NOW + 630)


async def test_every_other_algorithm_is_refused(platform: Platform, tokens: JwtTokens) -> None:
    """Among them the public key as the secret of HS256."""
    claims = platform.claims(NOW)
    forged = [
        raw_token({"alg": name, "kid": "k1"}, claims, lambda _: b"")
        for name in ("none", "None", "NONE", "", "HS256", "RS256", "ES256", "HS384", None, 1, [])
    ]
    if platform.algorithm != "HS256":
        public = (platform.public_pem, platform.public_pem.strip(), orjson.dumps(platform.jwk))
        forged += [platform.confused(NOW, secret) for secret in public]
    for other in ("RS256", "ES256"):
        stranger = Platform(other)
        forged.append(stranger.token(NOW))
        forged.append(stranger.token(NOW, header={"jwk": stranger.jwk}))
    forged.append(jwt.encode(claims, "another secret of more than 32 bytes", "HS256"))
    forged.append(raw_token({"typ": "JWT"}, claims, lambda _: b""))
    for token in forged:
        with pytest.raises(AuthenticationError, match="not valid"):
            await tokens.check(token, NOW)


@pytest.mark.parametrize(
    "extension", [{"crit": ["exp"]}, {"crit": []}, {"b64": False}, {"b64": True}]
)
async def test_extensions_that_must_be_understood_are_refused(
    platform: Platform, tokens: JwtTokens, extension: dict[str, Any]
) -> None:
    signer = jwt.get_algorithm_by_name(platform.algorithm)
    key = signer.prepare_key(platform.key)
    header = {"alg": platform.algorithm, "kid": platform.key_id, **extension}
    token = raw_token(header, platform.claims(NOW), lambda body: signer.sign(body, key))
    with pytest.raises(AuthenticationError, match="not valid"):
        await tokens.check(token, NOW)


async def test_each_changed_character_breaks_the_token(
    platform: Platform, tokens: JwtTokens
) -> None:
    token = platform.token(NOW)
    last = len(token) - 1  # its lowest bits are padding and decode to the same signature
    for position in range(0, last, 3):
        other = "A" if token[position] != "A" else "B"
        with pytest.raises(AuthenticationError):
            await tokens.check(token[:position] + other + token[position + 1 :], NOW)


async def test_key_ids_choose_among_known_keys_only() -> None:
    platform = Platform("ES256")
    tokens = tokens_of(platform)
    await tokens.check(platform.token(NOW), NOW)
    for key_id in ("k2", "../../dev/null", "k1' OR 1=1", "", "K1", "k" * 5000, "http://127.0.0.1/"):
        with pytest.raises(AuthenticationError, match="not valid"):
            await tokens.check(platform.token(NOW, header={"kid": key_id}), NOW)
    unnamed = jwt.encode(platform.claims(NOW), platform.key, "ES256")
    assert (await tokens.check(unnamed, NOW)).name == "jwt:ann"  # there is one key: it is meant


async def test_what_is_remembered_of_tokens_is_bounded() -> None:
    platform = Platform("HS256")
    tokens = tokens_of(platform)
    for number in range(10_050):
        await tokens.check(platform.token(NOW, sub=f"user-{number}"), NOW)
    assert len(tokens._verified) == 10_000


def test_the_role_is_the_most_powerful_one_that_is_known() -> None:
    nested = {"realm": {"roles": ["staff", "editors", "boss"]}}
    assert role_of(nested, "realm.roles", ROLES) is Role.WRITER
    assert role_of({"https://x.example/role": "staff"}, "https://x.example/role", ROLES)
    for claims in ({}, {"realm": "staff"}, {"realm": {"roles": None}}, {"realm": []}):
        assert role_of(claims, "realm.roles", ROLES) is None


def test_keys_that_are_weak_private_or_of_another_kind_are_left_out() -> None:
    good = Platform("RS256", "good")
    weak = Platform("RS256", "weak")
    weak.key = rsa.generate_private_key(65537, 1024)
    other = Platform("ES256", "other")
    wide = ec.generate_private_key(ec.SECP384R1())
    private = orjson.loads(jwt.get_algorithm_by_name("RS256").to_jwk(Platform("RS256").key))
    records = [
        good.jwk,
        weak.jwk,
        other.jwk,
        {**orjson.loads(jwt.get_algorithm_by_name("ES384").to_jwk(wide.public_key())), "kid": "w"},
        {**private, "kid": "private"},
        {**good.jwk, "kid": "enc", "use": "enc"},
        {**good.jwk, "kid": "ps", "alg": "PS256"},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "oct"},
        {"kty": "RSA", "kid": "broken"},
        "no record",
    ]
    assert list(parse_key_set(orjson.dumps({"keys": records}), "RS256")) == ["good"]
    assert list(parse_key_set(orjson.dumps({"keys": records}), "ES256")) == ["other"]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"algorithm": None}, "ALGORITHM is not set"),
        ({"secret": "short"}, "32 bytes"),
        ({"secret": "-----BEGIN PUBLIC KEY-----\n" + "A" * 300}, "key pair"),
        ({"secret": None}, "32 bytes"),
        ({"jwks_url": "https://x.example/keys"}, "no key set"),
        ({"issuer": ""}, "ISSUER"),
        ({"audience": None}, "AUDIENCE"),
        ({"roles": {}}, "ROLES"),
        ({"roles": "staff"}, "value=role"),
        ({"roles": "staff=boss"}, "viewer"),
        ({"roles": "staff=viewer,staff=admin"}, "two roles"),
        ({"clock_skew": "10m"}, "300"),
        ({"algorithm": "none"}, "HS256"),
        ({"algorithm": "RS256", "secret": SECRET}, "no DUCKDB_JWT_SECRET"),
        ({"algorithm": "RS256", "jwks_file": None}, "JWKS_URL or"),
        ({"algorithm": "RS256", "jwks_file": None, "jwks_url": "http://evil.example/"}, "https"),
        (
            {
                "algorithm": "RS256",
                "jwks_file": None,
                "jwks_url": "http://localhost:1@evil.example/",
            },
            "https",
        ),
        ({"algorithm": "RS256", "jwks_file": None, "jwks_url": "file:///etc/passwd"}, "https"),
    ],
    ids=str,
)
def test_settings_that_would_let_in_too_many_are_refused(
    changes: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValidationError, match=complaint):
        settings(**{"algorithm": "HS256", **changes})


def test_roles_are_read_as_they_are_written_in_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {
        "ALGORITHM": "HS256",
        "SECRET": SECRET,
        "ISSUER": ISSUER,
        "AUDIENCE": AUDIENCE,
        "ROLES": "staff=analyst, https://x/a=b=writer",
    }.items():
        monkeypatch.setenv(f"DUCKDB_JWT_{name}", value)
    read = JwtSettings()
    assert read.roles == {"staff": Role.ANALYST, "https://x/a=b": Role.WRITER}
    assert SECRET not in repr(read)


def test_the_secret_of_a_shared_key_is_compared_as_bytes() -> None:
    """The library's own signature and one by hand agree: nothing is added to the secret."""
    token = Platform("HS256").token(NOW)
    body, _, signature = token.rpartition(".")
    by_hand = hmac.new(SECRET.encode(), body.encode(), hashlib.sha256).digest()
    assert jwt.utils.base64url_decode(signature) == by_hand
