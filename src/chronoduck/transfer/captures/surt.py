"""SURT keys: a URL in the form that web archives sort and look up captures by.

``http://www.example.com/Path/?b=2&a=1`` has the key ``com,example)/path?a=1&b=2``. All ways to write an
address that archives take for the same page have the same key. The keys are those of the Internet
Archive's own library (``surt``, which its license keeps out of this package): the tests compare the
two. ``surt_sql`` computes the keys of usual URLs inside DuckDB; the other URLs come here.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

__all__ = ["SurtKey", "domain_of", "surt_key"]

_LETTERS = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_DIGITS = frozenset(b"0123456789")
_ALNUM = _LETTERS | _DIGITS
_HEX = frozenset(b"0123456789abcdefABCDEF")
_SCHEME_REST = _ALNUM | frozenset(b"+-.")
_KEPT = bytes(sign for sign in range(0x21, 0x7F) if sign not in b"%#")
"""What stands in a key as it is; everything else is escaped."""
_ESCAPED = [
    bytes([sign]) if sign in _KEPT else b"%%%02X" % sign  # upper case here, like RFC 3986
    for sign in range(256)
]
_PERCENT = ord("%")
_FEW = 12
"""Different signs to escape, up to which it costs less to replace one after the other."""
_DEFAULT_PORTS = {b"http": 80, b"https": 443}
_LAST_PORT = 65535
_LONGEST_SESSION_PATH = 8192
_PASSES = 4


class SurtKey(NamedTuple):
    """The key of a URL, and the host that it names: decoded, in lower case, with ``www`` still on it."""

    key: str
    host: str | None
    """None: the URL names no host, such as ``mailto:a@example.org``."""


def surt_key(url: str) -> SurtKey:
    """Return the key and the host; a URL that cannot be read is its own key."""
    if url.startswith("filedesc"):
        return SurtKey(url, None)  # the header of an ARC file, which is no page
    raw = url.encode("utf-8", "surrogateescape").strip().translate(None, b"\t\r\n")
    try:
        return _key(_without_repeated_scheme(_with_scheme(raw)))
    except ValueError:  # a port that is no number, or is too large
        return SurtKey(url, None)


def domain_of(host: str | None) -> str | None:
    """Return a host without its ``www.``, unless nothing but a top-level domain would be left."""
    if not host:
        return None
    if ":" in host:
        return f"[{host}]"  # IPv6
    rest = host.removeprefix("www.")
    return rest if "." in rest else host


# --- the parts of a URL -----------------------------------------------------------------------


def _with_scheme(url: bytes) -> bytes:
    scheme, colon, rest = url.partition(b":")
    if colon and scheme[:1] and scheme[0] in _LETTERS and _SCHEME_REST.issuperset(scheme):
        port = rest.partition(b"/")[0]
        # "example.org:80/a" of old CDX files: no scheme has a dot in it, and no path begins with digits.
        if not (b"." in scheme and port.isdigit()):
            return url
    return b"http://" + url


def _without_repeated_scheme(url: bytes) -> bytes:
    """Crawlers have followed links such as ``http://https://example.org/``: the last scheme counts."""
    while True:
        begin = 8 if url.startswith(b"https://") else 7 if url.startswith(b"http://") else 0
        if not begin or not url.startswith((b"http://", b"https://"), begin):
            return url
        url = url[begin:]


def _key(url: bytes) -> SurtKey:
    scheme, _, rest = url.partition(b":")
    rest = rest.partition(b"#")[0]
    before_query, _, query = rest.partition(b"?")
    host: bytes = b""
    port = None
    path = before_query
    if before_query.startswith(b"//"):
        authority, slash, path = before_query[2:].partition(b"/")
        path = slash + path
        host, port = _host_and_port(authority)
    if not host and scheme.startswith(b"http") and path:
        host, _, path = path.lstrip(b"/").partition(b"/")  # http:////example.org/
        path = b"/" + path
    host = _plain_host(host) if host else b""
    path = _plain_path(path, is_hierarchy=bool(host))
    query = _plain_query(query)
    if port == _DEFAULT_PORTS.get(scheme.lower()):
        port = None
    key = _without_www(host, scheme) if host else scheme + b":"
    if host:
        key = b",".join(reversed(key.split(b".")))
        key += (b":%d" % port if port else b"") + b")"
    key += path or (b"/" if query else b"")
    if query:
        key += b"?" + query
    return SurtKey(key.decode("utf-8", "replace"), host.decode("utf-8", "replace") or None)


