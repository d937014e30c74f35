"""Write Prometheus' text format, version 0.0.4."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Sample:
    """One value. *suffix* is ``_bucket``, ``_sum`` or ``_count`` in a histogram."""

    labels: Mapping[str, str]
    value: float
    suffix: str = ""


@dataclass(slots=True)
class Family:
    """All series of one name. *type* is ``counter``, ``gauge`` or ``histogram``."""

    name: str
    type: str
    help: str
    samples: list[Sample] = field(default_factory=list)

    def add(self, value: float, **labels: str) -> None:
        """Add a series."""
        self.samples.append(Sample(labels, value))

    def add_histogram(self, counts: Iterable[tuple[float, int]], sum_: float, **labels: str) -> None:
        """Add the series of a histogram. *counts* are not cumulative: each is an upper bound and the values below it.

        The last bound is infinity.
        """
        total = 0
        for bound, count in counts:
            total += count
            le = "+Inf" if bound == float("inf") else number(bound)
            self.samples.append(Sample({**labels, "le": le}, total, "_bucket"))
        self.samples += [Sample(labels, sum_, "_sum"), Sample(labels, total, "_count")]


def written(families: Iterable[Family]) -> str:
    """Return the families as text. A family without a sample is left out."""
    lines: list[str] = []
    for family in families:
        if not family.samples:
            continue
        lines += [f"# HELP {family.name} {_escaped(family.help)}", f"# TYPE {family.name} {family.type}"]
        lines += [f"{family.name}{s.suffix}{_labels(s.labels)} {number(s.value)}" for s in family.samples]
    return "\n".join([*lines, ""])


def number(value: float) -> str:
    """Return a number without a surplus ``.0``. Integers keep all their digits."""
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_quoted(value)}"' for name, value in labels.items()) + "}"


def _quoted(value: str) -> str:
    # Half a surrogate pair, which JSON can hold, is no UTF-8. A carriage return would end the line for some readers.
    # Both become a backslash and their code, so that two names stay two series.
    text = value.encode("utf-8", "backslashreplace").decode("utf-8").replace("\r", r"\r")
    return _escaped(text).replace('"', r"\"")


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")
