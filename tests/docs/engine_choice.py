"""A machine whose ``pip`` changes the DuckDB that the commands and the service run with."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.docs.machine import Machine
from tests.engines import NEWER, OLDER, packages_of

# The engine of a directory of its own goes before the one that the tests have.
_PIP = """#!/bin/bash
[ "$1" = install ] || exit 64
version=${2#duckdb==}
[ -d "@ROOT@/engines/$version" ] || exit 65
printf '#!/bin/bash\\nexport PYTHONPATH=%s\\nexec @PYTHON@ -P -m chronoduck "$@"\\n' \\
  "@ROOT@/engines/$version" > "@ROOT@/bin/chronoduck"
chmod 755 "@ROOT@/bin/chronoduck"
"""
# An environment of its own is this one with another engine.
_PYTHON3 = """#!/bin/bash
[ "$1 $2" = "-m venv" ] || exec @PYTHON@ "$@"
mkdir -p "$3/bin"
cat > "$3/bin/pip" << 'END'
#!/bin/bash
[ "$2" = --no-deps ] || exit 0
version=${3#duckdb==}
[ -d "@ROOT@/engines/$version" ] || exit 65
printf '#!/bin/bash\nPYTHONPATH=%s exec @PYTHON@ "$@"\n' "@ROOT@/engines/$version" > "${0%/pip}/python"
chmod 755 "${0%/pip}/python"
END
chmod 755 "$3/bin/pip"
"""


@contextmanager
def machine_of_engines(root: Path) -> Iterator[Machine]:
    """Make the machine; the service is stopped at the end."""
    machine = Machine(root)
    (root / "engines").mkdir()
    for engine in (OLDER, NEWER):
        (root / "engines" / engine).symlink_to(packages_of(engine))
    for name, text in (("pip", _PIP), ("python3", _PYTHON3)):
        program = root / "bin" / name
        program.write_text(text.replace("@ROOT@", str(root)).replace("@PYTHON@", sys.executable))
        program.chmod(0o755)
    try:
        yield machine
    finally:
        machine.close()


def engine_of(machine: Machine) -> str:
    """Return the version that the service runs with, as DuckDB writes it."""
    return re.findall(r"v\d+\.\d+\.\d+", machine.cli("query", "SELECT version()", "--json"))[0]
