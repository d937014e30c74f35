"""Judge in words for what a chord waits, and whether it will go on by itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from mirepoix.ledger.query.chords import KEPT, WaitingChord
from mirepoix.ledger.query.tasks import TaskLine
from mirepoix.operations.format import count, one_line
from mirepoix.states import HELD, State


@dataclass(frozen=True, slots=True)
class Waits:
    """Why a chord waits. *is_stuck*: it will not go on unless somebody acts. *unknown* members were not found."""

    answer: str
    next_step: str = ""
    is_stuck: bool = False
    unknown: int = 0


def why_it_waits(chord: WaitingChord, members: Sequence[TaskLine], served: Collection[str]) -> Waits:
    """Judge a chord by its *members* that have not returned. *served* are the queues that live workers consume."""
    unknown = max(0, chord.size - chord.done - len(members))
    kept = Counter(line.state.value for line in members if line.state in KEPT)
    if kept:
        words = " and ".join(f"{number:,} {state}" for state, number in sorted(kept.items()))
        step = "Requeue what is held up, and the chord goes on; discard it, and the chord fails."
        holds = "member holds" if sum(kept.values()) == 1 else "members hold"
        return Waits(f"{words} {holds} it up.", step, is_stuck=True, unknown=unknown)
    unserved = sorted({line.queue for line in members if line.state is State.PENDING and line.queue not in served})
    if unserved:
        queues = ", ".join(repr(one_line(queue)) for queue in unserved)
        return Waits(f"Members wait in {queues}, which no live worker consumes.", "Start a worker.", True, unknown)
    running = sum(line.state in HELD for line in members)
    waiting = len(members) - running
    moving = [f"{number:,} {word}" for number, word in ((running, "with workers"), (waiting, "waiting")) if number]
    if not moving:
        return Waits(f"{count(unknown, 'member')} not found among the tasks that have not ended.", unknown=unknown)
    return Waits(f"Its members go on: {', '.join(moving)}.", unknown=unknown)
