"""``keys``: list, issue and revoke API keys; for admins."""

from __future__ import annotations

import asyncio
import time

from fastapi import APIRouter, Request, Response

from chronoduck.api.access import Admin, authenticator_of, read_body, service_of
from chronoduck.api.answers import IssuedKey, Key, KeyList
from chronoduck.api.documentation import reads
from chronoduck.api.problems import ProblemRoute
from chronoduck.api.responses import JsonResponse
from chronoduck.api.schemas import KeyRequest
from chronoduck.auth.keys import KeyWish, check_wish
from chronoduck.principals import Limits, TableGrant, claims_of

__all__ = ["router"]

router = APIRouter(tags=["keys"], route_class=ProblemRoute)


@router.get("/keys", operation_id="list_keys", summary="The API keys", response_model=KeyList)
async def list_keys(request: Request, caller: Admin) -> Response:
    """List the keys, oldest first, without their secrets; with when each was last used."""
    now = time.time()
    keys = authenticator_of(request).keys
    await keys.follow()
    found = keys.list()
    return JsonResponse({"keys": [key.describe(now, used) for key, used in found]})


@router.post(
    "/keys",
    operation_id="create_key",
    summary="Issue an API key",
    response_model=IssuedKey,
    status_code=201,
)
@reads(KeyRequest)
async def create_key(request: Request, caller: Admin) -> Response:
    """Issue a key; `key` in the answer is its only copy."""
    asked = await read_body(request, KeyRequest)
    wish = KeyWish(
        name=asked.name,
        role=asked.role,
        lifetime_seconds=asked.expires_in_seconds,
        tables=tuple(TableGrant(each.name, each.schema_, each.filter) for each in asked.tables),
        schemas=tuple(asked.schemas),
        limits=Limits(**asked.limits.model_dump()),
        claims=claims_of(asked.claims),
        write=None if asked.write is None else tuple(asked.write),
    )
    check_wish(wish, service_of(request).settings.database_path)
    if wish.tables or wish.schemas:
        parts = await service_of(request).parts()
        await parts.check_scope(wish.scope, caller.principal)
    now = time.time()
    key, token = await asyncio.to_thread(authenticator_of(request).keys.file.add, wish, now)
    await service_of(request).audit.act_now(
        "key_created", caller, key=key.id, name=key.name, role=key.role
    )
    return JsonResponse(
        {"key": token, **key.describe(now)}, status_code=201, headers={"Cache-Control": "no-store"}
    )


@router.delete(
    "/keys/{id_or_name}",
    operation_id="revoke_key",
    summary="Revoke an API key",
    response_model=Key,
)
async def revoke_key(id_or_name: str, request: Request, caller: Admin) -> Response:
    """Revoke a key; it is refused from the next request on."""
    key = await asyncio.to_thread(authenticator_of(request).keys.file.remove, id_or_name)
    await service_of(request).audit.act_now("key_revoked", caller, key=key.id, name=key.name)
    return JsonResponse(key.describe(time.time()))
