"""Names that existing clients read; a change here breaks somebody's script or dashboard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest

from chronoduck.api import create_app
from chronoduck.assembly import DuckDBService
from chronoduck.settings import load_settings

GOLDEN = Path(__file__).parent
ROOT = "/api/v1/duckdb"


def _keys(value: Any, prefix: str = "") -> set[str]:
    """Return the paths of all keys, as jq would write them."""
    if not isinstance(value, dict):
        return {prefix}
    return {path for key, inner in value.items() for path in _keys(inner, f"{prefix}.{key}")}


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("health", "/health"),
        ("statistics", "/statistics"),
        ("performance-metrics", "/templates/performance-metrics"),
    ],
)
async def test_reports_keep_their_keys(tmp_path: Path, name: str, path: str) -> None:
    settings = load_settings(database_path=tmp_path / "test.db", temp_directory=tmp_path / "temp")
    async with DuckDBService(settings) as service:
        transport = httpx2.ASGITransport(create_app(service))
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
            report = (await client.get(ROOT + path)).json()
    golden = set((GOLDEN / f"{name}.keys").read_text().split())
    assert _keys(report) >= golden, "a key is gone"
    assert _keys(report) <= golden, f"new keys: add them to {name}.keys"


def test_operations_and_their_schemas_stay() -> None:
    """Rewrite with: python -m tests.golden.test_names"""
    assert _contract() == orjson.loads((GOLDEN / "openapi.json").read_bytes())


def _contract() -> dict[str, Any]:
    """Return what generated clients depend on: operations, parameters, and fields of bodies."""
    document = create_app(DuckDBService()).openapi()
    operations = {
        operation["operationId"]: {
            "call": f"{method.upper()} {path}",
            "parameters": [each["name"] for each in operation.get("parameters", [])],
            "answers": sorted(operation["responses"]),
        }
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    schemas = {
        name: sorted(schema.get("properties", {}))
        for name, schema in document["components"]["schemas"].items()
    }
    return {"operations": operations, "schemas": schemas}


if __name__ == "__main__":
    (GOLDEN / "openapi.json").write_bytes(orjson.dumps(_contract(), option=orjson.OPT_INDENT_2))
