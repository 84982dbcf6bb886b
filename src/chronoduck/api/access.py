"""Who asks: the principal of a request, the role that a route demands, the body within its bound."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import getrandbits
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request, Response
from fastapi.security import HTTPBearer
from pydantic import BaseModel, TypeAdapter, ValidationError

from chronoduck.api.addresses import see_docs
from chronoduck.api.bodies import BodyMemory, read_json_bytes
from chronoduck.api.json_bounds import check_json, is_quick
from chronoduck.api.public_pages import PublicPages
from chronoduck.api.quotas import count_request, show_quota
from chronoduck.assembly import DuckDBService
from chronoduck.auth.authentication import Authenticator
from chronoduck.auth.key_ring import KeyRing
from chronoduck.errors import (
    AuthenticationError,
    DuckDBException,
    IdempotencyKeyUnsupportedError,
    InvalidRequestError,
    PermissionDeniedError,
    ServiceUnavailableError,
    TooManyAttemptsError,
)
from chronoduck.principals import Principal, Role
from chronoduck.service.engine_turn import ON_LOOP, work_of
from chronoduck.service.records import Caller

__all__ = [
    "ACCESS",
    "ADMITTED",
    "CALLER",
    "PUBLIC",
    "Access",
    "Admin",
    "Analyst",
    "Uncounted",
    "Viewer",
    "Writer",
    "admit",
    "answer_public",
    "attach",
    "authenticator_of",
    "body_memory_of",
    "is_admin",
    "is_known_by_header",
    "is_leaving",
    "keys_of",
    "read_body",
    "remember",
    "required_role",
    "service_of",
]

M = TypeVar("M", bound=BaseModel)
ACCESS = "chronoduck.access"
_PRINCIPAL = "chronoduck.principal"
_SUB_USER = "X-Chronoduck-User"
_SUB_USER_CHARACTERS = 128
CALLER = "chronoduck.caller"
"""Where a request keeps who asked, for whatever happens to it later."""
ADMITTED = "chronoduck.admitted"
"""Set in the state of a request whose credential is valid, and which no quota or role refused."""

PUBLIC = frozenset(
    {
        ("GET", "/health"),
        ("HEAD", "/health"),
        ("GET", "/health/live"),
        ("HEAD", "/health/live"),
        ("GET", "/health/ready"),
        ("HEAD", "/health/ready"),
        ("GET", "/statistics"),
        ("GET", "/templates/performance-metrics"),
        ("GET", "/metrics"),
        ("GET", "/downloads/{token}"),
    }
)
"""All that is answered without a credential; every other route demands a role."""

# Only for the documentation: it puts the "Authorize" button there.
_bearer = HTTPBearer(
    auto_error=False, description="An API key, a token of the platform, or the admin token."
)


@dataclass
class Access:
    """What the routes of one application share: the service, and who tells who asks."""

    service: DuckDBService
    authenticate: Callable[..., Any] | None = None
    """The host application's own dependency; it alone tells who asks, then."""
    authenticator: Authenticator | None = None
    """``None`` until the service has started, and where the host tells who asks."""
    is_open: bool = False
    """Whether the application's lifespan has opened the service."""
    is_leaving: bool = False
    """Whether this process will soon accept nobody any more."""
    pages: PublicPages = field(default_factory=PublicPages)
    """What is answered to anybody."""
    body_memory: BodyMemory = field(init=False)
    """What large JSON bodies may take together."""

    def __post_init__(self) -> None:
        self.body_memory = BodyMemory(self.service.settings.transport.http_body_memory)


def attach(scope: Any, access: Access) -> None:
    """Let the request of this ASGI scope know its application's access; and give it an id."""
    state = scope.setdefault("state", {})
    state[ACCESS] = access
    if "request_id" not in state:
        state["request_id"] = f"{getrandbits(128):032x}"


def remember(request: Request, principal: Any) -> None:
    """Keep what the host application's dependency told.

    Raises:
        AuthenticationError: it told no principal.
    """
    if not isinstance(principal, Principal):
        raise AuthenticationError("the application's authentication named no principal")
    request.scope["state"][_PRINCIPAL] = principal


def _access_of(request: Request) -> Access:
    access: Access = request.scope["state"][ACCESS]
    return access