def _host_and_port(authority: bytes) -> tuple[bytes, int | None]:
    """Return the host in lower case and its port; the port is None where none, or 0, is given.

    Raises:
        ValueError: the port is none.
    """
    address = authority.rstrip(b":").rpartition(b"@")[2]
    _, bracket, inside = address.partition(b"[")
    if bracket:  # an address of IPv6
        host, _, behind = inside.partition(b"]")
        port = behind.partition(b":")[2]
    else:
        host, _, port = address.partition(b":")
    if port and not port.isdigit():
        raise ValueError("the port is no number")
    number = int(port) if port else 0
    if number > _LAST_PORT:
        raise ValueError("the port is too large")
    return host.lower(), number or None


# --- each part in its one form ----------------------------------------------------------------


@lru_cache(maxsize=4096)  # a file has many URLs of few hosts
def _plain_host(host: bytes) -> bytes:
    host = _decoded(host)
    if not host.isascii():
        with suppress(ValueError):  # a name that no registry takes stays as it is
            host = host.decode("utf-8", "ignore").encode("idna")
    host = host.replace(b"..", b".").strip(b".")
    return _address(host) or _encoded(host.lower()).lower()


def _address(host: bytes) -> bytes | None:
    """Return the usual form of an IPv4 address, which may also be written as one number or in octal."""
    if host.isdigit():
        return socket.inet_ntoa((int(host[-4300:]) & 0xFFFFFFFF).to_bytes(4, "big")).encode()
    parts = host.split(b".")
    if len(parts) > 4 or not all(part.isdigit() for part in parts):
        return None
    if host[:1] == b"0" and (b"8" in host or b"9" in host):
        return None  # what begins as an octal number must be one in all its parts
    try:
        return socket.inet_ntoa(socket.inet_aton(host.decode())).encode()
    except OSError:
        return None


def _without_www(host: bytes, scheme: bytes) -> bytes:
    """Return the host without ``www.``, ``www2.`` and the like."""
    if scheme == b"dns" or not host.startswith(b"www"):
        return host
    label, dot, rest = host.partition(b".")
    return rest if dot and (len(label) == 3 or label[3:].isdigit()) else host


def _plain_path(path: bytes, *, is_hierarchy: bool) -> bytes:
    path = _decoded(path)
    if is_hierarchy:
        path = _resolved(path)
    path = _without_path_session(_encoded(path).lower())
    return path[:-1] if len(path) > 1 and path.endswith(b"/") else path


def _resolved(path: bytes) -> bytes:
    """Return the path without ``.``, ``..`` and empty parts."""
    if b"//" not in path and b"/." not in path:
        return path or b"/"
    kept: list[bytes] = []
    for part in path.split(b"/")[1:]:
        if part == b".":
            continue
        if part == b".." and kept:
            kept.pop()
        else:
            kept.append(part)
    inner = [part for part in kept[:-1] if part]
    return b"/" + b"/".join([*inner, *kept[-1:]])


def _plain_query(query: bytes) -> bytes:
    if not query:
        return b""
    query = _without_query_session(_encoded(_decoded(query))).lower()
    if b"&" not in query or len(query) == 1:
        return query
    # "a" sorts before "a=", and both before "a-b", as pairs of name and value do.
    return b"&".join(map(b"".join, sorted(part.partition(b"=") for part in query.split(b"&"))))


def _decoded(text: bytes) -> bytes:
    """Return the text without percent signs that stand for something, however often it was encoded."""
    for _ in range(_PASSES):
        if b"%" not in text:
            return text
        decoded = unquote_to_bytes(text)
        if decoded == text:
            return text
        text = decoded
    return _decoded_in_one_pass(text)


