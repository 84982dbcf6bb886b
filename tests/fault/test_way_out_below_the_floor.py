"""Below the disk floor DELETE or DROP, and then CHECKPOINT, are a way out: nobody touches the volume."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.fault.test_full_database_volume import counts, insert, start_again, write_until
from tests.fault.volumes import fill, free, small_volume
from tests.patience import PATIENCE_SECONDS
from tests.server import Server

pytestmark = pytest.mark.slow
FLOOR = 30_000_000
ROWS = 200_000


def wait_for_write(server: Server, acknowledged: dict[int, int], number: int) -> None:
    """Insert as soon as the service has seen that there is space."""
    end = time.monotonic() + PATIENCE_SECONDS
    while (answer := insert(server, number, 10))[0] != 200:
        assert answer[1] == "disk_floor", answer
        assert time.monotonic() < end, f"no write, with {free(server.directory):,} bytes free"
        time.sleep(0.3)
    acknowledged[number] = 10


def delete(server: Server, acknowledged: dict[int, int], numbers: list[int]) -> None:
    for number in numbers:
        server.query(f"DELETE FROM t WHERE a = {number}")
        del acknowledged[number]


def compacted(server: Server) -> dict[str, Any]:
    """Compact, and return what the job says of it."""
    end = time.monotonic() + PATIENCE_SECONDS
    with server.client() as client:
        answer = client.post("/compact")
        assert answer.is_success, answer.text
        job = answer.json()
        while job["state"] == "running":
            assert time.monotonic() < end
            time.sleep(0.2)
            job = client.get(f"/jobs/{job['id']}").json()
    assert job["error"] is None, job
    result: dict[str, Any] = job["result"]
    return result


def test_deleted_rows_make_room_below_the_floor(tmp_path: Path) -> None:
    """The file keeps its size, and others keep the volume full: the space is inside the file."""
    acknowledged: dict[int, int] = {}
    with small_volume(tmp_path / "volume", 120) as volume:
        server = Server(
            volume,
            DUCKDB_TEMP_DIRECTORY=tmp_path / "temp",
            DUCKDB_DISK_FLOOR=str(FLOOR),
            DUCKDB_BALLAST_SIZE="5MB",
        )
        with server:
            path = volume / "test.db"
            server.query("CREATE TABLE t (a INTEGER, b UBIGINT)")
            write_until(server, acknowledged, stops_at=1, rows=ROWS)
            other = fill(volume, leave=24_000_000)
            assert insert(server, 1, 10) == (507, "disk_floor")
            size = path.stat().st_size
            # The oldest half: what is left is at the end of the file, which cannot be cut.
            numbers = sorted(acknowledged)
            delete(server, acknowledged, numbers[: len(numbers) // 2])
            start_again(server)  # killed before the checkpoint
            assert counts(server) == acknowledged
            server.query("CHECKPOINT")
            assert path.stat().st_size > size * 0.9
            assert free(volume) < FLOOR
            wait_for_write(server, acknowledged, 2)
            assert insert(server, 3, ROWS)[0] == 200
            acknowledged[3] = ROWS
            assert path.stat().st_size <= size
            with server.client() as client:
                disk = client.get("/statistics").json()["disk"]
            assert disk["free_bytes"] < FLOOR < disk["free_bytes"] + disk["free_inside_bytes"]
            # Compacting needs what is used and a margin, not twice what the file takes.
            delete(server, acknowledged, sorted(acknowledged)[3:-2])
            server.query("CHECKPOINT")
            other.unlink()
            fill(volume, leave=path.stat().st_size)
            facts = compacted(server)
            assert facts["bytes_after"] < facts["bytes_before"] / 2, facts
            assert counts(server) == acknowledged
            assert server.stop() == 0
        with server:
            assert counts(server) == acknowledged
