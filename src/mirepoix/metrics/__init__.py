"""Metrics of the ledger in Prometheus' text format."""

from mirepoix.metrics.exporter import Exporter, exporter_of

__all__ = ["Exporter", "exporter_of"]
