"""Turn differences into findings: one for each cause, with its consequences."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from glob import escape
from typing import cast

from mirepoix.crashtest.differences import Difference, differences
from mirepoix.crashtest.explore import Explored, Tried
from mirepoix.crashtest.normalise import identity
from mirepoix.crashtest.places import Source
from mirepoix.crashtest.plan import Schedule
from mirepoix.crashtest.remedies import NAMED_APART, remedy

RANKS = (
    "swallowed", "early-ack", "changed-key", "duplicate-http", "duplicate-aws", "duplicate-mail", "duplicate-enqueue",
    "duplicate-redis", "lost-http", "lost-aws", "lost-mail", "lost-enqueue", "lost-redis", "stuck", "fails",
    "duplicate-row", "lost-row", "changed-file", "lost-file", "changed-row", "changed-http", "changed-aws",
    "changed-mail", "changed-enqueue", "changed-redis", "left-file", "invariant", "deadlock",
)  # fmt: skip
"""What comes first is the cause of what comes later, if one crash leads to both."""

_OUTSIDE = frozenset(
    {
        "deadlock",
        "swallowed",
        "changed-key",
        "duplicate-http",
        "duplicate-aws",
        "duplicate-mail",
        "duplicate-enqueue",
        "duplicate-redis",
        "changed-file",
    }
)
"""Each of these is a separate cause: a fix of one leaves the others."""

_SEVERITY = {
    "deadlock": "warning",
    "duplicate-enqueue": "warning",
    "duplicate-redis": "warning",
    "left-file": "note",
    "swallowed": "warning",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One cause. *schedule* is the first that shows it, and *others* counts the further ones."""

    kind: str
    subject: str
    severity: str
    words: str
    schedule: Schedule
    remedy: str
    consequences: tuple[str, ...] = ()
    others: int = 0
    pattern: str = ""
    """The pattern that allows it together with the other findings of the same line."""

    @property
    def code(self) -> str:
        """The code with which a test allows it."""
        return self.pattern or f"{self.kind}:{self.subject}"

    @property
    def fails(self) -> bool:
        """Whether the test fails because of it."""
        return self.severity != "note"


@dataclass(slots=True)
class _Cause:
    difference: Difference
    schedules: list[Schedule] = field(default_factory=list)
    consequences: dict[Difference, None] = field(default_factory=dict)


def findings(explored: Explored, allow: Sequence[str] = ()) -> tuple[Finding, ...]:
    """Return the findings, errors first. *allow* has codes or patterns of codes: ``duplicate-enqueue:shop.*``."""
    causes: dict[str, _Cause] = {}
    narrow: dict[str, bool] = {}
    for tried in explored.tried:
        found = _differences_of(explored, tried)
        primary = [difference for difference in found if difference.kind in _OUTSIDE] or found[:1]
        for difference in primary:
            cause = causes.setdefault(difference.code, _Cause(difference))
            cause.schedules.append(tried.schedule)
            cause.consequences.update(dict.fromkeys(other for other in found if other not in primary))
            narrow[difference.code] = narrow.get(difference.code, True) and _is_narrow(explored, tried)
    unmerged = []
    for code, cause in causes.items():
        if any(code == pattern or fnmatchcase(code, pattern) for pattern in allow):
            continue
        follows = tuple(consequence.words for consequence in cause.consequences if consequence.code not in causes)
        severity = "note" if narrow[code] else _SEVERITY.get(cause.difference.kind, "error")
        difference = cause.difference
        kind, subject, words = difference.kind, difference.subject, difference.words
        finding = Finding(kind, subject, severity, words, cause.schedules[0], "", follows)
        advice = remedy(explored, kind, subject, is_narrow=narrow[code])
        unmerged.append(replace(finding, remedy=advice, others=len(set(cause.schedules)) - 1))
    merged = _folded(unmerged, _lines(explored))
    return tuple(sorted(merged, key=lambda finding: ("error", "warning", "note").index(finding.severity)))


