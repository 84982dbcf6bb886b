"""Settings of what is between the network and the API: limits, TLS, proxies, other origins."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode

from chronoduck.settings.values import AbsolutePath, ByteCount, Seconds, from_environment

__all__ = ["TransportSettings"]

_ORIGIN = re.compile(r"https?://[A-Za-z0-9.-]+(:\d{1,5})?|https?://\[[0-9A-Fa-f:]+\](:\d{1,5})?")


def _comma_list(value: Any) -> Any:
    if isinstance(value, str):
        return [part for item in value.split(",") if (part := item.strip())]
    return value


CommaList = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_comma_list)]


class TransportSettings(BaseSettings):
    """Limits of connections and requests, TLS, proxies and CORS (``DUCKDB_*``)."""

    model_config = from_environment("DUCKDB_")

    tls_cert_file: AbsolutePath = None
    """The certificate and those between it and its root, as PEM; with it the port speaks https only."""
    tls_key_file: AbsolutePath = None
    """Its key, as PEM; other users must not be able to read it."""
    trusted_proxies: CommaList = ()
    """Addresses and networks, by commas, whose ``X-Forwarded-For`` and ``-Proto`` are believed."""
    cors_origins: CommaList = ()
    """Origins, by commas, whose pages may call the API from a browser."""

    http_header_size: ByteCount = 65_536
    """Bytes of a request's first line, headers and trailers together; more is 431."""
    http_header_count: Annotated[int, Field(ge=8)] = 100
    """Headers of a request; more is 431."""
    http_header_timeout: Seconds = 10.0
    """How long a client may take for them, from its first byte on."""
    http_body_timeout: Seconds = 60.0
    """How long a client may take for a JSON body."""
    http_body_rate: ByteCount = 1_000
    """Bytes a second below which a body, an upload too, is given up."""
    http_body_memory: ByteCount = 256_000_000
    """Bytes of JSON bodies that are held at the same time; the next one gets 503."""
    http_keep_alive: Seconds = 75.0
    """How long a connection may be idle between requests."""
    http_max_connections: Annotated[int, Field(ge=8)] = 2_000
    """Open connections; for one more the longest idle one is closed, or the new one gets 503."""
    http_max_connections_per_client: Annotated[int, Field(ge=1)] = 500
    """Open connections of one address (IPv6: one /64), trusted proxies excepted."""
    http_connection_rate: Annotated[int, Field(ge=1)] = 2_000
    """New connections a second from addresses without a valid request yet; the rest is closed."""
    http_connection_rate_per_client: Annotated[int, Field(ge=1)] = 1_500
    """New connections a second from one address, trusted proxies excepted; the rest is closed. A thousand
    clients behind one address that come at once are answered."""
    http_anonymous_rate: Annotated[int, Field(ge=1)] = 200
    """Requests a second without a valid credential that are worked on; others wait in turn."""
    http_anonymous_rate_per_client: Annotated[int, Field(ge=1)] = 50
    """The same of one address, and as many TLS handshakes; 100 requests of it wait, more get 429."""

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for item in value:
            try:
                ipaddress.ip_network(item)
            except ValueError as error:
                raise ValueError(f"{error}; write addresses and networks, by commas") from None
        return value

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for item in value:
            if not _ORIGIN.fullmatch(item):
                raise ValueError(f"{item!r} is not an origin such as https://pages.example.org")
        return value

    @model_validator(mode="after")
    def _certificate_with_key(self) -> TransportSettings:
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            raise ValueError("DUCKDB_TLS_CERT_FILE and DUCKDB_TLS_KEY_FILE need each other")
        return self

    @property
    def scheme(self) -> str:
        """How clients reach the port."""
        return "https" if self.tls_cert_file else "http"
