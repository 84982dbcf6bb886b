"""What a check of the doctor found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Check", "Severity"]


class Severity(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True)
class Check:
    """What one check found; ``fix`` is empty when all is well."""

    id: str
    severity: Severity
    finding: str
    fix: str = ""
    exit_code: int = 78
    """Of an error: with which one a start would end."""
