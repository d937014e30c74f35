"""Check a release before it starts: bind every payload in the ledger to the new code, and report what does not fit.

Payloads are checked by kind, so a million payloads take no longer than it takes to count them. What they carry for
later (links, the rest of a chain, the body of a chord) is checked too.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache

from mirepoix.celery.task_catalog import Incompatibility, TaskCatalog
from mirepoix.ledger.query import payloads
from mirepoix.ledger.tx import Tx
from mirepoix.protocol.payload import MAPS, calls_of_text, version_in
from mirepoix.records import IncompatibilityKind
from mirepoix.signatures.call_codec import Call, from_text
from mirepoix.states import State


@dataclass(slots=True)
class Found:
    """A kind of call that the code would park. If ``is_carried``, payloads of other tasks will send it later."""

    call: Call
    lacking: IncompatibilityKind | None
    reason: str
    is_carried: bool
    counts: Counter[State] = field(default_factory=Counter)
    oldest: datetime | None = None
    example: str = ""

    @property
    def count(self) -> int:
        """How many payloads make this call."""
        return sum(self.counts.values())

    @property
    def is_new(self) -> bool:
        """Whether some of these payloads are not parked yet."""
        return any(number for state, number in self.counts.items() if state is not State.PARKED)

    def add(self, state: State, count: int, oldest: datetime, example: str) -> None:
        """Count *count* payloads in *state*. *example* is the id of the oldest."""
        self.counts[state] += count
        if self.oldest is None or oldest < self.oldest:
            self.oldest, self.example = oldest, example


@dataclass(slots=True)
class Judged:
    """What the preflight check found.

    ``unjudged`` counts, by content type, the payloads that are no JSON of Celery's. Only their task and version were
    checked.
    """

    payloads: int = 0
    kinds: int = 0
    would_park: int = 0
    """How many payloads are not parked yet, and this code would park them or what they carry."""
    resumed: int = 0
    """How many parked payloads this code would resume."""
    unjudged: Counter[str] = field(default_factory=Counter)
    found: list[Found] = field(default_factory=list)

    @property
    def is_open(self) -> bool:
        """Whether the release may go out: it parks nothing that is not parked already."""
        return not self.would_park


def judge(tx: Tx, catalog: TaskCatalog) -> Judged:
    """Bind all payloads that wait, run, failed, or are quarantined or parked to *catalog*. No task is run."""
    preflight = _Preflight(catalog)
    for kind in payloads.kinds(tx):
        preflight.judged.kinds += 1
        preflight.add(from_text(kind.shape), kind.state, kind.count, kind.oldest, kind.example)
    for row in payloads.unread(tx):
        calls = calls_of_text(row.name, row.headers, row.body, row.content_type, row.body_encoding)
        if calls is None:
            preflight.judged.unjudged[row.content_type] += 1  # only its task and version are checked
            calls = [Call(row.name, version_in(row.headers))]
        preflight.add(calls, row.state, 1, row.created_at, row.id)
    found = preflight.found.values()
    preflight.judged.found = sorted(found, key=lambda kind: (not kind.is_new, -kind.count, str(kind.call)))
    return preflight.judged


class _Preflight:
    def __init__(self, catalog: TaskCatalog) -> None:
        self.judged = Judged()
        self.found: dict[tuple[Call, bool], Found] = {}
        self._incompatibility, self._incompatibility_inside = (
            cache(catalog.incompatibility),
            cache(catalog.incompatibility_inside),
        )

    def add(self, calls: list[Call], state: State, count: int, oldest: datetime, example: str) -> None:
        """Check *count* payloads. They make the first of *calls*, and carry the others."""
        self.judged.payloads += count
        incompatibilities = self._incompatibilities(calls)
        is_parked = state is State.PARKED
        if is_parked and incompatibilities[0] is None:
            self.judged.resumed += count
        if any(incompatibilities) and not is_parked:
            self.judged.would_park += count
        for number, (call, incompatibility) in enumerate(zip(calls, incompatibilities, strict=True)):
            if incompatibility is not None:
                new = Found(call, incompatibility.kind, incompatibility.reason, is_carried=number > 0)
                self.found.setdefault((call, number > 0), new).add(state, count, oldest, example)

    def _incompatibilities(self, calls: list[Call]) -> list[Incompatibility | None]:
        own, *others = calls
        if own.task in MAPS:
            return [self._incompatibility(own), *(self._incompatibility_inside(own.task, call) for call in others)]
        return [self._incompatibility(call) for call in calls]
