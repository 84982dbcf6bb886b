"""Judges pip-audit's JSON report on standard input: known vulnerabilities fail, silence does not pass.

pip-audit ends with 0 when it could look nothing up, as behind a mirror without vulnerability data. Here
that is said, and with ``AUDIT_REQUIRED`` set it fails.
"""

from __future__ import annotations

import json
import os
import sys

__all__ = ["main"]


def main() -> int:
    """Print the verdict; return 0, 1 for vulnerabilities, or 2 when required data is missing."""
    try:
        dependencies = json.loads(sys.stdin.read())["dependencies"]
    except (ValueError, KeyError):
        dependencies = []
    skipped = [each["name"] for each in dependencies if "skip_reason" in each]
    audited = len(dependencies) - len(skipped)
    found = [
        f"{each['name']} {each['version']}: {flaw['id']}, mended in {flaw['fix_versions'] or 'none'}"
        for each in dependencies
        for flaw in each.get("vulns", ())
    ]
    print(*found, sep="\n", end="\n" if found else "")
    print(f"{audited} packages audited, {len(found)} vulnerabilities, {len(skipped)} not audited")
    if not audited:
        print("NOT AUDITED: the vulnerability data could not be reached from here")
    elif skipped:
        print("not audited:", *skipped)
    if found:
        return 1
    return 2 if os.environ.get("AUDIT_REQUIRED") and (skipped or not audited) else 0


if __name__ == "__main__":
    sys.exit(main())
