"""``mirepoix top``: a screen that stays, with the verdict, the queues, the workers, what runs, and the causes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta

import click
from rich.live import Live
from rich.text import Text

from mirepoix.cli import frame
from mirepoix.cli.context import CliContext, Printable, pass_context
from mirepoix.cli.frame import Section
from mirepoix.cli.keys import Keys, single_keys
from mirepoix.cli.options import Duration, json_option
from mirepoix.cli.watch import Watch, Watched
from mirepoix.operations.format import duration, one_line, when
from mirepoix.operations.health import by_name
from mirepoix.operations.look import QueuePace, Seen, look, queue_paces

BOUND_S = 10.0
"""How long a reading waits for an answer of the ledger without --timeout."""

TICK_S = 0.25
"""How often the screen looks for a new state, or for another size of the terminal."""

SLOW_TIMES = 2
"""A reading that takes longer than so many intervals is mentioned on the screen."""

KEYS = "q quit  space hold  1 queues  2 workers  3 running  4 causes  0 all  j k scroll"


@click.command()
@click.option("--interval", type=Duration(), default="2s", show_default=True, help="How often the ledger is read.")
@click.option(
    "--late-after",
    type=Duration(),
    default="1m",
    show_default=True,
    help="A task is late if it has been ready for longer.",
)
@click.option("--once", is_flag=True, help="Print one frame and end. So it does if the output is no terminal.")
@json_option
@pass_context
def top(context: CliContext, interval: timedelta, late_after: timedelta, once: bool, is_json: bool) -> None:
    """Watch queues, workers, running tasks and causes.

    The screen begins with the verdict and what to do.

    Keys: q quits, and space holds the screen. 1 to 4 show one list on the whole screen, 0 shows all again. j, k and
    the arrows scroll. If the database is away, the screen says so, and goes on when it is back.
    """
    if interval <= timedelta(0):
        raise click.BadParameter("must be more than 0s.", param_hint="--interval")
    context.wait(BOUND_S)
    objectives = _objectives(context)
    late_s = late_after.total_seconds()
    if is_json or once or not context.console.is_terminal:
        seen = look(context.ready(), context.database_errors(), late_s)
        paces = queue_paces(seen, objectives)
        if is_json:
            context.print_json(_as_object(context, seen, paces))
        else:
            _print(context, seen, paces, late_s)
        return
    context.ready()  # a wrong URL or missing tables end the command before the screen is taken
    context.disconnect()
    watch = Watch(
        lambda: context.source.open(context.bound_s), context.database_errors(), late_s, interval.total_seconds()
    )
    watch.start()
    try:
        with single_keys() as keys:
            _Screen(context, watch, objectives, late_s, interval.total_seconds()).run(keys)
    except KeyboardInterrupt:
        pass  # Ctrl-C is the other way to quit
    finally:
        watch.stop()


def _objectives(context: CliContext) -> Mapping[str, float]:
    return {} if context.app is None else context.installation.settings.queue_objectives_s or {}


def _as_object(context: CliContext, seen: Seen, paces: list[QueuePace]) -> dict[str, object]:
    return {
        "ledger": context.source.label,
        "at": seen.at,
        "verdict": seen.verdict,
        "findings": seen.findings,
        "queues": paces,
        "pace_span_s": seen.pace.span_s,
        "workers": by_name(seen.overview.workers),
        "running": seen.running,
        "slow": seen.slow,
        "causes": seen.groups,
        "kept": seen.overview.kept,
        "last_hour": seen.overview.last_hour,
        "alerts": seen.alerts,
    }


def _print(context: CliContext, seen: Seen, paces: list[QueuePace], late_s: float) -> None:
    context.say(f"{when(seen.at)}  {context.source.label}", "dim")
    context.say_all(frame.head(seen, late_s, context.width))
    for section in frame.sections(seen, paces, context.width):
        context.say("")
        context.say_all(section.whole())


class _Screen:
    """What is on the screen: all lists, or one of them from some item on."""

    def __init__(
        self, context: CliContext, watch: Watch, objectives: Mapping[str, float], late_s: float, interval_s: float
    ) -> None:
        self._context = context
        self._watch = watch
        self._objectives = objectives
        self._late_s = late_s
        self._interval_s = interval_s
        self._chosen: int | None = None
        self._skipped = 0
        self._held: Watched | None = None

    def run(self, keys: Keys) -> None:
        """Show the latest state until q is typed."""
        console = self._context.console
        drawn: object = None
        with Live(console=console, screen=True, auto_refresh=False, transient=True) as live:
            while True:
                latest = self._held or self._watch.latest
                clocks = (self._waiting_s(latest), self._away_s(latest))
                state = (latest, self._held, console.size, self._chosen, self._skipped, clocks)
                if state != drawn:
                    drawn = state
                    live.update(Printable(self._drawn(latest, *console.size)), refresh=True)
                key = keys.wait(TICK_S)
                if key in ("q", "Q"):
                    return
                self._obey(key)

    def _obey(self, key: str | None) -> None:
        match key:
            case " ":
                self._held = None if self._held else self._watch.latest
            case "1" | "2" | "3" | "4":
                self._chosen, self._skipped = int(key) - 1, 0
            case "0" | "escape":
                self._chosen, self._skipped = None, 0
            case "j" | "down":
                self._skipped += 1
            case "k" | "up":
                self._skipped = max(0, self._skipped - 1)
            case "page down":
                self._skipped += 10
            case "page up":
                self._skipped = max(0, self._skipped - 10)

    def _waiting_s(self, latest: Watched) -> int:
        """Return for how long a slow reading has gone on, in whole seconds; 0 if it is not slow."""
        if latest.asked_at is None or self._held:
            return 0
        waited_s = time.monotonic() - latest.asked_at
        return int(waited_s) if waited_s > max(1.0, SLOW_TIMES * self._interval_s) else 0

    @staticmethod
    def _away_s(latest: Watched) -> int:
        return 0 if latest.away_since is None else int(time.monotonic() - latest.away_since)

    def _drawn(self, latest: Watched, width: int, height: int) -> Text:
        lines = [self._title(latest, width), *self._troubles(latest)]
        seen = latest.seen
        if seen is None:
            lines.append(Text("Reading the ledger …", style="dim"))
        else:
            lines += [*frame.head(seen, self._late_s, width), Text("")]
            found = frame.sections(seen, queue_paces(seen, self._objectives), width)
            lines += self._lists(found, max(1, height - len(lines) - 1))
        lines = lines[: height - 1]
        lines += [Text("")] * (height - 1 - len(lines))
        screen = Text("\n", no_wrap=True, overflow="ellipsis").join([*lines, Text(KEYS[:width], style="dim")])
        screen.no_wrap, screen.overflow = True, "ellipsis"
        return screen

    def _lists(self, found: list[Section], height: int) -> list[Text]:
        if self._chosen is None:
            return frame.fitted(found, height)
        section = found[self._chosen]
        self._skipped = min(self._skipped, max(0, len(section.whole()) - height))
        return section.cut(height, self._skipped)

    def _title(self, latest: Watched, width: int) -> Text:
        at = when(latest.seen.at) if latest.seen else when(None)
        right = "held: space goes on" if self._held else f"every {duration(max(latest.pause_s, self._interval_s))}"
        left = one_line(f"{at}  {self._context.source.label}")
        room = max(0, width - len(right) - 2)
        left = left if len(left) <= room else left[: max(0, room - 1)] + "…"
        return Text.assemble((left.ljust(room + 2), "dim"), (right, "bold black on yellow" if self._held else "dim"))

    def _troubles(self, latest: Watched) -> list[Text]:
        if latest.trouble is not None:
            words = f" No answer for {duration(self._away_s(latest))}."
            if latest.seen:
                words += f" The lists are from {when(latest.seen.at)}."
            return [
                Text.assemble((" LEDGER AWAY ", "bold white on red"), words, style="bold red"),
                Text(f"  {latest.trouble}", style="red"),
            ]
        if waited_s := self._waiting_s(latest):
            return [Text(f"The ledger has not answered for {duration(waited_s)}.", style="bold yellow")]
        return []
