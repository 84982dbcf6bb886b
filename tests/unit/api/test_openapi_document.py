"""The OpenAPI document: answers have models, models have names, and programs make clients of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from fastapi import FastAPI

from chronoduck.api import create_app, create_router
from chronoduck.assembly import DuckDBService
from chronoduck.settings import load_settings
from tests.patience import PATIENCE_SECONDS

REFERENCE = "#/components/schemas/"
GENERATOR = "openapi-python-client==0.29.1"
"""In an environment of its own: it wants other versions than the service."""


@pytest.fixture(scope="module", params=["create_app", "create_router"])
def document(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """The document of an application that is not started."""
    directory = tmp_path_factory.mktemp("document")
    service = DuckDBService(
        load_settings(database_path=directory / "a.db", temp_directory=directory / "temp")
    )
    app = create_app(service)
    if request.param == "create_router":
        app = FastAPI()
        app.include_router(create_router(service), prefix="/inside")
    found: dict[str, Any] = orjson.loads(orjson.dumps(app.openapi()))
    return found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def parts(part: Any) -> Iterator[dict[str, Any]]:
    if isinstance(part, dict):
        yield part
    inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    for each in inner:
        yield from parts(each)


def test_every_success_has_a_schema(document: dict[str, Any]) -> None:
    for call, operation in operations(document):
        answers = {
            status: answer
            for status, answer in operation["responses"].items()
            if status.startswith("2")
        }
        assert answers, call
        for status, answer in answers.items():
            assert answer["content"], (call, status)
            for media_type, content in answer["content"].items():
                assert content.get("schema"), (call, status, media_type)
                if media_type == "application/json":
                    assert model_of(content["schema"]), (call, status, content)


def model_of(schema: dict[str, Any]) -> str:
    """Return the names of the models that an answer is one of, or is a list of."""
    inner = schema.get("items", schema)
    references = [each["$ref"] for each in inner.get("anyOf", [inner]) if "$ref" in each]
    return " ".join(reference.removeprefix(REFERENCE) for reference in references)


def test_every_problem_and_every_body_is_a_named_model(document: dict[str, Any]) -> None:
    for call, operation in operations(document):
        for status in ("4XX", "5XX"):
            assert operation["responses"][status]["content"] == {
                "application/problem+json": {"schema": {"$ref": f"{REFERENCE}Problem"}}
            }, call
        body = operation.get("requestBody")
        if body is not None and "application/octet-stream" not in body["content"]:
            assert body["required"], call
            assert list(body["content"]) == ["application/json"], call
            assert model_of(body["content"]["application/json"]["schema"]), call
    paths = document["paths"]
    [query] = [methods["post"] for path, methods in paths.items() if path.endswith("/query")]
    assert query["requestBody"]["content"]["application/json"]["schema"] == {
        "$ref": f"{REFERENCE}QueryRequest"
    }


def test_every_reference_leads_to_a_model(document: dict[str, Any]) -> None:
    models = document["components"]["schemas"]
    named = {part["$ref"] for part in parts(document) if isinstance(part.get("$ref"), str)}
    assert {reference.removeprefix(REFERENCE) for reference in named} <= models.keys()
    for name, model in models.items():
        assert model.get("properties") or model.get("enum"), f"{name} says nothing"


def test_what_generators_read_is_what_they_know(document: dict[str, Any]) -> None:
    """The rules of openapi-python-client: media types, and names of classes that occur once."""
    for call, operation in operations(document):
        for status, answer in operation["responses"].items():
            assert any(map(is_known_to_generators, answer["content"])), (call, status)
        for media_type in operation.get("requestBody", {}).get("content", ()):
            assert is_known_to_generators(media_type), (call, media_type)
    names = [name.lower() for name in generated_classes(document)]
    assert sorted(set(names)) == sorted(names)


def is_known_to_generators(media_type: str) -> bool:
    return media_type.startswith("text/") or media_type.endswith(("json", "octet-stream"))


def generated_classes(document: dict[str, Any]) -> Iterator[str]:
    """Return the classes that are made of models, and of what stands in them without a name."""
    for name, model in document["components"]["schemas"].items():
        yield name
        for member, schema in model.get("properties", {}).items():
            if "enum" in schema or "additionalProperties" in schema:
                yield name + member.replace("_", "")


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program that makes clients of a document."""
    place = tmp_path_factory.mktemp("generator")
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
    done = subprocess.run(
        [
            *(str(place / "bin/pip"), "install", "--disable-pip-version-check", "--quiet"),
            *("--timeout", str(PATIENCE_SECONDS), "--retries", "10"),  # an index may be slow
            GENERATOR,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode and not os.environ.get("CI"):
        pytest.skip(f"pip cannot install {GENERATOR}: {done.stderr[-300:]}")
    assert done.returncode == 0, done.stderr
    return place / "bin/openapi-python-client"


@pytest.mark.slow
def test_a_client_is_made_of_it_without_a_warning(
    document: dict[str, Any], generator: Path, tmp_path: Path
) -> None:
    (tmp_path / "openapi.json").write_bytes(orjson.dumps(document))
    done = subprocess.run(
        [
            *(generator, "generate", "--meta", "none"),
            *("--path", "openapi.json", "--output-path", "client"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    assert "WARNING" not in said, said
    assert "Unable" not in said, said
    assert (tmp_path / "client" / "models" / "query_request.py").exists()
