"""Draw what each change does to the waiting times, as an SVG file that needs nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from html import escape

from mirepoix.operations.format import duration, printable
from mirepoix.tuning.advise import QueueStudy, Study
from mirepoix.tuning.workload import Waits, wait_words

WIDTH, LABEL, ROW, HEAD, MARGIN = 860, 250, 24, 58, 24
RIGHT = 90
LEAST_S = 0.001
"""Where the axis begins. It is logarithmic, because waiting times are milliseconds or hours."""

TICKS_S = (0.001, 0.01, 0.1, 1, 10, 60, 600, 3_600, 36_000, 360_000)

_STYLE = """
.back { fill: #fff } text { font: 13px system-ui, sans-serif; fill: #1c2024 } .quiet { fill: #60646c; font-size: 12px }
.title { font-weight: 600; font-size: 15px } .axis { stroke: #d9d9e0 }
.span { stroke: #8da4ef; stroke-width: 6; stroke-linecap: round }
.recorded .span { stroke: #b9bbc6 } .p95 { fill: #3e63dd } .recorded .p95 { fill: #60646c }
.objective { stroke: #ce2c31; stroke-dasharray: 4 3 } .objective-text { fill: #ce2c31; font-size: 12px }
@media (prefers-color-scheme: dark) {
  .back { fill: #111113 } text { fill: #edeef0 } .quiet { fill: #b0b4ba } .axis { stroke: #363a3f }
  .recorded .p95 { fill: #b0b4ba } .p95 { fill: #9eb1ff } .span { stroke: #3e63dd } .recorded .span { stroke: #5a6169 }
  .objective { stroke: #ff9592 } .objective-text { fill: #ff9592 }
}
"""


def svg(study: Study) -> str:
    """Return the drawing: for each queue a line for each change, from the median to the p99, with a dot at the p95."""
    parts: list[str] = []
    top = MARGIN
    for one in study.queues:
        panel, height = _panel(one, top)
        parts += panel
        top += height + MARGIN
    if not study.queues:
        parts.append(_text(MARGIN, top + 20, "Not enough data: no queue could be simulated."))
        top += 40
    foot = f"{study.tasks:,} tasks in {duration(study.period_s)}. "
    foot += "Lines go from the median to the p99, dots are the p95. The axis is logarithmic."
    parts.append(_text(MARGIN, top + 4, foot, "quiet"))
    height = top + MARGIN
    label = "Waiting times that the simulation predicts for each change"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img" aria-label="{label}"><style>{_STYLE}</style><rect class="back" width="100%" height="100%"/>'
        + "".join(parts)
        + "</svg>\n"
    )


def rows(one: QueueStudy) -> list[tuple[str, Waits]]:
    """Return the lines of a queue: the record, the simulation of today, each change, and the parts of a split."""
    found = [("recorded", one.recorded)]
    for outcome in one.outcomes:
        found.append(("simulated as it is" if outcome.change.verb == "today" else outcome.change.words, outcome.waits))
        found += [(f"  of these {queue}", waits) for queue, waits in outcome.parts]
    return found


def _panel(one: QueueStudy, top: int) -> tuple[list[str], int]:
    lines = rows(one)
    finite = [s for _, waits in lines for s in (waits.p50_s, waits.p95_s, waits.p99_s) if s != math.inf]
    most_s = max([*finite, one.objective_s or 0.0, 10 * LEAST_S])
    decades = math.log10(most_s / LEAST_S)
    wide = WIDTH - LABEL - RIGHT - 2 * MARGIN
    left = MARGIN + LABEL

    def x_of(seconds: float) -> float:
        return left + wide * math.log10(max(LEAST_S, seconds) / LEAST_S) / decades

    drawn = [_text(MARGIN, top + 14, f"Waiting time in queue {printable(one.queue)}", "title")]
    if not one.is_fitting:
        drawn.append(_text(MARGIN, top + 32, "The simulation of today does not fit the record.", "quiet"))
    bottom = top + HEAD + len(lines) * ROW
    for tick_s in (tick_s for tick_s in TICKS_S if tick_s <= most_s):
        x = x_of(tick_s)
        drawn.append(f'<line class="axis" x1="{x:.1f}" y1="{top + HEAD - 12}" x2="{x:.1f}" y2="{bottom}"/>')
        drawn.append(_text(x, top + HEAD - 18, wait_words(tick_s), "quiet", "middle"))
    if one.objective_s is not None:
        x = x_of(one.objective_s)
        drawn.append(f'<line class="objective" x1="{x:.1f}" y1="{top + HEAD - 12}" x2="{x:.1f}" y2="{bottom}"/>')
        drawn.append(_text(x + 4, bottom + 12, f"objective {wait_words(one.objective_s)}", "objective-text"))
    for number, (words, waits) in enumerate(lines):
        y = top + HEAD + number * ROW + ROW / 2
        group = ' class="recorded"' if number == 0 else ""
        drawn.append(f"<g{group}>{_text(MARGIN, y + 4, words)}{''.join(_line(waits, x_of, y))}</g>")
    return drawn, int(bottom - top + (18 if one.objective_s is not None else 4))


def _line(waits: Waits, x_of: Callable[[float], float], y: float) -> Iterator[str]:
    if math.inf in (waits.p95_s, waits.p50_s):
        yield _text(x_of(LEAST_S), y + 4, "not all tasks start", "quiet")
        return
    end_s = waits.p95_s if waits.p99_s == math.inf else waits.p99_s
    x1, x2, x = map(x_of, (waits.p50_s, end_s, waits.p95_s))
    yield f'<line class="span" x1="{x1:.1f}" y1="{y:.1f}" x2="{x2:.1f}" y2="{y:.1f}"/>'
    yield f'<circle class="p95" cx="{x:.1f}" cy="{y:.1f}" r="5"/>'
    yield _text(max(x, x2) + 12, y + 4, wait_words(waits.p95_s), "quiet")


def _text(x: float, y: float, words: str, style: str = "", anchor: str = "start") -> str:
    given = f' class="{style}"' if style else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{given}>{escape(words)}</text>'
