"""The documentation's page in a browser, under its policy and without any network."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import httpx2
import pytest

from tests.patience import PATIENCE_SECONDS
from tests.server import Server

pytestmark = pytest.mark.slow
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.mark.skipif(BROWSER is None, reason="there is no chromium")
def test_the_page_renders_every_operation_and_breaks_no_rule_of_its_policy(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        document = httpx2.get(f"{server.url}/openapi.json").json()
        seen = subprocess.run(
            [
                *(str(BROWSER), "--headless=new", "--no-sandbox", "--disable-gpu"),
                *(f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=10000"),
                *("--enable-logging=stderr", "--dump-dom", f"{server.url}/docs/api/duckdb"),
            ],
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
    shown = re.findall(r'opblock-summary-path"[^>]*data-path="([^"]+)"', seen.stdout)
    operations = [path for path, methods in document["paths"].items() for _ in methods]
    assert sorted(shown) == sorted(operations)
    assert "Content Security Policy" not in seen.stderr
    assert "CONSOLE" not in seen.stderr, seen.stderr
