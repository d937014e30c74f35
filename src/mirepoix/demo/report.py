"""Print an audit for people: one side with its checks, or two sides beside each other."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from mirepoix.demo.audit import Audit


def print_audit(console: Console, audits: Sequence[Audit], elapsed_s: float | None) -> None:
    """Print the figures of every side, and then whether Mirepoix's checks hold."""
    took = "" if elapsed_s is None else f" after {elapsed_s:.0f} s"
    console.print(Text(f"Audit{took}, from the effects on disk and the ledger", style="bold"))
    console.print(_figures(audits))
    ours = audits[0]
    if ours.finished_twice:
        console.print(Text("* killed before its end was recorded: effects elsewhere are at least once", style="dim"))
    states = ", ".join(f"{count} {state}" for state, count in (ours.states or {}).items())
    console.print(
        Text(f"In the ledger: {states}, nothing else." if ours.holds else f"In the ledger: {states}.", style="dim")
    )
    failed = [check for check in ours.checks if not check.holds]
    for check in failed:
        console.print(Text(f"✗ not true: {check.claim} ({check.found})", style="bold red"))
    if not failed:
        console.print(Text(f"✓ all {len(ours.checks)} checks hold", style="bold green"))
    for other in audits[1:]:
        console.print(Text(_losses(other), style="" if other.holds else "red"))


def _figures(audits: Sequence[Audit]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold", show_header=len(audits) > 1)
    table.add_column("", no_wrap=True)
    for one in audits:
        table.add_column(one.side)
    rows: list[tuple[str, list[RenderableType]]] = [
        ("orders", [f"{one.sent} placed, {one.committed} committed" for one in audits]),
        ("  paid, with receipt", [_of(one.done, one.committed) for one in audits]),
        ("  lost", [_must_be_0(one.lost) for one in audits]),
        ("  rolled back, ran", [_must_be_0(one.ran_after_rollback).append(f" of {one.rolled_back}") for one in audits]),
        ("killed by SIGKILL", [f"{one.killed_processes} processes, {one.killed_workers} workers" for one in audits]),
        ("  cut off, run again", [_of(one.recovered, one.cut_off) for one in audits]),
        ("  again after", [_delays(one) for one in audits]),
        ("  run again at its end*", [str(one.finished_twice) for one in audits]),
        ("runs overlapping", [_must_be_0(one.overlapping) for one in audits]),
        ("poison", [_poison(one) for one in audits]),
        ("failed for good", [_failed(one) for one in audits]),
        ("retried", [_of(one.retried_done, one.retried_sent) for one in audits]),
        ("reminders", [_reminders(one) for one in audits]),
    ]
    for name, cells in rows:
        table.add_row(Text(name, style="dim"), *cells)
    return table


def _must_be_0(value: int) -> Text:
    return Text(str(value), style="bold green" if value == 0 else "bold red")


def _of(value: int, total: int) -> Text:
    return Text(f"{value} of {total}", style="green" if value == total else "bold red")


def _delays(one: Audit) -> str:
    if one.recovery_p50_s is None:
        return "-"
    return f"{one.recovery_p50_s:.2f} s, p95 {one.recovery_p95_s:.2f} s"


def _poison(one: Audit) -> str:
    if one.poison_quarantined is None:
        return f"{one.poison_sent} gone after {one.poison_runs} runs"
    return f"{one.poison_quarantined} quarantined, {one.poison_runs} runs"


def _failed(one: Audit) -> str:
    return f"{one.failed_sent}, in a log only" if one.failed_kept is None else f"{one.failed_kept}, kept with traceback"


def _reminders(one: Audit) -> Text:
    text = _of(one.reminders_done, one.reminders_sent)
    if one.reminder_latest_s is not None:
        text.append(f", {max(0.0, one.reminder_latest_s):.1f} s late at most", style="default")
    return text


def _losses(other: Audit) -> str:
    unrun = other.reminders_sent - other.reminders_done
    orders = f"{other.lost} of {other.committed} orders and {unrun} of {other.reminders_sent} reminders lost"
    ghosts = f"{other.ran_after_rollback} of {other.rolled_back} rolled-back orders ran"
    return f"{other.side}, default settings, the same kills: {orders}; {ghosts}."
