"""How the routes describe themselves in OpenAPI: bodies that they read themselves, and problems.

FastAPI describes what it validates. These routes validate nothing twice: they read bodies within bounds
of their own and answer bytes, so the models are only named here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar, cast

from fastapi import params
from fastapi import routing as fastapi_routing
from fastapi.utils import create_model_field
from pydantic import BaseModel
from starlette.responses import Response, StreamingResponse

from chronoduck.api.schemas import Problem

__all__ = [
    "PROBLEM_MEDIA_TYPE",
    "PROBLEM_RESPONSES",
    "STARTED",
    "EventStream",
    "FileBytes",
    "LoadLines",
    "describe_body",
    "problem",
    "reads",
]

PROBLEM_MEDIA_TYPE = "application/problem+json"
_BODY_MODEL = "chronoduck_body"
E_ = TypeVar("E_", bound=Callable[..., Any])


class _ProblemContent(dict[str, Any]):
    """FastAPI writes a model under the media type of the route's results; problems have their own."""

    def setdefault(self, key: str, default: Any = None) -> Any:
        return super().setdefault(PROBLEM_MEDIA_TYPE, default)


def problem(description: str) -> dict[str, Any]:
    """Return how a route's ``responses`` describe a problem."""
    return {"model": Problem, "description": description, "content": _ProblemContent()}


_PROBLEM = problem("What happened and what to do, as RFC 9457 problem.")
PROBLEM_RESPONSES: dict[int | str, dict[str, Any]] = {"4XX": _PROBLEM, "5XX": _PROBLEM}
"""Of every route."""
STARTED = "It has begun; `Location` is the job to follow."


def reads(model: type[BaseModel]) -> Callable[[E_], E_]:
    """Return a decorator for an endpoint that reads its JSON body by ``read_body``."""

    def decorate(endpoint: E_) -> E_:
        setattr(endpoint, _BODY_MODEL, model)
        return endpoint

    return decorate


def describe_body(route: Any) -> None:
    """Let FastAPI know the model of a route's body, after the route's handler was made without it.

    A route that is included is described by a context of its own, which FastAPI passes only in a
    context variable.
    """
    model = getattr(route.endpoint, _BODY_MODEL, None)
    if model is None:
        return
    info = params.Body(annotation=model)
    info.annotation = model
    field = create_model_field(name="body", type_=model, field_info=cast(Any, info))
    included = getattr(fastapi_routing, "_effective_route_context_var", None)
    context = included.get() if included is not None else None
    (route if context is None else context).body_field = field


class LoadLines(Response):
    """Lines of JSON."""

    media_type = "application/x-ndjson"


class EventStream(StreamingResponse):
    """Server-sent events."""

    media_type = "text/event-stream"


class FileBytes(StreamingResponse):
    """A file's bytes, whatever they are."""

    media_type = "application/octet-stream"
    DESCRIPTION: ClassVar[dict[int | str, dict[str, Any]]] = {
        200: {
            "description": "The file.",
            "content": {media_type: {"schema": {"type": "string", "format": "binary"}}},
        }
    }
