"""The decisions about failure groups, and the facts about a group in words."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mirepoix.ledger import failures
from mirepoix.ledger.failures import Ignoring
from mirepoix.ledger.query.failures import Group, GroupStatus
from mirepoix.ledger.tx import Connection, Tx
from mirepoix.operations.batches import deciding
from mirepoix.operations.format import count

OFFERED = {
    GroupStatus.REGRESSED: ("resolve", "ignore"),
    GroupStatus.OPEN: ("resolve", "ignore"),
    GroupStatus.IGNORED: ("reopen", "resolve"),
    GroupStatus.RESOLVED: ("reopen",),
}
"""The verbs that are offered for a group, the most useful first."""


@dataclass(frozen=True, slots=True)
class GroupDecision:
    """One verb. *act* takes a transaction, a group's id, who decides and a note; it returns False without a group."""

    verb: str
    done: str
    act: Callable[[Tx, str, str, str | None], bool]


def resolve(in_release: str | None = None) -> GroupDecision:
    """Return the decision that the cause is fixed, in a release if *in_release* names it."""
    return GroupDecision(
        "resolve", "resolved", lambda tx, group_id, by, note: failures.resolve(tx, group_id, by, note, in_release)
    )


def ignore(until: Ignoring) -> GroupDecision:
    """Return the decision to hide the group up to a limit of *until*."""
    return GroupDecision(
        "ignore", "ignored", lambda tx, group_id, by, note: failures.ignore(tx, group_id, by, until, note)
    )


REOPEN = GroupDecision("reopen", "reopened", failures.reopen)


def decide(
    connection: Connection, decision: GroupDecision, group_ids: Iterable[str], by: str, note: str | None
) -> list[str]:
    """Decide about these groups in one transaction; return the ids of those that the ledger has."""
    with deciding(connection) as tx:
        return [group_id for group_id in group_ids if decision.act(tx, group_id, by, note)]


def failed_attempts(group: Group) -> str:
    """Write how many attempts failed, in total and within the hour."""
    return f"{group.failures:,}, {group.last_hour:,} of them within the hour"


def seen(moment: str, ago: str, release: str | None) -> str:
    """Write when the group failed: the time, how long ago that was, and in which release."""
    return f"{moment}, {ago} ago" + (f", in release {release}" if release else "")


def regressed(group: Group, moment: str) -> str:
    """Write how often the group regressed, last at *moment*; nothing if it did not."""
    return f"{count(group.regressions, 'time')}, last {moment}" if group.regressions else ""


def decided(group: Group, moment: str) -> str:
    """Write who decided at *moment*; nothing if nobody decided."""
    return f"{moment} by {group.decided_by}" if group.decided_at else ""


def ignored_failures_left(group: Group) -> str:
    """Write for how many more failures the group is ignored; nothing without such a limit."""
    return f"for {count(max(0, group.ignored_to - group.failures), 'failure')} more" if group.ignored_to else ""
