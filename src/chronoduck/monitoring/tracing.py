"""OpenTelemetry: each statement as spans below the request, or the caller's own span, that sent it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from chronoduck.errors import SettingsError

if TYPE_CHECKING:  # an extra; imported when tracing is switched on
    from opentelemetry.sdk.trace.export import SpanExporter

__all__ = ["Tracing", "open_tracing"]

_NANOSECONDS = 1_000_000_000
_FLUSH_MILLISECONDS = 3_000


def open_tracing(version: str, exporter: SpanExporter | None = None) -> Tracing:
    """Return what makes and sends spans; where to is told by the ``OTEL_*`` variables.

    Raises:
        SettingsError: the packages for it are missing.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError as error:
        raise SettingsError(
            f"DUCKDB_TRACING is on, but a package is missing: {error}",
            hint="pip install 'chronoduck[otel]'",
        ) from error
    # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win over what is given here.
    own = Resource({"service.name": "chronoduck", "service.version": version})
    provider = TracerProvider(resource=own.merge(Resource.create()))
    provider.add_span_processor(BatchSpanProcessor(exporter or OTLPSpanExporter()))
    return Tracing(provider, version)


class TracedStatement(Protocol):
    """What is needed of a statement that has ended; times in seconds."""

    @property
    def id(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def query_hash(self) -> str: ...
    @property
    def outcome(self) -> str: ...
    @property
    def error_code(self) -> str | None: ...
    @property
    def ended_at(self) -> float: ...
    @property
    def execution_time(self) -> float: ...
    @property
    def queue_time(self) -> float: ...
    @property
    def engine_seconds(self) -> float: ...
    @property
    def encode_seconds(self) -> float: ...
    @property
    def rows(self) -> int: ...
    @property
    def bytes(self) -> int: ...


class Tracing:
    """Spans have no text of a statement, only its hash; a span costs about 30 µs.

    Statements get theirs when they have ended, of the times that are taken anyway: what runs is not
    touched by it.
    """

    def __init__(self, provider: Any, version: str) -> None:
        from opentelemetry import trace  # noqa: PLC0415
        from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415
            TraceContextTextMapPropagator,
        )

        self._trace = trace
        self._provider = provider
        self._tracer = provider.get_tracer("chronoduck", version)
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def request(self, method: str, headers: Mapping[str, str]) -> Iterator[Any]:
        """Enter the span of a request, below that of its client (``traceparent``)."""
        with self._tracer.start_as_current_span(
            method,
            context=self._propagator.extract(headers),
            kind=self._trace.SpanKind.SERVER,
            attributes={"http.request.method": method},
            record_exception=False,
        ) as span:
            yield span

    def end_request(self, span: Any, route: str, status: int) -> None:
        """Tell a request's span how it was answered."""
        span.update_name(f"{span.name} {route}")
        span.set_attribute("http.route", route)
        span.set_attribute("http.response.status_code", status)
        if status >= 500:
            span.set_status(self._trace.StatusCode.ERROR)

    def statement(self, record: TracedStatement) -> None:
        """Make the spans of an ended statement: waiting, running, and encoding its result.

        Running and encoding take turns in a large result; they are shown one after the other.
        """
        end = int(record.ended_at * _NANOSECONDS)
        start = end - int(record.execution_time * _NANOSECONDS)
        span = self._tracer.start_span(
            f"duckdb {record.kind}",
            start_time=start,
            attributes={
                "db.system.name": "duckdb",
                "db.operation.name": record.kind,
                "chronoduck.query_hash": record.query_hash,
                "chronoduck.statement_id": record.id,
                "chronoduck.outcome": record.outcome,
                "db.response.returned_rows": record.rows,
                "chronoduck.result_bytes": record.bytes,
            },
        )
        if record.error_code is not None:
            span.set_attribute("error.type", record.error_code)
        if record.outcome in ("failed", "timeout"):
            span.set_status(self._trace.StatusCode.ERROR)
        context = self._trace.set_span_in_context(span)
        parts = {
            "queue": record.queue_time,
            "execute": max(0.0, record.engine_seconds - record.encode_seconds),
            "encode": record.encode_seconds,
        }
        for name, seconds in parts.items():
            if seconds > 0:
                part = self._tracer.start_span(name, context=context, start_time=start)
                start = min(end, start + int(seconds * _NANOSECONDS))
                part.end(start)
        span.end(end)

    def flush(self) -> None:
        """Send what is left; waits for a collector for at most a few seconds."""
        self._provider.force_flush(_FLUSH_MILLISECONDS)
