"""Write findings as text for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from mirepoix.crashtest.differences import summary
from mirepoix.crashtest.explore import Explored
from mirepoix.crashtest.plan import Schedule
from mirepoix.crashtest.points import IN_A_THREAD, Point
from mirepoix.crashtest.verdict import Finding

_WIDTH = 110
_MOST_CONSEQUENCES = 5


def text(explored: Explored, found: Sequence[Finding]) -> str:
    """Return the whole report."""
    name = explored.call.task.name
    is_safe = not any(finding.fails for finding in found)
    head = f"{name} survived every crash that was tried" if is_safe else f"{name} is NOT safe to retry"
    lines = [head, f"  {summary(explored)}", ""]
    for number, finding in enumerate(found, 1):
        lines += [*_finding(explored, number, finding), ""]
    if explored.masks:
        lines.append(_wrapped("not compared, since clean runs differ there: " + ", ".join(explored.masks), 2))
    threads = [action for action in explored.unmodelled if action.startswith(IN_A_THREAD)]
    unmodelled = [action for action in explored.unmodelled if action not in threads]
    if unmodelled:
        lines.append(_wrapped("UNMODELLED, no crash around it was tried: " + ", ".join(unmodelled), 2))
    if threads:
        words = ", ".join(action.removeprefix(IN_A_THREAD) for action in threads)
        lines.append(_wrapped(f"IN A THREAD, so crashes were tried after it, but not during it: {words}", 2))
    if explored.not_explored:
        lines.append(f"  NOT EXPLORED: {left_out(explored)} (the time was up; budget_s=... gives more)")
    return "\n".join(lines).rstrip()


def _finding(explored: Explored, number: int, finding: Finding) -> list[str]:
    title = f"{number}. {finding.kind.upper().replace('-', ' ')}  {finding.words}"
    lines = [f"{_wrapped(title, 2)}  [{finding.severity}]", *_crash_lines(explored, finding.schedule)]
    lines += [_wrapped(f"then: {consequence}", 5) for consequence in finding.consequences[:_MOST_CONSEQUENCES]]
    hidden = len(finding.consequences) - _MOST_CONSEQUENCES
    if hidden > 0:
        lines.append(f"     then: {hidden} more such differences")
    lines.append(_wrapped(f"fix:  {finding.remedy}", 5))
    if finding.others:
        lines.append(f"     also seen after {finding.others} other crash{'es' if finding.others > 1 else ''}")
    lines.append(f"     rerun: {rerun(explored, finding.schedule)}    allow: {finding.code!r}")
    return lines


def left_out(explored: Explored) -> str:
    """Describe how much was not explored."""
    words = f"{len(explored.not_explored)} more crashes"
    return words + ", and the second ones that would follow them" * explored.is_second_untold


def _crash_lines(explored: Explored, schedule: Schedule) -> list[str]:
    first = _death(schedule, explored.points, "")
    if schedule.then is not None:
        return [*first, "     it is delivered again, and", *_death(schedule.then, explored.again(schedule), "again ")]
    if schedule.dies_at is None:
        first[-1] += "; it is delivered again"
    return first


def _death(schedule: Schedule, points: Sequence[Point], again: str) -> list[str]:
    """Describe the crash of one delivery, which has *points*."""
    if schedule.dies_at is not None and schedule.dies_at[1] == "overlap":
        place = schedule.dies_at[0]
        where = points[place].where if place < len(points) else ""
        return [f"     a second delivery runs while the first one waits before [{place + 1}] {where}"]
    if schedule.dies_at is None:
        return [f"     the worker dies {again}after the task's last line, before the acknowledgement"]
    index, side = schedule.dies_at
    if index >= len(points):
        return [f"     the worker dies {again}{side} point {index + 1}"]
    shown = [*((f"after  [{index}]", points[index - 1]),) * (index > 0), (f"{side} [{index + 1}]", points[index])]
    lines = []
    for place, (when, point) in enumerate(shown):
        who = f"the worker dies {again}"
        lines.append(f"     {who if place == 0 else 'and '.rjust(len(who))}{when} {point.where}")
        if point.source.text:
            lines.append(f"                          > {point.source.text}")
    return lines


def rerun(explored: Explored, schedule: Schedule) -> str:
    """Return the line that tries this one crash. Long arguments are left out."""
    given = [repr(value) for value in explored.call.args] + [f"{k}={v!r}" for k, v in explored.call.kwargs.items()]
    values = ", ".join(given) if len(", ".join(given)) <= _WIDTH // 2 else "..."
    task = explored.call.task
    name = getattr(getattr(task, "__wrapped__", None), "__name__", "") or task.name.rpartition(".")[2]
    kill = ", kill=True" * explored.is_killed
    return f"crashpoints({', '.join(filter(None, [name, values]))}, at={str(schedule)!r}{kill})"


def _wrapped(words: str, indent: int) -> str:
    space = " " * indent
    return textwrap.fill(words, _WIDTH, initial_indent=space, subsequent_indent=space + "      ")
