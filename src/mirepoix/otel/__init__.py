"""Traces of tasks with OpenTelemetry: `instrument` an app."""

from mirepoix.otel.instrument import instrument, uninstrument

__all__ = ["instrument", "uninstrument"]
