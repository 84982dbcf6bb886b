"""Issues and revokes keys for ever, telling each that is done; to be killed in between."""

from __future__ import annotations

import sys
from pathlib import Path

from chronoduck.auth.key_file import KeyFile
from chronoduck.auth.keys import KeyWish
from chronoduck.principals import Role


def main(path: Path, prefix: str) -> None:
    """Print ``+name key`` after a key is stored and ``-name`` after one is revoked."""
    file = KeyFile(path)
    number = 0
    while True:
        number += 1
        name = f"{prefix}-{number}"
        _, token = file.add(KeyWish(name, Role.VIEWER), now=0.0)
        print(f"+{name} {token}", flush=True)
        if number % 3 == 0:
            file.remove(name)
            print(f"-{name}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
