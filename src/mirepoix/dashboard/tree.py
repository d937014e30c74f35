"""Arrange a workflow for a page: runs of tasks one after the other, and what they sent at once beside each other."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from mirepoix.ledger.query.task_detail import ChordLine
from mirepoix.ledger.query.workflow import Node, Workflow


@dataclass(frozen=True, slots=True)
class Step:
    """A task, and the tasks that it sent, if they were not exactly one."""

    node: Node
    groups: tuple[Group, ...] = ()


@dataclass(frozen=True, slots=True)
class Group:
    """Tasks that were sent by the same task: those of one group of Celery, or those of none."""

    group_id: str | None
    chord: ChordLine | None
    runs: tuple[tuple[Step, ...], ...]
    states: tuple[tuple[str, int], ...]
    """How many of its first tasks are in which state."""


Run = tuple[Step, ...]
"""Tasks of which each sent only the next."""


def arranged(found: Workflow) -> Run:
    """Return the run that begins with the root."""
    children: dict[str, list[Node]] = {}
    for node in found.nodes[1:]:
        children.setdefault(node.parent_id or "", []).append(node)
    return _run(found.nodes[0], children, found.chords) if found.nodes else ()


def _run(node: Node, children: dict[str, list[Node]], chords: dict[str, ChordLine]) -> Run:
    steps: list[Step] = []
    while True:
        sent = children.pop(node.id, [])
        if len(sent) != 1 or sent[0].group_id is not None:
            return (*steps, Step(node, _groups(sent, children, chords)))
        steps.append(Step(node))
        node = sent[0]


def _groups(sent: list[Node], children: dict[str, list[Node]], chords: dict[str, ChordLine]) -> tuple[Group, ...]:
    by_group: dict[str | None, list[Node]] = {}
    for node in sent:
        by_group.setdefault(node.group_id, []).append(node)
    return tuple(
        Group(
            group_id,
            chords.get(group_id or ""),
            tuple(_run(node, children, chords) for node in nodes),
            tuple(Counter(node.state.value for node in nodes).most_common()),
        )
        for group_id, nodes in by_group.items()
    )
