"""How tests speak as each role: with a key of that role over HTTP, or as its caller in process."""

from __future__ import annotations

import json

from chronoduck.principals import Principal, Role
from chronoduck.service.records import Caller
from tests.server import Server, run_cli

ROLES_OVER_HTTP = tuple(Role)


def token_of(server: Server, role: Role) -> str:
    """Return the key of that role, made when it is asked for first."""
    path = server.directory / f"{role}.key"
    if not path.exists():
        done = run_cli(
            server.directory,
            "keys",
            "create",
            "--name",
            f"a-{role}",
            "--role",
            role.value,
            "--json",
        )
        assert done.returncode == 0, done.stderr
        path.write_text(str(json.loads(done.stdout)["key"]))
    return path.read_text()


def caller_of(role: Role) -> Caller:
    """Return a caller of that role, as the API makes one for a key."""
    return Caller(f"a {role}", "request-1", Principal(f"a {role}", role, f"key:{role}"))
