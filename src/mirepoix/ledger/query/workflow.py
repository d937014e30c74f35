"""Read the workflow of a task: what was sent by what, from the root on, up to a limit.

The edges are those that Celery records: each task names the task that sent it. So the members of a group that a program
sent itself, outside of a task, are not connected.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mirepoix.ledger.query.task_detail import ChordLine
from mirepoix.ledger.query.values import due
from mirepoix.ledger.tx import Tx
from mirepoix.signatures.call_codec import from_text
from mirepoix.sql.columns import Row
from mirepoix.states import FINAL, State

MOST = 200
"""The most tasks of a workflow that are read."""

HIGHEST = 100
"""The most steps from the task up to the root."""

CHORDS = 50
AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Node:
    """One task. *then* names the tasks that it sends when it succeeds, as far as they are not sent yet."""

    id: str
    name: str
    state: State
    has_due: bool
    parent_id: str | None
    group_id: str | None
    then: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Workflow:
    """The tasks, each after its parent. *is_cut* says that there are more. *chords* are by the id of their group."""

    nodes: tuple[Node, ...]
    chords: dict[str, ChordLine]
    is_cut: bool


def workflow(tx: Tx, task_id: str, most: int = MOST) -> Workflow:
    """Return the workflow of a task. The task and those between it and the root are in it even if it is cut."""
    path = _path(tx, task_id)
    nodes = {node.id: node for node in path}
    level, is_cut = [path[0].id] if path else [], False
    met = set(level)  # a row may name itself, or its own child, as its parent
    while level and not is_cut:
        # Every task of the level is asked for its children. One more than the limit shows that there are more.
        found = [node for node in _children(tx, level, most + len(path) + 1) if node.id not in met]
        level = []
        for node in found:
            if len(nodes) >= most and node.id not in nodes:
                is_cut = True
                break
            nodes.pop(node.id, None)  # so that each stands behind the tasks that were sent before it
            nodes[node.id] = node
            met.add(node.id)
            level.append(node.id)
    groups = list(dict.fromkeys(node.group_id for node in nodes.values() if node.group_id))[:CHORDS]
    chords = {group_id: chord for group_id in groups if (chord := _chord(tx, group_id)) is not None}
    return Workflow(tuple(nodes.values()), chords, is_cut)


def _path(tx: Tx, task_id: str) -> list[Node]:
    """Return the task and those above it, the highest first."""
    path: list[Node] = []
    above: str | None = task_id
    while above is not None and len(path) < HIGHEST and all(node.id != above for node in path):
        rows = tx.fetch("workflow_node", task_id=above)
        if not rows:
            break
        path.insert(0, _node(rows[0]))
        above = path[0].parent_id
    return path


def _children(tx: Tx, parents: Sequence[str], most: int) -> list[Node]:
    found: list[Node] = []
    for start in range(0, len(parents), AT_ONCE):
        names = {
            f"id_{chr(97 + n // 26)}{chr(97 + n % 26)}": id for n, id in enumerate(parents[start : start + AT_ONCE])
        }
        rows = tx.query(
            "SELECT id, name, state, due_at, parent_id, group_id, shape FROM mirepoix_task"  # noqa: S608 (no value is in it)
            f" WHERE parent_id IN ({', '.join(f':{name}' for name in names)})"
            " ORDER BY created_at, seq LIMIT :most",
            most=most,
            **names,
        )
        found += map(_node, rows)
    return found


def _chord(tx: Tx, group_id: str) -> ChordLine | None:
    rows = tx.fetch("detail_of_chord", group_id=group_id)
    return ChordLine(**rows[0].as_dict()) if rows else None


def _node(row: Row) -> Node:
    state = State(row.state)
    calls = () if row.shape is None or state in FINAL else from_text(row.shape)[1:]
    then = tuple(call.task for call in calls)
    return Node(row.id, row.name, state, due(row.due_at) is not None, row.parent_id, row.group_id, then)
