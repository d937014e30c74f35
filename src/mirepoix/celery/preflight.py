"""Check a release before it starts: bind every payload in the ledger to the new code, and report what would not fit.

Payloads are judged by kind, so that a million of them take no longer than counting them; what they carry for later
(links, the rest of a chain, the body of a chord) is judged with them.
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
    """A kind of call that the code would park. ``is_carried``: by payloads of other tasks, which send it later."""

    call: Call
    lacking: IncompatibilityKind | None
    reason: str
    is_carried: bool
    counts: Counter[State] = field(default_factory=Counter)
    oldest: datetime | None = None
    example: str = ""

    @property
    def count(self) -> int:
        """How many payloads."""
        return sum(self.counts.values())

    @property
    def is_new(self) -> bool:
        """Whether there are any that are not parked already."""
        return any(number for state, number in self.counts.items() if state is not State.PARKED)

    def add(self, state: State, count: int, oldest: datetime, example: str) -> None:
        """Count them."""
        self.counts[state] += count
        if self.oldest is None or oldest < self.oldest:
            self.oldest, self.example = oldest, example


@dataclass(slots=True)
class Judged:
    """What the preflight check found.

    ``unjudged`` are payloads that are no JSON of Celery's, by content type: of them only the task and its version were
    looked at.
    """

    payloads: int = 0
    kinds: int = 0
    would_park: int = 0
    """How many this code would park, themselves or what they carry, and that are not parked already."""
    resumed: int = 0
    """How many are parked now and will be taken up by this code."""
    unjudged: Counter[str] = field(default_factory=Counter)
    found: list[Found] = field(default_factory=list)

    @property
    def is_open(self) -> bool:
        """Whether the release may go out: it parks nothing that is not parked already."""
        return not self.would_park


def judge(tx: Tx, catalog: TaskCatalog) -> Judged:
    """Bind all that waits, runs, failed, is quarantined or parked to *code*. Nothing is run to find out."""
    preflight = _Preflight(catalog)
    for kind in payloads.kinds(tx):
        preflight.judged.kinds += 1
        preflight.add(from_text(kind.shape), kind.state, kind.count, kind.oldest, kind.example)
    for one in payloads.unread(tx):
        calls = calls_of_text(one.name, one.headers, one.body, one.content_type, one.body_encoding)
        if calls is None:
            preflight.judged.unjudged[one.content_type] += 1  # but for its task and version
            calls = [Call(one.name, version_in(one.headers))]
        preflight.add(calls, one.state, 1, one.created_at, one.id)
    found = preflight.found.values()
    preflight.judged.found = sorted(found, key=lambda one: (not one.is_new, -one.count, str(one.call)))
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
        """Judge *count* payloads that make these calls, the first of them themselves."""
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
