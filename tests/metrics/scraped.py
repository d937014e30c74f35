"""Serve exported metrics, and read them as Prometheus does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client.parser import text_string_to_metric_families

from mirepoix.metrics import Exporter
from mirepoix.metrics.server import serve


@contextmanager
def served(exporter: Exporter) -> Iterator[int]:
    """The port of a server on loopback, in a thread. The exporter is closed at the end."""
    server = serve(exporter, "127.0.0.1", 0, has_token=False)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()
    exporter.close()


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every series with its value. Fails for text that is not in the format, and for a series that is there twice."""
    found: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    assert text.endswith("\n") or not text
    for family in text_string_to_metric_families(text):
        assert family.documentation, family.name
        assert family.type in {"counter", "gauge", "histogram"}, family.name
        for sample in family.samples:
            series = (sample.name, frozenset(sample.labels.items()))
            assert series not in found, series
            found[series] = sample.value
    return found


def value(text: str, name: str, /, **labels: str) -> float:
    """The value of one series."""
    return samples(text)[name, frozenset(labels.items())]


def total(text: str, name: str, /, **labels: str) -> float:
    """The sum of all series of that name with these labels."""
    wanted = set(labels.items())
    return sum(value for (given, own), value in samples(text).items() if given == name and wanted <= own)
