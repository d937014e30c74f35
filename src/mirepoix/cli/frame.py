"""Write one frame of ``mirepoix top``: the verdict, the queues, the workers, what runs, and the latest causes."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text

from mirepoix.cli.columns import WHOLE, Column, rows
from mirepoix.cli.hints import as_typed
from mirepoix.cli.styles import STYLES
from mirepoix.ledger.query.failures import Group
from mirepoix.ledger.query.health import COUNTED_MOST
from mirepoix.ledger.query.running import Running
from mirepoix.operations import steering
from mirepoix.operations.findings import Severity
from mirepoix.operations.format import count, duration, one_line, run_time
from mirepoix.operations.health import WorkerLine, by_name, is_unserved
from mirepoix.operations.look import RUNNING_MOST, QueuePace, Seen
from mirepoix.operations.verdict import sentence
from mirepoix.states import State

WORDS = {
    Severity.OK: (" ALL WELL ", "bold white on green"),
    Severity.WARNING: (" LOOK ", "bold black on yellow"),
    Severity.CRITICAL: (" ACT NOW ", "bold white on red"),
}
FINDINGS = 3
"""The most findings that are listed below the worst."""
READABLE = 100
"""The widest line of a sentence in cells."""


@dataclass(frozen=True, slots=True)
class Section:
    """A list with its heading. *nouns* are what it lists, *nothing* is written if it is empty."""

    nouns: str
    lines: Sequence[Text]
    """The heading, and a line for each item."""
    nothing: str

    def whole(self) -> list[Text]:
        """Return all of it."""
        return list(self.lines) if self.lines[1:] else [Text(self.nothing, style="dim")]

    def cut(self, height: int, skipped: int = 0, hint: str = "") -> list[Text]:
        """Return *height* lines of it, from the item after *skipped* items. The last line says how many are left."""
        whole = self.whole()
        heading, items = whole[:1], whole[1:]
        skipped = min(skipped, max(0, len(items) - (height - 1)))
        room = height - 1
        if len(items) - skipped <= room:
            return [*heading, *items[skipped:]]
        shown = items[skipped : skipped + room - 1]
        left = len(items) - skipped - len(shown)
        return [*heading, *shown, Text(f"… {left:,} more {self.nouns}{hint}", style="dim")]


def head(seen: Seen, late_after_s: float, width: int) -> list[Text]:
    """Write the verdict, what to do, the other findings and the last hour."""
    verdict = seen.verdict
    word, style = WORDS[verdict.severity]
    wide = max(20, min(READABLE, width) - len(word) - 1)
    first, *more = textwrap.wrap(one_line(verdict.sentence), wide) or [""]
    indent = " " * (len(word) + 1)
    lines = [Text.assemble((word, style), " ", (first, "bold")), *(Text(indent + line, style="bold") for line in more)]
    lines += [Text(indent + line) for line in textwrap.wrap(as_typed(one_line(verdict.next_step)), wide)]
    others = seen.findings[1:]
    for finding in others[:FINDINGS]:
        critical = finding.severity is Severity.CRITICAL
        mark, style = ("!! ", "bold red") if critical else ("!  ", "yellow")
        lines.append(Text(mark + one_line(sentence(finding, late_after_s)), style=style))
    if others[FINDINGS:]:
        lines.append(Text(f"… {count(len(others) - FINDINGS, 'more finding')}: mirepoix status", style="dim"))
    paused = [found for found in seen.overview.paused if not found.is_forgotten]
    lines += [Text(one_line(steering.sentence(found)), style="cyan") for found in paused[:FINDINGS]]
    if paused[FINDINGS:]:
        lines.append(Text(f"… {count(len(paused) - FINDINGS, 'more pause')}: mirepoix status", style="dim"))
    if seen.alerts:
        lines.append(Text(f"{count(len(seen.alerts), 'alert')} open: mirepoix alerts", style="yellow"))
    return [*lines, _last_hour(seen)]


def sections(seen: Seen, paces: Sequence[QueuePace], width: int) -> list[Section]:
    """Return the lists of a frame, as wide as the screen."""
    usual = {slow.task.id: slow.usual_s for slow in seen.slow}
    running = [_running(task, usual.get(task.id)) for task in seen.running]
    at_least = f"{RUNNING_MOST:,} or more tasks that run" if len(running) >= RUNNING_MOST else "tasks that run"
    return [
        Section("queues", rows(_QUEUES, map(_queue, paces), width), "No queue has tasks or a worker."),
        Section("workers", rows(_WORKERS, map(_worker, by_name(seen.overview.workers)), width), "No worker is alive."),
        Section(at_least, rows(_RUNNING, running, width), "Nothing runs."),
        Section("causes", rows(_CAUSES, map(_cause, seen.groups), width), "No cause of failures needs a decision."),
    ]


def fitted(found: Sequence[Section], height: int) -> list[Text]:
    """Put the lists below each other in *height* lines. Each gets as many lines as the others, if it has so many."""
    space = height - (len(found) - 1)
    heights = [min(2, len(section.whole())) for section in found]
    while sum(heights) < space:
        growing = [n for n, section in enumerate(found) if heights[n] < len(section.whole())]
        if not growing:
            break
        for number in growing[: space - sum(heights)]:
            heights[number] += 1
    lines: list[Text] = []
    for number, section in enumerate(found):
        lines += (
            [Text(""), *section.cut(heights[number], hint=f" ({number + 1})")]
            if lines
            else section.cut(heights[number], hint=f" ({number + 1})")
        )
    return lines


def _last_hour(seen: Seen) -> Text:
    text = Text("last hour", style="dim")
    for state, number in seen.overview.last_hour.items():
        if number or state in (State.SUCCEEDED, State.FAILED):
            words = "failed for good" if state is State.FAILED else state.value
            more = "+" if number >= COUNTED_MOST else ""
            text.append("  ").append(f"{number:,}{more} {words}", style=STYLES[state] if number else "dim")
    return text


_QUEUES = (
    Column("queue", 12, gives_way=9),
    *(Column(heading, is_right=True) for heading in ("waiting", "oldest")),
    Column("objective", WHOLE, gives_way=3, is_right=True),
    *(Column(heading, is_right=True) for heading in ("in/s", "out/s", "empty in", "running")),
    Column("longest", WHOLE, gives_way=2, is_right=True),
    Column("usual run", WHOLE, gives_way=1, is_right=True),
    Column("scheduled", WHOLE, gives_way=0, is_right=True),
)


def _queue(pace: QueuePace) -> list[Text | str]:
    load = pace.load
    is_bad = load.paused is None and (bool(load.late) or is_unserved(load) or pace.is_overdue)
    style = ("bold red" if not load.is_served or pace.is_overdue else "yellow") if is_bad else ""
    return [
        Text(one_line(load.queue), style="" if load.is_served else "red"),
        Text(f"{load.waiting:,}", style=style),
        Text(duration(load.oldest_s) or "-", style=style),
        duration(pace.objective_s),
        rate(pace.rate_in),
        rate(pace.rate_out),
        _empty_in(pace),
        f"{load.running:,}/{pace.slots:,}" if pace.slots else f"{load.running:,}",
        duration(load.longest_s),
        run_time(pace.median_s),
        f"{load.scheduled:,}",
    ]


def rate(a_second: float) -> str:
    """Write how many tasks a second there are, with two digits below ten."""
    if not a_second:
        return "0"
    return f"{a_second:,.0f}" if a_second >= 10 else f"{a_second:.2g}"  # noqa: PLR2004


def _empty_in(pace: QueuePace) -> Text:
    if not pace.load.waiting:
        return Text("-", style="dim")
    if not pace.load.is_served:
        return Text("never", style="bold red")
    if pace.empty_in_s is not None:
        return Text(duration(pace.empty_in_s))
    return Text("grows", style="yellow") if pace.is_growing else Text("steady")


_WORKERS = (
    Column("worker", 16, gives_way=3),
    Column("state", None),
    *(Column(heading, is_right=True) for heading in ("running", "handed", "died")),
    Column("up", WHOLE, gives_way=2, is_right=True),
    Column("pool", WHOLE, gives_way=1),
    Column("queues", 12),
)


def _worker(line: WorkerLine) -> list[Text | str]:
    worker = line.worker
    if not worker.is_alive:
        state = Text(f"DEAD {duration(worker.ended_s)} ago", style="bold red")
    elif worker.is_silent:
        state = Text(f"SILENT for {duration(worker.heartbeat_s)}", style="bold red")
    else:
        state = Text(f"alive {duration(worker.heartbeat_s)} ago", style="green")
    return [
        one_line(worker.name),
        state,
        f"{worker.running:,}/{worker.concurrency:,}" if worker.concurrency else f"{worker.running:,}",
        f"{worker.held - worker.running:,}",
        Text(f"{line.deaths:,}", style="bold red" if line.deaths else "dim"),
        duration(worker.up_s) if worker.is_alive else "",
        one_line(worker.pool or "?"),
        one_line(", ".join(worker.queues) if worker.is_alive else worker.reason or "?"),
    ]


_RUNNING = (
    Column("runs for", is_right=True),
    Column("usual", WHOLE, gives_way=4, is_right=True),
    Column("task", 20, gives_way=9, is_cut_in_front=True),
    Column("id"),
    Column("queue", 10, gives_way=1),
    Column("worker", 12, gives_way=0),
)


def _running(task: Running, usual_s: float | None) -> list[Text | str]:
    style = "" if usual_s is None else "bold yellow"
    return [
        Text(duration(task.running_s), style=style),
        Text(run_time(usual_s), style=style),
        Text(one_line(task.name), style=style),
        one_line(task.id),
        one_line(task.queue),
        one_line(task.worker or task.worker_id),
    ]


_CAUSES = (
    *(Column(heading, is_right=True) for heading in ("last", "in 1 h", "for good")),
    Column("cause"),
    Column("release", 10, gives_way=1),
    Column("task", 16, gives_way=2, is_cut_in_front=True),
    Column("what", 20),
)


def _cause(group: Group) -> list[Text | str]:
    return [
        duration(group.last_seen_s),
        Text(f"{group.last_hour:,}", style="bold red" if group.last_hour else "dim"),
        f"{group.kept:,}",
        one_line(group.id),
        one_line(group.last_release),
        one_line(group.name),
        one_line(group.title),
    ]
