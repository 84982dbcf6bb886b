"""Texts without the secrets in them, for the audit trail, lists of statements and messages.

``mask_statement`` reads SQL, ``mask_message`` a sentence that may repeat a piece of it. Both fail closed:
what cannot be told apart is treated as a secret. Users' texts meet plain search alone, so the cost
grows as the text does, and of a long text only the beginning is read and shown.
"""

from chronoduck.sql.masking.messages import mask_message
from chronoduck.sql.masking.shapes import MASK
from chronoduck.sql.masking.statements import mask_statement

__all__ = ["MASK", "mask_message", "mask_statement"]
