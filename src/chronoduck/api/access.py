"""Who asks: the bearer token of a request, and the request's body within its bound."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request
from fastapi.security import HTTPBearer
from pydantic import BaseModel, TypeAdapter, ValidationError

from chronoduck.api.bodies import read_json_bytes
from chronoduck.assembly import DuckDBService
from chronoduck.auth.admin_token import AdminToken
from chronoduck.errors import DuckDBException, InvalidRequestError, ServiceUnavailableError
from chronoduck.service.records import Caller

__all__ = [
    "Authenticated",
    "body_schema",
    "check_token",
    "is_admin",
    "read_body",
    "service_of",
]

M = TypeVar("M", bound=BaseModel)

# Only for the documentation: it puts the "Authorize" button there.
_bearer = HTTPBearer(auto_error=False, description="The admin token, from the file admin.token.")


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
    token.check(request.headers.get("authorization"))
    return Caller("admin", request.scope["state"]["request_id"])


async def _authenticate(request: Request, _: Annotated[Any, Depends(_bearer)]) -> Caller:
    return check_token(request)


Authenticated = Annotated[Caller, Depends(_authenticate)]
"""Refuses the request without a valid token; the parameter tells who asks."""


def is_admin(request: Request) -> bool:
    """Whether a valid token came with a request that needs none."""
    try:
        check_token(request)
    except DuckDBException:
        return False
    return True


async def read_body(request: Request, model: type[M]) -> M:
    """Return the JSON body as a model; reads at most 16 MB of it.

    Raises:
        InvalidRequestError: not JSON, or not of the model's form.
        BodyTooLargeError: longer than that; the rest is not read.
        UnsupportedEncodingError: it is compressed.
        RequestTimeoutError: it did not come to its end in time.
        BodyMemoryError: the bodies of others fill the memory there is for them.
    """
    try:
        return _adapter(model).validate_json(await read_json_bytes(request))
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
    schema = model.model_json_schema()
    return {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _inlined(schema, schema.get("$defs", {}))}},
        }
    }


def _inlined(part: Any, definitions: dict[str, Any]) -> Any:
    """Return a part of a JSON schema with the models it names put in their places.

    A reference in it would be looked for at the top of the OpenAPI document, where nothing is.
    """
    if isinstance(part, list):
        return [_inlined(item, definitions) for item in part]
    if not isinstance(part, dict):
        return part
    if "$ref" in part:
        return _inlined(definitions[part["$ref"].rpartition("/")[2]], definitions)
    return {name: _inlined(item, definitions) for name, item in part.items() if name != "$defs"}
