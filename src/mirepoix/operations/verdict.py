"""Say in one sentence how the ledger is: the worst finding, since when, and what to do next.

`sentence` writes one finding, for the command line and the dashboard. `verdict` chooses the worst.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mirepoix.operations.findings import Failing, Finding, Forgotten, Named, Severity, severity
from mirepoix.operations.format import count, duration, one_line
from mirepoix.states import State

AFTER_DEATHS = "Look at the signal and the memory of its attempts. Signal 9 often means that the memory ended."
_NEXT = {
    "failing": "Look at the cause. What is retried may succeed by itself, and what fails for good waits for you.",
    "chord": "Read the attempts of these members, then requeue or discard them.",
    "paused": "If it was forgotten, resume it: mirepoix resume.",
    "schedule": "Read on its page why, and run it now if you still want it.",
    "slow": "Look at its stack: it shows what the task waits for. Cancel it if it should not run.",
    "failed": "Look at the causes, then run the tasks again or discard them.",
}
WELL = "Nothing is lost, late or dead, and nothing waits for you."


@dataclass(frozen=True, slots=True)
class Verdict:
    """The worst finding in a sentence. *worst* is None if all is well. *others* counts the other findings."""

    severity: Severity
    sentence: str
    next_step: str = ""
    since_s: float | None = None
    """How long it has lasted, in seconds, as far as the ledger can say."""
    worst: Finding | None = None
    others: int = 0


def verdict(found: Sequence[Finding], late_s: float) -> Verdict:
    """Return the verdict of all findings. *found* has the critical first, as `findings` returns them."""
    if not found:
        return Verdict(Severity.OK, WELL)
    worst = found[0]
    words = sentence(worst, late_s)
    return Verdict(
        severity(list(found)),
        f"{words[:1].upper()}{words[1:]}.",
        next_step(worst),
        worst.age_s,
        worst,
        len(found) - 1,
    )


def sentence(finding: Finding, late_s: float) -> str:
    """Write one finding, without a full stop. *late_s* is after how long a ready task counts as late."""
    if isinstance(finding, (Failing, Forgotten, Named)) or finding.kind == "chord":
        return _of_dashboard(finding)
    tasks, age, late = count(finding.count, "task"), duration(finding.age_s), duration(late_s)
    wait = f"{tasks} wait{'s' if finding.count == 1 else ''}"
    queue = one_line(finding.queue)
    match finding.kind:
        case "lost":
            return f"{tasks} held by {one_line(finding.worker) or 'nobody'}, which is not alive (for {age})"
        case "late" if not finding.is_served:
            oldest = f" (oldest {age})" if age else ""  # of tasks with a limit no age is read
            return f"{wait}{oldest}: no consumer for queue {queue!r}"
        case "late" if finding.state is State.LEASED:
            return f"{tasks} of queue {queue!r} handed to a worker over {late} ago, not started (oldest {age})"
        case "late":
            return f"{wait} over {late} in queue {queue!r} (oldest {age})"
        case "stuck" if finding.state is None:
            return f"{count(finding.count, 'message')} of queue {queue!r} left in the former broker"
        case "stuck":
            return f"{wait} for you: {finding.state} (newest {age} ago)"
        case "failed":
            return f"{tasks} failed for good in the last hour (newest {age} ago)"
        case _ if finding.worker is None:
            return "no worker is alive: nothing runs until one is started"
    return f"worker {one_line(finding.worker)} {_how_it_died(finding, age)}"


def _of_dashboard(finding: Finding) -> str:
    if isinstance(finding, Forgotten):
        return finding.words
    if isinstance(finding, Failing):
        share = f"{100 * finding.count / finding.ended:.0f} % of the latest {count(finding.ended, 'attempt')}"
        died = f", {count(finding.died, 'time')} because the process died" if finding.died else ""
        return f"{share} of {one_line(finding.name)} failed{died}"
    if isinstance(finding, Named):
        return _of_named(finding)
    waits = "waits" if finding.count == 1 else "wait"
    return f"{count(finding.count, 'chord')} {waits} for members that are parked or quarantined"


def _of_named(finding: Named) -> str:
    name, age = one_line(finding.name), duration(finding.age_s)
    if finding.kind == "slow":
        others = f", and so do {count(finding.count - 1, 'other task')}" if finding.count > 1 else ""
        return f"task {name} has run for {age}, longer than usual{others}"
    if age:
        return f"schedule {name!r} has been due for {age}: no worker fires it"
    return f"schedule {name!r} missed {count(finding.count, 'fire time')} in the last hour"


def start_worker(queue: str) -> str:
    """Write how to start a worker for a queue that nobody takes from."""
    return f"Start a worker for queue {queue!r}: celery -A YOUR_APP worker -Q {queue}"


def next_step(finding: Finding) -> str:
    """Write what to do about a finding."""
    if finding.kind in _NEXT:
        return AFTER_DEATHS if isinstance(finding, Failing) and finding.died else _NEXT[finding.kind]
    queue = one_line(finding.queue)
    match finding.kind:
        case "lost":
            return "Start a worker. It takes these tasks back."
        case "late" if not finding.is_served:
            return start_worker(queue)
        case "late" if finding.state is State.LEASED:
            return "Look at what the worker runs. Restart it if it does nothing."
        case "late":
            return "Look at what its workers run, and add workers for this queue."
        case "stuck" if finding.state is None:
            return "Move them: mirepoix drain."
        case "stuck" if finding.state is State.PARKED:
            return "Deploy code that can take them, or edit them."
        case "stuck":
            return "Read their attempts, then requeue or discard them."
        case _ if finding.worker is None:
            return "Start a worker."
    return "It is alive again: find out why it died." if finding.is_served else "Find out why it died, and start it."


def _how_it_died(finding: Finding, age: str) -> str:
    again = ", and is alive again" if finding.is_served else ""
    if not age:
        return f"is silent: its heartbeats stopped{again}"
    return f"died {age} ago{again}" if finding.count == 1 else f"died {finding.count} times, last {age} ago{again}"