def is_leaving(request: Request) -> bool:
    """Whether this process will soon accept nobody any more."""
    access: Access = request.scope["state"][ACCESS]
    return access.is_leaving


def is_known_by_header(request: Request) -> bool:
    """Whether a header tells who asks, and never what a browser sends by itself, such as a cookie."""
    return _access_of(request).authenticate is None


def service_of(request: Request) -> DuckDBService:
    """Return the service behind this application."""
    return _access_of(request).service


def body_memory_of(request: Request) -> BodyMemory:
    """Return the memory that large bodies share."""
    return _access_of(request).body_memory


def authenticator_of(request: Request) -> Authenticator:
    """Return what knows keys and tokens.

    Raises:
        ServiceUnavailableError: the service has not started yet.
    """
    authenticator = _access_of(request).authenticator
    if authenticator is None:
        raise ServiceUnavailableError("the service has not started yet")
    return authenticator


def keys_of(request: Request) -> KeyRing | None:
    """Return the keys; None where the host application tells who asks."""
    authenticator = _access_of(request).authenticator
    return None if authenticator is None else authenticator.keys


async def _identify(request: Request) -> Principal:
    """Return whom the credential stands for; a failure is recorded."""
    state = request.scope["state"]
    try:
        if _access_of(request).authenticate is None:
            _refuse_web_page(request)
            return await authenticator_of(request).authenticate(
                _credentials(request), _address(request)
            )
        principal = state.get(_PRINCIPAL)
        if isinstance(principal, Principal):
            return principal
        raise AuthenticationError("the application's authentication named no principal")
    except (AuthenticationError, TooManyAttemptsError) as error:
        audit = service_of(request).audit
        audit.authentication_failed(error.detail, _address(request), state["request_id"])
        raise


def _refuse_web_page(request: Request) -> None:
    """Refuse a password that a browser sends by itself, for a page that another site made.

    Raises:
        AuthenticationError: it came that way. A bearer token is never sent by itself.
    """
    if not any(each[:6].lower() == b"basic " for each in _credentials(request)):
        return
    site = request.headers.get("sec-fetch-site", "none")
    if site not in ("none", "same-origin") or "origin" in request.headers:
        raise AuthenticationError(
            "a password is not taken from a web page", hint="Send 'Authorization: Bearer <token>'."
        )


def _credentials(request: Request) -> list[bytes]:
    return [value for name, value in request.scope["headers"] if name == b"authorization"]


def _address(request: Request) -> str | None:
    client = request.scope.get("client")
    return client[0] if client else None


def _sub_user(request: Request, principal: Principal) -> str | None:
    """Return for whom a key asks that serves many people.

    Raises:
        InvalidRequestError: it is no name.
    """
    given = request.headers.get(_SUB_USER)
    if given is None:
        return None
    keys = service_of(request).settings.auth.sub_user_keys
    if principal.name not in keys and principal.id not in keys:
        return None  # anybody could wait in another's place
    if not 0 < len(given) <= _SUB_USER_CHARACTERS or not given.isprintable():
        raise InvalidRequestError(
            f"{_SUB_USER} must be 1 to {_SUB_USER_CHARACTERS} printable characters"
        )
    return given


async def admit(request: Request, role: Role, *, is_counted: bool = True) -> Caller:
    """Return who asks, if that role is included in theirs; counts the request against its quota.

    Raises:
        AuthenticationError: there is no valid credential.
        TooManyAttemptsError: too many invalid ones came from there.
        PermissionDeniedError: the principal's role is too small.
        QuotaExceededError: the principal sent as many requests as it may.
    """
    state = request.scope["state"]
    principal = await _identify(request)
    caller = Caller(
        principal.name,
        state["request_id"],
        principal,
        _address(request),
        sub_user=_sub_user(request, principal),
    )
    state[CALLER] = caller
    note = count_request if is_counted else show_quota
    note(request, service_of(request).quotas, principal)
    if is_counted:  # GET me says why nothing is left, and leaves no line in the trail
        service_of(request).audit.check(principal)
    if not principal.role.includes(role):
        raise PermissionDeniedError(
            f"this needs the role {role}; {principal.name} is {principal.role}",
            hint="Ask an admin for a key with that role.",
        )
    state[ADMITTED] = True
    return caller


