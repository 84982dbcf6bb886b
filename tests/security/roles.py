"""How tests speak to a server as each role. The one place to change when keys are made otherwise."""

from __future__ import annotations

from chronoduck.principals import Principal, Role
from chronoduck.service.records import Caller
from tests.server import Server

ROLES_OVER_HTTP = (Role.ADMIN,)
"""Roles that ``token_of`` knows a token of."""


def token_of(server: Server, role: Role) -> str:
    """Return a token of that role."""
    assert role is Role.ADMIN
    return server.token


def caller_of(role: Role) -> Caller:
    """Return a caller of that role, as the API makes one for a key."""
    return Caller(f"a {role}", "request-1", Principal(f"a {role}", role, f"key:{role}"))