def _lines(explored: Explored) -> dict[tuple[str, str], Source]:
    """Return the source line of each effect."""
    lines: dict[tuple[str, str], Source] = {}
    for seen in (explored.clean, *(tried.observed for tried in explored.tried)):
        for effect in seen.sent:
            lines.setdefault(identity(effect), cast("Source", effect.get("source", Source("", 0))))
    return lines


def _folded(unmerged: Sequence[Finding], lines: dict[tuple[str, str], Source]) -> list[Finding]:
    """Merge the findings of one line that runs in a loop (a mail to each of many), and of files left in one folder."""
    groups: dict[object, list[Finding]] = {}
    for finding in unmerged:
        verb, _, what = finding.kind.partition("-")
        line = lines.get((what, finding.subject)) if verb == "duplicate" else None
        place: object = line if line and line.path else finding
        if finding.kind == "left-file":
            place = os.path.dirname(finding.subject)  # noqa: PTH120 (a name in a report)
        groups.setdefault((finding.kind, finding.severity, place), []).append(finding)
    return [_as_one(group) for group in groups.values()]


def _as_one(group: list[Finding]) -> Finding:
    first = group[0]
    if len(group) == 1:
        return first
    alike = tuple(finding.words + ": the same line" * first.kind.startswith("duplicate") for finding in group[1:])
    follows = tuple(dict.fromkeys(words for finding in group for words in finding.consequences))
    subjects = [finding.subject for finding in group]
    begins = os.path.commonprefix(subjects)  # noqa: RUF071 (by characters)
    ends = os.path.commonprefix([subject[len(begins) :][::-1] for subject in subjects])[::-1]  # noqa: RUF071
    pattern = f"{first.kind}:{escape(begins)}*{escape(ends)}"
    others = max(finding.others for finding in group)
    words = first.remedy + NAMED_APART * ("mirepoix." in first.remedy and first.kind.startswith("duplicate"))
    return replace(first, remedy=words, consequences=(*alike, *follows), others=others, pattern=pattern)


def _differences_of(explored: Explored, tried: Tried) -> list[Difference]:
    """Return the differences of one schedule, the cause first."""
    found = differences(explored.clean, tried.observed, is_ended=tried.is_redelivered)
    if not tried.is_redelivered and not explored.call.is_transactional:
        if not found:
            return []
        words = "the broker forgets it before it runs (acks_late is off): interrupted work is never finished"
        undone = (difference for difference in found if not difference.kind.startswith("duplicate"))
        return [Difference("early-ack", explored.call.task.name, words), *undone]
    if tried.first.how == "deadlock":
        words = (
            "two deliveries at once wait for each other's locks, so the database ends one of them "
            f"({type(tried.first.error).__name__})"
        )
        found.append(Difference("deadlock", explored.call.task.name, words))
    if tried.first.how == "swallowed":
        words = "it swallows every exception, even those that end a process (SystemExit, a time limit, a revocation)"
        found.append(Difference("swallowed", explored.call.task.name, words))
    written = [point.label.rpartition(" ")[2] for point in explored.points if point.kind == "sql"]

    sent = [identity(effect) for effect in tried.observed.sent]

    def place(difference: Difference) -> tuple[int, int]:
        table, effect = difference.subject.partition(".")[0], (difference.kind.partition("-")[2], difference.subject)
        order: Sequence[object] = sent if effect in sent else written
        thing: object = effect if effect in sent else table
        return RANKS.index(difference.kind), order.index(thing) if thing in order else len(order)

    return sorted(found, key=place)


def _is_narrow(explored: Explored, tried: Tried) -> bool:
    """Whether the finding needs a crash (with two crashes: one of them) between a step's work and its COMMIT."""
    for place, points in zip(tried.schedule.deaths, (explored.points, tried.again), strict=False):
        if place is None:
            continue
        index, side = place
        if side == "before" and index < len(points) and points[index].kind == "step":
            return True
    return False