def _decoded_in_one_pass(text: bytes) -> bytes:
    """Decode until nothing is left to decode, in linear time: ``%252525...`` takes n passes else."""
    done = bytearray()
    for sign in text:
        done.append(sign)
        while done[-3:-2] == b"%" and _HEX.issuperset(done[-2:]):
            done[-3:] = bytes.fromhex(done[-2:].decode())
    return bytes(done)


def _encoded(text: bytes) -> bytes:
    others = frozenset(text.translate(None, _KEPT))
    if len(others) > _FEW:
        return b"".join([_ESCAPED[sign] for sign in text])
    if _PERCENT in others:
        text = text.replace(b"%", b"%25")  # the first one: the other escapes begin with it
    for sign in others:
        if sign != _PERCENT:
            text = text.replace(bytes((sign,)), _ESCAPED[sign])
    return text


# --- marks of a visitor's session -------------------------------------------------------------


def _without_path_session(path: bytes) -> bytes:
    """Cut what ASP.NET puts into paths: ``/(a(24 signs))/page.aspx`` and ``/(24 signs)/page.aspx``."""
    if b".aspx" not in path or b"/(" not in path or len(path) > _LONGEST_SESSION_PATH:
        return path
    for session_end in (_named_session_end, _bare_session_end):
        at = path.rfind(b"/(")
        while at >= 0:
            end = session_end(path, at + 2)
            if end is not None and path[end : end + 2] == b")/" and _is_aspx(path[end + 2 :]):
                path = path[: at + 1] + path[end + 2 :]
                break
            at = path.rfind(b"/(", 0, at + 1)
    return path


def _named_session_end(path: bytes, begin: int) -> int | None:
    """Return where ``a(24 signs)b(24 signs)...`` ends."""
    at = begin
    while path[at : at + 1].isalpha() and path[at + 1 : at + 2] == b"(":
        end = _bare_session_end(path, at + 2)
        if end is None or path[end : end + 1] != b")":
            break
        at = end + 1
    return at if at > begin else None


def _bare_session_end(path: bytes, begin: int) -> int | None:
    value = path[begin : begin + 24]
    return begin + 24 if len(value) == 24 and _ALNUM.issuperset(value) else None


def _is_aspx(rest: bytes) -> bool:
    return b".aspx" in rest.partition(b"?")[0][1:]


def _without_query_session(query: bytes) -> bytes:
    """Cut the parameters that Java, PHP, ASP and ColdFusion know their visitors by."""
    lower = query.lower()
    if b"sid=" not in lower and b"sessionid" not in lower and b"cfid=" not in lower:
        return query
    for name in (b"jsessionid=", b"phpsessid=", b"sid="):
        query = _cut(query, name, _hash_end)
    return _without_coldfusion(_cut(query, b"aspsessionid", _asp_end))


def _cut(query: bytes, name: bytes, value_end: Callable[[bytes, int], int | None]) -> bytes:
    """Cut the last parameter of a name whose value is a session's, and the ``&`` behind it."""
    lower = query.lower()
    at = lower.rfind(name)
    while at >= 0:
        end = value_end(lower, at + len(name))
        if end is not None and (end == len(query) or query[end : end + 1] == b"&"):
            return query[:at] + query[end + 1 :]
        at = lower.rfind(name, 0, at + len(name) - 1)
    return query


def _hash_end(query: bytes, begin: int) -> int | None:
    value = query[begin : begin + 32]
    return begin + 32 if len(value) == 32 and _ALNUM.issuperset(value) else None


def _asp_end(query: bytes, begin: int) -> int | None:
    value = query[begin : begin + 33]
    letters = value[:8] + value[9:]
    return begin + 33 if len(letters) == 32 and value[8:9] == b"=" and letters.isalpha() else None


def _without_coldfusion(query: bytes) -> bytes:
    parts = query.split(b"&")
    for at in range(len(parts) - 2, -1, -1):
        token = parts[at + 1].lower()
        mark = parts[at][:-1].lower().rfind(b"cfid=")
        if mark >= 0 and token.startswith(b"cftoken=") and token != b"cftoken=":
            before = b"&".join([*parts[:at], parts[at][:mark]])
            return before + b"&".join(parts[at + 2 :])
    return query
