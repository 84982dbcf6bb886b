"""``GET templates`` and ``GET templates/{name}``: prepared queries with checked parameters."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response

from chronoduck.api.access import Viewer, service_of
from chronoduck.api.answers import Template
from chronoduck.api.negotiation import FORMAT_PARAMETER, result_format
from chronoduck.api.problems import ProblemRoute
from chronoduck.api.responses import JsonResponse
from chronoduck.api.routes.query import RESULT_RESPONSES, answer, encoding_options
from chronoduck.engine.encoding import ResultFormat
from chronoduck.service.result_encoding import ResultRequest
from chronoduck.service.templates import TemplateLibrary, single_values

__all__ = ["document_templates", "router"]

router = APIRouter(tags=["templates"], route_class=ProblemRoute)
_OPERATION = "run_template"


@router.get(
    "/templates",
    operation_id="list_templates",
    summary="Prepared queries",
    response_model=list[Template],
)
async def list_templates(request: Request, caller: Viewer) -> Response:
    """List the templates with their parameters."""
    library = await service_of(request).templates()
    return JsonResponse([library.get(name).describe() for name in library.names()])


@router.get(
    "/templates/{name}",
    operation_id=_OPERATION,
    summary="Run a prepared query",
    responses=RESULT_RESPONSES,
    openapi_extra={"parameters": [FORMAT_PARAMETER]},
)
async def run_template(name: str, request: Request, caller: Viewer) -> Response:
    """Run the template; its parameters are query parameters, checked and bound, never pasted."""
    service = service_of(request)
    template = (await service.templates()).get(name)
    given = single_values(request.query_params.multi_items())
    given.pop("format", None)
    format = result_format(  # noqa: A001 - the word of the API
        request.query_params.get("format"), request.headers.get("accept")
    )
    max_rows = service.settings.default_max_rows if format is ResultFormat.JSON else None
    wanted = ResultRequest(
        sql=template.sql,
        params=template.bind(given),
        format=format,
        options=encoding_options(service),
        max_rows=max_rows,
        origin="template",
    )
    with template.explained():
        return await answer(request, wanted, replace(caller, template=name), name)


def document_templates(app: FastAPI, library: TemplateLibrary) -> None:
    """Give every template a path of its own in the application's OpenAPI document, below any prefix."""
    app.openapi_schema = None  # it may have been asked for before the templates were known
    make_document = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = make_document()
            for path, methods in list(document["paths"].items()):
                shared = methods.get("get", {})
                if shared.get("operationId") == _OPERATION:
                    for name in library.names():
                        described = {**shared, **_described(library, name)}
                        document["paths"][path.removesuffix("{name}") + name] = {"get": described}
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _described(library: TemplateLibrary, name: str) -> dict[str, Any]:
    template = library.get(name)
    return {
        "operationId": f"template_{name.replace('-', '_')}",
        "summary": template.description,
        "description": template.description,
        "parameters": [*template.openapi_parameters(), FORMAT_PARAMETER],
    }
