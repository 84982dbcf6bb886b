"""The platform's way to the service: its names, synchronous calls, and any number of event loops.

The service lives on one event loop: that of the server which serves it, else one in a thread of its own.
The platform may call it from any of its loops and threads, and wait for it there. Nothing here touches
DuckDB.
"""

from .service import DuckDBService
from .values import ConnectionMetrics, QueryResult

__all__ = ["ConnectionMetrics", "DuckDBService", "QueryResult"]
