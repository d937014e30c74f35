"""Write reports as one self-contained HTML page: the run, the crash, and the repeated actions."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from mirepoix.crashtest.differences import summary
from mirepoix.crashtest.explore import Explored
from mirepoix.crashtest.plan import Schedule
from mirepoix.crashtest.points import Point
from mirepoix.crashtest.report import left_out, rerun
from mirepoix.crashtest.verdict import Finding


def page(reports: Sequence[Any]) -> str:
    """Return the page of *reports* (`mirepoix.crashtest.check.Report`). Reports with findings come first."""
    ordered = sorted(reports, key=lambda report: (report.is_safe, report.explored.call.task.name))
    unsafe = sum(not report.is_safe for report in ordered)
    body = "".join(_task(report.explored, report.findings, is_safe=report.is_safe) for report in ordered)
    empty = "<p>No task was explored.</p>" if not ordered else ""
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><title>Crash points</title>'
        f"<style>{_STYLE}</style><main><h1>Is it safe to retry?</h1>"
        f'<p class="sum">{len(ordered)} task{"" if len(ordered) == 1 else "s"} explored, <b>{unsafe}</b> not safe, '
        f"{len(ordered) - unsafe} survived "
        f"every crash that was tried.</p>{empty}{body}</main></html>\n"
    )


def _task(explored: Explored, found: Sequence[Finding], *, is_safe: bool) -> str:
    verdict = '<span class="ok">survived</span>' if is_safe else '<span class="bad">not safe</span>'
    parts = [
        f"<section><h2>{escape(explored.call.task.name)} {verdict}</h2>",
        f'<p class="sum">{escape(summary(explored))}</p>',
    ]
    parts += [_finding(explored, finding) for finding in found]
    if is_safe and not found:
        parts.append(_timeline(explored, None))
    if explored.masks:
        parts.append(f'<p class="sum">Not compared: {escape(", ".join(explored.masks))}</p>')
    if explored.unmodelled:
        parts.append(f'<p class="bad">Unmodelled: {escape(", ".join(explored.unmodelled))}</p>')
    if explored.not_explored:
        parts.append(f'<p class="bad">Not explored: {escape(left_out(explored))}.</p>')
    return "".join([*parts, "</section>"])


def _finding(explored: Explored, finding: Finding) -> str:
    follows = "".join(f"<li>{escape(consequence)}</li>" for consequence in finding.consequences)
    return (
        f'<article class="{finding.severity}"><h3><span>{escape(finding.kind.replace("-", " "))}</span> '
        f"{escape(finding.words)}</h3>{_timeline(explored, finding)}"
        + (f"<p>From that follows:</p><ul>{follows}</ul>" if follows else "")
        + f'<p class="fix"><b>Fix</b> {escape(finding.remedy)}</p>'
        f"<p><b>Try it again</b> <code>{escape(rerun(explored, finding.schedule))}</code></p></article>"
    )


def _timeline(explored: Explored, finding: Finding | None) -> str:
    """List the points in order: those before the crash are done, those after it wait for the redelivery.

    If there are two crashes, the points of the redelivery until its crash follow the first crash.
    """
    schedule = finding.schedule if finding is not None else Schedule(None)
    index, side = schedule.dies_at or (len(explored.points), "before")
    alive_until = index + (side == "after")
    subject = finding.subject if finding is not None and finding.kind.startswith(("duplicate", "changed-key")) else None
    if schedule.then is not None:
        rows = [_point(number, point, "") for number, point in enumerate(explored.points[:alive_until])]
        again = explored.again(schedule)
        index, side = schedule.then.dies_at or (len(again), "before")
        done = enumerate(again[: index + (side == "after")])
        rows += [_CRASH, *(_point(number, point, "") for number, point in done)]
        return f'<ol class="line">{"".join([*rows, _CRASH])}</ol>'
    rows = []
    for number, point in enumerate(explored.points):
        if finding is not None and number == alive_until:
            rows.append(_OVERLAP if side == "overlap" else _CRASH)
        is_doubled = number < alive_until and subject is not None and _is_about(point.label, subject)
        rows.append(_point(number, point, "undone" * (number >= alive_until) or "twice" * is_doubled))
    if finding is not None and alive_until >= len(explored.points):
        rows.append(_CRASH)
    return f'<ol class="line">{"".join(rows)}</ol>'


def _point(number: int, point: Point, mark: str) -> str:
    return (
        f'<li class="{"durable " * point.is_durable}{mark}"><i>{number + 1}</i><div><b>{escape(point.label)}</b>'
        + ("<em>again after the redelivery</em>" if mark == "twice" else "")
        + f"<small>{escape(str(point.source))}</small><code>{escape(point.source.text)}</code></div></li>"
    )


def _is_about(label: str, subject: str) -> bool:
    words = label.split()
    last = words[-1] if words else ""
    return label in subject or subject.startswith(label) or last in subject.replace(".", " ").split() or last == subject


_CRASH = '<li class="crash"><i>✕</i><div><b>the worker dies here</b><em>the task is delivered again</em></div></li>'

_OVERLAP = '<li class="crash"><i>⇉</i><div><b>a second delivery runs while the first one waits here</b></div></li>'

_STYLE = """
:root{--ink:#1d2530;--dim:#657182;--line:#d9dfe7;--bad:#b42318;--warn:#b25e09;--ok:#1a7f4b;--back:#f5f7fa;--card:#fff}
@media(prefers-color-scheme:dark){:root{--ink:#e6eaf0;--dim:#93a0b2;--line:#323c4b;--bad:#ff8a7a;--warn:#f0b35c;
--ok:#63d19a;--back:#12171e;--card:#1a212b}}
body{margin:0;background:var(--back);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:60rem;margin:0 auto;padding:2.5rem 1.25rem}h1{font-size:1.9rem;margin:0}
h2{font-size:1.15rem;margin:0;overflow-wrap:anywhere}h3{font-size:1rem;margin:0 0 .75rem;overflow-wrap:anywhere}
section{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:1.25rem 1.5rem;margin:1.5rem 0}
.sum{color:var(--dim);margin:.25rem 0 1rem;font-size:.9rem}.ok{color:var(--ok)}.bad{color:var(--bad)}
article{border-left:4px solid var(--bad);padding:.1rem 0 .1rem 1rem;margin:1.25rem 0}
article.warning{border-color:var(--warn)}
article.note{border-color:var(--dim)}
h3 span{text-transform:uppercase;font-size:.75rem;letter-spacing:.05em;color:var(--bad)}
.warning h3 span{color:var(--warn)}.note h3 span{color:var(--dim)}
code{font:.82rem/1.5 ui-monospace,monospace;overflow-wrap:anywhere}.fix b{color:var(--ok)}
.line{list-style:none;margin:0 0 1rem;padding:0}.line li{display:flex;gap:.8rem;position:relative;padding:.3rem 0}
.line li:before{content:"";position:absolute;left:.8rem;top:0;bottom:0;border-left:2px solid var(--line)}
.line i{position:relative;flex:none;width:1.65rem;height:1.65rem;border:2px solid var(--line);border-radius:50%;
background:var(--card);font:600 .72rem/1.65rem system-ui;text-align:center}.durable i{border-color:var(--ink)}
.line small{color:var(--dim);margin-left:.6rem}.line div>code{display:block;color:var(--dim)}
.line em{font-style:normal;font-size:.78rem;margin-left:.6rem;padding:.05rem .45rem;border-radius:9px;
background:var(--bad);color:var(--card)}
.undone{opacity:.5}.crash i{background:var(--bad);border-color:var(--bad);color:var(--card)}.crash b{color:var(--bad)}
.twice i{border-color:var(--bad);color:var(--bad)}
""".replace("\n", "")