class Requires:
    """A dependency that admits a role and those above it, and tells the route who asks."""

    def __init__(self, role: Role, *, is_counted: bool = True) -> None:
        self.role = role
        self._is_counted = is_counted

    async def __call__(self, request: Request, _: Annotated[Any, Depends(_bearer)]) -> Caller:
        """Return who asks, or refuse the request."""
        return await admit(request, self.role, is_counted=self._is_counted)


Viewer = Annotated[Caller, Depends(Requires(Role.VIEWER))]
"""Refuses the request of anybody below a viewer; the parameter tells who asks."""
Uncounted = Annotated[Caller, Depends(Requires(Role.VIEWER, is_counted=False))]
"""The same for a request that uses up nothing."""
Analyst = Annotated[Caller, Depends(Requires(Role.ANALYST))]
Writer = Annotated[Caller, Depends(Requires(Role.WRITER))]
Admin = Annotated[Caller, Depends(Requires(Role.ADMIN))]


def required_role(dependant: Any) -> Role | None:
    """Return the role that a route's dependencies demand, None when they demand none."""
    roles = [each.call.role for each in dependant.dependencies if isinstance(each.call, Requires)]
    return max(roles, key=lambda role: role.rank, default=None)


async def is_admin(request: Request) -> bool:
    """Whether an admin's valid credential came with a request that needs none."""
    is_given = _PRINCIPAL in request.scope["state"] or _credentials(request)
    try:
        if is_given and (await _identify(request)).role is Role.ADMIN:
            request.scope["state"][ADMITTED] = True
            return True
    except DuckDBException:
        pass
    return False


async def answer_public(
    request: Request, name: str, make: Callable[[bool], Awaitable[Response]]
) -> Response:
    """Return a page that anybody may see: for admins a new one, for all others that of this second.

    ``make`` is told whether the page may name paths and versions.
    """
    if await is_admin(request):
        return await make(True)
    shows_all = service_of(request).settings.public_monitoring == "full"
    return await _access_of(request).pages.get(name, lambda: make(shows_all))


async def read_body(request: Request, model: type[M]) -> M:
    """Return the JSON body as a model; reads at most 16 MB of it.

    Raises:
        InvalidRequestError: not JSON, or not of the model's form.
        BodyTooLargeError: longer than that, and the rest is not read; or it has too many elements.
        UnsupportedEncodingError: it is compressed.
        RequestTimeoutError: it did not come to its end in time.
        BodyMemoryError: the bodies of others fill the memory there is for them.
        IdempotencyKeyUnsupportedError: a client that sends a key may send the request again, and no
            route with a JSON body looks at keys.
    """
    if "idempotency-key" in request.headers:
        raise IdempotencyKeyUnsupportedError(
            f"{request.method} {request.url.path} does not know an Idempotency-Key: sent again, it "
            "would be done again",
            hint="Send rows to POST tables/{name}/rows, which knows it; or leave the header out.",
        )
    access = _access_of(request)
    limits = access.service.settings.transport
    body = await read_json_bytes(request, limits, access.body_memory)
    caller: Caller | None = request.scope["state"].get(CALLER)
    if caller is None or len(body) <= _HARMLESS_BYTES:
        return _parsed(body, model, request.scope)
    quick = is_quick(body)
    with access.service.record.noted(work_of(caller, ON_LOOP if quick else "request", "")):
        if quick:
            return _parsed(body, model, request.scope)
        return await asyncio.to_thread(_parsed, body, model, request.scope)


def _parsed(body: bytes, model: type[M], scope: Any) -> M:
    check_json(body)
    try:
        return _adapter(model).validate_json(body)
    except ValidationError as error:
        parts = [
            f"{'.'.join(map(str, item['loc'])) or 'body'}: {item['msg']}"
            for item in error.errors(include_url=False, include_input=False)[:_SHOWN_MISTAKES]
        ]
        raise InvalidRequestError("; ".join(parts), hint=see_docs(scope, "the fields")) from None


_HARMLESS_BYTES = 512
"""Up to here nobody could hold the event loop with it: the supervisor is not told."""
_SHOWN_MISTAKES = 20
_adapters: dict[type[BaseModel], TypeAdapter[Any]] = {}


def _adapter(model: type[M]) -> TypeAdapter[M]:
    if model not in _adapters:
        _adapters[model] = TypeAdapter(model)
    return _adapters[model]
