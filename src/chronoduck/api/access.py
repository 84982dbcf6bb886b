"""Who asks: the bearer token of a request, and the request's body within its bound."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request
from fastapi.security import HTTPBearer
from pydantic import BaseModel, TypeAdapter, ValidationError

from chronoduck.assembly import DuckDBService
from chronoduck.auth.admin_token import AdminToken
from chronoduck.errors import (
    AuthenticationError,
    DuckDBException,
    InvalidRequestError,
    ServiceUnavailableError,
)
from chronoduck.principals import Principal, Role
from chronoduck.service.records import Caller

__all__ = [
    "Authenticated",
    "BodyTooLargeError",
    "body_schema",
    "check_token",
    "is_admin",
    "read_body",
    "service_of",
]

M = TypeVar("M", bound=BaseModel)
_MAX_BODY_BYTES = 16_000_000
_ADMIN = Principal("admin", Role.ADMIN, "admin")

# Only for the documentation: it puts the "Authorize" button there.
_bearer = HTTPBearer(auto_error=False, description="The admin token, from the file admin.token.")


class BodyTooLargeError(DuckDBException):
    """The request's body is larger than this endpoint reads."""

    code = "body_too_large"
    title = "Body too large"
    http_status = 413


def service_of(request: Request) -> DuckDBService:
    """Return the service behind this application."""
    service: DuckDBService = request.app.state.service
    return service


def check_token(request: Request) -> Caller:
    """Return who asks, by the bearer token of the request.

    Raises:
        AuthenticationError: there is none, or it is not valid.
    """
    token: AdminToken | None = request.app.state.token
    if token is None:
        raise ServiceUnavailableError("the service has not started yet")
    state = request.scope["state"]
    client = request.scope.get("client")
    address = client[0] if client else None
    try:
        token.check(request.headers.get("authorization"))
    except AuthenticationError as error:
        service_of(request).audit.authentication_failed(error.detail, address, state["request_id"])
        raise
    caller = state["caller"] = Caller("admin", state["request_id"], _ADMIN, address)
    return caller


async def _authenticate(request: Request, _: Annotated[Any, Depends(_bearer)]) -> Caller:
    return check_token(request)


Authenticated = Annotated[Caller, Depends(_authenticate)]
"""Refuses the request without a valid token; the parameter tells who asks."""


def is_admin(request: Request) -> bool:
    """Whether a valid token came with a request that needs none."""
    if "authorization" not in request.headers:
        return False  # which is no failure of the caller's
    try:
        check_token(request)
    except DuckDBException:
        return False
    return True


async def read_body(request: Request, model: type[M]) -> M:
    """Return the JSON body as a model; reads at most 16 MB of it.

    Raises:
        InvalidRequestError: not JSON, or not of the model's form.
        BodyTooLargeError: longer than that.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_BODY_BYTES:
            raise BodyTooLargeError(
                f"the body has more than {_MAX_BODY_BYTES // 1_000_000} MB",
                hint="Load bulk data with `chronoduck load` or POST tables/{name}/rows.",
            )
    try:
        return _adapter(model).validate_json(bytes(body))
    except ValidationError as error:
        parts = [
            f"{'.'.join(map(str, item['loc'])) or 'body'}: {item['msg']}"
            for item in error.errors(include_url=False, include_input=False)
        ]
        raise InvalidRequestError(
            "; ".join(parts), hint="See /docs/api/duckdb for the fields."
        ) from None


_adapters: dict[type[BaseModel], TypeAdapter[Any]] = {}


def _adapter(model: type[M]) -> TypeAdapter[M]:
    if model not in _adapters:
        _adapters[model] = TypeAdapter(model)
    return _adapters[model]


def body_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the OpenAPI fragment for an endpoint that reads its body by ``read_body``."""
    return {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": model.model_json_schema()}},
        }
    }
