"""A certificate for a test's server, made by openssl."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Certificate"]


@dataclass(frozen=True)
class Certificate:
    """A self-signed certificate and its key."""

    certificate: Path
    key: Path

    @classmethod
    def make(cls, directory: Path, name: str = "db.example.org") -> Certificate:
        """Make one for the name."""
        made = cls(directory / f"{name}.pem", directory / f"{name}.key")
        subprocess.run(
            [
                *(
                    "openssl",
                    "req",
                    "-x509",
                    "-newkey",
                    "ec",
                    "-pkeyopt",
                    "ec_paramgen_curve:P-256",
                ),
                *("-nodes", "-days", "2", "-subj", f"/CN={name}", "-addext"),
                f"subjectAltName=DNS:{name}",
                *("-keyout", str(made.key), "-out", str(made.certificate)),
            ],
            check=True,
            capture_output=True,
        )
        made.key.chmod(0o600)
        return made

    @property
    def settings(self) -> dict[str, str]:
        return {
            "DUCKDB_TLS_CERT_FILE": str(self.certificate),
            "DUCKDB_TLS_KEY_FILE": str(self.key),
        }
