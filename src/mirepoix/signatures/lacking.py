"""Write in words what the code lacked that parked a task."""

from __future__ import annotations

from mirepoix.records import IncompatibilityKind

LACKING: dict[str | None, str] = {
    IncompatibilityKind.TASK: "a task of that name, or with that alias",
    IncompatibilityKind.VERSION: "code of that version, or upcasters from it",
    IncompatibilityKind.ARGUMENTS: "a signature that takes these arguments, or an upcaster",
    IncompatibilityKind.UPCAST: "an upcaster that does not fail",
    None: "nothing that other code could add: it waits for your decision",
}
"""What the code that parked a task lacked, by the task's ``parked_for``."""
