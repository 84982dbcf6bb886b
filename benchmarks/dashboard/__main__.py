"""``make dashboard-picture``: the shipped dashboard's panels, drawn from a real Prometheus.

A service is under a mixed load for some minutes; in the middle its replica's directory goes away and
comes back. Every panel of ``deploy/grafana/dashboard.py`` is asked of Prometheus and drawn.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import shutil
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from benchmarks.operations.soak import run_soak
from benchmarks.runaways.statements import make_database
from deploy.grafana.dashboard import ROWS, Panel
from tests.prometheus import AlertingStack
from tests.server import Server

PICTURE = Path(__file__).parents[2] / "docs" / "images" / "dashboard.png"
_COLUMNS = 4
_INTERVAL = "20s"
_STEP_SECONDS = 2
Series = list[tuple[str, list[tuple[float, float]]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=4.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory)
        make_database(path / "test.db")
        server = Server(
            path,
            DUCKDB_MEMORY_LIMIT="1GB",
            DUCKDB_REPLICA_URL=path / "replica",
            DUCKDB_WORKER_THREADS=4,
        )
        with server, AlertingStack(path / "prometheus", server.port) as stack:
            began = time.time()
            threading.Thread(
                target=_lose_the_replica_for_a_while,
                args=(path / "replica", arguments.minutes * 20),
                daemon=True,
            ).start()
            asyncio.run(run_soak(server, arguments.minutes, lambda sample: None))
            panels = [panel for row in ROWS.values() for panel in row]
            _draw(panels, [_ask(stack, panel, began, time.time()) for panel in panels])


def _lose_the_replica_for_a_while(replica: Path, seconds: float) -> None:
    time.sleep(seconds)
    aside = replica.with_name("unmounted")
    replica.rename(aside)
    time.sleep(seconds)
    shutil.rmtree(replica, ignore_errors=True)  # what was put where the directory is mounted
    aside.rename(replica)


def _ask(stack: AlertingStack, panel: Panel, began: float, ended: float) -> Series:
    found: Series = []
    for expression, legend in panel.queries:
        text = expression.replace("$__rate_interval", _INTERVAL).replace("$instance", ".*")
        for each in stack.query_range(text, began, ended, _STEP_SECONDS):
            label = legend
            for name, value in each["metric"].items():
                label = label.replace("{{" + name + "}}", value)
            points = [((at - began) / 60, float(value)) for at, value in each["values"]]
            found.append((label, points))
    return found


def _draw(panels: Sequence[Panel], answers: Sequence[Series]) -> None:
    rows = math.ceil(len(panels) / _COLUMNS)
    figure, axes = plt.subplots(
        rows, _COLUMNS, figsize=(4 * _COLUMNS, 2.3 * rows), layout="constrained"
    )
    for axis in axes.flat[len(panels) :]:
        axis.axis("off")
    for axis, panel, series in zip(axes.flat, panels, answers, strict=False):
        _draw_panel(axis, panel, series)
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, dpi=70)


def _draw_panel(axis: Axes, panel: Panel, series: Series) -> None:
    axis.set_title(f"{panel.title} ({panel.unit})", fontsize=9)
    axis.tick_params(labelsize=7)
    axis.spines[["top", "right"]].set_visible(False)
    for label, points in series:
        axis.plot([at for at, _ in points], [value for _, value in points], label=label, lw=1)
    if not series:
        axis.text(0.5, 0.5, "nothing happened", ha="center", fontsize=8, transform=axis.transAxes)
    if any(label for label, _ in series):
        axis.legend(fontsize=6, frameon=False, loc="upper left")
    axis.set_ylim(bottom=0)


if __name__ == "__main__":
    main()
