"""The runbooks as the service serves them: to everybody, under a strict policy, one for every alert."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

import httpx2
import pytest

from chronoduck.pages import runbook_names

REPOSITORY = Path(__file__).parents[3]
ROOT = "http://test/docs/api/duckdb/runbooks"
ALERTS = re.findall(
    r"- alert: (\w+)\n(?:(?!- alert).*\n)*?\s+runbook_url: \"http://{{ \$labels.instance }}(.+)\"",
    (REPOSITORY / "deploy/prometheus/rules.yml").read_text(),
)


def test_every_alert_has_a_link() -> None:
    rules = (REPOSITORY / "deploy/prometheus/rules.yml").read_text()
    assert [name for name, _ in ALERTS] == re.findall(r"- alert: (\w+)", rules)
    assert len(ALERTS) >= 25


async def test_the_link_of_every_alert_leads_to_a_page_that_names_it(
    public: httpx2.AsyncClient,
) -> None:
    index = (await public.get(ROOT)).text
    for alert, path in ALERTS:
        answer = await public.get(f"http://test{path}")
        assert answer.status_code == 200, alert
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        symptom = answer.text.partition("<h2>See</h2>")[0]
        assert f"<code>{alert}</code>" in symptom
        row = re.search(
            rf"<td><code>{alert}</code></td>\s*<td><a href=\"runbooks/([\w-]+)\"", index
        )
        assert row, f"{alert} is not in the index"
        assert path.endswith(f"/{row[1]}")


async def test_every_page_has_its_sections_and_its_links_lead_to_pages(
    public: httpx2.AsyncClient,
) -> None:
    for name in ("", *runbook_names()):
        url = f"{ROOT}/{name}".rstrip("/")
        answer = await public.get(url)
        assert answer.status_code == 200, name
        if name:
            headings = re.findall(r"<h2>(.*?)</h2>", answer.text)
            assert headings == ["Symptom", "See", "Fix", "Did it work?", "If not"], name
        for target in re.findall(r'href="([^"]+)"', answer.text):
            followed = await public.get(str(httpx2.URL(url).join(target)))
            assert followed.status_code == 200, f"{name}: {target}"
            assert followed.headers["content-type"].startswith("text/html"), f"{name}: {target}"


async def test_a_page_may_show_text_and_nothing_else(public: httpx2.AsyncClient) -> None:
    answer = await public.get(f"{ROOT}/disk-full")
    style = re.search(r"<style>(.*?)</style>", answer.text, re.DOTALL)
    assert style
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert answer.headers["content-security-policy"] == (
        f"default-src 'none'; style-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert "<script" not in answer.text


@pytest.mark.parametrize(
    "name", ["none", "README", "..%2f..%2fconfiguration", "%2e%2e", "a" * 5000]
)
async def test_other_names_are_not_found(public: httpx2.AsyncClient, name: str) -> None:
    answer = await public.get(f"{ROOT}/{name}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
