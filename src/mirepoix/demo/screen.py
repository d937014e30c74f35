"""Show a run while it goes on: a picture that is redrawn on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from mirepoix.demo.plan import Plan
from mirepoix.demo.side import Line, Progress, Side

STYLES = {"kill": "red", "recovery": "green", "decision": "bold magenta", "note": "dim"}
STATE_STYLES = {
    "pending": "",
    "leased": "blue",
    "running": "bold blue",
    "succeeded": "green",
    "failed": "bold red",
    "quarantined": "bold magenta",
    "parked": "bold yellow",
}
MARKS = {"kill": "✗", "recovery": "↻", "decision": "!", "note": "·"}
PLAIN_EVERY_S = 2.0


class Picture:
    """A picture of the run, redrawn several times a second on a terminal."""

    def __init__(self, console: Console, plan: Plan, sides: Sequence[Side]) -> None:
        self._console = console
        self._plan = plan
        self._sides = sides
        self._live = Live(console=console, refresh_per_second=8, transient=True, get_renderable=self._draw)

    def start(self) -> None:
        """Begin to draw the picture."""
        self._live.start()

    def stop(self) -> None:
        """Remove the picture. The audit follows in its place."""
        self._live.stop()

    def tick(self) -> None:
        """Do nothing: the picture redraws itself."""

    def _draw(self) -> RenderableType:
        above: list[RenderableType] = [_heading(self._plan, self._sides), Text()]
        for side in self._sides:
            above += [*_block(side, self._plan, is_named=len(self._sides) > 1), Text()]
        height = 3 + sum(6 if len(self._sides) > 1 else 5 for _ in self._sides)
        room = max(3, self._console.height - height - 2)
        return Group(*above, Rule("what happens", align="left", style="dim"), *_newest(self._sides, room))


class Lines:
    """Lines for logs and pipes: each event, and the state every two seconds."""

    def __init__(self, console: Console, plan: Plan, sides: Sequence[Side]) -> None:
        self._console = console
        self._plan = plan
        self._sides = sides
        self._printed = [0 for _ in sides]
        self._next_s = PLAIN_EVERY_S

    def start(self) -> None:
        """Print the heading."""
        self._say(_heading(self._plan, self._sides).plain)

    def stop(self) -> None:
        """Print the last events."""
        self.tick()

    def tick(self) -> None:
        """Print the new events."""
        for index, side in enumerate(self._sides):
            lines = side.progress.lines
            new, self._printed[index] = lines[self._printed[index] :], len(lines)
            for line in new:
                self._say(_line(line, side, is_named=len(self._sides) > 1).plain)
        elapsed_s = max(side.progress.elapsed_s for side in self._sides)
        if elapsed_s >= self._next_s:
            self._next_s += PLAIN_EVERY_S
            for side in self._sides:
                progress = side.progress
                states = ", ".join(f"{state} {count}" for state, count in progress.states.items())
                orders = f"{progress.sent} orders placed, {progress.done} done"
                self._say(f"{elapsed_s:5.1f} s  {side.folder.name}: {orders}; {states}")

    def _say(self, text: str) -> None:
        self._console.print(text, soft_wrap=True, highlight=False, markup=False)


def _heading(plan: Plan, sides: Sequence[Side]) -> Text:
    elapsed_s = max(side.progress.elapsed_s for side in sides)
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append("mirepoix demo", style="bold")
    text.append(f"  {elapsed_s:2.0f} s", style="dim")
    text.append(f"  {plan.orders} orders, {plan.workers} workers; ")
    return text.append(f"to kill: {plan.child_kills} processes, {plan.worker_kills} workers", style="red")


def _block(side: Side, plan: Plan, *, is_named: bool) -> list[RenderableType]:
    progress = side.progress
    committed = progress.sent - progress.rolled_back
    bars = Table.grid(padding=(0, 2))
    bars.add_column(width=6, style="dim")
    bars.add_column(width=30)
    bars.add_column(no_wrap=True)
    placed = f"{progress.sent} of {plan.orders}, {progress.rolled_back} rolled back"
    bars.add_row("placed", _bar(progress.sent, plan.orders), placed)
    bars.add_row("done", _bar(progress.done, max(1, committed)), f"{progress.done} of {committed} committed")
    rows: list[RenderableType] = [bars, _states(progress), _kills(progress)]
    return [Text(side.folder.name, style="bold underline"), *rows] if is_named else rows


def _bar(value: int, total: int) -> ProgressBar:
    return ProgressBar(total=total, completed=value, width=30, complete_style="green", finished_style="green")


def _states(progress: Progress) -> Text:
    text = Text("tasks   ", style="dim", no_wrap=True, overflow="ellipsis")
    order = [*STATE_STYLES, *(state for state in progress.states if state not in STATE_STYLES)]
    for state in order:
        if state in progress.states:
            text.append(f"{state} ", style=STATE_STYLES.get(state, ""))
            text.append(f"{progress.states[state]}  ", style="not dim bold")
    return text


def _kills(progress: Progress) -> Text:
    delays = sorted(progress.delays_s)
    text = Text("killed  ", style="dim", no_wrap=True, overflow="ellipsis")
    text.append(f"{progress.child_kills} processes, {progress.worker_kills} workers", style="not dim red")
    text.append(f"  cut off {progress.cut_off}, run again {len(delays)}", style="not dim")
    if delays:
        middle, late = (delays[ceil(part * len(delays)) - 1] for part in (0.5, 0.95))
        text.append(f": {middle:.2f} s, p95 {late:.2f} s", style="not dim green")
    return text


def _newest(sides: Sequence[Side], room: int) -> list[Text]:
    lines = [(line, side) for side in sides for line in list(side.progress.lines)]
    lines.sort(key=lambda pair: pair[0].at_s)
    return [_line(line, side, is_named=len(sides) > 1) for line, side in lines[-room:]]


def _line(line: Line, side: Side, *, is_named: bool) -> Text:
    text = Text(f"{line.at_s:5.1f} s {MARKS[line.kind]} ", style="dim", no_wrap=True, overflow="ellipsis")
    if is_named:
        text.append("Celery   " if side.folder.is_stock else "Mirepoix ", style="dim")
    return text.append(line.text, style=f"not dim {STYLES[line.kind]}" if line.kind != "note" else "")
