"""The service from Python, over HTTP: ``Client``, and ``AsyncClient`` for asyncio.

It needs httpx2 and nothing else of what the service needs; pyarrow only for Arrow, pandas and polars.
It must not import any other room: who asks a service has no engine to load.
"""

from chronoduck.client.async_client import AsyncClient
from chronoduck.client.async_jobs import AsyncJob
from chronoduck.client.bodies import LoadSummary
from chronoduck.client.jobs import Job
from chronoduck.client.problems import ConnectionBrokenError
from chronoduck.client.result import Result
from chronoduck.client.retrying import Retries
from chronoduck.client.sync_client import Client
from chronoduck.client.transaction import Transaction

__all__ = [
    "AsyncClient",
    "AsyncJob",
    "Client",
    "ConnectionBrokenError",
    "Job",
    "LoadSummary",
    "Result",
    "Retries",
    "Transaction",
]
