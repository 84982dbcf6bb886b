"""What commands tell the audit trail when they work on the files themselves."""

from __future__ import annotations

import getpass
from typing import Any

from chronoduck.cli.output import errors, plain
from chronoduck.errors import SettingsError
from chronoduck.monitoring.audit import AuditTrail
from chronoduck.principals import LOCAL
from chronoduck.settings import Settings
from chronoduck.sql.masking import mask_message, mask_statement

__all__ = ["record_locally"]


def record_locally(settings: Settings, event: str, **facts: Any) -> None:
    """Record an act of this command; no recovery fails for want of a trail, it says so and goes on."""
    trail = AuditTrail(
        settings.audit_path,
        settings.audit,
        mask_statement=mask_statement,
        mask_message=mask_message,
    )
    try:
        trail.open()
    except SettingsError as error:
        errors.print(f"not in the audit trail: {plain(error.operator_detail)}", soft_wrap=True)
        return
    trail.record(event, LOCAL, user=getpass.getuser(), **facts)
    trail.close()
