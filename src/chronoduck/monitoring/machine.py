"""The process and the machine (or container) it runs on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil

__all__ = ["MachineProbe"]


class MachineProbe:
    """Numbers of the operating system under the names that clients read."""

    def __init__(self, total_memory_bytes: int, data_directory: Path) -> None:
        """``total_memory_bytes``: what this process may use, the container's limit if there is one."""
        self._total = total_memory_bytes
        self._directory = data_directory
        self._process = psutil.Process()
        self._process.cpu_percent()  # the first call only starts the measurement
        psutil.cpu_percent()
        self.disk_percent = 0.0
        """How full the volume of the database was at the last look."""

    def look(self) -> None:
        """Look at the volume of the database; blocks."""
        try:
            self.disk_percent = float(psutil.disk_usage(str(self._directory)).percent)
        except OSError:
            self.disk_percent = 0.0

    def read(self) -> dict[str, Any]:
        """Return memory in MB and percentages; cpu_percent may exceed 100 on several cores."""
        resident = self._process.memory_info().rss
        return {
            "process_memory_mb": round(resident / 1e6, 3),
            "process_memory_percent": round(100 * resident / self._total, 3),
            "cpu_percent": self._process.cpu_percent(),
            "system_memory_percent": psutil.virtual_memory().percent,
            "system_cpu_percent": psutil.cpu_percent(),
            "disk_usage_percent": self.disk_percent,
        }

    def resident_mb(self) -> float:
        """Return the memory of this process in MB."""
        return round(self._process.memory_info().rss / 1e6, 3)
