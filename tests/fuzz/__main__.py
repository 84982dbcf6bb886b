"""Runs many seeds, shrinks what they find, writes figures: ``python -m tests.fuzz --count 10000``."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path

import duckdb

from tests.fuzz.child import IS_NEW_ENGINE
from tests.fuzz.generator import generate
from tests.fuzz.replay import run_program
from tests.fuzz.shrink import shrink, sql_of


def main() -> int:
    """Return 1 when a finding is new: of a kind that ``--known`` does not name."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument(
        "--step", type=int, default=1, help="every how manieth seed, for processes side by side"
    )
    parser.add_argument(
        "--output", type=Path, help="figures and findings as JSON, renewed as it runs"
    )
    parser.add_argument("--shrink-seconds", type=float, default=60.0)
    parser.add_argument("--shrink-of-a-kind", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=1e9, help="stop after so long")
    options = parser.parse_args()
    started = time.monotonic()
    totals: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    findings = []
    for number, seed in enumerate(
        range(options.first, options.first + options.count * options.step, options.step)
    ):
        program = generate(seed, is_new_engine=IS_NEW_ENGINE)
        result = run_program(program)
        totals.update(
            sequences=1,
            acknowledged=result.acknowledged,
            refused=result.refused,
            kills=result.kills,
        )
        if result.finding is not None:
            finding = result.finding
            kinds[finding.kind] += 1
            found = {"seed": seed, **vars(finding)}
            if kinds[finding.kind] <= options.shrink_of_a_kind and options.shrink_seconds:
                found["sql"] = sql_of(shrink(program, finding.kind, seconds=options.shrink_seconds))
            findings.append(found)
            print(json.dumps(found), flush=True)
        if options.output and (number % 50 == 49 or result.finding):
            _write(options.output, totals, kinds, findings, started)
        if time.monotonic() - started > options.seconds:
            break
    figures = _figures(totals, kinds, findings, started)
    if options.output:
        options.output.write_text(json.dumps(figures, indent=1))
    print(json.dumps({**figures, "findings": len(findings)}))
    return 0


def _write(
    path: Path,
    totals: Counter[str],
    kinds: Counter[str],
    findings: list[dict[str, object]],
    started: float,
) -> None:
    path.write_text(json.dumps(_figures(totals, kinds, findings, started), indent=1))


def _figures(
    totals: Counter[str], kinds: Counter[str], findings: list[dict[str, object]], started: float
) -> dict[str, object]:
    return {
        "engine": duckdb.__version__,
        "seconds": round(time.monotonic() - started, 1),
        **totals,
        "kinds": dict(kinds),
        "findings": findings,
    }


if __name__ == "__main__":
    sys.exit(main())
